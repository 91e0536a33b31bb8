import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { describe, expect, test, vi } from 'vitest';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import { LaunchPageType } from '../../src/formats/launch-digest.ts';
import { PageState } from '../../src/formats/page-state.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import type { LaunchOptions } from '../../src/host/launch-options.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { bytesOf, codeOf, gvaOf, MiB, mapAll, snapshot, spaOf, thrownBy, world } from '../support/world.ts';

const machineOf = (mib = 32): SnpMachine => new SnpMachine({ memorySize: mib * MiB });

describe('launch', () => {
  // L3
  test('gives private, valid memory in 2 MiB pages, at other system addresses than the guest’s', () => {
    const machine = machineOf();
    const guest = machine.hypervisor.launch({ size: 4 * MiB });
    for (const gpa of guest.memory.iterPages(PageSize.Huge)) {
      const nested = guest.nested.lookup(gpa)!;
      expect(nested).toMatchObject({ size: PageSize.Huge, writable: true, executable: true });
      expect(nested.spa).not.toBe(gpa);
      const entry = machine.rmp.entry(nested.spa)!;
      expect(entry).toMatchObject({
        pageSize: PageSize.Huge,
        asid: 1,
        gpa,
        vmplMasks: [0x1f, 0, 0, 0],
        immutable: false,
      });
      expect(pageStateOf(entry)).toBe(PageState.GuestValid);
    }
  });

  test('uses 4 KiB pages for the rest, or for everything on request', () => {
    const sizes = (options: LaunchOptions): number[] => {
      const guest = machineOf().hypervisor.launch(options);
      return [0, 2 * MiB, 2 * MiB + PAGE_SIZE].map((gpa) => guest.nested.lookup(physAddr(gpa))!.size);
    };
    expect(sizes({ size: 2 * MiB + 2 * PAGE_SIZE })).toEqual([
      PageSize.Huge,
      PageSize.Regular,
      PageSize.Regular,
    ]);
    expect(sizes({ size: 4 * MiB, pageSize: PageSize.Regular })).toEqual([4096, 4096, 4096]);
    expect(machineOf().hypervisor.launch({ size: PAGE_SIZE }).nested.lookup(physAddr(0))?.size).toBe(4096);
  });

  test('puts the image at its guest-physical address, across pages, and zeros elsewhere', () => {
    const image = [{ gpa: physAddr(2 * MiB - 4), bytes: bytesOf('firmware') }];
    const it = world({}, { image });
    expect(it.vcpu.read(gvaOf(2 * MiB - 6), 12)).toEqual(bytesOf('\0\0firmware\0\0'));
    expect(it.machine.hypervisor.read(spaOf(it, 2 * MiB), 4)).not.toEqual(bytesOf('ware'));
  });

  // A26, L1
  test('launches the pages of an unmeasured part as UNMEASURED, and all others as NORMAL', () => {
    const machine = machineOf();
    const launched = vi.spyOn(machine.firmware, 'launchUpdate');
    const part = { gpa: physAddr(2 * MiB - 1), bytes: bytesOf('ab') };
    machine.hypervisor.launch({ size: 8 * MiB, image: [{ ...part, unmeasured: true }, part] });
    const types = (): unknown => launched.mock.calls.map(([, , options]) => [options?.type, options?.count]);
    const { Normal, Unmeasured } = LaunchPageType;
    expect(types()).toEqual([
      [Unmeasured, 2],
      [Normal, 2],
    ]);
    launched.mockClear();
    machine.hypervisor.launch({ size: 2 * MiB, image: [{ gpa: physAddr(0), bytes: bytesOf('ab') }] });
    expect(types()).toEqual([[Normal, 1]]);
    launched.mockClear();
    // The pages of a launch go up, and an image of no bytes has none.
    const middle = { gpa: physAddr(2 * MiB), bytes: bytesOf('ab'), unmeasured: true };
    const none = { gpa: physAddr(0x800), bytes: new Uint8Array(0), unmeasured: true };
    machine.hypervisor.launch({ size: 6 * MiB, image: [middle, none] });
    expect(types()).toEqual([
      [Normal, 1],
      [Unmeasured, 1],
      [Normal, 1],
    ]);
    launched.mockClear();
    const memory = [0, 8 * MiB].map((at) => ({ region: physRegion(physAddr(at), 4 * MiB), validated: true }));
    machine.hypervisor.launch({ memory, image: [middle] });
    expect(types()).toEqual([
      [Normal, 1],
      [Unmeasured, 1],
      [Normal, 2],
    ]);
  });

  // C15
  test('gives each guest its own ASID and key', () => {
    const { hypervisor } = machineOf();
    const [a, b] = [hypervisor.launch({ size: 2 * MiB }), hypervisor.launch({ size: 2 * MiB })];
    expect([a.asid, b.asid]).toEqual([1, 2]);
    expect(a.key).not.toBe(b.key);
    mapAll(a, a.createVcpu());
  });

  test.each<[string, LaunchOptions, string]>([
    ['a guest without memory', { size: 0 }, 'INVALID_ARGUMENT'],
    ['a part of a page', { size: 2 * MiB + 1 }, 'INVALID_ARGUMENT'],
    ['more memory than is free', { size: 32 * MiB }, 'OUT_OF_MEMORY'],
    [
      'an image outside',
      { size: MiB, image: [{ gpa: physAddr(MiB - 1), bytes: bytesOf('ab') }] },
      'INVALID_ARGUMENT',
    ],
  ])('refuses %s, and launches nothing', (_, options, code) => {
    const machine = machineOf();
    const before = snapshot(machine.rmp);
    expect(codeOf(() => machine.hypervisor.launch(options))).toBe(code);
    expect(snapshot(machine.rmp)).toBe(before);
    expect(machine.hypervisor.launch({ size: 28 * MiB }).asid).toBe(1);
  });

  // RMPUPDATE step 3
  test('fails if the RMP does not cover the memory', () => {
    const machine = new SnpMachine({ memorySize: 32 * MiB, rmpCovers: 2 * MiB });
    expect(thrownBy(() => machine.hypervisor.launch({ size: 2 * MiB }))).toMatchObject({
      code: 'HOST_INSTRUCTION_FAILED',
      details: { instruction: 'RMPUPDATE', result: RmpResult.FAIL_INPUT },
    });
    let refused: ReturnType<typeof thrownBy>;
    while (refused === undefined) refused = thrownBy(() => machine.hypervisor.givePageToFirmware());
    expect(refused).toMatchObject({
      code: 'HOST_INSTRUCTION_FAILED',
      details: { instruction: 'RMPUPDATE', result: RmpResult.FAIL_INPUT },
    });
  });
});

