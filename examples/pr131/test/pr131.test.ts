import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import type { KernelReport } from '../src/kernel.ts';
import type { StoryReport } from '../src/story.ts';

const path = (relative: string): string => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'pr131-'));
afterAll(() => rmSync(folder, { recursive: true }));

function run(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [path('src/main.ts'), ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { status, stdout, stderr };
}

/** A report as it is in JSON: every bigint is a string. */
type Json<T> = T extends bigint ? string : T extends object ? { readonly [K in keyof T]: Json<T[K]> } : T;

describe('npm start -- --json', () => {
  const { status, stdout, stderr } = run(['--json']);
  const report = (): { story: Json<StoryReport>; kernel: Json<KernelReport> } => JSON.parse(stdout);

  test('prints one report, and nothing else', () => {
    expect([status, stderr]).toEqual([0, '']);
    expect(Object.keys(report())).toEqual(['story', 'kernel']);
  });

  test.each([0, 1])('loop %i shares exactly its four pages', (number) => {
    const { loops } = report().story;
    const loop = loops[number];
    const pages = loop?.pages.map(BigInt) ?? [];
    expect(pages).toHaveLength(4);
    expect(pages.map((page) => page - (pages[0] ?? 0n))).toEqual([0n, 0x1000n, 0x2000n, 0x3000n]);
    expect(loop).toMatchObject({ small: 512, shared: 4 * (number + 1) });
    const before = new Map(loop?.before.map((page) => [page.vaddr, page]));
    for (const page of loop?.after ?? []) {
      const isOurs = pages.includes(BigInt(page.vaddr));
      const wasShared = before.get(page.vaddr)?.cBit === false;
      expect(page.pageSize).toBe(0x1000);
      expect(page.cBit).toBe(!isOurs && !wasShared);
      expect((BigInt(page.entry) >> 51n) & 1n).toBe(page.cBit ? 1n : 0n);
      expect(page.rmp.state).toBe(page.cBit ? 'GUEST-VALID' : 'HYPERVISOR');
      expect(page.rmp).toMatchObject(page.cBit ? { asid: 1, assigned: true, validated: true } : { asid: 0 });
    }
  });

  test('loop 0 finds a 2 MiB page, in the page table and in the RMP, and the hypervisor smashes it', () => {
    const loop = report().story.loops[0];
    for (const page of loop?.before ?? []) {
      expect(page).toMatchObject({
        pageSize: 0x20_0000,
        cBit: true,
        rmp: { pageSize: 0x20_0000, validated: true },
      });
      // One 2 MiB entry maps them all.
      expect(page.entry).toBe(loop?.before[0]?.entry);
    }
    expect(loop?.steps.map((step) => step.split(/\s+/).slice(0, 2).join(' '))).toEqual([
      'processor #VMEXIT(NPF),',
      'hypervisor PSMASH',
      'guest PVALIDATE',
      'guest VMGEXIT,',
      'hypervisor RMPUPDATE,',
      'hypervisor VMRUN,',
      'guest clears',
    ]);
  });

  test('loop 1 finds the page split already', () => {
    expect(report().story.loops[1]?.steps.map((step) => step.split(/\s+/)[1])).toEqual([
      'PVALIDATE',
      'VMGEXIT,',
      'RMPUPDATE,',
      'VMRUN,',
      'clears',
    ]);
  });

  test('the allocator has handed out one page and two blocks of four pages', () => {
    const { heap, loops } = report().story;
    expect(heap).toMatchObject({ totalPages: 4096, freePages: 4096 });
    expect(loops.map(({ heap }) => heap.freePages)).toEqual([4091, 4087]);
    for (const { freePages, freeBlocks } of loops.map(({ heap }) => heap)) {
      expect(freeBlocks.reduce((sum, count, order) => sum + count * 2 ** order, 0)).toBe(freePages);
    }
  });

  test('both sides read shared memory, and only the guest reads private memory', () => {
    const { attempts } = report().story;
    const results = (who: string, what: string): string[] =>
      attempts.filter((one) => one.who === who && one.what === what).map(({ result }) => result);
    expect(results('guest', 'reads the shared page')).toEqual(['"hello, hypervisor"', '"hello, guest"']);
    expect(results('hypervisor', 'reads the shared page')).toEqual(['"hello, hypervisor"']);
    expect(results('guest', 'reads the private page')).toEqual(Array(2).fill('"a secret of the guest"'));
    expect(results('hypervisor', 'reads the private page')[0]).toMatch(/^([0-9a-f]{2} ){12}…$/);
    expect(results('hypervisor', 'writes the private page')[0]).toMatch(/^host #PF .* error code 0x80000003/);
    expect(results('guest', 'reads that page')[0]).toMatch(/^#VC 0x404: .* not validated/);
  });

  test('in the real kernel, all other translations are unchanged', () => {
    const { kernel } = report();
    expect(kernel).toMatchObject({ cr3: '0x2a56000', checked: 240, agreed: 240 });
    expect(kernel.translations - kernel.unchanged).toBe(4);
    // 73,891 leaves of 4 KiB and 145 of 2 MiB, by the emulator's own count.
    expect(kernel.translations).toBe(73_891 + 145 * 512);
    expect((BigInt(kernel.leafBefore) >> 7n) & 1n).toBe(1n);
    expect((BigInt(kernel.tableAfter) >> 7n) & 1n).toBe(0n);
    for (const { before, after } of kernel.shared) expect(BigInt(before) - BigInt(after)).toBe(1n << 47n);
  });
});

describe('npm start', () => {
  test('prints at most 80 columns, and no colour if stdout is not a terminal', () => {
    const { status, stdout } = run([]);
    expect(status).toBe(0);
    expect(stdout.split('\n').filter((line) => [...line].length > 80 || line !== line.trimEnd())).toEqual([]);
    expect(stdout).not.toContain('\u001b');
  });

  test('--help lists the options', () => {
    expect(run(['--help']).stdout).toMatch(/--json/);
  });
});

describe('wrong usage', () => {
  const refusal = (args: readonly string[]): string => {
    const { status, stdout, stderr } = run(args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    return stderr;
  };

  test('an unknown option prints one line', () => {
    expect(refusal(['--jsno'])).toMatch(/^pr131: Unknown option '--jsno'/);
    expect(refusal(['file'])).toMatch(/^pr131: Unexpected argument 'file'/);
  });

  test('a file that is missing, not gzip, of another format or truncated prints one line', () => {
    const whole = gunzipSync(readFileSync(path('fixtures/case-a.frames.gz')));
    const write = (name: string, bytes: Uint8Array): string => {
      const file = join(folder, name);
      writeFileSync(file, bytes);
      return file;
    };
    expect(refusal(['--frames', join(folder, 'none.gz')])).toMatch(/none\.gz: ENOENT/);
    expect(refusal(['--frames', write('plain', whole)])).toMatch(/incorrect header check/);
    expect(refusal(['--frames', write('other.gz', gzipSync('something else'))])).toMatch(
      /does not begin with PTFRAME1/,
    );
    expect(refusal(['--frames', write('cut.gz', gzipSync(whole.subarray(0, -1)))])).toMatch(
      /instead of the \d+ of its header/,
    );
    expect(refusal(['--frames', write('tiny.gz', gzipSync('PTFRAME1'))])).toMatch(/cannot read page tables/);
  });
});
