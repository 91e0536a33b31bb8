import { render } from 'preact';

function App() {
  return <h1>@svsm explorer</h1>;
}

render(<App />, document.getElementById('app')!);
