/** Mutated dumps of all formats, made from a seed, and what happens when they are opened. */
import { PAGE_SIZE } from '@svsm/address';
import { isPageTableError } from '@svsm/pagetable';
import { openOptionsOf, report } from '../../src/command/command.ts';
import { ExitCode, UsageError } from '../../src/command/problem.ts';
import { openDump } from '../../src/formats/open-dump.ts';
import { NODE_CODECS } from '../../src/node/node-codecs.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { DumpError } from '../../src/source/dump-error.ts';
import { coreFile, framesFile, sparseFile, tableOf } from './core-file.ts';
import { flattened, kdumpFile, zlibPage } from './kdump-file.ts';
import { kernelCore } from './kernel-core.ts';
import { limeFile } from './lime-file.ts';
import { parseOptions } from './parse-options.ts';

const TABLES = [
  tableOf({ 0: 0x2067n, 300: 0x2067n, 511: 0x1063n }),
  tableOf({ 0: 0x3067n, 5: 0x3067n }),
  tableOf({ 0: 0x4067n, 1: 0x0020_00e7n }),
  tableOf({ 0: 0x9067n, 1: 0x8000_0000_0000_a063n }),
];
const MEMORY = Buffer.concat(TABLES);
const INFO =
  'OSRELEASE=6.1\nSYMBOL(swapper_pg_dir)=ffffffff80001000\nNUMBER(phys_base)=0\nNUMBER(pgtable_l5_enabled)=0\nNUMBER(sme_mask)=0\n';
const plain = coreFile({
  segments: [{ paddr: 0x1000n, bytes: MEMORY }],
  cpus: [{ cr3: 0x1000n }, { cr3: 0x1000n, cr4: 0x10a0n }],
});
/** As of a machine with 2 MiB of memory, of which segments describe two pages. */
const byVirtual = coreFile({
  segments: [
    { paddr: 0x7000n, vaddr: 0x40_0000n, offset: 0x700n + 0x7000n, size: 0x1000 },
    { paddr: 0xc_0000n, vaddr: 0x50_0000n, offset: 0x700n + 0xa_0000n, size: 0x1000 },
  ],
  cpus: [{ cr3: 0x1000n }],
});
const paging = Buffer.concat([
  byVirtual,
  Buffer.alloc(0x700 - byVirtual.length),
  Buffer.alloc(0x1000),
  MEMORY,
  Buffer.alloc(0x9000),
]);

const KDUMP = kdumpFile({
  pages: TABLES.map((bytes, i) => zlibPage(0x1000 * (i + 1), bytes)),
  vmcoreinfo: INFO,
});

const AVML = limeFile([
  { paddr: 0x1000, bytes: MEMORY, chunks: [0x3000] },
  { paddr: 0x10_0000, bytes: Buffer.alloc(0x2000, 3) },
]);

