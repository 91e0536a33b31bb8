import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NestedTlb, pageAt } from '../../src/cpu/nested-tlb.ts';
import type { GuestContext } from '../../src/cpu/platform.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import type { Vmpl } from '../../src/formats/vmpl.ts';
import { NestedTable } from '../../src/memory/nested-table.ts';

const PARTS = PAGE_SIZE_2M / PAGE_SIZE;
/** Guest-physical frames: parts of three pages of 2 MiB, also the first and the last one. */
const FRAMES = [0, 1, 511, 512, 513, 1023, 1024, 1030];
/** The first frame of a system page of 2 MiB, for each guest-physical one. */
const SYSTEM = [0x4000, 0x8200, 0x2600];

const RIGHTS = { writable: true, user: true, executable: true, accessed: true, dirty: true };

const gpaOf = (frame: number): PhysAddr => physAddr(frame * PAGE_SIZE);
const systemOf = (frame: number): number => SYSTEM[Math.floor(frame / PARTS)]! + (frame % PARTS);

/** Three guests of one machine; two have one ASID, one after the other. Versions of pages and flushes are numbers here. */
function machine() {
  const versions = new Map<number, number>();
  const rmp = {
    versionOfPage: (frame: number) => versions.get(frame) ?? 0,
    get changes() {
      return [...versions.values()].reduce((sum, version) => sum + version, 0);
    },
  };
  const nested: NestedTable = Object.create(NestedTable.prototype);
  const enterVmpl = (): boolean => false;
  const guests = [1, 2, 1].map((asid) => ({ machine: { rmp }, asid, tlbGeneration: 0, nested, enterVmpl }));
  return { versions, guests };
}

/** A translation in the model: one for each 4 KiB page, or one for all of 2 MiB. */
interface Held {
  readonly guest: number;
  readonly vmpl: Vmpl;
  readonly first: number;
  readonly count: number;
  readonly allowed: number;
  readonly isHuge: boolean;
  isAlive: boolean;
}

const step = fc.record({
  op: fc.constantFrom('insert', 'insert', 'insert', 'widen', 'widen', 'change', 'flush', 'clear'),
  guest: fc.constantFrom(0, 0, 0, 1),
  vmpl: fc.constantFrom<Vmpl>(0, 0, 2),
  frame: fc.constantFrom(...FRAMES),
  allowed: fc.constantFrom(1, 2, 3),
  isHuge: fc.boolean(),
});

