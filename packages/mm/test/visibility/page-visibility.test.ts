import { expect, test } from 'vitest';
import { brokenLaw, staleUses, visibilityWorld } from '../support/visibility-world.ts';

const SECRET = new TextEncoder().encode('attack at dawn');

test('a region goes to the host and comes back, in pages of 2 MiB, with one flush and one exit', () => {
  const it = visibilityWorld();
  const { visibility, cpus, shootDown, pages } = it;
  const { exits } = it;
  const block = pages.allocatePages(10);
  cpus[0]!.vcpu.write(block.start, SECRET);
  staleUses(it);
  const flushes = shootDown.counts;
  visibility.makeShared(block);
  expect(shootDown.counts.broadcast - flushes.broadcast).toBe(1);
  expect(shootDown.counts.instructions - flushes.instructions).toBe(1);
  expect(brokenLaw(it)).toBeUndefined();
  expect(staleUses(it)).toEqual([]);
  expect(cpus[1]!.vcpu.read(block.start, 14)).toEqual(new Uint8Array(14));
  expect(it.events).toEqual([{ type: 'share', region: block }]);
  visibility.makePrivate(block);
  expect(shootDown.counts.broadcast - flushes.broadcast).toBe(2);
  expect(brokenLaw(it)).toBeUndefined();
  expect(staleUses(it)).toEqual([]);
  expect(it.exits - exits).toBe(2);
});