describe('reads and writes of the host', () => {
  test('reach its own memory, across pages', () => {
    const { hypervisor } = machineOf();
    hypervisor.write(sysPhysAddr(0xffe), bytesOf('host'));
    expect(hypervisor.read(sysPhysAddr(0xffe), 4)).toEqual(bytesOf('host'));
  });

  // A1, R26
  test('raise #PF with the RMP bit on each page of a guest, and then write nothing', () => {
    const it = world();
    const spa = spaOf(it, 2 * MiB);
    const before = it.machine.hypervisor.read(spa, 8);
    const fault = thrownBy(() => it.machine.hypervisor.write((spa + 5n) as SysPhysAddr, bytesOf('x')));
    expect(fault).toMatchObject({
      code: 'HOST_PF',
      details: { errorCode: 0x8000_0003, check: 'hypervisor-owned' },
    });
    expect(it.machine.hypervisor.read(spa, 8)).toEqual(before);
    const edge = (spaOf(it, 0) - 2n) as SysPhysAddr;
    expect(codeOf(() => it.machine.hypervisor.write(edge, bytesOf('host')))).toBe('HOST_PF');
    expect(it.machine.hypervisor.read(edge, 2)).toEqual(new Uint8Array(2));
  });

  // R21
  test('through a 2 MiB mapping fault in the whole region of a guest’s page', () => {
    const { hypervisor } = machineOf();
    const at = sysPhysAddr(20 * MiB);
    hypervisor.rmpupdate(sysPhysAddr(20 * MiB + 0x5000), { assigned: true, asid: 1 });
    hypervisor.write(at, bytesOf('x'));
    expect(codeOf(() => hypervisor.write(at, bytesOf('x'), PageSize.Huge))).toBe('HOST_PF');
    hypervisor.write(sysPhysAddr(18 * MiB), bytesOf('x'), PageSize.Huge);
  });

  // R2
  test('cannot use a guest’s page as a table of the host', () => {
    const it = world();
    const host = it.machine.hypervisor;
    expect(codeOf(() => host.memory.words(Number(spaOf(it, 0) / 4096n), true))).toBe('HOST_PF');
  });
});

