import type { PhysAddr } from '@svsm/address';
import type { Notices } from '../source/notices.ts';
import type { Source } from '../source/source.ts';
import type { MemoryRange } from './segments.ts';

/** The registers of one processor, as far as the dump has them. */
export interface DumpCpu {
  readonly cr3: bigint;
  readonly cr0?: bigint;
  readonly cr2?: bigint;
  readonly cr4?: bigint;
  readonly efer?: bigint;
  readonly rip?: bigint;
  readonly rsp?: bigint;
  readonly cpl?: number;
}

/** The facts about page tables that a kernel notes in its dump, as far as it does. */
export interface KernelFacts {
  /** The physical address of the kernel's own top table. */
  readonly cr3?: bigint;
  readonly levels?: 4 | 5;
  readonly cBit?: number;
  /** The distance by which the text of the kernel was moved at random (KASLR). */
  readonly kernelOffset?: bigint;
  /** The virtual address of its first instruction (`_stext`). */
  readonly textStart?: bigint;
  /** The bytes of virtual memory for the kernel's text; modules follow. */
  readonly imageSize?: bigint;
  /** The virtual address of physical address 0 in the direct map, by the headers of the file. */
  readonly directMap?: bigint;
  /** The release, as of `uname -r`. Untrusted text. */
  readonly release?: string;
}

/** An opened dump: physical memory, and the registers of the processors. */
export interface Dump {
  /** The name of the file, with which messages begin. Untrusted text. */
  readonly name: string;
  /** The kind of file, in words. */
  readonly kind: string;
  readonly source: Source;
  readonly cpus: readonly DumpCpu[];
  /** MAXPHYADDR of the processors, if the dump has it. */
  readonly physicalBits?: number;
  /** The levels of the tables, if the dump has them apart from CR4. */
  readonly levels?: 4 | 5;
  /** CPUID Fn8000_0001 EDX[26], if the dump has it. */
  readonly giantPages?: boolean;
  /** Whether the place of its memory is a guess, or was given by hand. */
  readonly isRaw?: boolean;
  /** Whether the image may have a hole below 4 GiB that nobody has named. */
  readonly isLayoutOpen?: boolean;
  /** The facts that the kernel of the dump notes about itself. */
  readonly kernel?: KernelFacts;
  /** The memory in the dump, ascending; `undefined` if the dump has page tables only. */
  readonly memory?: Iterable<MemoryRange>;
  /** Problems that are found while the dump is read. */
  readonly notices?: Notices;
  /** Reads the frame at `frame` × 4096. Returns whether it exists. */
  readFrame(frame: number, bytes: Uint8Array): boolean;
  /** The place of the byte at `paddr` in the file; `undefined` if the file does not have it. */
  offsetOf(paddr: PhysAddr): number | undefined;
}

/** A dump as its format describes it. */
export type DumpContent = Omit<Dump, 'name'>;
