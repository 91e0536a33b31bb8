/** Addresses, the state in the page's address, the rows of the tree, and the cells of the map. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AddressProblem, parseAddress, resolve } from '../src/model/address.ts';
import { SCENARIOS, scenarioById } from '../src/model/catalogue.ts';
import { cellStates, STATE_TEXT, statesIn, windowOf, ZOOMS } from '../src/model/rmp-map.ts';
import { Timeline } from '../src/model/timeline.ts';
import { entryOf, idsTo, treeRows } from '../src/model/tree-rows.ts';
import { decodeState, encodeState, INITIAL } from '../src/model/url-state.ts';

const isScenario = (id: string): boolean => scenarioById(id) !== undefined;
const PAGE = 0xffff_ff80_4040_0000n;

test('an address of any space can be typed', () => {
  expect(parseAddress('0xffffff8040400000')).toEqual(['virtual', PAGE]);
  expect(parseAddress(' ffff_ff80_4040_0000 ')).toEqual(['virtual', PAGE]);
  expect(parseAddress('g:0xe00000')).toEqual(['guest', 0xe0_0000n]);
  expect(parseAddress('S:1000000')).toEqual(['system', 0x100_0000n]);
  expect(parseAddress('v:1000')).toEqual(['virtual', 0x1000n]);
});

test.each([
  ['', 'is not an address'],
  ['hello', 'is not an address'],
  ['0x', 'is not an address'],
  ['x:12', 'is not an address'],
  ['0x8000000000000000', 'not a canonical virtual address'],
  ['g:0x10000000000000', 'more than 52 bits'],
  ['-1', 'is not an address'],
])('“%s” is refused in one sentence', (text, words) => {
  expect(() => parseAddress(text)).toThrow(AddressProblem);
  expect(() => parseAddress(text)).toThrow(words);
});

test('the three addresses of a page lead to each other', async () => {
  const { steps } = await Timeline.record(scenarioById('by-hand')!);
  for (const { frame } of [steps[0]!, steps.at(-1)!]) {
    const page = resolve(frame, 'virtual', PAGE + 0x123n);
    expect(page.virtual).toBe(PAGE);
    expect(resolve(frame, 'system', page.system!)).toEqual(page);
    expect(resolve(frame, 'guest', page.guest!)).toEqual(page);
  }
});

test('a page that is nowhere has only the address that was typed', async () => {
  const { steps } = await Timeline.record(scenarioById('pte-first')!);
  expect(resolve(steps[0]!.frame, 'virtual', 0x1000n)).toEqual({
    virtual: 0x1000n,
    guest: undefined,
    system: undefined,
  });
});

test('the state goes into the address and comes back', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('story' as const, 'dump' as const),
      fc.constantFrom(...SCENARIOS.map(({ id }) => id)),
      fc.nat(9999),
      fc.option(
        fc.tuple(fc.constantFrom('guest' as const, 'system' as const), fc.bigInt(0n, (1n << 52n) - 1n)),
        { nil: undefined },
      ),
      (tab, scenario, step, selection) => {
        const state = { tab, scenario, step, selection };
        expect(decodeState(`#${encodeState(state)}`, isScenario)).toEqual({ state, problem: undefined });
      },
    ),
  );
});

test('any text is a state, with at most one sentence about it', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const { state, problem } = decodeState(text, isScenario);
      expect(scenarioById(state.scenario)).toBeDefined();
      expect(Number.isInteger(state.step)).toBe(true);
      expect(problem === undefined || problem.length > 10).toBe(true);
    }),
  );
});

test.each([
  ['scenario=nothing', 'the scenario “nothing”, which does not exist'],
  ['step=two', 'step “two”, which is not the number of a step'],
  ['step=-1', 'step “-1”'],
  ['step=1e99', 'step “1e99”'],
  [`step=${'9'.repeat(1000)}`, '999…”'],
  [`at=v:0x${'f'.repeat(10_000)}`, 'fff… is not a canonical virtual address'],
  [`at=s:0x1${'0'.repeat(10_000)}`, '000… is not a physical address'],
  ['scenario=<script>alert(1)</script>', 'the scenario “<script>alert(1)</script>”'],
  ['tab=other', 'the tab “other”, which does not exist'],
  ['at=v:zz', 'is not an address'],
])('#%s is named, and the initial value is taken', (text, words) => {
  const { state, problem } = decodeState(text, isScenario);
  expect(problem).toContain(words);
  expect(state).toEqual(INITIAL);
});

test('the tree has a row for each present entry on the way, and one for each run of absent ones', async () => {
  const { steps } = await Timeline.record(scenarioById('by-hand')!);
  const { tables } = steps.at(-1)!.frame;
  const path = idsTo(4, PAGE);
  const closed = treeRows(tables, new Set());
  expect(closed.reduce((sum, { count }) => sum + count, 0)).toBe(512);
  const rows = treeRows(tables, new Set(path.slice(0, -1)));
  const leaf = rows.find(({ id }) => id === path.at(-1));
  expect(leaf?.vaddr).toBe(PAGE);
  expect(entryOf(tables, leaf!)?.entry.shared).toBe(true);
});

test('the map shows one page, 2 MiB or 2 GiB in a cell, up to the end of memory', async () => {
  const { steps } = await Timeline.record(scenarioById('by-hand')!);
  const { rmp, nested } = steps.at(-1)!.frame;
  const spa = resolve(steps.at(-1)!.frame, 'virtual', PAGE).system!;
  const states = ZOOMS.map((zoom) => {
    const start = windowOf(zoom, spa);
    return cellStates(rmp, nested, zoom, start)[Number((spa - start) / zoom.cell)];
  });
  expect(states).toEqual(['SHARED', 'MIXED', 'MIXED']);
  expect(windowOf(ZOOMS[2]!, spa)).toBe(0n);
  expect(ZOOMS[2]!.cell * 512n).toBe(rmp.size);
});

test('each state has its own words, and each state of a page that is not free its own letter', () => {
  const all = Object.values(STATE_TEXT);
  expect(new Set(all.map(([, text]) => text)).size).toBe(all.length);
  const letters = all.map(([letter]) => letter).filter((letter) => letter !== '');
  expect(letters).toHaveLength(all.length - 3);
  expect(new Set(letters).size).toBe(letters.length);
});

test('the states of a cell of any size are those of its pages', async () => {
  const { steps } = await Timeline.record(scenarioById('by-hand')!);
  const { rmp, nested } = steps.at(-1)!.frame;
  for (const [start, size] of [
    [0n, 1n << 21n],
    [0x100_0000n, 1n << 21n],
    [0x0e0_0000n, 1n << 23n],
    [0n, 1n << 27n],
    [rmp.size - (1n << 21n), 1n << 31n],
  ] as const) {
    const slow = new Map<string, number>();
    const end = start + size < rmp.size ? start + size : rmp.size;
    const zoom = ZOOMS[0]!;
    for (let at = start; at < end; at += zoom.cell * 512n)
      for (const state of cellStates(rmp, nested, zoom, at)) slow.set(state, (slow.get(state) ?? 0) + 1);
    expect(new Map([...statesIn(rmp, nested, start, size)].sort())).toEqual(new Map([...slow].sort()));
  }
});
