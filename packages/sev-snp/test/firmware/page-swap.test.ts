import { PageSize, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Firmware } from '../../src/firmware/firmware.ts';
import type { SwapOptions } from '../../src/firmware/page-swap.ts';
import { PageState } from '../../src/formats/page-state.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import type { RmpPageSize } from '../../src/formats/rmp-entry.ts';
import { decodeSwapRecord } from '../../src/formats/swap-record.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { statusOf } from '../support/firmware-runs.ts';
import { bytesOf, codeOf, gvaOf, MiB, spaOf, thrownBy, type World, world } from '../support/world.ts';

const PAGE = 2 * MiB + 0x3000;
const SECRET = bytesOf('attack at dawn');

interface Scene {
  readonly it: World;
  readonly firmware: Firmware;
  readonly context: SysPhysAddr;
  readonly metadata: SysPhysAddr;
  readonly source: SysPhysAddr;
  firmwarePage(): SysPhysAddr;
  preGuest(gpa?: number, asid?: number): SysPhysAddr;
  state(spa: SysPhysAddr): PageState;
}

/** A guest in 4 KiB pages with a secret in a PRE-SWAP page, and pages for the firmware. */
function scene(): Scene {
  const it = world({}, { pageSize: PageSize.Regular });
  const { machine, guest } = it;
  const host = machine.hypervisor;
  it.vcpu.write(gvaOf(PAGE), SECRET);
  it.vcpu.rmpadjust(gvaOf(PAGE), PageSize.Regular, { vmpl: 2, permissions: 3 });
  const { firmware } = machine;
  const firmwarePage = (): SysPhysAddr => host.givePageToFirmware();
  const metadata = firmwarePage();
  firmware.metadataInit(guest.context, metadata);
  const source = spaOf(it, PAGE);
  host.rmpupdate(source, { assigned: true, immutable: true, asid: guest.asid, gpa: physAddr(PAGE) });
  return {
    it,
    metadata,
    source,
    firmwarePage,
    firmware,
    context: guest.context,
    preGuest: (gpa = PAGE, asid = guest.asid) => {
      const page = host.allocatePage();
      host.rmpupdate(page, { assigned: true, immutable: true, asid, gpa: physAddr(gpa) });
      return page;
    },
    state: (spa) => pageStateOf(machine.rmp.rawEntry(spa)),
  };
}

/** Swaps the page out. Returns the page that holds it now, which the hypervisor owns again. */
function out(it: Scene, record?: SwapOptions['record']): SysPhysAddr {
  const destination = it.firmwarePage();
  const { machine } = it.it;
  it.firmware.swapOut(it.context, {
    source: it.source,
    destination,
    ...(record === undefined ? {} : { record }),
  });
  it.firmware.pageReclaim(destination);
  machine.hypervisor.rmpupdate(destination, { assigned: false });
  return destination;
}

/** Maps a page where the guest expects it. */
function mapTo({ it, firmware }: Scene, spa: SysPhysAddr): void {
  it.guest.nested.unmap(physAddr(PAGE));
  it.guest.nested.map(physAddr(PAGE), spa, PageSize.Regular);
  firmware.pageReclaim(spa);
}

