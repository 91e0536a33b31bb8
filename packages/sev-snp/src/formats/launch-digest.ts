import { PAGE_SIZE, type PhysAddr, showInConsoles } from '@svsm/address';
import { refuseArgument as refuse, requireFunction, requireMethods } from './arguments.ts';
import { type Assumptions, assumptionsOf } from './assumptions.ts';
import {
  type ByteFields,
  isBytes,
  requireBytes,
  requireFlags,
  requireLength,
  writeFields,
} from './byte-fields.ts';
import { requireOptions } from './options.ts';

/** SHA-384: 48 bytes for any input. {@link webCryptoSha384} makes one from WebCrypto; a library's works too. */
export type Sha384 = (bytes: Uint8Array) => Uint8Array | PromiseLike<Uint8Array>;

/** The part of `crypto.subtle` that is needed. Browsers, Node, Deno and Bun have it. */
export interface DigestSource {
  /** The SHA-384 of `data`, 48 bytes. */
  digest(algorithm: 'SHA-384', data: ArrayBuffer): PromiseLike<ArrayBuffer>;
}

/** SHA-384 of WebCrypto: pass `crypto.subtle`. @throws SnpError `INVALID_ARGUMENT` if `subtle` has no `digest` */
export function webCryptoSha384(subtle: DigestSource): Sha384 {
  requireMethods('subtle', subtle, ['digest']);
  return async (bytes) => new Uint8Array(await subtle.digest('SHA-384', new Uint8Array(bytes).buffer));
}

/** Types of pages of SNP_LAUNCH_UPDATE (AMD-ASPFW `sev_mcmd.h`; OpenVMM `SnpPageType`). */
export const LaunchPageType = {
  Normal: 1,
  /** The state of a processor; 4 KiB. */
  Vmsa: 2,
  /** Zeros, written by the firmware. */
  Zero: 3,
  /** Data of the hypervisor that the digest does not cover. */
  Unmeasured: 4,
  /** Keys of the guest, written by the firmware, and the place of an SVSM; 4 KiB. */
  Secrets: 5,
  /** Answers of CPUID, checked by the firmware; 4 KiB. */
  Cpuid: 6,
} as const;

/** One of the types. */
export type LaunchPageType = (typeof LaunchPageType)[keyof typeof LaunchPageType];

/** The address at which every VMSA is measured and assigned, for all processors: frame -1 in 36 bits. */
export const VMSA_LAUNCH_GPA: PhysAddr = 0xffff_ffff_f000n as PhysAddr;

/** Bytes of a digest. */
const DIGEST_SIZE = 48;

/** A page as the digest sees it. */
export interface LaunchPage {
  readonly type: LaunchPageType;
  readonly gpa: PhysAddr;
  /**
   * The bytes of the page. The digest covers those of `Normal` and `Vmsa` pages only; a launch also writes those of
   * `Unmeasured` and `Cpuid` pages. A normal page can have several 4096 bytes.
   */
  readonly bytes?: Uint8Array;
  /**
   * The number of bytes of a range of `Zero` or `Unmeasured` pages without `bytes`: a multiple of 4096, which is also the
   * number if it is not given.
   */
  readonly size?: number;
  /** The masks of VMPL1 to VMPL3: 0 if not given. */
  readonly permissions?: readonly [number, number, number];
  /** Whether the page belongs to a migration image. */
  readonly imi?: boolean;
}

/** The fields of {@link encodePageInfo}. */
export interface PageInfo {
  /** The digest before this page. */
  readonly digest: Uint8Array;
  /** SHA-384 of the content of the page, or 48 zeros. */
  readonly contents: Uint8Array;
  readonly type: LaunchPageType;
  readonly gpa: PhysAddr;
  readonly permissions?: readonly [number, number, number];
  readonly imi?: boolean;
}

/** The assumption that {@link encodePageInfo} depends on: the order of the permissions. */
export type PageInfoAssumptions = Partial<Pick<Assumptions, 'pageInfoMasks'>>;

const PAGE_INFO_SIZE = 0x70;
const CONTENTS = 0x30;
const MASKS = 0x64;
const PAGE_INFO = {
  length: [0x60, 2],
  type: [0x62, 1],
  imi: [0x63, 1],
  gpa: [0x68, 8],
} as const satisfies ByteFields;

