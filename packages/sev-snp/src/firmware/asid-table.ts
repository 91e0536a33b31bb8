/**
 * The ASIDs as the firmware keeps them: free, owned by a guest, or dirty. A dirty ASID has been used by a guest that was
 * decommissioned; caches can still hold data with its tag. WBINVD on all cores and then DF_FLUSH make it free again
 * (AMD-ASPFW `sev_mcmd.c`, `mcmd_activate_common`, `mcmd_df_flush_common`). The model has no caches, so the flushes
 * write nothing back.
 */
export class AsidTable {
  readonly #last: number;
  readonly #owned: Set<number> = new Set();
  readonly #dirty: Set<number> = new Set();
  /** Whether WBINVD has run since the last guest left its ASID. */
  #isWrittenBack = true;

  /** All ASIDs from 1 to `last` are free. */
  constructor(last: number) {
    this.#last = last;
  }

  has(asid: number): boolean {
    return Number.isInteger(asid) && asid >= 1 && asid <= this.#last;
  }

  isOwned(asid: number): boolean {
    return this.#owned.has(asid);
  }

  isDirty(asid: number): boolean {
    return this.#dirty.has(asid);
  }

  take(asid: number): void {
    this.#owned.add(asid);
  }

  /** The guest with an ASID is gone. If no processor has run it, the ASID is free at once. */
  release(asid: number, hasRun: boolean): void {
    this.#owned.delete(asid);
    if (!hasRun) return;
    this.#dirty.add(asid);
    this.#isWrittenBack = false;
  }

  wbinvd(): void {
    this.#isWrittenBack = true;
  }

  /** Makes all dirty ASIDs free. Returns whether it could: WBINVD comes first. */
  flush(): boolean {
    if (this.#isWrittenBack) this.#dirty.clear();
    return this.#isWrittenBack;
  }
}
