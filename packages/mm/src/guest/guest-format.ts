import {
  readArgument,
  refuseArgument,
  requireInteger,
  requireMethods,
  requireOptions,
} from '../formats/arguments.ts';

/** How a value lies in memory. */
export interface GuestFormat<T> {
  /** Bytes, at least 1. */
  readonly size: number;
  /** The value of `size` bytes, which are a copy; `undefined` if they do not have one. */
  decode(bytes: Uint8Array): T | undefined;
  /** `size` bytes. */
  encode(value: T): Uint8Array;
}

/** The values of a structure. */
export type StructOf<Fields extends Readonly<Record<string, GuestFormat<unknown>>>> = {
  readonly [Name in keyof Fields]: Fields[Name] extends GuestFormat<infer T> ? T : never;
};

/**
 * Formats of values in memory. Integers are little-endian. `encode` throws MmError `INVALID_ARGUMENT` for a value that does not
 * fit.
 */
export const guestFormats: {
  readonly u8: GuestFormat<number>;
  readonly u16: GuestFormat<number>;
  readonly u32: GuestFormat<number>;
  readonly u64: GuestFormat<bigint>;
  /** A number of bytes. @throws MmError `INVALID_ARGUMENT` */
  bytes(size: number): GuestFormat<Uint8Array>;
  /** Fields that follow each other without gaps. @throws MmError `INVALID_ARGUMENT` */
  struct<Fields extends Readonly<Record<string, GuestFormat<unknown>>>>(
    fields: Fields,
  ): GuestFormat<StructOf<Fields>>;
} = {
  u8: integer(1),
  u16: integer(2),
  u32: integer(4),
  u64: {
    size: 8,
    decode: (bytes) => viewOf(bytes).getBigUint64(0, true),
    encode: (value) => {
      const isFit = typeof value === 'bigint' && BigInt.asUintN(64, value) === value;
      if (!isFit) refuseArgument('the value', value, 'pass a bigint of 64 bits');
      return new Uint8Array(BigUint64Array.of(value).buffer);
    },
  },
  bytes(size) {
    requireInteger('the size', size, 1);
    return {
      size,
      decode: (bytes) => bytes,
      encode: (value) => {
        const isFit = value instanceof Uint8Array && value.length === size;
        if (!isFit) refuseArgument('the value', value, `pass ${size} bytes`);
        return value;
      },
    };
  },
  struct(fields) {
    const expected = 'pass an object of formats';
    if (typeof fields !== 'object') refuseArgument('the fields', fields, expected);
    const parts = readArgument('the fields', fields, expected, () => Object.entries(fields));
    for (const [name, format] of parts) requireFormat(name, format);
    const size = parts.reduce((sum, [, format]) => sum + format.size, 0);
    requireInteger('the size of the fields', size, 1);
    return {
      size,
      decode: (bytes) => decodeStruct(parts, bytes) as StructOf<typeof fields> | undefined,
      encode: (value) => {
        requireOptions('the value', value, Object.keys(fields));
        const bytes = new Uint8Array(size);
        let at = 0;
        for (const [name, format] of parts) {
          bytes.set(format.encode((value as Readonly<Record<string, unknown>>)[name]), at);
          at += format.size;
        }
        return bytes;
      },
    };
  },
};

/** @throws MmError `INVALID_ARGUMENT` unless `format` is one */
export function requireFormat(what: string, format: GuestFormat<unknown>): void {
  requireMethods(what, format, ['decode', 'encode']);
  requireInteger(`the size of ${what}`, format.size, 1);
}

function decodeStruct(
  parts: readonly (readonly [string, GuestFormat<unknown>])[],
  bytes: Uint8Array,
): unknown {
  const value: Record<string, unknown> = {};
  let at = 0;
  for (const [name, format] of parts) {
    value[name] = format.decode(bytes.slice(at, at + format.size));
    if (value[name] === undefined) return undefined;
    at += format.size;
  }
  return value;
}

/** An unsigned integer of 1, 2 or 4 bytes. */
function integer(size: 1 | 2 | 4): GuestFormat<number> {
  return {
    size,
    decode: (bytes) => bytes.reduceRight((value, byte) => value * 256 + byte, 0),
    encode: (value) => {
      requireInteger('the value', value, 0, 256 ** size - 1);
      return Uint8Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) & 0xff);
    },
  };
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
