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
