/** Random tables, processors and accesses: the fast memory management unit against the slow one, with counts of the outcomes. */
import { type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { type CpuState, cpuState } from '../../src/entry/cpu-state.ts';
import { isPageTableError } from '../../src/entry/page-table-error.ts';
import { type PagingConfig, pagingConfig } from '../../src/entry/paging-config.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { type PhysMemory, readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import type { AccessKind } from '../../src/walk/access.ts';
import type { AccessOptions } from '../../src/walk/access-options.ts';
import { type SlowAccess, slowAccess } from './slow-access.ts';

/** A case in which the two disagree, with everything that is needed to repeat it. */
interface Disagreement {
  readonly index: number;
  readonly fast: unknown;
  readonly slow: unknown;
  readonly vaddr: string;
  readonly kind: AccessKind;
  readonly cpu: CpuState;
  readonly config: PagingConfig;
}

/** The result of a campaign. */
export interface Campaign {
  readonly disagreements: readonly Disagreement[];
  /** The number of times that each kind of outcome occurred: result, level and mode. */
  readonly seen: ReadonlyMap<string, number>;
}

/** The frames of tables: low, around 4 GiB, and high, for the widths that reach there. */
const FRAMES: readonly bigint[] = [
  0x1000n,
  0x2000n,
  0xffff_f000n,
  0x1_0000_0000n,
  0xf_ffff_f000n,
  0x7f_dead_b000n,
  0x3fff_1234_5000n,
  0x5_4321_0fed_c000n,
  0xf_ffff_ffff_f000n,
];
const ENCRYPTIONS = [
  undefined,
  undefined,
  { mode: 'c-bit', bit: 51 },
  { mode: 'c-bit', bit: 47 },
  { mode: 'c-bit', bit: 34 },
  { mode: 'vtom', bit: 45 },
  { mode: 'vtom', bit: 35 },
] as const;
const WIDTHS = [36, 39, 40, 46, 48, 51, 52];
const KINDS: readonly AccessKind[] = ['read', 'write', 'fetch'];
const SIZES = ['4K', '2M', '1G'];

/** A random generator, Mulberry32: small, and the same on every platform. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b_79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

type Random = (below: number) => number;

export function runCampaign(cases: number, seed: number): Campaign {
  const random = randomFrom(seed);
  const memory = createPhysMemory({ regions: FRAMES.map((frame) => physRegion(physAddr(frame), 0x1000)) });
  const seen = new Map<string, number>();
  const disagreements: Disagreement[] = [];
  for (let index = 0; index < cases; index += 1) {
    const config = randomConfig(random);
    const cpu = randomCpu(random);
    const kind = KINDS[random(3)]!;
    const stacks = ['current', 'user'] as const;
    const shadowStack = cpu.cet && kind !== 'fetch' ? stacks[random(4)] : undefined;
    const mode = {
      implicit: shadowStack === undefined && random(4) === 0,
      ...(shadowStack && { shadowStack }),
    };
    const update = random(2) === 0;
    const end = 1n << BigInt(config.physicalBits);
    const encryptionBit = config.encryption === undefined ? 0n : 1n << BigInt(config.encryption.bit);
    const frames = FRAMES.filter((frame) => frame < end && (frame & encryptionBit) === 0n);
    // A root above the encryption bit is refused.
    const roots = encryptionBit === 0n ? frames : frames.filter((frame) => frame < encryptionBit);
    const root = roots[random(roots.length)]!;

    // The slow unit sees the entries of the walk and a few others. Everything else in these frames is 0, and nothing is
    // outside them. The memory of the fast unit is made the same.
    const entries = new Map<bigint, bigint>();
    const vaddr = randomPath(random, config, root, frames, encryptionBit, entries);
    for (const [paddr, entry] of entries) writePhys64(memory, paddr as PhysAddr, entry);
    const read = (paddr: bigint): bigint | undefined =>
      FRAMES.includes(paddr & ~0xfffn) ? (entries.get(paddr) ?? 0n) : undefined;

    const pointer = tagged(random, vaddr);
    const slow = slowAccess(read, root, config, pointer, kind, cpu, mode);
    const table = PageTable.open(root as PhysAddr, { memory, config });
    const fast = tell(table, pointer, kind, cpu, { ...mode, update });
    const expected = { ...told(slow), memory: afterwards(entries, slow, update) };
    const found = { ...fast, memory: contents(memory, entries) };
    if (!same(found, expected)) {
      disagreements.push({ index, fast: found, slow: expected, vaddr: hex(vaddr), kind, cpu, config });
    }
    const isMasked = cpu.uai || cpu.lamSupervisor || cpu.lamUser !== undefined;
    if (index % 8 === 0 && !isMasked) {
      const asked = translated(table, vaddr);
      const wanted = translation(slowAccess(read, root, config, vaddr, 'read', ALL_RIGHTS), slow);
      if (asked !== wanted) {
        disagreements.push({ index, fast: asked, slow: wanted, vaddr: hex(vaddr), kind, cpu, config });
      }
    }
    for (const paddr of entries.keys()) writePhys64(memory, paddr as PhysAddr, 0n);
    // Only the entries were written.
    if (index % 1024 === 0 && !isClear(memory)) {
      disagreements.push({ index, fast: 'a stray write', slow: '', vaddr: hex(vaddr), kind, cpu, config });
    }
    const name = nameOf(slow, config, kind, cpu, mode);
    seen.set(name, (seen.get(name) ?? 0) + 1);
  }
  return { disagreements, seen };
}

function randomConfig(random: Random): PagingConfig {
  const encryption = ENCRYPTIONS[random(ENCRYPTIONS.length)];
  return pagingConfig({
    levels: random(2) === 0 ? 4 : 5,
    physicalBits: WIDTHS[random(WIDTHS.length)]!,
    noExecute: random(4) > 0,
    giantPages: random(4) > 0,
    globalPages: random(2) > 0,
    vendor: random(2) === 0 ? 'amd' : 'intel',
    ...(encryption === undefined ? {} : { encryption }),
  });
}

function randomCpu(random: Random): CpuState {
  // Each pair of bits belongs to one key. Few of them deny.
  const keys = (): number => ((random(2 ** 32) & random(2 ** 32)) >>> 0) & 0xffff_ffff;
  const wp = random(2) === 0;
  return cpuState({
    cpl: ([0, 0, 0, 1, 2, 3, 3, 3, 3, 3] as const)[random(10)]!,
    wp,
    smep: random(2) === 0,
    smap: random(2) === 0,
    // CR4.CET needs CR0.WP.
    cet: random(2) === 0 && wp,
    lamUser: ([undefined, undefined, 48, 57] as const)[random(4)],
    lamSupervisor: random(3) === 0,
    uai: random(8) === 0,
    ac: random(2) === 0,
    pkru: random(2) === 0 ? undefined : keys() >>> 0,
    pkrs: random(2) === 0 ? undefined : keys() >>> 0,
  });
}

/** A pointer for an address: the same, or with other bits above the address of 57 or 48 bits. */
function tagged(random: Random, vaddr: bigint): bigint {
  if (random(3) > 0) return vaddr;
  const [from, to] = (
    [
      [57, 62],
      [48, 62],
      [57, 63],
      [47, 63],
    ] as const
  )[random(4)]!;
  return vaddr ^ ((BigInt(random(2 ** 16)) << BigInt(from)) & ((1n << BigInt(to + 1)) - 1n));
}

/** Writes a path of entries, each of which can have one defect. Returns the address that it maps. */
function randomPath(
  random: Random,
  config: PagingConfig,
  root: bigint,
  frames: readonly bigint[],
  encryptionBit: bigint,
  entries: Map<bigint, bigint>,
): bigint {
  const { levels } = config;
  const leafLevel = config.giantPages || random(8) === 0 ? random(3) : random(2);
  const isUser = random(3) > 0;
  const isUsed = random(3) === 0;
  let vaddr = BigInt(random(4096));
  let table = root;
  // Few indexes, so that a table that leads to itself uses one entry at two levels.
  const index = (): bigint => BigInt([0, 1, 255, 256, 511, random(512)][random(6)]!);
  const always = random(4) === 0 ? index() : undefined;
  const wrong = random(3) === 0 ? (random(3) > 0 ? random(levels) : 0) : -1;
  for (let level = levels - 1; level >= 0; level -= 1) {
    const at = always ?? index();
    vaddr |= at << BigInt(12 + 9 * level);
    if (level < leafLevel) continue;
    const isLeaf = level === leafLevel;
    let entry = 1n | BigInt(random(4) > 0 ? 2 : 0) | BigInt(isUser && random(12) > 0 ? 4 : 0);
    entry |= BigInt(random(4) << 3) | BigInt(isUsed ? 0x60 : random(4) << 5) | BigInt(random(8) << 9);
    entry |= BigInt(random(2048)) << 52n;
    if (config.noExecute && random(isLeaf ? 3 : 12) === 0) entry |= 1n << 63n;
    if (random(2) === 0) entry |= encryptionBit;
    let next = random(5) === 0 ? table : frames[random(frames.length)]!;
    if (isLeaf) {
      next = (BigInt(random(2 ** 32)) << 20n) | (BigInt(random(2 ** 8)) << 12n);
      next &= (1n << BigInt(config.physicalBits)) - (1n << BigInt(12 + 9 * level));
      next &= ~encryptionBit;
      entry |= BigInt(random(2) << 8);
      if (level === 0) entry |= BigInt(random(2) << 7);
      else entry |= 0x80n | (BigInt(random(2)) << 12n);
    }
    entry |= next;
    if (level === wrong) {
      const how = random(10);
      if (how < 4) entry &= ~1n;
      else if (how < 7) entry |= 1n << BigInt(12 + random(40));
      else if (how === 7) entry |= 0x80n;
      else if (how === 8) entry |= 0x100n;
      else entry |= 1n << 63n;
    }
    entries.set(table + 8n * at, entry);
    // A decoy next to it.
    if (random(4) === 0) {
      const beside = table + 8n * (at ^ 1n);
      if (!entries.has(beside)) entries.set(beside, BigInt(random(2 ** 32)) << 32n);
    }
    table = next;
  }
  vaddr = BigInt.asUintN(64, BigInt.asIntN(levels === 5 ? 57 : 48, vaddr));
  return random(25) === 0
    ? vaddr ^ (1n << BigInt((levels === 5 ? 56 : 47) + random(levels === 5 ? 8 : 17)))
    : vaddr;
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

interface Told {
  readonly outcome: string;
  readonly set: readonly string[];
}

const sorted = (set: Iterable<readonly [bigint, bigint]>): string[] =>
  [...set].map(([paddr, entry]) => `${hex(paddr)}=${hex(entry)}`).sort();

function told(slow: SlowAccess): Told {
  switch (slow.t) {
    case 'ok':
      return { outcome: `ok ${hex(slow.pa)} ${slow.size} ${slow.shared}`, set: sorted(slow.set) };
    case 'pf':
      return { outcome: `#PF ${slow.err} level ${slow.level} cr2 ${hex(slow.linear)}`, set: [] };
    default:
      return { outcome: slow.t, set: [] };
  }
}

function tell(
  table: PageTable,
  vaddr: bigint,
  kind: AccessKind,
  cpu: CpuState,
  options: AccessOptions,
): Told {
  try {
    const result = table.access(vaddr as VirtAddr, kind, cpu, options);
    if (result.type === 'general-protection') return { outcome: 'gp', set: [] };
    if (result.type === 'page-fault') {
      const { errorCode, level, cr2 } = result;
      return { outcome: `#PF ${errorCode} level ${level} cr2 ${hex(cr2)}`, set: [] };
    }
    const { paddr, size, shared, updates } = result;
    const set = sorted(updates.map(({ paddr, entry }) => [paddr, entry] as const));
    return { outcome: `ok ${hex(paddr)} ${size} ${shared}`, set };
  } catch (error) {
    if (isPageTableError(error, 'BUS_ERROR')) return { outcome: 'bus', set: [] };
    throw error;
  }
}

/** The expected entries after the access. */
function afterwards(entries: ReadonlyMap<bigint, bigint>, slow: SlowAccess, update: boolean): string[] {
  const set = slow.t === 'ok' && update ? slow.set : new Map<bigint, bigint>();
  return [...entries].map(([paddr, entry]) => `${hex(paddr)}=${hex(set.get(paddr) ?? entry)}`);
}

function contents(memory: PhysMemory, entries: ReadonlyMap<bigint, bigint>): string[] {
  return [...entries.keys()].map((paddr) => `${hex(paddr)}=${hex(readPhys64(memory, paddr as PhysAddr))}`);
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

function isClear(memory: PhysMemory): boolean {
  return FRAMES.every((frame) => {
    const number = Number(frame >> 12n);
    const at = memory.wordOffset(number);
    return memory
      .words(number, false)
      .subarray(at, at + 1024)
      .every((word) => word === 0);
  });
}

/** A processor in supervisor mode to which no page is denied. */
const ALL_RIGHTS = cpuState({ cpl: 0, wp: false, smep: false, smap: false });

function translated(table: PageTable, vaddr: bigint): string {
  try {
    const paddr = table.translate(vaddr as VirtAddr);
    return paddr === undefined ? 'none' : hex(paddr);
  } catch (error) {
    return isPageTableError(error) ? error.code : String(error);
  }
}

/** The expected result of `translate` where a read with all rights has the result `slow`. */
function translation(slow: SlowAccess, first: SlowAccess): string {
  if (slow.t === 'ok') return hex(slow.pa);
  if (slow.t === 'gp') return 'NON_CANONICAL';
  if (slow.t === 'bus') return 'BUS_ERROR';
  // The first access can have set accessed bits since, which makes no difference here.
  if (first.t === 'ok') return 'a translation went away';
  return (slow.err & 8) !== 0 ? 'RESERVED_BITS' : 'none';
}

/** The kind of an outcome, for the histogram. */
function nameOf(
  slow: SlowAccess,
  config: PagingConfig,
  kind: AccessKind,
  cpu: CpuState,
  { implicit, shadowStack }: Pick<AccessOptions, 'implicit' | 'shadowStack'>,
): string {
  if (slow.t === 'gp') return '#GP';
  if (slow.t === 'bus') return 'bus error';
  const own = cpu.cpl === 3 ? 'user' : 'supervisor';
  const mode = shadowStack !== undefined ? `shadow stack, ${own}` : implicit ? 'implicit' : own;
  if (slow.t === 'ok') {
    const bits = slow.set.size === 0 ? 'A/D set before' : 'sets A/D';
    return `ok ${config.levels} levels, ${SIZES[slow.level]}, ${kind}, ${bits}`;
  }
  if ((slow.err & 8) !== 0) return `#PF reserved, level ${slow.level}`;
  if ((slow.err & 1) === 0) return `#PF not present, level ${slow.level}`;
  return `#PF ${(slow.err & 32) === 0 ? 'rights' : 'key'}, ${kind}, ${mode}, ${SIZES[slow.level]}`;
}
