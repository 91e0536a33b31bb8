import { PAGE_SIZE, PageSize, type PhysAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import type { Vcpu } from '../cpu/vcpu.ts';
import { VmExit } from '../cpu/vmrun.ts';
import type { Assumptions } from '../formats/assumptions.ts';
import { bytesOfInteger, integerOf } from '../formats/byte-fields.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import {
  decodeSvsmListEntry,
  decodeSvsmListHeader,
  SVSM_LIST_ENTRY_SIZE,
  SvsmCall,
  type SvsmListEntry,
  type SvsmRegisters,
  SvsmResult,
  svsmEntrySize,
} from '../formats/svsm-protocol.ts';
import { type Vmpl, VmplPermission } from '../formats/vmpl.ts';
import { EFER_SVME, readVmsa, VMSA_FIELDS, writeVmsa } from '../formats/vmsa.ts';
import { pageRegion, type ValidatedPages } from '../guest/validated-pages.ts';
import { SvsmMemory, type SvsmMemoryOptions, SvsmRefusal } from './svsm-memory.ts';
import { configureVtom, type VtomRange } from './svsm-vtom.ts';

/** Options of a {@link SvsmCore}. */
export interface SvsmCoreOptions extends SvsmMemoryOptions {
  /** SEV_FEATURES of the boot processor, which every VMSA has to have: only SNP active if not given. */
  readonly sevFeatures?: bigint;
  /** The virtual tops of memory that CONFIGURE_VTOM accepts. If not given, the SVSM offers none. */
  readonly vtom?: VtomRange;
  /** The number of list entries that one call processes; the guest calls again for the rest. Unlimited if not given. */
  readonly entriesPerCall?: number;
  /** Whether a VMSA runs at the moment and so cannot be deleted. If not given, the machine decides. */
  readonly isRunning?: (vmsa: PhysAddr) => boolean;
}

/** A processor that may call: its calling area and its VMSA. */
interface Caller {
  readonly caa: PhysAddr;
  readonly vmsa: PhysAddr | undefined;
}

/** A processor that the SVSM has created for the guest. */
export interface SvsmVcpu {
  readonly vmsa: PhysAddr;
  readonly caa: PhysAddr;
  readonly vmpl: number;
  readonly apicId: number;
}

/**
 * The SVSM's side of the core protocol (AMD document 58019, §4 to §6.8): all eight calls, for callers at VMPL1 to VMPL3.
 *
 * Whatever registers and lists a guest passes, a call ends with a result. It does not throw, does not read outside of the
 * page in which a list begins, and accesses only pages of the guest. Headers and entries are read once.
 */
export class SvsmCore {
  readonly #memory: SvsmMemory;
  readonly #options: SvsmCoreOptions;
  /** The registered processors. */
  readonly #callers: Map<object, Caller> = new Map();
  readonly #vcpus: Map<PhysAddr, SvsmVcpu> = new Map();
  /** The VMSA of the caller while its call is processed. */
  #claimedVmsa: Uint8Array | undefined;
  /** The deposited pages of 4 KiB. */
  readonly #deposits: PhysAddr[] = [];

  /** @throws SnpError `INVALID_ARGUMENT` */
  constructor(options: SvsmCoreOptions) {
    this.#options = options;
    this.#memory = new SvsmMemory(options);
  }

