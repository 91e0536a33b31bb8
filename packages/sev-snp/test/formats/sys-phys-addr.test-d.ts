/** Compiled, never run: code that the compiler must accept, or refuse. */
import { type Address, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { Tlb } from '@svsm/pagetable';
import {
  type GhcbMsrMessage,
  type Hypervisor,
  isSnpError,
  isSnpFault,
  type Rmp,
  type RmpResult,
  type requestGhcbMsr,
  rmpupdate,
  type SysPhysAddr,
  sysPhysAddr,
  type sysPhysRegion,
  type TranslationCache,
  type Vcpu,
} from '../../src/index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function check<_ extends true>(): void {}

declare const spa: SysPhysAddr;
declare const gpa: PhysAddr;
declare const gva: VirtAddr;
declare const rmp: Rmp;
declare const vcpu: Vcpu;
declare const hypervisor: Hypervisor;
declare const error: unknown;
declare function takesAny(address: Address): void;
declare function takesPhys(address: PhysAddr): void;
declare function takesSysPhys(address: SysPhysAddr): void;

// The three kinds of address are not assignable to each other.
takesAny(spa);
takesSysPhys(sysPhysAddr(0));
// @ts-expect-error a guest-physical address is not a system-physical one
takesSysPhys(physAddr(0));
// @ts-expect-error a virtual address is not a system-physical one
takesSysPhys(virtAddr(0));
// @ts-expect-error a system-physical address is not a guest-physical one
takesPhys(spa);
// @ts-expect-error a plain bigint is not a system-physical address
takesSysPhys(0x1000n);
check<Equal<ReturnType<typeof sysPhysRegion>['start'], SysPhysAddr>>();

// The host works on system-physical addresses, the guest on virtual ones.
rmp.entry(spa);
// @ts-expect-error the RMP is indexed by system-physical addresses
rmp.entry(gpa);
rmpupdate(rmp, spa, { assigned: true, asid: 1, gpa });
// @ts-expect-error the GPA of a page is not a system-physical address
rmpupdate(rmp, spa, { assigned: true, asid: 1, gpa: spa });
// @ts-expect-error 1 GiB is not a page size of the RMP
rmpupdate(rmp, spa, { assigned: false, pageSize: 0x4000_0000 });
hypervisor.read(spa, 1);
// @ts-expect-error the host reads by system-physical addresses
hypervisor.read(gpa, 1);
vcpu.read(gva, 1);
// @ts-expect-error a guest reads by virtual addresses
vcpu.read(spa, 1);
// @ts-expect-error the levels are 0 to 3
vcpu.rmpquery(gva, 4);

// Results are their literals; errors narrow by code.
check<Equal<typeof RmpResult.FAIL_OVERLAP, 4>>();
if (isSnpFault(error, 'NPF')) check<Equal<typeof error.details.exitInfo1, bigint>>();
if (isSnpFault(error, 'PF')) {
  // @ts-expect-error a #PF has no EXITINFO1
  error.details.exitInfo1;
}
if (isSnpError(error, 'PVALIDATE_FAILED')) check<Equal<typeof error.details.result, RmpResult>>();

// An answer has the fields of the type that was asked for.
check<Equal<ReturnType<typeof requestGhcbMsr<'page-state'>>['error'], number>>();
// @ts-expect-error an operation is a number
({ type: 'page-state-request', gpa, operation: 3n }) satisfies GhcbMsrMessage;

// The TLB of the page-table package is a translation cache.
new Tlb() satisfies TranslationCache;
