import { PAGE_SIZE } from '@svsm/address';
import { DumpError } from '../source/dump-error.ts';
import { readBytes, readFields, type Source, textOf } from '../source/source.ts';
import type { DumpContent, DumpCpu } from './dump.ts';

export const FRAMES_MAGIC = 'PTFRAME1';

const FIXED_HEADER = 16;
const RECORD = 8 + PAGE_SIZE;
const RECORDS_AT_ONCE = 64;
const MAX_HEADER = 2 ** 20;
/** The number of frames in 64 GiB of page tables. */
const MAX_FRAMES = 2 ** 24;

/**
 * Opens a file with the page tables of one processor and no other memory: `"PTFRAME1"`, the u32 length of the header, the u32
 * number of frames, the header as JSON, and for each frame its u64 physical address and its 4096 bytes.
 *
 * @throws DumpError
 */
export function openFramesFile(source: Source): DumpContent {
  const fixed = readFields(source, 0, Math.min(FIXED_HEADER, source.size));
  if (fixed.byteLength < FIXED_HEADER)
    throw new DumpError('TRUNCATED_FILE', {
      reason: `its header is truncated: the file has ${source.size} bytes`,
    });
  const headerSize = fixed.getUint32(8, true);
  const count = fixed.getUint32(12, true);
  const first = FIXED_HEADER + headerSize;
  if (first + count * RECORD !== source.size) {
    throw new DumpError('TRUNCATED_FILE', {
      reason: `it has ${source.size} bytes instead of the ${first + count * RECORD} of its header`,
    });
  }
  if (headerSize > MAX_HEADER || count > MAX_FRAMES) {
    throw new DumpError('OUTSIDE_LIMITS', {
      reason: `it has a header of ${headerSize} bytes and ${count} frames; at most ${MAX_HEADER} and ${MAX_FRAMES} are supported`,
    });
  }
  const header = parseHeader(textOf(readBytes(source, FIXED_HEADER, headerSize)));
  const frames = frameNumbers(source, first, count);
  return {
    ...header,
    kind: `page tables (${FRAMES_MAGIC}), ${count} frames`,
    source,
    readFrame: (frame, bytes) => {
      const index = indexOf(frames, frame);
      if (index < 0) return false;
      source.read(first + index * RECORD + 8, bytes);
      return true;
    },
    offsetOf: () => undefined,
  };
}

function parseHeader(text: string): Pick<DumpContent, 'cpus' | 'physicalBits' | 'levels' | 'giantPages'> {
  let header: Record<string, unknown>;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null) throw new SyntaxError('it is not an object');
    header = parsed as Record<string, unknown>;
  } catch (error) {
    throw new DumpError('INVALID_FILE', {
      reason: `its header is not a JSON object: ${(error as Error).message}`,
    });
  }
  const registers = ['cr0', 'cr2', 'cr3', 'cr4', 'efer', 'rip', 'rsp'].flatMap((name) =>
    header[name] === undefined ? [] : [[name, register(name, header[name])]],
  );
  const { cr3, ...others } = Object.fromEntries(registers) as Partial<DumpCpu>;
  const { cpl, levels, maxphyaddr, cpu } = header;
  const giantPages = (cpu as { pdpe1gb?: unknown } | null | undefined)?.pdpe1gb;
  return {
    cpus: cr3 === undefined ? [] : [{ cr3, ...others, ...(typeof cpl === 'number' ? { cpl } : {}) }],
    ...(levels === 4 || levels === 5 ? { levels } : {}),
    ...(maxphyaddr === undefined ? {} : { physicalBits: physicalBits(maxphyaddr) }),
    ...(typeof giantPages === 'boolean' ? { giantPages } : {}),
  };
}

function register(name: string, value: unknown): bigint {
  const isNumber = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
  const isText = typeof value === 'string' && /^(0x[0-9a-f]{1,16}|\d{1,15})$/i.test(value);
  if (isNumber || isText) return BigInt(value);
  throw new DumpError('INVALID_FILE', {
    reason: `${name} in its header is ${shown(value)}, not a 64-bit number`,
  });
}

function physicalBits(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 32 && value <= 52) return value;
  throw new DumpError('INVALID_FILE', {
    reason: `maxphyaddr in its header is ${shown(value)}, not 32 to 52`,
  });
}

/** The value as text. What is in a list or an object does not count, and may be nested without end. */
function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** The frame numbers in the file, ascending. */
function frameNumbers(source: Source, first: number, count: number): Float64Array {
  const frames = new Float64Array(count);
  for (let done = 0; done < count; done += RECORDS_AT_ONCE) {
    const some = Math.min(RECORDS_AT_ONCE, count - done);
    const records = readFields(source, first + done * RECORD, some * RECORD);
    for (let i = 0; i < some; i += 1) {
      const paddr = records.getBigUint64(i * RECORD, true);
      if (paddr % 4096n !== 0n || paddr >> 52n !== 0n) {
        throw new DumpError('INVALID_FILE', {
          reason: `frame ${done + i} is at 0x${paddr.toString(16)}, which is not a multiple of 0x1000 below 2^52`,
        });
      }
      frames[done + i] = Number(paddr >> 12n);
      if (done + i > 0 && frames[done + i]! <= frames[done + i - 1]!) {
        throw new DumpError('INVALID_FILE', {
          reason: `frame ${done + i}, at 0x${paddr.toString(16)}, is not above the frame before it`,
        });
      }
    }
  }
  return frames;
}

function indexOf(frames: Float64Array, frame: number): number {
  let low = 0;
  let high = frames.length - 1;
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const found = frames[middle]!;
    if (found === frame) return middle;
    if (found < frame) low = middle + 1;
    else high = middle - 1;
  }
  return -1;
}
