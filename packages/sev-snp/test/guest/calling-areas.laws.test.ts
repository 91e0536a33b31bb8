import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GuestContext } from '../../src/cpu/platform.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { forgetProcessor, noteCallingArea, noteProcessor } from '../../src/guest/calling-areas.ts';
import { noteUse, type UseOfPage, useOf } from '../../src/guest/pages-in-use.ts';

const PAGES = 8;
const at = (page: number): PhysAddr => physAddr(page * PAGE_SIZE);
const guestOf = (): GuestContext => ({}) as GuestContext;

/** A processor by its VMSA, or one whose VMSA the guest does not know. */
const vcpuOf = (guest: GuestContext, vmsa?: number): Vcpu =>
  ({ guest, vmsa: vmsa === undefined ? undefined : { gpa: at(vmsa) } }) as unknown as Vcpu;

const usesOf = (guest: GuestContext): readonly (UseOfPage | undefined)[] =>
  Array.from({ length: PAGES }, (_, page) => useOf(guest, at(page)));

const page = fc.nat({ max: PAGES - 1 });
const command = fc.record({
  op: fc.constantFrom('call', 'create', 'refuse', 'delete'),
  cpu: fc.nat({ max: 2 }),
  vmsa: page,
  area: page,
  offset: fc.constantFrom(0, 8, PAGE_SIZE - 1),
});

/** The notes in the plainest form: the area of each processor, and the VMSAs. No two share a page. */
class Notes {
  readonly areas = new Map<string, number>();
  readonly vmsas = new Set<number>();

  /** Whether a page has no use, other than as the area of `key`. */
  isFree(page: number, key?: string): boolean {
    return !this.vmsas.has(page) && [...this.areas].every(([other, area]) => area !== page || other === key);
  }

  uses(): readonly (UseOfPage | undefined)[] {
    const areas = [...this.areas.values()];
    return Array.from({ length: PAGES }, (_, page) => {
      if (this.vmsas.has(page)) return 'VMSA';
      return areas.includes(page) ? 'CALLING_AREA' : undefined;
    });
  }
}

test('the pages in use are the VMSAs and the last area of each processor', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 40 }), (program) => {
      const [guest, other] = [guestOf(), guestOf()];
      const cpus = [vcpuOf(guest), vcpuOf(guest), vcpuOf(guest, 0)];
      const notes = new Notes();
      for (const { op, cpu, vmsa, area, offset } of program) {
        const key = op === 'call' && cpu < 2 ? `cpu ${cpu}` : `vmsa ${op === 'call' ? 0 : vmsa}`;
        if (op === 'call') {
          if (!notes.isFree(area, key)) continue;
          noteCallingArea(cpus[cpu]!, physAddr(at(area) + BigInt(offset)));
          notes.areas.set(key, area);
        } else if (op === 'delete') {
          forgetProcessor(guest, at(vmsa));
          notes.vmsas.delete(vmsa);
          notes.areas.delete(key);
        } else if (area !== vmsa && notes.isFree(area) && notes.isFree(vmsa)) {
          const takeBack = noteProcessor(guest, at(vmsa), at(area));
          if (op === 'refuse') takeBack();
          else notes.vmsas.add(vmsa);
          notes.areas.delete(key);
          if (op === 'create') notes.areas.set(key, area);
        }
        expect(usesOf(guest)).toEqual(notes.uses());
      }
      expect(usesOf(other).every((use) => use === undefined)).toBe(true);
    }),
  );
});

describe('a page that has another use', () => {
  test.each<UseOfPage>(['GHCB', 'VMSA'])('stays a %s, whichever area lies there', (use) => {
    const guest = guestOf();
    noteUse(guest, at(1), use);
    const vcpu = vcpuOf(guest, 5);
    for (const area of [1, 2, 1, 3]) {
      noteCallingArea(vcpu, at(area));
      expect(useOf(guest, at(1))).toBe(use);
    }
    expect([2, 3].map((page) => useOf(guest, at(page)))).toEqual([undefined, 'CALLING_AREA']);
  });

  test('keeps its note if a processor that exists is created, refused or deleted there', () => {
    for (const use of ['GHCB', 'CALLING_AREA', 'VMSA'] as const) {
      const guest = guestOf();
      noteUse(guest, at(1), use);
      const before = usesOf(guest);
      const takeBack = noteProcessor(guest, at(1), at(2));
      expect(usesOf(guest)).toEqual(before);
      takeBack();
      expect(usesOf(guest)).toEqual(before);
      if (use === 'VMSA') continue;
      forgetProcessor(guest, at(1));
      expect(usesOf(guest)).toEqual(before);
    }
  });
});

test.each<[string, bigint, bigint]>([
  ['a VMSA that is not an address', 1n << 60n, 0x2000n],
  ['a VMSA within a page', 0x1800n, 0x2000n],
  ['an area that is not an address', 0x1000n, 1n << 60n],
  ['an area within a page', 0x1000n, 0x2008n],
])('nothing is noted of a processor with %s', (_, vmsa, area) => {
  const guest = guestOf();
  const takeBack = noteProcessor(guest, vmsa as PhysAddr, area as PhysAddr);
  const none = Array.from({ length: PAGES });
  expect(usesOf(guest)).toEqual(none);
  takeBack();
  if (vmsa > 0x1000n) forgetProcessor(guest, vmsa as PhysAddr);
  expect(usesOf(guest)).toEqual(none);
});
