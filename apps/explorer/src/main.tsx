import { render } from 'preact';
import { App } from './view/app.tsx';
import './style.css';
import { restore } from './store.ts';

render(<App />, document.getElementById('app')!);
addEventListener('hashchange', () => void restore());
await restore();
