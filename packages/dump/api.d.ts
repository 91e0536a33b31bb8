// The public declarations of @svsm/dump: npm run api records them. Above each is its entry point.

import type { CodedError, PageSize, PhysAddr } from '@svsm/address';

import type { MemoryEncryption, PageTable, PagingConfig, PhysMemory, VirtBounds } from '@svsm/pagetable';

import type { PageState, RmpEntry } from '@svsm/sev-snp/formats';

// .
export interface AppearanceRecord {
    readonly type: 'appearance';
    readonly paddr: bigint;
    readonly vaddr: bigint;
    readonly page: PageFacts;
    readonly roots: readonly bigint[];
    readonly backing?: BackingFacts;
}

// . (type only)
export declare class Backing {
    readonly rmp: RmpTable | undefined;
    readonly asid: number | undefined;
    readonly vmpl: number | undefined;
    constructor({ rmp, nested, asid, vmpl }: BackingOptions);
    get isOfGuest(): boolean;
    of(mapping: MappedPart): Generator<BackingFacts, undefined, undefined>;
}

// .
export interface BackingFacts {
    readonly offset: bigint;
    readonly size: bigint;
    readonly spa: bigint | null;
    readonly nested: NestedFacts | null;
    readonly rmp: RmpFacts | null;
    readonly mismatches: readonly Mismatch[];
}

// not exported
export interface BackingOptions {
    readonly rmp?: RmpTable | undefined;
    readonly nested?: NestedPaging | undefined;
    readonly asid?: number | undefined;
    readonly vmpl?: number | undefined;
}

// .
export interface BlobLike {
    readonly size: number;
    slice(start: number, end: number): BlobLike;
    arrayBuffer(): Promise<ArrayBuffer>;
}

// .
export interface BlobReader {
    readAsArrayBuffer(blob: BlobLike): ArrayBuffer;
}

// .
export interface ChangeRecord {
    readonly type: 'change';
    readonly start: bigint;
    readonly end: bigint;
    readonly size: bigint;
    readonly change: 'mapped' | 'unmapped' | 'remapped' | 'rights' | 'visibility' | 'page-size' | 'backing';
    readonly before: ChangeSide | null;
    readonly after: ChangeSide | null;
}

// .
export interface ChangeSide extends PageFacts {
    readonly backing?: BackingFacts;
}

// .
export interface Codecs {
    readonly zlib?: Decoder | undefined;
    readonly zstd?: Decoder | undefined;
}

// .
export interface ContentRecord {
    readonly type: 'content';
    readonly vaddr: bigint;
    readonly paddr: bigint;
    readonly bytes: Uint8Array;
}

// .
export interface CpuRecord {
    readonly type: 'cpu';
    readonly cpu: number;
    readonly registers: Readonly<Record<string, bigint>>;
    readonly cpl: number | null;
}

// .
export type Decoder = (packed: Uint8Array, size: number) => Uint8Array;

// .
export interface Dump {
    readonly name: string;
    readonly kind: string;
    readonly source: Source;
    readonly cpus: readonly DumpCpu[];
    readonly physicalBits?: number;
    readonly levels?: 4 | 5;
    readonly giantPages?: boolean;
    readonly isRaw?: boolean;
    readonly isLayoutOpen?: boolean;
    readonly kernel?: KernelFacts;
    readonly memory?: Iterable<MemoryRange>;
    readonly notices?: Notices;
    readFrame(frame: number, bytes: Uint8Array): boolean;
    offsetOf(paddr: PhysAddr): number | undefined;
}

// .
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

// .
export declare class DumpError<Code extends DumpErrorCode = DumpErrorCode> extends CodedError<Code, DumpErrorDetails[Code] & {
    readonly file?: string;
}> {
    constructor(code: Code, details: DumpErrorDetails[Code], { file, ...options }?: ErrorOptions & {
        readonly file?: string;
    });
}

// .
export type DumpErrorCode = keyof DumpErrorDetails;

