/** The page in a browser: each view, each control, wrong input, and axe. Skipped where there is no Chromium. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, type Served, serve } from './support/browser.ts';
import { writeLargeCore } from './support/large-core.ts';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const FIXTURES = join(import.meta.dirname, '../../../packages/dump/test/fixtures');
const fixture = (name: string): Buffer => gunzipSync(readFileSync(join(FIXTURES, name)));

describe.skipIf(CHROMIUM === undefined)('in Chromium', () => {
  let served: Served;
  let page: Page;
  const errors: string[] = [];

  beforeAll(async () => {
    served = await serve();
  });
  afterAll(async () => {
    await served.close();
  });
  afterEach(async () => {
    await page.close();
    expect(errors.splice(0)).toEqual([]);
  });

  async function open(hash = '', options: Parameters<Served['browser']['newPage']>[0] = {}): Promise<void> {
    page = await served.browser.newPage({ viewport: { width: 1280, height: 860 }, ...options });
    page.setDefaultTimeout(60_000);
    page.on('pageerror', (error) => errors.push(String(error)));
    await page.goto(`${served.url}#${hash}`);
    await page.locator('h1').waitFor();
    if (!hash.includes('tab=dump')) await page.locator('.steps button').first().waitFor();
  }
  /** Drops a file or folder of this machine on the page, as a file manager does. */
  async function dropPath(path: string): Promise<void> {
    const cdp = await page.context().newCDPSession(page);
    const data = { items: [], files: [path], dragOperationsMask: 1 };
    for (const type of ['dragEnter', 'dragOver', 'drop'] as const)
      await cdp.send('Input.dispatchDragEvent', { type, x: 640, y: 400, data });
  }
  const now = (): Promise<string> => page.locator('.steps [aria-current="step"] .number').innerText();
  const alert = (): Promise<string> => page.getByRole('alert').innerText();

  test('forward, back, scrubbing and keys move through the story', async () => {
    await open();
    await page.getByRole('button', { name: 'Step forward' }).click();
    expect(await now()).toBe('1');
    await page.getByRole('button', { name: 'Last step' }).click();
    expect(await page.locator('.outcome').innerText()).toContain('hello, hypervisor');
    await page.getByRole('button', { name: 'Step back' }).click();
    await page.getByRole('slider', { name: 'Step' }).fill('3');
    expect(await now()).toBe('3');
    await page.locator('.steps [aria-current="step"]').focus();
    await page.keyboard.press('ArrowDown');
    expect(await now()).toBe('4');
    await expect.poll(() => page.url(), { timeout: 60_000 }).toContain('step=4');
    await page.getByRole('button', { name: 'First step' }).click();
    expect(await now()).toBe('0');
  });

  test('the views are linked: the page of a step is selected in the tree, and an address selects another', async () => {
    await open('step=11');
    const selected = page.locator('.tree .row.selected');
    expect(await selected.innerText()).toContain('C=0 shared');
    await page.getByLabel('Go to').fill('s:1001000');
    await page.getByRole('button', { name: 'Go', exact: true }).click();
    expect(await page.locator('.addresses').innerText()).toContain('0xffffff8040401000');
    expect(await selected.innerText()).toContain('C=1 private');
    expect(await page.locator('.rmp .readout').innerText()).toContain('guest, validated');
    await page.getByRole('button', { name: 'Follow the steps' }).click();
    expect(await selected.innerText()).toContain('C=0 shared');
  });

  test('a table of 512 entries has only its visible rows', async () => {
    await open('step=12');
    const tree = page.getByRole('tree');
    await tree.focus();
    await page.keyboard.press('End');
    expect(await page.locator('.tree .row').count()).toBeLessThan(60);
  });

  test('the map of the RMP zooms with keys, and picks a page', async () => {
    await open('step=12');
    const map = page.locator('.rmp .map');
    await map.focus();
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    expect(await page.getByRole('button', { name: '2 GiB' }).getAttribute('aria-pressed')).toBe('true');
    await page.keyboard.press('Enter');
    expect(await page.getByRole('button', { name: '2 MiB' }).getAttribute('aria-pressed')).toBe('true');
    await page.getByRole('button', { name: '4 KiB' }).click();
    await map.focus();
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.url(), { timeout: 60_000 }).toContain('at=s:');
  });

  test('both panes show the bytes of each side', async () => {
    await open('step=2');
    await page.locator('.bytes[aria-busy="false"] pre').first().waitFor();
    const [guest, host] = await page.locator('.pane').allInnerTexts();
    expect(guest).toContain('a secret');
    expect(host).not.toContain('a secret');
  });

  test('a what-if ends with its check, and an attack with what stops it', async () => {
    await open('scenario=no-flush&step=14');
    expect(await page.locator('.outcome').innerText()).toContain('check 2 of 7, guest-owned');
    await page.getByLabel('Scenario').selectOption('attack-overwrite');
    await page.locator('.steps .title', { hasText: 'Stopped' }).click();
    expect(await page.locator('.outcome').innerText()).toContain('RMP hypervisor-owned');
    expect(await page.locator('.heap').innerText()).toContain('no allocator');
  });

  test('copy as code gives a module', async () => {
    await open('step=5', { permissions: ['clipboard-read', 'clipboard-write'] });
    await page.getByRole('button', { name: 'Copy as code' }).click();
    await page.getByRole('button', { name: 'Copied' }).waitFor();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toContain("from '@svsm/mm'");
  });

  test('wrong input is one sentence, and the page keeps working', async () => {
    await open('scenario=nothing&step=3');
    expect(await alert()).toContain('the scenario “nothing”, which does not exist');
    await page.getByLabel('Go to').fill('hello');
    await page.getByRole('button', { name: 'Go', exact: true }).click();
    expect(await alert()).toContain('“hello” is not an address');
    await page.getByRole('button', { name: 'Dismiss' }).click();
    await page.getByRole('button', { name: 'Step forward' }).click();
    expect(await now()).toBe('1');
    for (const [hash, words] of [
      ['step=9999', 'step 9999'],
      ['step=-1', 'step “-1”'],
      ['step=1e99', 'step “1e99”'],
      ['scenario=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E', 'the scenario “<img src=x onerror=alert(1)>”'],
      [`at=v:0x${'f'.repeat(5000)}`, 'is not a canonical virtual address'],
      ['tab=%00', 'which does not exist'],
    ] as const) {
      await page.goto(`${served.url}#${hash}`);
      await expect.poll(alert, { timeout: 60_000 }).toContain(words);
      expect((await alert()).length).toBeLessThan(200);
    }
    await page.getByRole('button', { name: 'Step forward' }).click();
    expect(await now()).toBe('1');
  });

  test('a dump is browsed, filtered, walked and searched', async () => {
    await open('tab=dump');
    await page.getByRole('button', { name: 'Linux, 4 levels' }).click();
    await page.locator('.mappings .row').first().waitFor();
    expect(await page.locator('.facts').innerText()).toContain('4 levels');
    expect(await page.locator('.mappings .row').count()).toBeLessThan(100);
    await page.getByRole('button', { name: 'W+X' }).click();
    await page.getByText('No mapping is like that.').waitFor();
    await page.getByRole('button', { name: 'User' }).click();
    await page.locator('.mappings .row').first().waitFor();
    await page.locator('.mappings .plain').first().click();
    await page.locator('.levels li').first().waitFor();
    expect(await page.locator('.levels').innerText()).toContain('PML4');
    await page.getByLabel('Physical page').fill('1000000');
    await page.getByRole('button', { name: 'Find' }).click();
    await page.locator('.places').waitFor();
  });

  test('a kdump with zstd is opened from the file, and searched to its end', async () => {
    await open('tab=dump');
    await page.locator('input[type=file]').setInputFiles({
      name: 'kdump-zstd.sparse',
      mimeType: 'application/octet-stream',
      buffer: fixture('kdump-zstd.sparse.gz'),
    });
    await page.locator('.facts').waitFor();
    await page.getByLabel('Text').fill('no such words in this dump');
    await page.getByRole('button', { name: 'Search' }).click();
    await page.locator('.side .readout').waitFor();
    expect(await page.locator('.side .readout').innerText()).toContain('0');
  });

  test('a core of 4 GiB is opened without being read whole, and its search can be given up', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'explorer-'));
    try {
      const file = join(folder, 'large.core');
      writeLargeCore(file);
      await open('tab=dump');
      await page.getByLabel('CR3').fill('fffff000');
      await page.locator('input[type=file]').setInputFiles(file);
      await page.locator('.mappings .row').first().waitFor();
      const facts = await page.locator('.facts').innerText();
      expect(facts).toContain('4.0 GiB');
      const [, read] = facts.match(/read to open it: ([\d.]+ [KM]?i?B)/)!;
      expect(read).toMatch(/^[\d.]+ (KiB|B)$/);
      await page.getByLabel('Text').fill('no such words in this dump');
      await page.getByRole('button', { name: 'Search' }).click();
      await page.waitForFunction(() => (document.querySelector('progress')?.value ?? 0) > 0);
      // The page works while the worker does.
      await page.getByRole('button', { name: 'Story' }).click();
      await page.getByRole('button', { name: 'Step forward' }).click();
      expect(await now()).toBe('1');
      await page.getByRole('button', { name: 'Dump' }).click();
      await page.getByRole('button', { name: 'Cancel' }).click();
      await page.locator('progress').waitFor({ state: 'detached' });
      await page.getByLabel('Walk to').fill('1234');
      await page.getByRole('button', { name: 'Walk' }).click();
      await expect
        .poll(() => page.locator('.side .readout').first().innerText(), { timeout: 60_000 })
        .toContain('→ 0x1234');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('a slow attack shows how far it is, and can be given up', async () => {
    await open('step=2');
    await page.getByLabel('Scenario').selectOption('attack-list-never');
    const cancel = page.getByRole('button', { name: 'Cancel' });
    // A fast machine may be done before the note would show.
    await cancel
      .or(page.locator('.steps .title', { hasText: 'The stage' }))
      .first()
      .waitFor();
    // So it may be before the click.
    const isGivenUp = await cancel.click({ timeout: 5_000 }).then(
      () => true,
      () => false,
    );
    expect(await page.getByLabel('Scenario').inputValue()).toBe(isGivenUp ? 'by-hand' : 'attack-list-never');
    if (isGivenUp) {
      await page.locator('.bytes[aria-busy="false"] pre').first().waitFor();
      await page.getByRole('button', { name: 'Step forward' }).click();
      expect(await now()).toBe('3');
      await page.locator('.bytes[aria-busy="false"] pre').first().waitFor();
    }
  });

  test('another format and a damaged file are refused in one sentence each, and the open dump stays', async () => {
    await open('tab=dump');
    await page.getByRole('button', { name: 'Linux, 5 levels' }).click();
    await page.locator('.mappings .row').first().waitFor();
    const input = page.locator('input[type=file]');
    await input.setInputFiles({ name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('hello') });
    await expect.poll(alert, { timeout: 60_000 }).toContain('a.txt');
    const cut = fixture('case-a.frames.gz').subarray(0, 5000);
    await input.setInputFiles({ name: 'cut.frames', mimeType: 'application/octet-stream', buffer: cut });
    await expect.poll(alert, { timeout: 60_000 }).toContain('cut.frames');
    const core = fixture('core-a.sparse.gz');
    for (const [name, buffer, words] of [
      ['empty.core', Buffer.alloc(0), 'empty.core'],
      ['text.gz', gzipSync('hello'), 'text'],
      ['cut.gz', gzipSync(core).subarray(0, 200), 'cut.gz: its gzip data is damaged or cut off'],
      ['cut.elf', Buffer.from('7f454c4602010100', 'hex'), 'cut.elf'],
      ['cut.sparse', core.subarray(0, 3000), 'cut.sparse'],
    ] as const) {
      await input.setInputFiles({ name, mimeType: 'application/octet-stream', buffer });
      await expect.poll(alert, { timeout: 60_000 }).toContain(words);
    }
    await page.evaluate(() => {
      const event = new DragEvent('drop', {
        bubbles: true,
        cancelable: true,
        dataTransfer: new DataTransfer(),
      });
      document.querySelector('.dump')!.dispatchEvent(event);
    });
    await expect.poll(alert, { timeout: 60_000 }).toContain('is not a file');
    await dropPath(FIXTURES);
    await expect.poll(alert, { timeout: 60_000 }).toContain('fixtures is a folder: drop a file.');
    await page.getByLabel('Walk to').fill('ffffffff81000000');
    await page.getByRole('button', { name: 'Walk' }).click();
    await page.locator('.levels li').first().waitFor();
    await page.getByLabel('Walk to').fill('nothing');
    await page.getByRole('button', { name: 'Walk' }).click();
    await expect.poll(alert, { timeout: 60_000 }).toContain('“nothing” is not an address');
    await page.getByLabel('CR3').fill('hello');
    await input.setInputFiles({ name: 'a.raw', mimeType: 'application/octet-stream', buffer: core });
    await expect.poll(alert, { timeout: 60_000 }).toContain('“hello” is not an address');
  });

  test.each([
    ['story', '', 'light', 1280],
    ['story', 'scenario=no-flush&step=14', 'dark', 390],
    ['story', 'scenario=by-iterator&step=8', 'light', 390],
    ['story', 'scenario=attack-overwrite&step=5', 'dark', 1280],
    ['dump', 'tab=dump', 'light', 390],
    ['dump', 'tab=dump', 'dark', 1280],
  ] as const)('axe finds nothing: %s, %s, %s, %i px', async (_, hash, colorScheme, width) => {
    await open(hash, { viewport: { width, height: 844 }, colorScheme, reducedMotion: 'reduce' });
    if (hash === 'tab=dump') {
      await page.getByRole('button', { name: 'Linux, 4 levels' }).click();
      await page.locator('.mappings .row').first().waitFor();
    } else await page.locator('.bytes[aria-busy="false"] .pane').first().waitFor();
    await page.evaluate(axeSource);
    const violations = await page.evaluate(async () => {
      const { axe } = globalThis as unknown as {
        axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
      };
      const { violations } = await axe.run();
      return violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
    });
    expect(violations).toEqual([]);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    expect(overflow, 'the page is not wider than the screen').toBeLessThanOrEqual(0);
  });
});
