/** The messages between the page and the worker that reads a dump. Each request has one answer, after any number of progress notes. */

/** The rights and the size of a mapping, and its addresses. */
export interface RunRow {
  readonly start: bigint;
  readonly size: bigint;
  readonly paddr: bigint;
  readonly pageSize: number;
  readonly user: boolean;
  readonly writable: boolean;
  readonly executable: boolean;
}

/** One level of a walk. */
export interface LevelRow {
  readonly level: number;
  readonly table: bigint;
  readonly index: number;
  readonly raw: bigint | undefined;
  /** The text of what the entry does. */
  readonly text: string;
}

export type Filter = 'all' | 'w+x' | 'user';

export type Request =
  | { readonly type: 'open'; readonly blob: Blob; readonly name: string; readonly cr3: bigint | undefined }
  /** `from`: the `next` of the listing before. */
  | { readonly type: 'runs'; readonly filter: Filter; readonly from?: bigint | undefined }
  | { readonly type: 'walk'; readonly address: bigint }
  | { readonly type: 'find'; readonly paddr: bigint }
  | { readonly type: 'search'; readonly pattern: Uint8Array };

export type Answer =
  | {
      readonly type: 'opened';
      readonly kind: string;
      readonly cr3: bigint;
      readonly levels: number;
      readonly cpus: number;
      readonly bytesRead: number;
      readonly warnings: readonly string[];
    }
  | {
      readonly type: 'runs';
      readonly rows: readonly RunRow[];
      /** The address at which the listing goes on, if there are more rows than one answer has. */
      readonly next: bigint | undefined;
      readonly faults: number;
    }
  | {
      readonly type: 'walk';
      readonly address: bigint;
      readonly levels: readonly LevelRow[];
      readonly paddr: bigint | undefined;
    }
  | {
      readonly type: 'places';
      readonly title: string;
      readonly addresses: readonly bigint[];
      readonly isCut: boolean;
    }
  | { readonly type: 'problem'; readonly text: string };