// .
export interface DumpErrorDetails {
    INVALID_ARGUMENT: {
        what: string;
        value: unknown;
        expected: string;
    };
    INVALID_FILE: {
        reason: string;
    };
    TRUNCATED_FILE: {
        reason: string;
    };
    UNSUPPORTED_FORMAT: {
        reason: string;
    };
    UNKNOWN_FORMAT: Record<never, never>;
    OUTSIDE_LIMITS: {
        reason: string;
    };
    READ_FAILED: {
        reason: string;
    };
    NO_ROOT: Record<never, never>;
    NO_MEMORY: {
        paddr: bigint;
        hint: string;
        register?: string;
    };
    NO_RMP: {
        paddr: bigint;
    };
    NOT_LINUX: Record<never, never>;
    NO_SUCH_CPU: {
        cpu: number;
        cpus: number;
    };
    NOT_LONG_MODE: {
        cpu: number;
        register: string;
    };
    LISTING_TOO_LONG: {
        pages: number;
        entries: number;
        faults: number;
        cause: string;
    };
}

// .
export interface DumpListingOptions {
    readonly within?: VirtBounds | undefined;
    readonly filter?: MappingFilter | undefined;
    readonly all?: boolean | undefined;
    readonly regions?: readonly LayoutRegion[] | undefined;
    readonly onProgress?: OnProgress | undefined;
}

// .
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

// .
export interface DumpView {
    readonly dump: Dump;
    readonly cpu: number;
    readonly cr3: bigint;
    readonly cr4: bigint | undefined;
    readonly config: PagingConfig;
    readonly memory: PhysMemory;
    readonly table: PageTable;
    readonly backing: Backing | undefined;
    readonly notices: Notices;
}

// .
export interface EndRecord {
    readonly type: 'end';
    readonly count: number;
    readonly what: string;
    readonly bytes: bigint | null;
    readonly faults: number;
}

// .
export interface FaultRecord {
    readonly type: 'fault';
    readonly fault: 'reserved-bits' | 'bus-error';
    readonly file: string;
    readonly start: bigint;
    readonly level: number;
    readonly paddr: bigint;
    readonly entry: bigint | null;
    readonly reserved: bigint | null;
}

// .
export interface FileRecord {
    readonly type: 'file';
    readonly file: string;
    readonly kind: string;
    readonly size: number;
    readonly cpus: number;
}

// .
export interface FindOptions {
    readonly roots?: readonly bigint[] | undefined;
    readonly all?: boolean | undefined;
    readonly onProgress?: OnProgress | undefined;
}

// .
export type Finding = 'writable-executable' | 'user-in-upper-half' | 'shared-executable' | 'user-maps-table' | 'executable-table' | 'table-aliases' | 'shared-table' | 'table-not-private' | Mismatch;

// .
export interface FindingRecord extends PageFacts {
    readonly type: 'finding';
    readonly finding: Finding;
    readonly start: bigint | null;
    readonly end: bigint | null;
    readonly size: bigint;
}

// .
export interface GapRecord {
    readonly type: 'gap';
    readonly start: bigint;
    readonly end: bigint;
    readonly obstacle: Obstacle | 'not-in-dump';
}

// .
export interface KernelFacts {
    readonly cr3?: bigint;
    readonly levels?: 4 | 5;
    readonly cBit?: number;
    readonly kernelOffset?: bigint;
    readonly textStart?: bigint;
    readonly imageSize?: bigint;
    readonly directMap?: bigint;
    readonly release?: string;
}

// .
export interface LayoutRegion {
    readonly name: RegionName;
    readonly start: bigint;
    readonly end: bigint;
    readonly basis: 'documented' | 'vmcoreinfo' | 'headers' | 'tables';
}

// .
export interface LeafRecord extends PageFacts {
    readonly type: 'leaf';
    readonly start: bigint;
    readonly flags: number;
    readonly region?: RegionName | null;
    readonly backings?: readonly BackingFacts[];
}

// not exported
export interface MappedPart {
    readonly paddr: bigint;
    readonly size: bigint;
    readonly pageSize: number;
    readonly user: boolean;
    readonly writable: boolean;
    readonly executable: boolean;
    readonly shared: boolean | null;
}

// .
export interface MappingFilter {
    readonly user?: boolean | undefined;
    readonly writable?: boolean | undefined;
    readonly executable?: boolean | undefined;
    readonly pageSize?: number | undefined;
    readonly shared?: boolean | undefined;
    readonly physical?: {
        readonly start: bigint;
        readonly end: bigint;
    } | undefined;
    readonly mismatched?: boolean | undefined;
}

// .
export interface MatchRecord extends Omit<PageFacts, 'paddr'> {
    readonly type: 'match';
    readonly vaddr: bigint;
    readonly size: number;
    readonly paddr: bigint;
    readonly backing?: BackingFacts;
}

