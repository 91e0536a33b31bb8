import { PageSize, physAddr, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { type PageCursor, pageAddress, physRegion, virtRegion } from '../src/index.ts';
import { END_64, HIGH_START, regionError, untyped } from './support.ts';

const three = () => virtRegion(virtAddr(0x4000), 0x3000).cursor(PageSize.Regular);
type Cursor = ReturnType<typeof three>;

describe('a loop', () => {
  test('visits each page once, with one object', () => {
    const seen = new Set<Cursor>();
    const addresses: bigint[] = [];
    for (const page of three()) {
      seen.add(page);
      addresses.push(page.address);
    }
    expect(addresses).toEqual([0x4000n, 0x5000n, 0x6000n]);
    expect(seen.size).toBe(1);
  });

  test('knows the place of each page', () => {
    const cursor = physRegion(physAddr(0x20_0000), 0x60_0000).cursor(PageSize.Huge);
    expect([cursor.count, cursor.pageSize]).toEqual([3, 0x20_0000]);
    const places: number[] = [];
    for (const page of cursor) places.push(page.index, page.low, page.high);
    expect(places).toEqual([0, 0x20_0000, 0, 1, 0x40_0000, 0, 2, 0x60_0000, 0]);
  });

  test('carries into the high word, and ends at 2^64', () => {
    const across = physRegion(physAddr(0xffff_f000), 0x2000).cursor(PageSize.Regular);
    expect(Array.from(across, ({ low, high }) => [low, high])).toEqual([
      [-0x1000, 0],
      [0, 1],
    ]);
    const top = virtRegion(virtAddr(END_64 - 0x1000n), 0x1000).cursor(PageSize.Regular);
    expect(Array.from(top, ({ low, high }) => [low, high])).toEqual([[-0x1000, -1]]);
    const first = virtRegion(virtAddr(HIGH_START), 0x1000).cursor(PageSize.Regular);
    expect(Array.from(first, ({ low, high }) => [low, high])).toEqual([[0, -0x8000]]);
  });

  test('does nothing for an empty region', () => {
    const cursor = virtRegion(virtAddr(0x4000), 0).cursor(PageSize.Regular);
    expect([...cursor]).toEqual([]);
    regionError('INVALID_ARGUMENT', () => cursor.goTo(0));
  });

  test('refuses a region with part of a page, at the call', () => {
    const half = virtRegion(virtAddr(0x4000), 0x1800);
    regionError('MISALIGNED_REGION', () => half.cursor(PageSize.Regular));
    regionError('INVALID_PAGE_SIZE', () => half.cursor(untyped(0x800)));
  });
});

describe('off a page', () => {
  const PROPERTIES = ['address', 'low', 'high', 'index'] as const;

  function expectOff(cursor: Cursor, hasEnded: boolean): void {
    for (const name of PROPERTIES) {
      expect(regionError('NOT_ON_PAGE', () => cursor[name]).details).toEqual({ hasEnded });
    }
    expect(regionError('NOT_ON_PAGE', () => pageAddress(cursor)).details).toEqual({ hasEnded });
  }

  test('before the first step, every use throws', () => {
    expectOff(three(), false);
  });

  test('a cursor that was kept throws after the last step', () => {
    let kept: Cursor | undefined;
    for (const page of three()) kept = page;
    expectOff(kept!, true);
    // An array of a cursor has the same object at every index.
    for (const page of [...three()]) expectOff(page, true);
  });

  test('a cursor that was kept throws after a loop that was left early', () => {
    let kept: Cursor | undefined;
    for (const page of three()) {
      kept = page;
      break;
    }
    expectOff(kept!, true);
    const [first] = three();
    expectOff(first!, true);
    const cursor = three();
    const fail = () => {
      for (const _ of cursor) throw new Error('left');
    };
    expect(fail).toThrow('left');
    expectOff(cursor, true);
  });

  test('a cursor that has ended stays ended', () => {
    const cursor = three();
    expect([...cursor]).toHaveLength(3);
    for (let i = 0; i < 3; i += 1) expect(cursor.next()).toEqual({ done: true, value: undefined });
    expectOff(cursor, true);
  });
});

describe('goTo', () => {
  test('moves to a page, and the loop goes on after it', () => {
    const cursor = three().goTo(1);
    expect(cursor.address).toBe(0x5000n);
    expect(Array.from(cursor, ({ address }) => address)).toEqual([0x6000n]);
    expect(cursor.goTo(0).address).toBe(0x4000n);
    expect(Array.from(cursor, ({ index }) => index)).toEqual([1, 2]);
  });

  test('refuses what is not an index of a page, and stays where it is', () => {
    const cursor = three().goTo(1);
    for (const index of [-1, 3, 0.5, Number.NaN, Number.POSITIVE_INFINITY, untyped('1'), untyped(1n)]) {
      regionError('INVALID_ARGUMENT', () => cursor.goTo(index));
      expect(cursor.address).toBe(0x5000n);
    }
  });
});

describe('pageAddress', () => {
  test('returns an address as it is, and the address of a cursor', () => {
    expect(pageAddress(virtAddr(0x4000))).toBe(0x4000n);
    expect(pageAddress(three().goTo(2))).toBe(0x6000n);
  });

  test('takes a cursor of another copy of the package', () => {
    const low = 0x20_0000 | 0;
    const foreign: unknown = { low, high: -0x8000 };
    expect(pageAddress(foreign as PageCursor<never>)).toBe(HIGH_START + 0x20_0000n);
  });

  test('refuses any other value', () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const others = [
      undefined,
      null,
      5,
      '5',
      {},
      { low: 5 },
      { low: 0, high: 2 ** 31 },
      { low: 0.5, high: 0 },
    ];
    for (const value of [...others, proxy]) {
      const { details } = regionError('INVALID_ARGUMENT', () => pageAddress(untyped(value)));
      expect(details.what).toBe('page');
      expect(details.value === value).toBe(true);
    }
  });
});
