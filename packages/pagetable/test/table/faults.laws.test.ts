/**
 * Memory of a caller that fails. For each operation and each of its accesses to memory: the access fails once, or that access
 * and all later ones until the operation has thrown. No frame is lost, and no flush is forgotten. An error that lasts, of one
 * frame or of writes to it, is there before the operation begins, so the operation changes nothing.
 */
import { describe, expect, test } from 'vitest';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import { FaultWorld, SCENARIOS, type Scenario } from '../support/fault-scenarios.ts';
import { type Access, Fault } from '../support/faulty-memory.ts';
import { snapshot } from '../support/frame-pool.ts';

const MODES = [
  { freeEmptyTables: false, hasEpoch: true },
  { freeEmptyTables: true, hasEpoch: false },
];

/** Runs the operation in a world whose memory fails where `fails` says. Returns whether it threw. */
function run(
  world: FaultWorld,
  operation: Scenario,
  fails: (access: Access, count: number) => boolean,
): boolean {
  let count = 0;
  let hasFailed = false;
  world.memory.onAccess = (access) => {
    count += 1;
    if (!fails(access, count)) return;
    hasFailed = true;
    throw new Fault('the memory fails');
  };
  let thrown: unknown;
  try {
    const made = operation(world);
    if (made instanceof PageTable || made instanceof PageTablePart) world.living.add(made);
  } catch (error) {
    thrown = error;
  }
  world.memory.onAccess = undefined;
  expect(thrown !== undefined).toBe(hasFailed);
  for (let error = thrown; error !== undefined; error = (error as Error).cause) {
    if (error instanceof Fault) return true;
    if ((error as Error).cause === undefined) throw error;
  }
  return false;
}

/** The accesses of an operation that does not fail. */
function accessesOf(world: FaultWorld, operation: Scenario): Access[] {
  const accesses: Access[] = [];
  run(world, operation, (access) => {
    accesses.push(access);
    return false;
  });
  return accesses;
}

/** The accesses that fail, counted from 1: each one, or some of very many. */
function turnsOf(accesses: readonly Access[]): number[] {
  const step = Math.ceil(accesses.length / 40);
  return accesses.map((_, i) => i + 1).filter((k) => k % step === 0);
}

function requireWhole(world: FaultWorld): void {
  expect(world.countTables()).toBe(world.pool.inUse.size);
  expect(world.forgotten()).toEqual([]);
  // What the page table remembers is what another one finds that has read nothing before.
  for (const table of [world.table, world.other]) {
    if (!world.living.has(table)) continue;
    const fresh = PageTable.open(table.root, { memory: world.plain, config: table.config });
    for (const vaddr of world.addresses) expect(table.translate(vaddr)).toBe(fresh.translate(vaddr));
  }
}

describe.each(MODES)('%o', ({ freeEmptyTables, hasEpoch }) => {
  const world = (): FaultWorld => new FaultWorld(freeEmptyTables, { hasEpoch });

  describe.each([
    ['fails once', (count: number, k: number) => count === k],
    ['fails from an access on', (count: number, k: number) => count >= k],
  ])('memory that %s: no frame is lost, and no flush is forgotten', (_, fails) => {
    test.each(SCENARIOS)('%s', (_name, operation) => {
      for (const k of turnsOf(accessesOf(world(), operation))) {
        const one = world();
        expect(run(one, operation, (_access, count) => fails(count, k))).toBe(true);
        requireWhole(one);
      }
    });
  });

  describe('memory whose errors last: nothing changes', () => {
    test.each(SCENARIOS)('%s', (_name, operation) => {
      const frames = new Set(
        accessesOf(world(), operation).flatMap(({ kind, frame }) => (kind === 'words' ? [frame] : [])),
      );
      for (const frame of frames) {
        for (const writes of [true, false]) {
          const one = world();
          const before = snapshot(one.plain, one.pool);
          const isBad = (access: Access): boolean =>
            access.kind === 'words' && access.frame === frame && (access.write || !writes);
          const thrown = run(one, operation, isBad);
          if (thrown) expect(snapshot(one.plain, one.pool)).toEqual(before);
          requireWhole(one);
        }
      }
    });
  });
});
