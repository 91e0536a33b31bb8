import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CallGuard } from '../../src/memory/call-guard.ts';
import { SharedSubtree, type Sharer } from '../../src/table/shared-subtree.ts';

const TABLES = 4;
const INDEXES = [3, 300];

interface Row {
  readonly kind: 'join' | 'leave';
  readonly table: number;
  readonly index: number;
}

const row: fc.Arbitrary<Row> = fc.record({
  kind: fc.constantFrom('join', 'join', 'leave'),
  table: fc.nat({ max: TABLES - 1 }),
  index: fc.constantFrom(...INDEXES),
});

const sharer = (): Sharer => ({
  guard: new CallGuard(),
  foreign: new Set(),
  kept: new Set(),
  shares: new Map(),
});

/** The state of page tables that share, from the lists of members in the order in which they joined. */
function expected(members: ReadonlyMap<number, readonly number[]>, lone: ReadonlySet<number>, table: number) {
  const mine = INDEXES.filter((index) => members.get(index)!.includes(table) && !isOver(index));
  function isOver(index: number): boolean {
    return lone.has(index) && members.get(index)!.length === 1;
  }
  const others = new Set(mine.flatMap((index) => members.get(index)!));
  others.delete(table);
  return {
    foreign: mine.filter((index) => members.get(index)![0] !== table),
    shares: mine,
    others: [...others].sort(),
  };
}

test('the first member owns the subtree, the next one after it; all keep it, and are busy together', () => {
  fc.assert(
    fc.property(fc.array(row, { maxLength: 24 }), (rows) => {
      const tables = Array.from({ length: TABLES }, sharer);
      const subtrees = new Map<number, SharedSubtree>();
      const members = new Map<number, number[]>(INDEXES.map((index) => [index, []]));
      // Indexes whose subtree was shared, and is left to its last member, which has it for itself.
      const lone = new Set<number>();
      for (const { kind, table, index } of rows) {
        const list = members.get(index)!;
        const isMember = list.includes(table);
        if (kind === 'join' && !isMember) {
          // A subtree that nobody shares is shared anew, from its only user on.
          if (list.length === 0 || lone.has(index)) {
            const first = list[0] ?? table;
            subtrees.set(index, new SharedSubtree(index, tables[first]!));
            if (list.length === 0) list.push(first);
            lone.delete(index);
          }
          if (!list.includes(table)) {
            subtrees.get(index)!.join(tables[table]!);
            list.push(table);
          }
        } else if (kind === 'join' && subtrees.get(index) !== undefined && !lone.has(index)) {
          subtrees.get(index)!.join(tables[table]!);
        } else if (kind === 'leave' && isMember && !lone.has(index)) {
          const subtree = subtrees.get(index)!;
          subtree.leave(tables[table]!);
          list.splice(list.indexOf(table), 1);
          tables[table]!.foreign.delete(index);
          tables[table]!.kept.delete(index);
          if (list.length === 1) lone.add(index);
        }
        for (const [k, one] of tables.entries()) {
          const { foreign, shares, others } = expected(members, lone, k);
          expect([...one.foreign].sort()).toEqual(foreign);
          expect([...one.kept].sort()).toEqual(shares);
          expect([...one.shares.keys()].sort()).toEqual(shares);
          const busy = tables
            .map(({ guard }, n) => ({ guard, n }))
            .filter((t) => one.guard.others.includes(t.guard));
          expect(busy.map(({ n }) => n)).toEqual(others);
          expect(one.guard.others).toHaveLength(others.length);
        }
        for (const at of INDEXES) {
          const subtree = subtrees.get(at);
          const list = members.get(at)!;
          for (const [k, one] of tables.entries()) {
            if (subtree === undefined) continue;
            expect(subtree.isSharedBy(one)).toBe(list.some((n) => n !== k));
          }
        }
      }
    }),
  );
});
