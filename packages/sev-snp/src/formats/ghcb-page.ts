import { describeValue, PAGE_SIZE, showInConsoles } from '@svsm/address';
import { refuseArgument, requireMethods } from './arguments.ts';
import { bytesOfInteger, integerOf, isBytes, requireFit, requireLength } from './byte-fields.ts';
import { SnpError } from './snp-error.ts';

/**
 * The fields of a GHCB: offset and size in bytes. Linux `arch/x86/include/asm/svm.h` `struct ghcb`, EDK2 `MdePkg`
 * `Ghcb.h`, OpenVMM `GhcbSaveArea`; the three agree.
 */
export const GHCB_FIELDS = {
  cpl: [0x0cb, 1],
  xss: [0x140, 8],
  dr7: [0x160, 8],
  rip: [0x178, 8],
  rsp: [0x1d8, 8],
  rax: [0x1f8, 8],
  rcx: [0x308, 8],
  rdx: [0x310, 8],
  rbx: [0x318, 8],
  rbp: [0x328, 8],
  rsi: [0x330, 8],
  rdi: [0x338, 8],
  r8: [0x340, 8],
  r9: [0x348, 8],
  r10: [0x350, 8],
  r11: [0x358, 8],
  r12: [0x360, 8],
  r13: [0x368, 8],
  r14: [0x370, 8],
  r15: [0x378, 8],
  exitCode: [0x390, 8],
  exitInfo1: [0x398, 8],
  exitInfo2: [0x3a0, 8],
  scratch: [0x3a8, 8],
  xcr0: [0x3e8, 8],
  x87StateGpa: [0x400, 8],
  protocolVersion: [0xffa, 2],
  usage: [0xffc, 4],
} as const;

/** The name of a field of a GHCB. */
export type GhcbField = keyof typeof GHCB_FIELDS;

/** Offset and size, in bytes, of the shared buffer in a GHCB. */
export const GHCB_BUFFER = {
  offset: 0x800,
  size: 0x7f0,
} as const;

/**
 * The codes of requests in a GHCB (Linux `arch/x86/include/uapi/asm/svm.h`, EDK2 `Ghcb.h`). Below 0x8000_0000 they are the
 * exit codes of instructions that the hypervisor intercepts.
 */
export const GhcbExit = {
  ReadDr7: 0x27n,
  WriteDr7: 0x37n,
  Rdtsc: 0x6en,
  Rdpmc: 0x6fn,
  Cpuid: 0x72n,
  Invd: 0x76n,
  Ioio: 0x7bn,
  Msr: 0x7cn,
  Vmmcall: 0x81n,
  Rdtscp: 0x87n,
  Wbinvd: 0x89n,
  Monitor: 0x8an,
  Mwait: 0x8bn,
  MmioRead: 0x8000_0001n,
  MmioWrite: 0x8000_0002n,
  NmiComplete: 0x8000_0003n,
  ApResetHold: 0x8000_0004n,
  ApJumpTable: 0x8000_0005n,
  PageStateChange: 0x8000_0010n,
  GuestRequest: 0x8000_0011n,
  ExtendedGuestRequest: 0x8000_0012n,
  SnpApCreation: 0x8000_0013n,
  HvDoorbellPage: 0x8000_0014n,
  HvIpi: 0x8000_0015n,
  GetApicIds: 0x8000_0017n,
  RunVmpl: 0x8000_0018n,
  SecureAvicGpa: 0x8000_001an,
  ConfigureInjection: 0x8000_001bn,
  DisableAlternateInjection: 0x8000_001cn,
  SpecificEoi: 0x8000_001dn,
  HypervisorFeatures: 0x8000_fffdn,
  Terminate: 0x8000_fffen,
  UnsupportedEvent: 0x8000_ffffn,
} as const;

/** The reasons for which the hypervisor refuses a request: in SW_EXITINFO2, with 2 in SW_EXITINFO1 (KVM `GHCB_ERR_*`). */
export const GhcbRefusal = {
  NotRegistered: 1n,
  BadUsage: 2n,
  BadScratchArea: 3n,
  MissingInput: 4n,
  InvalidInput: 5n,
  InvalidEvent: 6n,
} as const;

/** Access to the bytes of a page, wherever they lie. `offset` and `length` stay inside the page. */
export interface PageBytes {
  /** A copy of `length` bytes from `offset` on. */
  read(offset: number, length: number): Uint8Array;
  /** Writes `bytes` from `offset` on. */
  write(offset: number, bytes: Uint8Array): void;
}

const BITMAP = 0x3f0;

/**
 * The bit of the valid bitmap for a field: bit n stands for the quadword at 8·n. The bitmap has 128 bits, so a field at
 * or above 0x400 has none: `undefined`.
 *
 * @throws SnpError `INVALID_ARGUMENT` if the field does not exist
 */
export function ghcbValidBit(field: GhcbField): number | undefined {
  const [offset] = placeOf(field);
  return offset < 0x400 ? offset >> 3 : undefined;
}

