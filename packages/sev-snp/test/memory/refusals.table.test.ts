import { PAGE_SIZE, PageSize, physAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { createPhysMemory, pagingConfig } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { EncryptedMemory } from '../../src/memory/encrypted-memory.ts';
import { GuestRegions } from '../../src/memory/guest-regions.ts';
import { HostFrames } from '../../src/memory/host-frames.ts';
import { NestedTable, type NestedTableOptions } from '../../src/memory/nested-table.ts';
import { messageOf } from '../support/message-of.ts';
import { MiB, tableFrames, thrownBy } from '../support/world.ts';

const spa = sysPhysAddr(0);
const gpa = physAddr(0);
const wrong = 'x' as never;
const bytes = new Uint8Array(8);
/** Memory whose content no refusal changes. */
const memory = new EncryptedMemory(0x3000, 1);
memory.writeFrame(1, 0, Uint8Array.of(1, 2, 3), 1);
memory.words(1, 1, true);
const content = (): string => String([0, 1, 2].map((key) => memory.read(spa, 0x3000, key)));
const before = [content(), memory.view(0).epoch];
const regions = new GuestRegions(physRegion(gpa, PAGE_SIZE));
const range = { gpa, spa, size: PageSize.Regular, count: 1 };
const nested = (options: Partial<NestedTableOptions> = {}): NestedTable =>
  new NestedTable({
    memory: createPhysMemory({ size: 4 * MiB }),
    frames: tableFrames(),
    config: pagingConfig(),
    ...options,
  });
const table = nested({ accessedDirty: true });

const ROWS: readonly (readonly [message: string, call: () => unknown])[] = [
  [
    'memory size cannot be 0x1001: pass a multiple of 4096 [INVALID_ARGUMENT]',
    () => new EncryptedMemory(0x1001),
  ],
  ['the seed cannot be 0.5: pass an integer [INVALID_ARGUMENT]', () => new EncryptedMemory(0x1000, 0.5)],
  [
    '0.5 is not a byte count: pass a bigint or a safe integer that is at least 0 [INVALID_BYTE_COUNT]',
    () => new EncryptedMemory(0.5),
  ],
  ['length cannot be -1: pass an integer from 0 on [INVALID_ARGUMENT]', () => memory.read(spa, -1, 0)],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => memory.read(wrong, 1, 0),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.read(sysPhysAddr(0x2fff), 2, 0),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.read(sysPhysAddr(0x2fff), Number.MAX_SAFE_INTEGER, 0),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.read(sysPhysAddr(0x3000), 1, 0),
  ],
  [
    'the key cannot be "x": pass a key from createKey, or NO_KEY [INVALID_ARGUMENT]',
    () => memory.read(spa, 1, wrong),
  ],
  ['bytes cannot be "x": pass a Uint8Array [INVALID_ARGUMENT]', () => memory.readInto(spa, wrong, 0)],
  [
    'the key cannot be 0.5: pass a key from createKey, or NO_KEY [INVALID_ARGUMENT]',
    () => memory.readInto(spa, bytes, 0.5),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => memory.write(wrong, bytes, 0),
  ],
  [
    'bytes cannot be a value of type object: pass a Uint8Array [INVALID_ARGUMENT]',
    () => memory.write(spa, [1] as never, 0),
  ],
  [
    'the key cannot be "x": pass a key from createKey, or NO_KEY [INVALID_ARGUMENT]',
    () => memory.write(spa, bytes, wrong),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.write(sysPhysAddr(0x2ffc), bytes, 0),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.write(sysPhysAddr(0x2000), new Uint8Array(0x1001), 0),
  ],
  [
    'the number of frames cannot be 0.5: pass an integer [INVALID_ARGUMENT]',
    () => memory.requirePages(0, 0.5),
  ],
  ['the frame number cannot be 0.5: pass an integer [INVALID_ARGUMENT]', () => memory.requirePages(0.5, 1)],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.requirePages(2, 2),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.requirePages(3, 0),
  ],
  [
    'there is no memory at physical address -0x1000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.requirePages(-1, 2),
  ],
  [
    'the key cannot be "x": pass a key from createKey, or NO_KEY [INVALID_ARGUMENT]',
    () => memory.writtenIn(0, 1, wrong),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.writtenIn(2, 2, 0),
  ],
  [
    'the key cannot be "x": pass a key from createKey, or NO_KEY [INVALID_ARGUMENT]',
    () => memory.readFrame(0, 0, 1, wrong),
  ],
  [
    'offset cannot be -1: pass an integer from 0 to 4096 [INVALID_ARGUMENT]',
    () => memory.readFrame(0, -1, 1, 0),
  ],
  [
    'offset cannot be 4097: pass an integer from 0 to 4096 [INVALID_ARGUMENT]',
    () => memory.readFrame(0, 0x1001, 0, 0),
  ],
  [
    'length cannot be 2: pass an integer from 0 to 1 [INVALID_ARGUMENT]',
    () => memory.readFrame(0, 0xfff, 2, 0),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.readFrame(3, 0, 1, 0),
  ],
  [
    'the frame number cannot be "x": pass an integer [INVALID_ARGUMENT]',
    () => memory.readFrame(wrong, 0, 1, 0),
  ],
  ['bytes cannot be "x": pass a Uint8Array [INVALID_ARGUMENT]', () => memory.writeFrame(0, 0, wrong, 0)],
  [
    'the key cannot be "x": pass a key from createKey, or NO_KEY [INVALID_ARGUMENT]',
    () => memory.writeFrame(0, 0, bytes, wrong),
  ],
  [
    'offset cannot be 0.5: pass an integer from 0 to 4096 [INVALID_ARGUMENT]',
    () => memory.writeFrame(0, 0.5, bytes, 0),
  ],
  [
    'length cannot be 8: pass an integer from 0 to 7 [INVALID_ARGUMENT]',
    () => memory.writeFrame(0, 0xff9, bytes, 0),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.writeFrame(3, 0, bytes, 0),
  ],
  [
    'the key cannot be "x": pass a key from createKey, or NO_KEY [INVALID_ARGUMENT]',
    () => memory.view(wrong),
  ],
  [
    'the key cannot be "x": pass a key from createKey, or NO_KEY [INVALID_ARGUMENT]',
    () => memory.words(0, wrong, false),
  ],
  ['write cannot be "x": pass a boolean [INVALID_ARGUMENT]', () => memory.words(0, 0, wrong)],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.words(3, 0, true),
  ],
  ['the frame number cannot be "x": pass an integer [INVALID_ARGUMENT]', () => memory.revoke(wrong)],
  ['the number of frames cannot be "x": pass an integer [INVALID_ARGUMENT]', () => memory.revoke(0, wrong)],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.aliasFrame(3, 0),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.aliasFrame(0, 3),
  ],
  [
    'the key cannot be "x": pass a key from createKey, or NO_KEY [INVALID_ARGUMENT]',
    () => memory.clear(1, wrong),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.clear(1, 0, 3),
  ],
  [
    'the key cannot be "x": pass a key from createKey, or NO_KEY [INVALID_ARGUMENT]',
    () => memory.rekey(1, wrong, 0),
  ],
  [
    'the key cannot be "x": pass a key from createKey, or NO_KEY [INVALID_ARGUMENT]',
    () => memory.rekey(1, 0, wrong),
  ],
  [
    'there is no memory at physical address 0x0000000000003000: memory has system memory of 0x3000 bytes [BUS_ERROR]',
    () => memory.rekey(1, 0, 1, 3),
  ],
  // guest regions
  [
    'guest memory cannot be a value of type object: pass at least one region [INVALID_ARGUMENT]',
    () => new GuestRegions([]),
  ],
  [
    'guest memory cannot be undefined: pass a region of guest-physical addresses, or several [INVALID_ARGUMENT]',
    () => new GuestRegions(undefined as never),
  ],
  [
    'guest memory cannot be a value of type object: pass a region of guest-physical addresses, or several [INVALID_ARGUMENT]',
    () => new GuestRegions([virtRegion(virtAddr(0), PAGE_SIZE)] as never),
  ],
  [
    'guest memory cannot be "[0x0000000000000800-0x0000000000001800)": pass whole pages of 4096 bytes [INVALID_ARGUMENT]',
    () => new GuestRegions(physRegion(physAddr(0x800), PAGE_SIZE)),
  ],
  [
    'guest memory cannot be "[0x0000000000000000-0x0000000000000800)": pass whole pages of 4096 bytes [INVALID_ARGUMENT]',
    () => new GuestRegions(physRegion(gpa, 0x800)),
  ],
  [
    'guest memory cannot be "[0x0000000000000000-0x0000000000000000)": pass whole pages of 4096 bytes [INVALID_ARGUMENT]',
    () => new GuestRegions(physRegion(gpa, 0)),
  ],
  [
    'the address of a page cannot be "x": pass a bigint [INVALID_ARGUMENT]',
    () => regions.containsPage(wrong, PageSize.Regular),
  ],
  [
    'the page size cannot be 1: pass one of 4096, 2097152, 1073741824 [INVALID_ARGUMENT]',
    () => regions.containsPage(gpa, 1 as never),
  ],
  // nested tables
  [
    'the options of a nested table cannot be undefined: pass an object with the options memory, frames, config, gmet, accessedDirty, ranges, rangeFrames [INVALID_ARGUMENT]',
    () => new NestedTable(undefined as never),
  ],
  [
    'a name in the options of a nested table cannot be "nmet": pass only options that exist: memory, frames, config, gmet, accessedDirty, ranges, rangeFrames [INVALID_ARGUMENT]',
    () => nested({ nmet: true } as never),
  ],
  [
    'config cannot be undefined: pass a PagingConfig [INVALID_ARGUMENT]',
    () => nested({ config: undefined as never }),
  ],
  ['gmet cannot be "x": pass a boolean [INVALID_ARGUMENT]', () => nested({ gmet: wrong })],
  ['accessedDirty cannot be "x": pass a boolean [INVALID_ARGUMENT]', () => nested({ accessedDirty: wrong })],
  [
    'an allocator of frames cannot be a value of type object: pass an object with the methods allocateFrame, freeFrame [INVALID_ARGUMENT]',
    () => nested({ frames: {} as never }),
  ],
  [
    'an allocator of frames cannot be a value of type object: pass an object with the methods allocateFrame, freeFrame [INVALID_ARGUMENT]',
    () => nested({ rangeFrames: { allocateFrame: () => gpa } as never }),
  ],
  ['ranges cannot be 1: pass an array of ranges [INVALID_ARGUMENT]', () => nested({ ranges: 1 as never })],
  [
    '-0x1 is outside the physical address space: valid addresses are 0x0 to 0x000fffffffffffff [OUTSIDE_SPACE]',
    () => nested({ ranges: [{ ...range, gpa: -1n as never }] }),
  ],
  [
    '-0x1 is outside the system-physical address space: valid addresses are 0x0 to 0x000fffffffffffff [OUTSIDE_SPACE]',
    () => nested({ ranges: [{ ...range, spa: -1n as never }] }),
  ],
  [
    'the page size cannot be 1: pass one of 4096, 2097152, 1073741824 [INVALID_ARGUMENT]',
    () => nested({ ranges: [{ ...range, size: 1 as never }] }),
  ],
  [
    'the number of pages cannot be -1: pass an integer from 0 on [INVALID_ARGUMENT]',
    () => nested({ ranges: [{ ...range, count: -1 }] }),
  ],
  [
    'a name in the rights cannot be "writeable": pass only options that exist: writable, user, executable [INVALID_ARGUMENT]',
    () => table.map(gpa, spa, PageSize.Regular, { writeable: true } as never),
  ],
  [
    'a right cannot be "x": pass a boolean [INVALID_ARGUMENT]',
    () => table.map(gpa, spa, PageSize.Regular, { writable: wrong }),
  ],
  [
    'a right cannot be "x": pass a boolean [INVALID_ARGUMENT]',
    () => table.map(gpa, spa, PageSize.Regular, { user: wrong }),
  ],
  [
    'a right cannot be "x": pass a boolean [INVALID_ARGUMENT]',
    () => table.map(gpa, spa, PageSize.Regular, { executable: wrong }),
  ],
  [
    'the page size cannot be 1: pass one of 4096, 2097152, 1073741824 [INVALID_ARGUMENT]',
    () => table.map(gpa, spa, 1 as never),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => table.map(wrong, spa, PageSize.Regular),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => table.lookup(wrong),
  ],
  ['isWrite cannot be "x": pass a boolean [INVALID_ARGUMENT]', () => table.markUsed(gpa, wrong)],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => table.markUsed(wrong, true),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => nested().markUsed(wrong, true),
  ],
  // frames of the host
  [
    '0x1000 bytes of system memory are needed, but 0x0 are free [OUT_OF_MEMORY]',
    () => new HostFrames(BigInt(2 * MiB)).allocateFrame(),
  ],
];

test.each(ROWS)('%s', (message, call) => {
  expect(messageOf(call)).toBe(message);
});

test('no refusal has changed memory', () => {
  for (const [, call] of ROWS) messageOf(call);
  expect([content(), memory.view(0).epoch]).toEqual(before);
});

test('an error about regions has a cause only if one was thrown', () => {
  const error = thrownBy(() => new GuestRegions([]));
  expect('cause' in (error as object)).toBe(false);
  expect(thrownBy(() => new GuestRegions(undefined as never))).toMatchObject({
    cause: expect.any(TypeError),
  });
});
