import { PAGE_SIZE, PageSize, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { PageFaultCode, PtePreset, Tlb } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { GuestPageFault, PageFaultHandler } from '../../src/cpu/page-fault.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { VmExit } from '../../src/cpu/vmrun.ts';
import { SnpFault } from '../../src/rmp/snp-fault.ts';
import { bytesOf, codeOf, gvaOf, MiB, thrownBy, type World, world } from '../support/world.ts';

/** Addresses that nothing is mapped at, and the memory for them. */
const LAZY = virtAddr(0xffff_9000_0000_0000n);
const BACKING = 4 * MiB;
const { Write, Fetch } = PageFaultCode;

/** Maps each page at its first fault, as demand paging does. */
function demandPaging(it: World, faults: GuestPageFault[]): PageFaultHandler {
  return (fault) => {
    faults.push(fault);
    const page = (fault.gva & -BigInt(PAGE_SIZE)) as VirtAddr;
    it.table.map4k(page, physAddr(BACKING + Number(page - LAZY)), PtePreset.Data);
    return 'retry';
  };
}

describe.each([
  ['with TLBs', true],
  ['without TLBs', false],
])('demand paging %s', (_, hasTlbs) => {
  const made = (): { it: World; faults: GuestPageFault[] } => {
    const it = world({}, {}, hasTlbs ? { tlb: new Tlb(), nestedTlb: new NestedTlb() } : {});
    const faults: GuestPageFault[] = [];
    it.vcpu.onPageFault = demandPaging(it, faults);
    return { it, faults };
  };

  test('maps each page when it is used first, and never again', () => {
    const { it, faults } = made();
    const at = virtAddr(LAZY + 0xffcn);
    it.vcpu.write(at, bytesOf('on two pages'));
    expect(it.vcpu.read(at, 12)).toEqual(bytesOf('on two pages'));
    expect(it.vcpu.read(gvaOf(BACKING + 0xffc), 12)).toEqual(bytesOf('on two pages'));
    expect(faults.map(({ gva, kind, errorCode }) => [gva, kind, errorCode & Write])).toEqual([
      [at, 'write', Write],
      [virtAddr(LAZY + 0x1000n), 'write', Write],
    ]);
    expect(it.vcpu.cr2).toBe(LAZY + 0x1000n);
  });

  test('serves operands of instructions too', () => {
    const { it, faults } = made();
    it.table.split4k(gvaOf(BACKING));
    it.machine.hypervisor.splitPage(it.guest, physAddr(BACKING));
    expect(it.vcpu.rmpadjust(LAZY, PageSize.Regular, { vmpl: 1, permissions: 1 })).toBe(0);
    expect(it.vcpu.rmpquery(virtAddr(LAZY + 0x1000n), 1).result).toBe(0);
    expect(it.vcpu.pvalidate(virtAddr(LAZY + 0x2000n), PageSize.Regular, false).result).toBe(0);
    expect(faults.map(({ kind }) => kind)).toEqual(Array(3).fill(faults[0]?.kind));
  });
});

test('a fault that is delivered is thrown, with CR2 loaded when the handler runs', () => {
  const { vcpu } = world();
  const seen: unknown[] = [];
  vcpu.onPageFault = ({ gva, errorCode, kind }) => {
    seen.push([gva, vcpu.cr2, errorCode & Fetch, kind]);
    return 'deliver';
  };
  expect(thrownBy(() => vcpu.fetch(LAZY, 1))).toMatchObject({ code: 'PF', details: { gva: LAZY } });
  expect(seen).toEqual([[LAZY, LAZY, Fetch, 'fetch']]);
  // Other faults are not page faults, and `translate` is not an access.
  expect([codeOf(() => vcpu.read((1n << 62n) as never, 1)), codeOf(() => vcpu.translate(LAZY))]).toEqual([
    'GP',
    'PF',
  ]);
  expect(seen).toHaveLength(1);
});

test('the option sets the handler, and a handler that resolves nothing gets 63 retries', () => {
  let calls = 0;
  const { vcpu } = world(
    {},
    {},
    {
      onPageFault: () => {
        calls += 1;
        return 'retry';
      },
    },
  );
  expect(codeOf(() => vcpu.read(LAZY, 1))).toBe('PF');
  expect(calls).toBe(63);
});

test('a fault inside the handler is thrown to the handler, and what it throws goes on to the caller', () => {
  const it = world();
  const { vcpu } = it;
  it.table.map4k(LAZY, physAddr(BACKING), PtePreset.Data);
  const inner: unknown[] = [];
  vcpu.onPageFault = () => {
    inner.push(codeOf(() => vcpu.read(virtAddr(LAZY + 0x5000n), 1)));
    vcpu.read(virtAddr(LAZY + 0x6000n), 1);
    return 'retry';
  };
  const across = virtAddr(LAZY + 0xfffn);
  expect(thrownBy(() => vcpu.write(across, Uint8Array.of(1, 2)))).toMatchObject({
    code: 'PF',
    details: { gva: LAZY + 0x6000n },
  });
  expect([inner, vcpu.read(across, 1)]).toEqual([['PF'], Uint8Array.of(0)]);
  // The next fault is handled again.
  vcpu.onPageFault = demandPaging(it, []);
  expect(vcpu.read(across, 2)).toEqual(Uint8Array.of(0, 0));
});

test.each<[string, PageFaultHandler, unknown]>([
  [
    'throws',
    () => {
      throw new SnpFault('GP', { errorCode: 0, reason: 'mine' });
    },
    'GP',
  ],
  ['answers with true', () => true as never, 'INVALID_ARGUMENT'],
  ['answers with nothing', () => undefined as never, 'INVALID_ARGUMENT'],
])('a handler that %s ends the instruction', (_, handler, code) => {
  const { vcpu } = world();
  vcpu.onPageFault = handler;
  expect(codeOf(() => vcpu.read(LAZY, 1))).toBe(code);
  vcpu.onPageFault = undefined;
  expect(codeOf(() => vcpu.read(LAZY, 1))).toBe('PF');
});

test('a processor that was stopped in the handler does not run again', () => {
  const it = world({}, { vmsas: [createVmsa()] });
  const seen: unknown[] = [];
  it.guest.onStart((vcpu) => {
    vcpu.loadCr3(it.vcpu.cr3);
    vcpu.onPageFault = () => {
      vcpu.leave(VmExit.Halt);
      return 'retry';
    };
    seen.push(codeOf(() => vcpu.read(LAZY, 1)));
  });
  it.machine.hypervisor.run(it.guest);
  expect(seen).toEqual(['VMRUN']);
});

test('a handler is a function, or undefined', () => {
  const { vcpu } = world();
  const handler = (): 'deliver' => 'deliver';
  vcpu.onPageFault = handler;
  for (const wrong of [5, null, 'retry', {}]) {
    expect(codeOf(() => Object.assign(vcpu, { onPageFault: wrong }))).toBe('INVALID_ARGUMENT');
    expect(vcpu.onPageFault).toBe(handler);
  }
  vcpu.onPageFault = undefined;
  expect(vcpu.onPageFault).toBe(undefined);
});
