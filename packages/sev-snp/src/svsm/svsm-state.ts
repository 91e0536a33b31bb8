import type { PhysAddr } from '@svsm/address';
import { showInConsoles } from '@svsm/address';
import type { Vcpu } from '../cpu/vcpu.ts';
import { refuseArgument, requireFunction } from '../formats/arguments.ts';
import { requireProcessor } from '../guest/argument-checks.ts';
import type { ValidatedPages } from '../guest/validated-pages.ts';
import type { GuestPageAccess } from './guest-page-access.ts';
import { checkedProtocols } from './other-protocol.ts';
import { SvsmCore } from './svsm-core.ts';
import { requireSvsmOptions, type SvsmStateOptions } from './svsm-options.ts';
import { SvsmRecords } from './svsm-records.ts';

/** A processor that the SVSM has created for the guest. */
export interface SvsmVcpu {
  readonly vmsa: PhysAddr;
  readonly caa: PhysAddr;
  readonly vmpl: number;
  readonly apicId: number;
}

/**
 * An SVSM: the state that all its processors share. It has the record of validated pages, the owners of pages, the pages that
 * calls in progress use, the processors that may call, and the deposited pages. {@link on} makes the SVSM of one processor.
 *
 * Make one for each guest. With a state for each processor, the hypervisor could make two of them validate the same page.
 *
 * @example
 * ```ts
 * import { physAddr, virtAddr } from '@svsm/address';
 * import { physRegion } from '@svsm/memory-region';
 * import { permanentMap, SnpMachine, SvsmState } from '@svsm/sev-snp';
 *
 * const guest = new SnpMachine({ memorySize: 32 << 20 }).hypervisor.launch({ size: 8 << 20 });
 * const state = new SvsmState({ memory: guest.memory, own: [physRegion(physAddr(0), 2 << 20)] });
 * const access = permanentMap((gpa) => virtAddr(gpa));
 * const cores = [guest.createVcpu(), guest.createVcpu()].map((vcpu) => state.on(vcpu, access));
 * guest.onEnter(0, (caller) => cores[0]?.enter(caller));
 * console.log(state.vcpus.length); // => 0
 * ```
 */
export class SvsmState {
  static {
    showInConsoles(this, 'SvsmState', ({ validated, vcpus }) => ({ validated, vcpus }));
  }

  readonly #options: SvsmStateOptions;
  readonly #records: SvsmRecords;

  /**
   * @throws SnpError `INVALID_ARGUMENT` if an option does not exist or has another type, memory or `own` is not made
   *   of whole pages, `own` is not part of memory, `entriesPerCall` is not a count, or a protocol is malformed
   */
  constructor(options: SvsmStateOptions) {
    requireSvsmOptions(options);
    this.#options = { ...options, protocols: checkedProtocols(options.protocols) };
    this.#records = new SvsmRecords(options);
  }

  /** The SVSM's record of validated pages. */
  get validated(): ValidatedPages {
    return this.#records.validated;
  }

  /** The processors that CREATE_VCPU has made. O(processors). */
  get vcpus(): readonly SvsmVcpu[] {
    const { created } = this.#records.processors;
    return Array.from(created, ({ vmsa, caa, vmpl, apicId }) => ({ vmsa, caa, vmpl, apicId }) as SvsmVcpu);
  }

  /**
   * The SVSM on one of its processors. It serves the calls for which the hypervisor enters that processor.
   *
   * @param vcpu - a processor at VMPL0
   * @param access - how this processor reaches pages of the guest; `permanentMap` if all of them are mapped
   * @throws SnpError `INVALID_ARGUMENT` if `vcpu` is not a processor at VMPL0, or `access` is not a function
   */
  on(vcpu: Vcpu, access: GuestPageAccess): SvsmCore {
    requireProcessor(vcpu);
    if (vcpu.vmpl !== 0) refuseArgument('the VMPL of the SVSM', vcpu.vmpl, 'pass a processor at VMPL0');
    requireFunction('the access to pages', access);
    return new SvsmCore({ records: this.#records, options: this.#options, vcpu, access });
  }
}
