import type { PhysAddr } from '@svsm/address';
import type { Source } from './source.ts';

/** What a dump knows of one processor. */
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

/** An opened dump: physical memory, and what is known of the processors. */
export interface Dump {
  /** What kind of file it is, for people. */
  readonly kind: string;
  readonly source: Source;
  readonly cpus: readonly DumpCpu[];
  /** MAXPHYADDR of the processors, where the dump tells. */
  readonly physicalBits?: number;
  /** Levels of the tables, where the dump tells them without CR4. */
  readonly levels?: 4 | 5;
  /** CPUID Fn8000_0001 EDX[26], where the dump tells. */
  readonly giantPages?: boolean;
  /** The memory that it holds, ascending; `undefined` where it holds page tables alone. */
  readonly memory?: Iterable<{ start: PhysAddr; end: bigint; offset: number }>;
  /** Reads the frame at `frame` × 4096. Returns whether there is one. */
  readFrame(frame: number, bytes: Uint8Array): boolean;
  /** Where the file holds the byte at `paddr`, if it does. */
  offsetOf(paddr: PhysAddr): number | undefined;
}
