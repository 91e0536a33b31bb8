/** Whatever the arguments are, and wherever the file fails, a `DumpError` has a code of the row of its operation. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import * as dump from '../../src/index.ts';
import { ERRORS_OF } from '../../src/source/errors-of.ts';
import { coreFile, tableOf } from '../support/core-file.ts';

const TABLES = [
  tableOf({ 0: 0x2067n, 300: 0x2067n, 511: 0x1063n }),
  tableOf({ 0: 0x3067n }),
  tableOf({ 0: 0x4067n, 1: 0x0020_00e7n }),
  tableOf({ 0: 0x1067n, 1: 0x8000_0000_0000_a063n }),
];
const CORE = coreFile({
  segments: [{ paddr: 0x1000n, bytes: Buffer.concat(TABLES) }],
  cpus: [{ cr3: 0x1000n, cr4: 0xa0n }],
});

/** The core file, whose reads fail from the given one on. */
function failing(reads: number, code: 'READ_FAILED' | 'TRUNCATED_FILE'): dump.Source {
  const source = dump.bytesSource(CORE);
  let left = reads;
  return {
    ...source,
    read(position, into) {
      left -= 1;
      if (left < 0) throw new dump.DumpError(code, { reason: 'it fails' });
      source.read(position, into);
    },
  };
}

type Call = (...args: unknown[]) => unknown;
const CALLS = Object.entries(dump as unknown as Record<string, Call>).filter(([name]) => name in ERRORS_OF);

/** The arguments that a test may pass: the right ones, made of one source, and any others. */
function known(source: dump.Source): unknown[] {
  const opened = tried(() => dump.openDump(source, {}));
  const place = { base: 0x1000n, end: 0x6000n };
  const rmp = opened && tried(() => dump.openRmp((frame, bytes) => opened.readFrame(frame, bytes), place));
  const view = opened && tried(() => dump.openView(opened, {}));
  return [source, opened, view, rmp, place, {}, 0n, 0x1000n, [0x1000n], Uint8Array.of(0x67), { all: true }];
}

function tried<Result>(work: () => Result): Result | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

async function codeOf(work: () => unknown): Promise<string | undefined> {
  try {
    const result = work() as Partial<Iterator<unknown> & AsyncIterator<unknown>> | undefined;
    for (let i = 0; i < 50 && typeof result?.next === 'function'; i += 1) {
      if ((await result.next()).done === true) break;
    }
  } catch (error) {
    if (dump.isDumpError(error)) return error.code;
  }
  return undefined;
}

const argument = fc.oneof(
  { weight: 5, arbitrary: fc.nat(10).map((index) => ({ index })) },
  {
    weight: 1,
    arbitrary: fc.anything({ withBigInt: true, withTypedArray: true }).map((value) => ({ value })),
  },
);

test('a DumpError has a code of the row', async () => {
  const seen = new Set<string>();
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...CALLS),
      fc.nat(20),
      fc.constantFrom('READ_FAILED', 'TRUNCATED_FILE'),
      fc.array(argument, { minLength: 1, maxLength: 3 }),
      async ([name, call], reads, code, args) => {
        const values = known(failing(reads, code));
        const found = await codeOf(() =>
          call(...args.map((one) => ('index' in one ? values[one.index] : one.value))),
        );
        if (found === undefined) return;
        seen.add(found);
        expect(ERRORS_OF[name], name).toContain(found);
      },
    ),
  );
  expect([...seen]).toContain('INVALID_ARGUMENT');
});
