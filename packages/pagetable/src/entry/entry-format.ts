import type { PhysAddr } from '@svsm/address';
import { type PagingConfig, requireConfig } from './paging-config.ts';
import { PteFlags } from './pte-flags.ts';
import { frameAddress, raw } from './words.ts';

/** A decoded entry of a page table. */
export interface PageTableEntry {
  /** All 64 bits. */
  readonly raw: bigint;
  /** Bit 0. If it is clear, software may use all other bits. */
  readonly present: boolean;
  /** Whether the entry maps a page. If not, it leads to a table. */
  readonly leaf: boolean;
  /** The physical address of the page or table, without the encryption bit. */
  readonly address: PhysAddr;
  /** All bits except address and encryption, in the positions of {@link PteFlags}. Never negative. */
  readonly flags: number;
  /** Whether the page or table is shared with the hypervisor. `false` without memory encryption. */
  readonly shared: boolean;
}

/** The layout of entries under a {@link PagingConfig}, as masks over their two 32-bit words. */
export class EntryFormat {
  /** Address bits 51:32 of an entry, in its high word. */
  readonly addressHi: number;
  /** The C-bit in a high word: set in private entries. 0 without a C-bit. */
  readonly privateHi: number;
  /** The vTOM bit in a high word: set in shared entries. 0 without vTOM. */
  readonly sharedHi: number;
  /** Bits of the high word that are reserved in every present entry. */
  readonly reservedHi: number;
  /** The exclusive end of the physical addresses that an entry can hold. */
  readonly physicalEnd: bigint;
  /** Bits of the high half of a physical address that are set only at or above {@link physicalEnd}. */
  readonly beyondEndHi: number;
  /** The frame number at {@link physicalEnd}. */
  readonly frameEnd: number;
  /** The address bits above the vTOM bit. An address with one of them is above vTOM, so shared, whatever the vTOM bit is. */
  readonly beyondTopHi: number;
  readonly #giantPages: boolean;
  readonly #reservedTop: number;

  /** @throws PageTableError `INVALID_CONFIG` */
  constructor(config: PagingConfig) {
    requireConfig(config);
    const { encryption, physicalBits } = config;
    const encryptionHi = encryption === undefined ? 0 : 1 << (encryption.bit - 32);
    this.privateHi = encryption?.mode === 'c-bit' ? encryptionHi : 0;
    this.sharedHi = encryption?.mode === 'vtom' ? encryptionHi : 0;
    this.beyondTopHi = 0xf_ffff & -(2 * this.sharedHi);
    this.addressHi = 0xf_ffff & ~encryptionHi;
    // HI(M) without the encryption bit (APM vol. 2, §15.34.5), and NX if it is off (§5.6.3).
    const beyondWidth = 0xf_ffff & ~(2 ** (physicalBits - 32) - 1) & ~encryptionHi;
    this.reservedHi = beyondWidth | (config.noExecute ? 0 : 0x8000_0000);
    // An encryption bit inside the physical width ends the usable addresses (§15.34.6).
    const usableBits = Math.min(physicalBits, encryption?.bit ?? 52);
    this.physicalEnd = 1n << BigInt(usableBits);
    this.beyondEndHi = -(2 ** (usableBits - 32)) | 0;
    this.frameEnd = Number(this.physicalEnd / 4096n);
    this.#giantPages = config.giantPages;
    this.#reservedTop = config.vendor === 'amd' ? 0x180 : 0x80;
  }

  /** Whether a present entry at `level` maps a page. False where PS is reserved: {@link reservedLo} reports it there. */
  isLeaf(lo: number, level: number): boolean {
    return level === 0 || (level <= 2 && (lo & PteFlags.Large) !== 0);
  }

  /**
   * Bits of the low word that are reserved in a present entry at `level` (Intel SDM vol. 3A, tables 4-14 to 4-19). On AMD,
   * bit 8 of a PML4E or PML5E is one of them.
   */
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
    // Below the frame number of a large page are its PAT bit and reserved bits.
    if (level === 1 && (lo & PteFlags.Large) !== 0) low &= ~0x1ff;
    else if (level === 2 && (lo & PteFlags.Large) !== 0) low &= ~0x3_ffff;
    return (hi & this.addressHi & ~this.sharedHi) * 0x10_0000 + low;
  }

  /** The physical address of byte `offset` in the page that a leaf maps. @param size - the size of the page in bytes */
  byteAddress(lo: number, hi: number, size: number, offset: number): PhysAddr {
    return raw((lo & -size) | offset, hi & this.addressHi) as PhysAddr;
  }

  /** The flags of an entry. */
  flags(lo: number, hi: number, level: number): number {
    const large = level > 0 && this.isLeaf(lo, level);
    return ((lo & (large ? 0x1fff : 0xfff)) | (hi & 0xfff0_0000)) >>> 0;
  }

  /**
   * Whether a present entry maps shared memory: its C-bit is clear (APM vol. 2, §15.34.5), or its address is at or above
   * vTOM (§15.36.8), which is so if the vTOM bit or a bit above it is set.
   */
  isShared(hi: number): boolean {
    return this.privateHi !== 0
      ? (hi & this.privateHi) === 0
      : (hi & (this.sharedHi | this.beyondTopHi)) !== 0;
  }

  /** Whether there is memory encryption. */
  get hasEncryption(): boolean {
    return (this.privateHi | this.sharedHi) !== 0;
  }

  /** Decodes an entry at `level`. */
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
