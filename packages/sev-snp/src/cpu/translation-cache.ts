import type { VirtAddr } from '@svsm/address';
import { type MappedPage, PageTableError } from '@svsm/pagetable';

/**
 * A TLB as a `Vcpu` uses one. It keeps the pages that walks have found until they are flushed, even if they are stale.
 * The `Tlb` of `@svsm/pagetable` is one.
 *
 * It holds the guest's half of a translation only. The nested half and the RMP's verdict belong to a `NestedTlb`;
 * without one, every access looks at the nested page table and the RMP.
 *
 * Its entries have no tag for the guest. Processors of several guests or levels may be given the same cache, as if they
 * took turns on one logical processor: the first access of another processor than the last one drops everything. It is
 * part of the processor: it must not call anything of the machine. A processor that is used in the middle of a lookup, by
 * `onStaleUse` of a `Tlb`, throws `BUSY` and does not change.
 */
export interface TranslationCache {
  /**
   * A count that grows whenever `lookup` may answer differently from then on, and with each use that the cache reports. While it
   * stays, a processor may do without `lookup` for an access that the cache has allowed. It asks each time if the cache does not
   * count.
   */
  readonly changes?: number;
  /** The page cached for `vaddr`, or `undefined`. It may have been found for another address of that page. */
  lookup(vaddr: VirtAddr): { readonly page: MappedPage } | undefined;
  /** Caches `page`, in which `vaddr` lies. */
  insert(vaddr: VirtAddr, page: MappedPage): void;
  /** Drops the page of `vaddr`: INVLPG. */
  flushPage(vaddr: VirtAddr): void;
  /** Drops everything, global translations too. */
  flushAll(): void;
  /**
   * Drops all but global translations: of one PCID if `pcid` is given, nothing with `keep`. If a cache does not have this
   * method, a load of CR3 drops everything.
   */
  loadCr3?(options: { readonly pcid?: number; readonly keep?: boolean }): void;
  /** Enables or disables global pages: CR4.PGE. */
  setGlobalPages?(enabled: boolean): void;
  /** Enables or disables PCIDs: CR4.PCIDE. */
  setPcids?(enabled: boolean): void;
}

/** The processor whose translations a cache holds. */
export interface CacheOwner {
  processor: object | undefined;
  /** Whether a lookup runs, which may call a callback of the user. */
  isInLookup: boolean;
  /** The error of the last lookup that failed: it is not a fault of the access. */
  thrown: unknown;
}

/** The page that a cache holds. The cache may call `onStaleUse`, which must not change the processor. */
export function cachedPage(
  cache: TranslationCache | undefined,
  owner: CacheOwner | undefined,
  gva: VirtAddr,
): MappedPage | undefined {
  if (cache === undefined || owner === undefined) return undefined;
  owner.isInLookup = true;
  try {
    return cache.lookup(gva)?.page;
  } catch (error) {
    owner.thrown = error;
    throw error;
  } finally {
    owner.isInLookup = false;
  }
}

/** @throws PageTableError `BUSY` in the middle of a lookup of the cache */
export function requireIdle(owner: CacheOwner | undefined): void {
  if (owner?.isInLookup === true) throw new PageTableError('BUSY', { during: 'onStaleUse' });
}

/** Whether the cache, or its `onStaleUse`, has thrown this error. */
export function hasThrown(cache: TranslationCache | undefined, error: unknown): boolean {
  return cache !== undefined && error !== undefined && OWNERS.get(cache)?.thrown === error;
}

const OWNERS: WeakMap<TranslationCache, CacheOwner> = /* @__PURE__ */ new WeakMap();

/** The owner of a cache: one object for all processors that share the cache. */
export function ownerOf(cache: TranslationCache): CacheOwner {
  const held = OWNERS.get(cache);
  if (held !== undefined) return held;
  const owner: CacheOwner = { processor: undefined, isInLookup: false, thrown: undefined };
  OWNERS.set(cache, owner);
  return owner;
}
