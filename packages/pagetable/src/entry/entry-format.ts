import type { PhysAddr } from '@svsm/address';
import type { PagingConfig } from './paging-config.ts';
import { PteFlags } from './pte-flags.ts';
import { frameAddress, raw } from './words.ts';

/** An entry of a page table, taken apart. */
export interface PageTableEntry {
  /** All 64 bits. */
  readonly raw: bigint;
  /** Bit 0. Without it the other bits have no format: they are software's. */
  readonly present: boolean;
  /** Whether it maps a page, and is no pointer to a table. */
  readonly leaf: boolean;
  /** The page or table that it points to, without the encryption bit. */
  readonly address: PhysAddr;
  /** All bits but address and encryption, as {@link PteFlags} has them; never negative. */
  readonly flags: number;
  /** Whether, with memory encryption, what it maps is shared with the hypervisor. Without encryption, `false`. */
  readonly shared: boolean;
}

/**
 * How a {@link PagingConfig} lays out entries, as masks over their two 32-bit words. Not exported by the package: it is
 * what the table and the decoder share.
 */
export class EntryFormat {
  /** Address bits 51:32 of an entry, in its high word. */
  readonly addressHi: number;
  /** Set in the high word of private, respectively shared, entries. At most one is not 0. */
  readonly privateHi: number;
  readonly sharedHi: number;
  /** Bits of the high word that are reserved in every present entry. */
  readonly reservedHi: number;
  /** The exclusive end of physical addresses that an entry can hold. */
  readonly physicalEnd: bigint;
  /** With vTOM: address bits above its own. An address with one of them is shared whatever its vTOM bit says. */
  readonly beyondTopHi: number;
  readonly #giantPages: boolean;
  readonly #reservedTop: number;

  constructor(config: PagingConfig) {
    const { encryption, physicalBits } = config;
    const encryptionHi = encryption === undefined ? 0 : 1 << (encryption.bit - 32);
    this.privateHi = encryption?.mode === 'c-bit' ? encryptionHi : 0;
    this.sharedHi = encryption?.mode === 'vtom' ? encryptionHi : 0;
    this.beyondTopHi = 0xf_ffff & -(2 * this.sharedHi);
    this.addressHi = 0xf_ffff & ~encryptionHi;
    // HI(M) without the encryption bit (APM vol. 2, §15.34.5), and NX if it is off (§5.6.3).
    const beyondWidth = 0xf_ffff & ~(2 ** (physicalBits - 32) - 1) & ~encryptionHi;
    this.reservedHi = beyondWidth | (config.noExecute ? 0 : 0x8000_0000);
    // An encryption bit inside the physical width halves what is left of it (§15.34.6).
    this.physicalEnd = 1n << BigInt(Math.min(physicalBits, encryption?.bit ?? 52));
    this.#giantPages = config.giantPages;
    this.#reservedTop = config.vendor === 'amd' ? 0x180 : 0x80;
  }

  /** Whether a present entry at `level` maps a page. With PS where it is reserved, it does not: see {@link reservedLo}. */
  isLeaf(lo: number, level: number): boolean {
    return level === 0 || (level <= 2 && (lo & PteFlags.Large) !== 0);
  }

  /** Bits of the low word that must be 0 in a present entry at `level` (SDM tables 4-14 to 4-19; AMD: bit 8 at the top). */
  reservedLo(lo: number, level: number): number {
    if (level === 0) return 0;
    if (level >= 3) return this.#reservedTop;
    if ((lo & PteFlags.Large) === 0) return 0;
    if (level === 1) return 0x1f_e000;
    return this.#giantPages ? 0x3fff_e000 : PteFlags.Large;
  }

  /** Whether a present entry at `level` has reserved bits set. */
  hasReserved(lo: number, hi: number, level: number): boolean {
    return (hi & this.reservedHi) !== 0 || (lo & this.reservedLo(lo, level)) !== 0;
  }

  /** The frame number of the page or table that a present entry points to. */
  frame(lo: number, hi: number, level: number): number {
    let low = lo >>> 12;
    // Below a large page's frame number lie its PAT bit and reserved bits.
    if (level === 1 && (lo & PteFlags.Large) !== 0) low &= ~0x1ff;
    else if (level === 2 && (lo & PteFlags.Large) !== 0) low &= ~0x3_ffff;
    return (hi & this.addressHi & ~this.sharedHi) * 0x10_0000 + low;
  }

  /** The physical address of byte `offset` of the page of `size` bytes that a leaf maps. */
  byteAddress(lo: number, hi: number, size: number, offset: number): PhysAddr {
    return raw((lo & -size) | offset, hi & this.addressHi) as PhysAddr;
  }

  /** The flags of an entry. */
  flags(lo: number, hi: number, level: number): number {
    const large = level > 0 && this.isLeaf(lo, level);
    return ((lo & (large ? 0x1fff : 0xfff)) | (hi & 0xfff0_0000)) >>> 0;
  }

  /**
   * Whether a present entry maps shared memory: its C-bit is clear (APM vol. 2, §15.34.5), or its address lies at or above
   * vTOM (§15.36.8), which any address bit from that one on says.
   */
  isShared(hi: number): boolean {
    return this.privateHi !== 0
      ? (hi & this.privateHi) === 0
      : (hi & (this.sharedHi | this.beyondTopHi)) !== 0;
  }

  get hasEncryption(): boolean {
    return (this.privateHi | this.sharedHi) !== 0;
  }

  decode(lo: number, hi: number, level: number): PageTableEntry {
    return {
      raw: raw(lo, hi),
      present: (lo & PteFlags.Present) !== 0,
      leaf: this.isLeaf(lo, level),
      address: frameAddress(this.frame(lo, hi, level)),
      flags: this.flags(lo, hi, level),
      shared: this.isShared(hi),
    };
  }
}
