import { PAGE_SIZE } from '@svsm/address';
import { DumpError } from '../source/dump-error.ts';
import { Notices } from '../source/notices.ts';
import type { Source } from '../source/source.ts';
import { Window } from '../source/window.ts';
import { withoutDamage } from './damaged-page.ts';
import type { DumpContent } from './dump.ts';
import { type Segment, Segments } from './segments.ts';
import { SnappyFrames } from './snappy-frames.ts';

export const LIME_MAGIC = 'EMiL';
export const AVML_MAGIC = 'AVML';

const HEADER = 32;
const TRAILER = 8;
const LIME = 0x4c69_4d45;
const AVML = 0x4c4d_5641;
const PHYSICAL_END = 2n ** 52n;
/** A machine has some tens of ranges. */
const MAX_RANGES = 2 ** 16;

/**
 * Opens an image of LiME or AVML: ranges of memory, each with a header of 32 bytes (504ensicsLabs/LiME, `doc/README`). Those of
 * AVML are compressed in Snappy's frame format, and end with their length in the file (microsoft/avml, `src/image.rs`). The image
 * has no registers.
 *
 * @throws DumpError
 */
export function openLime(source: Source): DumpContent {
  const frames = new SnappyFrames(source);
  const plain: Segment[] = [];
  const packed: Segment[] = [];
  const window = new Window(source);
  for (let at = 0, index = 0; at < source.size; index += 1) {
    const range = rangeAt(window, source, at, index);
    const { paddr, size, name } = range;
    at += HEADER;
    if (index === MAX_RANGES) {
      throw new DumpError('OUTSIDE_LIMITS', { reason: `it has more than ${MAX_RANGES} ranges of memory` });
    }
    if (range.isPacked) {
      packed.push({ paddr, size, name, offset: frames.size });
      at = frames.addStream(at, size) + TRAILER;
      if (at > source.size) {
        throw new DumpError('TRUNCATED_FILE', { reason: `${name} is truncated after its last chunk` });
      }
    } else {
      plain.push({ paddr, size, name, offset: at });
      at += size;
    }
  }
  return packed.length > 0 ? contentOf(source, { plain, packed, frames }) : plainContentOf(source, plain);
}

interface Range {
  readonly paddr: number;
  readonly size: number;
  readonly name: string;
  readonly isPacked: boolean;
}

function rangeAt(window: Window, source: Source, at: number, index: number): Range {
  const name = `range ${index} of the image`;
  if (at + HEADER > source.size) {
    throw new DumpError('TRUNCATED_FILE', { reason: `${name} is truncated in its header, at byte ${at}` });
  }
  const { fields, offset } = window.at(at, HEADER);
  const [magic, version] = [fields.getUint32(offset, true), fields.getUint32(offset + 4, true)];
  const isPacked = magic === AVML;
  if (magic !== LIME && !isPacked) {
    throw new DumpError('INVALID_FILE', {
      reason: `${name}, at byte ${at}, does not begin with EMiL or AVML`,
    });
  }
  if (version !== (isPacked ? 2 : 1)) {
    throw new DumpError('UNSUPPORTED_FORMAT', {
      reason: `${name} has version ${version}; ${isPacked ? 'version 2 of AVML' : 'version 1 of LiME'} is supported`,
    });
  }
  // The last address is part of the range.
  const [first, last] = [fields.getBigUint64(offset + 8, true), fields.getBigUint64(offset + 16, true)];
  if (last < first || last >= PHYSICAL_END) {
    throw new DumpError('INVALID_FILE', {
      reason: `${name} is from 0x${first.toString(16)} to 0x${last.toString(16)}`,
    });
  }
  return { paddr: Number(first), size: Number(last - first) + 1, name, isPacked };
}

function plainContentOf(source: Source, plain: readonly Segment[]): DumpContent {
  const notices = new Notices();
  const memory = Segments.of(plain, source.size, notices);
  return {
    kind: `LiME image, ${plain.length} ${plain.length === 1 ? 'range' : 'ranges'}`,
    source,
    cpus: [],
    memory,
    notices,
    readFrame: (frame, bytes) => memory.read(source, frame, bytes),
    offsetOf: (paddr) => memory.offsetOf(paddr),
  };
}

interface Parts {
  readonly plain: readonly Segment[];
  readonly packed: readonly Segment[];
  readonly frames: SnappyFrames;
}

function contentOf(source: Source, { plain, packed, frames }: Parts): DumpContent {
  const notices = new Notices();
  const inFile = Segments.of(plain, source.size, notices);
  const inFrames = Segments.of(packed, frames.size, notices, 'its unpacked content');
  const copy = new Uint8Array(PAGE_SIZE);
  const count = plain.length + packed.length;
  return {
    kind: `AVML image, ${count} ${count === 1 ? 'range' : 'ranges'}`,
    source,
    cpus: [],
    notices,
    memory: {
      *[Symbol.iterator]() {
        for (const range of inFrames) yield { ...range, offset: undefined };
        yield* inFile;
      },
    },
    readFrame: withoutDamage((frame, bytes) => {
      if (!inFrames.read(frames, frame, bytes)) return inFile.read(source, frame, bytes);
      const isTwice = inFile.bytes > 0 && inFile.read(source, frame, copy);
      if (isTwice && copy.some((byte, i) => byte !== bytes[i])) {
        const paddr = `0x${(frame * PAGE_SIZE).toString(16)}`;
        notices.add(
          'copies-differ',
          `the page at ${paddr} has different bytes in a compressed range and in another one; the compressed one is used`,
        );
      }
      return true;
    }, notices),
    offsetOf: (paddr) => inFile.offsetOf(paddr),
  };
}
