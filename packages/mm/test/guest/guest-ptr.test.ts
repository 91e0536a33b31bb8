import { PAGE_SIZE } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { type GuestMemory, GuestPtr, guestFormats } from '../../src/guest/index.ts';

/** A guest with 64 KiB of memory at 0. Each access is noted, and the bytes change after it. */
const memoryOf = () => {
  const bytes = new Uint8Array(16 * PAGE_SIZE);
  const accesses: string[] = [];
  const isInside = (gpa: bigint, length: number): boolean => gpa + BigInt(length) <= BigInt(bytes.length);
  const memory: GuestMemory = {
    read: (gpa, length) => {
      accesses.push(`read ${gpa} ${length}`);
      if (!isInside(gpa, length)) return undefined;
      const copy = bytes.slice(Number(gpa), Number(gpa) + length);
      bytes.fill(0xee, Number(gpa), Number(gpa) + length);
      return copy;
    },
    write: (gpa, data) => {
      accesses.push(`write ${gpa} ${data.length}`);
      if (!isInside(gpa, data.length)) return 0x8000_0003;
      bytes.set(data, Number(gpa));
      return 0;
    },
  };
  return { memory, bytes, accesses };
};
const { u8, u16, u32, u64, struct } = guestFormats;

describe('GuestPtr', () => {
  test('reads and writes values of its format', () => {
    const { memory, bytes } = memoryOf();
    expect(new GuestPtr(memory, 0x10n, u32).write(0x1234_5678)).toBe(true);
    expect([...bytes.slice(0x10, 0x14)]).toEqual([0x78, 0x56, 0x34, 0x12]);
    expect(new GuestPtr(memory, 0x10n, u32).read()).toBe(0x1234_5678);
  });

  test('fetches a structure once: two fields of one value never disagree', () => {
    const { memory, accesses } = memoryOf();
    const pointer = new GuestPtr(memory, 0x20n, struct({ count: u16, next: u16, flags: u32 }));
    pointer.write({ count: 511, next: 3, flags: 0 });
    // The bytes change after each access: a second fetch would see 0xee.
    expect(pointer.read()).toEqual({ count: 511, next: 3, flags: 0 });
    expect(accesses).toEqual(['write 32 8', 'read 32 8']);
  });

  test('steps and casts like a pointer, and may point anywhere', () => {
    const { memory, accesses } = memoryOf();
    const pointer = new GuestPtr(memory, 0x100n, u64);
    expect([pointer.at(2).gpa, pointer.at(-1).gpa, pointer.cast(u8).at(2).gpa]).toEqual([
      0x110n,
      0xf8n,
      0x102n,
    ]);
    const [before, after] = [pointer.at(-0x21), new GuestPtr(memory, 2n ** 64n - 8n, u64).at(1)];
    expect([before.gpa, after.gpa]).toEqual([-8n, 2n ** 64n]);
    for (const outside of [before, after]) {
      expect(outside.read()).toBeUndefined();
      expect(outside.write(0n)).toBe(false);
    }
    expect(accesses).toEqual([]);
  });

  test('is undefined where the guest has no memory', () => {
    const { memory } = memoryOf();
    const pointer = new GuestPtr(memory, 2n ** 63n, u32);
    expect([pointer.read(), pointer.write(1)]).toEqual([undefined, false]);
  });

  test('refuses what is not a memory, an address, a format or an index', () => {
    const { memory } = memoryOf();
    const bad = [
      () => new GuestPtr({} as never, 0n, u8),
      () => new GuestPtr(memory, 0 as never, u8),
      () => new GuestPtr(memory, 0n, { size: 0, decode: () => 0, encode: () => new Uint8Array(0) }),
      () => new GuestPtr(memory, 0n, u8).at(0.5),
      () => new GuestPtr(memory, 0n, u8).write(256),
    ];
    for (const call of bad) expect(call).toThrow('INVALID_ARGUMENT');
  });
});
