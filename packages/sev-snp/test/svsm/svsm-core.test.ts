import { PAGE_SIZE, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import {
  SvsmCall,
  type SvsmListEntry,
  type SvsmRegisters,
  SvsmResult,
} from '../../src/formats/svsm-protocol.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { EFER_SVME, readVmsa, writeVmsa } from '../../src/formats/vmsa.ts';
import {
  CAA,
  call,
  entryOf,
  OWN_END,
  pvalidateList,
  type SvsmWorld,
  svsmWorld,
  writeList,
} from '../support/svsm-world.ts';
import { bytesOf, codeOf, gvaOf, MiB, spaOf, textOf } from '../support/world.ts';

const { Success, InvalidAddress, InvalidParameter, PvalidateUnchanged, Incomplete } = SvsmResult;
const A = 6 * MiB;
const rescind = (gpa: number, fields: Partial<SvsmListEntry> = {}) =>
  entryOf(gpa, { validate: false, ...fields });

describe('PVALIDATE', () => {
  // SVSM call 1, S9, A13
  test('takes pages back and forth, and a page comes back zeroed and usable', () => {
    const it = svsmWorld();
    const { guestCpu } = it;
    guestCpu.write(gvaOf(A), bytesOf('old'));
    expect(pvalidateList(it, [rescind(A), rescind(A + 0x1000)])).toEqual([Success, 2]);
    expect(it.state.validated.has(physAddr(A))).toBe(false);
    expect(codeOf(() => guestCpu.read(gvaOf(A), 1))).toBe('VC_NOT_VALIDATED');
    expect(codeOf(() => it.vcpu.read(gvaOf(A), 1))).toBe('VC_NOT_VALIDATED');
    expect(pvalidateList(it, [entryOf(A), entryOf(A + 0x1000)])).toEqual([Success, 2]);
    expect(guestCpu.read(gvaOf(A), 3)).toEqual(new Uint8Array(3));
    guestCpu.write(gvaOf(A), bytesOf('new'));
    expect(textOf(it.vcpu.read(gvaOf(A), 3))).toBe('new');
  });

  // S9
  test('of 2 MiB keeps the 2 MiB entry in the RMP', () => {
    const it = svsmWorld();
    expect(pvalidateList(it, [rescind(A, { size: 1 }), entryOf(A, { size: 1 })])).toEqual([Success, 2]);
    expect(it.machine.rmp.entry(spaOf(it, A))).toMatchObject({
      pageSize: PageSize.Huge,
      validated: true,
      vmplMasks: [0x1f, 0xf, 0xf, 0],
    });
  });

  // S11
  test('of 2 MiB where the RMP has 4 KiB returns the failure of the instruction', () => {
    const it = svsmWorld();
    it.machine.hypervisor.splitPage(it.guest, physAddr(A));
    expect(pvalidateList(it, [rescind(A, { size: 1 })])).toEqual([0x8000_1006, 0]);
    const mixed = svsmWorld();
    expect(pvalidateList(mixed, [rescind(A), entryOf(A, { size: 1 })])).toEqual([0x8000_1006, 1]);
  });

  // A4, S9
  test('never validates a page twice, whatever the hypervisor has put there', () => {
    const it = svsmWorld();
    expect(pvalidateList(it, [entryOf(A)])).toEqual([PvalidateUnchanged, 0]);
    // Another page at the same address: hardware would validate it.
    it.machine.hypervisor.splitPage(it.guest, physAddr(A));
    const spare = 0x1a0_0000n as never;
    it.machine.hypervisor.rmpupdate(spare, { assigned: true, asid: 1, gpa: physAddr(A) });
    it.guest.nested.unmap(physAddr(A));
    it.guest.nested.map(physAddr(A), spare, PageSize.Regular);
    expect(pvalidateList(it, [entryOf(A)])).toEqual([PvalidateUnchanged, 0]);
    expect(pvalidateList(it, [entryOf(A, { ignoreUnchanged: true })])).toEqual([InvalidAddress, 0]);
    expect(it.machine.rmp.entry(spare)?.validated).toBe(false);
  });

  // S9
  test('accepts a page that does not change, if the entry asks for it', () => {
    const it = svsmWorld();
    expect(pvalidateList(it, [rescind(A), rescind(A)])).toEqual([PvalidateUnchanged, 1]);
    expect(pvalidateList(it, [rescind(A, { ignoreUnchanged: true })])).toEqual([Success, 1]);
    expect(pvalidateList(it, [entryOf(A), entryOf(A, { ignoreUnchanged: true })])).toEqual([Success, 2]);
    expect(it.guestCpu.read(gvaOf(A), 1)).toEqual(new Uint8Array(1));
  });

  // S9, A13
  test('zeroes a page before it grants access to it', () => {
    const it = svsmWorld();
    pvalidateList(it, [rescind(A)]);
    const order: string[] = [];
    const { vcpu } = it;
    const [clear, adjust] = [vcpu.clear.bind(vcpu), vcpu.rmpadjust.bind(vcpu)];
    vcpu.clear = (gva, length) => {
      order.push('zero');
      clear(gva, length);
    };
    vcpu.rmpadjust = (gva, size, adjustment) => {
      order.push(`VMPL${adjustment.vmpl} ${adjustment.permissions}`);
      return adjust(gva, size, adjustment);
    };
    pvalidateList(it, [entryOf(A), rescind(A)]);
    expect(order).toEqual(['zero', 'VMPL1 15', 'VMPL2 15', 'VMPL1 0', 'VMPL2 0', 'VMPL3 0']);
  });

  // S9, A14
  test.each<[string, SvsmListEntry, number]>([
    ['an unknown size', entryOf(A, { size: 2 }), InvalidParameter],
    ['a misaligned 2 MiB page', entryOf(A + 0x1000, { size: 1 }), InvalidParameter],
    ['a reserved bit', entryOf(A, { reserved: 0x80 }), InvalidParameter],
    ['the SVSM’s memory', rescind(OWN_END - 0x1000), InvalidAddress],
    ['2 MiB of the SVSM’s memory', rescind(0, { size: 1 }), InvalidAddress],
    ['memory that does not exist', entryOf(8 * MiB), InvalidAddress],
    ['a value that is not an address', entryOf(0xffff_ffff_ffff_f000n), InvalidAddress],
  ])('refuses %s, and names the entry', (_, entry, result) => {
    const it = svsmWorld();
    expect(pvalidateList(it, [rescind(A), entry, rescind(A + 0x1000)])).toEqual([result, 1]);
    expect(it.state.validated.has(physAddr(A))).toBe(false);
    expect(it.state.validated.has(physAddr(A + 0x1000))).toBe(true);
  });

  // S8
  test('returns INCOMPLETE after entriesPerCall entries, and resumes', () => {
    const it = svsmWorld({ entriesPerCall: 2 });
    const list = [0, 1, 2, 3, 4].map((k) => rescind(A + k * PAGE_SIZE));
    expect(pvalidateList(it, list)).toEqual([Incomplete, 2]);
    expect(pvalidateList(it, list, 2)).toEqual([Incomplete, 4]);
    expect(pvalidateList(it, list, 4)).toEqual([Success, 5]);
  });
});

describe('a list', () => {
  // S7
  test.each<[string, number | bigint, number]>([
    ['at a misaligned address', CAA + 4, InvalidParameter],
    ['without room for an entry', CAA + 0xff8, InvalidParameter],
    ['in the SVSM’s memory', 0x1000, InvalidAddress],
    ['outside memory', 8 * MiB, InvalidAddress],
    ['at a value that is not an address', 0xffff_ffff_ffff_fff8n, InvalidAddress],
  ])('%s is refused', (_, at, result) => {
    const it = svsmWorld();
    it.guestCpu.write(gvaOf(CAA + 0xff8), Uint8Array.of(1));
    for (const id of [SvsmCall.Pvalidate, SvsmCall.DepositMem])
      expect(call(it, id, { rcx: BigInt(at) })).toBe(result);
  });

  // S7
  test('can fill its page, and not cross its end', () => {
    const it = svsmWorld();
    const list = Array.from({ length: 511 }, () => entryOf(A, { ignoreUnchanged: true }));
    writeList(it, list, CAA + 0x1000);
    expect(call(it, 1, { rcx: BigInt(CAA + 0x1000) })).toBe(Success);
    writeList(it, list, CAA + 0x1008);
    expect(call(it, 1, { rcx: BigInt(CAA + 0x1008) })).toBe(InvalidParameter);
  });

  // S7
  test('without entries, or already done, is refused', () => {
    const it = svsmWorld();
    expect(pvalidateList(it, [])[0]).toBe(InvalidParameter);
    expect(pvalidateList(it, [rescind(A)], 1)).toEqual([InvalidParameter, 1]);
  });

  test('can take away the page in which it lies: the call still ends', () => {
    const it = svsmWorld();
    writeList(it, [rescind(A), rescind(A + 0x1000)], A);
    expect(call(it, 1, { rcx: BigInt(A) })).toBe(InvalidAddress);
  });
});

describe('DEPOSIT_MEM and WITHDRAW_MEM', () => {
  // SVSM call 4, SVSM call 5
  test('a deposited page belongs to the SVSM, and comes back zeroed', () => {
    const it = svsmWorld();
    it.guestCpu.write(gvaOf(A), bytesOf('x'));
    writeList(it, [rescind(A), rescind(A + 0x1000)]);
    expect(call(it, SvsmCall.DepositMem, { rcx: BigInt(CAA + 8) })).toBe(Success);
    expect(codeOf(() => it.guestCpu.read(gvaOf(A), 1))).toBe('NPF');
    expect(pvalidateList(it, [rescind(A)])).toEqual([InvalidAddress, 0]);
    // Room for one address.
    const at = CAA + 0x2ff0;
    expect(call(it, SvsmCall.WithdrawMem, { rcx: BigInt(at) })).toBe(Success);
    const words = (count: number) => [...new BigUint64Array(it.guestCpu.read(gvaOf(at), 8 * count).buffer)];
    expect(words(2)).toEqual([1n, BigInt(A)]);
    expect(it.guestCpu.read(gvaOf(A), 1)).toEqual(new Uint8Array(1));
    expect(call(it, SvsmCall.WithdrawMem, { rcx: BigInt(at) })).toBe(Success);
    expect(words(2)).toEqual([1n, BigInt(A + 0x1000)]);
    expect(call(it, SvsmCall.WithdrawMem, { rcx: BigInt(at) })).toBe(Success);
    expect(words(1)).toEqual([0n]);
  });

  // SVSM call 4, SVSM call 5
  test('a deposited page that the hypervisor hides in the middle of WITHDRAW_MEM is given up', () => {
    let it: SvsmWorld | undefined;
    let adjusted = 0;
    it = svsmWorld(
      {},
      {
        trace: ({ type }) => {
          if (it === undefined || type !== 'rmpadjust') return;
          adjusted += 1;
          // VMPL1 has its rights, and VMPL2 does not.
          if (adjusted === 1) it.guest.nested.unmap(physAddr(A));
        },
      },
    );
    it.machine.hypervisor.splitPage(it.guest, physAddr(A));
    const { spa } = it.guest.nested.lookup(physAddr(A)) as { spa: SysPhysAddr };
    writeList(it, [rescind(A)]);
    adjusted = Number.NEGATIVE_INFINITY;
    expect(call(it, SvsmCall.DepositMem, { rcx: BigInt(CAA + 8) })).toBe(Success);
    adjusted = 0;
    expect(call(it, SvsmCall.WithdrawMem, { rcx: BigInt(CAA + 0x2ff0) })).toBe(Success);
    // The caller learns that the page is the guest's again.
    expect(it.guestCpu.read(gvaOf(CAA + 0x2ff0), 16)).toEqual(
      new Uint8Array(BigUint64Array.of(1n, BigInt(A)).buffer),
    );
    expect(it.machine.rmp.entry(spa)?.vmplMasks.slice(1)).toEqual([0xf, 0, 0]);
    it.guest.nested.map(physAddr(A), spa, PAGE_SIZE);
    // The SVSM does not count on a page on which others have rights.
    expect(call(it, SvsmCall.WithdrawMem, { rcx: BigInt(CAA + 0x2ff0) })).toBe(Success);
    expect(it.guestCpu.read(gvaOf(CAA + 0x2ff0), 8)).toEqual(new Uint8Array(8));
  });

  // SVSM call 4, SVSM call 5
  test('refuse a calling area, an entry that is not a deposit, and a buffer without room', () => {
    const it = svsmWorld();
    const deposit = (entry: SvsmListEntry): number => {
      writeList(it, [entry], CAA + 0x1008);
      return call(it, SvsmCall.DepositMem, { rcx: BigInt(CAA + 0x1008) });
    };
    expect(deposit(rescind(CAA))).toBe(InvalidAddress);
    expect(deposit(rescind(CAA, { size: 1 }))).toBe(InvalidAddress);
    expect(deposit(rescind(0))).toBe(InvalidAddress);
    expect(deposit(entryOf(A))).toBe(InvalidParameter);
    expect(call(it, SvsmCall.WithdrawMem, { rcx: BigInt(CAA + 0xff8) })).toBe(InvalidParameter);
    expect(call(it, SvsmCall.WithdrawMem, { rcx: BigInt(CAA + 4) })).toBe(InvalidParameter);
    expect(call(it, SvsmCall.WithdrawMem, { rcx: 0n })).toBe(InvalidAddress);
  });
});

describe('CREATE_VCPU and DELETE_VCPU', () => {
  const VMSA = BigInt(A + 0x1000);
  const AREA = BigInt(A + 0x2000);
  const withVmsa = (vmpl = 2n, efer = EFER_SVME, features = 1n, options = {}): SvsmWorld => {
    const it = svsmWorld(options);
    const image = new Uint8Array(PAGE_SIZE);
    writeVmsa(image, 'vmpl', vmpl);
    writeVmsa(image, 'efer', efer);
    writeVmsa(image, 'sevFeatures', features);
    it.guestCpu.write(gvaOf(Number(VMSA)), image);
    return it;
  };
  const create = (it: SvsmWorld, vmsa = VMSA, caa = AREA) =>
    call(it, SvsmCall.CreateVcpu, { rcx: vmsa, rdx: caa, r8: 0xffff_ffff_0000_0005n });
  const entryAt = (it: SvsmWorld) => it.machine.rmp.entry(spaOf(it, Number(VMSA)));

  // SVSM call 2, SVSM call 3
  test('make a page a VMSA that only the SVSM can touch, and an ordinary page again', () => {
    const it = withVmsa();
    expect(create(it)).toBe(Success);
    expect(it.state.vcpus).toEqual([{ vmsa: VMSA, caa: AREA, vmpl: 2, apicId: 5 }]);
    expect(entryAt(it)).toMatchObject({ vmsa: true, vmplMasks: [0x1f, 0, 0, 0] });
    expect(codeOf(() => it.guestCpu.read(gvaOf(Number(VMSA)), 1))).toBe('NPF');
    expect(pvalidateList(it, [rescind(Number(VMSA))])).toEqual([InvalidAddress, 0]);
    expect(call(it, SvsmCall.DeleteVcpu, { rcx: VMSA })).toBe(Success);
    expect(entryAt(it)).toMatchObject({ vmsa: false, vmplMasks: [0x1f, 0xf, 0xf, 0] });
    expect(readVmsa(it.guestCpu.read(gvaOf(Number(VMSA)), PAGE_SIZE), 'efer')).toBe(0n);
    expect(call(it, SvsmCall.DeleteVcpu, { rcx: VMSA })).toBe(InvalidParameter);
  });

  // SVSM call 2
  test.each<[string, bigint, bigint, bigint]>([
    ['of VMPL0', 0n, EFER_SVME, 1n],
    ['of a more privileged level than the caller', 1n, EFER_SVME, 1n],
    ['that could not be run', 2n, 0n, 1n],
    ['with other features', 2n, EFER_SVME, 3n],
  ])('refuse a VMSA %s, and give the page back', (_, vmpl, efer, features) => {
    const it = withVmsa(vmpl, efer, features);
    expect(create(it)).toBe(InvalidParameter);
    expect(entryAt(it)).toMatchObject({ vmsa: false, vmplMasks: [0x1f, 0xf, 0xf, 0] });
    expect(it.state.vcpus).toEqual([]);
  });

  // SVSM call 2, A14
  test('refuse pages that are in use, outside of the guest’s memory, or equal', () => {
    const it = withVmsa();
    expect([create(it, VMSA + 8n), create(it, VMSA, AREA + 8n)]).toEqual([
      InvalidParameter,
      InvalidParameter,
    ]);
    for (const [vmsa, caa] of [
      [VMSA, VMSA],
      [VMSA, BigInt(CAA)],
      [BigInt(CAA), AREA],
      [0n, AREA],
      [VMSA, 0n],
      [VMSA, BigInt(8 * MiB)],
    ] as const) {
      expect(create(it, vmsa, caa)).toBe(InvalidAddress);
    }
    expect(create(it)).toBe(Success);
    expect([create(it), create(it, AREA, VMSA)]).toEqual([InvalidAddress, InvalidAddress]);
  });

  // SVSM call 3
  test('refuse to delete a VMSA that runs, or of a more privileged level than the caller', () => {
    const running = withVmsa(2n, EFER_SVME, 1n, { isRunning: (vmsa: PhysAddr) => vmsa === VMSA });
    create(running);
    expect(call(running, SvsmCall.DeleteVcpu, { rcx: VMSA })).toBe(0x8000_1003);
    const it = withVmsa();
    create(it);
    const lower = it.guest.createVcpu({ vmpl: 3 });
    expect(call(it, SvsmCall.DeleteVcpu, { rcx: VMSA }, lower)).toBe(InvalidParameter);
  });
});

describe('REMAP_CA', () => {
  // SVSM call 0
  test('moves the calling area, and clears CALL_PENDING in both areas', () => {
    const it = svsmWorld();
    it.guestCpu.write(gvaOf(CAA), Uint8Array.of(1));
    it.guestCpu.write(gvaOf(A), Uint8Array.of(1));
    expect(call(it, SvsmCall.RemapCa, { rcx: BigInt(A) })).toBe(Success);
    expect([...it.guestCpu.read(gvaOf(CAA), 1), ...it.guestCpu.read(gvaOf(A), 1)]).toEqual([0, 0]);
    expect(it.svsm.callingArea(it.guestCpu)).toBe(BigInt(A));
    expect(call(it, SvsmCall.RemapCa, { rcx: BigInt(A) })).toBe(Success);
  });

  // SVSM call 0
  test('to the same calling area clears its first 8 bytes too', () => {
    const it = svsmWorld();
    it.guestCpu.write(gvaOf(CAA), new Uint8Array(16).fill(0xff));
    expect(call(it, SvsmCall.RemapCa, { rcx: BigInt(CAA) })).toBe(Success);
    expect([...it.guestCpu.read(gvaOf(CAA), 16)]).toEqual([...Array(8).fill(0), ...Array(8).fill(0xff)]);
  });

  // SVSM call 0
  test('refuses a page that is misaligned, outside of the guest’s memory, or another calling area', () => {
    const it = svsmWorld();
    const other = it.guest.createVcpu({ vmpl: 2 });
    it.svsm.register(other, physAddr(A));
    const results = [CAA + 8, 0, 8 * MiB, A].map((at) => call(it, SvsmCall.RemapCa, { rcx: BigInt(at) }));
    expect(results).toEqual([InvalidParameter, InvalidAddress, InvalidAddress, InvalidAddress]);
    expect(it.svsm.callingArea(it.guestCpu)).toBe(BigInt(CAA));
  });
});

// SVSM call 6
test.each<[bigint, bigint]>([
  [1n, 0x1_0000_0001n],
  [0n, 0n],
  [2n, 0n],
  [0x1_0000_0001n, 0n],
])('QUERY_PROTOCOL of 0x%s', (rcx, answer) => {
  const registers: Partial<SvsmRegisters> = { rcx };
  expect(call(svsmWorld(), SvsmCall.QueryProtocol, registers)).toBe(Success);
  expect(registers.rcx).toBe(answer);
});

// SVSM call 7
test('CONFIGURE_VTOM is not offered by default', () => {
  const registers: Partial<SvsmRegisters> = { rcx: 1n };
  expect([call(svsmWorld(), SvsmCall.ConfigureVtom, registers), registers.rcx]).toEqual([Success, 0n]);
  expect(call(svsmWorld(), SvsmCall.ConfigureVtom, { rcx: 2n })).toBe(SvsmResult.InvalidRequest);
});

// S6
test('other calls and protocols are unsupported', () => {
  const it = svsmWorld();
  expect(call(it, 8)).toBe(SvsmResult.UnsupportedCall);
  expect(call(it, 0xffff_ffff)).toBe(SvsmResult.UnsupportedCall);
  expect(call(it, 2 ** 32 + 6)).toBe(SvsmResult.UnsupportedProtocol);
});

// S2
test.each([
  [0, false],
  [1, true],
  [2, true],
  [0xff, true],
])('a calling area with CALL_PENDING %i: a call is processed, %s', (pending, isCall) => {
  const it = svsmWorld();
  it.guestCpu.write(gvaOf(CAA), Uint8Array.of(pending));
  it.guestCpu.registers.rax = BigInt(SvsmCall.QueryProtocol);
  expect(it.svsm.enter(it.guestCpu)).toBe(isCall);
  expect(it.guestCpu.registers.rax).toBe(isCall ? 0n : 6n);
});

// S9
test('a list that deposits the page in which it lies ends there, and the SVSM does not write to the page', () => {
  const it = svsmWorld();
  const list = A + 0x2008;
  writeList(it, [rescind(A + 0x2000), rescind(A + 0x5000)], list);
  expect(call(it, SvsmCall.DepositMem, { rcx: BigInt(list) })).toBe(InvalidAddress);
  // The page is the SVSM's own now. Its header still has the progress that the caller has written.
  expect([...it.vcpu.read(gvaOf(list), 4)]).toEqual([2, 0, 0, 0]);
  expect(it.guestCpu.read(gvaOf(A + 0x5000), 1)).toHaveLength(1);
});
