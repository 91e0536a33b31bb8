import type { PhysAddr } from '@svsm/address';
import type { Source } from './source.ts';

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

/** An opened dump: physical memory, and the registers of the processors. */
export interface Dump {
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
  /** The memory in the dump, ascending; `undefined` if the dump has page tables only. */
  readonly memory?: Iterable<{ start: PhysAddr; end: bigint; offset: number }>;
  /** Reads the frame at `frame` × 4096. Returns whether it exists. */
  readFrame(frame: number, bytes: Uint8Array): boolean;
  /** The place of the byte at `paddr` in the file; `undefined` if the file does not have it. */
  offsetOf(paddr: PhysAddr): number | undefined;
}
