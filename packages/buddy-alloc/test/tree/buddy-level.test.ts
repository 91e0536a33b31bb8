import { expect, test } from 'vitest';
import { ALLOCATED, BuddyLevel, DIVIDED, FREE, NODE_UNITS } from '../../src/tree/buddy-level.ts';
import { buddyError } from '../support/allocators.ts';

/** Two levels: the upper one has one free block of four units, the lower one has room for `maxNodes` nodes. */
function twoLevels(maxNodes: number): { upper: BuddyLevel; lower: BuddyLevel } {
  const upper = new BuddyLevel({ index: 1, parent: undefined, maxOrder: 2, maxNodes: 1 });
  const lower = new BuddyLevel({ index: 0, parent: upper, maxOrder: 10, maxNodes });
  upper.openRoot(0n);
  upper.addFree(0, 2);
  return { upper, lower };
}

test('a unit of the upper level is divided for the lower level, and merges again', () => {
  const { upper, lower } = twoLevels(4);
  const unit = lower.allocate(3);
  expect([upper.marks[0], upper.marks[1], upper.marks[2]]).toEqual([DIVIDED, FREE, FREE | 1]);
  expect(lower.marks[unit]).toBe(ALLOCATED | 3);
  expect([...lower.allocated].indexOf(1)).toBe(3);
  lower.free(unit, 3);
  expect(upper.marks[0]).toBe(FREE | 2);
  expect(lower.marks.every((mark) => mark === 0)).toBe(true);
  expect(lower.filled).toBe(0);
  expect([...lower.allocated, ...upper.allocated].every((count) => count === 0)).toBe(true);
});

test('a node is reused when its unit is divided again', () => {
  const { lower } = twoLevels(4);
  for (let round = 0; round < 3; round += 1) lower.free(lower.allocate(0), 0);
  expect(lower.nodes).toBe(1);
});

test('if no node is left, allocation fails and changes nothing', () => {
  const { upper, lower } = twoLevels(2);
  for (let unit = 0; unit < 2 * NODE_UNITS; unit += 1) lower.allocate(0);
  const before = [upper.marks.slice(), upper.filled, upper.counts.slice(), lower.nodes];
  const error = buddyError('METADATA_FULL', () => lower.allocate(0));
  expect(error.details).toEqual({ pages: 2 * NODE_UNITS });
  expect([upper.marks, upper.filled, upper.counts, lower.nodes]).toEqual(before);
  expect(upper.allocate(1)).toBe(2);
});

test('allocate returns −1 if no block is free', () => {
  const { upper, lower } = twoLevels(4);
  expect(upper.allocate(2)).toBe(0);
  expect(upper.allocate(0)).toBe(-1);
  expect(lower.allocate(0)).toBe(-1);
  expect(lower.nodes).toBe(0);
});
