/** Valid values of the types of `@svsm/dump`: a raw image of 64 KiB with page tables, nested page tables and an RMP. */
import { fileURLToPath } from 'node:url';
import {
  bytesSource,
  type Dump,
  type DumpView,
  openDump,
  openNested,
  openRmp,
  openView,
  type Source,
} from '@svsm/dump';
import type { Makers, World } from '../world.ts';
import { makers as snp } from './sev-snp.ts';

const SIZE = 0x1_0000;
const CR3 = 0x1000n;
const FIXTURE = fileURLToPath(
  new URL('../../../packages/dump/test/fixtures/la57.frames.gz', import.meta.url),
);
const RMP = { base: 0x8000n, end: 0xd000n };
const C_BIT = { mode: 'c-bit', bit: 51 } as const;

/** Four tables, which map themselves and the pages after them; the same tables serve as nested page tables. */
function image(): Uint8Array {
  const words = new BigUint64Array(SIZE / 8);
  const tables: readonly (readonly [table: number, entries: readonly bigint[]])[] = [
    [0x1000, [0x2067n]],
    [0x2000, [0x3067n]],
    [0x3000, [0x4067n, 0x20_00e7n]],
    [0x4000, Array.from({ length: 16 }, (_, i) => (BigInt(i) << 12n) | 0x67n)],
  ];
  for (const [table, entries] of tables)
    for (const [i, entry] of entries.entries()) words[table / 8 + i] = entry;
  return new Uint8Array(words.buffer);
}

const dumpOf = (world: World): Dump => world.get('Dump');

export const makers: Makers = {
  types: {
    ...snp.types,
    Uint8Array: { make: () => image(), state: (bytes: Uint8Array) => [bytes.slice()] },
    Source: {
      make: (world) => ({
        ...bytesSource(world.get('Uint8Array')),
        dataFrom: (position: number) => position,
      }),
      methods: ['read', 'dataFrom?', 'close'],
      isCallers: true,
    },
    BlobLike: {
      make: () => new Blob([new Uint8Array(SIZE)]),
      methods: ['slice', 'arrayBuffer'],
      isCallers: true,
    },
    BlobReader: {
      make: () => ({ readAsArrayBuffer: (blob: Blob) => new ArrayBuffer(blob.size) }),
      methods: ['readAsArrayBuffer'],
      isCallers: true,
    },
    Decoder: { make: () => (_: Uint8Array, size: number) => new Uint8Array(size) },
    OnProgress: { make: () => () => {} },
    Dump: {
      make: (world) => openDump(world.get<Source>('Source'), { cr3: CR3 }),
      methods: ['readFrame', 'offsetOf'],
    },
    NestedDump: { make: (world) => openNested(dumpOf(world), { format: 'npt', pointer: CR3 }) },
    NestedPaging: { make: (world) => world.get<ReturnType<typeof openNested>>('NestedDump').nested },
    DumpView: { make: (world) => openView(dumpOf(world), { cr3: CR3 }) },
    Backing: {
      make: (world) => openView(dumpOf(world), { cr3: CR3, rmp: world.get('RmpTable') }).backing,
    },
    Notices: { make: (world) => openView(dumpOf(world), { cr3: CR3 }).notices },
    RmpTable: {
      make: (world) => openRmp((frame, bytes) => dumpOf(world).readFrame(frame, bytes), RMP),
    },
    // That of a view, which `openView` makes.
    PhysMemory: {
      make: (world) => world.get<DumpView>('DumpView').memory,
    },
    ReadTableFrame: {
      make: (world) => {
        const dump = dumpOf(world);
        return (frame: number, bytes: Uint8Array) => dump.readFrame(frame, bytes);
      },
    },
    MemoryEncryption: { make: () => C_BIT },
    VirtBounds: { make: () => ({ start: 0n, end: 0x4000n }) },
  },
  values: {
    ...snp.values,
    name: () => 'dump',
    cr3: () => CR3,
    cr4: () => 0x20n,
    cpu: () => 0,
    levels: () => 4,
    physicalBits: () => 46,
    raw: () => true,
    ram: () => [{ paddr: 0, size: SIZE, offset: 0 }],
    vendor: () => 'amd',
    encryption: () => C_BIT,
    asid: () => 1,
    vmpl: () => 0,
    pointer: () => CR3,
    cBit: () => 51,
    format: () => 'npt',
    base: () => RMP.base,
    end: () => RMP.end,
    segments: () => 1,
    place: () => RMP,
    paddrs: () => [0x5000n],
    roots: () => [CR3],
    addresses: () => [0x5000n, 0x5001n],
    vaddr: () => 0x5000n,
    paddr: () => 0x5000n,
    start: () => 0x1000n,
    length: () => 0x2000n,
    pattern: () => Uint8Array.of(0x67, 0x20),
    filter: () => ({ writable: true }),
    pageSize: () => 4096,
    physical: () => ({ start: 0n, end: 0x8000n }),
    regions: () => [{ name: 'text', start: 0n, end: 0x4000n, basis: 'tables' }],
    frame: () => 5,
    'RmpTable.runFrom(first)': () => 0,
    'RmpTable.runFrom(most)': () => 4,
    'Dump.readFrame(bytes)': () => new Uint8Array(4096),
    'openSavedRmp(place)': () => ({ ...RMP, base: 0n, end: 0x1_0000n }),
    'Notices.add(warning)': () => 'damaged-page',
    'Notices.add(message)': () => 'a page is damaged',
    'Notices.quietly(work)': () => () => 1,
    'Backing.of(mapping)': () => ({
      paddr: 0x1000n,
      size: 0x1000n,
      pageSize: 4096,
      user: true,
      writable: true,
      executable: true,
      shared: null,
    }),
    path: () => FIXTURE,
    onProgress: () => () => {},
  },
};
