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

const reader = new DumpReader((progress) => {
  const now = performance.now();
  if (now - lastNote < 100) return;
  lastNote = now;
  scope.postMessage({ id: current, progress });
});

scope.onmessage = async ({ data: { id, request } }) => {
  current = id;
  try {
    if (request.type !== 'open') {
      scope.postMessage({ id, answer: reader.answer(request) });
      return;
    }
    const { blob, name, cr3 } = request;
    const source = (await isGzip(blob))
      ? await unpacked(blob)
      : countingSource(blob, new FileReaderSync() as unknown as BlobReader);
    scope.postMessage({ id, answer: reader.open(source, name.replace(/\.gz$/, ''), cr3) });
  } catch (error) {
    scope.postMessage({ id, answer: { type: 'problem', text: `The dump cannot be read: ${String(error)}` } });
  }
};

async function isGzip(blob: Blob): Promise<boolean> {
  if (blob.size > MAX_PACKED) return false;
  const start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  return start[0] === 0x1f && start[1] === 0x8b;
}
