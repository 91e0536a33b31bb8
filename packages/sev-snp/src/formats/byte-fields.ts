import { PAGE_SIZE, PageSize } from '@svsm/address';
import { SnpError } from './snp-error.ts';

/*
 * Fields over bytes. A table names each field with its offset and size, and the functions below read and write by it. All
 * integers are unsigned and little-endian.
 */

/** Where a field lies: its offset and its size, in bytes. */
type ByteField = readonly [offset: number, size: 1 | 2 | 4 | 8];

/** Fields by name. */
export type ByteFields = Readonly<Record<string, ByteField>>;

/** The values of fields: a `bigint` for 8 bytes, a `number` for fewer. */
export type FieldValues<Fields extends ByteFields> = {
  readonly [Name in keyof Fields]: Fields[Name][1] extends 8 ? bigint : number;
};

/** The values of all fields. `bytes` must hold them. O(fields). */
export function readFields<Fields extends ByteFields>(
  bytes: Uint8Array,
  fields: Fields,
): FieldValues<Fields> {
  const view = viewOf(bytes);
  const values = Object.entries(fields).map(([name, field]) => [name, readField(view, field)] as const);
  return Object.fromEntries(values) as FieldValues<Fields>;
}

/**
 * Writes all fields. `bytes` must hold them. O(fields).
 *
 * @throws SnpError `INVALID_MESSAGE` if a value does not fit; nothing is written then
 */
export function writeFields<Fields extends ByteFields>(
  bytes: Uint8Array,
  fields: Fields,
  values: FieldValues<Fields>,
): void {
  const read: Readonly<Record<string, number | bigint>> = fieldsOf('the fields', values, Object.keys(fields));
  for (const [name, [, size]] of Object.entries(fields)) requireUint(name, read[name], size);
  const view = viewOf(bytes);
  for (const [name, field] of Object.entries(fields)) writeField(view, field, read[name]!);
}

/**
 * A copy of the fields of a message, for which each is read once.
 *
 * @param what - the name of the message in an error
 * @throws SnpError `INVALID_MESSAGE` if `message` is not an object, or a field cannot be read
 */
export function fieldsOf<Message extends object>(
  what: string,
  message: Message,
  names: readonly (keyof Message & string)[],
): Message {
  const fields: Partial<Message> = {};
  try {
    if (typeof message !== 'object') throw new TypeError('not an object');
    for (const name of names) fields[name] = message[name];
  } catch (cause) {
    const expected = `pass an object with the fields ${names.join(', ')}`;
    throw new SnpError('INVALID_MESSAGE', { field: what, value: message, expected }, { cause });
  }
  return fields as Message;
}

/** Scratch: an integer and its bytes. A `DataView` for each call costs more than the rest of it. */
const INTEGER = /* @__PURE__ */ new BigUint64Array(1);
const BYTES = /* @__PURE__ */ new Uint8Array(INTEGER.buffer);

/** The number of bytes of an entry in a list of pages. */
const ENTRY_SIZE = 8;

/**
 * The two halves of a 64-bit integer, and the bigint that they make: shifts of bigints cost more. Each use of
 * {@link loadEntry} or {@link splitInteger} replaces them.
 */
export const HALVES: Uint32Array = /* @__PURE__ */ new Uint32Array(INTEGER.buffer);

/** Loads the 8 bytes from `at` on into {@link HALVES}. */
export function loadEntry(bytes: Uint8Array, at: number): void {
  for (let k = 0; k < ENTRY_SIZE; k += 1) BYTES[k] = bytes[at + k]!;
}

/** Stores {@link HALVES} in the 8 bytes from `at` on. */
export function storeEntry(bytes: Uint8Array, at: number): void {
  for (let k = 0; k < ENTRY_SIZE; k += 1) bytes[at + k] = BYTES[k]!;
}

/** Splits a bigint into {@link HALVES}. Returns whether it has 64 bits and is not negative. */
export function splitInteger(value: bigint): boolean {
  if (typeof value !== 'bigint') return false;
  INTEGER[0] = value;
  return INTEGER[0] === value;
}

/** The bigint of two halves. */
export function joinHalves(low: number, high: number): bigint {
  HALVES[0] = low;
  HALVES[1] = high;
  return INTEGER[0]!;
}

/** The integer in up to 8 bytes. */
export function integerOf(bytes: Uint8Array): bigint {
  INTEGER[0] = 0n;
  BYTES.set(bytes);
  return INTEGER[0];
}

/** The `size` bytes of an integer, up to 8. A value that is wider is cut off. */
export function bytesOfInteger(value: bigint, size: number): Uint8Array {
  INTEGER[0] = value;
  return BYTES.slice(0, size);
}