describe('a nested page fault', () => {
  // R28
  test('is resolved by a split only where the sizes differ', () => {
    const it = world();
    const gpa = physAddr(4 * MiB + 0x1000);
    const handle = (info: bigint): boolean =>
      it.machine.hypervisor.handleNestedPageFault(it.guest, gpa, info);
    expect([handle(0n), handle(0x8000_0000n), handle(0x8_0000_0000n)]).toEqual([false, false, false]);
    expect(it.guest.nested.lookup(gpa)?.size).toBe(PageSize.Huge);
    expect(handle(0x8_8000_0000n)).toBe(true);
    expect(it.guest.nested.lookup(gpa)?.size).toBe(PageSize.Regular);
    expect(it.machine.rmp.entry(spaOf(it, 4 * MiB + 0x1000))?.pageSize).toBe(PageSize.Regular);
    expect(handle(0x8_8000_0000n)).toBe(false);
  });

  // R28
  test('on a 2 MiB page that is mapped with 4 KiB, and the reverse, is resolved', () => {
    const it = world();
    it.guest.nested.split4k(physAddr(4 * MiB));
    expect(it.vcpu.read(gvaOf(4 * MiB), 1)).toEqual(new Uint8Array(1));
    it.machine.hypervisor.psmash(spaOf(it, 6 * MiB));
    expect(it.vcpu.read(gvaOf(6 * MiB), 1)).toEqual(new Uint8Array(1));
    expect(it.events.map(({ type }) => type)).toEqual(['npf', 'psmash', 'psmash', 'npf']);
  });

  // R28
  test('on an unmapped page, or on one that cannot be split, is not resolved', () => {
    const it = world();
    expect(it.machine.hypervisor.handleNestedPageFault(it.guest, physAddr(64 * MiB), 0x8_8000_0000n)).toBe(
      false,
    );
    const spa = spaOf(it, 4 * MiB);
    it.machine.rmp.setRawEntry(spa, { ...it.machine.rmp.rawEntry(spa)!, immutable: true });
    expect(it.machine.hypervisor.handleNestedPageFault(it.guest, physAddr(4 * MiB), 0x8_8000_0000n)).toBe(
      false,
    );
  });
});

describe('changePageState', () => {
  // G10
  test('splits the page if needed, and changes its owner back and forth in place', () => {
    const it = world();
    const host = it.machine.hypervisor;
    const gpa = physAddr(4 * MiB + 0x2000);
    const spa = spaOf(it, Number(gpa));
    expect(host.changePageState(it.guest, gpa, PageOperation.Shared)).toBe(0);
    expect(pageStateOf(it.machine.rmp.entry(spa))).toBe(PageState.Hypervisor);
    expect(host.changePageState(it.guest, gpa, PageOperation.Private)).toBe(0);
    expect(it.machine.rmp.entry(spa)).toMatchObject({ asid: 1, gpa, validated: false });
    expect(spaOf(it, Number(gpa))).toBe(spa);
  });

  test('returns an error code to the guest', () => {
    const it = world();
    const host = it.machine.hypervisor;
    expect(host.changePageState(it.guest, physAddr(64 * MiB), PageOperation.Shared)).toBe(1);
    host.changePageState(it.guest, physAddr(0), PageOperation.Shared);
    it.machine.rmp.setRawEntry(spaOf(it, 0), { ...it.machine.rmp.rawEntry(spaOf(it, 0))!, immutable: true });
    expect(host.changePageState(it.guest, physAddr(0), PageOperation.Private)).toBe(0x102);
  });
});
