import type { PhysAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';

interface Claim {
  readonly call: object;
  readonly region: MemoryRegion<PhysAddr>;
}

/**
 * The pages that calls in progress use. A call has its pages alone, also the page of its list: two calls with one list would
 * both process each entry. Each method is O(claims), and a call has a few.
 */
export class PageClaims {
  readonly #claims: Set<Claim> = new Set();

  /** Claims pages for a call. Returns the function that ends the claim, or `undefined` if another call uses a page. */
  tryClaim(call: object, region: MemoryRegion<PhysAddr>): (() => void) | undefined {
    for (const other of this.#claims) {
      if (other.call !== call && other.region.overlaps(region)) return undefined;
    }
    const claim = { call, region };
    this.#claims.add(claim);
    return () => this.#claims.delete(claim);
  }
}
