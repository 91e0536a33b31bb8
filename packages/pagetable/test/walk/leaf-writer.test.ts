import { PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import type { PageTableErrorCode } from '../../src/entry/page-table-error.ts';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags, PtePreset } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { PageTablePart } from '../../src/table/page-table-part.ts';
import { FramePool } from '../support/frame-pool.ts';

/*
 * The second page with the same flags takes a short way: no walk, and no check of the flags. It must refuse what the first one
 * refuses, in the same order, and store the same bits.
 */

const config = pagingConfig({ cBit: 51, physicalBits: 44 });
const V = 0xffff_8000_0000_0000n;
const P = 0x1_0000_0000n;
const at = (offset: number): VirtAddr => virtAddr(V + BigInt(offset));
const to = (offset: number): PhysAddr => physAddr(P + BigInt(offset));

function make() {
  const memory = createPhysMemory({ size: 0x10_0000 });
  const frames = new FramePool(1, 60);
  return { memory, frames, table: PageTable.create({ memory, frames, config }) };
}

/** A table that has mapped two pages, so that the next one takes the short way. */
function warm() {
  const made = make();
  made.table.map4k(at(0), to(0), PtePreset.Data);
  made.table.map4k(at(0x1000), to(0x1000), PtePreset.Data);
  return made;
}

type Call = readonly [name: string, code: PageTableErrorCode | undefined, run: (table: PageTable) => void];

const CALLS: readonly Call[] = [
  ['the same flags', undefined, (table) => table.map4k(at(0x2000), to(0x2000), PtePreset.Data)],
  ['other flags', undefined, (table) => table.map4k(at(0x2000), to(0x2000), PteFlags.User)],
  [
    'the same flags, shared',
    undefined,
    (table) => table.map4k(at(0x2000), to(0x2000), PtePreset.Data, { shared: true }),
  ],
  ['the next leaf table', undefined, (table) => table.map4k(at(0x20_0000), to(0x2000), PtePreset.Data)],
  ['an address in use', 'ALREADY_MAPPED', (table) => table.map4k(at(0), to(0x2000), PtePreset.Data)],
  ['a misaligned page', 'MISALIGNED', (table) => table.map4k(at(0x2001), to(0x2000), PtePreset.Data)],
  ['a misaligned frame', 'MISALIGNED', (table) => table.map4k(at(0x2000), to(0x2800), PtePreset.Data)],
  [
    'a frame beyond the end',
    'OUTSIDE_PHYSICAL_RANGE',
    (table) => table.map4k(at(0x2000), physAddr(2n ** 44n), PtePreset.Data),
  ],
  [
    'a frame that is not an address',
    'OUTSIDE_PHYSICAL_RANGE',
    (table) => table.map4k(at(0x2000), -1n as PhysAddr, PtePreset.Data),
  ],
  [
    'flags of another type',
    'INVALID_FLAGS',
    (table) => table.map4k(at(0x2000), to(0x2000), String(PtePreset.Data) as never),
  ],
  ['options of another type', 'INVALID_ARGUMENT', (table) => table.map4k(at(0x2000), to(0), 0, 1 as never)],
];

describe('map4k after a page with the same flags', () => {
  test.each(CALLS)('does for %s what the first call does', (_, code, run) => {
    const outcome = (table: PageTable): unknown => {
      try {
        return run(table);
      } catch (error) {
        return error;
      }
    };
    const [short, long] = [warm().table, warm().table];
    // Flags that were never used make the next call check its own.
    long.map4k(at(0x8000), to(0x8000), PteFlags.Accessed);
    short.map4k(at(0x8000), to(0x8000), PteFlags.Accessed);
    short.map4k(at(0x9000), to(0x9000), PtePreset.Data);
    long.mapRegion(virtRegion(at(0x9000), 0x1000), to(0x9000), PtePreset.Data);
    const [mine, expected] = [outcome(short), outcome(long)];
    expect(mine).toEqual(expected);
    expect((mine as { code?: string } | undefined)?.code).toBe(code);
    expect([...short.leaves()]).toEqual([...long.leaves()]);
  });

  test('refuses to run while a callback of the table runs', () => {
    const memory = createPhysMemory({ size: 0x10_0000 });
    const pool = new FramePool(1, 60);
    const seen: unknown[] = [];
    const frames = {
      allocateFrame: () => {
        const calls = [
          () => table?.map4k(at(0x5000), to(0x5000), PtePreset.Data),
          () => table?.setShared4k(at(0)),
          () => table?.frameAt(at(0)),
          () => table?.translate(at(0)),
        ];
        for (const call of calls) {
          try {
            seen.push(call());
          } catch (error) {
            seen.push((error as { code?: string }).code);
          }
        }
        return pool.allocateFrame();
      },
      freeFrame: (frame: PhysAddr) => pool.freeFrame(frame),
    };
    let table: PageTable | undefined;
    table = PageTable.create({ memory, frames, config });
    table.map4k(at(0), to(0), PtePreset.Data);
    table.map4k(at(0x1000), to(0x1000), PtePreset.Data);
    table.setShared4k(at(0x1000));
    table.frameAt(at(0));
    seen.length = 0;
    table.map4k(at(0x20_0000), to(0), PtePreset.Data);
    expect(seen).toEqual(['BUSY', 'BUSY', 'BUSY', 'BUSY']);
    expect(table.frameAt(at(0x5000))).toBeUndefined();
  });

  test('leaves pages to a part that is attached afterwards', () => {
    const { memory, frames, table } = warm();
    const part = PageTablePart.create(256, { memory, frames, config });
    expect(() => part.attach(table)).toThrow();
    const other = PageTable.create({ memory, frames, config });
    other.map4k(virtAddr(0x1000), to(0), PtePreset.Data);
    other.map4k(virtAddr(0x2000), to(0), PtePreset.Data);
    part.attach(other);
    for (const page of virtRegion(at(0), 0x4000).cursor(PageSize.Regular)) {
      other.map4k(page, physRegion(to(0), 0x1000).cursor(PageSize.Regular).goTo(0), PtePreset.Data);
    }
    expect(part.frameAt(at(0x3000))).toBe(Number(P / 0x1000n));
    expect(other.frameAt(virtAddr(0x2000))).toBe(Number(P / 0x1000n));
  });
});
