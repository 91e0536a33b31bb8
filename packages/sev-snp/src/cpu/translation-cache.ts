import type { VirtAddr } from '@svsm/address';
import type { MappedPage } from '@svsm/pagetable';

/**
 * A TLB as a `Vcpu` uses one: it keeps the pages that walks have found until they are flushed, right or wrong by
 * then. The `Tlb` of `@svsm/pagetable` is one.
 *
 * It holds the guest's part of a translation only. Nested page table and RMP are asked on every access, so a change
 * of the RMP takes effect at once, as hardware guarantees it (AMD64 APM vol. 2, §15.36.11).
 */
export interface TranslationCache {
  /** The page cached for `vaddr`, or `undefined`. It may have been found for another address of that page. */
  lookup(vaddr: VirtAddr): { readonly page: MappedPage } | undefined;
  /** Remembers `page`, in which `vaddr` lies. */
  insert(vaddr: VirtAddr, page: MappedPage): void;
  /** Forgets the page of `vaddr`: INVLPG. */
  flushPage(vaddr: VirtAddr): void;
  /** Forgets everything, global translations too. */
  flushAll(): void;
  /** Forgets all but global translations, of one PCID if that is given; with `keep`, nothing. Without it, everything. */
  loadCr3?(options: { readonly pcid?: number; readonly keep?: boolean }): void;
  /** CR4.PGE. */
  setGlobalPages?(enabled: boolean): void;
}
