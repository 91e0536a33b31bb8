import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { NpfInfo } from '../../src/formats/exit-info.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import type { Vmpl } from '../../src/formats/vmpl.ts';
import { codeOf, gvaOf, MiB, spaOf, thrownBy, type World, world } from '../support/world.ts';

const PAGE = 4 * MiB;
const FRAME = PAGE / PAGE_SIZE;

/** A world with a processor of a level that may do `permissions` with the 2 MiB around the page. */
function level(vmpl: Vmpl, permissions: number): World {
  const it = world();
  if (vmpl > 0) it.vcpu.rmpadjust(gvaOf(PAGE), PageSize.Huge, { vmpl, permissions });
  const vcpu = it.guest.createVcpu({ vmpl, nestedTlb: new NestedTlb() });
  return { ...it, vcpu };
}

describe('the words of a frame', () => {
  test('are the page itself for VMPL0, and for a level that may write it', () => {
    for (const { vcpu } of [world(), level(0, 0), level(1, 3)]) {
      const words = vcpu.memory.words(FRAME, true);
      expect(vcpu.memory.words(FRAME, false)).toBe(words);
    }
  });

  test('are a copy for a level that may only read it, which cannot get them to write', () => {
    const { vcpu } = level(1, 1);
    const { memory } = vcpu;
    expect(memory.words(FRAME, false)).not.toBe(memory.words(FRAME, false));
    expect(thrownBy(() => memory.words(FRAME, true))).toMatchObject({
      code: 'NPF',
      details: { check: 'vmpl' },
    });
    expect(memory.wordOffset(FRAME)).toBe(0);
  });

  test('are an access to a final address, to read or to write, in a nested page fault', () => {
    for (const nestedTlb of [undefined, new NestedTlb()]) {
      const it = world({}, {}, nestedTlb ? { nestedTlb } : {});
      it.guest.nested.unmap(physAddr(PAGE));
      const { User, FinalAddress, Encrypted, Write } = NpfInfo;
      const infoOf = (write: boolean): unknown =>
        thrownBy(() => it.vcpu.memory.words(FRAME, write))?.details['exitInfo1'];
      expect(infoOf(false)).toBe(User | FinalAddress | Encrypted);
      expect(infoOf(true)).toBe(User | FinalAddress | Encrypted | Write);
    }
  });
});

test('the epoch of memory grows with each change that its words may depend on', () => {
  const it = level(0, 0);
  const { memory } = it.vcpu;
  const changes: (() => unknown)[] = [
    () => memory.words(FRAME, false),
    () => it.machine.hypervisor.flushTlbs(it.guest),
    () => it.machine.hypervisor.rmpupdate(sysPhysAddr(31 * MiB), { assigned: true }),
    () => it.machine.memory.writeFrame(Number(spaOf(it, PAGE) >> 12n), 0, Uint8Array.of(1), it.guest.key),
    () => it.vcpu.nestedTlb?.flushAll(),
  ];
  const grows = changes.map((change) => {
    const before = memory.epoch;
    change();
    return memory.epoch > before;
  });
  expect(grows).toEqual(changes.map(() => true));
  expect(world().vcpu.memory.epoch).toBeNaN();
  expect(codeOf(() => memory.words(FRAME, false))).toBeUndefined();
});