/** The files to mutate, each with options. */
const ORIGINALS: readonly { readonly bytes: Buffer; readonly args: readonly string[] }[] = [
  { bytes: plain, args: [] },
  { bytes: sparseFile(0x700 + 0x20_0000 - 0x2_0000 + 0x4_0000, [[0, paging]]), args: [] },
  {
    bytes: kernelCore(
      [
        { paddr: 0x1000, vaddr: 1n, bytes: MEMORY, memorySize: 0x8000 },
        { paddr: 0x1000, vaddr: 2n, bytes: MEMORY.subarray(0, 0x2000) },
      ],
      INFO,
    ),
    args: [],
  },
  {
    bytes: framesFile(
      { cr3: '0x1000', cr4: '0xa0', maxphyaddr: 46 },
      TABLES.map((bytes, i) => [BigInt(0x1000 * (i + 1)), bytes]),
    ),
    args: [],
  },
  { bytes: sparseFile(plain.length + 100, [[0, plain]]), args: [] },
  { bytes: Buffer.concat([Buffer.alloc(PAGE_SIZE), MEMORY]), args: ['--cr3', '1000'] },
  { bytes: sparseFile(2 ** 32, [[0x1000, MEMORY]]), args: ['--cr3', '1000'] },
  { bytes: KDUMP, args: [] },
  { bytes: AVML, args: ['--cr3', '1000'] },
  {
    bytes: flattened([
      [4096, KDUMP.subarray(4096)],
      [0, KDUMP.subarray(0, 4096)],
    ]),
    args: [],
  },
];
const COMMANDS = [
  ['runs'],
  ['leaves', '--json'],
  ['summary'],
  ['walk', '1000'],
  ['translate', 'ffff960000000000'],
  ['info'],
  ['roots'],
  ['check'],
  ['find', '2000'],
  ['search', '67'],
  ['read', '0', '3000'],
  ['rmp', '--rmp', '0-8000'],
  ['runs', '--rmp', '1000-7000', '--mismatches'],
  ['leaves', '--rmp', '0/30'],
  ['roots', '--nested', 'npt:1000'],
  ['runs', '--nested', 'ept:101e'],
] as const;
const VALUES = [0, 1, 2, 4, 0x7f, 0x80, 0xff, 0x1000, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff] as const;
const SUCCESS: readonly number[] = [ExitCode.Done, ExitCode.Negative, ExitCode.BadTables];

/** Random numbers from a seed: xorshift32. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e37_79b9) | 0 || 1;
    for (let i = 0; i < 8; i += 1) this.below(2);
  }

  below(end: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return (state >>> 0) % end;
  }

  of<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }
}

/**
 * Opens one mutated file and runs a command on it. Returns whether it could be opened.
 *
 * @throws any error but those that have one line for the user
 */
export async function tryMutation(seed: number): Promise<boolean> {
  const random = new Random(seed);
  const { bytes, args } = random.of(ORIGINALS);
  const mutated = mutate(bytes, random);
  const options = parseOptions([...firstAndFile(random.of(COMMANDS)), ...args])!;
  let printed = 0;
  try {
    const dump = openDump(bytesSource(mutated), {
      name: 'file',
      codecs: NODE_CODECS,
      ...openOptionsOf(options, 0),
    });
    const status = await report(options, [dump], {
      onProgress() {},
      lines: () => (async function* () {})(),
      print: (text) => {
        printed += text.length;
        return false;
      },
      write: () => false,
      flush: () => Promise.resolve(),
      complain: () => {},
    });
    if (!SUCCESS.includes(status)) throw new Error(`exit code ${status}`);
    if (printed === 0) throw new Error('nothing is printed');
    return true;
  } catch (error) {
    const isForUser = error instanceof DumpError || error instanceof UsageError;
    if (!isForUser && !isPageTableError(error, 'NON_CANONICAL')) throw error;
    return false;
  }
}

function firstAndFile([command, ...more]: readonly string[]): string[] {
  return [command!, 'file', ...more];
}

/** A copy with a few fields changed, most of them in headers, and maybe cut off, or with a part copied over another. */
function mutate(original: Buffer, random: Random): Buffer {
  const bytes = Buffer.from(original);
  for (let edits = 1 + random.below(5); edits > 0; edits -= 1) {
    const at = random.below(random.below(3) === 0 ? bytes.length : Math.min(bytes.length, 0x500));
    const kind = random.below(8);
    if (kind === 0) bytes[at] = bytes[at]! ^ (1 << random.below(8));
    else if (kind === 1) bytes[at] = random.below(256);
    else if (kind === 2)
      bytes.copyWithin(at, random.below(bytes.length), bytes.length - random.below(bytes.length));
    else if (at + 8 <= bytes.length) {
      const field = at & ~3;
      const value = random.below(4) === 0 ? random.below(2 ** 32) : random.of(VALUES);
      if (kind < 6) bytes.writeUInt32LE(value, field);
      else bytes.writeBigUInt64LE(BigInt(value) << BigInt(random.below(33)), field);
    }
  }
  return random.below(4) === 0 ? bytes.subarray(0, random.below(bytes.length)) : bytes;
}
