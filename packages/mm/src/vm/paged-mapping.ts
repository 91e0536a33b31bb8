import { PAGE_SIZE, type PhysAddr, showInConsoles } from '@svsm/address';
import { PteFlags } from '@svsm/pagetable';
import { refuseArgument, requireBoolean, requireOneOf, requireOptions } from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';
import type { PageStore } from './page-store.ts';
import { placeOf } from './place.ts';
import type { FaultAccess, FrameRun, Resolution, VirtualMapping } from './virtual-mapping.ts';

const PAGE = BigInt(PAGE_SIZE);
/** The flags that a page with several owners does not get. A read-only page that is dirty would be a page of a shadow stack. */
const EXCLUSIVE = PteFlags.Writable | PteFlags.Dirty;

/** The parts of a {@link PagedMapping}. */
export interface PagedMappingParts {
  readonly store: PageStore;
  /** The number of pages. */
  readonly pages: number;
  /** The number of guard pages on each side. */
  readonly guards?: number;
  /** The flags of a page that only this mapping has. */
  readonly flags: number;
  /** The page that `page` begins with, which is the mapping's with one more reference. Zeros if not given. */
  readonly source?: (page: number) => PhysAddr;
  /** Whether a write goes to the page of the source, not to a copy. */
  readonly isShared?: boolean;
}

/**
 * A mapping of single pages that count their references. A page is there from its first access on, or from
 * {@link populate} on. A page with other references is read-only, and a write to it makes a copy first.
 *
 * When it is not inserted any more, `using` or `dispose` gives the pages back.
 */
export class PagedMapping implements VirtualMapping, Disposable {
  static {
    showInConsoles(this, 'PagedMapping', ({ size, present }) => ({ size, present }));
  }

  readonly size: bigint;
  readonly #parts: PagedMappingParts;
  readonly #guards: number;
  /** The frames that are there, by page. The mapping has one reference to each. */
  readonly #frames: Map<number, PhysAddr> = new Map();

