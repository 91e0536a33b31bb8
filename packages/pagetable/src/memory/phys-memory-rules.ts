import { PAGE_SIZE, Phys, type PhysAddr, pageNumber } from '@svsm/address';
import { BOOLEAN, type Field, Fields, withMethods } from '../entry/fields.ts';
import { invalidArgument } from '../entry/invalid-argument.ts';
import { isPageTableError, PageTableError, type PageTableErrorCode } from '../entry/page-table-error.ts';
import { type PhysMemory, readPhys, readPhys64, writePhys, writePhys64 } from './phys-memory.ts';

/** A memory to check. Make a new one for each rule. */
export interface PhysMemorySubject {
  /** The implementation under test. */
  readonly memory: PhysMemory;
  /** The address of the first of three consecutive frames that exist. */
  readonly start: PhysAddr;
  /** The address directly after those three frames. No frame exists there. */
  readonly outside: PhysAddr;
  /** Whether the memory can be written. If not, asking for words to write must throw `READ_ONLY`. */
  readonly writable: boolean;
}

/** One rule that every {@link PhysMemory} must keep. */
export interface PhysMemoryRule {
  /** The rule as a sentence: the title of a test. */
  readonly name: string;
  /** Checks one memory. @throws PageTableError `INVALID_ARGUMENT`; `RULE_BROKEN` */
  check(subject: PhysMemorySubject): void;
}

/**
 * The rules that every {@link PhysMemory} must keep. Check your implementation against them in its tests.
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
      expect(
        codeOf(() => memory.words(frame, false)) === 'BUS_ERROR',
        `reading frame ${frame} does not throw BUS_ERROR`,
      );
      expect(
        codeOf(() => memory.words(frame, true)) === 'BUS_ERROR',
        `writing frame ${frame} does not throw BUS_ERROR`,
      );
    }
  }),
  rule('a frame is 1024 words of the array, starting at its offset', ({ memory, start }, expect) => {
    for (const frame of framesOf(start)) {
      const words = memory.words(frame, false);
      const offset = memory.wordOffset(frame);
      expect(words instanceof Uint32Array, 'words() does not return a Uint32Array');
      expect(
        Number.isInteger(offset) && offset >= 0 && offset + 1024 <= words.length,
        `a frame at offset ${offset} does not fit the array`,
      );
    }
  }),
  rule('reading twice returns the same bytes', ({ memory, start }, expect) => {
    const bytes = readPhys(memory, start, 3 * PAGE_SIZE);
    expect(
      String(readPhys(memory, start, 3 * PAGE_SIZE)) === String(bytes),
      'the second read returned other bytes',
    );
  }),
  rule(
    'reading keeps the epoch, and asking for words to write changes it',
    ({ memory, start, writable }, expect) => {
      const frame = pageNumber(start);
      memory.words(frame, false);
      const before = memory.epoch;
      memory.words(frame + 1, false);
      expect(Object.is(memory.epoch, before), 'a read changed the epoch');
      if (!writable) return;
      memory.words(frame, true);
      expect(
        Number.isNaN(memory.epoch) || memory.epoch !== before,
        'the epoch is the same before and after a write',
      );
    },
  ),
  rule(
    'memory that cannot be written throws READ_ONLY and keeps its bytes',
    ({ memory, start, writable }, expect) => {
      if (writable) return;
      const before = String(readPhys(memory, start, PAGE_SIZE));
      expect(
        codeOf(() => memory.words(pageNumber(start), true)) === 'READ_ONLY',
        'words() for a write does not throw READ_ONLY',
      );
      expect(
        codeOf(() => writePhys64(memory, start, 1n)) === 'READ_ONLY',
        'writePhys64() does not throw READ_ONLY',
      );
      expect(String(readPhys(memory, start, PAGE_SIZE)) === before, 'the bytes have changed');
    },
  ),
  rule(
    'a write is read back, little-endian, and changes no other frame',
    ({ memory, start, writable }, expect) => {
      if (!writable) return;
      const middle = (start + 0x1000n) as PhysAddr;
      const before = String(readPhys(memory, start, PAGE_SIZE));
      const after = String(readPhys(memory, (start + 0x2000n) as PhysAddr, PAGE_SIZE));
      writePhys64(memory, middle, 0x8877_6655_4433_2211n);
      writePhys64(memory, (middle + 0xff8n) as PhysAddr, 1n);
      expect(
        String(readPhys(memory, middle, 8)) === '17,34,51,68,85,102,119,136',
        'the first word reads back as other bytes',
      );
      expect(
        readPhys64(memory, (middle + 0xff8n) as PhysAddr) === 1n,
        'the last word reads back as another value',
      );
      expect(String(readPhys(memory, start, PAGE_SIZE)) === before, 'the frame before has changed');
      expect(
        String(readPhys(memory, (start + 0x2000n) as PhysAddr, PAGE_SIZE)) === after,
        'the frame after has changed',
      );
    },
  ),
  rule('later reads see the array that was returned for a write', ({ memory, start, writable }, expect) => {
    if (!writable) return;
    const frame = pageNumber(start);
    memory.words(frame, false);
    memory.words(frame, true)[memory.wordOffset(frame) + 5] = 0xdead_beef;
    expect(
      memory.words(frame, false)[memory.wordOffset(frame) + 5] === 0xdead_beef,
      'a word written to the array is not read back',
    );
  }),
  rule('a write that ends outside memory changes nothing', ({ memory, start, outside, writable }, expect) => {
    if (!writable) return;
    const before = String(readPhys(memory, start, 3 * PAGE_SIZE));
    const last = (outside - 1n) as PhysAddr;
    expect(
      codeOf(() => writePhys(memory, last, Uint8Array.of(1, 2))) === 'BUS_ERROR',
      'writing two bytes at the end does not throw BUS_ERROR',
    );
    expect(String(readPhys(memory, start, 3 * PAGE_SIZE)) === before, 'the bytes have changed');
  }),
];

/** Fails the rule with the finding `what`, unless it `holds`. */
type Expect = (holds: boolean, what: string) => void;

function rule(name: string, body: (subject: PhysMemorySubject, expect: Expect) => void): PhysMemoryRule {
  return {
    name,
    check: (subject) => {
      SUBJECT.require(subject);
      body(subject, (holds, what) => {
        if (!holds) throw new PageTableError('RULE_BROKEN', { rule: name, found: what });
      });
    },
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

const PHYSICAL: Field = {
  accepts: (value) => Phys.isAddress(value),
  expected: 'pass a physical address',
};
const SUBJECT: Fields = /* @__PURE__ */ new Fields(
  'subject',
  {
    memory: /* @__PURE__ */ withMethods('words', 'wordOffset'),
    start: PHYSICAL,
    outside: PHYSICAL,
    writable: BOOLEAN,
  },
  invalidArgument,
  true,
);
