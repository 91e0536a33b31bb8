import { expect, test } from 'vitest';
import { decodePscEntry, GhcbPage } from '../../src/formats/index.ts';
import { requireOptions } from '../../src/formats/options.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { MiB, thrownBy, world } from '../support/world.ts';

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
