import { type MemoryEncryption, type PagingConfig, pagingConfig } from '@svsm/pagetable';
import type { Guest } from '@svsm/sev-snp';
import { pagingArgument, refuseArgument, requireInstance, requireOptions } from '../formats/arguments.ts';

/** The bits of an entry that make a page private or shared, as a platform reports them. At most one of the masks is set. */
export interface PageEncryptionMasks {
  /** The C-bit: set in entries of private pages. 0 for none. */
  readonly privateMask: bigint;
  /** The bit of the virtual top of memory: set in entries of shared pages. 0 for none. */
  readonly sharedMask: bigint;
  /** The width of physical addresses in bits, 32 to 52: 52 if not given. A mask may lie within it. */
  readonly physicalBits?: number;
}

/** The masks of a guest, by its paging configuration. @throws MmError `INVALID_ARGUMENT` */
export function encryptionMasksOf(guest: Guest): PageEncryptionMasks {
  requireInstance('the guest', guest, 'Guest');
  const { encryption, physicalBits } = guest.paging;
  const mask = encryption === undefined ? 0n : 1n << BigInt(encryption.bit);
  const isCBit = encryption?.mode === 'c-bit';
  return Object.freeze({ privateMask: isCBit ? mask : 0n, sharedMask: isCBit ? 0n : mask, physicalBits });
}

/**
 * The step `paging`: the paging configuration for the masks of a platform. With a C-bit it comes from CPUID, with a virtual top
 * of memory from an MSR, and without encryption both masks are 0. The C-bit is reserved below a virtual top of memory.
 *
 * @param base - the configuration that the masks change: that of a current EPYC with 4 levels if not given
 * @throws MmError `INVALID_ARGUMENT` if both masks are set, or one has not exactly one bit of 32 to 51; PageTableError `INVALID_CONFIG`
 *
 * @example
 * ```ts
 * import { pagingOf } from '@svsm/mm';
 *
 * console.log(pagingOf({ privateMask: 1n << 51n, sharedMask: 0n }).encryption?.mode); // => c-bit
 * console.log(pagingOf({ privateMask: 0n, sharedMask: 1n << 46n, physicalBits: 47 }).encryption?.bit); // => 46
 * console.log(pagingOf({ privateMask: 0n, sharedMask: 0n }).encryption); // => undefined
 * ```
 */
export function pagingOf(masks: PageEncryptionMasks, base: PagingConfig = pagingConfig()): PagingConfig {
  requireOptions('masks', masks, ['privateMask', 'sharedMask', 'physicalBits']);
  const { privateMask, sharedMask, physicalBits = 52 } = masks;
  const [cBit, vtom] = [bitOf('privateMask', privateMask), bitOf('sharedMask', sharedMask)];
  if (cBit !== undefined && vtom !== undefined)
    refuseArgument('sharedMask', sharedMask, 'pass 0n if privateMask is set: a page has one bit');
  const encryption: MemoryEncryption | undefined =
    cBit !== undefined
      ? { mode: 'c-bit', bit: cBit }
      : vtom !== undefined
        ? { mode: 'vtom', bit: vtom }
        : undefined;
  return pagingConfig({ ...pagingArgument(base), physicalBits, encryption });
}

/** The bit of a mask; `undefined` for 0. */
function bitOf(what: string, mask: bigint): number | undefined {
  if (mask === 0n) return undefined;
  const bit = typeof mask === 'bigint' && mask > 0n ? mask.toString(2).length - 1 : -1;
  if (bit >= 32 && bit <= 51 && mask === 1n << BigInt(bit)) return bit;
  return refuseArgument(what, mask, 'pass 0n, or a bigint with one bit from bit 32 to bit 51');
}
