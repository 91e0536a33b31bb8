/** The content of a frame of DRAM as one key sees it at one of its addresses: zeros if it has no words. */
export interface DramFrame {
  key: number;
  /** The frame number of the address. It tweaks the keystream. */
  address: number;
  words: Uint32Array | undefined;
  /** Whether a caller of `words` may hold the array. */
  isLent: boolean;
}

/** A frame that has words. */
export type WrittenFrame = DramFrame & { words: Uint32Array };
