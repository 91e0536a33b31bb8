import { type ByteFields, type FieldValues, readFields } from './byte-fields.ts';
import { SnpError } from './snp-error.ts';

/** The bytes of an image. Every access is checked, and errors have the offset. Offsets and sizes are not negative. */
export class ImageBytes {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** @throws SnpError `INVALID_IMAGE` if not all `size` bytes from `offset` on are in the image */
  part(offset: number, size: number, field: string): Uint8Array {
    const { length } = this.bytes;
    if (offset + size > length)
      refuseImage(field, offset, size, `${size} bytes must lie within the ${length} bytes of the image`);
    return this.bytes.subarray(offset, offset + size);
  }

  /** @throws SnpError `INVALID_IMAGE` if not all `size` bytes from `offset` on are in the image */
  fields<Fields extends ByteFields>(
    offset: number,
    size: number,
    fields: Fields,
    field: string,
  ): FieldValues<Fields> {
    return readFields(this.part(offset, size, field), fields);
  }
}

/** @throws SnpError `INVALID_IMAGE` always */
export function refuseImage(field: string, offset: number, value: unknown, expected: string): never {
  throw new SnpError('INVALID_IMAGE', { field, offset, value, expected });
}
