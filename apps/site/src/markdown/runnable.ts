/** Gives the TypeScript examples of guides hover types and a way to run them. */
import type { MarkdownRenderer } from 'vitepress';

/** Whether the examples of a page are programs that a test runs. The fences of the reference are signatures. */
function hasPrograms(path: string): boolean {
  return path.startsWith('guide/') || path === 'index.md';
}

/** A plugin of markdown-it: wraps a fence `ts` in the component `RunnableCode`; `ts no-run` only gets hover types. */
export function runnable(md: MarkdownRenderer): void {
  const render = md.renderer.rules['fence']!;
  md.renderer.rules['fence'] = (tokens, index, options, env, self) => {
    const token = tokens[index]!;
    const { info, content } = token;
    const path = String(env?.['relativePath'] ?? '');
    if (!hasPrograms(path) || (info !== 'ts' && info !== 'ts no-run')) {
      return render(tokens, index, options, env, self);
    }
    token.info = 'ts twoslash';
    const html = render(tokens, index, options, env, self);
    token.info = info;
    return info === 'ts'
      ? `<RunnableCode source="${encodeURIComponent(content)}">${html}</RunnableCode>`
      : html;
  };
}
