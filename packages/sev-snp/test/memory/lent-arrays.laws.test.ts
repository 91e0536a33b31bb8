import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EncryptedMemory } from '../../src/memory/encrypted-memory.ts';

/*
 * Every array that `words` has returned, against plain reasoning: DRAM is the content XOR a keystream of key and address. An
 * array shows its frame until another key or address writes it, a rekey or a revoke; then it keeps what it had. Two words of
 * each frame stand for all.
 */

const FRAMES = 6;
const PLACES = [0, 1023] as const;
type Words = readonly [number, number];

const frame = fc.nat(FRAMES - 1);
const key = fc.constantFrom(0, 1, 2);
const count = fc.constantFrom(1, 1, 2, FRAMES);
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ op: fc.constant('hold' as const), frame, key, write: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('write' as const), frame, key, value: fc.nat() }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('poke' as const), index: fc.nat(9), value: fc.nat() }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('clear' as const), frame, key, count }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('rekey' as const), frame, from: key, key, count }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('revoke' as const), frame, count }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('alias' as const), frame, target: frame }) },
);

interface Held {
  readonly array: Uint32Array;
  readonly key: number;
  readonly address: number;
  readonly isWritable: boolean;
  /** The frame of DRAM behind the address when it was given out. */
  readonly place: number;
  /** The words when it was given out; `undefined` once the test has changed them through an array. */
  seen: Words | undefined;
  /** The epoch of its key when it was given out; `undefined` once the test has changed it. */
  epoch: number | undefined;
  /** The frame of DRAM, or the words that the array has kept. */
  cell: number | undefined;
  kept: Words;
}

const wordsOf = (array: Uint32Array): Words => [array[PLACES[0]]!, array[PLACES[1]]!];
const xor = (left: Words, right: Words): Words => [(left[0] ^ right[0]) >>> 0, (left[1] ^ right[1]) >>> 0];

test('an array shows its frame until another key writes it, and keeps its words from then on', () => {
  const blank = new EncryptedMemory(FRAMES * 0x1000, 9);
  const streams = [0, 1, 2].map((k) =>
    Array.from({ length: FRAMES }, (_, f) => wordsOf(blank.words(f, k, false))),
  );
  const streamOf = (k: number, f: number): Words => streams[k]![f]!;
  let checked = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const memory = new EncryptedMemory(FRAMES * 0x1000, 9);
      const dram: Words[] = Array.from({ length: FRAMES }, () => [0, 0]);
      const targets = Array.from({ length: FRAMES }, (_, f) => f);
      const owners = targets.map((address) => ({ key: 0, address }));
      const held: Held[] = [];
      const sees = (k: number, f: number): Words => xor(dram[targets[f]!]!, streamOf(k, f));
      const isPlain = (k: number, f: number): boolean => {
        const owner = owners[targets[f]!]!;
        return owner.key === k && (owner.address === f || k === 0);
      };
      const end = (cell: number): void => {
        for (const one of held)
          if (one.cell === cell) {
            one.kept = xor(dram[cell]!, streamOf(one.key, one.address));
            one.cell = undefined;
          }
      };
      /** The key takes the frame at an address: the arrays of others end. */
      const take = (k: number, f: number): void => {
        const cell = targets[f]!;
        if (isPlain(k, f)) return;
        end(cell);
        owners[cell] = { key: k, address: f };
      };
      for (const one of steps) {
        if (one.op === 'hold') {
          const expected = sees(one.key, one.frame);
          if (one.write) take(one.key, one.frame);
          const array = memory.words(one.frame, one.key, one.write);
          expect(array.length).toBe(1024);
          const isFrame = memory.words(one.frame, one.key, false) === array;
          if (one.write) expect(isFrame).toBe(true);
          else if (!isPlain(one.key, one.frame)) expect(isFrame).toBe(false);
          held.push({
            array,
            key: one.key,
            address: one.frame,
            isWritable: one.write,
            epoch: memory.epochOf(one.key),
            place: targets[one.frame]!,
            seen: expected,
            cell: isFrame ? targets[one.frame]! : undefined,
            kept: expected,
          });
        } else if (one.op === 'write') {
          const bytes = new Uint8Array(Uint32Array.of(one.value).buffer);
          take(one.key, one.frame);
          memory.writeFrame(one.frame, 4092, bytes, one.key);
          const [first] = sees(one.key, one.frame);
          dram[targets[one.frame]!] = xor([first, one.value], streamOf(one.key, one.frame));
        } else if (one.op === 'poke') {
          const of = held[one.index];
          if (of === undefined) continue;
          if (of.cell === undefined) {
            for (const other of held) {
              if (other.array !== of.array) continue;
              other.kept = [one.value, other.kept[1]];
              other.epoch = undefined;
            }
          } else {
            if (!of.isWritable) continue;
            // Who writes through an array that he has kept tells nobody.
            for (const other of held) {
              if (other.place !== of.place) continue;
              other.seen = undefined;
              if (other.array !== of.array) other.epoch = undefined;
            }
            const [, last] = xor(dram[of.cell]!, streamOf(of.key, of.address));
            dram[of.cell] = xor([one.value, last], streamOf(of.key, of.address));
          }
          of.array[0] = one.value;
        } else if (one.op === 'alias') {
          memory.aliasFrame(one.frame, one.target);
          targets[one.frame] = one.target;
        } else {
          const frames = Array.from(
            { length: Math.min(one.count, FRAMES - one.frame) },
            (_, k) => one.frame + k,
          );
          if (one.op === 'revoke') {
            const cells = new Set(frames.map((f) => targets[f]!));
            const isHeld = held.some(({ cell }) => cell !== undefined && cells.has(cell));
            const epoch = memory.epochOf(0);
            memory.revoke(one.frame, one.count);
            if (isHeld) expect(memory.epochOf(0)).toBeGreaterThan(epoch);
            for (const cell of cells) end(cell);
          } else if (one.op === 'clear') {
            memory.clear(one.frame, one.key, frames.length);
            for (const f of frames) {
              take(one.key, f);
              dram[targets[f]!] = streamOf(one.key, f);
            }
          } else {
            memory.rekey(one.frame, one.from, one.key, frames.length);
            for (const f of frames) end(targets[f]!);
            for (const f of frames) {
              const cell = targets[f]!;
              dram[cell] = xor(sees(one.from, f), streamOf(one.key, f));
              owners[cell] = { key: one.key, address: f };
            }
          }
        }
        // While the epoch of its key stays, an array is what the key sees; and the frame itself, if it was asked for a write.
        for (const { array, cell, key: k, address, isWritable, epoch, seen } of held) {
          if (epoch !== memory.epochOf(k)) continue;
          checked += 1;
          expect(wordsOf(array)).toEqual(sees(k, address));
          if (seen !== undefined) expect(wordsOf(array)).toEqual(seen);
          if (isWritable) expect(cell).toBe(targets[address]);
        }
        for (const { array, cell, key: k, address, kept } of held) {
          expect(wordsOf(array)).toEqual(cell === undefined ? kept : xor(dram[cell]!, streamOf(k, address)));
        }
        for (let k = 0; k < 3; k += 1) {
          const written = memory.writtenIn(1, FRAMES - 1, k);
          expect([...written]).toEqual([...new Set(written)].sort((a, b) => a - b));
          for (let f = 0; f < FRAMES; f += 1) {
            const read = PLACES.map((at) =>
              new DataView(memory.readFrame(f, 4 * at, 4, k).buffer).getUint32(0, true),
            );
            expect(read).toEqual([...sees(k, f)]);
            if (f > 0 && sees(k, f).some((word) => word !== 0)) expect(written).toContain(f);
            expect(f === 0 && written.includes(f)).toBe(false);
          }
        }
      }
    }),
  );
  expect(checked).toBeGreaterThan(100);
});

