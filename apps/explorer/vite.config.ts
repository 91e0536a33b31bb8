import { readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';

/** The dumps that come with the page: fixtures of the package that reads them. */
const DUMPS = ['case-a.frames.gz', 'la57.frames.gz', 'core-a.sparse.gz'];

/** The page works from any folder of a site: its links are relative. */
export default defineConfig({
  base: './',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: { target: 'es2022', outDir: 'dist', emptyOutDir: true },
  worker: { format: 'es' },
  plugins: [fixtures()],
});

/** Puts the dumps into `fixtures/` of the page, and serves them there. */
function fixtures(): Plugin {
  const read = (file: string): Buffer =>
    readFileSync(new URL(`../../packages/dump/test/fixtures/${file}`, import.meta.url));
  return {
    name: 'fixtures',
    generateBundle() {
      for (const file of DUMPS)
        this.emitFile({ type: 'asset', fileName: `fixtures/${file}`, source: read(file) });
    },
    configureServer({ middlewares }) {
      middlewares.use('/fixtures', (request, response, next) => {
        const file = request.url?.slice(1) ?? '';
        if (!DUMPS.includes(file)) next();
        else response.setHeader('content-type', 'application/octet-stream').end(read(file));
      });
    },
  };
}