const INFO: readonly (keyof PageInfo)[] = ['digest', 'contents', 'type', 'gpa', 'permissions', 'imi'];

/**
 * PAGE_INFO, the 112 bytes whose SHA-384 is the digest after a page (AMD-ASPFW `sev_mcmd.h`). The order of the
 * permissions is AMD-ASPFW's. virtee/sev-snp-measure has the reverse order, and known digests do not decide it: their
 * masks are 0.
 *
 * @throws SnpError `INVALID_ARGUMENT` if a digest is not 48 bytes long, the address is not a multiple of 4096, or an
 *   assumption does not exist; `INVALID_MESSAGE` if another field does not fit
 */
export function encodePageInfo(info: PageInfo, assumptions: PageInfoAssumptions = {}): Uint8Array {
  requireOptions('the fields of PAGE_INFO', info, INFO);
  return infoOf(info, assumptionsOf(assumptions));
}

function infoOf(info: PageInfo, assumptions: Assumptions): Uint8Array {
  const { digest, contents, type, gpa, permissions = [0, 0, 0], imi = false } = info;
  for (const part of [digest, contents]) requireLength(part, DIGEST_SIZE, 'a digest');
  requirePage(gpa);
  requireFlags({ imi });
  requireBytes('permissions', permissions, 3);
  const bytes = new Uint8Array(PAGE_INFO_SIZE);
  bytes.set(digest);
  bytes.set(contents, CONTENTS);
  writeFields(bytes, PAGE_INFO, { length: PAGE_INFO_SIZE, type, imi: Number(imi), gpa });
  if (assumptions.pageInfoMasks === 'vmpl1-first') bytes.set(permissions, MASKS + 1);
  else bytes.set(permissions.toReversed(), MASKS);
  return bytes;
}

/**
 * The launch digest of a guest, as the firmware computes it and an attestation report contains it. The pages form a
 * chain: their order, addresses, types and permissions count as their contents do.
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { LaunchDigest, LaunchPageType, webCryptoSha384 } from '@svsm/sev-snp/formats';
 *
 * const launch = new LaunchDigest(webCryptoSha384(crypto.subtle));
 * const page = { type: LaunchPageType.Normal, gpa: physAddr(0), bytes: new Uint8Array(4096) };
 * const digest = await launch.update(page);
 * console.log(digest.length, digest[0]); // => 48 157
 * ```
 */
export class LaunchDigest {
  static {
    showInConsoles(this, 'LaunchDigest', ({ value }) => ({
      value: Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join(''),
    }));
  }

  readonly #sha384: Sha384;
  readonly #assumptions: Assumptions;
  #value: Uint8Array;
  #last: Promise<void> = Promise.resolve();

  /**
   * @param from - the digest after pages that were measured before, such as those of a firmware image; 48 zeros if not
   *   given
   * @throws SnpError `INVALID_ARGUMENT` if it is not 48 bytes long, `sha384` is not a function, or an assumption does not
   *   exist
   */
  constructor(
    sha384: Sha384,
    from: Uint8Array = new Uint8Array(DIGEST_SIZE),
    assumptions: PageInfoAssumptions = {},
  ) {
    requireFunction('sha384', sha384);
    requireLength(from, DIGEST_SIZE, 'a digest');
    this.#sha384 = sha384;
    this.#assumptions = assumptionsOf(assumptions);
    this.#value = Uint8Array.from(from);
  }

  /** The digest after all pages whose `update` has finished: a copy of 48 bytes. */
  get value(): Uint8Array {
    return this.#value.slice();
  }

  /**
   * Adds a page: one record for each 4 KiB. Calls are processed in their order, awaited or not. O(bytes).
   *
   * @returns the digest after the page
   * @throws SnpError `INVALID_ARGUMENT` for an unknown type, a misaligned address, bytes that are not whole pages, or a
   *   measured page without bytes; `INVALID_MESSAGE` if another field does not fit
   */
  update(page: LaunchPage): Promise<Uint8Array> {
    const checked = requireLaunchPage(page);
    const records = recordsOf(checked);
    const before = this.#last;
    const run = async (): Promise<Uint8Array> => {
      await before;
      for (const record of records) await this.#extend(checked, record);
      return this.value;
    };
    const done = run();
    // A failure rejects the promise of its own page. Later pages go on.
    this.#last = done.then(
      () => {},
      () => {},
    );
    return done;
  }

  async #extend(page: LaunchPage, { gpa, bytes }: Record4k): Promise<void> {
    const contents = bytes === undefined ? new Uint8Array(DIGEST_SIZE) : await this.#sha384(bytes);
    const info = infoOf({ ...page, gpa, contents, digest: this.#value }, this.#assumptions);
    this.#value = Uint8Array.from(await this.#sha384(info));
  }
}

