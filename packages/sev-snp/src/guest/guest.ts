import { PAGE_SIZE, showInConsoles } from '@svsm/address';
import { type PagingConfig, type PagingOptions, pagingConfig, Tlb } from '@svsm/pagetable';
import { requireMachine, requireVcpu } from '../cpu/context-checks.ts';
import { NestedTlb } from '../cpu/nested-tlb.ts';
import type { GuestContext, RunnableVmsa, SnpPlatform, VcpuContext } from '../cpu/platform.ts';
import { Vcpu } from '../cpu/vcpu.ts';
import type { VcpuOptions } from '../cpu/vcpu-options.ts';
import { runnableVmsa, VmExit, vmexit, vmrun } from '../cpu/vmrun.ts';
import type { ActiveGuest } from '../firmware/firmware-context.ts';
import {
  requireFunction,
  requireInstance,
  requireOneOf,
  requireUint64,
  requireWhole,
} from '../formats/arguments.ts';
import { requireOptions } from '../formats/options.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { Vmpl } from '../formats/vmpl.ts';
import { readVmsa } from '../formats/vmsa.ts';
import type { MemoryKey } from '../memory/encrypted-memory.ts';
import { type GuestMemoryInput, GuestRegions } from '../memory/guest-regions.ts';
import { NestedTable } from '../memory/nested-table.ts';
import { SnpFault } from '../rmp/snp-fault.ts';

/** The resources of a guest, from the hypervisor and the firmware. */
export interface GuestOptions {
  /** The context page of a guest that the firmware has activated. ASID and key come from there. */
  readonly context: SysPhysAddr;
  readonly nested: NestedTable;
  /** The memory that it was launched with, validated or not: one region, or several. */
  readonly memory: GuestMemoryInput;
  /** Levels of its page tables: 4 if not given. */
  readonly levels?: 4 | 5;
  /** Its virtual top of memory, if it uses one. */
  readonly virtualTom?: bigint | undefined;
}

/** The names of the options. */
const GUEST_OPTIONS: readonly (keyof GuestOptions)[] = [
  'context',
  'nested',
  'memory',
  'levels',
  'virtualTom',
];

/** A processor that VMRUN needs: the level in its VMSA, and the VMSA. `createVcpu` takes it as options. */
export interface VcpuRequest {
  readonly vmpl: Vmpl;
  readonly vmsa: RunnableVmsa;
}

/** Makes the processor for a VMSA: one of this guest, of the level of the request, and not one that another VMSA has. */
export type VcpuFactory = (request: VcpuRequest) => Vcpu;

/** The guests of the firmware that a {@link Guest} stands for. */
const TAKEN: WeakSet<ActiveGuest> = /* @__PURE__ */ new WeakSet();

/** An SNP-active guest: its ASID, its key, and the nested page table that the hypervisor keeps for it. */
export class Guest implements GuestContext {
  static {
    showInConsoles(this, 'Guest', (guest) => ({
      asid: guest.asid,
      context: guest.context,
      memory: guest.memory,
      vcpus: guest.#vcpus.size,
    }));
  }

  readonly machine: SnpPlatform;
  /** Its context page, which names it in commands of the firmware. */
  readonly context: SysPhysAddr;
  /** The ASID of the guest in the RMP: 1 to 1022. */
  readonly asid: number;
  /** The nested page table, which the hypervisor owns. */
  readonly nested: NestedTable;
  /** The guest-physical memory that it was launched with, validated or not. */
  readonly memory: GuestRegions;
  /**
   * The format of its page tables: with the machine's C-bit, or with the bit of the virtual top of memory. If that is
   * not a power of two, it has no bit, and page tables have no shared pages.
   */
  readonly paging: PagingConfig;
  /**
   * VIRTUAL_TOM: data below it is private, data at or above it shared (AMD64 APM vol. 2, §15.36.8). `undefined`: the
   * C-bit decides.
   */
  readonly virtualTom: bigint | undefined;
  readonly #active: ActiveGuest;
  #tlbGeneration = 0;
  /** The processors that run, or have run, on a VMSA: by the address of the VMSA. */
  readonly #vcpus: Map<bigint, Vcpu> = new Map();
  #onStart: ((vcpu: Vcpu) => void) | undefined;
  #makeVcpu: VcpuFactory = (request) =>
    this.createVcpu({ ...request, tlb: new Tlb({ levels: this.paging.levels }), nestedTlb: new NestedTlb() });
  /** The software of each level. */
  readonly #software: Map<number, (caller: Vcpu) => void> = new Map();

