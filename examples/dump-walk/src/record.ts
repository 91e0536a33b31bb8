import type { PageSize, PhysAddr } from '@svsm/address';
import type { MemoryEncryption } from '@svsm/pagetable';

/** What any access to a page may do, after all levels; and what it is mapped to. */
export interface PageFacts {
  readonly paddr: PhysAddr;
  readonly pageSize: PageSize;
  readonly user: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
  /** `null` if memory encryption was not told. */
  readonly shared: boolean | null;
}

/** Which dump, and which page table of it: the first record of all commands but `info`. */
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

/** A run of pages that follow one another in both memories, alike in all else. */
export interface RunRecord extends PageFacts {
  readonly type: 'run';
  readonly start: bigint;
  /** Exclusive. */
  readonly end: bigint;
  readonly size: bigint;
}

/** One page. */
export interface LeafRecord extends PageFacts {
  readonly type: 'leaf';
  readonly start: bigint;
  /** Of the leaf entry alone, as `PteFlags` has them. JSON has the names of those that are set, as `bits`. */
  readonly flags: number;
}

/** A place where a table could not be followed. */
export interface FaultRecord {
  readonly type: 'fault';
  readonly fault: 'reserved-bits' | 'bus-error';
  readonly file: string;
  /** The first virtual address that is left out because of it. */
  readonly start: bigint;
  /** Of the corrupted entry, or of the table outside memory. */
  readonly level: number;
  /** Of the corrupted entry, or of the table outside memory. */
  readonly paddr: bigint;
  readonly entry: bigint | null;
  readonly reserved: bigint | null;
}

/** What became of a listing: without this record, it is not complete. */
export interface EndRecord {
  readonly type: 'end';
  readonly count: number;
  readonly what: string;
  readonly bytes: bigint | null;
  readonly faults: number;
}

/** Why an address has no translation. */
export type Obstacle = 'not-mapped' | 'not-canonical' | 'reserved-bits' | 'bus-error';

export interface TranslationRecord {
  readonly type: 'translation';
  readonly vaddr: bigint;
  readonly page: PageFacts | null;
  /** Where `vaddr` itself lies in physical memory. */
  readonly paddr: bigint | null;
  /** Where the file holds that byte. */
  readonly fileOffset: number | null;
  readonly obstacle: Obstacle | null;
  /** The level at which the walk ended. */
  readonly level: number | null;
}

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

export interface WalkRecord {
  readonly type: 'walk';
  readonly vaddr: bigint;
  readonly steps: readonly StepRecord[];
  readonly result: TranslationRecord;
}

/** What differs between two dumps in one stretch of virtual memory. */
export interface ChangeRecord {
  readonly type: 'change';
  readonly start: bigint;
  readonly end: bigint;
  readonly size: bigint;
  /** The first of these that holds. */
  readonly change: 'mapped' | 'unmapped' | 'remapped' | 'rights' | 'visibility' | 'page-size';
  readonly before: PageFacts | null;
  readonly after: PageFacts | null;
}

export interface SummaryRow extends Omit<PageFacts, 'paddr'> {
  readonly pages: number;
  readonly bytes: bigint;
}

export interface SummaryWarning {
  readonly warning: 'writable-executable' | 'user-in-upper-half' | 'supervisor-in-lower-half' | 'self-mapped';
  readonly pages: number;
  readonly bytes: bigint;
  /** The first few, where they lie. */
  readonly examples: readonly { readonly start: bigint; readonly end: bigint }[];
}

export interface SummaryRecord {
  readonly type: 'summary';
  readonly tables: number;
  readonly pages: number;
  readonly bytes: bigint;
  readonly rows: readonly SummaryRow[];
  readonly warnings: readonly SummaryWarning[];
}

export interface FileRecord {
  readonly type: 'file';
  readonly file: string;
  readonly kind: string;
  readonly size: number;
  readonly cpus: number;
}

export interface CpuRecord {
  readonly type: 'cpu';
  readonly cpu: number;
  readonly registers: Readonly<Record<string, bigint>>;
  readonly cpl: number | null;
}

export interface MemoryRecord {
  readonly type: 'memory';
  readonly start: bigint;
  readonly end: bigint;
  readonly size: bigint;
  readonly fileOffset: number;
}

/** What the commands tell; one line of JSON each. */
export type DumpWalkRecord =
  | DumpRecord
  | RunRecord
  | LeafRecord
  | FaultRecord
  | EndRecord
  | TranslationRecord
  | WalkRecord
  | ChangeRecord
  | SummaryRecord
  | FileRecord
  | CpuRecord
  | MemoryRecord;