function placeOf(field: GhcbField): (typeof GHCB_FIELDS)[GhcbField] {
  if (typeof field === 'string' && Object.hasOwn(GHCB_FIELDS, field)) return GHCB_FIELDS[field];
  return refuseArgument('the field of a GHCB', field, 'pass a name of GHCB_FIELDS');
}

/**
 * A guest-hypervisor communication block, over the bytes of the shared page. The other side can change the page at any
 * time. Each call reads memory once: keep the result and do not read a field twice. No method throws because of the bytes
 * in the page.
 *
 * @example
 * ```ts
 * import { GhcbExit, GhcbPage } from '@svsm/sev-snp/formats';
 *
 * const page = GhcbPage.over();
 * page.set('exitCode', GhcbExit.HypervisorFeatures);
 * console.log(page.get('exitCode') === GhcbExit.HypervisorFeatures); // => true
 * console.log(page.get('rax')); // => undefined
 * ```
 */
export class GhcbPage {
  static {
    showInConsoles(this, 'GhcbPage', (page) =>
      Object.fromEntries((Object.keys(GHCB_FIELDS) as GhcbField[]).map((field) => [field, page.get(field)])),
    );
  }

  readonly #bytes: PageBytes;

  /** @throws SnpError `INVALID_ARGUMENT` if `bytes` lack a method */
  constructor(bytes: PageBytes) {
    requireMethods('the bytes of a GHCB', bytes, ['read', 'write']);
    this.#bytes = bytes;
  }

  /** A GHCB over `bytes`, or over a new page of zeros. @throws SnpError `INVALID_ARGUMENT` if they are not 4096 bytes */
  static over(bytes: Uint8Array = new Uint8Array(PAGE_SIZE)): GhcbPage {
    requireLength(bytes, PAGE_SIZE, 'a GHCB');
    return new GhcbPage({
      read: (offset, length) => bytes.slice(offset, offset + length),
      write: (offset, from) => bytes.set(from, offset),
    });
  }

  /** The page as it is now. A later change by the other side does not reach the copy. Reads the page once. O(1). */
  snapshot(): GhcbPage {
    return GhcbPage.over(this.#bytes.read(0, PAGE_SIZE));
  }

  /**
   * The value of a field, or `undefined` if the valid bitmap has a bit for it and the bit is clear. O(1).
   *
   * @throws SnpError `INVALID_ARGUMENT` if the field does not exist
   */
  get(field: GhcbField): bigint | undefined {
    if (!this.isValid(field)) return undefined;
    const [offset, size] = GHCB_FIELDS[field];
    return integerOf(this.#bytes.read(offset, size));
  }

  /**
   * Writes a field, and marks it valid if it has a bit. O(1).
   *
   * @throws SnpError `INVALID_ARGUMENT` if the field does not exist, `INVALID_MESSAGE` if the value does not fit
   */
  set(field: GhcbField, value: bigint): void {
    const [offset, size] = placeOf(field);
    requireFit(field, value, size);
    this.#bytes.write(offset, bytesOfInteger(value, size));
    const bit = ghcbValidBit(field);
    if (bit === undefined) return;
    const held = this.#bytes.read(BITMAP + (bit >> 3), 1)[0]!;
    this.#bytes.write(BITMAP + (bit >> 3), Uint8Array.of(held | (1 << (bit & 7))));
  }

  /**
   * Whether a field is marked valid. A field without a bit always is.
   *
   * @throws SnpError `INVALID_ARGUMENT` if the field does not exist
   */
  isValid(field: GhcbField): boolean {
    const bit = ghcbValidBit(field);
    if (bit === undefined) return true;
    return (this.#bytes.read(BITMAP + (bit >> 3), 1)[0]! & (1 << (bit & 7))) !== 0;
  }

  /** Marks every field invalid. The values stay. */
  invalidate(): void {
    this.#bytes.write(BITMAP, new Uint8Array(16));
  }

  /**
   * Reads `length` bytes of the shared buffer, `offset` from its start.
   *
   * @throws SnpError `INVALID_ARGUMENT` if a byte lies outside of it
   */
  readBuffer(offset: number, length: number): Uint8Array {
    requireInBuffer(offset, length);
    return this.#bytes.read(GHCB_BUFFER.offset + offset, length);
  }

  /**
   * Writes to the shared buffer, `offset` from its start.
   *
   * @throws SnpError `INVALID_ARGUMENT` if a byte would lie outside
   */
  writeBuffer(offset: number, bytes: Uint8Array): void {
    requireInBuffer(offset, isBytes(bytes) ? bytes.length : Number.NaN);
    this.#bytes.write(GHCB_BUFFER.offset + offset, bytes);
  }
}

function requireInBuffer(offset: number, length: number): void {
  const isRange = Number.isInteger(offset) && offset >= 0 && Number.isInteger(length) && length >= 0;
  if (isRange && offset + length <= GHCB_BUFFER.size) return;
  throw new SnpError('INVALID_ARGUMENT', {
    what: 'the range in the shared buffer',
    value: `${describeValue(offset)} + ${describeValue(length)}`,
    expected: `stay within its ${GHCB_BUFFER.size} bytes`,
  });
}
