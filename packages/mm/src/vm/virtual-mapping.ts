import type { Bytes, PhysAddr } from '@svsm/address';
import type { AccessKind } from '@svsm/pagetable';

/** Frames that follow each other, and how they are mapped. */
export interface FrameRun {
  /** Bytes from the start of the mapping, a multiple of 4096. */
  readonly offset: bigint;
  /** The address of the first frame. */
  readonly paddr: PhysAddr;
  /** Bytes, a multiple of 4096. */
  readonly size: bigint;
  /** `PteFlags`: the rights, Accessed and Dirty. The `Vmr` adds its own: Global or User. */
  readonly flags: number;
  /** Whether the frames are shared with the hypervisor. `false` if not given. */
  readonly shared?: boolean;
}

/** An access that has faulted. */
export interface FaultAccess {
  readonly kind: AccessKind;
  /** Whether it is an access to a shadow stack. */
  readonly shadowStack: boolean;
}

/** The answer to a page fault. The frames are the mapping's only after `done`. */
export interface Resolution {
  /** The frames to map. They hold the address of the fault, and take the place of what is mapped there. */
  readonly run: FrameRun;
  /** Called when they are mapped, and no TLB has the old translation: what they replace may be freed. */
  done?(): void;
  /** Called when they could not be mapped: everything is as if the mapping had not been asked. */
  undo?(): void;
}

/**
 * Something that a `Vmr` can map: `mappings` makes those of COCONUT-SVSM. A mapping knows its frames; the `Vmr` knows the
 * addresses. It can be inserted in one place at a time.
 *
 * The methods may not call the `Vmr`, which throws `BUSY`.
 */
export interface VirtualMapping {
  /** The addresses that it takes, in bytes: a multiple of 4096, not 0. Guards are part of it. */
  readonly size: bigint;
  /** The alignment of its place if the caller passes none: bytes, a power of two. 4096 if not given. */
  readonly alignment?: Bytes;
  /** The frames that are there now: they are mapped when the mapping is inserted. Others come with a fault. */
  frames(): Iterable<FrameRun>;
  /**
   * Resolves a fault. `undefined` if the mapping does not allow the access. Not given: no fault is resolved.
   *
   * @param offset - bytes from the start of the mapping, a multiple of 4096
   */
  fault?(offset: bigint, access: FaultAccess): Resolution | undefined;
}
