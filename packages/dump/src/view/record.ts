import type { PageSize, PhysAddr } from '@svsm/address';
import type { MemoryEncryption } from '@svsm/pagetable';
import type { BackingFacts, Mismatch, RmpFacts } from '../backing/backing.ts';
import type { Notice } from '../source/notices.ts';
import type { LayoutRegion, RegionName } from './linux-layout.ts';

/** The rights that all levels leave for a page, and its physical address. */
export interface PageFacts {
  readonly paddr: PhysAddr;
  readonly pageSize: PageSize;
  readonly user: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  /** `null` if memory encryption is not configured. */
  readonly shared: boolean | null;
}

/** The dump and its page table: the first record of all commands except `info`. */
export interface DumpRecord {
  readonly type: 'dump';
  readonly file: string;
  readonly kind: string;
  readonly cpu: number;
  readonly cpus: number;
  readonly cr3: bigint;
  readonly cr4: bigint | null;
  readonly levels: 4 | 5;
  readonly physicalBits: number;
  readonly noExecute: boolean;
  readonly vendor: 'amd' | 'intel';
  readonly encryption: MemoryEncryption | null;
}

/** A run of pages that are contiguous in virtual and in physical memory, and equal in size, rights and visibility. */
export interface RunRecord extends PageFacts {
  readonly type: 'run';
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  readonly size: bigint;
  /** The region of Linux that has its first address, if names are asked for; `null` if none has. */
  readonly region?: RegionName | null;
  /** The layers below, if the view has a nested page table or an RMP. A run then ends where it differs. */
  readonly backing?: BackingFacts;
}

/** One page. */
export interface LeafRecord extends PageFacts {
  readonly type: 'leaf';
  readonly start: bigint;
  /** The flags of the leaf entry only, as `PteFlags`. JSON has the names of the set bits instead, as `bits`. */
  readonly flags: number;
  /** The region of Linux that has it, if names are asked for; `null` if none has. */
  readonly region?: RegionName | null;
  /** The layers below each part of the page, if the view has a nested page table or an RMP. */
  readonly backings?: readonly BackingFacts[];
}

/** A place where the walk could not go on. */
export interface FaultRecord {
  readonly type: 'fault';
  readonly fault: 'reserved-bits' | 'bus-error';
  readonly file: string;
  /** The first virtual address that is missing because of it. */
  readonly start: bigint;
  /** The level of the corrupted entry, or of the table outside memory. */
  readonly level: number;
  /** The physical address of the corrupted entry, or of the table outside memory. */
  readonly paddr: bigint;
  readonly entry: bigint | null;
  readonly reserved: bigint | null;
}

/** Something that is wrong with a dump as a whole, or with the way in which it is read. */
export interface WarningRecord extends Notice {
  readonly type: 'warning';
  readonly file: string;
}

/** The end of a listing. A listing without this record is not complete. */
export interface EndRecord {
  readonly type: 'end';
  readonly count: number;
  readonly what: string;
  readonly bytes: bigint | null;
  readonly faults: number;
}

/** Why an address has no translation. */
export type Obstacle = 'not-mapped' | 'not-canonical' | 'reserved-bits' | 'bus-error';

/** The translation of one virtual address, or the obstacle. */
export interface TranslationRecord {
  readonly type: 'translation';
  readonly vaddr: bigint;
  readonly page: PageFacts | null;
  /** The physical address of `vaddr` itself. */
  readonly paddr: bigint | null;
  /** The place of that byte in the file. */
  readonly fileOffset: number | null;
  readonly obstacle: Obstacle | null;
  /** The level at which the walk ended. */
  readonly level: number | null;
  /** The layers below the 4 KiB with that byte, if the view has a nested page table or an RMP. */
  readonly backing?: BackingFacts;
}