test('revoke ends the arrays of its range up to both ends, however few there are', () => {
  for (const lent of [[2, 3, 7], [6], [2], [7], [3, 6]]) {
    const memory = new EncryptedMemory(0x1_0000);
    const arrays = lent.map((f) => [f, memory.words(f, 0, true)] as const);
    memory.revoke(3, 4);
    const ended = arrays.filter(([f, array]) => memory.words(f, 0, false) !== array).map(([f]) => f);
    expect(ended).toEqual(lent.filter((f) => f >= 3 && f < 7));
  }
});

test('zeros are not listed as written, with aliases and without', () => {
  const memory = new EncryptedMemory(0x8000);
  memory.clear(2, 1, 3);
  memory.writeFrame(5, 0, Uint8Array.of(1), 0);
  expect([0, 1].map((k) => memory.writtenIn(0, 8, k))).toEqual([
    [2, 3, 4, 5],
    [0, 1, 5, 6, 7],
  ]);
  memory.aliasFrame(7, 6);
  expect([0, 1].map((k) => memory.writtenIn(0, 8, k))).toEqual([
    [2, 3, 4, 5],
    [0, 1, 5, 6, 7],
  ]);
  memory.aliasFrame(7, 2);
  expect(memory.writtenIn(6, 2, 0)).toEqual([7]);
  // A frame of words whose key is another one is written, for its own key too: its content is not looked at.
  memory.writeFrame(3, 0, Uint8Array.of(0), 1);
  expect(memory.writtenIn(3, 1, 1)).toEqual([3]);
});

test('the ciphertext of a seed, a key and an address never changes', () => {
  const memory = new EncryptedMemory(2n ** 46n, 7);
  const read = (f: number): number[] => [...memory.readFrame(f, 0, 8, 3)];
  expect([read(1), read(2 ** 33 + 1)]).toEqual([
    [124, 38, 76, 243, 126, 154, 155, 48],
    [188, 56, 131, 234, 176, 187, 14, 103],
  ]);
  expect(read(2 ** 32 + 1)).not.toEqual(read(1));
});
