import { type Bytes, Phys, type PhysAddr } from '@svsm/address';
import { refuseArgument } from './arguments.ts';
import { fieldsOf, HALVES, joinHalves, requireFit, splitInteger } from './byte-fields.ts';
import { SnpError } from './snp-error.ts';

/** The operations of a page state change (Linux `enum psc_op`, EDK2 `SevSnpMsr.h`). */
export const PageOperation = {
  /** The page becomes the guest's. */
  Private: 1,
  /** The page becomes the hypervisor's, to be shared. */
  Shared: 2,
} as const;

/** One of the operations. */
export type PageOperation = (typeof PageOperation)[keyof typeof PageOperation];

/** All operations. */
export const PAGE_OPERATIONS: readonly PageOperation[] = /* @__PURE__ */ Object.values(PageOperation);

/** The error in the answer to a page state change that is not done (Linux `GHCB_MSR_PSC_RESP_ERROR`). */
export const PAGE_STATE_ERROR = 0x8000_0000;

/** Bits of the features that a hypervisor announces (Linux `GHCB_HV_FT_*`). */
export const HypervisorFeature = {
  Snp: 0x1n,
  ApCreation: 0x2n,
  RestrictedInjection: 0x4n,
  RestrictedInjectionTimer: 0x8n,
  ApicIdList: 0x10n,
  MultiVmpl: 0x20n,
  /** COCONUT-SVSM's name. */
  PageStateChange: 0x40n,
  /** COCONUT-SVSM's name. */
  ExtendedInterrupts: 0x200n,
} as const;

/**
 * A decoded value of the GHCB MSR (C001_0130). Its low 12 bits select the message, the other bits hold the fields. The
 * guest sends requests, the hypervisor answers.
 */
export type GhcbMsrMessage =
  /** 0x000: the address of the GHCB. */
  | { readonly type: 'ghcb'; readonly gpa: PhysAddr }
  /** 0x001: answer to `sev-info-request`. */
  | {
      readonly type: 'sev-info';
      readonly maxVersion: number;
      readonly minVersion: number;
      readonly cBit: number;
    }
  /** 0x002. */
  | { readonly type: 'sev-info-request' }
  /** 0x003, obsolete: the meaning of bits 63:12 is not known (OpenVMM `GhcbInfo`). */
  | { readonly type: 'ap-jump-table-request'; readonly value: bigint }
  /** 0x004: register 0 is EAX, 3 is EDX. */
  | { readonly type: 'cpuid-request'; readonly leaf: number; readonly register: number }
  /** 0x005. */
  | { readonly type: 'cpuid'; readonly value: number; readonly register: number }
  /** 0x006. */
  | { readonly type: 'ap-reset-hold-request' }
  /** 0x007: `value` is not 0 if a SIPI has started the processor. */
  | { readonly type: 'ap-reset-hold'; readonly value: bigint }
  /** 0x010. */
  | { readonly type: 'preferred-ghcb-request' }
  /** 0x011: without `gpa` if the hypervisor prefers none. */
  | { readonly type: 'preferred-ghcb'; readonly gpa: PhysAddr | undefined }
  /** 0x012. */
  | { readonly type: 'register-ghcb-request'; readonly gpa: PhysAddr }
  /** 0x013: repeats the address; without `gpa` it is refused. */
  | { readonly type: 'register-ghcb'; readonly gpa: PhysAddr | undefined }
  /** 0x014: one page of 4 KiB. The operation is a `PageOperation`, or another value of 4 bits, which hypervisors refuse. */
  | { readonly type: 'page-state-request'; readonly gpa: PhysAddr; readonly operation: number }
  /** 0x015: `error` is 0 after success. */
  | { readonly type: 'page-state'; readonly error: number }
  /** 0x016. */
  | { readonly type: 'run-vmpl-request'; readonly vmpl: number }
  /** 0x017: `error` is 0 after success. */
  | { readonly type: 'run-vmpl'; readonly error: number }
  /** 0x080. */
  | { readonly type: 'features-request' }
  /** 0x081: an OR of `HypervisorFeature`. */
  | { readonly type: 'features'; readonly features: bigint }
  /** 0x100: reasons of set 0 are 0 general, 1 protocol version not supported, 2 SNP not supported. */
  | { readonly type: 'terminate'; readonly reasonSet: number; readonly reason: number }
  /** 0xf00 to 0xf03: messages of Hyper-V (OpenVMM `GhcbInfo`). */
  | {
      readonly type: 'hyperv-hypercall' | 'hyperv-fast-call' | 'hyperv-output' | 'hyperv-debug-print';
      readonly value: bigint;
    }
  /** Every other value, and every value with a bit set that belongs to no field. */
  | { readonly type: 'unknown'; readonly value: bigint };

