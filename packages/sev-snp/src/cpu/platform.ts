import type { PhysAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { PagingConfig } from '@svsm/pagetable';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import type { Vmpl } from '../formats/vmpl.ts';
import type { EncryptedMemory, MemoryKey } from '../memory/encrypted-memory.ts';
import type { NestedTable } from '../memory/nested-table.ts';
import type { Rmp } from '../rmp/rmp.ts';
import type { MachineEvent } from './machine-event.ts';

// What processors, guests and hypervisors need of one another, apart from the classes that are it.

/** The machine below a guest or a hypervisor: an `SnpMachine` is one. */
export interface SnpPlatform {
  readonly memory: EncryptedMemory;
  readonly rmp: Rmp;
  /** Who gets the exits of guests. */
  readonly hypervisor: ExitHandler;
  /** The position of the C-bit in guest page tables. */
  readonly cBit: number;
  /** The width of system-physical addresses: bits from there on are reserved in nested page tables. */
  readonly hostPhysicalBits: number;
  /** How many SNP guests there can be: ASIDs 1 to this one. */
  readonly maxGuests: number;
  /** Reports an event to who asked for them. */
  trace(event: MachineEvent): void;
}

/** What a guest is to the hardware: a `Guest` is one. */
export interface GuestContext {
  readonly machine: SnpPlatform;
  /** The ASID of the guest in the RMP: 1 to 1022. */
  readonly asid: number;
  /** What its private memory is encrypted with. */
  readonly key: MemoryKey;
  /** The nested page table, which is the hypervisor's. */
  readonly nested: NestedTable;
  /** The guest-physical memory that it was launched with. */
  readonly memory: MemoryRegion<PhysAddr>;
  /** How its page tables are laid out. */
  readonly paging: PagingConfig;
  /** VIRTUAL_TOM, if it tells private from shared addresses by that and not by the C-bit. */
  readonly virtualTom: bigint | undefined;
  /** How often its translations were flushed: what was cached before is dead. */
  readonly tlbGeneration: number;
  /** Flushes them, on all processors: TLB_CONTROL of its VMCBs, or INVLPGB for its ASID (AMD64 APM vol. 2, §15.36.15). */
  flushTlbs(): void;
  /**
   * Runs what waits at a privilege level, on behalf of a processor that is at another. Returns whether anything does. That is
   * all that a hypervisor can do: what it is told there, and what it answers, is between the two levels.
   */
  enterVmpl(vmpl: number, caller: VcpuContext): boolean;
  /**
   * VMRUN of a VMSA of its. The processor goes on with what that says.
   *
   * @throws SnpFault `VMRUN` if it cannot be run, `HOST_GP`
   */
  vmrun(vmsa: RunnableVmsa): VcpuContext;
  /** Has the software that waits for processors to start go on, on one that runs. Returns whether there is any. */
  start(vcpu: VcpuContext): boolean;
}

/** What a hypervisor runs: the state of a guest's processor, and pages of its own for it. */
export interface RunnableVmsa {
  /** The VMSA, and the guest-physical address that it was made at. */
  readonly spa: SysPhysAddr;
  readonly gpa: PhysAddr;
  readonly vmcb: SysPhysAddr;
  readonly avicBackingPage?: SysPhysAddr | undefined;
}

/** What a processor of a guest is to the hypervisor: a `Vcpu` is one. */
export interface VcpuContext {
  readonly vmpl: Vmpl;
  /** What it is run by; `undefined` for one that was made without a VMSA. */
  readonly vmsa: RunnableVmsa | undefined;
  /** #VMEXIT, with an exit code. Does nothing unless it runs. */
  leave(exitCode: bigint): void;
}

/** Who gets a guest's exits: a `Hypervisor` is one. */
export interface ExitHandler {
  /** Deals with a nested page fault at `gpa`; `exitInfo1` has the bits of `NpfInfo`. Returns whether to try again. */
  handleNestedPageFault(guest: GuestContext, gpa: PhysAddr, exitInfo1: bigint): boolean;
  /** Answers a VMGEXIT of `vcpu`: what the guest left in the GHCB MSR, and what it is to find there. */
  vmgexit(guest: GuestContext, request: bigint, vcpu: VcpuContext): bigint;
  /**
   * What other processors of the host do in the instant before one of the guest reads `length` bytes of shared memory at
   * `spa`: they run all the time. An honest hypervisor does nothing there.
   */
  beforeSharedRead?(guest: GuestContext, spa: SysPhysAddr, length: number): void;
}
