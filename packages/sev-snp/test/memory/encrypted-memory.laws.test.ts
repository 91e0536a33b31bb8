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
  fc.record({ rekey: frame, from: key, to: key }),
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
        } else {
          memory.rekey(step.rekey, step.from, step.to);
          const [from, to] = [streams[step.from]![step.rekey]!, streams[step.to]![step.rekey]!];
          const target = targets[step.rekey]!;
          dram[target] = dram[target]!.map((byte, i) => byte ^ from[i]! ^ to[i]!);
        }
      }
      const expected = streams.map((of) =>
        of.map((stream, f) => dram[targets[f]!]!.map((byte, i) => byte ^ stream[i]!)),
      );
      expect(readAll()).toEqual(expected);
    }),
  );
});
