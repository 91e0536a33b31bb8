/**
 * Tables of random bits, with loops, leaves at levels without pages, and entries that lead outside memory. Every operation
 * agrees with the slow memory management unit or throws a coded error. None hangs, and one that throws has changed nothing.
 */
import process from 'node:process';
import { PageSize, type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import type { MapOptions } from '../../src/edit/page-table-options.ts';
import { cpuState } from '../../src/entry/cpu-state.ts';
import { ERRORS_OF } from '../../src/entry/error-codes.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { type PagingConfig, pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import type { FrameAllocator } from '../../src/memory/frame-allocator.ts';
import { PageTable } from '../../src/table/page-table.ts';
import type { AccessResult } from '../../src/walk/access.ts';
import type { Walk } from '../../src/walk/walk.ts';
import { randomFrom } from '../support/access-campaign.ts';
import { type SlowAccess, slowAccess } from '../support/slow-access.ts';

/** 40,000 operations every day; `FC_NUM_RUNS` makes them more. */
const CASES = 400 * Number(process.env['FC_NUM_RUNS']);
/** The number of frames that can be tables, and of those after them, which an allocator hands out. */
const TABLES = 6;
const SPARE = 5;
const BYTES = (TABLES + SPARE) * 0x1000;
const INDEXES = [0, 1, 2, 255, 256, 511];
const SIZES = [PageSize.Regular, PageSize.Huge, PageSize.Giant] as const;
const ALL = cpuState({ wp: false, smep: false, smap: false });

const CONFIGS: readonly PagingConfig[] = [
  pagingConfig({ cBit: 51, physicalBits: 46 }),
  pagingConfig({ cBit: 47, levels: 5, physicalBits: 52, noExecute: false }),
  pagingConfig({
    encryption: { mode: 'vtom', bit: 40 },
    physicalBits: 48,
    giantPages: false,
    vendor: 'intel',
  }),
];

type Random = (below: number) => number;

/** An entry: sound, with one corrupted bit, or all random. It never leads to a spare frame, which is not in use. */
function randomEntry(random: Random, config: PagingConfig, isTight: boolean): bigint {
  if (isTight) return random(2) === 0 ? 0n : (BigInt(random(TABLES)) << 12n) | 7n;
  for (;;) {
    const entry = anyEntry(random, config);
    const encryption = 1n << BigInt(config.encryption?.bit ?? 0);
    const frame = (entry & 0xf_ffff_ffff_f000n & ~encryption) >> 12n;
    if (frame < TABLES || frame >= TABLES + SPARE) return entry;
  }
}

function anyEntry(random: Random, config: PagingConfig): bigint {
  const kind = random(16);
  if (kind < 3) return (BigInt(random(2 ** 31)) << 33n) | (BigInt(random(2 ** 31)) << 1n);
  if (kind === 3) return (BigInt(random(2 ** 32)) << 32n) | BigInt(random(2 ** 32));
  const encryption = random(2) === 0 ? 1n << BigInt(config.encryption?.bit ?? 0) : 0n;
  let entry = BigInt(random(TABLES)) << 12n;
  entry |= 1n | BigInt(random(8) << 1) | BigInt(random(4) << 5) | encryption;
  if (kind < 7) entry |= 0x80n | ((BigInt(random(2 ** 16)) << 21n) & ~encryption);
  if (kind === 7) entry |= 1n << BigInt(12 + random(40));
  if (kind === 8) entry |= 1n << 63n;
  return entry;
}

test(`${CASES} operations on tables of random bits`, () => {
  const random = randomFrom(7);
  const buffer = new ArrayBuffer(BYTES);
  const words = new BigUint64Array(buffer);
  const before = new BigUint64Array(words.length);
  const own = createPhysMemory({ buffer });
  const seen = new Map<string, number>();
  const wrong: unknown[] = [];
  let config = CONFIGS[0]!;
  const read = (paddr: bigint): bigint | undefined => words[Number(paddr / 8n)];
  const slow = (vaddr: bigint): SlowAccess => slowAccess(read, 0n, config, vaddr, 'read', ALL);

  for (let i = 0; i < CASES; i += 1) {
    if (i % 500 === 0) {
      config = CONFIGS[random(CONFIGS.length)]!;
      // Some tables are full, some have entries at a few indexes, some lead only to each other. Spare frames keep old
      // content.
      const fill = random(3);
      for (let at = 0; at < words.length; at += 1) {
        const isPlace = fill === 0 || INDEXES.includes(at % 512);
        words[at] = isPlace ? randomEntry(random, config, fill === 2) : 0n;
      }
      before.set(words);
    }
    const { levels } = config;
    let vaddr = BigInt(random(4) === 0 ? random(4096) : 0);
    for (let level = 0; level < levels; level += 1) {
      vaddr |= BigInt(INDEXES[random(6)]!) << BigInt(12 + 9 * level);
    }
    vaddr = BigInt.asUintN(64, BigInt.asIntN(levels === 5 ? 57 : 48, vaddr));
    if (random(50) === 0) vaddr ^= 1n << 60n;

    const frames = new Frames(random(SPARE + 1));
    const freeEmptyTables = random(2) === 0;
    const table = PageTable.open(physAddr(0), { memory: own, config, frames, freeEmptyTables });
    const [name, operation, afterwards] = pick(random, table, vaddr as VirtAddr, levels);
    const old = slow(vaddr);
    let code = 'done';
    let check: Check | undefined;
    try {
      const answer = operation();
      check = typeof answer === 'function' ? (answer as Check) : afterwards;
    } catch (error) {
      if (!isPageTableError(error)) throw error;
      code = error.code;
      if (!codesOf(name).includes(code)) wrong.push({ i, name, code, problem: 'not a code of its row' });
      if (!isSame(words, before)) wrong.push({ i, name, code, problem: 'memory has changed' });
      if (frames.given.size > 0) wrong.push({ i, name, code, problem: 'frames are lost' });
    }
    const problem = check?.(old, slow(vaddr), slow) ?? frames.problem;
    if (problem !== undefined) wrong.push({ i, name, vaddr: vaddr.toString(16), problem, old });
    if (wrong.length > 3) break;
    const outcome = `${name}: ${code}`;
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
    words.set(before);
  }
  expect(wrong).toEqual([]);
  // Each operation has succeeded at times, and has met corrupted tables at times.
  const names = new Set([...seen.keys()].map((outcome) => outcome.replace(/:.*/, '')));
  for (const name of names) {
    const codes = [...seen.keys()].filter((outcome) => outcome.startsWith(`${name}: `));
    expect([name, codes.includes(`${name}: done`), codes.length > 1]).toEqual([name, true, true]);
  }
  expect(names.size).toBe(NAMES);
});

/** Checks an operation that did not throw, by the translations before and after. Returns the problem, if there is one. */
type Check = (old: SlowAccess, now: SlowAccess, slow: (vaddr: bigint) => SlowAccess) => string | undefined;

const isAbsent = (outcome: SlowAccess): boolean => outcome.t === 'pf' && (outcome.err & 9) === 0;

/** The codes that an operation can throw. The first word of its name is the operation, after `all`. */
function codesOf(name: string): readonly string[] {
  const operation = name.replace(/^all /, '').replace(/ .*/, '');
  const rows = operation === 'map' || operation === 'unmap' ? ['4k', '2m', '1g'] : [''];
  const table: Readonly<Record<string, readonly string[]>> = ERRORS_OF;
  return rows.flatMap((size) => table[`PageMapper.${operation}${size}`] ?? table[`PageTable.${operation}`]!);
}

/** The name of an operation, the call, and the check of its effect. A call that only looks returns its own check. */
type Operation = readonly [name: string, run: () => unknown, check?: Check];

const NAMES = 22;

/** A random operation at `vaddr`, or on the region that begins there. */
function pick(random: Random, table: PageTable, vaddr: VirtAddr, levels: 4 | 5): Operation {
  const size = SIZES[random(3)] as PageSize;
  const aligned = (vaddr - (vaddr % BigInt(size))) as VirtAddr;
  const page = (vaddr - (vaddr % 4096n)) as VirtAddr;
  const paddr = physAddr(BigInt(random(64)) * BigInt(size));
  const shared = random(2) === 0;
  const end = page + BigInt([1, 1, 2, 512, 513, 0x4_0000][random(6)]!) * 4096n;
  const region = { start: page, end };
  const last = end - 4096n;
  const same = (old: SlowAccess, now: SlowAccess): boolean =>
    old.t === 'ok' && now.t === 'ok' && old.pa === now.pa;
  const remap = random(2) === 0;
  const sized = <T>(by4k: T, by2m: T, by1g: T): T => [by4k, by2m, by1g][SIZES.indexOf(size)] as T;
  const mapped =
    (at: bigint, pa: bigint): Check =>
    (_, __, slow) => {
      const now = slow(at);
      if (now.t === 'ok' && now.pa === pa && now.shared === shared) return undefined;
      return `not mapped to ${pa}`;
    };
  const unmapped: Check = (_, now) => (now.t === 'ok' ? 'still mapped' : undefined);
  const visible =
    (wanted: boolean): Check =>
    (old, now) =>
      same(old, now) && now.t === 'ok' && now.shared === wanted ? undefined : 'not as it should be';

  // Flags are plain numbers here, for pages of any size.
  type Map = (vaddr: VirtAddr, paddr: PhysAddr, flags: number, options?: MapOptions) => void;
  const map = sized<Map>(table.map4k, table.map2m, table.map1g);
  const unmap = sized(table.unmap4k, table.unmap2m, table.unmap1g);
  const one = { start: aligned, end: aligned + BigInt(size) };
  const share = { shared, remap };
  const kept: Check = (old, now) => (same(old, now) ? undefined : 'another page');
  const split: Check = (old, now) =>
    same(old, now) && now.t === 'ok' && now.size === 4096n ? undefined : 'not split';

  const all: readonly Operation[] = [
    ['translate', () => translatesTo(table.translate(vaddr))],
    ['walk', () => walksTo(table.walk(vaddr), levels)],
    ['access', () => accesses(table.access(vaddr, 'read', ALL))],
    ['mappings', () => lists(table, 'mappings', region, vaddr)],
    ['leaves', () => lists(table, 'leaves', region, vaddr)],
    ['map', () => map.call(table, aligned, paddr, 3, share), mapped(aligned, paddr)],
    ['unmap', () => unmap.call(table, aligned), unmapped],
    ['setShared4k', () => table.setShared4k(page), visible(true)],
    ['setEncrypted4k', () => table.setEncrypted4k(page), visible(false)],
    ['split4k', () => table.split4k(vaddr), split],
    ['collapse', () => table.collapse(vaddr), kept],
    ['protect4k', () => table.protect4k(page, { set: PteFlags.Software9 }), kept],
    ['mapRegion', () => table.mapRegion(region, paddr, 3, share), mapped(last, paddr + last - page)],
    [
      'mapRegion of one size',
      () => table.mapRegion(one, paddr, 3, { ...share, pageSize: size }),
      mapped(aligned, paddr),
    ],
    ['unmapRegion', () => table.unmapRegion(region), unmapped],
    ['unmapRegion with holes', () => table.unmapRegion(region, { allowHoles: true }), unmapped],
    ['protectRegion', () => table.protectRegion(region, { clear: PteFlags.Writable }), kept],
    ['setSharedRegion', () => table.setSharedRegion(region), visible(true)],
    ['setEncryptedRegion', () => table.setEncryptedRegion(region), visible(false)],
    ['all countTables', () => table.countTables()],
    ['all cloneShared', () => table.cloneShared([INDEXES[random(6)]!])],
    ['all destroy', () => table.destroy()],
  ];
  // Operations on all tables are picked less often.
  return all[random(20) === 0 ? random(all.length) : random(all.length - 3)]!;
}

function translatesTo(paddr: PhysAddr | undefined): Check {
  return (old) => {
    if (old.t === 'ok') return paddr === old.pa ? undefined : `it is ${paddr}`;
    return paddr === undefined && isAbsent(old) ? undefined : `it is ${paddr}`;
  };
}

function walksTo({ path, page }: Walk, levels: 4 | 5): Check {
  return (old) => {
    if (old.t !== 'ok') return page === undefined && isAbsent(old) ? undefined : 'a page';
    const { paddr, size, shared } = page ?? {};
    if (paddr !== old.pa || shared !== old.shared || BigInt(size ?? 0) !== old.size) return 'another page';
    return path.length === levels - old.level ? undefined : 'another path';
  };
}

function accesses(result: AccessResult): Check {
  return (old) => {
    if (result.type === 'general-protection') return old.t === 'gp' ? undefined : 'no #GP';
    if (result.type === 'page-fault') {
      return old.t === 'pf' && result.errorCode === old.err ? undefined : 'another fault';
    }
    const isSame = old.t === 'ok' && result.paddr === old.pa && result.updates.length === old.set.size;
    return isSame ? undefined : 'another translation';
  };
}

/** The beginning of a listing. Its statement about the page of `vaddr` must be that of a walk. */
function lists(
  table: PageTable,
  what: 'mappings' | 'leaves',
  within: { start: VirtAddr; end: bigint },
  vaddr: VirtAddr,
): Check {
  const faults: string[] = [];
  const listing = table[what]({ within, onFault: ({ code }) => faults.push(code) });
  const [first] = listing.take(1);
  return (old) => {
    if (first === undefined) return old.t === 'ok' ? 'nothing listed' : undefined;
    const start = 'region' in first ? first.region.start : first.vaddr;
    const paddr = 'region' in first ? first.paddr : first.frame;
    const page = vaddr - (vaddr % 4096n);
    if (start > page) return old.t === 'ok' ? 'not listed' : undefined;
    return old.t === 'ok' && old.pa === paddr + (vaddr - start) ? undefined : 'listed otherwise';
  };
}

/** Hands out spare frames until it runs out. Takes any table back, but none twice. */
class Frames implements FrameAllocator {
  readonly given: Set<PhysAddr> = new Set();
  readonly #returned: Set<PhysAddr> = new Set();
  readonly #count: number;
  problem: string | undefined;
  #next = 0;

  constructor(count: number) {
    this.#count = count;
  }

  allocateFrame(): PhysAddr {
    if (this.#next === this.#count) throw new Error('none left');
    const frame = physAddr((TABLES + this.#next) * 0x1000);
    this.#next += 1;
    this.given.add(frame);
    return frame;
  }

  freeFrame(frame: PhysAddr): void {
    if (this.given.delete(frame)) return;
    if (frame >= BYTES) this.problem = `${frame} is not a frame`;
    if (this.#returned.has(frame)) this.problem = `${frame} is given back twice`;
    this.#returned.add(frame);
  }
}

function isSame(words: BigUint64Array, before: BigUint64Array): boolean {
  // Spare frames can have been cleared and given back.
  const length = TABLES * 0x1000;
  return Buffer.compare(Buffer.from(words.buffer, 0, length), Buffer.from(before.buffer, 0, length)) === 0;
}
