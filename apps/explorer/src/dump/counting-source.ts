import { type BlobLike, type BlobReader, blobSource, type Source } from '@svsm/dump';

/**
 * A source of a blob that counts the bytes which the browser has read for it.
 *
 * @param onRead - called after each read with the bytes so far
 */
export function countingSource(
  blob: BlobLike,
  reader: BlobReader,
  onRead: (bytesRead: number) => void = () => {},
): Source & { readonly bytesRead: number } {
  let bytesRead = 0;
  const source = blobSource(blob, {
    readAsArrayBuffer: (part) => {
      const bytes = reader.readAsArrayBuffer(part);
      bytesRead += part.size;
      onRead(bytesRead);
      return bytes;
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
