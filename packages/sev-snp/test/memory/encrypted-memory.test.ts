import { isPageTableError } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { EncryptedMemory, NO_KEY } from '../../src/memory/encrypted-memory.ts';
import { bytesOf, codeOf, textOf } from '../support/world.ts';

const at = sysPhysAddr(0x3ffc); // the last bytes of one frame and the first of the next
const secret = bytesOf('attack at dawn');

function withSecret(seed = 0): { memory: EncryptedMemory; key: number } {
  const memory = new EncryptedMemory(0x10_0000, seed);
  const key = memory.createKey();
  memory.write(at, secret, key);
  return { memory, key };
}

describe('what is written with a key', () => {
  test('is read back with it, across frames', () => {
    const { memory, key } = withSecret();
    expect(textOf(memory.read(at, secret.length, key))).toBe('attack at dawn');
  });

  // C15
  test('is ciphertext without a key and with every other key', () => {
    const { memory, key } = withSecret();
    const other = memory.createKey();
    const views = [key, NO_KEY, other].map((k) => memory.read(at, secret.length, k).join());
    expect(new Set(views).size).toBe(3);
  });

  test('has different ciphertext for another address, key, content or seed', () => {
    const plain = (memory: EncryptedMemory, spa: number): string =>
      memory.read(sysPhysAddr(spa), 8, NO_KEY).join();
    const fill = (memory: EncryptedMemory, spa: number, byte: number, key: number): string => {
      memory.write(sysPhysAddr(spa), new Uint8Array(8).fill(byte), key);
      return plain(memory, spa);
    };
    const memory = new EncryptedMemory(0x10_0000);
    const [one, two] = [memory.createKey(), memory.createKey()];
    const other = new EncryptedMemory(0x10_0000, 1);
    const seen = [
      fill(memory, 0x1000, 1, one),
      fill(memory, 0x1008, 1, one),
      fill(memory, 0x2000, 1, one),
      fill(memory, 0x3000, 1, two),
      fill(memory, 0x1000, 1, two),
      fill(memory, 0x1000, 2, one),
      fill(other, 0x1000, 1, other.createKey()),
    ];
    expect(new Set(seen).size).toBe(seen.length);
    expect(fill(memory, 0x1000, 1, one)).toBe(seen[0]);
  });

  // C16
  test('is read back after its ciphertext was put back at its address, and at no other address', () => {
    const { memory, key } = withSecret();
    const stale = memory.read(at, secret.length, NO_KEY);
    memory.write(at, bytesOf('attack at noon'), key);
    memory.write(at, stale, NO_KEY);
    expect(textOf(memory.read(at, secret.length, key))).toBe('attack at dawn');
    memory.write(sysPhysAddr(0x8000), stale, NO_KEY);
    expect(textOf(memory.read(sysPhysAddr(0x8000), secret.length, key))).not.toBe('attack at dawn');
  });
});

test('a write with another key does not change the bytes next to it, for any key', () => {
  const { memory, key } = withSecret();
  const cipher = memory.read(at, secret.length, NO_KEY);
  memory.write(sysPhysAddr(at + 2n), bytesOf('xy'), NO_KEY);
  expect(memory.read(at, 2, NO_KEY)).toEqual(cipher.subarray(0, 2));
  expect(textOf(memory.read(at, 2, key))).toBe('at');
  expect(textOf(memory.read(sysPhysAddr(at + 4n), 10, key))).toBe('ck at dawn');
  expect(textOf(memory.read(sysPhysAddr(at + 2n), 2, NO_KEY))).toBe('xy');
});

describe('rekey', () => {
  test('gives another key the content that the first key sees', () => {
    const memory = new EncryptedMemory(0x10_0000);
    const [one, two] = [memory.createKey(), memory.createKey()];
    memory.write(sysPhysAddr(0x3000), secret, NO_KEY);
    memory.rekey(3, NO_KEY, one);
    expect(memory.read(sysPhysAddr(0x3000), secret.length, one)).toEqual(secret);
    expect(memory.read(sysPhysAddr(0x3000), secret.length, NO_KEY)).not.toEqual(secret);
    memory.rekey(3, one, two);
    expect(memory.read(sysPhysAddr(0x3000), secret.length, two)).toEqual(secret);
    const garbage = memory.read(sysPhysAddr(0x3000), 16, NO_KEY);
    memory.rekey(3, NO_KEY, one);
    expect(memory.read(sysPhysAddr(0x3000), 16, one)).toEqual(garbage);
  });

  test('of untouched memory gives zeros', () => {
    const memory = new EncryptedMemory(0x10_0000);
    const key = memory.createKey();
    memory.rekey(5, NO_KEY, key);
    expect(memory.read(sysPhysAddr(0x5000), 8, key)).toEqual(new Uint8Array(8));
    expect(memory.read(sysPhysAddr(0x5000), 8, NO_KEY)).not.toEqual(new Uint8Array(8));
  });
});