// .
export interface MemoryRange {
    readonly start: PhysAddr;
    readonly end: bigint;
    readonly offset: number | undefined;
    readonly isZero: boolean;
}

// .
export interface MemoryRecord {
    readonly type: 'memory';
    readonly start: bigint;
    readonly end: bigint;
    readonly size: bigint;
    readonly fileOffset: number | null;
    readonly isZero: boolean;
}

// .
export type Mismatch = 'not-backed' | 'private-hypervisor-page' | 'private-foreign-page' | 'private-other-address' | 'private-immutable' | 'private-page-size' | 'private-unvalidated' | 'private-vmpl' | 'shared-assigned-page' | 'ambiguous-address' | 'host-writes-assigned-page' | 'host-large-page';

// .
export interface NestedDump extends Dump {
    readonly nested: NestedPaging;
}

// .
export interface NestedFacts {
    readonly pageSize: number;
    readonly readable: boolean;
    readonly writable: boolean;
    readonly executable: boolean;
    readonly user: boolean;
}

// not exported
export type NestedFormat = 'npt' | 'ept';

// not exported
export interface NestedGap {
    readonly obstacle: NestedObstacle;
    readonly count: number;
}

// not exported
export type NestedObstacle = 'not-present' | 'misconfigured' | 'bus-error';

// .
export interface NestedOptions {
    readonly format: NestedFormat;
    readonly pointer: bigint;
    readonly levels?: 4 | 5 | undefined;
    readonly physicalBits?: number | undefined;
    readonly cBit?: number | undefined;
}

// not exported
export interface NestedPage extends NestedRights {
    readonly frame: number;
    readonly pageSize: PageSize;
}

// . (type only)
export declare class NestedPaging {
    readonly format: NestedFormat;
    readonly levels: 4 | 5;
    readonly root: bigint;
    constructor(readFrame: ReadFrame, options: NestedOptions);
    get frames(): number;
    translate(frame: number): NestedPage | NestedGap;
    runs(): Generator<NestedRun, undefined, undefined>;
}

// not exported
export interface NestedRights {
    readonly readable: boolean;
    readonly writable: boolean;
    readonly executable: boolean;
    readonly user: boolean;
}

// not exported
export interface NestedRun extends NestedRights {
    readonly first: number;
    readonly count: number;
    readonly frame: number;
}

// .
export interface Notice {
    readonly warning: 'copies-differ' | 'damaged-page' | 'many-ranges' | 'empty-table' | 'senseless-table' | 'other-levels' | 'nothing-mapped';
    readonly message: string;
}

// . (type only)
export declare class Notices {
    add(warning: Notice['warning'], message: string): void;
    take(): readonly Notice[];
    quietly<Result>(work: () => Result): Result;
    get isEmpty(): boolean;
}

// .
export type Obstacle = 'not-mapped' | 'not-canonical' | 'reserved-bits' | 'bus-error';

// .
export type OnProgress = (done: number, total: number | undefined, what: string) => void;

// ./node
export interface OpenDumpFileOptions extends OpenDumpOptions {
    readonly onProgress?: OnProgress | undefined;
}

// .
export interface OpenDumpOptions {
    readonly name?: string | undefined;
    readonly raw?: boolean | undefined;
    readonly ram?: readonly RamRange[] | undefined;
    readonly cr3?: bigint | undefined;
    readonly isRawIfUnknown?: boolean | undefined;
    readonly levels?: 4 | 5 | undefined;
    readonly codecs?: Codecs | undefined;
    readonly encryption?: MemoryEncryption | undefined;
}

// .
export interface PageFacts {
    readonly paddr: PhysAddr;
    readonly pageSize: PageSize;
    readonly user: boolean;
    readonly writable: boolean;
    readonly executable: boolean;
    readonly shared: boolean | null;
}

// .
export interface RamRange {
    readonly paddr: number;
    readonly size: number;
    readonly offset: number;
}

// not exported
export type ReadFrame = (frame: number, bytes: Uint8Array) => boolean;

// not exported
export type ReadTableFrame = (frame: number, bytes: Uint8Array) => boolean;

// .
export type RegionName = 'user' | 'ldt' | 'direct-map' | 'vmalloc' | 'vmemmap' | 'kasan' | 'cpu-entry' | 'espfix' | 'efi' | 'text' | 'modules' | 'fixmap' | 'vsyscall';

