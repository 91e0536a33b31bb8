import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameCounts } from '../../src/memory/frame-counts.ts';

test('a range of 2 MiB has frames exactly where some are counted, and no range with one is missed', () => {
  const frames = fc.uniqueArray(fc.nat(4095), { maxLength: 12 });
  const query = fc.record({ frame: fc.nat(4095), count: fc.integer({ min: 1, max: 3000 }) });
  fc.assert(
    fc.property(frames, fc.nat(12), query, (added, removed, { frame, count }) => {
      const counts = new FrameCounts();
      for (const one of added) counts.count(one, 1);
      for (const one of added.slice(0, removed)) counts.count(one, -1);
      const left = added.slice(removed);
      const isIn = (first: number, end: number): boolean => left.some((one) => one >= first && one < end);
      if (isIn(frame, frame + count)) expect(counts.mayHave(frame, count)).toBe(true);
      for (let block = 0; block < 8; block += 1) {
        expect(counts.mayHave(512 * block, 512)).toBe(isIn(512 * block, 512 * (block + 1)));
      }
    }),
  );
});