describe('a page that is swapped', () => {
  // T8, T3
  test.each([
    ['by a record', true],
    ['by the root record', false],
  ] as const)('goes out and comes back, %s', (_, has) => {
    const it = scene();
    const record = has ? { page: it.metadata, index: 63 } : undefined;
    const ciphertext = out(it, record);
    expect(it.state(it.source)).toBe(PageState.PreGuest);
    expect(it.it.machine.hypervisor.read(ciphertext, 14)).not.toEqual(SECRET);
    const destination = it.preGuest(0x7000);
    it.firmware.swapIn(it.context, {
      source: ciphertext,
      destination,
      ...(has ? { record: { page: it.metadata, index: 63 } } : {}),
    });
    expect(it.state(destination)).toBe(PageState.PreSwap);
    // Address and masks come from the record, whatever RMPUPDATE has set.
    expect(it.it.machine.rmp.rawEntry(destination)).toMatchObject({
      gpa: BigInt(PAGE),
      vmplMasks: [0x1f, 0, 3, 0],
    });
    mapTo(it, destination);
    expect(it.it.vcpu.read(gvaOf(PAGE), 14)).toEqual(SECRET);
  });

  // A17, T8
  test('comes back once', () => {
    const it = scene();
    const record = { page: it.metadata, index: 0 };
    const source = out(it, record);
    it.firmware.swapIn(it.context, { source, destination: it.preGuest(), record });
    expect(
      thrownBy(() => it.firmware.swapIn(it.context, { source, destination: it.preGuest(), record })),
    ).toMatchObject({
      code: 'FIRMWARE_REFUSED',
      details: { status: 'INVALID_MDATA_ENTRY' },
    });
    expect(decodeSwapRecord(it.it.machine.hypervisor.read(it.metadata, 64))).toMatchObject({ valid: false });
  });

  // A17, T8
  test('does not come back if one bit of it has changed, and nothing changes', () => {
    const it = scene();
    const source = out(it, undefined);
    const { hypervisor } = it.it.machine;
    const destination = it.preGuest();
    const good = hypervisor.read(source, 0x1000);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0x7fff }), (bit) => {
        const bad = good.slice();
        bad[bit >> 3]! ^= 1 << (bit & 7);
        hypervisor.write(source, bad);
        const fault = thrownBy(() => it.firmware.swapIn(it.context, { source, destination }));
        expect(fault?.details).toMatchObject({ status: 'BAD_MEASUREMENT' });
        expect(it.state(destination)).toBe(PageState.PreGuest);
      }),
    );
    hypervisor.write(source, good);
    it.firmware.swapIn(it.context, { source, destination });
  });

  // A17
  test('an older copy does not come back with a newer record', () => {
    const it = scene();
    const old = out(it);
    const stale = it.it.machine.hypervisor.read(old, 0x1000);
    const destination = it.preGuest();
    it.firmware.swapIn(it.context, { source: old, destination });
    mapTo(it, destination);
    it.it.vcpu.write(gvaOf(PAGE), bytesOf('retreat at six'));
    const { hypervisor } = it.it.machine;
    hypervisor.rmpupdate(destination, { assigned: true, immutable: true, asid: 1, gpa: physAddr(PAGE) });
    const again = it.firmwarePage();
    it.firmware.swapOut(it.context, { source: destination, destination: again });
    it.firmware.pageReclaim(again);
    hypervisor.rmpupdate(again, { assigned: false });
    hypervisor.write(again, stale);
    expect(codeOf(() => it.firmware.swapIn(it.context, { source: again, destination: it.preGuest() }))).toBe(
      'FIRMWARE_REFUSED',
    );
  });

  // T1
  test('has a record that the host cannot change, since its page is immutable', () => {
    const it = scene();
    expect(codeOf(() => it.it.machine.hypervisor.write(it.metadata, new Uint8Array(64)))).toBe('HOST_PF');
    expect(it.it.machine.hypervisor.rmpupdate(it.metadata, { assigned: false })).toBe(2);
  });

  // T8
  test('that was not valid does not come back valid', () => {
    const it = scene();
    const invalid = it.preGuest(PAGE + 0x1000);
    const destination = it.firmwarePage();
    it.firmware.swapOut(it.context, { source: invalid, destination });
    const back = it.preGuest();
    it.firmware.swapIn(it.context, { source: destination, destination: back });
    expect(it.state(back)).toBe(PageState.PreGuest);
    expect(it.it.machine.rmp.rawEntry(back)?.gpa).toBe(BigInt(PAGE + 0x1000));
  });

  // T7
  test('can be a page of records', () => {
    const it = scene();
    const record = { page: it.metadata, index: 5 };
    const page = out(it, record);
    const sealed = it.firmwarePage();
    it.firmware.swapOut(it.context, { source: it.metadata, destination: sealed });
    expect(it.state(it.metadata)).toBe(PageState.Firmware);
    const back = it.firmwarePage();
    it.firmware.swapIn(it.context, { source: sealed, destination: back });
    expect(it.state(back)).toBe(PageState.Metadata);
    const destination = it.preGuest();
    it.firmware.swapIn(it.context, { source: page, destination, record: { page: back, index: 5 } });
    mapTo(it, destination);
    expect(it.it.vcpu.read(gvaOf(PAGE), 14)).toEqual(SECRET);
  });
});