// .
export interface RegionRecord extends LayoutRegion {
    readonly type: 'region';
    readonly mapped: bigint;
    readonly kernelOffset?: bigint;
    readonly textStart?: bigint;
}

// .
export type ReportRecord = DumpRecord | RunRecord | LeafRecord | FaultRecord | WarningRecord | EndRecord | TranslationRecord | WalkRecord | ChangeRecord | SummaryRecord | FileRecord | RootRecord | AppearanceRecord | FindingRecord | ContentRecord | GapRecord | MatchRecord | RegionRecord | RmpRecord | CpuRecord | MemoryRecord;

// .
export interface RmpFacts {
    readonly state: PageState | 'NOT-IN-DUMP';
    readonly assigned: boolean;
    readonly asid: number;
    readonly gpa: bigint;
    readonly pageSize: number;
    readonly immutable: boolean;
    readonly vmsa: boolean;
    readonly validated: boolean;
    readonly vmplMasks: readonly number[];
}

// .
export interface RmpListingOptions {
    readonly asid?: number | undefined;
    readonly onProgress?: OnProgress | undefined;
}

// .
export interface RmpPlace {
    readonly base: bigint;
    readonly end?: bigint | undefined;
    readonly segmentShift?: number | undefined;
    readonly segments?: number | undefined;
}

// .
export interface RmpRecord extends RmpFacts {
    readonly type: 'rmp';
    readonly start: bigint;
    readonly end: bigint;
    readonly size: bigint;
}

// not exported
interface RmpRun {
    readonly first: number;
    readonly count: number;
    readonly entry: RmpEntry | undefined | null;
}

// .
export interface RmpTable {
    readonly kind: string;
    runFrom(first: number, most: number): RmpRun;
    runs(): Iterable<RmpRun>;
}

// .
export interface RootRecord {
    readonly type: 'root';
    readonly cr3: bigint;
    readonly levels: 4 | 5;
    readonly score: number;
    readonly lowerEntries: number;
    readonly upperEntries: number;
    readonly mapsItself: boolean;
    readonly isShared: boolean;
    readonly isKernel: boolean;
    readonly cpus: readonly number[];
}

// .
export interface RootSearchOptions {
    readonly levels?: 4 | 5 | undefined;
    readonly encryption?: MemoryEncryption | undefined;
    readonly all?: boolean | undefined;
    readonly onProgress?: OnProgress | undefined;
}

// .
export interface RunRecord extends PageFacts {
    readonly type: 'run';
    readonly start: bigint;
    readonly end: bigint;
    readonly size: bigint;
    readonly region?: RegionName | null;
    readonly backing?: BackingFacts;
}

// .
export interface Source {
    readonly size: number;
    read(position: number, into: Uint8Array): void;
    dataFrom?(position: number): number;
    close(): void;
}

// .
export interface StepRecord {
    readonly level: number;
    readonly table: bigint;
    readonly index: number;
    readonly entryAddress: bigint;
    readonly entry: bigint;
    readonly present: boolean;
    readonly leaf: boolean;
    readonly address: bigint | null;
    readonly bits: Readonly<Record<string, boolean>>;
    readonly protectionKey: number | null;
    readonly reserved: bigint;
}

// .
export interface SummaryRecord {
    readonly type: 'summary';
    readonly tables: number;
    readonly pages: number;
    readonly bytes: bigint;
    readonly rows: readonly SummaryRow[];
    readonly warnings: readonly SummaryWarning[];
}

// .
export interface SummaryRow extends Omit<PageFacts, 'paddr'> {
    readonly pages: number;
    readonly bytes: bigint;
}

// .
export interface SummaryWarning {
    readonly warning: 'writable-executable' | 'user-in-upper-half' | 'supervisor-in-lower-half' | 'self-mapped' | Mismatch;
    readonly pages: number;
    readonly bytes: bigint;
    readonly examples: readonly {
        readonly start: bigint;
        readonly end: bigint;
    }[];
}

// .
export interface TranslationRecord {
    readonly type: 'translation';
    readonly vaddr: bigint;
    readonly page: PageFacts | null;
    readonly paddr: bigint | null;
    readonly fileOffset: number | null;
    readonly obstacle: Obstacle | null;
    readonly level: number | null;
    readonly backing?: BackingFacts;
}