type MessageType = Exclude<GhcbMsrMessage['type'], 'unknown'>;
type Fields = Readonly<Record<string, number | bigint | undefined>>;

/** A field of a message. A number lies in one half of the value; the others begin at bit 12. */
interface Field {
  readonly name: string;
  /** The lowest bit, and the number of bits. */
  readonly shift: number;
  readonly bits: number;
  /** A number, a bigint, the address of a page, or an address for which all ones mean "none". */
  readonly as: 'number' | 'bigint' | 'page' | 'page or none';
}

interface Format {
  readonly info: bigint;
  readonly fields: readonly Field[];
}

const number = (name: string, shift: number, bits: number): Field => ({ name, shift, bits, as: 'number' });
const wide = (name: string, as: Field['as'], bits = 52): Field => ({ name, shift: 12, bits, as });

/** The messages: Linux `arch/x86/include/asm/sev-common.h`, EDK2 `SevSnpMsr.h`. The two agree. */
const FORMATS: Readonly<Record<MessageType, Format>> = {
  ghcb: { info: 0x000n, fields: [wide('gpa', 'page')] },
  'sev-info': {
    info: 0x001n,
    fields: [number('maxVersion', 48, 16), number('minVersion', 32, 16), number('cBit', 24, 8)],
  },
  'sev-info-request': { info: 0x002n, fields: [] },
  'ap-jump-table-request': { info: 0x003n, fields: [wide('value', 'bigint')] },
  'cpuid-request': { info: 0x004n, fields: [number('leaf', 32, 32), number('register', 30, 2)] },
  cpuid: { info: 0x005n, fields: [number('value', 32, 32), number('register', 30, 2)] },
  'ap-reset-hold-request': { info: 0x006n, fields: [] },
  'ap-reset-hold': { info: 0x007n, fields: [wide('value', 'bigint')] },
  'preferred-ghcb-request': { info: 0x010n, fields: [] },
  'preferred-ghcb': { info: 0x011n, fields: [wide('gpa', 'page or none')] },
  'register-ghcb-request': { info: 0x012n, fields: [wide('gpa', 'page')] },
  'register-ghcb': { info: 0x013n, fields: [wide('gpa', 'page or none')] },
  'page-state-request': { info: 0x014n, fields: [wide('gpa', 'page', 40), number('operation', 52, 4)] },
  'page-state': { info: 0x015n, fields: [number('error', 32, 32)] },
  'run-vmpl-request': { info: 0x016n, fields: [number('vmpl', 32, 8)] },
  'run-vmpl': { info: 0x017n, fields: [number('error', 32, 32)] },
  'features-request': { info: 0x080n, fields: [] },
  features: { info: 0x081n, fields: [wide('features', 'bigint')] },
  terminate: { info: 0x100n, fields: [number('reasonSet', 12, 4), number('reason', 16, 8)] },
  'hyperv-hypercall': { info: 0xf00n, fields: [wide('value', 'bigint')] },
  'hyperv-fast-call': { info: 0xf01n, fields: [wide('value', 'bigint')] },
  'hyperv-output': { info: 0xf02n, fields: [wide('value', 'bigint')] },
  'hyperv-debug-print': { info: 0xf03n, fields: [wide('value', 'bigint')] },
};

/** The types of messages. */
export const GHCB_MSR_TYPES: readonly string[] = /* @__PURE__ */ [...Object.keys(FORMATS), 'unknown'];

/** A message as the decoder finds it: by the low 12 bits. */
interface Decoded extends Format {
  readonly type: MessageType;
  /** The bits that belong to no field and not to the low 12, in both halves. */
  readonly noneLow: number;
  readonly noneHigh: number;
}

const BY_INFO: ReadonlyMap<number, Decoded> = /* @__PURE__ */ new Map(
  Object.entries(FORMATS).map(([type, { info, fields }]) => {
    const used = fields.reduce((mask, field) => mask | (maxOf(field) << BigInt(field.shift)), 0xfffn);
    const noneLow = ~Number(used & 0xffff_ffffn);
    const noneHigh = ~Number(used >> 32n);
    return [Number(info), { type: type as MessageType, info, fields, noneLow, noneHigh }];
  }),
);

const TYPE = ['type'] as const;

/** The names of the fields of each message. */
const NAMES: ReadonlyMap<string, readonly never[]> = /* @__PURE__ */ new Map<string, never[]>([
  ...Object.entries(FORMATS).map(([type, { fields }]): [string, never[]] => [
    type,
    fields.map(({ name }) => name) as never[],
  ]),
  ['unknown', ['value'] as never[]],
]);

