/** A part of a file: its bytes in hexadecimal, typed out from the source of the format, and the name of the field there. */
type Field = readonly [hex: string, name: string];

/** The bytes of these fields, one after another. */
export function bytesOf(fields: readonly Field[]): Buffer {
  return Buffer.concat(fields.map(([hex]) => Buffer.from(hex.replaceAll(' ', ''), 'hex')));
}

/** `size` bytes of zero, but for the fields at these places. */
export function placed(size: number, fields: readonly (readonly [at: number, ...Field])[]): Buffer {
  const bytes = Buffer.alloc(size);
  for (const [at, hex, name] of fields) bytesOf([[hex, name]]).copy(bytes, at);
  return bytes;
}

/** A number whose value depends on other parts of the file, as `size` bytes in hexadecimal. The first is the lowest. */
export function lowestFirst(value: number, size = 8): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes.toString('hex', 0, size);
}
