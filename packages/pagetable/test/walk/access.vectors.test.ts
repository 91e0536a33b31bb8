/** Every access of the vectors, as an emulated processor executed it: see `fixtures/README.md`. */
import { type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { cpuStateFromRegisters } from '../../src/entry/cpu-state.ts';
import { pagingConfigFromRegisters } from '../../src/entry/paging-config.ts';
import { type PhysMemory, readPhys64, writePhys64 } from '../../src/memory/phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { type AccessKind, PageFaultCode } from '../../src/walk/access.ts';
import { fixturesOf, fixtureText } from '../support/fixtures.ts';
import { slowAccess } from '../support/slow-access.ts';

interface Vector {
  readonly id: string;
  readonly la: string;
  readonly acc: 'r' | 'w' | 'x';
  readonly cpl: 0 | 3;
  readonly ac: 0 | 1;
  readonly cr0: string;
  readonly cr3: string;
  readonly cr4: string;
  readonly efer: string;
  readonly maxpa?: number;
  readonly pkru?: string;
  readonly pkrs?: string;
  readonly mem: readonly (readonly [string, string])[];
  readonly out:
    | { readonly t: 'ok'; readonly pa?: string; readonly set: readonly (readonly [string, string])[] }
    | { readonly t: 'pf'; readonly err: number }
    | { readonly t: 'gp' };
  readonly amd8?: 1;
  /** An access to a shadow stack; with `user`, by WRUSSQ. */
  readonly ss?: 1;
  readonly by?: string;
  readonly user?: 1;
}

const KINDS: Record<Vector['acc'], AccessKind> = { r: 'read', w: 'write', x: 'fetch' };

/** The entries of a vector. The words around them, which a correct walk never reads, are present with reserved bits set. */
class VectorMemory implements PhysMemory {
  readonly epoch: number = Number.NaN;
  readonly #frames: Map<number, Uint32Array> = new Map();
  writes = 0;

  constructor(entries: Vector['mem']) {
    for (const [address] of entries) {
      this.#frames.set(Number(BigInt(address) >> 12n), new Uint32Array(1024).fill(0xffff_ffff));
    }
    for (const [address, entry] of entries) writePhys64(this, physAddr(BigInt(address)), BigInt(entry));
    this.writes = 0;
  }

  words(frame: number, write: boolean): Uint32Array {
    const words = this.#frames.get(frame);
    if (words === undefined) throw new Error(`a correct walk does not need frame 0x${frame.toString(16)}`);
    if (write) this.writes += 1;
    return words;
  }

  wordOffset(): number {
    return 0;
  }
}

const cpuOf = ({ cr0, cr4, cpl, ac, pkru, pkrs }: Vector) =>
  cpuStateFromRegisters({
    cr0: BigInt(cr0),
    cr4: BigInt(cr4),
    cpl,
    rflags: ac === 1 ? 1n << 18n : 0n,
    pkru: BigInt(pkru ?? 0),
    pkrs: BigInt(pkrs ?? 0),
  });

const optionsOf = ({ ss, user }: Vector): { shadowStack?: 'current' | 'user' } =>
  ss === 1 ? { shadowStack: user === 1 ? 'user' : 'current' } : {};

/** The expected result, in the words of the vectors. */
function expectedOf(vector: Vector, vendor: 'amd' | 'intel'): unknown {
  if (vendor === 'intel' || vector.amd8 !== 1) return vector.out;
  const base = vector.acc === 'w' ? PageFaultCode.Write : 0;
  const fetches = vector.acc === 'x' && (BigInt(vector.efer) & 0x800n || BigInt(vector.cr4) & 0x10_0000n);
  const err =
    base |
    (vector.cpl === 3 || vector.user === 1 ? PageFaultCode.User : 0) |
    (vector.ss === 1 ? PageFaultCode.ShadowStack : 0) |
    (fetches ? PageFaultCode.Fetch : 0) |
    PageFaultCode.Present |
    PageFaultCode.Reserved;
  return { t: 'pf', err };
}

function run(vector: Vector, vendor: 'amd' | 'intel', update: boolean) {
  const memory = new VectorMemory(vector.mem);
  const config = pagingConfigFromRegisters(
    { cr4: BigInt(vector.cr4), efer: BigInt(vector.efer) },
    { physicalBits: vector.maxpa ?? 40, vendor },
  );
  const root = physAddr(BigInt(vector.cr3) & 0xf_ffff_ffff_f000n);
  const table = PageTable.open(root, { memory, config });
  const options = { update, ...optionsOf(vector) };
  const result = table.access(BigInt(vector.la) as VirtAddr, KINDS[vector.acc], cpuOf(vector), options);
  return { memory, config, root, result };
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** The result in the words of the vectors. */
function told({ result }: ReturnType<typeof run>, vector: Vector): unknown {
  if (result.type === 'general-protection') return { t: 'gp' };
  if (result.type === 'page-fault') return { t: 'pf', err: result.errorCode };
  const set = result.updates.map(({ paddr, entry }) => [hex(paddr), hex(entry)]);
  return inWords({ t: 'ok', pa: hex(result.paddr), set }, vector);
}

/** INCSSPQ discards what it reads: no physical address was observed. */
function inWords<T extends { pa: string }>(outcome: T, { by }: Vector): Partial<T> {
  const { pa, ...rest } = outcome;
  return by === 'incsspq' ? (rest as Partial<T>) : outcome;
}

const sorted = (outcome: unknown): unknown => {
  const { set, ...rest } = outcome as { set?: readonly (readonly [string, string])[] };
  return set === undefined ? rest : { ...rest, set: [...set].sort(([a], [b]) => (a < b ? -1 : 1)) };
};

/** The number of lines of the files in `fixtures/`, so that a lost one is noticed. */
const COUNTS: Record<string, number> = {
  'mmu-dev': 5000,
  'mmu-la57-dev': 2000,
  'mmu-pk-dev': 1000,
  'cet-dev': 800,
  'cet-la57-dev': 300,
};

/** The files of accesses: not those of control registers (`ctl-`) or of a TLB (`tlb-`). */
const FILES = fixturesOf('.jsonl.gz').filter((name) => !/^(ctl|tlb)-/.test(name));

describe.each(FILES)('%s', (name) => {
  const vectors = fixtureText(`${name}.jsonl.gz`)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Vector);

  // P2, P7, P13, P15, P17, P20, P23, P36
  test.each(['intel', 'amd'] as const)(`all ${vectors.length} accesses, on %s`, (vendor) => {
    const wrong: unknown[] = [];
    for (const vector of vectors) {
      const done = run(vector, vendor, true);
      const looked = run(vector, vendor, false);
      const expected = sorted(expectedOf(vector, vendor));
      const outcomes = [sorted(told(done, vector)), sorted(told(looked, vector))];
      if (outcomes.some((outcome) => JSON.stringify(outcome) !== JSON.stringify(expected))) {
        wrong.push({ id: vector.id, expected, outcomes });
      }
      // Entries that are not reported as changed are as before, and an access that only looks sets nothing.
      const set = new Map((expected as { set?: [string, string][] }).set ?? []);
      for (const [address, entry] of vector.mem) {
        const paddr = BigInt(address) as PhysAddr;
        const after = readPhys64(done.memory, paddr);
        if (after !== BigInt(set.get(address) ?? entry)) wrong.push({ id: vector.id, address, after });
      }
      if (looked.memory.writes > 0) wrong.push({ id: vector.id, writes: looked.memory.writes });
    }
    expect(wrong.slice(0, 5)).toEqual([]);
    expect(vectors).toHaveLength(COUNTS[name] ?? vectors.length);
  });

  test('the slow walk agrees with all of them', () => {
    for (const vector of vectors) {
      const { root, config } = run(vector, 'intel', false);
      const mem = new Map(vector.mem.map(([paddr, entry]) => [BigInt(paddr), BigInt(entry)]));
      const read = (paddr: bigint): bigint => {
        const entry = mem.get(paddr);
        if (entry === undefined) throw new Error(`a correct walk does not need ${hex(paddr)}`);
        return entry;
      };
      const kind = KINDS[vector.acc];
      const slow = slowAccess(read, root, config, BigInt(vector.la), kind, cpuOf(vector), optionsOf(vector));
      const outcome =
        slow.t === 'ok'
          ? inWords({ t: 'ok', pa: hex(slow.pa), set: [...slow.set].map((pair) => pair.map(hex)) }, vector)
          : slow.t === 'pf'
            ? { t: 'pf', err: slow.err }
            : slow;
      expect({ id: vector.id, ...(sorted(outcome) as object) }).toEqual({
        id: vector.id,
        ...(sorted(vector.out) as object),
      });
    }
  });
});
