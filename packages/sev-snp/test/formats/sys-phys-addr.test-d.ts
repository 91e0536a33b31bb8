/** Compiled, never run: what the compiler must accept, and what it must refuse. */
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

// Three kinds of address, none of which is another.
takesAny(spa);
takesSysPhys(sysPhysAddr(0));
// @ts-expect-error a guest-physical address is no system-physical one
takesSysPhys(physAddr(0));
// @ts-expect-error nor is a virtual one
takesSysPhys(virtAddr(0));
// @ts-expect-error nor the other way
takesPhys(spa);
// @ts-expect-error nor a plain number
takesSysPhys(0x1000n);
check<Equal<ReturnType<typeof sysPhysRegion>['start'], SysPhysAddr>>();

// The host works on system-physical addresses, the guest on virtual ones.
rmp.entry(spa);
// @ts-expect-error the RMP is indexed by system-physical addresses
rmp.entry(gpa);
rmpupdate(rmp, spa, { assigned: true, asid: 1, gpa });
// @ts-expect-error a page's GPA is no system-physical address
rmpupdate(rmp, spa, { assigned: true, asid: 1, gpa: spa });
// @ts-expect-error 1 GiB is no page size of the RMP
rmpupdate(rmp, spa, { assigned: false, pageSize: 0x4000_0000 });
hypervisor.read(spa, 1);
// @ts-expect-error hosts do not read by guest-physical addresses
hypervisor.read(gpa, 1);
vcpu.read(gva, 1);
// @ts-expect-error guests do not read by system-physical ones
vcpu.read(spa, 1);
// @ts-expect-error there are levels 0 to 3
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
// @ts-expect-error there is no such operation
({ type: 'page-state-request', gpa, operation: 3 }) satisfies GhcbMsrMessage;

// The TLB of the page-table package is a translation cache.
new Tlb() satisfies TranslationCache;