// .
export interface ViewOptions {
    readonly cpu?: number | undefined;
    readonly cr3?: bigint | undefined;
    readonly cr4?: bigint | undefined;
    readonly levels?: 4 | 5 | undefined;
    readonly physicalBits?: number | undefined;
    readonly encryption?: MemoryEncryption | undefined;
    readonly noNx?: boolean | undefined;
    readonly vendor?: 'amd' | 'intel' | undefined;
    readonly rmp?: RmpTable | undefined;
    readonly asid?: number | undefined;
    readonly vmpl?: number | undefined;
}

// .
export interface WalkRecord {
    readonly type: 'walk';
    readonly vaddr: bigint;
    readonly steps: readonly StepRecord[];
    readonly result: TranslationRecord;
}

// .
export interface WarningRecord extends Notice {
    readonly type: 'warning';
    readonly file: string;
}

// .
export declare function blobSource(blob: BlobLike, reader: BlobReader): Source;

// .
export declare function bytesSource(bytes: Uint8Array): Source;

// .
export declare function checkTables(view: DumpView, options?: DumpListingOptions): Generator<DumpRecord | FindingRecord | FaultRecord | EndRecord, undefined, undefined>;

// .
export declare function compareDumps(before: DumpView, after: DumpView, scope?: DumpListingOptions): Generator<DumpRecord | ChangeRecord | FaultRecord | EndRecord, undefined, undefined>;

// .
export declare function describeDump(dump: Dump): Generator<FileRecord | CpuRecord | MemoryRecord | EndRecord, undefined, undefined>;

// .
export declare function findAppearances(view: DumpView, paddrs: readonly bigint[], options?: FindOptions): Generator<DumpRecord | AppearanceRecord | EndRecord, undefined, undefined>;

// .
export declare function findRoots(dump: Dump, options?: RootSearchOptions): Generator<FileRecord | RootRecord | EndRecord, undefined, undefined>;

// .
export declare function isDumpError<Code extends DumpErrorCode = DumpErrorCode>(error: unknown, code?: Code): error is {
    [C in Code]: DumpError<C>;
}[Code];

// .
export declare function linuxRegions(view: DumpView): readonly LayoutRegion[];

// .
export declare function listContents(view: DumpView, start: bigint, length: bigint): Generator<DumpRecord | ContentRecord | GapRecord | EndRecord, undefined, undefined>;

// .
export declare function listLeaves(view: DumpView, options?: DumpListingOptions): Generator<DumpRecord | LeafRecord | FaultRecord | EndRecord, undefined, undefined>;

// .
export declare function listRegions(view: DumpView, options?: Pick<DumpListingOptions, 'onProgress'>): Generator<DumpRecord | RegionRecord | FaultRecord | EndRecord, undefined, undefined>;

// .
export declare function listRmp(dump: Dump, rmp: RmpTable, options?: RmpListingOptions): Generator<FileRecord | RmpRecord | EndRecord, undefined, undefined>;

// .
export declare function listRuns(view: DumpView, options?: DumpListingOptions): Generator<DumpRecord | RunRecord | FaultRecord | EndRecord, undefined, undefined>;

// .
export declare function listTranslations(view: DumpView, addresses: Iterable<bigint> | AsyncIterable<bigint>): AsyncGenerator<DumpRecord | TranslationRecord | EndRecord, undefined, undefined>;

// .
export declare function listWalks(view: DumpView, addresses: Iterable<bigint>): Generator<DumpRecord | WalkRecord | EndRecord, undefined, undefined>;

// .
export declare function openDump(source: Source, options?: OpenDumpOptions): Dump;

// ./node
export declare function openDumpFile(path: string, options?: OpenDumpFileOptions): Promise<Dump>;

// .
export declare function openNested(host: Dump, options: NestedOptions): NestedDump;

// .
export declare function openRmp(readFrame: ReadTableFrame, place: RmpPlace): RmpTable;

// .
export declare function openSavedRmp(source: Source, place?: RmpPlace): RmpTable;

// .
export declare function openView(dump: Dump, options?: ViewOptions): DumpView;

// .
export declare function searchMemory(view: DumpView, pattern: Uint8Array, options?: DumpListingOptions): Generator<DumpRecord | MatchRecord | FaultRecord | EndRecord, undefined, undefined>;

// .
export declare function summarize(view: DumpView, scope?: DumpListingOptions): Generator<DumpRecord | SummaryRecord | FaultRecord | EndRecord, undefined, undefined>;

// .
export declare function translationOf(view: DumpView, vaddr: bigint): TranslationRecord;
