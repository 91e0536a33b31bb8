import type { BlockKind } from './block.ts';

/** The addresses from `start` up to, not including, `end`. */
export interface SnapshotRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** An allocated block or run of a snapshot. */
export interface SnapshotBlock extends SnapshotRange {
  readonly kind: BlockKind;
  /** The number of references of a file page; `undefined` for other kinds. */
  readonly references: number | undefined;
}

/**
 * The complete state of an allocator: all pages that are not in `blocks` or `reserved` are free. It can be stored, and
 * cloned to another thread. JSON needs a replacer, because addresses are bigints.
 */
export interface AllocatorSnapshot {
  readonly maxOrder: number;
  readonly space: SnapshotRange;
  readonly regions: readonly SnapshotRange[];
  readonly reserved: readonly SnapshotRange[];
  readonly blocks: readonly SnapshotBlock[];
}
