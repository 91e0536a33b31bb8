import { type BlobLike, type BlobReader, blobSource, type Source } from '@svsm/dump';

/** A source of a blob that counts the bytes which the browser has read for it. */
export function countingSource(blob: BlobLike, reader: BlobReader): Source & { readonly bytesRead: number } {
  let bytesRead = 0;
  const source = blobSource(blob, {
    readAsArrayBuffer: (part) => {
      bytesRead += part.size;
      return reader.readAsArrayBuffer(part);
    },
  });
  return {
    size: source.size,
    read: (position, into) => source.read(position, into),
    close: () => source.close(),
    get bytesRead() {
      return bytesRead;
    },
  };
}
