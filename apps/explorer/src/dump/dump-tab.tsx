export function DumpTab() {
  return <p>…</p>;
}
