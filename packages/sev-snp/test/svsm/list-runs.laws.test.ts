/** Lists that validate consecutive pages of 2 MiB, if the access to pages can map them at once. */
import { PageSize, type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isSnpError } from '../../src/formats/snp-error.ts';
import { SvsmResult } from '../../src/formats/svsm-protocol.ts';
import type { GuestPageAccess } from '../../src/svsm/guest-page-access.ts';
import { CAA, call, entryOf, pvalidateList, type SvsmWorld, svsmWorld } from '../support/svsm-world.ts';
import { gvaOf, MiB, snapshot, spaOf, unresolvedFault, WHOLE } from '../support/world.ts';

const SIZE = 24 * MiB;
const FIRST = 8 * MiB;
const PAGES = 8;
const pageAt = (k: number): number => FIRST + 2 * MiB * k;

type Run = (gpa: PhysAddr, count: number, map: () => void) => void;

/** An access that maps all pages, and says what it maps at once. `around` runs there. */
function runs(around: Run = (_gpa, _count, map) => map()) {
  const asked: string[] = [];
  const single = <T>(gpa: PhysAddr, size: never, use: (gva: VirtAddr) => T): T => WHOLE(gpa, size, use);
  const run = (gpa: PhysAddr, count: number, use: (gva: VirtAddr) => void): void => {
    asked.push(`${Number(gpa) / MiB}+${count}`);
    around(gpa, count, () => use(gvaOf(Number(gpa))));
  };
  return { asked, access: Object.assign(single, { run }) as GuestPageAccess };
}

function madeWith(access: GuestPageAccess): SvsmWorld {
  const it = svsmWorld({}, {}, { size: SIZE, access });
  const all = Array.from({ length: PAGES }, (_, k) => entryOf(pageAt(k), { size: 1, validate: false }));
  expect(pvalidateList(it, all)).toEqual([SvsmResult.Success, PAGES]);
  return it;
}

const huge = (k: number, fields = {}) => entryOf(pageAt(k), { size: 1, ...fields });

describe('pages that are mapped at once', () => {
  test('are those of consecutive entries that validate 2 MiB; the others are mapped one by one', () => {
    const { asked, access } = runs();
    const it = madeWith(access);
    expect(asked).toEqual([]);
    const list = [huge(0), huge(1), huge(2), huge(4), huge(6), huge(7)];
    expect(pvalidateList(it, list)).toEqual([SvsmResult.Success, 6]);
    expect(asked).toEqual(['8+3', '20+2']);
    expect(pvalidateList(it, [huge(5), huge(3)])).toEqual([SvsmResult.Success, 2]);
    expect(asked).toHaveLength(2);
  });

  test('are not those of an entry of 4 KiB, with a reserved bit, or that rescinds', () => {
    const { asked, access } = runs();
    const it = madeWith(access);
    for (const fields of [{ size: 0 }, { reserved: 1 }, { validate: false, ignoreUnchanged: true }]) {
      pvalidateList(it, [huge(0, fields), huge(1)]);
      pvalidateList(it, [huge(2), huge(3, fields)]);
    }
    expect(asked).toEqual([]);
    pvalidateList(it, [entryOf(pageAt(4) + 0x1000, { size: 1 }), huge(5)]);
    expect(asked).toEqual([]);
  });

  test('end with the entries of one call', () => {
    const { asked, access } = runs();
    const it = svsmWorld({ entriesPerCall: 3 }, {}, { size: SIZE, access });
    const list = (validate: boolean) => Array.from({ length: PAGES }, (_, k) => huge(k, { validate }));
    for (let next = 0; next < PAGES; next += 3) pvalidateList(it, list(false), next);
    for (let next = 0; next < PAGES; next += 3) pvalidateList(it, list(true), next);
    expect(asked).toEqual(['8+3', '14+3', '20+2']);
  });

  test('are of no other call meanwhile', () => {
    let other: number | undefined;
    const { access } = runs((_gpa, _count, map) => {
      map();
      other = svsm.memory.validate(BigInt(pageAt(1)), PageSize.Huge, 2);
    });
    const it = madeWith(access);
    const vcpu = it.guest.createVcpu();
    vcpu.loadCr3(it.table.cr3);
    const svsm = it.state.on(vcpu, WHOLE);
    expect(pvalidateList(it, [huge(0), huge(1)])).toEqual([SvsmResult.Success, 2]);
    expect(other).toBe(SvsmResult.Busy);
    expect(svsm.memory.rescind(BigInt(pageAt(1)), PageSize.Huge)).toBe(SvsmResult.Success);
  });

  test('are mapped one by one if the access has no room for them, or cannot reach one', () => {
    for (const around of [() => {}, unresolvedFault]) {
      const { asked, access } = runs(around);
      const it = madeWith(access);
      expect(pvalidateList(it, [huge(0), huge(1), huge(2)])).toEqual([SvsmResult.Success, 3]);
      expect(asked).toEqual(['8+3', '10+2']);
    }
  });

  test('an error of the access goes on to the caller, before or after it has called `use`', () => {
    for (const first of [true, false]) {
      const { access } = runs((_gpa, _count, map) => {
        if (!first) map();
        throw new Error('window');
      });
      const it = madeWith(access);
      expect(() => pvalidateList(it, [huge(0), huge(1)])).toThrow('window');
      const states = [0, 1].map((k) => it.state.validated.has(physAddr(pageAt(k))));
      expect(states).toEqual([!first, !first]);
    }
  });

  test('an access that calls `use` twice is refused with its name', () => {
    const it = madeWith(
      runs((_gpa, _count, map) => {
        map();
        map();
      }).access,
    );
    let error: unknown;
    try {
      pvalidateList(it, [huge(0), huge(1)]);
    } catch (thrown) {
      error = thrown;
    }
    expect(isSnpError(error, 'INVALID_ARGUMENT')).toBe(true);
  });
});