describe('as memory of page tables', () => {
  test('has an epoch that changes with every write to a frame whose words were given out', () => {
    const memory = new EncryptedMemory(0x10_0000);
    const view = memory.view(NO_KEY);
    view.words(1, true);
    const epochs = [view.epoch];
    const actions = [
      () => view.words(1, true),
      () => memory.writeFrame(1, 0, Uint8Array.of(1), NO_KEY),
      () => memory.writeFrame(1, 0, Uint8Array.of(1), 1),
      () => view.words(1, false),
      () => memory.writeFrame(1, 0, Uint8Array.of(2), 1),
      () => view.words(1, false),
      () => memory.rekey(1, 1, 2),
    ];
    for (const action of actions) {
      action();
      epochs.push(view.epoch);
    }
    // A read does not count.
    expect(epochs.map((epoch) => epochs.indexOf(epoch))).toEqual([0, 1, 2, 3, 3, 5, 5, 7]);
  });

  test('keeps its epoch while others write frames that nobody has looked at, or that another key has', () => {
    const memory = new EncryptedMemory(0x10_0000);
    const [view, other] = [memory.view(NO_KEY), memory.view(1)];
    view.words(1, true);
    other.words(2, true);
    const { epoch } = view;
    memory.writeFrame(3, 0, Uint8Array.of(1), NO_KEY);
    memory.writeFrame(3, 0, Uint8Array.of(1), 1);
    memory.clear(4, 1, 2);
    memory.rekey(6, NO_KEY, 1, 2);
    const before = other.epoch;
    other.words(2, true)[0] = 5;
    expect(view.epoch).toBe(epoch);
    expect(other.epoch).toBeGreaterThan(before);
  });

  test('begins an epoch when a frame is cleared of which an alias has given out a copy', () => {
    const memory = new EncryptedMemory(0x10_0000);
    const view = memory.view(1);
    memory.writeFrame(2, 0, Uint8Array.of(1), 1);
    memory.aliasFrame(3, 2);
    view.words(3, false);
    const { epoch } = view;
    memory.clear(2, 1);
    expect(view.epoch).toBeGreaterThan(epoch);
  });

  test('begins an epoch when more copies are out than it remembers', () => {
    const memory = new EncryptedMemory(4100 * 0x1000);
    const view = memory.view(NO_KEY);
    const { epoch } = view;
    for (let frame = 0; frame < 4096; frame += 1) view.words(frame, false);
    expect(view.epoch).toBe(epoch);
    view.words(4096, false);
    expect(view.epoch).toBeGreaterThan(epoch);
  });

  test('returns the same array for reads after a write', () => {
    const view = new EncryptedMemory(0x10_0000).view(7);
    const words = view.words(2, true);
    words[0] = 5;
    expect(view.words(2, false)).toBe(words);
    expect(view.wordOffset(2)).toBe(0);
  });
});

test('refuses frames outside of the memory', () => {
  const memory = new EncryptedMemory(0x2000);
  for (const frame of [-1, 2, 2 ** 40, Number.NaN]) {
    expect(() => memory.words(frame, 0, false)).toThrow();
  }
  const outside = [
    () => memory.read(sysPhysAddr(0x1fff), 2, 0),
    () => memory.write(sysPhysAddr(0x1fff), secret, 0),
  ];
  for (const action of outside) {
    try {
      action();
      expect.unreachable();
    } catch (error) {
      expect(isPageTableError(error, 'BUS_ERROR')).toBe(true);
    }
  }
  expect(memory.read(sysPhysAddr(0x1fff), 1, 0)).toEqual(new Uint8Array(1));
  expect(codeOf(() => new EncryptedMemory(4097))).toBe('INVALID_ARGUMENT');
});

// A23
test('an alias needs two frames of the memory, and ends when a frame becomes its own target again', () => {
  const memory = new EncryptedMemory(0x2000);
  memory.writeFrame(0, 0, Uint8Array.of(1), NO_KEY);
  memory.writeFrame(1, 0, Uint8Array.of(2), NO_KEY);
  for (const [alias, target] of [
    [2, 0],
    [0, 2],
    [-1, 0],
  ] as const) {
    const busError = expect.objectContaining({ code: 'BUS_ERROR' });
    expect(() => memory.aliasFrame(alias, target)).toThrow(busError);
  }
  const { epoch } = memory.view(NO_KEY);
  memory.aliasFrame(1, 0);
  expect(memory.view(NO_KEY).epoch).not.toBe(epoch);
  expect(memory.readFrame(1, 0, 1, NO_KEY)).toEqual(Uint8Array.of(1));
  memory.aliasFrame(1, 1);
  expect(memory.readFrame(1, 0, 1, NO_KEY)).toEqual(Uint8Array.of(2));
});

test('once an alias is undone, a terabyte is cleared as one range', () => {
  const memory = new EncryptedMemory(2 ** 40);
  const key = memory.createKey();
  memory.aliasFrame(1, 0);
  memory.writeFrame(1, 0, Uint8Array.of(7), key);
  memory.aliasFrame(1, 1);
  const start = performance.now();
  memory.clear(0, key, 2 ** 28);
  memory.rekey(0, key, NO_KEY, 2 ** 28);
  expect(memory.writtenIn(0, 2 ** 28, NO_KEY)).toEqual([]);
  expect(performance.now() - start).toBeLessThan(1000);
});
