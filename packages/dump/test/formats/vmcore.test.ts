/** Core files as a crashed kernel leaves them: `/proc/vmcore`, and what makedumpfile makes of it. */
import { describe, expect, test } from 'vitest';
import { tableOf } from '../support/core-file.ts';
import { kernelCore, type Load } from '../support/kernel-core.ts';
import { runHere, temporary } from '../support/support.ts';

const DIRECT = 0xffff_8880_0000_0000n;
const TEXT = 0xffff_ffff_8100_0000n;
/** The kernel's text and its top table are from 16 MiB on. The table is at the end of the text. */
const BASE = 0x100_0000;
const INFO = [
  'OSRELEASE=6.1.0-test',
  'PAGESIZE=4096',
  'SYMBOL(swapper_pg_dir)=ffffffff81004000',
  'NUMBER(phys_base)=0',
  'NUMBER(pgtable_l5_enabled)=0',
  'NUMBER(sme_mask)=0',
  'KERNELOFFSET=0',
  '',
].join('\n');

/** Text of four pages, then a top table that maps the text. */
const text = Buffer.concat([
  Buffer.alloc(0x4000, 0x90),
  tableOf({ 511: BigInt(BASE + 0x5067) }),
  tableOf({ 510: BigInt(BASE + 0x6067) }),
  tableOf({ 8: BigInt(BASE + 0x7067) }),
  tableOf({ 0: 0x8000_0000_0100_0063n, 1: 0x100_1061n }),
]);
const low = Buffer.alloc(0x9_f000, 0x11);
const direct = Buffer.concat([Buffer.alloc(0x2000, 0x22), text, Buffer.alloc(0x2000, 0x33)]);
/** As crash_prepare_elf64_headers makes them: the text first, then all memory, in which the text is again. */
const LOADS: readonly Load[] = [
  { paddr: BASE, vaddr: TEXT, bytes: text },
  { paddr: 0x1000, vaddr: DIRECT + 0x1000n, bytes: low },
  { paddr: BASE - 0x2000, vaddr: DIRECT + BigInt(BASE - 0x2000), bytes: direct },
];

const RUNS = [
  '0xffffffff81000000 0xffffffff81001000      4 KiB  0x0000000001000000 4K   -rw-   -',
  '0xffffffff81001000 0xffffffff81002000      4 KiB  0x0000000001001000 4K   -r-x   -',
];

const rows = (stdout: string): string[] => stdout.split('\n').filter((line) => line.startsWith('0x'));

