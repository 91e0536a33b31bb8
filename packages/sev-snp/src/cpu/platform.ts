import type { PhysAddr } from '@svsm/address';
import type { PagingConfig } from '@svsm/pagetable';
import type { Firmware } from '../firmware/firmware.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import type { Vmpl } from '../formats/vmpl.ts';
import type { EncryptedMemory, MemoryKey } from '../memory/encrypted-memory.ts';
import type { GuestRegions } from '../memory/guest-regions.ts';
import type { NestedTable } from '../memory/nested-table.ts';
import type { Rmp } from '../rmp/rmp.ts';
import type { MachineEvent } from './machine-event.ts';

// The interfaces between processors, guests and hypervisors, apart from the classes that implement them.

/** The machine below guests and the hypervisor. `SnpMachine` implements it. */
export interface SnpPlatform {
  readonly memory: EncryptedMemory;
  readonly rmp: Rmp;
  /** The firmware of the secure processor, which launches guests. */
  readonly firmware: Firmware;
  /** The handler of the guests' exits. */
  readonly hypervisor: ExitHandler;
  /** The position of the C-bit in guest page tables. */
  readonly cBit: number;
  /** The width of system-physical addresses in bits. The bits above are reserved in nested page tables. */
  readonly hostPhysicalBits: number;
  /** The greatest number of SNP guests: their ASIDs are 1 to this number. */
  readonly maxGuests: number;
  /** Reports an event to the `trace` function of the machine, if it has one. Its errors go on to the caller. */
  trace(event: MachineEvent): void;
}

/** A guest as the hardware sees it. `Guest` implements it. */
export interface GuestContext {
  readonly machine: SnpPlatform;
  /** The ASID of the guest in the RMP: 1 to 1022. */
  readonly asid: number;
  /**
   * The key of its private memory. Only the processors that run the guest have it.
   *
   * @throws SnpFault `VMRUN` if the firmware has not finished its launch, or has decommissioned it
   */
  readonly key: MemoryKey;
  /** The nested page table, which the hypervisor owns. */
  readonly nested: NestedTable;
  /** The guest-physical memory that it was launched with, validated or not. */
  readonly memory: GuestRegions;
  /** The format of its page tables. */
  readonly paging: PagingConfig;
  /** VIRTUAL_TOM, if that and not the C-bit makes an address private or shared. */
  readonly virtualTom: bigint | undefined;
  /** The number of flushes of its translations. Translations that were cached before the last flush are dead. */
  readonly tlbGeneration: number;
  /**
   * Flushes its translations on all processors: TLB_CONTROL of its VMCBs, or INVLPGB for its ASID (AMD64 APM vol. 2,
   * §15.36.15).
   */
  flushTlbs(): void;
  /**
   * Runs the software of a privilege level, on behalf of a processor at another level. Returns whether the level has
   * software. The hypervisor can do no more than that: request and answer are between the two levels.
   */
  enterVmpl(vmpl: number, caller: VcpuContext): boolean;
  /**
   * VMRUN of a VMSA of the guest. The processor continues with the state in the VMSA.
   *
   * @throws SnpFault `VMRUN` if the VMSA cannot be run, `HOST_GP`
   */
  vmrun(vmsa: RunnableVmsa): VcpuContext;
  /** Runs the guest's start software on a running processor. Returns whether the guest has any. */
  start(vcpu: VcpuContext): boolean;
}

/** A VMSA that a hypervisor can run, with the hypervisor's own pages for it. */
export interface RunnableVmsa {
  /** The address of the VMSA. `gpa` is the guest-physical address in its RMP entry. */
  readonly spa: SysPhysAddr;
  readonly gpa: PhysAddr;
  readonly vmcb: SysPhysAddr;
  readonly avicBackingPage?: SysPhysAddr | undefined;
}

/** A guest's processor as the hypervisor sees it. `Vcpu` implements it. */
export interface VcpuContext {
  readonly vmpl: Vmpl;
  /** The VMSA that it runs on; `undefined` for a processor that was made without one. */
  readonly vmsa: RunnableVmsa | undefined;
  /** #VMEXIT with an exit code. Does nothing unless the processor runs on a VMSA. */
  leave(exitCode: bigint): void;
}

/**
 * The handler of guests' exits. `Hypervisor` implements it. Its methods may do everything that a hypervisor may do, even
 * run the processor on behalf of which they are called.
 *
 * If a method that handles an exit throws, the caller of the instruction gets the error, and the processor has exited: its
 * state is in its VMSA, which is not in use and can be run again.
 */
export interface ExitHandler {
  /**
   * Handles a nested page fault at `gpa`; `exitInfo1` has the bits of `NpfInfo`. Returns whether the guest tries again.
   */
  handleNestedPageFault(guest: GuestContext, gpa: PhysAddr, exitInfo1: bigint): boolean;
  /** Answers a VMGEXIT of `vcpu`. `request` is the GHCB MSR of the guest; the result replaces it. */
  vmgexit(guest: GuestContext, request: bigint, vcpu: VcpuContext): bigint;
  /**
   * Called right before the guest reads `length` bytes of shared memory at `spa`: other processors of the host run all
   * the time, and can change the bytes. An honest hypervisor does nothing. The processor does not exit for it. If it
   * throws, the caller of the read gets the error.
   */
  beforeSharedRead?(guest: GuestContext, spa: SysPhysAddr, length: number): void;
}
