import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { type PagingConfig, type PagingOptions, pagingConfig, Tlb } from '@svsm/pagetable';
import { NestedTlb } from '../cpu/nested-tlb.ts';
import type { GuestContext, RunnableVmsa, SnpPlatform, VcpuContext } from '../cpu/platform.ts';
import { Vcpu, type VcpuOptions } from '../cpu/vcpu.ts';
import { vmrun } from '../cpu/vmrun.ts';
import type { Vmpl } from '../formats/vmpl.ts';
import { readVmsa } from '../formats/vmsa.ts';
import type { MemoryKey } from '../memory/encrypted-memory.ts';
import type { NestedTable } from '../memory/nested-table.ts';
import { SnpFault } from '../rmp/snp-fault.ts';

/** What a hypervisor and the firmware give a guest. */
export interface GuestOptions {
  readonly asid: number;
  readonly key: MemoryKey;
  readonly nested: NestedTable;
  /** Its memory, as it was launched. */
  readonly memory: MemoryRegion<PhysAddr>;
  /** Levels of its page tables: 4 if not given. */
  readonly levels?: 4 | 5;
  /** Its virtual top of memory, if it has one. */
  readonly virtualTom?: bigint | undefined;
}

/** An SNP-active guest: an ASID, a key that goes with it, and what the hypervisor says its memory is. */
export class Guest implements GuestContext {
  readonly machine: SnpPlatform;
  /** The ASID of the guest in the RMP: 1 to 1022. */
  readonly asid: number;
  /** What its private memory is encrypted with. Neither it nor the hypervisor can use it but by private accesses. */
  readonly key: MemoryKey;
  /** The nested page table, which is the hypervisor's. */
  readonly nested: NestedTable;
  /** The guest-physical memory that it was launched with. */
  readonly memory: MemoryRegion<PhysAddr>;
  /**
   * How its page tables are laid out: the machine's C-bit, or the bit of its virtual top of memory. One that is no power of
   * two has no bit: page tables know no shared pages then.
   */
  readonly paging: PagingConfig;
  /** VIRTUAL_TOM: data below is private, at or above shared (AMD64 APM vol. 2, §15.36.8). `undefined`: the C-bit tells. */
  readonly virtualTom: bigint | undefined;
  #tlbGeneration = 0;
  /** Those that run, or have run, a VMSA: by where that lies. */
  readonly #vcpus: Map<bigint, Vcpu> = new Map();
  #onStart: ((vcpu: Vcpu) => void) | undefined;
  /** What waits at each level. */
  readonly #software: Map<number, (caller: Vcpu) => void> = new Map();

  constructor(machine: SnpPlatform, { asid, key, nested, memory, levels = 4, virtualTom }: GuestOptions) {
    this.machine = machine;
    this.asid = asid;
    this.key = key;
    this.nested = nested;
    this.memory = memory;
    const vendor = machine.rmp.assumptions.topLevelBit8 === 'reserved' ? 'amd' : 'intel';
    this.virtualTom = virtualTom;
    this.paging = pagingConfig({ levels, vendor, ...encryptionOf(machine, virtualTom) });
  }

  get tlbGeneration(): number {
    return this.#tlbGeneration;
  }

  flushTlbs(): void {
    this.#tlbGeneration += 1;
  }

  /** Has `software` run whenever the hypervisor is asked, or takes it upon itself, to run a level for a processor. */
  onEnter(vmpl: Vmpl, software: (caller: Vcpu) => void): void {
    this.#software.set(vmpl, software);
  }

  enterVmpl(vmpl: number, caller: VcpuContext): boolean {
    const software = this.#software.get(vmpl);
    if (software === undefined || !(caller instanceof Vcpu) || caller.guest !== this) return false;
    software(caller);
    return true;
  }

  /** Has `software` run on each processor that a hypervisor runs for the first time. */
  onStart(software: (vcpu: Vcpu) => void): void {
    this.#onStart = software;
  }

  vmrun(vmsa: RunnableVmsa): Vcpu {
    const exitCode = vmrun(this.machine, vmsa, this);
    if (exitCode !== undefined) throw new SnpFault('VMRUN', { exitCode, vmsa: vmsa.spa });
    const image = this.machine.memory.read(vmsa.spa, PAGE_SIZE, this.key);
    const vmpl = Number(readVmsa(image, 'vmpl')) as Vmpl;
    const held = this.#vcpus.get(vmsa.spa);
    const { levels } = this.paging;
    const vcpu =
      held?.vmpl === vmpl
        ? held
        : this.createVcpu({ vmpl, tlb: new Tlb({ levels }), nestedTlb: new NestedTlb(), vmsa });
    this.#vcpus.set(vmsa.spa, vcpu);
    vcpu.resume(image, vmsa);
    return vcpu;
  }

  start(vcpu: VcpuContext): boolean {
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
  // The C-bit is reserved: addresses end below it.
  return bit >= 32 && virtualTom === 1n << BigInt(bit)
    ? { physicalBits: cBit, encryption: { mode: 'vtom', bit } }
    : { physicalBits: cBit };
}
