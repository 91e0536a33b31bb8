import { describe, expect, test } from 'vitest';
import { Processors } from '../../src/cpu/processors.ts';
import { bootWorld } from '../support/world.ts';

const { svsm } = bootWorld({ cpus: [0, 7, 3] });
const [first, second, third] = svsm.cpus;

describe('on', () => {
  test('makes a processor current, by itself or by its APIC ID, and returns the result', () => {
    expect(svsm.thisCpu()).toBe(first);
    expect(svsm.on(7, () => svsm.thisCpu())).toBe(second);
    expect(svsm.on(third!, () => svsm.thisCpu().apicId)).toBe(3);
    expect(svsm.thisCpu()).toBe(first);
  });

  test('can be nested', () => {
    svsm.on(7, () => {
      svsm.on(3, () => expect(svsm.thisCpu()).toBe(third));
      svsm.on(0, () => expect(svsm.thisCpu()).toBe(first));
      expect(svsm.thisCpu()).toBe(second);
    });
  });

  test('restores the processor from before when run throws', () => {
    svsm.on(7, () => {
      expect(() =>
        svsm.on(3, () => {
          throw new Error('thrown');
        }),
      ).toThrow('thrown');
      expect(svsm.thisCpu()).toBe(second);
    });
    expect(svsm.thisCpu()).toBe(first);
  });

  test('refuses a promise: code that runs later would run on another processor', () => {
    expect(() => svsm.on(7, async () => {})).toThrow(/INVALID_ARGUMENT/);
    expect(() => svsm.on(7, () => Promise.resolve(5))).toThrow(/INVALID_ARGUMENT/);
    expect(svsm.thisCpu()).toBe(first);
  });

  test('refuses a processor that does not exist, or of another SVSM, and a value that is not a function', () => {
    const other = bootWorld().svsm.thisCpu();
    expect(() => svsm.on(1, () => {})).toThrow(/NO_SUCH_CPU/);
    expect(() => svsm.on(other, () => {})).toThrow(/NO_SUCH_CPU/);
    expect(() => svsm.on(undefined as never, () => {})).toThrow(/INVALID_ARGUMENT/);
    expect(() => svsm.on(7, 5 as never)).toThrow(/INVALID_ARGUMENT/);
  });
});

test('without processors, none is current', () => {
  const none = new Processors();
  expect(() => none.thisCpu()).toThrow(/NO_CURRENT_CPU/);
  expect(() => none.get(0)).toThrow(/NO_SUCH_CPU/);
  expect(() => none.remove(0)).toThrow(/NO_SUCH_CPU/);
  none.add(first!);
  expect(() => none.add(first!)).toThrow(/ALREADY_STARTED/);
});