/** 4 KiB of a page, with its bytes if they are measured. */
interface Record4k {
  readonly gpa: PhysAddr;
  readonly bytes: Uint8Array | undefined;
}

// The TSC scale and offset of a VMSA: the firmware fills them in, and measures them as 0.
const VMSA_UNMEASURED = [0x2f0, 0x300] as const;

const PAGE: readonly (keyof LaunchPage)[] = ['type', 'gpa', 'bytes', 'size', 'permissions', 'imi'];

/**
 * A copy of a page whose fields have the right types. The bytes are not copied.
 *
 * @throws SnpError `INVALID_ARGUMENT` if a field has another type, or does not exist; `INVALID_MESSAGE` if the permissions or
 *   `imi` do not fit
 */
export function requireLaunchPage(page: LaunchPage): LaunchPage {
  requireOptions('a page of a launch', page, PAGE);
  const copy: LaunchPage = { ...page };
  const { type, bytes, size } = copy;
  if (!Object.values(LaunchPageType).includes(type)) refuse('the type of a page', type, 'pass 1 to 6');
  requirePage(copy.gpa);
  if (bytes !== undefined && !isBytes(bytes)) refuse('the bytes of a page', bytes, 'pass a Uint8Array');
  if (size !== undefined && !Number.isSafeInteger(size))
    refuse('the bytes of a page', size, 'pass a multiple of 4096');
  if (copy.permissions !== undefined) requireBytes('permissions', copy.permissions, 3);
  if (copy.imi !== undefined) requireFlags({ imi: copy.imi });
  return copy;
}

/** Checks a page, then lists its records. Bytes are copied at once, because the caller can change its own later. */
function recordsOf(page: LaunchPage): Iterable<Record4k> {
  const { type, gpa, bytes } = page;
  const length = requirePageBytes(page);
  const isMeasured = type === LaunchPageType.Normal || type === LaunchPageType.Vmsa;
  return recordsFrom(gpa, length, isMeasured ? measuredCopy(type, bytes as Uint8Array) : undefined);
}

/** The number of bytes of a checked page. @throws SnpError `INVALID_ARGUMENT` if its type does not allow it */
export function requirePageBytes({ type, bytes, size }: LaunchPage): number {
  const isMeasured = type === LaunchPageType.Normal || type === LaunchPageType.Vmsa;
  const length = bytes?.length ?? size ?? PAGE_SIZE;
  const isSingle =
    type !== LaunchPageType.Normal && type !== LaunchPageType.Zero && type !== LaunchPageType.Unmeasured;
  if (isMeasured && bytes === undefined)
    refuse('the bytes of a page', bytes, 'pass bytes, which are measured');
  if (length <= 0 || length % PAGE_SIZE !== 0 || (isSingle && length !== PAGE_SIZE)) {
    refuse('the bytes of a page', length, isSingle ? 'pass 4096' : 'pass a multiple of 4096');
  }
  if (size !== undefined && size !== length)
    refuse('the size of a page', size, `pass the number of its bytes, ${length}, or no size`);
  return length;
}

function* recordsFrom(gpa: PhysAddr, length: number, bytes: Uint8Array | undefined): Generator<Record4k> {
  for (let at = 0; at < length; at += PAGE_SIZE)
    yield { gpa: (gpa + BigInt(at)) as PhysAddr, bytes: bytes?.subarray(at, at + PAGE_SIZE) };
}

function measuredCopy(type: LaunchPageType, bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  if (type === LaunchPageType.Vmsa) copy.fill(0, ...VMSA_UNMEASURED);
  return copy;
}

function requirePage(gpa: PhysAddr): void {
  if (typeof gpa === 'bigint' && gpa % BigInt(PAGE_SIZE) === 0n) return;
  refuse('the address of a page', gpa, 'pass a multiple of 4096 as a bigint');
}
