import { PAGE_SIZE, physAddr } from '@svsm/address';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { VmExit } from '../../src/cpu/vmrun.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { makeVmsa, unmakeVmsa } from '../../src/guest/ap-creation.ts';
import {
  createVcpuBySvsm,
  deleteVcpuBySvsm,
  depositToSvsm,
  remapCallingArea,
  withdrawFromSvsm,
} from '../../src/guest/svsm-call.ts';
import { type Adversary, CREATED_CAA, GPAS, MOVED_CAA, type Party } from './adversary-world.ts';
import { LawBroken } from './law-broken.ts';
import { gvaOf } from './world.ts';

/** The last number that a guest wrote to each of its private pages. A page without one is given up. */
type Written = Map<number, number>;

type Attempt = (operation: string, run: () => void) => boolean;

/**
 * Random steps that make, run and delete processors, deposit and withdraw pages, and move calling areas. A page is given up
 * while it is a VMSA or a deposit.
 */
export class ProcessorSteps {
  readonly #it: Adversary;
  readonly #random: (end: number) => number;
  readonly #vmcb: SysPhysAddr;
  /** The pages that the guest without an SVSM has made VMSAs. */
  readonly #made: Set<number> = new Set();

  constructor(it: Adversary, random: (end: number) => number) {
    this.#it = it;
    this.#random = random;
    this.#vmcb = it.host.allocatePage();
  }

  /** One step of a guest, for a page that it maps private. `attempt` returns whether the step was not refused. */
  step(party: Party, gpa: number, written: Written, attempt: Attempt): void {
    if (party === this.#it.above) this.#stepAbove(gpa, written, attempt);
    else this.#stepAlone(gpa, written, attempt);
  }

  #stepAlone(gpa: number, written: Written, attempt: Attempt): void {
    const { vcpus } = this.#it.alone;
    const vcpu = vcpus[this.#random(vcpus.length)]!;
    if (this.#random(2) === 0 && written.has(gpa)) {
      written.delete(gpa);
      this.#made.add(gpa);
      attempt('makeVmsa', () => makeVmsa(vcpu, gvaOf(gpa), createVmsa()));
    } else if (this.#made.has(gpa) && attempt('unmakeVmsa', () => unmakeVmsa(vcpu, gvaOf(gpa)))) {
      this.#made.delete(gpa);
    }
  }

  #stepAbove(gpa: number, written: Written, attempt: Attempt): void {
    const { above } = this.#it;
    const cpu = this.#random(above.vcpus.length);
    const vcpu = above.vcpus[cpu]!;
    const area = above.areas[cpu]!;
    const at = physAddr(gpa);
    switch (this.#random(5)) {
      case 0:
        if (!written.delete(gpa)) break;
        attempt('depositToSvsm', () => depositToSvsm(vcpu, area, [{ gpa: at, size: 0 }]));
        break;
      case 1:
        attempt('withdrawFromSvsm', () => {
          for (const page of withdrawFromSvsm(vcpu, area)) written.set(Number(page), 0);
        });
        break;
      case 2: {
        if (!written.delete(gpa)) break;
        const processor = { vmsa: at, caa: physAddr(CREATED_CAA), apicId: 1 };
        attempt('createVcpuBySvsm', () => {
          vcpu.write(gvaOf(gpa), createVmsa({ vmpl: this.#random(3) }));
          createVcpuBySvsm(vcpu, area, processor);
        });
        break;
      }
      case 3:
        attempt('deleteVcpuBySvsm', () => deleteVcpuBySvsm(vcpu, area, at));
        break;
      default: {
        // The second processor has two areas.
        const second = above.areas[1]!;
        const to = physAddr(MOVED_CAA[second.gpa === physAddr(MOVED_CAA[0]) ? 1 : 0]);
        const next = { gpa: to, gva: gvaOf(Number(to)) };
        const isMoved = attempt('remapCallingArea', () => remapCallingArea(above.vcpus[1]!, second, next));
        // After a refusal, the SVSM knows which one it is.
        if (isMoved || above.svsm.callingArea(above.vcpus[1]!) === to) above.areas[1] = next;
      }
    }
  }

  /**
   * The host runs a page of a guest as a VMSA. Returns whether it runs.
   *
   * @throws LawBroken if the guest has not made it a VMSA
   */
  run(party: Party, gpa: number, attempt: Attempt): boolean {
    const { above } = this.#it;
    const spa = party.guest.nested.lookup(physAddr(gpa))?.spa;
    if (spa === undefined) return false;
    const page = (spa & -BigInt(PAGE_SIZE)) as SysPhysAddr;
    return attempt('run', () => {
      const vcpu = party.guest.vmrun({ spa: page, gpa: physAddr(gpa), vmcb: this.#vmcb });
      vcpu.leave(VmExit.Halt);
      const isMade =
        party === above
          ? vcpu.vmpl === 2 && above.state.vcpus.some(({ vmsa }) => vmsa === physAddr(gpa))
          : vcpu.vmpl === 0 && this.#made.has(gpa);
      if (!isMade) throw new LawBroken(`the host runs a processor at VMPL${vcpu.vmpl} that nobody made`);
    });
  }
}

/** The contested pages that can be VMSAs. */
export const VMSA_GPAS: readonly number[] = GPAS.slice(1);
