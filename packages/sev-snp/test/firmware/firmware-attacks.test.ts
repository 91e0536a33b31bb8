import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { VmExit } from '../../src/cpu/vmrun.ts';
import { LaunchPageType } from '../../src/formats/launch-digest.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { decodeSwapRecord } from '../../src/formats/swap-record.ts';
import { readVmsa } from '../../src/formats/vmsa.ts';
import { Guest } from '../../src/guest/guest.ts';
import { statusOf } from '../support/firmware-runs.ts';
import { bytesOf, codeOf, gvaOf, spaOf, textOf, world } from '../support/world.ts';

const GPA = 0x5000;
const gpa = physAddr(GPA);

// A30, T5
describe('a host that launches a page into a guest that runs', () => {
  /** A page with bytes of the host, at GPA 0x5000 of the guest, PRE-GUEST. */
  function planted(bytes: Uint8Array) {
    const it = world({}, { pageSize: PageSize.Regular });
    const host = it.machine.hypervisor;
    it.vcpu.write(gvaOf(GPA), bytesOf('of the guest'));
    const page = host.allocatePage();
    host.write(page, bytes);
    host.rmpupdate(page, { assigned: true, immutable: true, asid: it.guest.asid, gpa });
    const { firmware } = it.machine;
    const remap = () => {
      it.guest.nested.unmap(gpa);
      it.guest.nested.map(gpa, page, PageSize.Regular);
      host.flushTlbs(it.guest);
    };
    return { it, host, page, firmware, remap };
  }

  test('is refused, and the guest does not read the text of the host', () => {
    const { it, page, firmware, remap } = planted(bytesOf('of the host!'));
    const { context } = it.guest;
    expect(statusOf(() => firmware.launchUpdate(context, page))).toBe('INVALID_GUEST_STATE');
    firmware.pageReclaim(page);
    remap();
    expect(codeOf(() => it.vcpu.read(gvaOf(GPA), 12))).toBe('VC_NOT_VALIDATED');
  });

  // A16
  test('is refused a VMSA too: the host gets no processor at VMPL0', () => {
    const { it, host, page, firmware } = planted(createVmsa({ vmpl: 0, rip: 0x1234n }));
    const { context } = it.guest;
    const launch = () => firmware.launchUpdate(context, page, { type: LaunchPageType.Vmsa });
    expect(statusOf(launch)).toBe('INVALID_GUEST_STATE');
    firmware.pageReclaim(page);
    const vmsa = { spa: page, gpa, vmcb: host.allocatePage() };
    expect(codeOf(() => it.guest.vmrun(vmsa))).toBe('VMRUN');
  });

  test('cannot use another context with the same ASID', () => {
    const { it, host, page, firmware } = planted(bytesOf('of the host!'));
    const context = host.givePageToFirmware();
    firmware.guestContextCreate(context);
    firmware.launchStart(context);
    expect(statusOf(() => firmware.activate(context, it.guest.asid))).toBe('INVALID_CONFIG');
    expect(statusOf(() => firmware.launchUpdate(context, page))).toBe('INACTIVE');
    firmware.activate(context, 2);
    expect(statusOf(() => firmware.launchUpdate(context, page))).toBe('INVALID_PAGE_OWNER');
  });
});

// A31, T10
test('an old record of a swapped page does not come back in a page of records that is made again', () => {
  const it = world({}, { pageSize: PageSize.Regular });
  const { firmware, hypervisor: host, memory } = it.machine;
  const { context, asid } = it.guest;
  it.vcpu.write(gvaOf(GPA), bytesOf('attack at dawn'));
  const records = host.givePageToFirmware();
  firmware.metadataInit(context, records);
  const record = { page: records, index: 0 };
  const sealed = host.givePageToFirmware();
  const source = spaOf(it, GPA);
  host.rmpupdate(source, { assigned: true, immutable: true, asid, gpa });
  firmware.swapOut(context, { source, destination: sealed, record });

  // The host keeps the record, takes the page of records back, writes the record there, and has it made again.
  const old = host.read(records, 64);
  expect(decodeSwapRecord(old).valid).toBe(true);
  firmware.swapIn(context, { source: sealed, destination: source, record });
  firmware.pageReclaim(records);
  host.rmpupdate(records, { assigned: false });
  host.write(records, old);
  host.rmpupdate(records, { assigned: true, immutable: true });
  firmware.metadataInit(context, records);
  expect(memory.read(records, 0x1000, 0).every((byte) => byte === 0)).toBe(true);
  const destination = host.allocatePage();
  host.rmpupdate(destination, { assigned: true, immutable: true, asid, gpa });
  const again = () => firmware.swapIn(context, { source: sealed, destination, record });
  expect(statusOf(again)).toBe('INVALID_MDATA_ENTRY');
});

