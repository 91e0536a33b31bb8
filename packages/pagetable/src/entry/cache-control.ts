import { ANY, Fields } from './fields.ts';
import { hasBit, invalidState, requireRegister } from './invalid-state.ts';
import { type Mtrrs, requireMtrrs } from './mtrr.ts';
import { decodePat, PAT_RESET, type Pat } from './pat.ts';

/**
 * The effect of CR0.CD=1. The manuals differ, and so do processors (P67):
 *
 * - `cd`: PWT and PCD are ignored, and a cacheable type becomes CD (AMD64 APM vol. 2, §3.1.1, §7.4).
 * - `typed`: the types stay as they are; the caches only take no new lines (Intel SDM vol. 3A, §11.5.3).
 * - `uc`: all memory is UC (Intel Atom: SDM §11.5.3).
 */
export type CacheDisableEffect = 'cd' | 'typed' | 'uc';

/**
 * The type of a large page whose parts have different MTRR types, where the type of the page depends on the part (P66):
 *
 * - `unspecified`: the manuals leave it open (Intel SDM vol. 3A, §11.11.9; AMD64 APM vol. 2, §7.7.4).
 * - `split`: each 4 KiB has its own type, as if the TLB held small pages. The SDM says this of pages that overlap the first
 *   1 MiB.
 * - `conservative`: the most restrictive MTRR type on the page applies to all of it. Both manuals advise software to choose
 *   such a type by PCD and PWT; that a processor does so by itself is not verified ([U]).
 */
export type MixedPageEffect = 'unspecified' | 'split' | 'conservative';

/** The settings from which {@link cacheControl} makes a {@link CacheControl}. */
export interface CacheControlOptions {
  readonly mtrrs: Mtrrs;
  /** IA32_PAT. {@link PAT_RESET} if not given. */
  readonly pat?: bigint;
  /** CR0, of which PG (bit 31) and CD (bit 30) matter. PG set and CD clear if not given. */
  readonly cr0?: bigint;
  /** `cd` on AMD and `typed` on Intel if not given. */
  readonly cacheDisable?: CacheDisableEffect;
  /** `unspecified` if not given. */
  readonly mixedPages?: MixedPageEffect;
}

/** The part of a processor's state that decides memory types. Frozen; made by {@link cacheControl}. */
export interface CacheControl {
  readonly mtrrs: Mtrrs;
  readonly pat: Pat;
  /** CR0.PG. Without paging, the MTRRs alone decide. */
  readonly paging: boolean;
  /** CR0.CD. */
  readonly cacheDisabled: boolean;
  readonly cacheDisable: CacheDisableEffect;
  readonly mixedPages: MixedPageEffect;
}

/**
 * The part of a processor's state that decides memory types, checked and frozen: MTRRs, IA32_PAT and CR0. CR0.PG is bit 31,
 * CR0.CD bit 30 (Intel SDM vol. 3A, §2.5; AMD64 APM vol. 2, §3.1.1); CR0.NW has no effect. O(1).
 *
 * @throws PageTableError `INVALID_CPU_STATE` if a register has a value that the processor refuses, or a setting does not exist
 */
export function cacheControl(options: CacheControlOptions): CacheControl {
  OPTIONS.require(options);
  const { mtrrs, pat = PAT_RESET, cr0 = 0x8000_0000n } = options;
  requireMtrrs(mtrrs);
  const { cacheDisable = mtrrs.vendor === 'amd' ? 'cd' : 'typed', mixedPages = 'unspecified' } = options;
  if (cacheDisable !== 'cd' && cacheDisable !== 'typed' && cacheDisable !== 'uc') {
    throw invalidState('cacheDisable', cacheDisable, "pass 'cd', 'typed' or 'uc'");
  }
  if (cacheDisable === 'cd' && mtrrs.vendor !== 'amd') {
    throw invalidState('cacheDisable', cacheDisable, 'the type CD exists on AMD processors alone');
  }
  if (mixedPages !== 'unspecified' && mixedPages !== 'split' && mixedPages !== 'conservative') {
    throw invalidState('mixedPages', mixedPages, "pass 'unspecified', 'split' or 'conservative'");
  }
  requireRegister('cr0', cr0);
  const control: CacheControl = Object.freeze({
    mtrrs,
    pat: decodePat(pat),
    paging: hasBit(cr0, 31),
    cacheDisabled: hasBit(cr0, 30),
    cacheDisable,
    mixedPages,
  });
  MADE.add(control);
  return control;
}

/** The results of {@link cacheControl}: their fields agree with each other. */
const MADE: WeakSet<object> = /* @__PURE__ */ new WeakSet();

/** @throws PageTableError `INVALID_CPU_STATE` unless {@link cacheControl} has made `control` */
export function requireCacheControl(control: CacheControl): void {
  if (!MADE.has(control)) throw invalidState('control', control, 'pass what cacheControl returns');
}

const OPTIONS: Fields = /* @__PURE__ */ new Fields(
  'options',
  { mtrrs: ANY, pat: ANY, cr0: ANY, cacheDisable: ANY, mixedPages: ANY },
  invalidState,
);