// T8
test('a page of 2 MiB is swapped to memory that the RMP does not cover, and back', () => {
  const it = world({ rmpCovers: 28 * MiB });
  const { machine, guest } = it;
  const host = machine.hypervisor;
  const { firmware } = machine;
  const { context } = guest;
  it.vcpu.write(gvaOf(PAGE), SECRET);
  const source = spaOf(it, 2 * MiB);
  const size: RmpPageSize = PageSize.Huge;
  const entry = { assigned: true, immutable: true, asid: 1, gpa: physAddr(2 * MiB), pageSize: size };
  host.rmpupdate(source, entry);
  const outside = BigInt(28 * MiB) as SysPhysAddr;
  firmware.swapOut(context, { source, destination: outside, pageSize: size });
  firmware.swapIn(context, { source: outside, destination: source, pageSize: size });
  firmware.pageReclaim(source, size);
  expect(it.vcpu.read(gvaOf(PAGE), 14)).toEqual(SECRET);
});

// T8
test('a record that is in use is replaced, and its page does not come back', () => {
  const it = scene();
  const first = out(it);
  const second = it.firmwarePage();
  it.firmware.swapOut(it.context, { source: it.source, destination: second });
  const [lost, back] = [it.preGuest(), it.preGuest()];
  const swapIn = (source: SysPhysAddr, destination: SysPhysAddr) =>
    statusOf(() => it.firmware.swapIn(it.context, { source, destination }));
  expect([swapIn(first, lost), swapIn(second, back)]).toEqual(['BAD_MEASUREMENT', 'SUCCESS']);
});

describe('a page that is moved', () => {
  // T9
  test('can be a page of records', () => {
    const it = scene();
    const record = { page: it.metadata, index: 5 };
    const source = out(it, record);
    const moved = it.firmwarePage();
    it.firmware.pageMove(it.context, { source: it.metadata, destination: moved });
    const destination = it.preGuest();
    it.firmware.swapIn(it.context, { source, destination, record: { page: moved, index: 5 } });
    mapTo(it, destination);
    expect(it.it.vcpu.read(gvaOf(PAGE), 14)).toEqual(SECRET);
  });

  // T9
  test('can be read at its new place only', () => {
    const it = scene();
    const destination = it.preGuest(0x7000);
    it.firmware.pageMove(it.context, { source: it.source, destination });
    expect([it.state(it.source), it.state(destination)]).toEqual([
      PageState.GuestInvalid,
      PageState.GuestValid,
    ]);
    expect(codeOf(() => it.it.vcpu.read(gvaOf(PAGE), 1))).toBe('VC_NOT_VALIDATED');
    it.it.guest.nested.unmap(physAddr(PAGE));
    it.it.guest.nested.map(physAddr(PAGE), destination, PageSize.Regular);
    expect(it.it.vcpu.read(gvaOf(PAGE), 14)).toEqual(SECRET);
    expect(it.it.machine.rmp.rawEntry(destination)?.vmplMasks).toEqual([0x1f, 0, 3, 0]);
  });
});

