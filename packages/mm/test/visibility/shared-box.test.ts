import { expect, test } from 'vitest';
import { SharedBox } from '../../src/visibility/shared-box.ts';
import { bootWorld, type World } from '../support/world.ts';

/** The bytes of a guest-physical page as the hypervisor reads them. */
function hostBytes({ guest, hypervisor }: World, gpa: SharedBox['gpa'], length: number): number[] {
  return [...hypervisor.read(guest.nested.lookup(gpa)!.spa, length)];
}

test('both sides read and write its bytes, and nothing of it is left afterwards', () => {
  const world = bootWorld();
  const { svsm } = world;
  const before = svsm.pages.memoryInfo().freePages;
  {
    using box = SharedBox.create(svsm, 5000);
    expect([box.size, Number(box.region.size)]).toEqual([5000, 0x2000]);
    expect(svsm.visibility.isShared(box.region.start)).toBe(true);
    box.write(0, Uint8Array.of(1, 2, 3));
    expect(hostBytes(world, box.gpa, 4)).toEqual([1, 2, 3, 0]);
    world.hypervisor.write(world.guest.nested.lookup(box.gpa)!.spa, Uint8Array.of(9));
    const copy = box.read(0, 2);
    world.hypervisor.write(world.guest.nested.lookup(box.gpa)!.spa, Uint8Array.of(7));
    expect([...copy]).toEqual([9, 2]);
    svsm.checkInvariants();
    box.clear();
    expect(hostBytes(world, box.gpa, 3)).toEqual([0, 0, 0]);
  }
  svsm.checkInvariants();
  // The table of the 2 MiB page that was split may stay.
  expect(before - svsm.pages.memoryInfo().freePages).toBeLessThanOrEqual(1);
  expect(world.stale).toEqual([]);
});

test('cannot be used after its release, nor outside of its bytes, and a leaked one stays shared', () => {
  const { svsm } = bootWorld();
  const box = SharedBox.create(svsm, 16);
  expect(() => box.read(10, 7)).toThrow(/INVALID_ARGUMENT/);
  expect(() => box.write(16, Uint8Array.of(1))).toThrow(/INVALID_ARGUMENT/);
  expect(() => box.write(0, 'text' as never)).toThrow(/INVALID_ARGUMENT/);
  expect(() => SharedBox.create(svsm, 0)).toThrow(/INVALID_ARGUMENT/);
  const region = box.leak();
  box[Symbol.dispose]();
  expect([box.isReleased, svsm.visibility.isShared(region.start)]).toEqual([true, true]);
  for (const use of [
    () => box.region,
    () => box.read(0, 1),
    () => box.write(0, Uint8Array.of(1)),
    () => box.leak(),
  ])
    expect(use).toThrow(/BOX_RELEASED/);
  svsm.visibility.release(region);
  svsm.checkInvariants();
});

test('if the hypervisor refuses, no page is handed out that is not private and validated', () => {
  const world = bootWorld();
  const { svsm, hypervisor } = world;
  hypervisor.answers = { pageState: () => 1 };
  expect(() => SharedBox.create(svsm, 4096)).toThrow(/VISIBILITY_FAILED/);
  svsm.checkInvariants();
  hypervisor.answers = {};
  svsm.visibility.retryLost();
  expect(svsm.visibility.lost.isEmpty).toBe(true);
  svsm.checkInvariants();
});
