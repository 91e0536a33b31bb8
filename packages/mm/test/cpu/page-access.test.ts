import { PageSize, physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { pageAccessOf } from '../../src/cpu/page-access.ts';
import { bootWorld } from '../support/world.ts';

test.each([PageSize.Regular, PageSize.Huge])(
  'maps a page of %i bytes for the time of its use, nested too',
  (size) => {
    const { svsm, stale } = bootWorld();
    const cpu = svsm.thisCpu();
    const access = pageAccessOf(cpu);
    const before = [...cpu.part.mappings()].length;
    const result = access(physAddr(0x20_0000), size, (outer) => {
      cpu.vcpu.write(outer, Uint8Array.of(1));
      return access(physAddr(0x40_0000), size, (inner) => {
        expect(inner).not.toBe(outer);
        expect(cpu.pageTable.lookup(inner)).toMatchObject({ size, shared: false });
        return [...cpu.vcpu.read(outer, 1), ...cpu.vcpu.read(inner, 1)];
      });
    });
    expect(result).toEqual([1, 0]);
    expect([...cpu.part.mappings()].length).toBe(before);
    expect(stale).toEqual([]);
  },
);

test('an error of the use goes on, and nothing stays mapped', () => {
  const { svsm } = bootWorld();
  const cpu = svsm.thisCpu();
  expect(() =>
    pageAccessOf(cpu)(physAddr(0x5000), PageSize.Regular, () => {
      throw new Error('thrown');
    }),
  ).toThrow('thrown');
  expect(cpu.temp4k.allocations).toBe(0);
});
