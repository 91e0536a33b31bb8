import {
  type Bytes,
  byteCount,
  PAGE_SIZE,
  type PhysAddr,
  showInConsoles,
  type VirtAddr,
} from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import {
  isBytes,
  readArgument,
  refuseArgument,
  requireInstance,
  requireInteger,
} from '../formats/arguments.ts';
import { isMmError, MmError } from '../formats/mm-error.ts';
import type { PageVisibility } from './page-visibility.ts';

/** The object that has the visibility of pages: an `Svsm`. */
export interface VisibilityOwner {
  readonly visibility: PageVisibility;
}

/**
 * Memory that the SVSM shares with the hypervisor, from its allocation to its release. `using box = SharedBox.create(…)` makes
 * the pages private again and frees them at the end of the scope.
 *
 * Bytes go in and out as copies, and each byte is read once: what the other side changes later is not seen.
 */
export class SharedBox {
  static {
    showInConsoles(this, 'SharedBox', (box) => ({
      region: box.#region,
      gpa: box.gpa,
      size: box.size,
      state: box.#state,
    }));
  }

  /** The number of bytes that were asked for. */
  readonly size: number;
  /** The guest-physical address of the first byte, to be passed to the hypervisor. The others follow it. */
  readonly gpa: PhysAddr;
  readonly #visibility: PageVisibility;
  readonly #region: MemoryRegion<VirtAddr>;
  #state: 'owned' | 'leaked' | 'released' = 'owned';

  private constructor(visibility: PageVisibility, region: MemoryRegion<VirtAddr>, size: number) {
    this.#visibility = visibility;
    this.#region = region;
    this.size = size;
    this.gpa = visibility.physOf(region).start;
  }

  /**
   * Allocates and shares pages for `size` bytes of zeros. If it fails, nothing is left but what {@link PageVisibility.lost} has.
   *
   * @param size - at least 1
   * @throws MmError `INVALID_ARGUMENT`; as {@link PageVisibility.allocateShared}
   */
  static create(owner: VisibilityOwner, size: Bytes): SharedBox {
    const expected = 'pass a number of bytes, at least 1';
    const bytes = Number(readArgument('the size', size, expected, () => byteCount(size)));
    if (bytes < 1) refuseArgument('the size', size, expected);
    const visibility = readArgument('the owner', owner, 'pass an Svsm', () => owner.visibility);
    requireInstance('the visibility of the owner', visibility, 'PageVisibility');
    return new SharedBox(visibility, visibility.allocateShared(Math.ceil(bytes / PAGE_SIZE)), bytes);
  }

  /** The pages. @throws MmError `BOX_RELEASED` */
  get region(): MemoryRegion<VirtAddr> {
    this.#requireOwned();
    return this.#region;
  }

  /** Whether {@link leak} or the release has ended it. */
  get isReleased(): boolean {
    return this.#state !== 'owned';
  }

  /**
   * A copy of bytes. Each byte is read once.
   *
   * @throws MmError `INVALID_ARGUMENT`, `BOX_RELEASED`; SnpFault as `Vcpu.read`
   */
  read(offset: number, length: number): Uint8Array {
    return this.#visibility.cpu.vcpu.read(this.#at(offset, length), length);
  }

  /** Copies bytes in, all or none. @throws MmError `INVALID_ARGUMENT`, `BOX_RELEASED`; SnpFault as `Vcpu.write` */
  write(offset: number, bytes: Uint8Array): void {
    if (!isBytes(bytes)) refuseArgument('the bytes', bytes, 'pass a Uint8Array');
    this.#visibility.cpu.vcpu.write(this.#at(offset, bytes.length), bytes);
  }

  /** Fills the box with zeros. @throws MmError `BOX_RELEASED`; SnpFault as `Vcpu.clear` */
  clear(): void {
    this.#visibility.cpu.vcpu.clear(this.#at(0, this.size), this.size);
  }

  /** Keeps the pages shared, and passes them to the caller: `PageVisibility.release` frees them. @throws MmError `BOX_RELEASED` */
  leak(): MemoryRegion<VirtAddr> {
    this.#requireOwned();
    this.#state = 'leaked';
    return this.#region;
  }

  /**
   * Makes the pages private and frees them. Does nothing the second time, and after {@link leak}.
   *
   * @throws MmError `VISIBILITY_FAILED` if the hypervisor does not give a page back: the box is released, and the page is lost;
   *   `PAGE_IN_USE`, `WRONG_VISIBILITY` if a page is mapped or changing, `NO_CURRENT_CPU`: nothing has changed, call it again
   */
  [Symbol.dispose](): void {
    if (this.#state !== 'owned') return;
    try {
      this.#visibility.release(this.#region);
      this.#state = 'released';
    } catch (error) {
      if (isMmError(error, 'VISIBILITY_FAILED')) this.#state = 'released';
      throw error;
    }
  }

  #at(offset: number, length: number): VirtAddr {
    this.#requireOwned();
    requireInteger('the offset', offset, 0, this.size);
    requireInteger('the length', length, 0, this.size - offset);
    return (this.#region.start + BigInt(offset)) as VirtAddr;
  }

  #requireOwned(): void {
    if (this.#state !== 'owned') throw new MmError('BOX_RELEASED', { region: String(this.#region) });
  }
}
