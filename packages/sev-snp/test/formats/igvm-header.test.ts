import type { Buffer } from 'node:buffer';
import { describe, expect, test } from 'vitest';
import { decodeIgvmFile } from '../../src/formats/igvm-file.ts';
import * as make from '../support/images.ts';
import { thrownBy } from '../support/world.ts';

const { igvmFile, header, u16, u32, u64 } = make;
const DATA = new Uint8Array(8192);
const PLATFORM = make.platform(1, 2);
/** The offset of a header after {@link PLATFORM}, and of its content. */
const [AT, CONTENT] = [48, 56];
const file = (...headers: readonly Buffer[]) => igvmFile(() => [PLATFORM, ...headers], DATA);

// L14
describe('a header is refused, with the offset and the value, for', () => {
  test.each<[what: string, bytes: Uint8Array, offset: number, value: unknown]>([
    ['type 0', file(header(0)), AT, 0],
    ['an unknown header', file(header(0x320)), AT, 0x320],
    ['a header of another length', file(header(0x302, u64(0))), AT + 4, 8],
    ['a platform with two bits', file(make.platform(3, 2)), CONTENT, 3],
    ['a platform without a bit', file(make.platform(0, 2)), CONTENT, 0],
    ['a page within a page', file(make.page(0, { gpa: 0x1008 })), CONTENT, 0x1008n],
    ['2 MiB at 4 KiB', file(make.page(0, { gpa: 0x1000, flags: 1 })), CONTENT, 0x1000n],
    ['a page above 52 bits', file(make.page(0, { gpa: 1n << 52n })), CONTENT, 1n << 52n],
    ['a page of type 4', file(make.page(0, { gpa: 0, type: 4 })), CONTENT + 20, 4],
    ['secrets of 2 MiB', file(make.page(0, { gpa: 0, type: 1, flags: 1 })), CONTENT + 16, 1],
    [
      'a reserved field',
      file(header(0x302, u64(0), u32(1), u32(0), u32(0), u16(0), u16(9))),
      CONTENT + 22,
      9,
    ],
    ['data in the headers', file(make.page(0, { gpa: 0, data: 24 })), CONTENT + 12, 24],
    ['data beyond the file', file(make.page(0, { gpa: 0, data: 8000 })), CONTENT + 12, 8000],
    [
      'data of 2 MiB in a small file',
      igvmFile((data) => [PLATFORM, make.page(data, { gpa: 0, flags: 1, data: 0 })], DATA),
      CONTENT + 12,
      80,
    ],
    ['an area of no bytes', file(make.area(0, 0)), CONTENT, 0n],
    ['an area of a part of a page', file(make.area(0, 100)), CONTENT, 100n],
    ['an area of 16 MiB and a page', file(make.area(0, 0x100_1000)), CONTENT, 0x100_1000n],
    ['an insertion within a page', file(make.insert(8, 0)), CONTENT, 8n],
    ['required memory of a part of a page', file(make.requiredMemory(0, 100)), CONTENT + 12, 100],
    ['a context within a page', file(make.context(8n, 0)), CONTENT, 8n],
    ['a context beyond the file', file(make.context(0n, 0x7fff_ffff)), CONTENT + 12, 0x7fff_ffff],
  ])('%s', (_, bytes, offset, value) => {
    const error = thrownBy(() => decodeIgvmFile(bytes));
    expect(error?.code).toBe('INVALID_IMAGE');
    expect(error?.details).toMatchObject({ offset, value });
  });
});
