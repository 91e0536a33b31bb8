/** The built site for its tests: its files, a server as a host of static pages, and a browser. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the built site, and its folder on the host. */
const DIST: string = fileURLToPath(new URL('../../dist', import.meta.url));
export const BASE = '/svsm/';

/** Chromium's path, or `undefined` where there is none: then tests in a browser are skipped. */
export const CHROMIUM: string | undefined = [process.env['CHROMIUM'], '/usr/bin/chromium'].find(
  (path) => path !== undefined && existsSync(path),
);

/** The pages, by their address without the base: `guide/errors`. */
export function pages(): Map<string, string> {
  const files = globSync('**/*.html', { cwd: DIST, exclude: ['explorer'] }).filter(
    (file) => !file.startsWith('explorer/'),
  );
  return new Map(
    files.map((file) => [
      file.replace(/(^|\/)index\.html$/, '$1').replace(/\.html$/, ''),
      readFileSync(join(DIST, file), 'utf8'),
    ]),
  );
}

/** The file that a host of static pages sends for a path below the base, or `undefined`. */
export function fileAt(path: string): string | undefined {
  const candidates = path === '' || path.endsWith('/') ? [`${path}index.html`] : [path, `${path}.html`];
  return candidates.map((file) => join(DIST, file)).find((file) => existsSync(file) && extname(file) !== '');
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
};

/** Serves the site on a free port of this machine. */
export async function serve(): Promise<{ url: string; server: Server }> {
  const server = createServer(({ url = '' }, response) => {
    const path = decodeURIComponent(url.replace(/[?#].*$/, ''));
    const file = path.startsWith(BASE) ? fileAt(path.slice(BASE.length)) : undefined;
    if (file === undefined) {
      response.writeHead(404).end();
      return;
    }
    // As a host that isolates pages does it: SharedArrayBuffer needs these.
    response.writeHead(200, {
      'content-type': TYPES[extname(file)] ?? 'application/octet-stream',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-embedder-policy': 'require-corp',
    });
    response.end(readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${BASE}`, server };
}
