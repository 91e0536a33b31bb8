import { Tlb } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { decodePscEntry, GhcbPage } from '../../src/formats/index.ts';
import { requireOptions } from '../../src/formats/options.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { gvaOf, MiB, thrownBy, world } from '../support/world.ts';

const untyped = (value: unknown): never => value as never;

test('a misspelt option is refused by its name', () => {
  const error = thrownBy(() => new SnpMachine(untyped({ memorySize: 4 * MiB, cbit: 47 })));
  expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', details: { value: 'cbit' } });
  const { machine, guest } = world();
  expect(
    thrownBy(() => machine.hypervisor.launch(untyped({ size: 2 * MiB, vtom: 1n })))?.details,
  ).toMatchObject({
    value: 'vtom',
  });
  expect(thrownBy(() => guest.createVcpu(untyped({ vmp: 1 })))?.details).toMatchObject({ value: 'vmp' });
});

test('options that are not an object, or that cannot be read, are refused', () => {
  const unreadable = {
    get size(): number {
      throw new Error('not readable');
    },
  };
  for (const value of [undefined, null, 5, 'x', unreadable]) {
    const error = thrownBy(() => requireOptions('options', untyped(value), ['size']));
    expect(error?.code).toBe('INVALID_ARGUMENT');
    expect(error?.details['value']).toBe(value);
  }
  requireOptions('options', { size: 1 }, ['size']);
});

test('a register that does not exist is refused, and is not stored', () => {
  const { vcpu } = world();
  const before = vcpu.controlRegisters;
  for (const register of [0x1001, 'cr2', '__proto__', undefined, Object.create(null)]) {
    expect(thrownBy(() => vcpu.load(untyped(register), 0n))?.code).toBe('INVALID_ARGUMENT');
  }
  expect(vcpu.controlRegisters).toEqual(before);
});

test('bytes that are not a Uint8Array are refused', () => {
  for (const value of [undefined, null, 8, '12345678', { length: 8 }, new Array(8).fill(0)]) {
    expect(thrownBy(() => decodePscEntry(untyped(value)))?.code).toBe('INVALID_ARGUMENT');
    expect(thrownBy(() => GhcbPage.over().writeBuffer(0, untyped(value)))?.code).toBe('INVALID_ARGUMENT');
  }
});

test('an access of a wrong length or to wrong bytes is refused, also when both TLBs hold the page', () => {
  for (const isWarm of [false, true]) {
    const { guest, table } = world();
    const vcpu = guest.createVcpu({ tlb: new Tlb(), nestedTlb: new NestedTlb() });
    vcpu.loadCr3(table.cr3);
    if (isWarm) vcpu.write(gvaOf(0x5000), vcpu.read(gvaOf(0x5000), 8));
    for (const length of [
      undefined,
      null,
      Number.NaN,
      -1,
      0.5,
      '8',
      8n,
      {},
      Number.POSITIVE_INFINITY,
      2 ** 53,
    ]) {
      for (const access of ['read', 'fetch', 'clear'] as const) {
        const error = thrownBy(() => vcpu[access](gvaOf(0x5000), untyped(length)));
        expect([access, length, error?.code]).toEqual([access, length, 'INVALID_ARGUMENT']);
      }
    }
    for (const bytes of [undefined, null, 'x', [1], { length: 1 }, new Uint16Array(1)]) {
      const error = thrownBy(() => vcpu.write(gvaOf(0x5000), untyped(bytes)));
      expect([bytes, error?.code]).toEqual([bytes, 'INVALID_ARGUMENT']);
    }
    for (const options of [null, 5, { implict: true }, { implicit: 1 }]) {
      expect(thrownBy(() => vcpu.read(gvaOf(0x5000), 8, untyped(options)))?.code).toBe('INVALID_ARGUMENT');
      expect(thrownBy(() => vcpu.write(gvaOf(0x5000), new Uint8Array(8), untyped(options)))?.code).toBe(
        'INVALID_ARGUMENT',
      );
    }
    expect(vcpu.read(gvaOf(0x5000), 8)).toEqual(new Uint8Array(8));
  }
});

test('an event of a machine has all its fields, each of its type, and no others', () => {
  const { machine, events } = world();
  const before = events.length;
  const state = { assigned: true };
  const wrong: readonly unknown[] = [
    undefined,
    { type: 'flush', page: 1n },
    { type: 'toString' },
    { type: 'psmash', spa: 0n },
    { type: 'psmash', spa: 0x1000, result: 0 },
    { type: 'psmash', spa: 0n, result: 5 },
    { type: 'rmpupdate', spa: 0n, state: { assignd: true }, result: 0 },
    { type: 'rmpupdate', spa: 0n, state, result: 0, count: 0.5 },
    { type: 'pvalidate', gva: 0n, pageSize: 1, validate: true, result: 0, unchanged: false },
  ];
  for (const event of wrong) {
    expect([event, thrownBy(() => machine.trace(untyped(event)))?.code]).toEqual([event, 'INVALID_ARGUMENT']);
  }
  expect(events.length).toBe(before);
  machine.trace({ type: 'rmpupdate', spa: 0n, state, result: 0, count: 2 });
  machine.trace({ type: 'flush', gva: undefined });
  expect(events.length).toBe(before + 2);
});

test('an answer of the hypervisor that is not a bigint is refused, and the MSR keeps the request', () => {
  class Wrong extends Hypervisor {
    override vmgexit(): never {
      return untyped('0x17');
    }
  }
  const { vcpu } = world({ hypervisor: (machine) => new Wrong(machine) });
  vcpu.ghcbMsr = 2n;
  expect(thrownBy(() => vcpu.vmgexit())?.code).toBe('INVALID_ARGUMENT');
  expect(vcpu.ghcbMsr).toBe(2n);
  expect(thrownBy(() => new SnpMachine({ memorySize: 4 * MiB, hypervisor: untyped(() => ({})) }))?.code).toBe(
    'INVALID_ARGUMENT',
  );
});
