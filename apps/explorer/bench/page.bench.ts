/**
 * The page in Chromium: the size of its first load, the time until it can be used, and the work for a step. The limits are those of
 * the README: 200 KB, 1 s, 16 ms.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { CDPSession, Page } from 'playwright-core';
import { CHROMIUM, DIST, type Served, serve } from '../test/support/browser.ts';

/** Those with the most steps: of the loop, and of all attacks. */
const SCENARIOS = ['by-hand', 'attack-share-half-refused'];
const LOADS = 9;
const JUMPS = 15;
/** Loads of a scenario. The time of a step is the median of them, since a shared machine is twice as slow at moments. */
const ROUNDS = 5;

function report(what: string, times: readonly number[]): void {
  const sorted = times.toSorted((a, b) => a - b);
  const text = (at: number): string => sorted[Math.floor(at * (sorted.length - 1))]!.toFixed(1).padStart(6);
  console.log(
    `${what.padEnd(44)} least ${text(0)} ms, median ${text(0.5)} ms, most ${text(1)} ms, of ${times.length}`,
  );
}

/** The median of each step, and the worst single measurement. */
function reportSteps(what: string, rounds: readonly (readonly number[])[]): void {
  const medians = rounds[0]!.map(
    (_, step) => rounds.map((times) => times[step]!).toSorted((a, b) => a - b)[ROUNDS >> 1]!,
  );
  report(what, medians);
  console.log(
    `${''.padEnd(44)} the slowest single one ${Math.max(...rounds.flat())
      .toFixed(1)
      .padStart(6)} ms`,
  );
}

/** The files of the first load: all but the tab of dumps and its worker. */
function reportSizes(): void {
  const sizes = ['index.html', ...readdirSync(join(DIST, 'assets')).map((name) => `assets/${name}`)]
    .filter((name) => !/dump/.test(name))
    .map((name) => [name, gzipSync(readFileSync(join(DIST, name))).length] as const);
  for (const [name, size] of [
    ...sizes,
    ['first load', sizes.reduce((sum, [, size]) => sum + size, 0)] as const,
  ])
    console.log(`${name.padEnd(44)} ${(size / 1000).toFixed(1).padStart(6)} KB of gzip`);
}

/** Opens the page without a cache. `ready`: milliseconds from the start of its load to its steps, which can be used then. */
async function load({ browser, url }: Served, hash: string): Promise<{ page: Page; ready: number }> {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
  await page.addInitScript(() => {
    const observer = new MutationObserver(() => {
      if (document.querySelector('.steps button') === null) return;
      observer.disconnect();
      performance.mark('ready');
    });
    observer.observe(document, { childList: true, subtree: true });
  });
  await page.goto(`${url}#${hash}`);
  await page.locator('.steps button').first().waitFor();
  return { page, ready: await page.evaluate(() => performance.getEntriesByName('ready')[0]!.startTime) };
}

/** Milliseconds that the main thread of the page has worked. Time of other programs does not count. */
async function worked(cdp: CDPSession): Promise<number> {
  const { metrics } = await cdp.send('Performance.getMetrics');
  return metrics.find(({ name }) => name === 'TaskDuration')!.value * 1000;
}

/** The work of the main thread for each action, up to the end of the frame that shows it. */
async function workFor(page: Page, actions: readonly string[]): Promise<number[]> {
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('Performance.enable', { timeDomain: 'threadTicks' });
  const times: number[] = [];
  // The first evaluation of a page brings the helpers of the driver.
  await page.evaluate('0');
  for (const action of actions) {
    const before = await worked(cdp);
    await page.evaluate(`${action}; new Promise((done) => requestAnimationFrame(() => setTimeout(done)))`);
    times.push((await worked(cdp)) - before);
    // The bytes of the step come from the worker.
    await page.waitForTimeout(250);
  }
  await cdp.detach();
  return times;
}

interface TraceEvent {
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly tdur?: number;
  readonly args: { readonly name?: string };
}

/** The longest task of the main thread for each action: while one runs, the page paints no frame. */
async function longestTaskFor(
  { browser }: Served,
  page: Page,
  actions: readonly string[],
): Promise<number[]> {
  const times: number[] = [];
  await page.evaluate('0');
  for (const action of actions) {
    await browser.startTracing(page, { categories: ['toplevel'] });
    await page.evaluate(`${action}; new Promise((done) => requestAnimationFrame(() => setTimeout(done)))`);
    const { traceEvents } = JSON.parse((await browser.stopTracing()).toString()) as {
      traceEvents: TraceEvent[];
    };
    const main = traceEvents.filter(({ args }) => args.name === 'CrRendererMain');
    const tasks = traceEvents.filter(({ pid, tid }) =>
      main.some((thread) => thread.pid === pid && thread.tid === tid),
    );
    times.push(Math.max(...tasks.map(({ tdur = 0 }) => tdur / 1000)));
    await page.waitForTimeout(250);
  }
  return times;
}

const click = (name: string): string => `document.querySelector('[aria-label="${name}"]').click()`;
const scrub = (step: number): string =>
  `{ const slider = document.querySelector('[type=range]'); slider.value = ${step}; slider.dispatchEvent(new Event('input', { bubbles: true })); }`;

async function reportPage(served: Served): Promise<void> {
  console.log(`Chromium ${served.browser.version()}`);
  const ready: number[] = [];
  for (let round = 0; round < LOADS; round += 1) {
    const { page, ready: time } = await load(served, '');
    ready.push(time);
    await page.close();
  }
  report('from the start of the load to the story', ready);
  for (const scenario of SCENARIOS) {
    const times: Record<'forward' | 'back' | 'scrub' | 'longest', number[][]> = {
      forward: [],
      back: [],
      scrub: [],
      longest: [],
    };
    for (let round = 0; round < ROUNDS; round += 1) {
      const { page } = await load(served, `scenario=${scenario}`);
      await page.waitForTimeout(1000);
      const count = await page.locator('.steps button').count();
      times.forward.push(await workFor(page, Array(count - 1).fill(click('Step forward'))));
      times.back.push(await workFor(page, Array(count - 1).fill(click('Step back'))));
      const jumps = Array.from({ length: JUMPS }, (_, i) => scrub((i * 7919) % count));
      times.scrub.push(await workFor(page, jumps));
      await page.close();
      const { page: anew } = await load(served, `scenario=${scenario}`);
      await anew.waitForTimeout(1000);
      times.longest.push(await longestTaskFor(served, anew, Array(count - 1).fill(click('Step forward'))));
      await anew.close();
    }
    reportSteps(`${scenario}: forward`, times.forward);
    reportSteps(`${scenario}: back`, times.back);
    reportSteps(`${scenario}: scrub`, times.scrub);
    reportSteps(`${scenario}: forward, longest task`, times.longest);
  }
}

reportSizes();
if (CHROMIUM === undefined) {
  console.log(
    'skipped: there is no Chromium. Install it with apt-get install chromium, or name one in CHROMIUM.',
  );
} else {
  const served = await serve();
  await reportPage(served);
  await served.close();
}
