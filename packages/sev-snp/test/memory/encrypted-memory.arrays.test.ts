import { PAGE_SIZE, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { VmplPermission } from '../../src/formats/vmpl.ts';
import type { Guest } from '../../src/guest/guest.ts';
import { makePagePrivate, makePageShared } from '../../src/guest/page-visibility.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { EncryptedMemory, NO_KEY } from '../../src/memory/encrypted-memory.ts';
import { bytesOf, codeOf, gvaOf, MiB, spaOf, textOf, type World, world } from '../support/world.ts';

/*
 * Arrays of memory end with the state of the page: through an array from before, nobody reads what another one writes
 * later, and nobody writes to it.
 */

const PAGE = 2 * MiB + 0x5000;
const SECRET = bytesOf('attack at dawn');

interface Scene extends World {
  readonly host: HostileHypervisor;
  readonly spa: SysPhysAddr;
  readonly frame: number;
}

let it: Scene;
beforeEach(() => {
  const made = world({ hypervisor: (machine) => new HostileHypervisor(machine) });
  made.machine.hypervisor.splitPage(made.guest, physAddr(PAGE));
  const spa = spaOf(made, PAGE);
  it = {
    ...made,
    host: made.machine.hypervisor as HostileHypervisor,
    spa,
    frame: Number(spa / BigInt(PAGE_SIZE)),
  };
});

const bytesIn = (words: Uint32Array): Uint8Array => new Uint8Array(words.buffer, words.byteOffset, PAGE_SIZE);
const contains = (words: Uint32Array, text: Uint8Array): boolean =>
  textOf(bytesIn(words)).includes(textOf(text));

/** All ways to an array of a page, while the page is shared. */
const WAYS: Readonly<Record<string, (scene: Scene) => Uint32Array>> = {
  'EncryptedMemory.words, to read': ({ machine, frame }) => machine.memory.words(frame, NO_KEY, false),
  'EncryptedMemory.words, to write': ({ machine, frame }) => machine.memory.words(frame, NO_KEY, true),
  'EncryptedMemory.view, to read': ({ machine, frame }) => machine.memory.view(NO_KEY).words(frame, false),
  'EncryptedMemory.view, to write': ({ machine, frame }) => machine.memory.view(NO_KEY).words(frame, true),
  'Hypervisor.memory, to read': ({ host, frame }) => host.memory.words(frame, false),
  'Hypervisor.memory, to write': ({ host, frame }) => host.memory.words(frame, true),
  'Hypervisor.read': ({ host, spa }) => new Uint32Array(host.read(spa, PAGE_SIZE).buffer),
  'EncryptedMemory.read': ({ machine, spa }) =>
    new Uint32Array(machine.memory.read(spa, PAGE_SIZE, NO_KEY).buffer),
  'EncryptedMemory.readFrame': ({ machine, frame }) =>
    new Uint32Array(machine.memory.readFrame(frame, 0, PAGE_SIZE, NO_KEY).buffer),
};

describe.each(Object.entries(WAYS))('an array of %s', (way, arrayOf) => {
  // A1
  test('from a time when the page was shared does not show what the guest writes, nor change it', () => {
    const { vcpu, table } = it;
    makePageShared(vcpu, table, gvaOf(PAGE));
    vcpu.write(gvaOf(PAGE), bytesOf('a shared text'));
    const words = arrayOf(it);
    makePagePrivate(vcpu, table, gvaOf(PAGE));
    vcpu.write(gvaOf(PAGE), SECRET);
    expect(contains(words, SECRET)).toBe(false);
    words.fill(0x4141_4141);
    expect(vcpu.read(gvaOf(PAGE), SECRET.length)).toEqual(SECRET);
  });

  test('does not reach a page that was given to the guest, before the guest has written to it', () => {
    const { vcpu, table, host, guest, spa, machine } = it;
    makePageShared(vcpu, table, gvaOf(PAGE));
    vcpu.write(gvaOf(PAGE), bytesOf('a shared text'));
    const words = arrayOf(it);
    host.rmpupdate(spa, { assigned: true, asid: guest.asid, gpa: physAddr(PAGE) });
    const before = machine.memory.read(spa, PAGE_SIZE, guest.key);
    words.fill(0x4141_4141);
    expect(machine.memory.read(spa, PAGE_SIZE, guest.key)).toEqual(before);
  });

  test('of a page of the guest shows ciphertext, and writes to it reach nobody', () => {
    const { vcpu } = it;
    vcpu.write(gvaOf(PAGE), SECRET);
    let words: Uint32Array;
    try {
      words = arrayOf(it);
    } catch (error) {
      // The hypervisor may not write to it.
      expect((error as { code?: string }).code).toBe('HOST_PF');
      return;
    }
    expect(contains(words, SECRET)).toBe(false);
    if (way.endsWith('to write')) return;
    words.fill(0x4141_4141);
    expect(vcpu.read(gvaOf(PAGE), SECRET.length)).toEqual(SECRET);
  });
});

// L1
test('an array from before the launch shows nothing of the launched page, nor changes it', () => {
  const { machine, host } = it;
  const image = [{ gpa: physAddr(0x3000), bytes: SECRET }];
  const held: [number, Uint32Array][] = [];
  for (let frame = 0; frame < Number(machine.memory.size) / PAGE_SIZE; frame += 1) {
    if (!machine.rmp.isAssigned(frame)) held.push([frame, host.memory.words(frame, true)]);
  }
  const guest = host.launch({ size: 2 * MiB, image, pageSize: PAGE_SIZE });
  const vcpu = guest.createVcpu();
  const { spa } = guest.nested.lookup(0x3000n as PhysAddr) as { spa: SysPhysAddr };
  const [, words] = held.find(([frame]) => frame === Number(spa) / PAGE_SIZE) as [number, Uint32Array];
  words.fill(0x4141_4141);
  expect(bytesIn(vcpu.memory.words(3, false)).slice(0, SECRET.length)).toEqual(SECRET);
  expect(contains(words, SECRET)).toBe(false);
});

describe('an array of Vcpu.memory', () => {
  const frame = PAGE / PAGE_SIZE;
  const write = (vcpu: Vcpu): Uint32Array => {
    vcpu.write(gvaOf(PAGE), SECRET);
    return vcpu.memory.words(frame, true);
  };

  test('does not write to a page that the hypervisor has taken', () => {
    const { host, guest, vcpu, machine, spa } = it;
    const words = write(vcpu);
    host.unassign(guest, physAddr(PAGE));
    words.fill(0x4141_4141);
    expect(machine.memory.read(spa, SECRET.length, guest.key)).toEqual(SECRET);
    expect(codeOf(() => vcpu.memory.words(frame, true))).toBe('NPF');
  });

  test('does not write to a page that is not validated any more', () => {
    const { vcpu, machine, guest, spa } = it;
    const words = write(vcpu);
    vcpu.pvalidate(gvaOf(PAGE), PageSize.Regular, false);
    words.fill(0x4141_4141);
    expect(machine.memory.read(spa, SECRET.length, guest.key)).toEqual(SECRET);
  });

  /** A processor at VMPL2 with the rights on the page. */
  function os(permissions: number): { cpu: Vcpu; adjust: (permissions: number) => number; guest: Guest } {
    const { guest, vcpu, table } = it;
    const adjust = (mask: number): number =>
      vcpu.rmpadjust(gvaOf(PAGE), PageSize.Regular, { vmpl: 2, permissions: mask });
    adjust(permissions);
    const cpu = guest.createVcpu({ vmpl: 2 });
    cpu.loadCr3(table.cr3);
    return { cpu, adjust, guest };
  }

  // V1
  test('ends when RMPADJUST takes the rights on the page', () => {
    const { vcpu } = it;
    vcpu.write(gvaOf(PAGE), SECRET);
    const { cpu, adjust } = os(VmplPermission.Rwx);
    const words = cpu.memory.words(frame, true);
    adjust(VmplPermission.None);
    words.fill(0x4141_4141);
    expect(textOf(vcpu.read(gvaOf(PAGE), 14))).toBe('attack at dawn');
    vcpu.write(gvaOf(PAGE), bytesOf('retreat at ten'));
    expect(textOf(vcpu.read(gvaOf(PAGE), 14))).toBe('retreat at ten');
    expect(contains(words, bytesOf('retreat'))).toBe(false);
  });

  // V1
  test('is a copy for a level that may read the page but not write to it', () => {
    const { vcpu } = it;
    vcpu.write(gvaOf(PAGE), SECRET);
    const { cpu } = os(VmplPermission.Read);
    const words = cpu.memory.words(frame, false);
    expect(bytesIn(words).slice(0, SECRET.length)).toEqual(SECRET);
    words.fill(0x4141_4141);
    expect(vcpu.read(gvaOf(PAGE), SECRET.length)).toEqual(SECRET);
    expect(codeOf(() => cpu.memory.words(frame, true))).toBe('NPF');
  });

  test('is the page itself for a level that may write to it', () => {
    const { vcpu } = it;
    vcpu.write(gvaOf(PAGE), SECRET);
    const { cpu } = os(VmplPermission.Rwx);
    expect(cpu.memory.words(frame, false)).toBe(vcpu.memory.words(frame, true));
  });
});

describe('EncryptedMemory', () => {
  test('zeros that were never written do not change with an array of one of them', () => {
    const memory = new EncryptedMemory(0x10_0000);
    memory.words(1, NO_KEY, false).fill(1);
    expect(memory.words(1, NO_KEY, false)[0]).toBe(0);
    expect(memory.readFrame(2, 0, 4, NO_KEY)).toEqual(new Uint8Array(4));
  });

  test('an array stays the page as long as the same key writes', () => {
    const memory = new EncryptedMemory(0x10_0000);
    const words = memory.words(1, NO_KEY, true);
    memory.writeFrame(1, 0, Uint8Array.of(1, 0, 0, 0), NO_KEY);
    expect(words[0]).toBe(1);
    expect(memory.words(1, NO_KEY, false)).toBe(words);
  });

  test.each([1, 2, 512])('revoke ends the arrays of %d frames, and of no other', (count) => {
    const memory = new EncryptedMemory(0x40_0000);
    const arrays = Array.from({ length: 600 }, (_, frame) => memory.words(frame, NO_KEY, true));
    const { epoch } = memory.view(NO_KEY);
    memory.revoke(7, count);
    expect(memory.view(NO_KEY).epoch).not.toBe(epoch);
    const ended = arrays.flatMap((words, frame) =>
      memory.words(frame, NO_KEY, false) === words ? [] : [frame],
    );
    expect(ended).toEqual(Array.from({ length: count }, (_, k) => 7 + k));
  });
});
