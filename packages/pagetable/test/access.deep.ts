/** A million random tables and addresses: the fast walk against the slow one. */
import { physAddr, type VirtAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import type { AccessKind } from '../src/access.ts';
import { cpuState } from '../src/cpu-state.ts';
import { createPhysMemory } from '../src/create-phys-memory.ts';
import { PageTable } from '../src/page-table.ts';
import { pagingConfig } from '../src/paging-config.ts';
import { writePhys64 } from '../src/phys-memory.ts';
import { slowAccess } from './slow-access.ts';

const CASES = 1_000_000;
const FRAMES = 8;
const INDEXES = [0, 1, 256, 511];
const KINDS: readonly AccessKind[] = ['read', 'write', 'fetch'];

/** Mulberry32: small, and the same everywhere. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b_79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) % below;
  };
}

test(`${CASES} random tables and addresses`, () => {
  const random = randomFrom(20_240_601);
  const memory = createPhysMemory({ size: FRAMES * 0x1000 });
  const places = Array.from({ length: FRAMES * 4 }, (_, i) =>
    physAddr((i >> 2) * 0x1000 + 8 * (INDEXES[i & 3] as number)),
  );
  const seen = new Set<string>();
  for (let i = 0; i < CASES; i += 1) {
    // A few entries change each time; all of them have after some cases.
    for (let changed = 0; changed < 6; changed += 1) {
      const stray = random(6) === 0 ? 1n << BigInt(12 + random(40)) : 0n;
      const low = (random(4096) & ~0x181) | (random(10) > 0 ? 1 : 0) | (random(4) === 0 ? 0x80 : 0);
      const entry = (BigInt(random(4096)) << 52n) | (BigInt(random(FRAMES)) << 12n) | BigInt(low) | stray;
      writePhys64(memory, places[random(places.length)] as (typeof places)[0], entry);
    }
    const config = pagingConfig({
      levels: random(2) === 0 ? 4 : 5,
      physicalBits: [36, 40, 46, 52][random(4)] as number,
      noExecute: random(4) > 0,
      giantPages: random(4) > 0,
      vendor: random(2) === 0 ? 'amd' : 'intel',
      ...(random(2) === 0 ? { cBit: random(2) === 0 ? 51 : 34 } : {}),
    });
    const cpu = cpuState({
      cpl: random(2) === 0 ? 0 : 3,
      wp: random(2) === 0,
      smep: random(2) === 0,
      smap: random(2) === 0,
      ac: random(2) === 0,
      pkru: random(2) === 0 ? undefined : random(2 ** 32),
      pkrs: random(2) === 0 ? undefined : random(2 ** 32),
    });
    let vaddr = BigInt(random(4096));
    for (let level = 0; level < 5; level += 1) {
      vaddr |= BigInt(INDEXES[random(4)] as number) << BigInt(12 + 9 * level);
    }
    vaddr = BigInt.asUintN(64, BigInt.asIntN(config.levels === 5 ? 57 : 48, vaddr));
    const kind = KINDS[random(3)] as AccessKind;
    const table = PageTable.open(physAddr(0), { memory, config });
    const fast = told(() => {
      const result = table.access(vaddr as VirtAddr, kind, cpu, { update: false });
      if (result.type === 'page-fault') return `fault ${result.errorCode}`;
      return result.type === 'translation' ? `ok ${result.paddr}` : 'gp';
    });
    const slow = told(() => {
      const result = slowAccess(memory, 0n, config, vaddr, kind, cpu);
      if (result.t === 'pf') return `fault ${result.err}`;
      return result.t === 'ok' ? `ok ${result.pa}` : 'gp';
    });
    if (fast !== slow) expect({ i, fast }).toEqual({ i, fast: slow });
    seen.add(slow.replace(/ok .*/, 'ok'));
  }
  // Not one kind of outcome only.
  expect(seen.size).toBeGreaterThan(20);
});

function told(run: () => string): string {
  try {
    return run();
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}
