import fc from 'fast-check';
import { expect, test } from 'vitest';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { EncryptedMemory } from '../../src/memory/encrypted-memory.ts';

const key = fc.integer({ min: 0, max: 2 });
const write = fc.record({
  key,
  at: fc.integer({ min: 0, max: 0x1ff0 }),
  bytes: fc.uint8Array({ minLength: 1, maxLength: 16 }),
});

// C15
test('every key sees the same DRAM through its own keystream', () => {
  fc.assert(
    fc.property(fc.array(write, { maxLength: 20 }), (writes) => {
      const memory = new EncryptedMemory(0x2000, 3);
      // The views of zeroed memory are the keystreams.
      const streams = [0, 1, 2].map((k) => memory.read(sysPhysAddr(0), 0x2000, k));
      const dram = new Uint8Array(0x2000);
      for (const { key, at, bytes } of writes) {
        memory.write(sysPhysAddr(at), bytes, key);
        bytes.forEach((byte, i) => {
          dram[at + i] = byte ^ streams[key]![at + i]!;
        });
      }
      streams.forEach((stream, k) => {
        const expected = dram.map((byte, i) => byte ^ stream[i]!);
        expect(memory.read(sysPhysAddr(0), 0x2000, k)).toEqual(expected);
      });
    }),
  );
});

const frame = fc.nat(2);
const step = fc.oneof(
  fc.record({ key, frame, offset: fc.nat(0xff0), bytes: fc.uint8Array({ minLength: 1, maxLength: 16 }) }),
  fc.record({ alias: frame, target: frame }),
  fc.record({ rekey: frame, from: key, to: key, count: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ clear: frame, with: key, count: fc.integer({ min: 1, max: 3 }) }),
);

// A23
test('an alias is a second address of the same DRAM, with a keystream of its own', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const memory = new EncryptedMemory(0x3000, 3);
      const readAll = (): Uint8Array[][] =>
        [0, 1, 2].map((k) => [0, 1, 2].map((f) => memory.readFrame(f, 0, 0x1000, k)));
      const streams = readAll();
      const dram = [0, 1, 2].map(() => new Uint8Array(0x1000));
      const targets = [0, 1, 2];
      for (const step of steps) {
        if ('bytes' in step) {
          memory.writeFrame(step.frame, step.offset, step.bytes, step.key);
          for (const [i, byte] of step.bytes.entries()) {
            const at = step.offset + i;
            dram[targets[step.frame]!]![at] = byte ^ streams[step.key]![step.frame]![at]!;
          }
        } else if ('alias' in step) {
          memory.aliasFrame(step.alias, step.target);
          targets[step.alias] = step.target;
        } else if ('clear' in step) {
          const count = Math.min(step.count, 3 - step.clear);
          memory.clear(step.clear, step.with, count);
          for (let f = step.clear; f < step.clear + count; f += 1)
            dram[targets[f]!] = Uint8Array.from(streams[step.with]![f]!);
        } else {
          const count = Math.min(step.count, 3 - step.rekey);
          memory.rekey(step.rekey, step.from, step.to, count);
          for (let f = step.rekey; f < step.rekey + count; f += 1) {
            const [from, to] = [streams[step.from]![f]!, streams[step.to]![f]!];
            const target = targets[f]!;
            dram[target] = dram[target]!.map((byte, i) => byte ^ from[i]! ^ to[i]!);
          }
        }
      }
      const expected = streams.map((of) =>
        of.map((stream, f) => dram[targets[f]!]!.map((byte, i) => byte ^ stream[i]!)),
      );
      expect(readAll()).toEqual(expected);
      for (const [k, ofKey] of expected.entries()) {
        const written = memory.writtenIn(0, 3, k);
        expect(written).toEqual([0, 1, 2].filter((f) => written.includes(f)));
        for (const [f, bytes] of ofKey.entries())
          if (bytes.some((byte) => byte !== 0)) expect(written).toContain(f);
      }
    }),
  );
});

