/**
 * `npm run site`: writes the site to apps/site/dist. `npm run site -- --dev` serves it on this machine instead, and follows changes of
 * the guides.
 */
import { cpSync, existsSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build, createServer } from 'vitepress';
import { ROOT } from '../src/packages.ts';
import { bundle } from './bundle.ts';
import { CONTENT, generate } from './generate.ts';
import { writeTexts } from './texts.ts';

const SITE = fileURLToPath(new URL('..', import.meta.url));

/** Writes all that the pages need beside the guides: the reference, the errors, the bundles and the explorer. */
async function prepare(): Promise<void> {
  await generate();
  await bundle(`${CONTENT}/public/packages`);
  rmSync(`${CONTENT}/public/explorer`, { recursive: true, force: true });
  const explorer = `${ROOT}apps/explorer/dist`;
  if (existsSync(`${explorer}/index.html`))
    cpSync(explorer, `${CONTENT}/public/explorer`, { recursive: true });
}

if (import.meta.main) {
  process.chdir(SITE);
  await prepare();
  if (process.argv.includes('--dev')) {
    const server = await createServer(SITE);
    await server.listen();
    server.printUrls();
  } else {
    await build(SITE);
    writeTexts(CONTENT, `${SITE}dist`);
  }
}