/** @throws SnpError `INVALID_MESSAGE` if `value` does not fit in the `size` bytes of `field` */
export function requireFit(field: string, value: bigint, size: number): void {
  if (typeof value === 'bigint' && value >> BigInt(8 * size) === 0n) return;
  const type = typeof value === 'number' ? 'bigint' : 'integer';
  refuse(field, value, `pass an unsigned ${type} of ${8 * size} bits`);
}

/** As {@link requireFit}, but a value of fewer than 8 bytes is a `number`. */
function requireUint(field: string, value: unknown, size: number): void {
  if (size === 8) requireFit(field, value as bigint, size);
  else requireBits(field, value as number, 8 * size);
}

/** @throws SnpError `INVALID_MESSAGE` if `value` is not an unsigned integer of `bits` bits, at most 32 */
export function requireBits(field: string, value: number, bits: number): void {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** bits) return;
  refuse(field, value, `pass an unsigned integer of ${bits} bits`);
}

/** @throws SnpError `INVALID_MESSAGE` if a value is not a boolean */
export function requireFlags(flags: Readonly<Record<string, boolean>>): void {
  for (const [field, value] of Object.entries(flags)) {
    if (typeof value !== 'boolean') refuse(field, value, 'pass a boolean');
  }
}

/** @throws SnpError `INVALID_MESSAGE` if `value` is not the address of a 4 KiB page of `bits` bits */
export function requirePageAddress(field: string, value: bigint, bits: number): void {
  if (splitInteger(value) && (HALVES[0]! & (PAGE_SIZE - 1)) === 0 && HALVES[1]! < 2 ** (bits - 32)) return;
  refuse(field, value, `pass a multiple of 4096 below 2^${bits} as a bigint`);
}

/** @throws SnpError `INVALID_MESSAGE` if `value` is not a page size of the RMP */
export function requirePageSize(field: string, value: number): void {
  if (value !== PageSize.Regular && value !== PageSize.Huge) refuse(field, value, 'pass 4096 or 2097152');
}

/** @throws SnpError `INVALID_MESSAGE` if `bytes` are not `length` bytes */
export function requireBytes(field: string, bytes: ArrayLike<number>, length: number): void {
  let isRight = false;
  try {
    isRight = bytes.length === length && Array.from(bytes).every((byte) => (byte & 0xff) === byte);
  } catch {
    // It cannot be read, so it is not bytes.
  }
  if (!isRight) refuse(field, bytes, `pass ${length} bytes`);
}

function refuse(field: string, value: unknown, expected: string): never {
  throw new SnpError('INVALID_MESSAGE', { field, value, expected });
}

/** @throws SnpError `INVALID_ARGUMENT` if `bytes`, of which `what` is the name, are not `length` bytes long */
export function requireLength(bytes: Uint8Array, length: number, what: string): void {
  const expected = `pass ${length} bytes`;
  if (!isBytes(bytes)) throw new SnpError('INVALID_ARGUMENT', { what, value: bytes, expected });
  if (bytes.length === length) return;
  throw new SnpError('INVALID_ARGUMENT', { what: `the length of ${what}`, value: bytes.length, expected });
}

/**
 * A copy of bytes. Use it before a check: a subclass or a proxy can have another length or content at each read, and the
 * copy cannot.
 *
 * @throws SnpError `INVALID_ARGUMENT` if `bytes`, of which `what` is the name, are not a readable `Uint8Array`
 */
export function copyOfBytes(bytes: Uint8Array, what: string): Uint8Array {
  const expected = 'pass a Uint8Array';
  if (!isBytes(bytes)) throw new SnpError('INVALID_ARGUMENT', { what, value: bytes, expected });
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new SnpError('INVALID_ARGUMENT', { what, value: bytes, expected }, { cause });
  }
}

/** Whether `value` is a `Uint8Array`. Never throws. */
export function isBytes(value: unknown): value is Uint8Array {
  try {
    return value instanceof Uint8Array;
  } catch {
    return false;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function readField(view: DataView, [offset, size]: ByteField): number | bigint {
  switch (size) {
    case 1:
      return view.getUint8(offset);
    case 2:
      return view.getUint16(offset, true);
    case 4:
      return view.getUint32(offset, true);
    default:
      return view.getBigUint64(offset, true);
  }
}

function writeField(view: DataView, [offset, size]: ByteField, value: number | bigint): void {
  if (size === 8) view.setBigUint64(offset, value as bigint, true);
  else if (size === 4) view.setUint32(offset, value as number, true);
  else if (size === 2) view.setUint16(offset, value as number, true);
  else view.setUint8(offset, value as number);
}
