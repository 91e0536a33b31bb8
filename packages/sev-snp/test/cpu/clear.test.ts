import { PAGE_SIZE, physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { gvaOf, MiB, world } from '../support/world.ts';

const FROM = 4 * MiB - PAGE_SIZE;
const TO = 6 * MiB + 2 * PAGE_SIZE;
const ROWS = [4 * MiB, 4 * MiB + PAGE_SIZE, 4 * MiB + 8, FROM].flatMap((start) =>
  [0, 1, PAGE_SIZE, PAGE_SIZE + 1, 2 * MiB - 1, 2 * MiB, 2 * MiB + 16].map(
    (length) => [start, length] as const,
  ),
);

test.each(ROWS)('clear from %i on, %i bytes, writes zeros to them and to no other', (start, length) => {
  const expected = Buffer.alloc(TO - FROM);
  for (const at of [
    start - 1,
    start,
    start + length - 1,
    start + length,
    4 * MiB,
    5 * MiB,
    6 * MiB - 1,
    6 * MiB,
  ])
    if (at >= FROM) expected[at - FROM] = 0xaa;
  for (const [isCached, isSplit] of [
    [false, false],
    [true, false],
    [true, true],
  ]) {
    const it = world({}, {}, isCached ? { nestedTlb: new NestedTlb() } : {});
    if (isSplit) it.machine.hypervisor.splitPage(it.guest, physAddr(4 * MiB));
    it.vcpu.write(gvaOf(FROM), expected);
    it.vcpu.invlpgb();
    it.vcpu.clear(gvaOf(start), length);
    const cleared = Buffer.from(expected).fill(0, start - FROM, start - FROM + length);
    expect(cleared.equals(it.vcpu.read(gvaOf(FROM), TO - FROM))).toBe(true);
  }
});