describe('what the firmware refuses', () => {
  // T6
  test.each<[string, (it: Scene) => unknown, string]>([
    [
      'a source that is valid and in use',
      (it) =>
        it.firmware.swapOut(it.context, {
          source: spaOf(it.it, PAGE + 0x1000),
          destination: it.firmwarePage(),
        }),
      'INVALID_PAGE_STATE',
    ],
    [
      'a destination that the hypervisor owns',
      (it) =>
        it.firmware.swapOut(it.context, {
          source: it.source,
          destination: it.it.machine.hypervisor.allocatePage(),
        }),
      'INVALID_PAGE_STATE',
    ],
    [
      'a page of another guest',
      (it) => {
        const { asid } = it.it.machine.hypervisor.launch({ size: MiB });
        const destination = it.preGuest(PAGE, asid);
        it.firmware.pageMove(it.context, { source: it.source, destination });
      },
      'INVALID_PAGE_OWNER',
    ],
    [
      'a swap-in to a page of another guest',
      (it) => {
        const { asid } = it.it.machine.hypervisor.launch({ size: MiB });
        it.firmware.swapIn(it.context, { source: out(it), destination: it.preGuest(PAGE, asid) });
      },
      'INVALID_PAGE_OWNER',
    ],
    [
      'the context of another guest',
      (it) => {
        const { context } = it.it.machine.hypervisor.launch({ size: MiB });
        it.firmware.swapOut(context, { source: it.source, destination: it.firmwarePage() });
      },
      'INVALID_PAGE_OWNER',
    ],
    [
      'records of another guest',
      (it) => {
        const { context } = it.it.machine.hypervisor.launch({ size: MiB });
        const page = it.firmwarePage();
        it.firmware.metadataInit(context, page);
        const record = { page, index: 0 };
        it.firmware.swapOut(it.context, { source: it.source, destination: it.firmwarePage(), record });
      },
      'INVALID_PAGE_OWNER',
    ],
    [
      'a page of records of another guest',
      (it) => {
        const { context } = it.it.machine.hypervisor.launch({ size: MiB });
        it.firmware.swapOut(context, { source: it.metadata, destination: it.firmwarePage() });
      },
      'INVALID_PAGE_OWNER',
    ],
    [
      'a context page in another state',
      (it) => it.firmware.swapOut(it.source, { source: it.source, destination: it.firmwarePage() }),
      'INVALID_GUEST',
    ],
    [
      'another size',
      (it) =>
        it.firmware.swapOut(it.context, {
          source: (it.source & -0x20_0000n) as SysPhysAddr,
          destination: it.firmwarePage(),
          pageSize: PageSize.Huge,
        }),
      'INVALID_PAGE_SIZE',
    ],
    [
      'an address inside a page',
      (it) =>
        it.firmware.swapOut(it.context, {
          source: (it.source + 8n) as SysPhysAddr,
          destination: it.firmwarePage(),
        }),
      'INVALID_PARAM',
    ],
    [
      'a record index that does not exist',
      (it) =>
        it.firmware.swapOut(it.context, {
          source: it.source,
          destination: it.firmwarePage(),
          record: { page: it.metadata, index: 64 },
        }),
      'INVALID_PARAM',
    ],
    [
      'a record in the source',
      (it) =>
        it.firmware.swapOut(it.context, {
          source: it.source,
          destination: it.firmwarePage(),
          record: { page: it.source, index: 0 },
        }),
      'INVALID_PARAM',
    ],
    [
      'a destination of 2 MiB at a multiple of 4 KiB',
      (it) =>
        it.firmware.swapOut(it.context, {
          source: it.source,
          destination: (BigInt(16 * MiB) + 0x1000n) as SysPhysAddr,
          pageSize: PageSize.Huge,
        }),
      'INVALID_PAGE_SIZE',
    ],
    [
      'a swap-in with another size than the record',
      (it) => {
        out(it);
        const whole = (it.preGuest() & -0x20_0000n) as SysPhysAddr;
        const entry = it.it.machine.rmp.rawEntry(whole)!;
        it.it.machine.rmp.setRawEntry(whole, { ...entry, pageSize: PageSize.Huge });
        it.firmware.swapIn(it.context, { source: whole, destination: whole, pageSize: PageSize.Huge });
      },
      'INVALID_PAGE_SIZE',
    ],
    [
      'a record that is not valid',
      (it) => it.firmware.swapIn(it.context, { source: it.firmwarePage(), destination: it.preGuest() }),
      'INVALID_MDATA_ENTRY',
    ],
    [
      'a move to a page in another state',
      (it) => it.firmware.pageMove(it.context, { source: it.source, destination: it.firmwarePage() }),
      'INVALID_PAGE_STATE',
    ],
  ])('%s', (_, action, status) => {
    const it = scene();
    expect(thrownBy(() => action(it))).toMatchObject({ code: 'FIRMWARE_REFUSED', details: { status } });
  });
});
