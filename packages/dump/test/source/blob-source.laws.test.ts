/** A blob of 300 KB behind a reader that counts, compared with its bytes. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type BlobLike, blobSource } from '../../src/source/blob-source.ts';

const BYTES = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) ^ (i >> 8));

class FakeBlob implements BlobLike {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get size(): number {
    return this.bytes.length;
  }

  slice(start: number, end: number): FakeBlob {
    return new FakeBlob(this.bytes.slice(start, end));
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return Promise.resolve(this.bytes.slice().buffer as ArrayBuffer);
  }
}

function counting() {
  const reader = {
    reads: 0,
    readAsArrayBuffer(blob: BlobLike): ArrayBuffer {
      reader.reads += 1;
      return (blob as FakeBlob).bytes.slice().buffer as ArrayBuffer;
    },
  };
  return reader;
}

test('every read has the bytes of the blob, in blocks that are read once', () => {
  const range = fc.tuple(fc.nat(300_000), fc.nat(140_000));
  fc.assert(
    fc.property(fc.array(range, { maxLength: 20 }), (ranges) => {
      const reader = counting();
      const source = blobSource(new FakeBlob(BYTES), reader);
      for (const [position, length] of ranges) {
        const into = new Uint8Array(Math.min(length, source.size - position));
        source.read(position, into);
        expect(into).toEqual(BYTES.subarray(position, position + into.length));
      }
      expect(reader.reads).toBeLessThanOrEqual(Math.ceil(300_000 / 0x1_0000));
    }),
  );
});

test('a read beyond the end, a blob that became shorter, and a reader that fails are errors with a code', () => {
  const source = blobSource(new FakeBlob(BYTES), counting());
  expect(() => source.read(299_999, new Uint8Array(2))).toThrow(
    'it ends at byte 300000, before byte 300001 [TRUNCATED_FILE]',
  );
  const short = { readAsArrayBuffer: () => new ArrayBuffer(10) };
  expect(() => blobSource(new FakeBlob(BYTES), short).read(0, new Uint8Array(1))).toThrow(
    'it ends before byte 65536 [TRUNCATED_FILE]',
  );
  const failing = {
    readAsArrayBuffer(): ArrayBuffer {
      throw new Error('NotReadableError');
    },
  };
  expect(() => blobSource(new FakeBlob(BYTES), failing).read(0, new Uint8Array(1))).toThrow(
    'Error: NotReadableError [READ_FAILED]',
  );
});

test('at most 512 blocks are kept', () => {
  const reader = counting();
  const huge: BlobLike = {
    size: 0x1_0000 * 600,
    slice: (start, end) => new FakeBlob(new Uint8Array(end - start)),
    arrayBuffer: () => Promise.reject(new Error('not used')),
  };
  const source = blobSource(huge, reader);
  const byte = new Uint8Array(1);
  for (let block = 0; block < 600; block += 1) source.read(block * 0x1_0000, byte);
  source.read(599 * 0x1_0000, byte);
  expect(reader.reads).toBe(600);
  source.read(0, byte);
  expect(reader.reads).toBe(601);
  source.close();
  source.read(0, byte);
  expect(reader.reads).toBe(602);
});

test('refuses what is not a blob or a reader', () => {
  expect(() => blobSource(undefined as never, counting())).toThrow('blob cannot be undefined');
  expect(() => blobSource(new FakeBlob(BYTES), undefined as never)).toThrow(
    'reader cannot be undefined: pass a FileReaderSync, which exists in a worker [INVALID_ARGUMENT]',
  );
});
