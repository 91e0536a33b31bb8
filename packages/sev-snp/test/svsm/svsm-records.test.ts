/** The records that all processors of an SVSM share, by themselves: owners of pages, claims, withheld rights, deposits. */
import { PAGE_SIZE, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { type MemoryRegion, physRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { SvsmResult } from '../../src/formats/svsm-protocol.ts';
import type { Vmpl } from '../../src/formats/vmpl.ts';
import { SvsmRecords } from '../../src/svsm/svsm-records.ts';
import { refusedWith } from '../support/svsm-world.ts';
import { MiB, thrownBy } from '../support/world.ts';

const P = 4 * MiB;
const region = (start: number, bytes: number): MemoryRegion<PhysAddr> => physRegion(physAddr(start), bytes);
const recordsOf = (own = [region(0, 2 * MiB)]): SvsmRecords =>
  new SvsmRecords({ memory: [region(0, 8 * MiB)], own });

test.each<[string, MemoryRegion<PhysAddr>]>([
  ['begins within a page', region(0x800, 0x1800)],
  ['ends within a page', region(0x1000, 0x1800)],
  ['is not memory', region(8 * MiB, PAGE_SIZE)],
])('own memory that %s is refused', (_, own) => {
  expect(thrownBy(() => recordsOf([own]))).toMatchObject({
    code: 'INVALID_ARGUMENT',
    details: { what: 'own', value: own.toString(), expected: 'pass whole pages of the memory' },
  });
});

// S8: the bytes of a call, and how many pages from `P` on no other call can have meanwhile.
test.each<[offset: number, bytes: number, pages: number]>([
  [0, 8, 1],
  [8, 8, 1],
  [PAGE_SIZE - 8, 8, 1],
  [0, PAGE_SIZE, 1],
  [0, 2 * PAGE_SIZE, 2],
  [0, 2 * MiB, 512],
])(
  'a call that uses the bytes at offset %i, %i of them, has %i pages until it ends',
  (offset, bytes, pages) => {
    const records = recordsOf();
    const busy = (): boolean[] =>
      [-1, 0, pages - 1, pages].map((page) => {
        let end: (() => void) | undefined;
        // Other bytes of the page than those of the first call.
        const refused = refusedWith(() => {
          end = records.claim({}, BigInt(P + page * PAGE_SIZE + 0x700), 1, 'access');
        });
        end?.();
        expect([undefined, SvsmResult.Busy]).toContain(refused);
        return refused !== undefined;
      });
    const end = records.claim({}, BigInt(P + offset), bytes, 'access');
    expect(busy()).toEqual([false, true, true, false]);
    end();
    expect(busy()).toEqual([false, false, false, false]);
  },
);

test('no call uses pages of the SVSM, or what is not memory, and none changes a calling area', () => {
  const records = recordsOf();
  const at = { vmsa: undefined, vmpl: 2, apicId: undefined, rightsBefore: undefined, isBusy: false };
  records.processors.register({} as never, { ...at, caa: physAddr(P) });
  const results = [
    [2 * MiB - 8, 'access'],
    [8 * MiB, 'access'],
    [-8, 'access'],
    [P, 'change'],
    [P, 'access'],
  ] as const;
  expect(results.map(([gpa, use]) => refusedWith(() => records.claim({}, BigInt(gpa), 8, use)))).toEqual([
    ...[SvsmResult.InvalidAddress, SvsmResult.InvalidAddress, SvsmResult.InvalidAddress],
    ...[SvsmResult.InvalidAddress, undefined],
  ]);
});

test('pages become the SVSM’s and the guest’s again', () => {
  const records = recordsOf();
  const owned = (): boolean[] => [P, P + PAGE_SIZE, P + 2 * MiB].map((gpa) => records.owns(physAddr(gpa)));
  records.take(physAddr(P), PageSize.Huge);
  expect(owned()).toEqual([true, true, false]);
  records.release(physAddr(P), PageSize.Regular);
  expect(owned()).toEqual([false, true, false]);
});

// S12
test('rights that a level had not are withheld from it until the page is the guest’s again', () => {
  const records = recordsOf();
  const [page, next] = [region(P, PAGE_SIZE), region(P + PAGE_SIZE, PAGE_SIZE)];
  const stateOf = (of: MemoryRegion<PhysAddr>) => [
    [0, 1, 2, 3].map((vmpl) => records.levelsFor(of, vmpl).join()),
    [0, 1, 2, 3].map((vmpl) => refusedWith(() => records.requireValidatable(of, vmpl))),
  ];
  const free = stateOf(next);
  expect(free).toEqual([['', '1', '1,2', '1,2,3'], new Array(4).fill(undefined)]);
  records.withhold(page, [0, 2] as Vmpl[]);
  const { InvalidAddress } = SvsmResult;
  const held = [
    ['', '1', '1', '1,3'],
    [undefined, undefined, InvalidAddress, undefined],
  ];
  expect([stateOf(page), stateOf(region(P, 2 * PAGE_SIZE)), stateOf(next)]).toEqual([held, held, free]);
  records.allowAll(next);
  expect(stateOf(page)).toEqual(held);
  records.allowAll(page);
  expect(stateOf(page)).toEqual(free);
});

// SVSM call 4, SVSM call 5
test('a deposit goes to its level or a more privileged one that had rights on it, the first one first', () => {
  const records = recordsOf();
  records.addDeposit(physAddr(P), PageSize.Regular, 1, []);
  records.addDeposit(physAddr(P + 0x2000), PageSize.Regular, 2, [1]);
  records.addDeposit(physAddr(P + 0x1000), PageSize.Regular, 3, []);
  const offers = () => [0, 1, 2, 3].map((vmpl) => records.depositsFor(vmpl, 5).map((gpa) => Number(gpa) - P));
  expect(offers()).toEqual([[0, 0x2000, 0x1000], [0, 0x1000], [0x2000, 0x1000], [0x1000]]);
  expect(records.depositsFor(0, 2)).toEqual([physAddr(P), physAddr(P + 0x2000)]);
  const [taken, other] = [physAddr(P + 0x2000), physAddr(P + 0x5000)];
  expect([records.isDeposited(taken), records.owns(taken), records.isDeposited(other)]).toEqual([
    ...[true, true, false],
  ]);
  records.removeDeposits([taken]);
  expect(offers()).toEqual([[0, 0x1000], [0, 0x1000], [0x1000], [0x1000]]);
  expect([records.isDeposited(taken), records.owns(taken)]).toEqual([false, false]);
  expect(records.levelsFor(region(P + 0x2000, PAGE_SIZE), 2)).toEqual([1, 2]);
  records.addDeposit(physAddr(6 * MiB), PageSize.Huge, 2, []);
  expect(records.depositsFor(2, 1000)).toHaveLength(513);
});