describe('a vmcore with the text of the kernel twice', () => {
  test('is opened at the CR3 that its VMCOREINFO names', async () => {
    const path = temporary('vmcore', kernelCore(LOADS, INFO));
    const { status, stdout, stderr } = await runHere([path]);
    expect([status, stderr]).toEqual([0, '']);
    expect(rows(stdout)).toEqual(RUNS);
    expect(stdout).toContain('ELF core, 3 segments, Linux 6.1.0-test');
    expect(stdout).toContain('# CR3 0x1004000; 4 levels');
  });

  test('may have pages that differ, if a walk does not need them', async () => {
    const changed = Buffer.from(direct);
    changed[0x2000 + 0x123] = 1;
    const path = temporary('vmcore', kernelCore([LOADS[0]!, { ...LOADS[2]!, bytes: changed }], INFO));
    expect(await runHere([path])).toMatchObject({ status: 0, stderr: '' });
  });

  test('has a warning where tables differ', async () => {
    const changed = Buffer.from(direct);
    changed[0x2000 + 0x7000] = 1;
    const path = temporary('vmcore', kernelCore([LOADS[0]!, { ...LOADS[2]!, bytes: changed }], INFO));
    const { status, stderr } = await runHere([path]);
    expect(status).toBe(4);
    expect(stderr).toMatch(
      /warning: physical address 0x1007000 has different bytes at \d+ and at \d+ in the file; the first is used\n$/,
    );
    const json = (await runHere([path, '--json'])).stdout.trimEnd().split('\n');
    expect(json.map((line) => JSON.parse(line) as object)).toContainEqual(
      expect.objectContaining({ type: 'warning', warning: 'copies-differ' }),
    );
    expect(json.at(-1)).toContain('"type":"end"');
  });

  test('has zeros where makedumpfile has left out pages', async () => {
    // makedumpfile -E: p_filesz ends before excluded pages, p_memsz after them.
    const first = { ...LOADS[0]!, memorySize: text.length + 0x10_0000 };
    const empty = { paddr: 0x200_0000, vaddr: DIRECT, bytes: new Uint8Array(0), memorySize: 0x40_0000 };
    const path = temporary('makedumpfile', kernelCore([first, empty], INFO));
    expect(rows((await runHere([path])).stdout)).toEqual(RUNS);
    const { stdout } = await runHere(['info', path]);
    expect(stdout).toMatch(/memory 0x0000000002000000 0x0000000002400000 +4 MiB {2}zeros, not in the file/);
    expect(await runHere(['walk', path, '0', '--cr3', '2000000'])).toMatchObject({ status: 4 });
    await expect(runHere(['walk', path, '0', '--cr3', '2400000'])).rejects.toThrow(/the dump has no memory/);
  });

  test('has five levels and a C-bit if it says so', async () => {
    const tables = Buffer.concat([
      tableOf({ 511: (1n << 51n) | 0x2067n }),
      tableOf({ 511: 0x3067n | (1n << 51n) }),
    ]);
    const info = INFO.replace('enabled)=0', 'enabled)=1')
      .replace('sme_mask)=0', `sme_mask)=${2n ** 51n}`)
      .replace('81004000', '80001000');
    const path = temporary('sev', kernelCore([{ paddr: 0x1000, vaddr: DIRECT, bytes: tables }], info));
    const { stdout } = await runHere(['walk', path, 'ffffffff80000000']);
    expect(stdout).toContain('5 levels, 52 physical bits, NX on, C-bit at bit 51');
    expect(stdout).toContain('PML5[511] at 0x1ff8');
    expect(stdout).toContain('PML4[511] at 0x2ff8');
  });

  test.each(['', 'SYMBOL(swapper_pg_dir)=zzz\n', 'NUMBER(phys_base)=0\n', '\x1b[2J\n'])(
    'needs --cr3 if its VMCOREINFO is %j',
    async (info) => {
      const path = temporary('vmcore', kernelCore(LOADS, info));
      await expect(runHere([path])).rejects.toThrow(/it has no CR3: pass --cr3/);
      expect(rows((await runHere([path, '--cr3', '1004000'])).stdout)).toEqual(RUNS);
    },
  );

  test('may have an empty VMCOREINFO before the one that counts', async () => {
    const path = temporary('twice', withNotes([Buffer.from('VMCOREINFO\0\0'), Buffer.alloc(0)]));
    expect(rows((await runHere([path])).stdout)).toEqual(RUNS);
  });

  test.each([4, 8, 12, 100])('may have %i zeros after its notes', async (zeros) => {
    const file = kernelCore(LOADS, INFO);
    file.writeBigUInt64LE(file.readBigUInt64LE(64 + 32) + BigInt(zeros), 64 + 32);
    expect(rows((await runHere([temporary('padded', file)])).stdout)).toEqual(RUNS);
  });

  test('may not end within a note', async () => {
    const file = kernelCore(LOADS, INFO);
    const [at, size] = [64 + 8, 64 + 32].map((field) => Number(file.readBigUInt64LE(field))) as [
      number,
      number,
    ];
    file.writeUInt8(1, at + size + 3);
    file.writeBigUInt64LE(BigInt(size + 4), 64 + 32);
    await expect(runHere([temporary('cut', file)])).rejects.toThrow(/of its notes is truncated/);
  });
});

/** The vmcore with a note of this name and content before its others. */
function withNotes([name, content]: readonly [Buffer, Buffer]): Buffer {
  const file = kernelCore(LOADS, INFO);
  const [at, size] = [64 + 8, 64 + 32].map((field) => Number(file.readBigUInt64LE(field))) as [
    number,
    number,
  ];
  const header = Buffer.alloc(12);
  header.writeUInt32LE(name.indexOf(0) + 1, 0);
  header.writeUInt32LE(content.length, 4);
  const note = Buffer.concat([header, name, content]);
  const rest = Buffer.from(file.subarray(at, at + size));
  note.copy(file, at);
  rest.copy(file, at + note.length);
  file.writeBigUInt64LE(BigInt(size + note.length), 64 + 32);
  return file;
}