  constructor(parts: PagedMappingParts) {
    this.#parts = parts;
    this.#guards = parts.guards ?? 0;
    this.size = BigInt(parts.pages + 2 * this.#guards) * PAGE;
  }

  /** The number of pages that are there. */
  get present(): number {
    return this.#frames.size;
  }

  /**
   * The frame of a page, or `undefined` if it is not there.
   *
   * @param offset - bytes from the start of the mapping
   * @throws MmError `INVALID_ARGUMENT`
   */
  frameAt(offset: bigint): PhysAddr | undefined {
    return this.#frames.get(this.#pageAt(offset));
  }

  /** Makes all pages there that are not yet. All or nothing. O(pages). */
  populate(): void {
    const added: number[] = [];
    try {
      for (let page = 0; page < this.#parts.pages; page += 1) {
        if (this.#frames.has(page)) continue;
        this.#frames.set(page, this.#first(page));
        added.push(page);
      }
    } catch (error) {
      for (const page of added.reverse()) this.#drop(page);
      throw error;
    }
  }

  /** The frames that are there. Those that follow each other, with the same rights, are one run. */
  *frames(): Generator<FrameRun, undefined, undefined> {
    let run: FrameRun | undefined;
    const present = [...this.#frames.keys()].sort((a, b) => a - b);
    for (const page of present) {
      const frame = this.#frames.get(page);
      if (frame === undefined) continue;
      const next = this.#run(page, frame, this.#isExclusive(frame));
      if (run !== undefined && follows(run, next)) run = { ...run, size: run.size + PAGE };
      else {
        if (run !== undefined) yield run;
        run = next;
      }
    }
    if (run !== undefined) yield run;
  }

  /** @throws MmError `INVALID_ARGUMENT` */
  fault(offset: bigint, access: FaultAccess): Resolution | undefined {
    requireAccess(access);
    const page = this.#pageAt(offset);
    if (page < 0 || page >= this.#parts.pages || !this.#allows(access)) return undefined;
    const held = this.#frames.get(page);
    const isWrite = access.kind === 'write';
    if (held === undefined) {
      const { source, isShared = false } = this.#parts;
      if (isWrite) return this.#resolution(page, this.#own(page), true);
      return this.#resolution(page, this.#first(page), source === undefined || isShared);
    }
    const isExclusive = this.#isExclusive(held);
    if (!isWrite || isExclusive) return { run: this.#run(page, held, isExclusive) };
    return this.#resolution(page, this.#parts.store.copy(held), true, held);
  }

  /**
   * Another mapping of the same content. Both have each page together until one of them writes: the writer gets a copy. The
   * pages of this mapping are write-protected for that, and flushed. O(pages).
   *
   * If it throws, no page has another reference. After `FLUSH_FAILED`, the next write to each page of this mapping faults.
   *
   * @throws MmError `FLUSH_FAILED`, `BUSY`; the errors of the store
   */
  copyOnWrite(): PagedMapping {
    const { store } = this.#parts;
    const copy = new PagedMapping({ ...this.#parts, isShared: false });
    try {
      for (const [page, frame] of this.#frames) {
        store.reference(frame);
        copy.#frames.set(page, frame);
      }
      placeOf(this)?.writeProtect();
    } catch (error) {
      copy[Symbol.dispose]();
      throw error;
    }
    return copy;
  }

  /**
   * Gives the pages back. Pages that others have stay theirs. The mapping is empty then, and can be used again. O(pages).
   *
   * @throws MmError `MAPPING_IN_USE` if it is inserted
   */
  [Symbol.dispose](): void {
    if (placeOf(this) !== undefined) throw new MmError('MAPPING_IN_USE', { size: this.size });
    for (const page of [...this.#frames.keys()]) this.#drop(page);
  }

  #pageAt(offset: bigint): number {
    if (typeof offset !== 'bigint') refuseArgument('the offset', offset, 'pass a bigint');
    return Number(offset / PAGE) - this.#guards;
  }

  /** Whether the mapping as a whole allows an access. */
  #allows({ kind, shadowStack }: FaultAccess): boolean {
    const { flags } = this.#parts;
    const isShadow = (flags & EXCLUSIVE) === PteFlags.Dirty;
    if (shadowStack) return isShadow;
    if (kind === 'fetch') return (flags & PteFlags.NoExecute) === 0;
    return kind === 'read' || (flags & PteFlags.Writable) !== 0;
  }

  /** The first frame of a page: zeros, or the frame of the source. */
  #first(page: number): PhysAddr {
    const { store, source } = this.#parts;
    if (source === undefined) return store.allocate();
    const frame = source(page);
    store.reference(frame);
    return frame;
  }

  /** The first frame of a page that is written to: it has no other reference, unless writes are shared. */
  #own(page: number): PhysAddr {
    const { store, source, isShared } = this.#parts;
    return source === undefined || isShared === true ? this.#first(page) : store.copy(source(page));
  }

  #resolution(page: number, frame: PhysAddr, isExclusive: boolean, replaced?: PhysAddr): Resolution {
    const { store } = this.#parts;
    return {
      run: this.#run(page, frame, isExclusive),
      done: () => {
        this.#frames.set(page, frame);
        if (replaced !== undefined) store.release(replaced);
      },
      undo: () => store.release(frame),
    };
  }

  #run(page: number, paddr: PhysAddr, isExclusive: boolean): FrameRun {
    const { flags } = this.#parts;
    const offset = BigInt(page + this.#guards) * PAGE;
    return { offset, paddr, size: PAGE, flags: isExclusive ? flags : flags & ~EXCLUSIVE };
  }

  /** Whether a write may go to the frame itself. */
  #isExclusive(frame: PhysAddr): boolean {
    const { store, isShared, flags } = this.#parts;
    if (isShared === true || (flags & EXCLUSIVE) === 0) return true;
    store.reference(frame);
    return store.release(frame) === 1;
  }

  #drop(page: number): void {
    const frame = this.#frames.get(page);
    this.#frames.delete(page);
    if (frame !== undefined) this.#parts.store.release(frame);
  }
}

/** @throws MmError `INVALID_ARGUMENT` */
function requireAccess(access: FaultAccess): void {
  requireOptions('the access', access, ['kind', 'shadowStack', 'user']);
  requireOneOf('the kind of access', access.kind, ['read', 'write', 'fetch']);
  requireBoolean('shadowStack', access.shadowStack);
}

function follows(run: FrameRun, next: FrameRun): boolean {
  const isNext = run.offset + run.size === next.offset && run.paddr + run.size === next.paddr;
  return isNext && run.flags === next.flags;
}
