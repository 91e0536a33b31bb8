import { PAGE_SIZE, type PhysAddr, pageNumber } from '@svsm/address';
import { isPageTableError, PageTableError, type PageTableErrorCode } from '../entry/page-table-error.ts';
import { type PhysMemory, readPhys, readPhys64, writePhys, writePhys64 } from './phys-memory.ts';

/** A memory to be checked, made anew for each rule. */
export interface PhysMemorySubject {
  readonly memory: PhysMemory;
  /** The first of three frames that follow one another and that there are. */
  readonly start: PhysAddr;
  /** The address of a frame that there is not, right after those three. */
  readonly outside: PhysAddr;
  /** Whether it can be written to. If not, a write is `READ_ONLY`. */
  readonly writable: boolean;
}

/** One thing that every {@link PhysMemory} must do. */
export interface PhysMemoryRule {
  readonly name: string;
  /** @throws PageTableError `RULE_BROKEN` if it does not */
  check(subject: PhysMemorySubject): void;
}

/**
 * The rules that every {@link PhysMemory} must keep. Check an implementation against them in its tests.
 *
 * @example
 * ```ts
 * import { physAddr } from '@svsm/address';
 * import { createPhysMemory, PHYS_MEMORY_RULES } from '@svsm/pagetable';
 *
 * for (const { check } of PHYS_MEMORY_RULES) {
 *   const memory = createPhysMemory({ size: 0x4000 }); // your implementation
 *   check({ memory, start: physAddr(0x1000), outside: physAddr(0x4000), writable: true });
 * }
 * ```
 */
export const PHYS_MEMORY_RULES: readonly PhysMemoryRule[] = [
  rule('an access outside memory is a bus error', ({ memory, outside }, expect) => {
    for (const frame of [pageNumber(outside), Number.NaN, -1, pageNumber(outside) - 0.5]) {
      expect(codeOf(() => memory.words(frame, false)) === 'BUS_ERROR', `reading frame ${frame}`);
      expect(codeOf(() => memory.words(frame, true)) === 'BUS_ERROR', `writing frame ${frame}`);
    }
  }),
  rule('a frame is 1024 words of the array, from its offset on', ({ memory, start }, expect) => {
    for (const frame of framesOf(start)) {
      const words = memory.words(frame, false);
      const offset = memory.wordOffset(frame);
      expect(words instanceof Uint32Array, 'an array of 32-bit words');
      expect(Number.isInteger(offset) && offset >= 0 && offset + 1024 <= words.length, `offset ${offset}`);
    }
  }),
  rule('reading again gives the same', ({ memory, start }, expect) => {
    const bytes = readPhys(memory, start, 3 * PAGE_SIZE);
    expect(String(readPhys(memory, start, 3 * PAGE_SIZE)) === String(bytes), 'other bytes');
  }),
  rule(
    'reading leaves the epoch as it is, and asking to write changes it',
    ({ memory, start, writable }, expect) => {
      const frame = pageNumber(start);
      memory.words(frame, false);
      const before = memory.epoch;
      memory.words(frame + 1, false);
      expect(Object.is(memory.epoch, before), 'a read changed it');
      if (!writable) return;
      memory.words(frame, true);
      expect(Number.isNaN(memory.epoch) || memory.epoch !== before, 'it is as before a write');
    },
  ),
  rule('what cannot be written to says so, and stays', ({ memory, start, writable }, expect) => {
    if (writable) return;
    const before = String(readPhys(memory, start, PAGE_SIZE));
    expect(codeOf(() => memory.words(pageNumber(start), true)) === 'READ_ONLY', 'words for a write');
    expect(codeOf(() => writePhys64(memory, start, 1n)) === 'READ_ONLY', 'writePhys64');
    expect(String(readPhys(memory, start, PAGE_SIZE)) === before, 'the bytes have changed');
  }),
  rule(
    'what is written is read, little-endian, in its frame alone',
    ({ memory, start, writable }, expect) => {
      if (!writable) return;
      const middle = (start + 0x1000n) as PhysAddr;
      const [before] = [String(readPhys(memory, start, PAGE_SIZE))];
      const after = String(readPhys(memory, (start + 0x2000n) as PhysAddr, PAGE_SIZE));
      writePhys64(memory, middle, 0x8877_6655_4433_2211n);
      writePhys64(memory, (middle + 0xff8n) as PhysAddr, 1n);
      expect(String(readPhys(memory, middle, 8)) === '17,34,51,68,85,102,119,136', 'bytes of the first word');
      expect(readPhys64(memory, (middle + 0xff8n) as PhysAddr) === 1n, 'the last word');
      expect(String(readPhys(memory, start, PAGE_SIZE)) === before, 'the frame before has changed');
      expect(
        String(readPhys(memory, (start + 0x2000n) as PhysAddr, PAGE_SIZE)) === after,
        'the frame after has changed',
      );
    },
  ),
  rule('the array for a write is the one that later reads see', ({ memory, start, writable }, expect) => {
    if (!writable) return;
    const frame = pageNumber(start);
    memory.words(frame, false);
    memory.words(frame, true)[memory.wordOffset(frame) + 5] = 0xdead_beef;
    expect(
      memory.words(frame, false)[memory.wordOffset(frame) + 5] === 0xdead_beef,
      'word 5 of the first frame',
    );
  }),
  rule('a write that ends outside memory writes nothing', ({ memory, start, outside, writable }, expect) => {
    if (!writable) return;
    const before = String(readPhys(memory, start, 3 * PAGE_SIZE));
    const last = (outside - 1n) as PhysAddr;
    expect(
      codeOf(() => writePhys(memory, last, Uint8Array.of(1, 2))) === 'BUS_ERROR',
      'two bytes at the end',
    );
    expect(String(readPhys(memory, start, 3 * PAGE_SIZE)) === before, 'the bytes have changed');
  }),
];

type Expect = (holds: boolean, what: string) => void;

function rule(name: string, body: (subject: PhysMemorySubject, expect: Expect) => void): PhysMemoryRule {
  return {
    name,
    check: (subject) =>
      body(subject, (holds, what) => {
        if (!holds) throw new PageTableError('RULE_BROKEN', { rule: name, found: what });
      }),
  };
}

function framesOf(start: PhysAddr): number[] {
  return [0, 1, 2].map((i) => pageNumber(start) + i);
}

function codeOf(operation: () => unknown): PageTableErrorCode | undefined {
  try {
    operation();
    return undefined;
  } catch (error) {
    if (isPageTableError(error)) return error.code;
    throw error;
  }
}