const page = fc.nat(PAGES - 1);
/** Pages in order, mostly. */
const list = fc
  .array(fc.tuple(page, fc.integer({ min: 1, max: 4 })), { minLength: 1, maxLength: 4 })
  .map((runs) =>
    runs.flatMap(([first, count]) => Array.from({ length: count }, (_, k) => (first + k) % PAGES)),
  );
const fields = fc.constantFrom<object>(
  {},
  {},
  {},
  {},
  {},
  { ignoreUnchanged: true },
  { validate: false },
  { reserved: 1 },
);
const act = fc.record({
  /** An act of the host on a page before the call. */
  host: fc.option(fc.record({ at: page, how: fc.constantFrom('take', 'split', 'split entry', 'deposit') }), {
    nil: undefined,
  }),
  entries: list,
  odd: fc.option(fc.record({ at: fc.nat(8), fields }), { nil: undefined }),
  /** The event after which `trace` throws. */
  throwsAt: fc.option(fc.nat(30), { nil: undefined }),
});

// The law: a list does the same whether its pages are mapped at once or one by one.
test('a list has the same result, progress and effect with runs, without, and if some cannot be mapped', () => {
  let ran = 0;
  fc.assert(
    fc.property(fc.array(act, { minLength: 1, maxLength: 6 }), fc.constantFrom(1, 2, 3), (acts, every) => {
      let tries = 0;
      const some = runs((_gpa, _count, map) => {
        tries += 1;
        if (tries % every === 0 && every > 1) return;
        ran += 1;
        map();
      });
      const worlds = [WHOLE, some.access].map((access) => {
        let left = Number.POSITIVE_INFINITY;
        const it = svsmWorld(
          {},
          {
            trace: () => {
              left -= 1;
              if (left === 0) throw new Error('trace');
            },
          },
          { size: SIZE, access },
        );
        const throwAfter = (events: number | undefined): void => {
          left = events ?? Number.POSITIVE_INFINITY;
        };
        const all = Array.from({ length: PAGES }, (_, k) => huge(k, { validate: false }));
        pvalidateList(it, all);
        return { it, throwAfter };
      });
      for (const { host, entries, odd, throwsAt } of acts) {
        const outcomes = worlds.map(({ it, throwAfter }) => {
          const { hypervisor } = it.machine;
          const at = host === undefined ? undefined : physAddr(pageAt(host.at));
          if (host !== undefined && at !== undefined) {
            if (host.how === 'take') {
              for (const pageSize of [PageSize.Huge, PageSize.Regular] as const) {
                hypervisor.rmpupdate(spaOf(it, Number(at)), { assigned: false, pageSize });
              }
            } else if (host.how === 'split') hypervisor.splitPage(it.guest, at);
            else if (host.how === 'split entry') hypervisor.psmash(spaOf(it, Number(at)));
            else call(it, 4, { rcx: BigInt(CAA + 8) });
          }
          const sent = entries.map((k, at) => huge(k, odd?.at === at ? odd.fields : {}));
          let outcome: unknown;
          throwAfter(throwsAt);
          try {
            outcome = pvalidateList(it, sent);
          } catch (error) {
            outcome = String(error);
          }
          throwAfter(undefined);
          return [outcome, String([...it.state.validated]), snapshot(it.machine.rmp)];
        });
        expect(outcomes[1]).toEqual(outcomes[0]);
      }
      // No claim is left: each page can be rescinded by itself.
      const ends = worlds.map(({ it }) =>
        Array.from({ length: PAGES }, (_, k) => it.svsm.memory.rescind(BigInt(pageAt(k)), PageSize.Huge)),
      );
      expect(ends[1]).toEqual(ends[0]);
      expect(ends[1]).not.toContain(SvsmResult.Busy);
    }),
    { numRuns: 25 },
  );
  expect(ran).toBeGreaterThan(20);
});
