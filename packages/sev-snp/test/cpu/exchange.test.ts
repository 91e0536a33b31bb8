import { physAddr } from '@svsm/address';
import { PtePreset } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import { makePageShared } from '../../src/guest/page-visibility.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { codeOf, gvaOf, MiB, world } from '../support/world.ts';

const gva = gvaOf(4 * MiB + 0x3007);

test('an exchange returns the byte that was there, writes the other one, and touches no neighbour', () => {
  const { vcpu } = world();
  vcpu.write(gvaOf(4 * MiB + 0x3006), Uint8Array.of(1, 2, 3));
  expect([vcpu.exchange(gva, 255), vcpu.exchange(gva, 0)]).toEqual([2, 255]);
  expect([...vcpu.read(gvaOf(4 * MiB + 0x3006), 3)]).toEqual([1, 0, 3]);
});

test('an exchange needs the rights of a write, and changes nothing without them', () => {
  const { vcpu, table } = world();
  vcpu.write(gva, Uint8Array.of(7));
  table.unmap2m(gvaOf(4 * MiB));
  table.map2m(gvaOf(4 * MiB), physAddr(4 * MiB), PtePreset.ReadOnly);
  vcpu.invlpg(gva);
  expect(codeOf(() => vcpu.exchange(gva, 1))).toBe('PF');
  expect([...vcpu.read(gva, 1)]).toEqual([7]);
});

test('an exchange of a byte that is not one is refused', () => {
  const { vcpu } = world();
  for (const value of [-1, 256, 0.5, 1n, undefined])
    expect(codeOf(() => vcpu.exchange(gva, value as never))).toBe('INVALID_ARGUMENT');
});

test('a hypervisor that changes a shared byte does so before an exchange, or after it', () => {
  const { vcpu, guest, table, machine } = world({ hypervisor: (it) => new HostileHypervisor(it) });
  const host = machine.hypervisor as HostileHypervisor;
  makePageShared(vcpu, table, gvaOf(4 * MiB + 0x3000));
  vcpu.write(gva, Uint8Array.of(7));
  host.answers = { beforeSharedRead: (_, spa) => host.write(spa, Uint8Array.of(9)) };
  expect(vcpu.exchange(gva, 1)).toBe(9);
  host.answers = {};
  expect([...vcpu.read(gva, 1)]).toEqual([1]);
  // The hypervisor takes the page at the last moment: the check of the write comes after that.
  host.answers = {
    beforeSharedRead: () =>
      void host.changePageState(guest, physAddr(4 * MiB + 0x3000), PageOperation.Private),
  };
  expect(codeOf(() => vcpu.exchange(gva, 2))).toBe('NPF');
});

describe('a compare and exchange', () => {
  const at = gvaOf(4 * MiB + 0x3008);

  test('writes the value if the expected one was there, and returns what was there', () => {
    const { vcpu } = world();
    vcpu.write(gva, new Uint8Array(17).fill(1));
    const ones = 0x0101_0101_0101_0101n;
    expect(vcpu.compareExchange(at, 0n, 7n)).toBe(ones);
    expect(vcpu.compareExchange(at, ones, 2n ** 64n - 1n)).toBe(ones);
    expect([...vcpu.read(gva, 17)]).toEqual([1, ...Array(8).fill(255), ...Array(8).fill(1)]);
  });

  test('needs the rights of a write, also if the values differ', () => {
    const { vcpu, table } = world();
    table.unmap2m(gvaOf(4 * MiB));
    table.map2m(gvaOf(4 * MiB), physAddr(4 * MiB), PtePreset.ReadOnly);
    vcpu.invlpg(at);
    expect(codeOf(() => vcpu.compareExchange(at, 1n, 2n))).toBe('PF');
  });

  test('is not interrupted: an exit or a hook comes before it', () => {
    const { vcpu, table, machine } = world({ hypervisor: (it) => new HostileHypervisor(it) });
    const host = machine.hypervisor as HostileHypervisor;
    makePageShared(vcpu, table, gvaOf(4 * MiB + 0x3000));
    vcpu.write(at, new Uint8Array(8));
    host.answers = { beforeSharedRead: (_, spa) => host.write(spa, Uint8Array.of(9)) };
    expect(vcpu.compareExchange(at, 0n, 1n)).toBe(9n);
    expect(vcpu.compareExchange(at, 9n, 1n)).toBe(9n);
    host.answers = {};
    expect([...vcpu.read(at, 8)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
  });

  test('of a misaligned address, or a value that does not fit, is refused', () => {
    const { vcpu } = world();
    for (const [address, expected, value] of [
      [at + 4n, 0n, 0n],
      [at, -1n, 0n],
      [at, 0n, 2n ** 64n],
      [at, 0, 0n],
    ])
      expect(codeOf(() => vcpu.compareExchange(address as never, expected as never, value as never))).toBe(
        'INVALID_ARGUMENT',
      );
  });
});

test('an exchange of a private byte does not wait for the hypervisor', () => {
  const { vcpu, machine } = world({ hypervisor: (it) => new HostileHypervisor(it) });
  let calls = 0;
  (machine.hypervisor as HostileHypervisor).answers = {
    beforeSharedRead: () => {
      calls += 1;
    },
  };
  vcpu.exchange(gva, 1);
  expect([calls, ...vcpu.read(gva, 1)]).toEqual([0, 1]);
});
