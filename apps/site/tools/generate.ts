/** Writes the pages that are made from the sources: the reference, and the errors. Returns nothing, or throws with the problems. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { errorPages } from '../src/errors/error-pages.ts';
import { readReference } from '../src/reference/reference.ts';

export const CONTENT: string = fileURLToPath(new URL('../content', import.meta.url));

export async function generate(): Promise<void> {
  const reference = await readReference();
  if (reference.problems.length > 0) throw new Error(reference.problems.join('\n'));
  rmSync(`${CONTENT}/api`, { recursive: true, force: true });
  await reference.write(CONTENT);

  rmSync(`${CONTENT}/errors`, { recursive: true, force: true });
  mkdirSync(`${CONTENT}/errors`);
  for (const [path, text] of await errorPages(reference.linkOf)) {
    writeFileSync(`${CONTENT}/errors/${path}`, text);
  }
}

if (import.meta.main) await generate();
