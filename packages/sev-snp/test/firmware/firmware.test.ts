import { formatAddress, PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import type { Firmware } from '../../src/firmware/firmware.ts';
import type { LaunchUpdateOptions } from '../../src/firmware/page-launch.ts';
import { LaunchPageType } from '../../src/formats/launch-digest.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import type { RmpPageSize } from '../../src/formats/rmp-entry.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { Guest } from '../../src/guest/guest.ts';
import type { Hypervisor } from '../../src/host/hypervisor.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { NO_KEY } from '../../src/memory/encrypted-memory.ts';
import { statusOf } from '../support/firmware-runs.ts';
import { bytesOf, codeOf, gvaOf, MiB, snapshot, spaOf, thrownBy, world } from '../support/world.ts';

interface Bench {
  readonly machine: SnpMachine;
  readonly firmware: Firmware;
  readonly host: Hypervisor;
  /** The context page of a guest in state LAUNCH, without an ASID. */
  launching(): SysPhysAddr;
}

function bench(): Bench {
  const machine = new SnpMachine({ memorySize: 8 * MiB });
  const { firmware, hypervisor: host } = machine;
  const launching = (): SysPhysAddr => {
    const context = host.givePageToFirmware();
    firmware.guestContextCreate(context);
    firmware.launchStart(context);
    return context;
  };
  return { machine, firmware, host, launching };
}

// T6
test('a refusal names the page that does not fit, and the states of page and guest', () => {
  const { machine, guest } = world();
  const page = machine.hypervisor.allocatePage();
  machine.hypervisor.rmpupdate(page, { assigned: true, immutable: true, asid: guest.asid });
  const refused = thrownBy(() => machine.firmware.launchUpdate(guest.context, page));
  expect(refused?.details).toEqual({
    command: 'SNP_LAUNCH_UPDATE',
    spa: guest.context,
    state: 'CONTEXT',
    guest: 'RUNNING',
    status: 'INVALID_GUEST_STATE',
  });
  expect(refused?.message).toBe(
    `SNP_LAUNCH_UPDATE is refused for ${formatAddress(guest.context)} in state CONTEXT, of a guest in state RUNNING: INVALID_GUEST_STATE [FIRMWARE_REFUSED]`,
  );
  machine.firmware.decommission(guest.context);
  expect(thrownBy(() => machine.firmware.dfFlush())?.message).toBe(
    'SNP_DF_FLUSH is refused: WBINVD_REQUIRED [FIRMWARE_REFUSED]',
  );
});

// T5
test.each([sysPhysAddr(0x1008), 1, undefined, -1n])('the address %s is not that of a page', (value) => {
  const { firmware, launching } = bench();
  const bad = value as SysPhysAddr;
  const context = launching();
  for (const command of [
    () => firmware.guestContextCreate(bad),
    () => firmware.launchStart(bad),
    () => firmware.activate(bad, 1),
    () => firmware.launchUpdate(bad, context),
    () => firmware.launchUpdate(context, bad),
    () => firmware.launchFinish(bad),
    () => firmware.decommission(bad),
    () => firmware.guestStatus(bad),
    () => firmware.metadataInit(bad, context),
    () => firmware.metadataInit(context, bad),
    () => firmware.swapOut(context, { source: bad, destination: context }),
    () => firmware.swapIn(context, { source: context, destination: bad }),
    () => firmware.pageMove(context, { source: bad, destination: context }),
    () => firmware.pageReclaim(bad),
    () => firmware.pageSetHvFixed(bad),
    () => firmware.pageUnsmash(bad),
  ]) {
    expect(statusOf(command)).toBe('INVALID_PARAM');
  }
});

// A24, T5
test('a page is a context page if the RMP and the firmware say so', () => {
  const { machine, firmware, host, launching } = bench();
  const context = launching();
  const entry = machine.rmp.rawEntry(context)!;
  machine.rmp.setRawEntry(context, { ...entry, vmsa: false });
  expect(statusOf(() => firmware.guestStatus(context))).toBe('INVALID_GUEST');
  machine.rmp.setRawEntry(context, entry);
  expect(firmware.guestStatus(context).state).toBe('LAUNCH');
  const other = host.givePageToFirmware();
  machine.rmp.setRawEntry(other, entry);
  expect(statusOf(() => firmware.guestStatus(other))).toBe('INVALID_GUEST');
});

// T10
test('GCTX_CREATE and MD_INIT clear the page', () => {
  const { machine, firmware, host, launching } = bench();
  const clean = (page: SysPhysAddr) => machine.memory.read(page, 0x1000, NO_KEY).every((byte) => byte === 0);
  const dirtyPage = (): SysPhysAddr => {
    const page = host.allocatePage();
    host.write(page, new Uint8Array(0x1000).fill(0xa5));
    host.rmpupdate(page, { assigned: true, immutable: true });
    return page;
  };
  const [context, metadata] = [dirtyPage(), dirtyPage()];
  firmware.guestContextCreate(context);
  expect(clean(context)).toBe(true);
  firmware.metadataInit(launching(), metadata);
  expect(clean(metadata)).toBe(true);
  expect(pageStateOf(machine.rmp.rawEntry(metadata))).toBe('METADATA');
});

// T11
describe('ACTIVATE', () => {
  test.each([0, 0x3ff, 1.5, -1, Number.NaN])('refuses the ASID %d', (asid) => {
    const { firmware, launching } = bench();
    expect(statusOf(() => firmware.activate(launching(), asid))).toBe('INVALID_ASID');
  });

  test('gives a guest one ASID, and no ASID to two guests', () => {
    const { firmware, launching } = bench();
    const [a, b] = [launching(), launching()];
    expect(firmware.guestStatus(a)).toEqual({ state: 'LAUNCH', asid: 0 });
    firmware.activate(a, 0x3fe);
    expect(firmware.guestStatus(a)).toEqual({ state: 'LAUNCH', asid: 0x3fe });
    expect(statusOf(() => firmware.activate(b, 0x3fe))).toBe('ASID_OWNED');
    expect(statusOf(() => firmware.activate(a, 2))).toBe('ACTIVE');
    expect(statusOf(() => firmware.activate(b, 2))).toBe('SUCCESS');
  });

  test('refuses an ASID that pages are assigned to, whoever assigned them', () => {
    const { firmware, host, launching } = bench();
    const [small, huge] = [host.allocatePage(), sysPhysAddr(4 * MiB)];
    const context = launching();
    for (const [page, pageSize] of [
      [small, PageSize.Regular],
      [huge, PageSize.Huge],
    ] as const) {
      host.rmpupdate(page, { assigned: true, asid: 7, pageSize });
      expect(statusOf(() => firmware.activate(context, 7))).toBe('INVALID_CONFIG');
      host.rmpupdate(page, { assigned: false, pageSize });
    }
    firmware.activate(context, 7);
  });

  test('refuses the ASID of a guest that has run, until WBINVD and then DF_FLUSH', () => {
    const { firmware, launching } = bench();
    const first = launching();
    firmware.activate(first, 1);
    firmware.launchFinish(first);
    firmware.dfFlush();
    firmware.wbinvd();
    firmware.decommission(first);
    const next = launching();
    const activate = () => statusOf(() => firmware.activate(next, 1));
    expect(activate()).toBe('DF_FLUSH_REQUIRED');
    // A WBINVD before DECOMMISSION does not count.
    expect(statusOf(() => firmware.dfFlush())).toBe('WBINVD_REQUIRED');
    expect(activate()).toBe('DF_FLUSH_REQUIRED');
    firmware.wbinvd();
    expect(activate()).toBe('DF_FLUSH_REQUIRED');
    firmware.dfFlush();
    expect(activate()).toBe('SUCCESS');
  });

  test('allows the ASID of a guest that never ran at once', () => {
    const { firmware, launching } = bench();
    const first = launching();
    firmware.activate(first, 1);
    firmware.decommission(first);
    firmware.dfFlush();
    firmware.activate(launching(), 1);
  });
});

// T5
describe('DECOMMISSION', () => {
  test('ends the guest: none of its processors executes', () => {
    const { machine, guest, vcpu } = world();
    machine.firmware.decommission(guest.context);
    expect(thrownBy(() => vcpu.read(gvaOf(0), 1))).toMatchObject({
      code: 'VMRUN',
      details: { exitCode: -1n, vmsa: undefined },
      message: 'VMRUN of a guest that is not running ended with VMEXIT_INVALID (-1) [VMRUN]',
    });
    expect(codeOf(() => vcpu.write(gvaOf(0), Uint8Array.of(1)))).toBe('VMRUN');
    expect(machine.firmware.activeGuest(guest.context)).toBeUndefined();
  });

  test('makes the context page FIRMWARE, which can become another context', () => {
    const { machine, guest } = world();
    const { firmware, rmp } = machine;
    firmware.decommission(guest.context);
    expect(pageStateOf(rmp.rawEntry(guest.context))).toBe('FIRMWARE');
    firmware.guestContextCreate(guest.context);
    expect(firmware.guestStatus(guest.context)).toEqual({ state: 'INIT', asid: 0 });
  });
});

// T12
describe('a guest', () => {
  test('does not run before LAUNCH_FINISH', () => {
    const { machine, firmware, launching } = bench();
    const context = launching();
    firmware.activate(context, 1);
    // The hypervisor's own ASID is taken: its launch ends before the first page.
    expect(codeOf(() => machine.hypervisor.launch({ size: 2 * MiB }))).toBe('FIRMWARE_REFUSED');
    const { nested, memory } = world().guest;
    const guest = new Guest(machine, { context, nested, memory });
    expect([guest.asid, guest.context]).toEqual([1, context]);
    expect(codeOf(() => guest.key)).toBe('VMRUN');
    const vmsa = { spa: sysPhysAddr(0x3000), gpa: physAddr(0), vmcb: sysPhysAddr(0x4000) };
    expect(thrownBy(() => guest.vmrun(vmsa))).toMatchObject({ code: 'VMRUN', details: { exitCode: -1n } });
    firmware.launchFinish(context);
    expect(guest.key).toBeGreaterThan(0);
  });

  test('needs an activated context, which no other Guest has', () => {
    const { machine, guest } = world();
    const { nested, memory } = guest;
    const make = (context: SysPhysAddr) => codeOf(() => new Guest(machine, { context, nested, memory }));
    expect(make(guest.context)).toBe('INVALID_ARGUMENT');
    expect(make(sysPhysAddr(0x3000))).toBe('INVALID_ARGUMENT');
    const inactive = machine.hypervisor.givePageToFirmware();
    machine.firmware.guestContextCreate(inactive);
    machine.firmware.launchStart(inactive);
    expect(make(inactive)).toBe('INVALID_ARGUMENT');
  });

  test('cannot be changed through the object that the firmware gives out', () => {
    const { machine, guest } = world();
    const known = machine.firmware.activeGuest(guest.context)!;
    expect(Object.isFrozen(known)).toBe(true);
    expect(() => Object.assign(known, { key: 0 })).toThrow(TypeError);
    expect(Object.isFrozen(machine.firmware.guestStatus(guest.context))).toBe(true);
  });
});

describe('LAUNCH_UPDATE', () => {
  const spa = sysPhysAddr(2 * MiB);
  const last = sysPhysAddr(4 * MiB - 4);

  /** A guest in state LAUNCH with a PRE-GUEST page. */
  function launch(pageSize: RmpPageSize = PageSize.Regular) {
    const it = bench();
    const context = it.launching();
    it.firmware.activate(context, 1);
    it.machine.memory.write(spa, bytesOf('code'), NO_KEY);
    it.machine.memory.write(last, bytesOf('data'), NO_KEY);
    it.host.rmpupdate(spa, { assigned: true, immutable: true, asid: 1, gpa: physAddr(0), pageSize });
    const update = (options: LaunchUpdateOptions = {}) =>
      it.firmware.launchUpdate(context, spa, { pageSize, ...options });
    const key = (): number => {
      it.firmware.launchFinish(context);
      return it.firmware.activeGuest(context)!.key!;
    };
    return { ...it, context, update, key };
  }

  // L3
  test.each([PageSize.Regular, PageSize.Huge] as const)(
    'encrypts a page of %i bytes in place, once',
    (pageSize) => {
      const it = launch(pageSize);
      const { memory, rmp } = it.machine;
      it.update();
      expect(statusOf(it.update)).toBe('INVALID_PAGE_STATE');
      const key = it.key();
      expect(memory.read(spa, 4, key)).toEqual(bytesOf('code'));
      expect(memory.read(spa, 4, NO_KEY)).not.toEqual(bytesOf('code'));
      expect(memory.read(last, 4, pageSize === PageSize.Huge ? key : NO_KEY)).toEqual(bytesOf('data'));
      const fields = { validated: true, immutable: false, pageSize, vmplMasks: [0x1f, 0, 0, 0] };
      expect(rmp.rawEntry(spa)).toMatchObject(fields);
    },
  );

  // L3, L1
  test.each([
    LaunchPageType.Normal,
    LaunchPageType.Unmeasured,
    LaunchPageType.Zero,
    LaunchPageType.Vmsa,
  ] as const)(
    'of a page of type %i sets the content and the VMSA bit of its type, and the given permissions',
    (type) => {
      const it = launch();
      it.update({ type, permissions: [1, 2, 3] });
      expect(it.machine.memory.read(spa, 4, it.key())).toEqual(
        type === LaunchPageType.Zero ? new Uint8Array(4) : bytesOf('code'),
      );
      expect(it.machine.rmp.rawEntry(spa)).toMatchObject({
        vmsa: type === LaunchPageType.Vmsa,
        vmplMasks: [0x1f, 1, 2, 3],
      });
    },
  );

  // L2
  test.each<[string, LaunchUpdateOptions, string]>([
    ['a VMSA of 2 MiB', { type: LaunchPageType.Vmsa }, 'INVALID_PAGE_SIZE'],
    ['secrets of 2 MiB', { type: LaunchPageType.Secrets }, 'INVALID_PAGE_SIZE'],
    ['a CPUID page of 2 MiB', { type: LaunchPageType.Cpuid }, 'INVALID_PAGE_SIZE'],
    ['another size', { pageSize: PageSize.Regular }, 'INVALID_PAGE_SIZE'],
    ['an unknown type', { type: 0 as never }, 'INVALID_PARAM'],
    ['a mask of nine bits', { permissions: [0, 0, 256] }, 'INVALID_PARAM'],
    ['too few masks', { permissions: [0, 0] as never }, 'INVALID_PARAM'],
  ])('refuses %s, and changes nothing', (_, options, status) => {
    const it = launch(PageSize.Huge);
    const before = snapshot(it.machine.rmp);
    expect(statusOf(() => it.update(options))).toBe(status);
    expect(snapshot(it.machine.rmp)).toBe(before);
    expect(it.machine.memory.read(spa, 4, NO_KEY)).toEqual(bytesOf('code'));
  });

  // L2
  test('refuses a page of another guest', () => {
    const it = launch();
    const other = it.launching();
    it.firmware.activate(other, 2);
    expect(statusOf(() => it.firmware.launchUpdate(other, spa))).toBe('INVALID_PAGE_OWNER');
    expect(pageStateOf(it.machine.rmp.rawEntry(spa))).toBe('PRE-GUEST');
  });
});

test('a launch leaves the guest RUNNING, with all its pages under one ASID and one key', () => {
  const it = world();
  expect(it.machine.firmware.guestStatus(it.guest.context)).toEqual({ state: 'RUNNING', asid: 1 });
  expect(it.machine.rmp.entriesOf(1)).toBe(4);
  const page = spaOf(it, 0x5000);
  expect(it.machine.memory.read(page, 4, it.guest.key)).toEqual(new Uint8Array(4));
  expect(it.guest.key).toBe(it.machine.firmware.activeGuest(it.guest.context)?.key);
});
