import type { BlockKind } from './block.ts';

/** Addresses from `start` up to, not including, `end`. */
export interface SnapshotRange {
  readonly start: bigint;
  readonly end: bigint;
}

/** An allocated block or run of a snapshot. */
export interface SnapshotBlock extends SnapshotRange {
  readonly kind: BlockKind;
  /** How many references it has, if it is a file page. */
  readonly references: number | undefined;
}

/**
 * All that an allocator is: what is free follows from it. It can be cloned to another thread or stored; it has bigints,
 * so JSON needs a replacer.
 */
export interface AllocatorSnapshot {
  readonly maxOrder: number;
  readonly space: SnapshotRange;
  readonly regions: readonly SnapshotRange[];
  readonly reserved: readonly SnapshotRange[];
  readonly blocks: readonly SnapshotBlock[];
}