/** The entry that a walk reads at one level. */
export interface StepRecord {
  readonly level: number;
  readonly table: bigint;
  readonly index: number;
  readonly entryAddress: bigint;
  readonly entry: bigint;
  readonly present: boolean;
  readonly leaf: boolean;
  /** The table or page that it points to; `null` if it is not present. */
  readonly address: bigint | null;
  /** Every bit that has a name at this level, and whether it is set. */
  readonly bits: Readonly<Record<string, boolean>>;
  /** The protection key of a leaf. */
  readonly protectionKey: number | null;
  readonly reserved: bigint;
}

/** The walk of one virtual address, from the top table to the page or the obstacle. */
export interface WalkRecord {
  readonly type: 'walk';
  readonly vaddr: bigint;
  readonly steps: readonly StepRecord[];
  readonly result: TranslationRecord;
}

/** A difference between two dumps in one region of virtual memory. */
export interface ChangeRecord {
  readonly type: 'change';
  readonly start: bigint;
  readonly end: bigint;
  readonly size: bigint;
  /** The first of these that applies. `'backing'`: the mapping is the same, but not the RMP entry, or the system-physical address. */
  readonly change: 'mapped' | 'unmapped' | 'remapped' | 'rights' | 'visibility' | 'page-size' | 'backing';
  readonly before: ChangeSide | null;
  readonly after: ChangeSide | null;
}

/** The mapping of a region in one of two dumps. */
export interface ChangeSide extends PageFacts {
  /** The layers below, if the view has an RMP. */
  readonly backing?: BackingFacts;
}

/** The total of all pages with one size, the same rights and the same visibility. */
export interface SummaryRow extends Omit<PageFacts, 'paddr'> {
  readonly pages: number;
  readonly bytes: bigint;
}

/** Mappings that a sound system does not have, or that deserve a look. */
export interface SummaryWarning {
  readonly warning:
    | 'writable-executable'
    | 'user-in-upper-half'
    | 'supervisor-in-lower-half'
    | 'self-mapped'
    | Mismatch;
  readonly pages: number;
  readonly bytes: bigint;
  /** The first few regions. */
  readonly examples: readonly { readonly start: bigint; readonly end: bigint }[];
}

/** The totals of a page table. */
export interface SummaryRecord {
  readonly type: 'summary';
  readonly tables: number;
  readonly pages: number;
  readonly bytes: bigint;
  readonly rows: readonly SummaryRow[];
  readonly warnings: readonly SummaryWarning[];
}

/** A virtual address at which a physical address appears. */
export interface AppearanceRecord {
  readonly type: 'appearance';
  readonly paddr: bigint;
  /** The virtual address of that byte. */
  readonly vaddr: bigint;
  /** The page that has it. */
  readonly page: PageFacts;
  /** The physical addresses of the top tables with this mapping. */
  readonly roots: readonly bigint[];
  /** The layers below the 4 KiB with that byte, if the view has a nested page table or an RMP. */
  readonly backing?: BackingFacts;
}

/**
 * Something that a sound system does not have.
 *
 * - `writable-executable`: pages that are writable and executable
 * - `user-in-upper-half`: pages of the kernel's half that user mode can access
 * - `shared-executable`: code in memory that the hypervisor can change
 * - `user-maps-table`: a page table that user mode can access
 * - `executable-table`: a page table that can be executed
 * - `table-aliases`: a page table that is writable at several addresses
 * - `shared-table`: a page table in memory that the hypervisor can change
 * - `table-not-private`: a page table of a guest that is not in validated private memory of its own, by the RMP
 *
 * With a nested page table or an RMP, each {@link Mismatch} too.
 */
export type Finding =
  | 'writable-executable'
  | 'user-in-upper-half'
  | 'shared-executable'
  | 'user-maps-table'
  | 'executable-table'
  | 'table-aliases'
  | 'shared-table'
  | 'table-not-private'
  | Mismatch;