// A33, T3
test('the host can write neither a page of records nor a root record', () => {
  const it = world({}, { pageSize: PageSize.Regular });
  const { firmware, hypervisor: host, rmp } = it.machine;
  const { context, asid } = it.guest;
  const records = host.givePageToFirmware();
  firmware.metadataInit(context, records);
  for (const page of [records, context]) {
    expect(codeOf(() => host.write(page, new Uint8Array(64)))).toBe('HOST_PF');
    expect(host.rmpupdate(page, { assigned: false })).toBe(RmpResult.FAIL_PERMISSION);
  }
  const sealed = host.givePageToFirmware();
  const source = spaOf(it, GPA);
  host.rmpupdate(source, { assigned: true, immutable: true, asid, gpa });
  firmware.swapOut(context, { source, destination: sealed });
  // The place of a record is an operand; a record is not.
  const root = { ...decodeSwapRecord(host.read(records, 64)), valid: true, gpa: physAddr(0x6000) };
  const options = { source: sealed, destination: source };
  expect(statusOf(() => firmware.swapIn(context, { ...options, root } as never))).toBe('INVALID_PARAM');
  firmware.swapIn(context, options);
  expect(rmp.rawEntry(source)?.gpa).toBe(gpa);
  expect(statusOf(() => firmware.swapIn(context, { ...options, destination: sealed }))).toBe(
    'INVALID_MDATA_ENTRY',
  );
  // The firmware's objects have no record, key or context that could be reached.
  expect(Reflect.ownKeys(firmware)).toEqual([]);
});

// A34, T8
test.each([
  ['cleared', 'VMRUN'],
  ['kept', 0x1234n],
] as const)('a VMSA is rolled back by a swap only if the VMSA bit of the source is %s', (sourceVmsa, end) => {
  const launch = { pageSize: PageSize.Regular, vmsas: [createVmsa({ rip: 0x1234n })] };
  const { machine, guest } = world({ assumptions: { sourceVmsa } }, launch);
  const { firmware, hypervisor: host, rmp } = machine;
  const vmsa = host.vmsaOf(guest, 0)!;
  const source = vmsa.spa;
  host.rmpupdate(source, { assigned: true, immutable: true, asid: guest.asid, gpa: vmsa.gpa });
  firmware.swapOut(guest.context, { source, destination: host.givePageToFirmware() });
  firmware.pageReclaim(source);
  expect(pageStateOf(rmp.rawEntry(source))).toBe('GUEST-INVALID');
  let rip: unknown;
  const fault = codeOf(() => {
    const vcpu = guest.vmrun(vmsa);
    rip = readVmsa(
      machine.memory.read(source, 4096, machine.firmware.activeGuest(guest.context)!.key!),
      'rip',
    );
    vcpu.leave(VmExit.Halt);
  });
  expect(rip ?? fault).toBe(end);
});

// A32, T11
describe('a host that wants an ASID for two guests', () => {
  test('gets neither a second context nor a second Guest with an ASID in use', () => {
    const { machine, guest } = world();
    const { firmware, hypervisor: host } = machine;
    const second = host.givePageToFirmware();
    firmware.guestContextCreate(second);
    firmware.launchStart(second);
    // The first guest’s pages have the ASID; without them, its context still has it.
    expect(statusOf(() => firmware.activate(second, guest.asid))).toBe('INVALID_CONFIG');
    for (let at = 0; at < 8; at += 2) {
      const page = guest.nested.lookup(physAddr(at * 0x10_0000))!.spa;
      host.rmpupdate(page, { assigned: false, pageSize: PageSize.Huge });
    }
    expect(statusOf(() => firmware.activate(second, guest.asid))).toBe('ASID_OWNED');
    const { nested, memory } = guest;
    const make = (context: bigint) =>
      codeOf(() => new Guest(machine, { context: context as never, nested, memory }));
    expect([make(second), make(guest.context)]).toEqual(['INVALID_ARGUMENT', 'INVALID_ARGUMENT']);
  });

  // A32, T11
  test('cannot reuse the ASID of an earlier guest without its pages, WBINVD and DF_FLUSH', () => {
    const { machine, guest, vcpu } = world({}, { size: 2 << 20 });
    const { firmware, hypervisor: host, rmp } = machine;
    firmware.decommission(guest.context);
    const second = host.givePageToFirmware();
    firmware.guestContextCreate(second);
    firmware.launchStart(second);
    const activate = () => statusOf(() => firmware.activate(second, guest.asid));
    expect(activate()).toBe('INVALID_CONFIG');
    const page = guest.nested.lookup(physAddr(0))!.spa;
    host.rmpupdate(page, { assigned: false, pageSize: PageSize.Huge });
    expect(activate()).toBe('DF_FLUSH_REQUIRED');
    expect(statusOf(() => firmware.dfFlush())).toBe('WBINVD_REQUIRED');
    firmware.wbinvd();
    firmware.dfFlush();
    expect(activate()).toBe('SUCCESS');
    // The processors of the first guest do not become processors of the second one.
    host.write(page, bytesOf('text of the host'));
    host.rmpupdate(page, { assigned: true, immutable: true, asid: guest.asid, gpa: physAddr(0) });
    firmware.launchUpdate(second, page);
    firmware.launchFinish(second);
    expect(pageStateOf(rmp.entry(page))).toBe('GUEST-VALID');
    expect(codeOf(() => vcpu.write(gvaOf(0), bytesOf('of the first guest')))).toBe('VMRUN');
    const { key } = firmware.activeGuest(second)!;
    expect(textOf(machine.memory.read(page, 16, key!))).toBe('text of the host');
  });
});