  get #assumptions(): Assumptions {
    return this.#options.vcpu.guest.machine.rmp.assumptions;
  }

  /** The SVSM's record of validated pages. */
  get validated(): ValidatedPages {
    return this.#memory.validated;
  }

  /** The processors that CREATE_VCPU has made. */
  get vcpus(): readonly SvsmVcpu[] {
    return [...this.#vcpus.values()];
  }

  /**
   * Lets `vcpu` call, through the calling area at `caa`. Processors that CREATE_VCPU has made need no registration.
   *
   * @param vmsa - the address of its VMSA, if it has one: arguments and results are there, and EFER.SVME is cleared
   *   during a call
   */
  register(vcpu: Vcpu, caa: PhysAddr, vmsa?: PhysAddr): void {
    this.#callers.set(vcpu, { caa, vmsa });
  }

  /** The calling area of `vcpu`. */
  callingArea(vcpu: Vcpu): PhysAddr | undefined {
    return this.#callerOf(vcpu)?.caa;
  }

  /**
   * Enters the SVSM on behalf of `vcpu`. If the processor has a pending call, the call is processed and changes its
   * registers. Else nothing happens: the hypervisor can enter the SVSM at any time.
   *
   * @returns whether a call was processed
   */
  enter(vcpu: Vcpu): boolean {
    const caller = this.#callerOf(vcpu);
    if (caller === undefined) return false;
    if (caller.vmsa === undefined) return this.#callPending(vcpu, vcpu.registers);
    const image = this.#claimVmsa(caller.vmsa);
    if (image === undefined) return false;
    // A processor that has exited for another reason continues as if nothing had happened.
    const isCall = readVmsa(image, 'exitCode') === VmExit.Vmgexit;
    const registers = { ...registersOf(image) };
    this.#claimedVmsa = image;
    const hasRun = isCall && this.#callPending(vcpu, registers);
    this.#claimedVmsa = undefined;
    if (hasRun) for (const name of REGISTERS) writeVmsa(image, name, BigInt.asUintN(64, registers[name]));
    this.#releaseVmsa(vcpu, caller.vmsa, image, hasRun);
    return hasRun;
  }

  /** Processes the pending call of `vcpu`, if it has one. Returns whether it has. */
  #callPending(vcpu: Vcpu, registers: SvsmRegisters): boolean {
    const caa = this.#callerOf(vcpu)?.caa as PhysAddr;
    const isPending = unlessRefused(() => this.#memory.read(caa, 1)[0]) === 1;
    if (!isPending) return false;
    this.call(vcpu, registers);
    // The call can have moved the calling area, or removed it.
    const area = this.#callerOf(vcpu)?.caa;
    if (area !== undefined) unlessRefused(() => this.#memory.write(area, new Uint8Array(1)));
    return true;
  }

  /** Clears EFER.SVME in a VMSA, so that it cannot be run, and then reads it (AMD document 58019, §5). */
  #claimVmsa(vmsa: PhysAddr): Uint8Array | undefined {
    return unlessRefused(() => {
      this.#writeSvme(vmsa, false);
      return this.#memory.read(vmsa, PAGE_SIZE);
    });
  }

  /** Writes the registers back to a VMSA, if they have changed, and sets EFER.SVME last. */
  #releaseVmsa(vcpu: Vcpu, vmsa: PhysAddr, image: Uint8Array, hasChanged: boolean): void {
    // The call can have deleted the VMSA: then it is an ordinary page.
    if (this.#callerOf(vcpu) === undefined) return;
    unlessRefused(() => {
      if (hasChanged) this.#memory.write(vmsa, image);
      this.#writeSvme(vmsa, true);
    });
  }

  #writeSvme(vmsa: PhysAddr, isSet: boolean): void {
    const [offset, size] = VMSA_FIELDS.efer;
    const at = vmsa + BigInt(offset);
    const efer = integerOf(this.#memory.read(at, size));
    this.#memory.write(at, bytesOfInteger(isSet ? efer | EFER_SVME : efer & ~EFER_SVME, size));
  }

  #callerOf(vcpu: Vcpu): Caller | undefined {
    const registered = this.#callers.get(vcpu);
    if (registered !== undefined) return registered;
    const made = vcpu.vmsa === undefined ? undefined : this.#vcpus.get(vcpu.vmsa.gpa);
    return made?.vmpl === vcpu.vmpl ? made : undefined;
  }

  /** Processes a call of `vcpu`. RAX is the call, the other registers are its arguments. Results replace them. */
  call(vcpu: Vcpu, registers: SvsmRegisters): void {
    const protocol = BigInt.asUintN(32, registers.rax >> 32n);
    let result: number = SvsmResult.UnsupportedProtocol;
    if (protocol === 0n) {
      try {
        result = this.#dispatch(vcpu, Number(BigInt.asUintN(32, registers.rax)), registers);
      } catch (error) {
        if (!(error instanceof SvsmRefusal)) throw error;
        result = error.result;
      }
    }
    registers.rax = BigInt(result);
  }

  #dispatch(vcpu: Vcpu, call: number, registers: SvsmRegisters): number {
    const { rcx, rdx, r8 } = registers;
    switch (call) {
      case SvsmCall.RemapCa:
        return this.#remapCa(vcpu, rcx);
      case SvsmCall.Pvalidate:
        return this.#eachEntry(rcx, (entry) => this.#pvalidateEntry(entry, vcpu.vmpl));
      case SvsmCall.CreateVcpu:
        return this.#createVcpu(vcpu.vmpl, rcx, rdx, Number(BigInt.asUintN(32, r8)));
      case SvsmCall.DeleteVcpu:
        return this.#deleteVcpu(vcpu.vmpl, rcx);
      case SvsmCall.DepositMem:
        return this.#eachEntry(rcx, (entry) => this.#depositEntry(entry));
      case SvsmCall.WithdrawMem:
        return this.#withdraw(rcx, vcpu.vmpl);
      case SvsmCall.QueryProtocol: {
        // Protocol 0, versions 1 to 1.
        registers.rcx = rcx >> 32n === 0n && BigInt.asUintN(32, rcx) === 1n ? 0x1_0000_0001n : 0n;
        return SvsmResult.Success;
      }
      case SvsmCall.ConfigureVtom:
        return configureVtom(
          registers,
          this.#options.vtom,
          this.#claimedVmsa,
          this.#assumptions.svsmVtomMinimum,
        );
      default:
        return SvsmResult.UnsupportedCall;
    }
  }

  #remapCa(vcpu: Vcpu, rcx: bigint): number {
    requireAligned(rcx, PAGE_SIZE);
    this.#memory.requireGuest(rcx, PAGE_SIZE);
    const caller = this.#callerOf(vcpu);
    const old = caller?.caa;
    if (old === rcx) return SvsmResult.Success;
    if (this.#isCallingArea(rcx, PAGE_SIZE)) return SvsmResult.InvalidAddress;
    this.#memory.write(rcx, new Uint8Array(1));
    if (old !== undefined) unlessRefused(() => this.#memory.write(old, new Uint8Array(1)));
    this.#callers.set(vcpu, { caa: rcx as PhysAddr, vmsa: caller?.vmsa });
    return SvsmResult.Success;
  }

  /** Processes the entries of a list from `next` on. Afterwards `next` has the progress, also after a refusal. */
  #eachEntry(list: bigint, process: (entry: SvsmListEntry) => void): number {
    requireAligned(list, SVSM_LIST_ENTRY_SIZE);
    this.#memory.requireGuest(list, SVSM_LIST_ENTRY_SIZE);
    const header = decodeSvsmListHeader(this.#memory.read(list, SVSM_LIST_ENTRY_SIZE));
    const room = PAGE_SIZE - Number(list % BigInt(PAGE_SIZE)) - SVSM_LIST_ENTRY_SIZE;
    const max = room / SVSM_LIST_ENTRY_SIZE;
    const { count } = header;
    if (count === 0 || count > max || header.next >= count)
      throw new SvsmRefusal(SvsmResult.InvalidParameter);
    const end = Math.min(count, header.next + (this.#options.entriesPerCall ?? count));
    let next = header.next;
    try {
      for (; next < end; next += 1) {
        const at = list + BigInt(SVSM_LIST_ENTRY_SIZE * (next + 1));
        process(decodeSvsmListEntry(this.#memory.read(at, SVSM_LIST_ENTRY_SIZE)));
      }
    } finally {
      // The list can have taken away the page in which it lies.
      unlessRefused(() => this.#memory.write(list + 2n, Uint8Array.of(next & 0xff, next >> 8)));
    }
    return next === count ? SvsmResult.Success : SvsmResult.Incomplete;
  }

  #pvalidateEntry(entry: SvsmListEntry, vmpl: Vmpl): void {
    const { gpa, validate, ignoreUnchanged } = entry;
    const size = requireSize(entry);
    if (entry.reserved !== 0) throw new SvsmRefusal(SvsmResult.InvalidParameter);
    this.#memory.requireGuest(gpa, size);
    if (validate) this.#memory.validate(gpa, size, vmpl, ignoreUnchanged);
    else this.#memory.rescind(gpa, size, ignoreUnchanged);
  }

  #depositEntry(entry: SvsmListEntry): void {
    const { gpa, validate, ignoreUnchanged, reserved } = entry;
    const size = requireSize(entry);
    if (reserved !== 0 || validate || ignoreUnchanged) throw new SvsmRefusal(SvsmResult.InvalidParameter);
    this.#memory.requireGuest(gpa, size);
    if (this.#isCallingArea(gpa, size)) throw new SvsmRefusal(SvsmResult.InvalidAddress);
    this.#memory.revoke(gpa, size);
    this.#memory.take(gpa, size);
    this.#deposits.push(...pageRegion(gpa, size).iterPages(PageSize.Regular));
  }

  #withdraw(buffer: bigint, vmpl: Vmpl): number {
    requireAligned(buffer, 8);
    const room = PAGE_SIZE - Number(buffer % BigInt(PAGE_SIZE)) - 8;
    if (room === 0) throw new SvsmRefusal(SvsmResult.InvalidParameter);
    this.#memory.requireGuest(buffer, 8 + room);
    const pages = this.#deposits.slice(0, room / 8);
    const words = new BigUint64Array(1 + pages.length);
    words[0] = BigInt(pages.length);
    words.set(pages, 1);
    // This can fail, so it comes first: nothing is lost then.
    this.#memory.write(buffer, new Uint8Array(words.buffer));
    for (const gpa of pages) {
      this.#memory.write(gpa, new Uint8Array(PAGE_SIZE));
      this.#memory.grant(gpa, PageSize.Regular, vmpl);
      this.#memory.release(gpa, PageSize.Regular);
      this.#deposits.shift();
    }
    return SvsmResult.Success;
  }

  #createVcpu(caller: Vmpl, vmsa: bigint, caa: bigint, apicId: number): number {
    requireAligned(vmsa, PAGE_SIZE);
    requireAligned(caa, PAGE_SIZE);
    for (const page of [vmsa, caa]) {
      this.#memory.requireGuest(page, PAGE_SIZE);
      if (this.#isCallingArea(page, PAGE_SIZE)) throw new SvsmRefusal(SvsmResult.InvalidAddress);
    }
    if (vmsa === caa) throw new SvsmRefusal(SvsmResult.InvalidAddress);
    const at = vmsa as PhysAddr;
    // First nobody can change the page any more, then it is read.
    this.#memory.revoke(at, PageSize.Regular);
    const image = this.#memory.read(at, PAGE_SIZE);
    const vmpl = Number(readVmsa(image, 'vmpl'));
    const isLevel = this.#assumptions.svsmVmsaLevels === 'own' ? vmpl === caller : vmpl >= caller;
    const isFit =
      vmpl !== 0 &&
      isLevel &&
      (readVmsa(image, 'efer') & EFER_SVME) !== 0n &&
      readVmsa(image, 'sevFeatures') === (this.#options.sevFeatures ?? 1n);
    if (!isFit) {
      this.#memory.grant(at, PageSize.Regular, caller);
      throw new SvsmRefusal(SvsmResult.InvalidParameter);
    }
    // VMPL1 as the target, as EDK2 and Linux do it: only VMPL0 sets the VMSA bit (AMD64 APM vol. 2, §15.36.12), and an
    // SVSM that does not run there gets FAIL_PERMISSION.
    this.#memory.adjust(at, PageSize.Regular, 1, VmplPermission.None, true);
    this.#memory.take(at, PageSize.Regular);
    this.#vcpus.set(at, { vmsa: at, caa: caa as PhysAddr, vmpl, apicId });
    return SvsmResult.Success;
  }

  #deleteVcpu(caller: Vmpl, vmsa: bigint): number {
    const held = this.#vcpus.get(vmsa as PhysAddr);
    if (held === undefined || held.vmpl < caller) throw new SvsmRefusal(SvsmResult.InvalidParameter);
    if (this.#isRunning(held.vmsa)) throw new SvsmRefusal(SvsmResult.InstructionFailed + 3);
    const image = this.#memory.read(vmsa, PAGE_SIZE);
    writeVmsa(image, 'efer', readVmsa(image, 'efer') & ~EFER_SVME);
    this.#memory.write(vmsa, image);
    this.#memory.adjust(held.vmsa, PageSize.Regular, 1, VmplPermission.None, false);
    this.#memory.grant(held.vmsa, PageSize.Regular, caller);
    this.#memory.release(held.vmsa, PageSize.Regular);
    this.#vcpus.delete(held.vmsa);
    return SvsmResult.Success;
  }

  #isRunning(vmsa: PhysAddr): boolean {
    const { isRunning, vcpu } = this.#options;
    if (isRunning !== undefined) return isRunning(vmsa);
    const spa = vcpu.guest.nested.lookup(vmsa)?.spa;
    return spa !== undefined && vcpu.guest.machine.rmp.isInUse(spa, PageSize.Regular);
  }

  #isCallingArea(gpa: bigint, bytes: number): boolean {
    const region = physRegion(gpa as PhysAddr, bytes);
    const areas = [...this.#callers.values(), ...this.#vcpus.values()].map(({ caa }) => caa);
    return areas.some((area) => region.contains(area));
  }
}

const REGISTERS = ['rax', 'rcx', 'rdx', 'r8', 'r9'] as const;

function registersOf(vmsa: Uint8Array): SvsmRegisters {
  const entries = REGISTERS.map((name) => [name, readVmsa(vmsa, name)]);
  return Object.fromEntries(entries) as unknown as SvsmRegisters;
}

/** The size of an entry. @throws SvsmRefusal InvalidParameter for an unknown size or a misaligned address */
function requireSize(entry: SvsmListEntry): RmpPageSize {
  const size = svsmEntrySize(entry);
  if (size === undefined) throw new SvsmRefusal(SvsmResult.InvalidParameter);
  requireAligned(entry.gpa, size);
  return size;
}

function requireAligned(gpa: bigint, alignment: number): void {
  if (gpa % BigInt(alignment) !== 0n) throw new SvsmRefusal(SvsmResult.InvalidParameter);
}

/** The result of `access`, or `undefined` if it is refused. */
function unlessRefused<T>(access: () => T): T | undefined {
  try {
    return access();
  } catch (error) {
    if (error instanceof SvsmRefusal) return undefined;
    throw error;
  }
}