  /**
   * A guest that the firmware has activated. The firmware launches its pages; its processors run after SNP_LAUNCH_FINISH.
   *
   * @throws SnpError `INVALID_ARGUMENT` if the memory is not whole 4 KiB pages, the context page is not that of an activated
   *   guest, or there is a `Guest` for it already
   */
  constructor(machine: SnpPlatform, options: GuestOptions) {
    requireMachine(machine);
    requireOptions('options', options, GUEST_OPTIONS);
    const { context, nested, memory, levels = 4, virtualTom } = options;
    requireInstance('nested', nested, NestedTable, 'a NestedTable');
    requireOneOf('levels', levels, [4, 5]);
    if (virtualTom !== undefined) requireUint64('virtualTom', virtualTom);
    const regions = new GuestRegions(memory);
    const active = machine.firmware.activeGuest(context);
    if (active === undefined || TAKEN.has(active)) {
      const expected = 'pass the context page of an activated guest that has no other Guest';
      throw new SnpError('INVALID_ARGUMENT', { what: 'the context page', value: context, expected });
    }
    TAKEN.add(active);
    this.#active = active;
    this.machine = machine;
    this.context = context;
    this.asid = active.asid;
    this.nested = nested;
    this.memory = regions;
    const vendor = machine.rmp.assumptions.topLevelBit8 === 'reserved' ? 'amd' : 'intel';
    this.virtualTom = virtualTom;
    this.paging = pagingConfig({ levels, vendor, ...encryptionOf(machine, virtualTom) });
  }

  get key(): MemoryKey {
    const { key } = this.#active;
    if (key === undefined) throw new SnpFault('VMRUN', { exitCode: VmExit.Invalid, vmsa: undefined });
    return key;
  }

  get tlbGeneration(): number {
    return this.#tlbGeneration;
  }

  flushTlbs(): void {
    this.#tlbGeneration += 1;
  }

  /**
   * Sets the software of a level. It runs whenever the hypervisor runs the level for a processor, asked or not.
   *
   * @throws SnpError `INVALID_ARGUMENT` if the level does not exist, or `software` is not a function
   */
  onEnter(vmpl: Vmpl, software: (caller: Vcpu) => void): void {
    requireOneOf('the VMPL', vmpl, Object.values(Vmpl));
    requireFunction('the software', software);
    this.#software.set(vmpl, software);
  }

  /** @throws SnpError `INVALID_ARGUMENT` if the level is not an integer, or `caller` is not a processor */
  enterVmpl(vmpl: number, caller: VcpuContext): boolean {
    requireWhole('the VMPL', vmpl);
    requireVcpu(caller);
    const software = this.#software.get(vmpl);
    if (software === undefined || !(caller instanceof Vcpu) || caller.guest !== this) return false;
    software(caller);
    return true;
  }

  /**
   * Sets the software that runs on each processor that the hypervisor starts.
   *
   * @throws SnpError `INVALID_ARGUMENT` if it is not a function
   */
  onStart(software: (vcpu: Vcpu) => void): void {
    requireFunction('the software', software);
    this.#onStart = software;
  }

  /** @throws SnpError `INVALID_ARGUMENT` if `asked` is not a VMSA, or `onCreateVcpu` returns another processor; SnpFault */
  vmrun(asked: RunnableVmsa): Vcpu {
    const vmsa = runnableVmsa(asked);
    const exitCode = vmrun(this.machine, vmsa, this);
    if (exitCode !== undefined) throw new SnpFault('VMRUN', { exitCode, vmsa: vmsa.spa });
    try {
      return this.#resume(vmsa);
    } catch (error) {
      vmexit(this.machine, vmsa);
      throw error;
    }
  }

