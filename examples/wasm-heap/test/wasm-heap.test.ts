import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { HEAP_BASE, instantiate, MEMORY, TABLE } from '../src/module.ts';
import type { StoryReport } from '../src/story.ts';
import { createWorld, WASM_PAGE, Wasm } from '../src/world.ts';

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));

function run(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  return { status, stdout, stderr };
}

describe('npm run wasm-heap -- --json', () => {
  const { status, stdout, stderr } = run(['--json']);
  const report = (): StoryReport => JSON.parse(stdout);

  test('prints one report, and nothing else', () => {
    expect([status, stderr]).toEqual([0, '']);
    expect(Object.keys(report())).toContain('own');
  });

  test('the module works on objects of the host', () => {
    const { sum, list, own } = report();
    expect(sum.sum).toBe(sum.expected);
    expect(list.after).toEqual(list.before.toReversed());
    // The check value of CRC-32 in the catalogue of parametrised CRC algorithms.
    expect(own.crc).toBe(0xcbf4_3926);
  });

  test('the module allocates in the heap', () => {
    expect(report().range).toEqual({ nodes: 1000, sum: 500_500, pages: 3 });
  });

  test('the memory grows, and new views replace the old ones', () => {
    const { growth, memoryBytes, maps } = report();
    expect(growth).toEqual({
      asked: 300_000,
      pages: 5,
      oldView: 0,
      newView: 1000,
      sum: 249_750,
      tooMuch: 0,
    });
    expect(memoryBytes).toEqual([2 * WASM_PAGE, 7 * WASM_PAGE]);
    const heapPages = maps.map((map) => map.split('\n').slice(1).join('').match(/h/g)?.length ?? 0);
    expect(heapPages).toEqual([0, 2 + Math.ceil(growth.asked / 4096), 0]);
  });

  test('wrong calls throw a coded error', () => {
    expect(report().refusals.map(({ code }) => code)).toEqual([
      'DOUBLE_FREE_OBJECT',
      'OUTSIDE_OBJECTS',
      'OBJECT_INTERIOR',
      'OUTSIDE_MEMORY',
    ]);
  });

  test('only the objects that the module forgot are left, and its own data has not changed', () => {
    const { leaks, left, own, maps } = report();
    expect(leaks.map(({ bytes }) => bytes)).toEqual([8, 8, 8]);
    expect(left).toEqual({ objects: 3, bytes: 48, pages: 1 });
    expect(own.changedBytes).toBe(0);
    const cells = maps[2].split('\n').slice(1).join('');
    expect(cells.match(/s/g)).toHaveLength(1);
    expect(cells.replace(/0x[0-9a-f]+ /g, '')).toMatch(/^\.*s\.*$/);
  });
});

describe('npm run wasm-heap', () => {
  test('prints at most 80 columns, and no colour if stdout is not a terminal', () => {
    const { status, stdout, stderr } = run([]);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
    expect(stdout).not.toContain('\u001b');
    expect(stdout).toContain('0 bytes below __heap_base have changed');
  });

  test('--help prints the usage, and wrong usage prints one line', () => {
    expect(run(['--help']).stdout).toMatch(/^Usage: npm run wasm-heap/);
    const { status, stderr } = run(['--jsno']);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^wasm-heap: .*--jsno.*\n$/);
  });
});

describe('the module', () => {
  const calls: (readonly [string, number])[] = [];
  let next = 0x9000;
  const exports = instantiate({
    malloc: (size) => {
      calls.push(['malloc', size]);
      next += 16;
      return next;
    },
    free: (at) => {
      calls.push(['free', at]);
    },
  });

  test('has its memory, and its data in the right place', () => {
    expect(exports.memory.buffer.byteLength).toBe(MEMORY.min * WASM_PAGE);
    expect(exports.__heap_base.value).toBe(HEAP_BASE);
    const bytes = new Uint8Array(exports.memory.buffer);
    const used = (from: number, to: number) => bytes.subarray(from, to).some((byte) => byte !== 0);
    expect([used(0, TABLE.at), used(TABLE.at, TABLE.at + TABLE.length)]).toEqual([false, true]);
    expect(used(TABLE.at + TABLE.length, bytes.length)).toBe(false);
    expect(() => exports.memory.grow(MEMORY.max)).toThrow(RangeError);
  });

  test('allocates and frees each node', () => {
    const head = exports.range(2);
    exports.drop(head);
    exports.free_twice(100);
    expect(calls).toEqual([
      ['malloc', 8],
      ['malloc', 8],
      ['free', 0x9020],
      ['free', 0x9010],
      ['malloc', 100],
      ['free', 0x9030],
      ['free', 0x9030],
    ]);
  });

  test('accepts empty arrays and lists', () => {
    expect([exports.sum(0x9000, 0), exports.reverse(0), exports.range(0), exports.crc32(0x9000, 0)]).toEqual([
      0, 0, 0, 0,
    ]);
  });
});

test('the memory grows to its maximum, and every byte of it can be allocated', () => {
  const { allocate, allocator, memory, heap, exports, grown } = createWorld();
  const blocks = [];
  for (let at = exports.make(50_000); at !== 0; at = exports.make(50_000))
    blocks.push(Wasm.address(at >>> 0));
  expect(memory.byteLength).toBe(MEMORY.max * WASM_PAGE);
  expect(grown.length).toBe(MEMORY.max - MEMORY.min);
  for (const [index, block] of blocks.entries()) memory.bytes(block, 50_000).fill(index);
  for (const [index, block] of blocks.entries()) {
    expect(memory.bytes(block, 50_000).every((byte) => byte === index % 256)).toBe(true);
    heap.free(block);
  }
  // All regions have become one, and one object fills it.
  expect(allocator.regions).toHaveLength(1);
  const all = allocate(Number(allocator.region.size));
  expect(all).toBe(allocator.region.start);
  heap.free(all);
  expect(allocator.memoryInfo().allocatedPages).toBe(0);
  allocator.checkInvariants();
});
