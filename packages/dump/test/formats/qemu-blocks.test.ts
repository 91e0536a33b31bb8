/** Dumps by virtual address that QEMU 7.2 wrote of guests whose page tables are in no segment: `fixtures/README.md`. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fixture, runHere } from '../support/support.ts';

interface Guest {
  readonly options: string;
  /** The blocks of memory as of `info mtree -f`. */
  readonly memory: readonly string[];
  /** The number of lines of `info tlb`, and their digest. */
  readonly leaves: number;
  readonly tlb: string;
}

const GUESTS = JSON.parse(readFileSync(fixture('qemu-blocks.json'), 'utf8')) as Record<string, Guest>;
const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

/** The ranges, joined where they touch. */
function joined(ranges: readonly (readonly [start: bigint, end: bigint])[]): string[] {
  const all: [bigint, bigint][] = [];
  for (const [start, end] of ranges) {
    const last = all.at(-1);
    if (last?.[1] === start) last[1] = end;
    else all.push([start, end]);
  }
  return all.map(([start, end]) => `${start.toString(16)}-${end.toString(16)}`);
}

describe.each(Object.entries(GUESTS))('%s', (name, guest) => {
  const path = fixture(`qemu-${name}.sparse.gz`);

  test('its leaves are those of info tlb', async () => {
    const { status, stdout, stderr } = await runHere(['leaves', path, '--qemu']);
    expect([status, stderr]).toEqual([0, '']);
    expect([stdout.trimEnd().split('\n').length, digest(stdout)]).toEqual([guest.leaves, guest.tlb]);
  });

  test('its RAM and firmware are those of info mtree', async () => {
    const { stdout } = await runHere(['info', path, '--json']);
    const records = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, string>);
    const found = records
      .filter(({ type }) => type === 'memory')
      .map(({ start, end }) => [BigInt(start!), BigInt(end!)] as const);
    // The place of a graphics card on the PCI bus is unknown, unless its memory is mapped.
    const isMapped = name === 'direct-map';
    const expected = guest.memory
      .filter((block) => isMapped || !/vga|vmsvga/.test(block))
      .map(
        (block) =>
          block
            .split(' ')[0]!
            .split('-')
            .map((text) => BigInt(`0x${text}`)) as [bigint, bigint],
      );
    expect(joined(found)).toEqual(joined(expected));
  });

  test.each(['a0000', 'b8000', 'fd123000'])('has no memory at 0x%s, where devices are', async (address) => {
    const isMemory = guest.memory.some((block) => {
      const [start, end] = block
        .split(' ')[0]!
        .split('-')
        .map((text) => Number.parseInt(text, 16));
      const at = Number.parseInt(address, 16);
      return at >= start! && at < end! && !/vga/.test(block);
    });
    const walk = runHere(['walk', path, '0', '--cr3', address]);
    if (isMemory || (name === 'direct-map' && address.startsWith('fd'))) expect((await walk).status).toBe(4);
    else
      await expect(walk).rejects.toThrow(
        `CR3 points to 0x${address.padStart(16, '0')}, where the dump has no memory`,
      );
  });
});

test('memory of the graphics card is not shown as RAM after the end of RAM', async () => {
  const walk = runHere(['walk', fixture('qemu-pc-3g.sparse.gz'), '0', '--cr3', 'c1040000']);
  await expect(walk).rejects.toThrow(/CR3 points to 0x00000000c1040000, where the dump has no memory/);
});

test('the file of a memory backend is opened with the hole of its machine', async () => {
  const args = ['leaves', fixture('qemu-split-2g-ram.sparse.gz'), '--cr3', '110000000'];
  const { status, stdout } = await runHere([...args, '--qemu']);
  expect([status, digest(stdout)]).toEqual([0, GUESTS['split-2g']?.tlb]);
  expect((await runHere(args)).stdout).toContain(
    'raw image, split below 4 GiB at 0x80000000 (found by trying: --ram 0-80000000@0 --ram 100000000-140000000@80000000)',
  );
});