  /**
   * Sets the function that makes a processor when the hypervisor runs a VMSA for the first time, or with another level than
   * before: the boot processor, and those of AP creation. So its TLBs, its handler of page faults and its class are those that
   * software knows. Without one, a processor gets a `Tlb` and a `NestedTlb` of its own.
   *
   * The function runs between the checks of VMRUN and the first instruction. If it throws, VMRUN has not happened, and the
   * caller of {@link vmrun} gets the error. While it runs, the VMSA is in use, so it cannot be run.
   *
   * @example
   * ```ts
   * import { Tlb } from '@svsm/pagetable';
   * import { createVmsa, NestedTlb, SnpMachine } from '@svsm/sev-snp';
   *
   * const { hypervisor } = new SnpMachine({ memorySize: 32 << 20 });
   * const guest = hypervisor.launch({ size: 8 << 20, vmsas: [createVmsa()] });
   * const tlb = new Tlb();
   * guest.onCreateVcpu((request) => guest.createVcpu({ ...request, tlb, nestedTlb: new NestedTlb() }));
   * guest.onStart((vcpu) => console.log(vcpu.tlb === tlb)); // => true
   * hypervisor.run(guest);
   * ```
   * @throws SnpError `INVALID_ARGUMENT` if it is not a function
   */
  onCreateVcpu(factory: VcpuFactory): void {
    requireFunction('the factory', factory);
    this.#makeVcpu = factory;
  }

  #resume(vmsa: RunnableVmsa): Vcpu {
    const vmpl = this.#vmplIn(vmsa);
    const held = this.#vcpus.get(vmsa.spa);
    const vcpu = held?.vmpl === vmpl ? held : this.#made({ vmpl, vmsa });
    // The factory can have changed the page.
    if (this.#vmplIn(vmsa) !== vmpl)
      throw new SnpFault('VMRUN', { exitCode: VmExit.Invalid, vmsa: vmsa.spa });
    vcpu.resume(this.machine.memory.read(vmsa.spa, PAGE_SIZE, this.key), vmsa);
    this.#vcpus.set(vmsa.spa, vcpu);
    return vcpu;
  }

  #vmplIn({ spa }: RunnableVmsa): Vmpl {
    return Number(readVmsa(this.machine.memory.read(spa, PAGE_SIZE, this.key), 'vmpl')) as Vmpl;
  }

  /** @throws SnpError `INVALID_ARGUMENT` if the factory returns something else than a new processor of the level */
  #made(request: VcpuRequest): Vcpu {
    const made: unknown = this.#makeVcpu(Object.freeze(request));
    const isFit = made instanceof Vcpu && made.guest === this && made.vmpl === request.vmpl;
    if (isFit && ![...this.#vcpus.values()].includes(made)) return made;
    const expected = `return a new processor of this guest at VMPL${request.vmpl}`;
    throw new SnpError('INVALID_ARGUMENT', { what: 'the processor of onCreateVcpu', value: made, expected });
  }

  /** @throws SnpError `INVALID_ARGUMENT` if `vcpu` is not a processor */
  start(vcpu: VcpuContext): boolean {
    requireVcpu(vcpu);
    if (this.#onStart === undefined || !(vcpu instanceof Vcpu) || vcpu.guest !== this) return false;
    this.#onStart(vcpu);
    return true;
  }

  /** A processor of the guest, at VMPL0 if no other level is given. @throws SnpError `INVALID_ARGUMENT` */
  createVcpu(options: VcpuOptions = {}): Vcpu {
    return new Vcpu(this, options);
  }
}

function encryptionOf({ cBit }: SnpPlatform, virtualTom: bigint | undefined): PagingOptions {
  if (virtualTom === undefined) return { cBit };
  const bit = virtualTom.toString(2).length - 1;
  // The C-bit is reserved, so addresses end below it.
  return bit >= 32 && virtualTom === 1n << BigInt(bit)
    ? { physicalBits: cBit, encryption: { mode: 'vtom', bit } }
    : { physicalBits: cBit };
}
