import { globSync, mkdirSync, readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, serve } from './support/site.ts';

const content = fileURLToPath(new URL('../content', import.meta.url));
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Where pictures of the pages go, for eyes. Set to have them. */
const pictures = process.env['PICTURES'];

const SIZES = { wide: { width: 1280, height: 900 }, narrow: { width: 390, height: 844 } } as const;
const PAGES = [
  '',
  'guide/',
  'guide/share-four-pages',
  'api/',
  'api/pagetable/',
  'api/pagetable/classes/PageTable',
  'errors/',
  'errors/pagetable',
];
const guides = globSync('{guide/*,index}.md', { cwd: content }).filter((file) => file !== 'guide/index.md');

describe.skipIf(CHROMIUM === undefined)('in a browser', () => {
  let browser: Browser;
  let server: Server;
  let url: string;
  beforeAll(async () => {
    ({ server, url } = await serve());
    browser = await chromium.launch({
      executablePath: CHROMIUM!,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    });
  });
  afterAll(async () => {
    await browser?.close();
    server?.close();
  });

  /** Opens a page, and fails if it logs an error or asks another host for something. */
  async function open(path: string, size: keyof typeof SIZES = 'wide', scheme: 'light' | 'dark' = 'light') {
    const context = await browser.newContext({
      viewport: SIZES[size],
      colorScheme: scheme,
      reducedMotion: 'reduce',
    });
    const page = await context.newPage();
    const problems: string[] = [];
    page.on('pageerror', (error) => problems.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') problems.push(message.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(url) && !/^(blob|data):/.test(request.url()))
        problems.push(`asks for ${request.url()}`);
    });
    await page.goto(url + path, { waitUntil: 'networkidle' });
    return { page, problems, close: () => context.close() };
  }

  describe.each(Object.keys(SIZES) as (keyof typeof SIZES)[])('%s', (size) => {
    test.each(PAGES.flatMap((path) => (['light', 'dark'] as const).map((scheme) => [path, scheme] as const)))(
      '/%s in %s colours has no fault that axe finds, and is not wider than the screen',
      async (path, scheme) => {
        const { page, problems, close } = await open(path, size, scheme);
        if (pictures !== undefined) {
          mkdirSync(pictures, { recursive: true });
          await page.screenshot({
            path: `${pictures}/${path.replaceAll('/', '_') || 'home'}-${size}-${scheme}.png`,
          });
        }
        expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(
          0,
        );
        expect(await faultsOf(page)).toEqual([]);
        expect(problems).toEqual([]);
        await close();
      },
    );
  });

  test.each(guides)('the programs of %s run and print what they say', async (file) => {
    const text = readFileSync(`${content}/${file}`, 'utf8');
    const programs = [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code!);
    const { page, problems, close } = await open(file.replace(/(^|\/)?index\.md$/, '').replace(/\.md$/, ''));
    const blocks = page.locator('.runnable');
    expect(await blocks.count()).toBe(programs.length);
    for (const [index, code] of programs.entries()) {
      const block = blocks.nth(index);
      await block.getByRole('button', { name: 'Run' }).click();
      await block.locator('.run-output[aria-busy=false]').waitFor();
      // A call can print several lines.
      const calls = await block.locator('.run-line').allTextContents();
      const lines = calls.flatMap((text) => text.split('\n'));
      const expected = [...code.matchAll(/\/\/ => ?(.*)$/gm)].map(([, line]) => line!.trimEnd());
      expect(lines, `program ${index + 1}`).toEqual(expected);
    }
    expect(problems).toEqual([]);
    await close();
  });

  test('a program can be edited, stopped and reset', async () => {
    const { page, close } = await open('guide/choose-an-order');
    const block = page.locator('.runnable').first();
    await block.getByRole('button', { name: 'Edit' }).click();
    const editor = block.getByRole('textbox');
    await editor.fill(
      "import { getOrder } from '@svsm/buddy-alloc';\nconst order: number = getOrder(3 << 12);\nconsole.log({ order });",
    );
    await block.getByRole('button', { name: 'Run' }).click();
    await expect.poll(() => block.locator('.run-line').allTextContents()).toEqual(['{ order: 2 }']);
    expect(await faultsOf(page)).toEqual([]);
    if (pictures !== undefined) await page.screenshot({ path: `${pictures}/editor.png` });

    await editor.fill('for (;;);');
    await block.getByRole('button', { name: 'Run' }).click();
    await block.getByRole('button', { name: 'Stop' }).click();
    await expect.poll(() => block.locator('.run-line').allTextContents()).toEqual(['stopped']);

    await editor.fill("import 'lodash';");
    await block.getByRole('button', { name: 'Run' }).click();
    await expect
      .poll(() => block.locator('.run-error').allTextContents())
      .toEqual([expect.stringContaining("cannot import 'lodash'")]);

    await editor.fill('throw new RangeError("too far");');
    await block.getByRole('button', { name: 'Run' }).click();
    await expect.poll(() => block.locator('.run-error').allTextContents()).toEqual(['RangeError: too far']);

    await block.getByRole('button', { name: 'Reset' }).click();
    expect(await editor.textContent()).toContain('PAGE_SIZE');
    await close();
  });

  test('a name in an example shows its type', async () => {
    const { page, close } = await open('guide/choose-an-order');
    await page
      .locator('.twoslash-hover', { hasText: /^getOrder$/ })
      .first()
      .hover();
    await expect
      .poll(() => page.locator('.v-popper__popper--shown').textContent())
      .toMatch(/getOrder\(bytes: Bytes\): number/);
    if (pictures !== undefined) await page.screenshot({ path: `${pictures}/hover.png` });
    await close();
  });

  test('the search finds a method and a code of an error', async () => {
    const { page, close } = await open('');
    await page.keyboard.press('/');
    for (const [words, title] of [
      ['setShared4k', 'setShared4k'],
      ['DOUBLE_FREE', 'DOUBLE_FREE'],
    ] as const) {
      await page.locator('#localsearch-input').fill(words);
      await expect
        .poll(() => page.locator('.VPLocalSearchBox .result').first().textContent(), { timeout: 20_000 })
        .toContain(title);
    }
    if (pictures !== undefined) await page.screenshot({ path: `${pictures}/search.png` });
    await close();
  });
});

/** The faults that axe finds in a page: the rule, and the first place. */
async function faultsOf(page: Page): Promise<string[]> {
  await page.evaluate(axe);
  const violations = (await page.evaluate('axe.run().then(({ violations }) => violations)')) as {
    id: string;
    nodes: { target: string[]; failureSummary?: string }[];
  }[];
  return violations.map(
    ({ id, nodes }) =>
      `${id} (${nodes.length}): ${nodes[0]?.target.join(' ')} ${nodes[0]?.failureSummary ?? ''}`,
  );
}
