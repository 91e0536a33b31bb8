import { PAGE_SIZE_2M, type PhysAddr } from '@svsm/address';
import type { GuestContext, RunnableVmsa, VcpuContext } from '../cpu/platform.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { VMPL_COUNT } from '../formats/vmpl.ts';
import { SevFeature } from '../formats/vmsa.ts';
import { type ApCreation, ApRequest } from '../guest/ap-creation.ts';

/** A processor of a hypervisor: a VMCB, and a VMSA for each privilege level that can run. */
interface HostVcpu {
  readonly vmcb: SysPhysAddr;
  readonly vmsas: Map<number, RunnableVmsa>;
  /** The VMSAs that wait for an INIT, by level. */
  readonly waiting: Map<number, RunnableVmsa>;
}

/** The processors of a hypervisor's guests, by APIC id. */
export class HostVcpus {
  readonly #allocatePage: () => SysPhysAddr;
  readonly #guests: WeakMap<GuestContext, Map<number, HostVcpu>> = new WeakMap();

  constructor(allocatePage: () => SysPhysAddr) {
    this.#allocatePage = allocatePage;
  }

  /**
   * A page that can be in use: not at a multiple of 2 MiB, because of an erratum (KVM `snp_safe_alloc_page`).
   *
   * @throws SnpError `OUT_OF_MEMORY`
   */
  allocatePage(): SysPhysAddr {
    for (;;) {
      const page = this.#allocatePage();
      if (page % BigInt(PAGE_SIZE_2M) !== 0n) return page;
    }
  }

  /** Sets the VMSA of a processor at a level. */
  add(guest: GuestContext, apicId: number, vmpl: number, vmsa: Pick<RunnableVmsa, 'spa' | 'gpa'>): void {
    const { vmcb, vmsas } = this.#vcpu(guest, apicId);
    vmsas.set(vmpl, { ...vmsa, vmcb });
  }

  /** The VMSA of a processor at a level, or `undefined`. */
  find(guest: GuestContext, apicId: number, vmpl: number): RunnableVmsa | undefined {
    return this.#guests.get(guest)?.get(apicId)?.vmsas.get(vmpl);
  }

  /** The VMSA at a level of the processor that `caller` belongs to, or `undefined`. */
  findSibling(guest: GuestContext, caller: VcpuContext, vmpl: number): RunnableVmsa | undefined {
    const { vmsa } = caller;
    if (vmsa === undefined) return undefined;
    for (const { vmsas } of this.#guests.get(guest)?.values() ?? []) {
      if ([...vmsas.values()].some(({ spa }) => spa === vmsa.spa)) return vmsas.get(vmpl);
    }
    return undefined;
  }

  /**
   * Handles a request of SNP AP creation. Returns whether it was accepted (KVM `sev_snp_ap_creation`): a VMSA at a
   * multiple of 2 MiB is refused because of an erratum of shipping parts.
   *
   * @throws SnpError `OUT_OF_MEMORY`
   */
  handle(guest: GuestContext, { request, apicId, vmpl, vmsa, sevFeatures }: ApCreation): boolean {
    if (vmpl >= VMPL_COUNT) return false;
    if (request === ApRequest.Destroy) {
      const held = this.#guests.get(guest)?.get(apicId);
      held?.waiting.delete(vmpl);
      return held?.vmsas.delete(vmpl) ?? false;
    }
    const spa = guest.nested.lookup(vmsa)?.spa;
    if (spa === undefined || isAligned(vmsa) || (sevFeatures & SevFeature.SnpActive) === 0n) return false;
    const { vmcb, vmsas, waiting } = this.#vcpu(guest, apicId);
    waiting.delete(vmpl);
    (request === ApRequest.Create ? vmsas : waiting).set(vmpl, { spa, gpa: vmsa, vmcb });
    return true;
  }

  /** INIT: the VMSAs that wait for it can be run. @throws SnpError `OUT_OF_MEMORY` */
  init(guest: GuestContext, apicId: number): void {
    const { vmsas, waiting } = this.#vcpu(guest, apicId);
    for (const [vmpl, vmsa] of waiting) vmsas.set(vmpl, vmsa);
    waiting.clear();
  }

  #vcpu(guest: GuestContext, apicId: number): HostVcpu {
    const ofGuest = this.#guests.get(guest) ?? new Map<number, HostVcpu>();
    this.#guests.set(guest, ofGuest);
    const held = ofGuest.get(apicId);
    if (held !== undefined) return held;
    const created = { vmcb: this.allocatePage(), vmsas: new Map(), waiting: new Map() };
    ofGuest.set(apicId, created);
    return created;
  }
}

/** @throws SnpError `INVALID_ARGUMENT` */
export function refuseWithoutVmsa(apicId: number, vmpl: number): never {
  const expected = 'pass one that has a VMSA';
  throw new SnpError('INVALID_ARGUMENT', {
    what: 'the processor',
    value: `${apicId} at VMPL${vmpl}`,
    expected,
  });
}

function isAligned(vmsa: PhysAddr): boolean {
  return vmsa % BigInt(PAGE_SIZE_2M) === 0n;
}
