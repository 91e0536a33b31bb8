/** Pages of a folder in headless Chromium. */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';

const run = promisify(execFile);
/** `CHROMIUM` names another one. */
const CHROMIUM: string = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript' };

export function hasBrowser(): boolean {
  return existsSync(CHROMIUM);
}

export async function browserVersion(): Promise<string> {
  const { stdout } = await run(CHROMIUM, ['--version']);
  return /[\d.]+/.exec(stdout)?.[0] ?? '';
}

/** The text of the element `report` of a page, once it has loaded. */
export async function reportOfPage(folder: string, path: string): Promise<string> {
  const server = createServer(({ url = '/' }, response) => {
    const file = join(folder, new URL(url, 'http://page').pathname);
    if (!existsSync(file)) return void response.writeHead(404).end();
    const type = TYPES[extname(file)] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': type }).end(readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const profile = mkdtempSync(join(tmpdir(), 'svsm-chromium-'));
  try {
    const { port } = server.address() as AddressInfo;
    const { stdout } = await run(
      CHROMIUM,
      [
        ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
        ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
        `--user-data-dir=${profile}`,
        '--virtual-time-budget=60000',
        '--dump-dom',
        `http://127.0.0.1:${port}/${path}`,
      ],
      { timeout: 300_000, maxBuffer: 1 << 26 },
    );
    const text = /<pre id="report">([^<]*)<\/pre>/.exec(stdout)?.[1];
    if (text === undefined) throw new Error(`the page has no report:\n${stdout.slice(0, 2000)}`);
    return text;
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(profile, { recursive: true, force: true });
  }
}

/** A page that shows the report of a module `main`. */
export function pageWith(script: string, head = ''): string {
  return `<!doctype html><meta charset="utf-8"><title>@svsm</title>${head}
<pre id="report"></pre>
<script type="module">
window.addEventListener('error', ({ message }) => { document.getElementById('report').textContent = message; });
${script}
</script>
`;
}