test('frames that were not written, or were cleared, are not listed as written', () => {
  const memory = new EncryptedMemory(0x10_0000, 3);
  memory.writeFrame(7, 0, Uint8Array.of(1), 0);
  memory.writeFrame(3, 0, Uint8Array.of(1), 0);
  memory.clear(10, 1, 2);
  expect(memory.writtenIn(0, 256, 0)).toEqual([3, 7, 10, 11]);
  expect(memory.writtenIn(4, 7, 0)).toEqual([7, 10]);
  expect(memory.writtenIn(10, 2, 1)).toEqual([]);
  memory.clear(0, 0, 256);
  expect(memory.writtenIn(0, 256, 0)).toEqual([]);
});

const laneStep = fc.oneof(
  fc.record({ clear: frame, with: key, count: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ bytes: fc.uint8Array({ minLength: 1, maxLength: 4 }), frame, with: key }),
  fc.record({ hold: frame, with: key, write: fc.boolean() }),
  fc.record({ alias: frame, target: frame }),
  fc.record({ revoke: frame }),
);

test('clear ends the same arrays as a write of zeros does, and shows the same in the others', () => {
  fc.assert(
    fc.property(fc.array(laneStep, { maxLength: 25 }), (steps) => {
      const twins = [new EncryptedMemory(0x3000, 3), new EncryptedMemory(0x3000, 3)] as const;
      const held: [Uint32Array, Uint32Array][] = [];
      for (const step of steps) {
        for (const [i, memory] of twins.entries()) {
          if ('clear' in step) {
            const count = Math.min(step.count, 3 - step.clear);
            const spa = sysPhysAddr(step.clear * 0x1000);
            if (i === 0) memory.clear(step.clear, step.with, count);
            else memory.write(spa, new Uint8Array(count * 0x1000), step.with);
          } else if ('bytes' in step) memory.writeFrame(step.frame, 0, step.bytes, step.with);
          else if ('alias' in step) memory.aliasFrame(step.alias, step.target);
          else if ('revoke' in step) memory.revoke(step.revoke);
        }
        if ('hold' in step) {
          const [left, right] = twins.map((memory) => memory.words(step.hold, step.with, step.write));
          held.push([left!, right!]);
        }
        for (const [left, right] of held) expect(left).toEqual(right);
      }
      // What is written to an array reaches the same memory.
      for (const [k, pair] of held.entries()) for (const words of pair) words[k % 1024] = 0x100 + k;
      const all = twins.map((memory) => [0, 1, 2].map((k) => memory.read(sysPhysAddr(0), 0x3000, k)));
      expect(all[0]).toEqual(all[1]);
    }),
  );
});

test('a range of 1 TiB is cleared and rekeyed at once, and costs nothing', () => {
  const memory = new EncryptedMemory(2n ** 41n);
  const [first, count] = [2 ** 20, 2 ** 28];
  memory.writeFrame(first + 7, 0, Uint8Array.of(1), 0);
  memory.rekey(first, 0, 1, count);
  memory.clear(first + count / 2, 2, count / 2);
  const last = first + count - 1;
  const bytes = [first, first + 7, last].map((f) => [1, 2].map((k) => memory.readFrame(f, 0, 1, k)[0] === 0));
  expect(bytes).toEqual([
    [true, false],
    [false, false],
    [false, true],
  ]);
  expect(memory.readFrame(first + 7, 0, 1, 1)[0]).toBe(1);
  expect(memory.readFrame(last + 1, 0, 1, 0)[0]).toBe(0);
});

test('clear and rekey of frames beyond the end change nothing', () => {
  const memory = new EncryptedMemory(0x3000);
  memory.writeFrame(2, 0, Uint8Array.of(9), 1);
  expect(() => memory.clear(2, 1, 2)).toThrow('BUS_ERROR');
  expect(() => memory.rekey(2, 1, 2, 2)).toThrow('BUS_ERROR');
  expect(memory.readFrame(2, 0, 1, 1)[0]).toBe(9);
});
