import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { HostFrames } from '../../src/memory/host-frames.ts';

const FRAME = BigInt(PAGE_SIZE);
const BLOCK = BigInt(PAGE_SIZE_2M);
const size = fc.constantFrom(PageSize.Regular, PageSize.Huge);
const step = fc.oneof(
  fc.record({ op: fc.constantFrom('frame', 'block', 'firmware', 'return', 'give-back') }),
  fc.record({ op: fc.constant('page' as const), size }),
  fc.record({ op: fc.constant('pages' as const), size, count: fc.integer({ min: 0, max: 600 }) }),
  fc.record({
    op: fc.constant('reserve' as const),
    count: fc.integer({ min: 0, max: 600 }),
    used: fc.nat(3),
  }),
);

/** The plain twin: the frames that nobody has had, the returned ones, and those of the firmware. */
class Twin {
  low = BLOCK;
  high: bigint;
  firmware = BLOCK;
  readonly returned: bigint[] = [];

  constructor(size: bigint) {
    this.high = size;
  }

  /** Bytes from the bottom or the top, or the error if too few are free. */
  take(bytes: bigint, end: 'bottom' | 'top'): bigint | string {
    if (this.high - this.low < bytes) return `OUT_OF_MEMORY ${bytes} ${this.high - this.low}`;
    if (end === 'top') {
      this.high -= bytes;
      return this.high;
    }
    this.low += bytes;
    return this.low - bytes;
  }

  frame(): bigint | string {
    return this.returned.pop() ?? this.take(FRAME, 'top');
  }

  firmwareFrame(): bigint | string {
    if (this.firmware === FRAME) return this.frame();
    this.firmware -= FRAME;
    return this.firmware;
  }

  pages(size: PageSize, count: number): bigint | string {
    return this.take(BigInt(size * count), size === PageSize.Huge ? 'bottom' : 'top');
  }
}

function outcome(run: () => bigint): bigint | string {
  try {
    return run();
  } catch (error) {
    const { code, details } = error as { code: string; details: { needed: bigint; free: bigint } };
    return `${code} ${details.needed} ${details.free}`;
  }
}

test('blocks come from the bottom and frames from the top, each once until it is returned', () => {
  fc.assert(
    fc.property(fc.nat(1600), fc.array(step, { maxLength: 40 }), (extra, steps) => {
      const bytes = BLOCK + BigInt(extra) * FRAME;
      const [frames, twin] = [new HostFrames(bytes), new Twin(bytes)];
      const live: bigint[] = [];
      let lastPage: [SysPhysAddr, typeof PageSize.Regular | typeof PageSize.Huge] | undefined;
      for (const one of steps) {
        const check = (run: () => bigint, expected: bigint | string): void => {
          const got = outcome(run);
          expect([one.op, got]).toEqual([one.op, expected]);
          if (typeof got === 'bigint' && one.op === 'frame') live.push(got);
        };
        const before = lastPage;
        lastPage = undefined;
        if ('used' in one) {
          const start = twin.pages(PageSize.Regular, one.count);
          const reserve = (): bigint => {
            const own = frames.reserve(one.count);
            // It has its own frames, then those of all; and gives frames back to all.
            for (let k = 0; k < one.count; k += 1)
              expect(own.allocateFrame()).toBe((start as bigint) + BigInt(k) * FRAME);
            for (let k = 0; k < one.used; k += 1) check(() => own.allocateFrame(), twin.frame());
            own.freeFrame(start as PhysAddr);
            twin.returned.push(start as bigint);
            return start as bigint;
          };
          check(reserve, start);
        } else if ('count' in one)
          check(() => frames.allocatePages(one.size, one.count), twin.pages(one.size, one.count));
        else if ('size' in one) {
          const expected = one.size === PageSize.Huge ? twin.pages(one.size, 1) : twin.frame();
          check(() => frames.allocatePage(one.size), expected);
          if (typeof expected === 'bigint') lastPage = [expected as SysPhysAddr, one.size];
        } else if (one.op === 'frame') check(() => frames.allocateFrame(), twin.frame());
        else if (one.op === 'block') check(() => frames.allocateBlock(), twin.pages(PageSize.Huge, 1));
        else if (one.op === 'firmware') check(() => frames.allocateFirmwareFrame(), twin.firmwareFrame());
        else if (one.op === 'return') {
          const frame = live.pop();
          if (frame === undefined) continue;
          frames.freeFrame(frame as PhysAddr);
          twin.returned.push(frame);
        } else if (before !== undefined) {
          frames.freePage(...before);
          if (before[1] === PageSize.Huge) twin.low = before[0];
          else twin.returned.push(before[0]);
        }
        expect(frames.unused).toBe(twin.high - twin.low);
      }
    }),
  );
});

test('the firmware has all frames of the first 2 MiB but frame 0, then those of all', () => {
  const frames = new HostFrames(4n * BLOCK);
  const taken = Array.from({ length: 513 }, () => frames.allocateFirmwareFrame() as bigint);
  expect(taken).toEqual([
    ...Array.from({ length: 511 }, (_, k) => BLOCK - BigInt(k + 1) * FRAME),
    4n * BLOCK - FRAME,
    4n * BLOCK - 2n * FRAME,
  ]);
});

test('without memory above the first 2 MiB nothing is left', () => {
  const frames = new HostFrames(BLOCK);
  expect(frames.unused).toBe(0n);
  expect(() => frames.allocateFrame()).toThrow('OUT_OF_MEMORY');
  expect(frames.allocateFirmwareFrame()).toBe(BLOCK - FRAME);
});