/** A place with a {@link Finding}. */
export interface FindingRecord extends PageFacts {
  readonly type: 'finding';
  readonly finding: Finding;
  /** `null` for a page table that no page maps. */
  readonly start: bigint | null;
  /** Exclusive. */
  readonly end: bigint | null;
  readonly size: bigint;
}

/** Consecutive pages of system memory with the same state in the RMP. Their guest-physical addresses follow each other. */
export interface RmpRecord extends RmpFacts {
  readonly type: 'rmp';
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  readonly size: bigint;
}

/** A region of virtual memory of Linux. */
export interface RegionRecord extends LayoutRegion {
  readonly type: 'region';
  /** The number of bytes that are mapped in it. */
  readonly mapped: bigint;
  /** For `text`, the distance by which it was moved at random, if the dump has it. */
  readonly kernelOffset?: bigint;
  /** For `text`, the address of the first instruction, if the dump has it. */
  readonly textStart?: bigint;
}

/** Bytes at a virtual address, in one page. JSON has them in hexadecimal. */
export interface ContentRecord {
  readonly type: 'content';
  readonly vaddr: bigint;
  readonly paddr: bigint;
  readonly bytes: Uint8Array;
}

/** Virtual addresses without bytes. */
export interface GapRecord {
  readonly type: 'gap';
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  /** `'not-in-dump'`: mapped, but the dump does not have the memory. */
  readonly obstacle: Obstacle | 'not-in-dump';
}

/** A place of a pattern. */
export interface MatchRecord extends Omit<PageFacts, 'paddr'> {
  readonly type: 'match';
  readonly vaddr: bigint;
  /** The number of bytes of the pattern. */
  readonly size: number;
  /** The physical address of its first byte, whose page the rights are of. */
  readonly paddr: bigint;
  /** The layers below the 4 KiB with its first byte, if the view has a nested page table or an RMP. */
  readonly backing?: BackingFacts;
}

/** A frame that is, by its content, the top table of a page table. */
export interface RootRecord {
  readonly type: 'root';
  /** The physical address of the table: CR3 without its low bits. */
  readonly cr3: bigint;
  readonly levels: 4 | 5;
  /** 0 to 100. */
  readonly score: number;
  /** The number of present entries for the lower half of the addresses, which is that of user mode. */
  readonly lowerEntries: number;
  readonly upperEntries: number;
  /** Whether the table maps its own frame, as kernels do to change it. */
  readonly mapsItself: boolean;
  /** Whether another root has the same upper half, as those of all processes have. */
  readonly isShared: boolean;
  /** Whether VMCOREINFO names it. */
  readonly isKernel: boolean;
  /** The processors whose CR3 leads to it. */
  readonly cpus: readonly number[];
}

/** The dump as a file. */
export interface FileRecord {
  readonly type: 'file';
  readonly file: string;
  readonly kind: string;
  readonly size: number;
  readonly cpus: number;
}

/** A processor of the dump, with the registers that the dump has. */
export interface CpuRecord {
  readonly type: 'cpu';
  readonly cpu: number;
  readonly registers: Readonly<Record<string, bigint>>;
  readonly cpl: number | null;
}

/** A range of physical memory that the dump has. */
export interface MemoryRecord {
  readonly type: 'memory';
  readonly start: bigint;
  readonly end: bigint;
  readonly size: bigint;
  /** `null` if the memory is zero without a place in the file, or compressed. */
  readonly fileOffset: number | null;
  readonly isZero: boolean;
}

/** The records of all commands. In JSON, each is one line. */
export type ReportRecord =
  | DumpRecord
  | RunRecord
  | LeafRecord
  | FaultRecord
  | WarningRecord
  | EndRecord
  | TranslationRecord
  | WalkRecord
  | ChangeRecord
  | SummaryRecord
  | FileRecord
  | RootRecord
  | AppearanceRecord
  | FindingRecord
  | ContentRecord
  | GapRecord
  | MatchRecord
  | RegionRecord
  | RmpRecord
  | CpuRecord
  | MemoryRecord;
