import { PAGE_SIZE, PageSize, physAddr, type VirtAddr } from '@svsm/address';
import { PtePreset } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { codeOf, gvaOf, MiB, world } from '../support/world.ts';

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

test('clear follows the pages of the guest where only the host has 2 MiB as one page', () => {
  for (const nestedTlb of [undefined, new NestedTlb()]) {
    const it = world({}, {}, nestedTlb ? { nestedTlb } : {});
    const [moved, kept] = [gvaOf(4 * MiB + PAGE_SIZE), gvaOf(6 * MiB)];
    it.table.split4k(gvaOf(4 * MiB));
    it.table.unmap4k(moved);
    it.table.map4k(moved, physAddr(6 * MiB), PtePreset.Data);
    it.table.map4k(gvaOf(64 * MiB), physAddr(4 * MiB + PAGE_SIZE), PtePreset.Data);
    it.vcpu.write(gvaOf(64 * MiB), Uint8Array.of(7));
    it.vcpu.write(kept, Uint8Array.of(8));
    it.vcpu.invlpgb();
    it.vcpu.clear(gvaOf(4 * MiB), 2 * MiB);
    expect([...it.vcpu.read(gvaOf(64 * MiB), 1), ...it.vcpu.read(kept, 1)]).toEqual([7, 0]);
  }
});

// P13
test('clear of a page of 2 MiB needs the right to write it', () => {
  for (const nestedTlb of [undefined, new NestedTlb()]) {
    const it = world({}, {}, nestedTlb ? { nestedTlb } : {});
    const at = gvaOf(64 * MiB);
    it.table.map2m(at, physAddr(4 * MiB), 0);
    it.vcpu.write(gvaOf(4 * MiB), Uint8Array.of(7));
    expect(codeOf(() => it.vcpu.clear(at, 2 * MiB))).toBe('PF');
    expect([...it.vcpu.read(at, 1)]).toEqual([7]);
  }
});

// V7
test('clear of 2 MiB checks each page if the nested TLB holds one of them, whose verdict may be stale', () => {
  const it = world();
  for (let gpa = 0; gpa < 8 * MiB; gpa += 2 * MiB)
    it.vcpu.rmpadjust(gvaOf(gpa), PageSize.Huge, { vmpl: 1, permissions: 3 });
  const vcpu = it.guest.createVcpu({ vmpl: 1, nestedTlb: new NestedTlb() });
  vcpu.loadCr3(it.table.cr3);
  vcpu.write(gvaOf(4 * MiB), Uint8Array.of(7));
  it.vcpu.write(gvaOf(5 * MiB), Uint8Array.of(8));
  it.vcpu.rmpadjust(gvaOf(4 * MiB), PageSize.Huge, { vmpl: 1, permissions: 0 });
  vcpu.write(gvaOf(4 * MiB), Uint8Array.of(9));
  expect(codeOf(() => vcpu.clear(gvaOf(4 * MiB), 2 * MiB))).toBe('NPF');
  expect([...it.vcpu.read(gvaOf(4 * MiB), 1), ...it.vcpu.read(gvaOf(5 * MiB), 1)]).toEqual([9, 8]);
});

test('clear of 2 MiB needs the right of its level to write, not only to read', () => {
  const it = world();
  for (let gpa = 0; gpa < 8 * MiB; gpa += 2 * MiB)
    it.vcpu.rmpadjust(gvaOf(gpa), PageSize.Huge, { vmpl: 1, permissions: gpa === 4 * MiB ? 1 : 3 });
  for (const nestedTlb of [undefined, new NestedTlb()]) {
    const vcpu = it.guest.createVcpu({ vmpl: 1, ...(nestedTlb ? { nestedTlb } : {}) });
    vcpu.loadCr3(it.table.cr3);
    expect(codeOf(() => vcpu.clear(gvaOf(4 * MiB), 2 * MiB))).toBe('NPF');
  }
});

test('an access to no bytes does not look at its address', () => {
  const { vcpu } = world();
  const at = (1n << 62n) as VirtAddr;
  vcpu.write(at, new Uint8Array(0));
  vcpu.clear(at, 0);
  expect(vcpu.read(at, 0)).toEqual(new Uint8Array(0));
  expect(codeOf(() => vcpu.write(at, new Uint8Array(1)))).toBe('GP');
});
