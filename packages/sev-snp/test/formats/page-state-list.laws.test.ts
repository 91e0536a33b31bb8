import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import {
  decodePscEntry,
  decodePscHeader,
  encodePscEntry,
  encodePscHeader,
  type PscEntry,
  pscEntriesOf,
} from '../../src/formats/page-state-list.ts';
import { codeOf, MiB } from '../support/world.ts';

const eightBytes = fc.uint8Array({ minLength: 8, maxLength: 8 });

test('any eight bytes are a header and an entry, and encoding returns them', () => {
  fc.assert(
    fc.property(eightBytes, (bytes) => {
      expect(encodePscHeader(decodePscHeader(bytes))).toEqual(bytes);
      expect(encodePscEntry(decodePscEntry(bytes))).toEqual(bytes);
    }),
  );
});

test('buffers of any other length are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => {
      fc.pre(bytes.length !== 8);
      expect(codeOf(() => decodePscHeader(bytes))).toBe('INVALID_ARGUMENT');
      expect(codeOf(() => decodePscEntry(bytes))).toBe('INVALID_ARGUMENT');
    }),
  );
});

// G7
test('an entry has the bits that KVM reads', () => {
  const entry: PscEntry = {
    gpa: physAddr(0x1234_5000),
    operation: 2,
    pageSize: PageSize.Huge,
    donePages: 0x1ff,
    reserved: 0,
  };
  const raw = new DataView(encodePscEntry(entry).buffer).getBigUint64(0, true);
  expect(raw).toBe((1n << 56n) | (2n << 52n) | 0x1234_5000n | 0x1ffn);
  expect(encodePscHeader({ current: 0x0102, end: 0x0304, reserved: 5 })).toEqual(
    Uint8Array.of(2, 1, 4, 3, 5, 0, 0, 0),
  );
});

test.each<Partial<PscEntry>>([
  { gpa: physAddr(0x1001) },
  { gpa: (1n << 52n) as never },
  { operation: 16 },
  { operation: -1 },
  { donePages: 4096 },
  { donePages: 0.5 },
  { reserved: 128 },
])('%o does not fit', (fields) => {
  const entry: PscEntry = {
    gpa: physAddr(0),
    operation: 1,
    pageSize: PageSize.Regular,
    donePages: 0,
    reserved: 0,
    ...fields,
  };
  expect(codeOf(() => encodePscEntry(entry))).toBe('INVALID_MESSAGE');
});

// G7
test('the entries of a region cover it exactly, in order, in the fewest aligned pages', () => {
  const page = fc.integer({ min: 0, max: 2048 });
  fc.assert(
    fc.property(page, page, fc.constantFrom(0, 0x3fff_e000), (a, b, base) => {
      const region = physRegion(
        physAddr(base + Math.min(a, b) * PAGE_SIZE),
        (Math.max(a, b) - Math.min(a, b)) * PAGE_SIZE,
      );
      const entries = [...pscEntriesOf(region, PageOperation.Shared)];
      let at: bigint = region.start;
      for (const { gpa, pageSize, operation } of entries) {
        expect([gpa, gpa % BigInt(pageSize), operation]).toEqual([at, 0n, PageOperation.Shared]);
        // Fewest: 4 KiB only where 2 MiB do not start, or do not fit.
        if (pageSize === PageSize.Regular) {
          expect(gpa % BigInt(2 * MiB) !== 0n || gpa + BigInt(2 * MiB) > region.end).toBe(true);
        }
        at += BigInt(pageSize);
      }
      expect(at).toBe(region.end);
    }),
  );
});

test('a region of more than 1 GiB has entries of at most 2 MiB', () => {
  const sizes = [...pscEntriesOf(physRegion(physAddr(0), 1025 * MiB), PageOperation.Private)].map(
    ({ pageSize }) => pageSize,
  );
  expect(sizes.filter((size) => size === PageSize.Huge).length).toBe(512);
  expect(sizes.length).toBe(512 + 256);
});
