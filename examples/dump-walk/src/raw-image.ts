import type { Dump } from './dump.ts';
import { type Segment, Segments } from './segments.ts';
import type { Source } from './source.ts';

/** Opens a raw image: physical memory from address 0 on, or the ranges in `ram`. */
export function openRawImage(source: Source, ram: readonly Segment[]): Dump {
  const whole = { paddr: 0, size: source.size, offset: 0, name: 'the image' };
  const memory = new Segments(ram.length === 0 ? [whole] : ram, source.size);
  return {
    kind: 'raw image',
    source,
    cpus: [],
    memory,
    readFrame: (frame, bytes) => memory.read(source, frame, bytes),
    offsetOf: (paddr) => memory.offsetOf(paddr),
  };
}
