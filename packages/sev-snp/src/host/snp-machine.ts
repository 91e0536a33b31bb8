import { type Bytes, PAGE_SIZE_2M, showInConsoles } from '@svsm/address';
import { type MachineEvent, requireEvent } from '../cpu/machine-event.ts';
import type { SnpPlatform } from '../cpu/platform.ts';
import { Firmware } from '../firmware/firmware.ts';
import { refuseArgument, requireFunction, requireInstance, requireInteger } from '../formats/arguments.ts';
import type { Assumptions } from '../formats/assumptions.ts';
import { requireOptions } from '../formats/options.ts';
import { sysPhysAddr, sysPhysRegion } from '../formats/sys-phys-addr.ts';
import { EncryptedMemory } from '../memory/encrypted-memory.ts';
import { Rmp } from '../rmp/rmp.ts';
import { Hypervisor } from './hypervisor.ts';

/** Options of a {@link SnpMachine}. */
export interface SnpMachineOptions {
  /** The size of system memory in bytes: a multiple of 2 MiB, at least 4 MiB. */
  readonly memorySize: Bytes;
  /** The number of bytes that the RMP covers, from address 0 on: all memory if not given. */
  readonly rmpCovers?: Bytes;
  /**
   * The position of the C-bit in guest page tables, 47 to 51: 51 if not given, as on EPYC of the second generation
   * and later.
   */
  readonly cBit?: number;
  /**
   * The number of bits by which encryption makes system-physical addresses narrower than 52, 0 to 20: 6 if not given,
   * as on Genoa (CPUID Fn8000_001F EBX[11:6]). Nested entries reserve these bits; guest-physical addresses keep their
   * width.
   */
  readonly addressReduction?: number;
  /** The seed of the keystream: another one gives other ciphertext. 0 if not given. */
  readonly seed?: number;
  /** Makes the hypervisor: `(machine) => new HostileHypervisor(machine)`. An honest `Hypervisor` if not given. */
  readonly hypervisor?: (machine: SnpMachine) => Hypervisor;
  /** Behaviours that no source settles. */
  readonly assumptions?: Partial<Assumptions>;
  /**
   * Called with each instruction and exit when it happens. It may do everything that a hypervisor may do, and read anything:
   * no access is between its check and its use then. If it throws, the caller of the instruction gets the error. What the
   * event reports has happened or, for `vmgexit` and `npf`, is about to happen and does not. The processor runs, or has
   * exited and can be run again.
   */
  readonly trace?: (event: MachineEvent) => void;
}

/**
 * A machine with SEV-SNP enabled: system memory behind an encryption engine, the RMP, and a hypervisor, which launches
 * guests.
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { pageStateOf, SnpMachine } from '@svsm/sev-snp';
 *
 * const { hypervisor, rmp } = new SnpMachine({ memorySize: 32 << 20 });
 * const guest = hypervisor.launch({ size: 8 << 20 });
 * const nested = guest.nested.lookup(physAddr(0x5000));
 * if (nested !== undefined) console.log(pageStateOf(rmp.entry(nested.spa))); // => GUEST-VALID
 * ```
 */
export class SnpMachine implements SnpPlatform {
  static {
    showInConsoles(this, 'SnpMachine', ({ memory, rmp, cBit, hostPhysicalBits, maxGuests }) => ({
      memory,
      rmp,
      cBit,
      hostPhysicalBits,
      maxGuests,
    }));
  }

  readonly memory: EncryptedMemory;
  readonly rmp: Rmp;
  readonly firmware: Firmware;
  readonly hypervisor: Hypervisor;
  /** The position of the C-bit in guest page tables. */
  readonly cBit: number;
  readonly hostPhysicalBits: number;
  /** ASIDs have 10 bits in the RMP; 0 is not a guest, and 0x3ff is a lock of the firmware. */
  readonly maxGuests: number = 0x3fe;
  readonly #trace: ((event: MachineEvent) => void) | undefined;

  /**
   * A machine without guests. O(1), whatever its size: memory and RMP are sparse.
   *
   * @throws SnpError `INVALID_ARGUMENT`, also if `hypervisor` returns something else; `INVALID_RMP_RANGE`
   */
  constructor(options: SnpMachineOptions) {
    requireOptions('options', options, OPTIONS);
    const { memorySize, rmpCovers = memorySize, cBit = 51, seed = 0, addressReduction = 6 } = options;
    const { assumptions = {}, hypervisor = (machine) => new Hypervisor(machine), trace } = options;
    requireInteger('the C-bit', cBit, 47, 51);
    requireInteger('the address reduction', addressReduction, 0, 20);
    requireFunction('hypervisor', hypervisor);
    if (trace !== undefined) requireFunction('trace', trace);
    this.cBit = cBit;
    this.hostPhysicalBits = 52 - addressReduction;
    this.memory = new EncryptedMemory(memorySize, seed);
    const isWhole = this.memory.size >= 2 * PAGE_SIZE_2M && this.memory.size % BigInt(PAGE_SIZE_2M) === 0n;
    if (!isWhole || this.memory.size > 1n << BigInt(this.hostPhysicalBits)) {
      const expected = `pass a multiple of 2 MiB, from 4 MiB to 2^${this.hostPhysicalBits}`;
      refuseArgument('the memory size', this.memory.size, expected);
    }
    this.rmp = new Rmp(sysPhysRegion(sysPhysAddr(0), rmpCovers), { assumptions });
    this.firmware = new Firmware({ rmp: this.rmp, memory: this.memory }, this.maxGuests);
    this.#trace = trace;
    this.hypervisor = hypervisor(this);
    requireInstance(
      'the result of hypervisor',
      this.hypervisor,
      Hypervisor,
      'a function that returns a Hypervisor',
    );
  }

  /**
   * Reports an event to the `trace` option. Processors and hypervisors call it.
   *
   * @throws SnpError `INVALID_ARGUMENT` if it is not an event; the errors of `trace`
   */
  trace(event: MachineEvent): void {
    requireEvent(event);
    this.#trace?.(event);
  }
}

const OPTIONS: readonly (keyof SnpMachineOptions)[] = [
  'memorySize',
  'rmpCovers',
  'cBit',
  'addressReduction',
  'seed',
  'hypervisor',
  'assumptions',
  'trace',
];
