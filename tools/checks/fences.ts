/** The TypeScript examples in this repository's documents. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PACKAGES, ROOT } from './workspace.ts';

export interface Fence {
  /** `packages/address/README.md:12`: the document and the line of the fence. */
  at: string;
  /** What follows the backticks: `ts` is checked and run, `ts no-run` only checked, other languages are left alone. */
  info: string;
  code: string;
  /** What its `// =>` comments say it prints, line by line; empty where it has none. */
  prints: string[];
}

/** The documents that must exist, and those under `docs`. */
export const DOCUMENTS: readonly string[] = [
  'README.md',
  ...PACKAGES.map(({ name }) => `packages/${name}/README.md`),
  ...globSync('docs/**/*.md', { cwd: ROOT }).sort(),
];

/** The fences of a document, or none where there is no such document. */
export function fencesOf(document: string): Fence[] {
  const path = join(ROOT, document);
  if (!existsSync(path)) return [];
  const text = readFileSync(path, 'utf8');
  return [...text.matchAll(/^( *)```(\S.*)\n([\s\S]*?)^\1```$/gm)].map((match) => {
    const code = match[3]!;
    return {
      at: `${document}:${text.slice(0, match.index).split('\n').length}`,
      info: match[2]!.trim(),
      code,
      prints: [...code.matchAll(/\/\/ => ?(.*)$/gm)].map((comment) => comment[1]!.trimEnd()),
    };
  });
}