/**
 * The value of the GHCB MSR for a message. O(1).
 *
 * @throws SnpError `INVALID_MESSAGE` if a field does not fit
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { decodeGhcbMsr, encodeGhcbMsr, PageOperation } from '@svsm/sev-snp/formats';
 *
 * const operation = PageOperation.Shared;
 * const value = encodeGhcbMsr({ type: 'page-state-request', gpa: physAddr(0x40_1000), operation });
 * console.log(value.toString(16)); // => 20000000401014
 * console.log(decodeGhcbMsr(0x1_0000_0015n)); // => { type: 'page-state', error: 1 }
 * ```
 */
export function encodeGhcbMsr(message: GhcbMsrMessage): bigint {
  const { type } = fieldsOf('the message', message, TYPE);
  const names = NAMES.get(type);
  if (names === undefined) {
    const expected = 'pass a type of GhcbMsrMessage';
    throw new SnpError('INVALID_MESSAGE', { field: 'type', value: type, expected });
  }
  const values = fieldsOf('the message', message, names) as unknown as Fields;
  if (type === 'unknown') {
    requireFit('value', values['value'] as bigint, 8);
    return values['value'] as bigint;
  }
  const { info, fields } = FORMATS[type];
  let value = info;
  for (const field of fields) value |= encodeField(field, values[field.name]);
  return value;
}

/**
 * Decodes a value of the GHCB MSR. A value that is not a message, or has a bit set that belongs to no field, is `unknown`.
 * Encoding the result always returns `value`. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if `value` is not a bigint
 */
export function decodeGhcbMsr(value: bigint): GhcbMsrMessage {
  if (typeof value !== 'bigint') refuseArgument('the value of the GHCB MSR', value, 'pass a bigint');
  if (!splitInteger(value)) return unknown(value);
  const low = HALVES[0]!;
  const high = HALVES[1]!;
  const format = BY_INFO.get(low & 0xfff);
  if (format === undefined || (low & format.noneLow) !== 0 || (high & format.noneHigh) !== 0) {
    return unknown(value);
  }
  const message: Record<string, unknown> = { type: format.type };
  for (const field of format.fields) {
    const decoded = field.as === 'number' ? bitsOf(field, low, high) : decodeWide(field, low, high);
    // An address has more bits in the MSR than a physical address can have.
    if (isPage(field) && decoded !== undefined && !Phys.isAddress(decoded)) return unknown(value);
    message[field.name] = decoded;
  }
  return Object.freeze(message) as unknown as GhcbMsrMessage;
}

function unknown(value: bigint): GhcbMsrMessage {
  return Object.freeze({ type: 'unknown', value });
}

function isPage({ as }: Field): boolean {
  return as === 'page' || as === 'page or none';
}

function maxOf({ bits }: Field): bigint {
  return (1n << BigInt(bits)) - 1n;
}

/** A field in one half of a value. */
function bitsOf({ shift, bits }: Field, low: number, high: number): number {
  return ((shift < 32 ? low : high) >>> (shift % 32)) % 2 ** bits;
}

/** A field from bit 12 on, of 40 bits or of all 52. */
function decodeWide({ as, bits }: Field, low: number, high: number): bigint | undefined {
  const upper = high % 2 ** (bits - 20);
  const isNone = as === 'page or none' && low >>> 12 === 0xf_ffff && upper === 0xffff_ffff;
  if (isNone) return undefined;
  const address = joinHalves(low & ~0xfff, upper);
  return as === 'bigint' ? address >> 12n : address;
}

function isBits(value: unknown, bits: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** bits;
}

/** The bits of a value that a field sets. */
function encodeField(field: Field, value: number | bigint | undefined): bigint {
  const { name, as, shift, bits } = field;
  if (as === 'number' && isBits(value, bits)) {
    const part = value << (shift % 32);
    return shift < 32 ? joinHalves(part, 0) : joinHalves(0, part);
  }
  const max = maxOf(field);
  if (as === 'page or none' && value === undefined) return max << 12n;
  const isAddress = isPage(field);
  const unit = isAddress ? 0x1000n : 1n;
  const isInteger = as === 'number' ? Number.isSafeInteger(value) : typeof value === 'bigint';
  const integer = isInteger ? BigInt(value as Bytes) : -1n;
  if (integer < 0n || integer > max * unit || (integer & (unit - 1n)) !== 0n) {
    const kind = isAddress ? 'a multiple of 4096' : as === 'number' ? 'an integer' : 'a bigint';
    const expected = `pass ${kind} from 0 to 0x${(max * unit).toString(16)}${isAddress ? ' as a bigint' : ''}`;
    throw new SnpError('INVALID_MESSAGE', { field: name, value, expected });
  }
  return isAddress ? integer : integer << BigInt(shift);
}
