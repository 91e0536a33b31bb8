/** The processors of a hypervisor's guests: VMSAs by APIC id and level, and the requests of SNP AP creation. */
import { type PhysAddr, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import type { GuestContext, VcpuContext } from '../../src/cpu/platform.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { ApRequest } from '../../src/guest/ap-creation.ts';
import { HostVcpus, refuseWithoutVmsa } from '../../src/host/host-vcpus.ts';
import { messageOf } from '../support/message-of.ts';
import { MiB } from '../support/world.ts';

/** A guest whose nested page table maps every address below 8 MiB, 64 MiB higher. */
const guestOf = (): GuestContext =>
  ({
    nested: {
      lookup: (gpa: PhysAddr) =>
        gpa < 8 * MiB ? { spa: sysPhysAddr(gpa + BigInt(64 * MiB)), size: 4096 } : undefined,
    },
  }) as unknown as GuestContext;

/** Processors whose pages come from 4 KiB below 2 MiB upwards. */
function processors() {
  let next = 2 * MiB - 4096;
  const taken: number[] = [];
  const vcpus = new HostVcpus(() => {
    taken.push(next);
    next += 4096;
    return sysPhysAddr(taken.at(-1)!);
  });
  return { vcpus, taken };
}

const REQUEST = {
  request: ApRequest.Create,
  apicId: 7,
  vmpl: 1,
  vmsa: physAddr(0x5000),
  sevFeatures: 1n,
} as const;
const PLACE = { spa: sysPhysAddr(64 * MiB + 0x5000), gpa: physAddr(0x5000) };
const FIRST = sysPhysAddr(2 * MiB - 4096);

test('a page that can be in use is none at a multiple of 2 MiB', () => {
  const { vcpus, taken } = processors();
  expect([vcpus.allocatePage(), vcpus.allocatePage()]).toEqual([FIRST, sysPhysAddr(2 * MiB + 4096)]);
  expect(taken).toEqual([2 * MiB - 4096, 2 * MiB, 2 * MiB + 4096]);
});

test('a processor has one VMCB, and a VMSA for each level', () => {
  const { vcpus } = processors();
  const [guest, other] = [guestOf(), guestOf()];
  vcpus.add(guest, 0, 2, PLACE);
  vcpus.add(guest, 0, 0, { ...PLACE, gpa: physAddr(0x6000) });
  vcpus.add(guest, 1, 2, PLACE);
  expect(vcpus.find(guest, 0, 2)).toEqual({ ...PLACE, vmcb: FIRST });
  expect(vcpus.find(guest, 0, 0)).toEqual({ ...PLACE, gpa: physAddr(0x6000), vmcb: FIRST });
  expect(vcpus.find(guest, 1, 2)?.vmcb).toBe(sysPhysAddr(2 * MiB + 4096));
  expect([vcpus.find(guest, 0, 1), vcpus.find(guest, 2, 0), vcpus.find(other, 0, 0)]).toEqual(
    Array(3).fill(undefined),
  );
});

test('the VMSAs of one processor are siblings', () => {
  const { vcpus } = processors();
  const guest = guestOf();
  const at = (page: number) => ({ ...PLACE, spa: sysPhysAddr(page) });
  vcpus.add(guest, 0, 0, at(0x1000));
  vcpus.add(guest, 1, 0, at(0x2000));
  vcpus.add(guest, 1, 2, at(0x3000));
  const callerOn = (page: number) => ({ vmsa: at(page) }) as unknown as VcpuContext;
  const found = (page: number, vmpl: number) => vcpus.findSibling(guest, callerOn(page), vmpl)?.spa;
  expect([found(0x2000, 2), found(0x3000, 0), found(0x3000, 2)]).toEqual([0x3000n, 0x2000n, 0x3000n]);
  expect([found(0x1000, 2), found(0x3000, 1), found(0x4000, 0)]).toEqual(Array(3).fill(undefined));
  const without = { vmsa: undefined } as unknown as VcpuContext;
  expect(vcpus.findSibling(guest, without, 0)).toBeUndefined();
  expect(vcpus.findSibling(guestOf(), callerOn(0x1000), 0)).toBeUndefined();
});

describe('a request of AP creation', () => {
  test('CREATE sets the VMSA', () => {
    const { vcpus } = processors();
    const guest = guestOf();
    expect(vcpus.handle(guest, REQUEST)).toBe(true);
    expect(vcpus.find(guest, 7, 1)).toEqual({ ...PLACE, vmcb: FIRST });
    expect(vcpus.handle(guest, { ...REQUEST, vmpl: 3, vmsa: physAddr(0x9000) })).toBe(true);
    expect(vcpus.find(guest, 7, 3)?.gpa).toBe(0x9000n);
  });

  test.each<[string, Partial<Parameters<HostVcpus['handle']>[1]>]>([
    ['at VMPL4', { vmpl: 4 }],
    ['to destroy at VMPL4', { vmpl: 4, request: ApRequest.Destroy }],
    ['whose VMSA is not mapped', { vmsa: physAddr(8 * MiB + 0x1000) }],
    ['whose VMSA is at a multiple of 2 MiB', { vmsa: physAddr(2 * MiB) }],
    ['without SNP active', { sevFeatures: 2n }],
    ['to destroy a processor that does not exist', { request: ApRequest.Destroy }],
  ])('%s is refused', (_, change) => {
    const { vcpus, taken } = processors();
    const guest = guestOf();
    expect(vcpus.handle(guest, { ...REQUEST, ...change })).toBe(false);
    expect([vcpus.find(guest, 7, change.vmpl ?? 1), taken]).toEqual([undefined, []]);
  });

  test('DESTROY removes the VMSA of one level, and what waits there', () => {
    const { vcpus } = processors();
    const guest = guestOf();
    vcpus.handle(guest, REQUEST);
    vcpus.handle(guest, { ...REQUEST, vmpl: 2 });
    vcpus.handle(guest, { ...REQUEST, request: ApRequest.CreateOnInit });
    expect(vcpus.handle(guest, { ...REQUEST, request: ApRequest.Destroy })).toBe(true);
    vcpus.init(guest, 7);
    expect([vcpus.find(guest, 7, 1), vcpus.find(guest, 7, 2)?.gpa]).toEqual([undefined, 0x5000n]);
    expect(vcpus.handle(guest, { ...REQUEST, request: ApRequest.Destroy })).toBe(false);
  });

  test('CREATE_ON_INIT waits for an INIT of the processor, which comes once', () => {
    const { vcpus } = processors();
    const guest = guestOf();
    const waiting = { ...REQUEST, request: ApRequest.CreateOnInit };
    expect(vcpus.handle(guest, waiting)).toBe(true);
    expect(vcpus.find(guest, 7, 1)).toBeUndefined();
    vcpus.init(guest, 6);
    expect(vcpus.find(guest, 7, 1)).toBeUndefined();
    vcpus.init(guest, 7);
    expect(vcpus.find(guest, 7, 1)).toEqual({ ...PLACE, vmcb: FIRST });
    vcpus.add(guest, 7, 1, { ...PLACE, gpa: physAddr(0x9000) });
    vcpus.init(guest, 7);
    expect(vcpus.find(guest, 7, 1)?.gpa).toBe(0x9000n);
  });

  test('CREATE takes the place of what waits', () => {
    const { vcpus } = processors();
    const guest = guestOf();
    vcpus.handle(guest, { ...REQUEST, request: ApRequest.CreateOnInit });
    vcpus.handle(guest, { ...REQUEST, vmsa: physAddr(0x6000) });
    vcpus.init(guest, 7);
    expect(vcpus.find(guest, 7, 1)?.gpa).toBe(0x6000n);
  });
});

test('a processor without a VMSA is refused by its name', () => {
  expect(messageOf(() => refuseWithoutVmsa(3, 2))).toBe(
    'the processor cannot be "3 at VMPL2": pass one that has a VMSA [INVALID_ARGUMENT]',
  );
});
