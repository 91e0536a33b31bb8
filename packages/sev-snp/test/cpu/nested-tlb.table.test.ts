/** Every refusal of an argument by a nested TLB: its whole message, and the TLB stays as it was. */
import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { NestedTlb, pageAt } from '../../src/cpu/nested-tlb.ts';
import type { NestedPage } from '../../src/memory/nested-table.ts';
import { messageOf } from '../support/message-of.ts';
import { MiB, world } from '../support/world.ts';

const { guest, machine } = world();
const tlb = new NestedTlb();
const gpa = physAddr(2 * MiB);
const frame = (2 * MiB) / PAGE_SIZE;
const page = guest.nested.lookup(gpa) as NestedPage;
const wrong = 'x' as never;
tlb.insert(guest, 0, gpa, page, 1);

const WITH_PLACE: readonly ((guest: never, vmpl: never, gpa: never) => unknown)[] = [
  (...place) => tlb.lookup(...place),
  (...place) => tlb.holdsPartOf(...place),
  (...place) => tlb.widen(...place),
  (...place) => tlb.insert(...place, page, 1),
];
const GUEST = 'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]';
const VMPL = 'the VMPL cannot be 4: pass one of 0, 1, 2, 3 [INVALID_ARGUMENT]';
const PAGE = 'pass a page that a NestedTable has returned [INVALID_ARGUMENT]';
const ROWS: readonly (readonly [message: string, call: () => unknown])[] = [
  ...WITH_PLACE.flatMap(
    (call) =>
      [
        [GUEST, () => call(wrong, 0 as never, gpa as never)],
        [VMPL, () => call(guest as never, 4 as never, gpa as never)],
        [
          '"x" is not a 64-bit address: pass a bigint or a safe integer [INVALID_ADDRESS]',
          () => call(guest as never, 0 as never, wrong),
        ],
      ] as const,
  ),
  [GUEST, () => tlb.frameOf(wrong, 0, frame, 1)],
  [VMPL, () => tlb.frameOf(guest, 4 as never, frame, 1)],
  ['the frame cannot be 0.5: pass an integer [INVALID_ARGUMENT]', () => tlb.frameOf(guest, 0, 0.5, 1)],
  [
    'the kinds of access cannot be "x": pass an integer [INVALID_ARGUMENT]',
    () => tlb.frameOf(guest, 0, frame, wrong),
  ],
  [
    'the kinds of access cannot be 0.5: pass an integer [INVALID_ARGUMENT]',
    () => tlb.insert(guest, 0, gpa, page, 0.5),
  ],
  [`the page cannot be "x": ${PAGE}`, () => tlb.insert(guest, 0, gpa, wrong, 1)],
  [`the page cannot be undefined: ${PAGE}`, () => tlb.insert(guest, 0, gpa, undefined as never, 1)],
  ...Object.keys(page).map(
    (name) =>
      [
        `the page cannot be a value of type object: ${PAGE}`,
        () => tlb.insert(guest, 0, gpa, { ...page, [name]: wrong }, 1),
      ] as const,
  ),
  [
    `the page cannot be a value of type object: ${PAGE}`,
    () => tlb.insert(guest, 0, gpa, { ...page, size: 0x2000 as never }, 1),
  ],
];

test.each(ROWS)('%s (%$)', (message, call) => {
  const before = [tlb.size, tlb.lookup(guest, 0, gpa), tlb.frameOf(guest, 0, frame, 1)];
  expect(messageOf(call)).toBe(message);
  expect([tlb.size, tlb.lookup(guest, 0, gpa), tlb.frameOf(guest, 0, frame, 1)]).toEqual(before);
});

test('a translation is that of the first byte of a page of 4 KiB, with the rights of the nested page', () => {
  const own = new NestedTlb();
  const at = physAddr(2 * MiB + 0x5123);
  for (const size of Object.values(PageSize)) {
    for (const name of ['writable', 'user', 'executable', 'accessed', 'dirty'] as const) {
      const given = { ...(guest.nested.lookup(at) as NestedPage), size, [name]: false };
      const spa = (given.spa & -4096n) as NestedPage['spa'];
      own.insert(guest, 0, at, given, 5);
      const held = own.lookup(guest, 0, at)!;
      expect(held).toEqual({
        page: { ...given, spa },
        size: PAGE_SIZE,
        frame: Number(spa / 4096n),
        isHuge: size !== PageSize.Regular,
        version: held.version,
        generation: guest.tlbGeneration,
        allowed: 5,
        checkedAt: machine.rmp.changes,
      });
      expect(pageAt(held, physAddr(at + 8n))).toEqual({ ...given, spa: given.spa + 8n });
    }
  }
});

test.each([0, 1, 7, 511])(
  'a translation of 2 MiB answers for its page %i, until a look finds it dead',
  (part) => {
    for (const vmpl of [0, 3] as const) {
      const own = new NestedTlb();
      const at = physAddr(2 * MiB + part * PAGE_SIZE);
      own.insert(guest, vmpl, gpa, page, 4);
      own.widen(guest, vmpl, gpa);
      const system = Number(page.spa / 4096n) + part;
      const framesOf = (allowed: number) =>
        [frame - 1, frame + part, frame + 512].map((one) => own.frameOf(guest, vmpl, one, allowed));
      expect([framesOf(4), framesOf(3)]).toEqual([
        [-1, system, -1],
        [-1, -1, -1],
      ]);
      expect(pageAt(own.lookup(guest, vmpl, at)!, at).spa).toBe(BigInt(system) * 4096n);
      machine.hypervisor.flushTlbs(guest);
      expect([framesOf(4), own.size]).toEqual([[-1, -1, -1], 1]);
      expect([own.lookup(guest, vmpl, at), own.size]).toEqual([undefined, 0]);
      expect(framesOf(4)).toEqual([-1, -1, -1]);
    }
  },
);
