/**
 * The bits of CR0 that decide about paging and modes (Intel SDM vol. 3A, §2.5; AMD64 APM vol. 2, §3.1.1). Combine them with
 * `|`; other bits can be added as plain `bigint`.
 */
export const Cr0Flags = {
  /** Bit 0: protected mode. */
  Pe: 0x1n,
  /** Bit 4: always 1. */
  Et: 0x10n,
  /** Bit 16: supervisor writes respect R/W. */
  Wp: 0x1_0000n,
  /** Bit 29: not write-through. */
  Nw: 0x2000_0000n,
  /** Bit 30: caches are disabled. */
  Cd: 0x4000_0000n,
  /** Bit 31: paging. */
  Pg: 0x8000_0000n,
} as const;

/** The bits of CR4 that decide about paging and the TLB (Intel SDM vol. 3A, §2.5; AMD64 APM vol. 2, §3.1.3). */
export const Cr4Flags = {
  /** Bit 4: pages of 4 MiB with 32-bit paging. */
  Pse: 0x10n,
  /** Bit 5: entries of 64 bits. */
  Pae: 0x20n,
  /** Bit 7: global pages. */
  Pge: 0x80n,
  /** Bit 12: five levels in long mode. */
  La57: 0x1000n,
  /** Bit 17: CR3 bits 11:0 are a PCID. */
  Pcide: 0x2_0000n,
  /** Bit 20: the supervisor does not fetch from user pages. */
  Smep: 0x10_0000n,
  /** Bit 21: the supervisor does not access data of user pages. */
  Smap: 0x20_0000n,
  /** Bit 22: protection keys of user pages. */
  Pke: 0x40_0000n,
  /** Bit 23: control-flow enforcement, with shadow stacks. */
  Cet: 0x80_0000n,
  /** Bit 24: protection keys of supervisor pages. */
  Pks: 0x100_0000n,
} as const;

/** The bits of EFER that decide about paging and modes (Intel SDM vol. 3A, §2.2.1; AMD64 APM vol. 2, §3.1.7). */
export const EferFlags = {
  /** Bit 8: long mode is enabled. It is active from the next time that paging is turned on. */
  Lme: 0x100n,
  /** Bit 10: long mode is active. The processor sets it: it is LME and CR0.PG. */
  Lma: 0x400n,
  /** Bit 11: bit 63 of an entry is NX. */
  Nxe: 0x800n,
} as const;

/** Whether a register has one of these bits set. */
export function has(register: bigint, flags: bigint): boolean {
  return (register & flags) !== 0n;
}