// P28, P35
test('cached translations answer as a list does, of 4 KiB and of 2 MiB', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { versions, guests } = machine();
      const tlb = new NestedTlb();
      const contexts = guests as unknown as GuestContext[];
      let held: Held[] = [];
      const drop = (other: (one: Held) => boolean) => {
        held = held.filter((one) => !other(one));
      };
      const answers = (): number[] =>
        [0, 1].flatMap((g) =>
          ([0, 2] as const).flatMap((v) =>
            FRAMES.flatMap((at) => [1, 2].map((bit) => tlb.frameOf(contexts[g]!, v, at, bit))),
          ),
        );
      const counts = (): number[] => [...versions.values(), ...guests.map((one) => one.tlbGeneration)];
      for (const { op, guest, vmpl, frame, allowed, isHuge } of steps) {
        const before = { answers: answers(), counts: counts(), changes: tlb.changes };
        const isOf = (one: Held) => one.guest === guest && one.vmpl === vmpl;
        const isSmall = (one: Held) => isOf(one) && one.count === 1 && one.first === frame;
        if (op === 'insert') {
          const spa = sysPhysAddr(systemOf(frame) * PAGE_SIZE + 0x123);
          const page = { ...RIGHTS, spa, size: isHuge ? PageSize.Huge : PageSize.Regular };
          tlb.insert(contexts[guest]!, vmpl, gpaOf(frame), page, allowed);
          drop(isSmall);
          held.push({ guest, vmpl, first: frame, count: 1, allowed, isHuge, isAlive: true });
        } else if (op === 'widen' && frame % PARTS === 0) {
          tlb.widen(contexts[guest]!, vmpl, gpaOf(frame));
          const small = held.find(isSmall);
          if (small === undefined) continue;
          drop((one) => isOf(one) && one.first === frame);
          held.push({ ...small, count: PARTS });
        } else if (op === 'change') {
          const system = systemOf(frame);
          versions.set(system, (versions.get(system) ?? 0) + 1);
          for (const one of held) if (systemOf(one.first) === system) one.isAlive = false;
        } else if (op === 'flush') {
          guests[guest]!.tlbGeneration += 1;
          for (const one of held) if (one.guest === guest) one.isAlive = false;
        } else if (op === 'clear') {
          tlb.flushAll();
          held = [];
        }
        // While no count has grown, each access goes where it went before.
        const isSame = tlb.changes === before.changes && String(counts()) === String(before.counts);
        if (isSame) expect(answers()).toEqual(before.answers);
        expect(tlb.size).toBe(held.length);
        for (const [g, v, at] of [0, 1].flatMap((g) =>
          ([0, 2] as const).flatMap((v) => FRAMES.map((at) => [g, v, at] as const)),
        )) {
          const mine = held.filter((one) => one.guest === g && one.vmpl === v);
          const found =
            mine.find((one) => one.count === 1 && one.first === at) ??
            mine.find((one) => one.count > 1 && one.first === at - (at % PARTS));
          for (const bit of [1, 2]) {
            const isAllowed = found?.isAlive === true && (found.allowed & bit) !== 0;
            expect(tlb.frameOf(contexts[g]!, v, at, bit)).toBe(isAllowed ? systemOf(at) : -1);
          }
          const whole = at - (at % PARTS);
          const parts = mine.filter((one) => one.count === 1 && one.first - (one.first % PARTS) === whole);
          expect(tlb.holdsPartOf(contexts[g]!, v, gpaOf(at))).toBe(parts.some(({ isAlive }) => isAlive));
        }
        // A look at a dead translation drops it.
        const found =
          held.find(isSmall) ??
          held.find((one) => isOf(one) && one.count > 1 && one.first === frame - (frame % PARTS));
        const seen = tlb.lookup(contexts[guest]!, vmpl, gpaOf(frame));
        expect(seen !== undefined).toBe(found?.isAlive === true);
        if (seen === undefined) drop((one) => one === found);
        else {
          expect([seen.allowed, seen.isHuge]).toEqual([found!.allowed, found!.isHuge]);
          const { spa } = pageAt(seen, physAddr(frame * PAGE_SIZE + 0x10));
          expect(spa).toBe(sysPhysAddr(systemOf(frame) * PAGE_SIZE + 0x10));
        }
        expect(tlb.size).toBe(held.length);
      }
      // The next guest with an ASID finds nothing, and drops what the one before had.
      for (const vmpl of [0, 2] as const) {
        for (const frame of FRAMES) expect(tlb.frameOf(contexts[2]!, vmpl, frame, 3)).toBe(-1);
      }
      expect(tlb.size).toBe(held.filter(({ guest }) => guest === 1).length);
    }),
  );
});

test('a page of 2 MiB is found among many translations, and its neighbours are not taken for it', () => {
  const { guests } = machine();
  const [guest] = guests as unknown as GuestContext[];
  const tlb = new NestedTlb();
  const insert = (frame: number) =>
    tlb.insert(
      guest!,
      0,
      gpaOf(frame),
      { ...RIGHTS, spa: sysPhysAddr(frame * PAGE_SIZE), size: PageSize.Regular },
      1,
    );
  for (let frame = 3 * PARTS; frame < 4 * PARTS; frame += 1) insert(frame);
  const holds = () => [0, 1, 2, 3, 4].map((k) => tlb.holdsPartOf(guest!, 0, gpaOf(k * PARTS + 7)));
  expect(holds()).toEqual([false, false, false, true, false]);
  insert(2 * PARTS - 1);
  expect(holds()).toEqual([false, true, false, true, false]);
  insert(4 * PARTS);
  expect(holds()).toEqual([false, true, false, true, true]);
  guests[0]!.tlbGeneration += 1;
  expect(holds()).toEqual([false, false, false, false, false]);
});
