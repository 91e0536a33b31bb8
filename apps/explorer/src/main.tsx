import { render } from 'preact';
import { App } from './view/app.tsx';
import './style.css';
import { restore } from './store.ts';

render(<App />, document.getElementById('app')!);
// A step that was just taken may still change the address: the event has the one that was asked for.
addEventListener('hashchange', ({ newURL }) => void restore(new URL(newURL).hash));
await restore(location.hash);
