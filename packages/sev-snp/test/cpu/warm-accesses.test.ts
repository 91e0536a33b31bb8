/** What an access asks for after the same access: counts of calls, where a slow path would give the same answer. */
import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { Tlb } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { Vmpl } from '../../src/formats/vmpl.ts';
import { gvaOf, MiB, type World, world } from '../support/world.ts';

const PAGE = 4 * MiB;
const ACROSS = gvaOf(PAGE + PAGE_SIZE - 2);
const TEXT = Uint8Array.of(1, 2, 3);

/** A world whose processor has both TLBs. */
function cached(vmpl: Vmpl = 0): World {
  const it = world({}, {}, { nestedTlb: new NestedTlb() });
  it.machine.hypervisor.splitPage(it.guest, physAddr(PAGE));
  if (vmpl === 0) return it;
  const adjustment = { vmpl, permissions: 3 };
  for (const gpa of [0, 2 * MiB, 6 * MiB]) it.vcpu.rmpadjust(gvaOf(gpa), PageSize.Huge, adjustment);
  for (const gpa of [PAGE, PAGE + PAGE_SIZE]) it.vcpu.rmpadjust(gvaOf(gpa), PageSize.Regular, adjustment);
  const tlb = new Tlb();
  const vcpu = it.guest.createVcpu({ vmpl, tlb, nestedTlb: new NestedTlb() });
  vcpu.loadCr3(it.table.cr3);
  return { ...it, vcpu, tlb };
}

/** What an access may ask: walks of the nested table, entries of the RMP, frames as page tables, and each TLB. */
interface Asked {
  walks: number;
  rmp: number;
  tables: number;
  tlb: number;
  nestedTlb: number;
}

function askedBy({ guest, machine, vcpu, tlb }: World, action: () => unknown): Asked {
  const counts: Asked = { walks: 0, rmp: 0, tables: 0, tlb: 0, nestedTlb: 0 };
  const sources: [keyof Asked, object, string[]][] = [
    ['walks', guest.nested, ['walk']],
    ['rmp', machine.rmp, ['readWords', 'entry']],
    ['tables', machine.memory, ['words']],
    ['tlb', tlb, ['lookup']],
    ['nestedTlb', vcpu.nestedTlb as object, ['lookup', 'frameOf']],
  ];
  const methods = sources.flatMap(([name, of, names]) => names.map((method) => [name, of, method] as const));
  for (const [name, of, method] of methods) {
    const own = Reflect.get(of, method) as (...args: unknown[]) => unknown;
    const value = (...args: unknown[]): unknown => {
      counts[name] += 1;
      return own.apply(of, args);
    };
    Object.defineProperty(of, method, { configurable: true, value });
  }
  action();
  for (const [, of, method] of methods) Reflect.deleteProperty(of, method);
  return counts;
}

const NOTHING: Asked = { walks: 0, rmp: 0, tables: 0, tlb: 0, nestedTlb: 0 };
const EACH_TLB: Asked = { ...NOTHING, tlb: 1, nestedTlb: 1 };

// The third time, because the second one may fill what the first one has not.
test.each<[string, (it: World) => unknown, Asked]>([
  ['a read asks nothing', ({ vcpu }) => vcpu.read(gvaOf(PAGE), 3), NOTHING],
  ['a fetch asks nothing', ({ vcpu }) => vcpu.fetch(gvaOf(PAGE), 3), NOTHING],
  ['a write asks nothing', ({ vcpu }) => vcpu.write(gvaOf(PAGE), TEXT), NOTHING],
  ['a read with options asks each TLB once', ({ vcpu }) => vcpu.read(gvaOf(PAGE), 3, {}), EACH_TLB],
  ['a write with options asks each TLB once', ({ vcpu }) => vcpu.write(gvaOf(PAGE), TEXT, {}), EACH_TLB],
  ['an exchange asks each TLB once', ({ vcpu }) => vcpu.exchange(gvaOf(PAGE), 1), EACH_TLB],
  ['a clear asks each TLB once', ({ vcpu }) => vcpu.clear(gvaOf(PAGE), PAGE_SIZE), EACH_TLB],
  ['a clear of 2 MiB asks each TLB once', ({ vcpu }) => vcpu.clear(gvaOf(2 * MiB), 2 * MiB), EACH_TLB],
  [
    'a read of two pages asks each TLB for both',
    ({ vcpu }) => vcpu.read(ACROSS, 3),
    { ...NOTHING, tlb: 2, nestedTlb: 2 },
  ],
  [
    'a write of two pages checks both again, because the walks are over only then',
    ({ vcpu }) => vcpu.write(ACROSS, TEXT),
    { ...NOTHING, rmp: 2, tlb: 2, nestedTlb: 2 },
  ],
  [
    'the words of a frame ask the nested TLB alone',
    ({ vcpu }) => vcpu.memory.words(PAGE / PAGE_SIZE, false),
    { ...NOTHING, tables: 1, nestedTlb: 1 },
  ],
  [
    'the words of a frame to write ask the nested TLB alone',
    ({ vcpu }) => vcpu.memory.words(PAGE / PAGE_SIZE, true),
    { ...NOTHING, tables: 1, nestedTlb: 1 },
  ],
  [
    'a walk reads three tables by the nested TLB, and walks no nested table',
    ({ vcpu, tlb }) => {
      tlb.flushAll();
      vcpu.read(gvaOf(PAGE), 3);
    },
    { ...NOTHING, tables: 3, tlb: 2, nestedTlb: 4 },
  ],
])('again, %s', (_, action, most) => {
  const it = cached();
  for (let k = 0; k < 2; k += 1) action(it);
  const asked = askedBy(it, () => action(it));
  for (const name of Object.keys(most) as (keyof Asked)[])
    expect(asked[name], name).toBeLessThanOrEqual(most[name]);
});

test('above VMPL0, words to read need a look at the mask of the page, and words to write do not', () => {
  const it = cached(1);
  const count = (write: boolean): Asked => askedBy(it, () => it.vcpu.memory.words(PAGE / PAGE_SIZE, write));
  for (const write of [true, false]) count(write);
  expect([count(true), count(false)]).toEqual([
    { ...NOTHING, tables: 1, nestedTlb: 1 },
    { ...NOTHING, tables: 1, nestedTlb: 1, rmp: 1 },
  ]);
});

test('the words of a frame that is not an integer are an error, with a nested TLB and without', () => {
  for (const { vcpu } of [cached(), world()])
    for (const frame of [0.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => vcpu.memory.words(frame, false)).toThrow(RangeError);
});
