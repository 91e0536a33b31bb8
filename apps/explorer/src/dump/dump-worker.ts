/** The worker that reads a dump. The file stays in the browser, and only the pieces that are needed are read. */
import type { BlobReader } from '@svsm/dump';
import type { WorkerMessage } from '../worker-client.ts';
import { countingSource } from './counting-source.ts';
import type { Answer, Request } from './protocol.ts';
import { DumpReader, unpacked } from './reader.ts';

/** The part of a worker's global scope that is used here. */
interface Scope {
  postMessage(message: WorkerMessage<Answer, number>): void;
  onmessage: ((event: MessageEvent<{ readonly id: number; readonly request: Request }>) => void) | null;
}

declare class FileReaderSync {
  readAsArrayBuffer(blob: Blob): ArrayBuffer;
}

const scope = self as unknown as Scope;
/** Larger files are not unpacked in memory. */
const MAX_PACKED = 256 << 20;
let current = 0;
let lastNote = 0;
/** The share of the request that is done. */
let share = 0;
/** The bytes that were read so far, and those of them before the request. */
let bytes = 0;
let bytesBefore = 0;

/** Milliseconds from one progress note to the next. */
const INTERVAL = 100;

/** Work is counted in mappings, of which one may be all of the file, and in bytes: the one that is further counts. */
function note(progress: number): void {
  share = Math.max(share, Math.min(1, progress));
  const now = performance.now();
  if (now - lastNote < INTERVAL) return;
  lastNote = now;
  scope.postMessage({ id: current, progress: share });
}

const reader = new DumpReader(note);

scope.onmessage = async ({ data: { id, request } }) => {
  current = id;
  share = 0;
  bytesBefore = bytes;
  try {
    if (request.type !== 'open') {
      scope.postMessage({ id, answer: reader.answer(request) });
      return;
    }
    const { blob, name, cr3 } = request;
    const source = (await isGzip(blob)) ? await unpacked(blob, name) : sourceOf(blob);
    scope.postMessage({ id, answer: reader.open(source, name.replace(/\.gz$/, ''), cr3) });
  } catch (error) {
    scope.postMessage({ id, answer: { type: 'problem', text: (error as Error).message } });
  }
};

function sourceOf(blob: Blob) {
  bytesBefore = 0;
  return countingSource(blob, new FileReaderSync() as unknown as BlobReader, (bytesRead) => {
    bytes = bytesRead;
    note((bytes - bytesBefore) / blob.size);
  });
}

async function isGzip(blob: Blob): Promise<boolean> {
  if (blob.size > MAX_PACKED) return false;
  const start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  return start[0] === 0x1f && start[1] === 0x8b;
}
