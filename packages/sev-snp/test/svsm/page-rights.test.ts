/** Rights on pages, on a processor whose RMP is a small table: which instructions come, and what stays after a failure. */
import { PAGE_SIZE, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { executeReported } from '../../src/cpu/executed.ts';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { Vmpl, VmplPermission } from '../../src/formats/vmpl.ts';
import { PageReach } from '../../src/svsm/page-reach.ts';
import {
  LEVELS,
  levelsWithout,
  type PageRights,
  RightsOfPages,
  rightsBefore,
} from '../../src/svsm/page-rights.ts';
import { refusedWith } from '../support/svsm-world.ts';
import { MiB, unresolvedFault } from '../support/world.ts';

const { Rwx, None, Read, Write } = VmplPermission;
const { Regular, Huge } = PageSize;
const SUCCESS = RmpResult.SUCCESS;
/** A 4 KiB page, 2 MiB in one entry, and 2 MiB in 4 KiB entries. */
const PAGE = physAddr(0x5000);
const LARGE = physAddr(2 * MiB);
const SPLIT = physAddr(4 * MiB);
const part = (k: number): PhysAddr => physAddr(4 * MiB + k * PAGE_SIZE);

interface Entry {
  masks: number[];
  vmsa: boolean;
}

/** Rights over a table in which each entry has the same masks at first. `fails` is called before each RMPADJUST and RMPQUERY. */
function rights(masks: readonly [number, number, number] = [Rwx, Rwx, Rwx]) {
  const entries = new Map<bigint, Entry>();
  const log: string[] = [];
  const hooks: { fails: (step: string) => RmpResult | undefined; trace: (step: string) => void } = {
    fails: () => undefined,
    trace: () => {},
  };
  const sizeOf = (at: bigint): PageSize => (at >= LARGE && at < SPLIT ? Huge : Regular);
  const entryAt = (at: bigint): Entry => {
    const start = at & -BigInt(sizeOf(at));
    const entry = entries.get(start) ?? { masks: [...masks], vmsa: false };
    entries.set(start, entry);
    return entry;
  };
  let now = '';
  const cpu = {
    guest: { machine: { trace: () => hooks.trace(now) } },
    rmpquery: (gva: bigint, vmpl: number) => {
      const result = hooks.fails(`query ${gva.toString(16)} of ${vmpl}`) ?? SUCCESS;
      const { masks: held, vmsa } = entryAt(gva);
      return { result, permissions: held[vmpl - 1]!, vmsa, pageSize: sizeOf(gva) };
    },
    rmpadjust: (
      gva: bigint,
      size: number,
      { vmpl, permissions, vmsa }: { vmpl: number; permissions: number; vmsa: boolean },
    ) =>
      executeReported(
        cpu,
        () => {
          now = `${gva.toString(16)} of ${vmpl}: ${permissions}${vmsa ? ' VMSA' : ''}`;
          log.push(now);
          const result = hooks.fails(now);
          if (result !== undefined) return result;
          if (size !== sizeOf(gva)) return RmpResult.FAIL_SIZEMISMATCH;
          const entry = entryAt(gva);
          entry.masks[vmpl - 1] = permissions;
          entry.vmsa = vmsa;
          return SUCCESS;
        },
        () => ({}) as MachineEvent,
      ),
    invlpgb: () => void log.push('flush'),
  };
  const vcpu = cpu as unknown as Vcpu;
  const it = new RightsOfPages(vcpu, new PageReach((gpa, _, use) => use(gpa as never)));
  return { it, log, hooks, at: (gpa: bigint) => entryAt(gpa), masksAt: (gpa: bigint) => entryAt(gpa).masks };
}

const INVALID_ADDRESS = 0x8000_0003;
const FAILED = 0x8000_1000;

describe('the rights on a page', () => {
  test('are those of its entry, of the size that was asked for', () => {
    const { it } = rights([1, 2, 3]);
    const found = { masks: [1, 2, 3], vmsa: false };
    expect(it.of(PAGE, Regular)).toEqual([{ gpa: PAGE, size: Regular, ...found }]);
    expect(it.of(LARGE, Huge)).toEqual([{ gpa: LARGE, size: Huge, ...found }]);
    expect(it.of(LARGE, Regular)).toEqual([{ gpa: LARGE, size: Regular, ...found }]);
  });

  test('of 2 MiB in 4 KiB entries are those of each', () => {
    const { it, at } = rights();
    at(part(1)).masks = [1, 1, 1];
    at(part(511)).vmsa = true;
    const found = it.of(SPLIT, Huge);
    expect(found).toHaveLength(512);
    expect([0, 1, 511].map((k) => found[k])).toEqual([
      { gpa: part(0), size: Regular, masks: [Rwx, Rwx, Rwx], vmsa: false },
      { gpa: part(1), size: Regular, masks: [1, 1, 1], vmsa: false },
      { gpa: part(511), size: Regular, masks: [Rwx, Rwx, Rwx], vmsa: true },
    ]);
  });

  test('an RMPQUERY that fails is a refusal with its result', () => {
    const { it, hooks } = rights();
    hooks.fails = () => RmpResult.FAIL_INPUT;
    expect(refusedWith(() => it.of(PAGE, Regular))).toBe(FAILED + RmpResult.FAIL_INPUT);
  });

  test('all of them are required of the caller, and the page is no VMSA', () => {
    const { it, at } = rights();
    for (const vmpl of [0, 1, 2, 3]) expect(it.require(PAGE, Regular, vmpl)).toHaveLength(1);
    for (const bit of [1, 2, 4, 8]) {
      at(PAGE).masks = [Rwx, Rwx & ~bit, Rwx];
      expect([0, 1, 2, 3].map((vmpl) => refusedWith(() => it.require(PAGE, Regular, vmpl)))).toEqual([
        ...[undefined, undefined],
        INVALID_ADDRESS,
        undefined,
      ]);
    }
    at(PAGE).masks = [Rwx, Rwx, Rwx];
    at(PAGE).vmsa = true;
    for (const vmpl of [0, 1])
      expect(refusedWith(() => it.require(PAGE, Regular, vmpl))).toBe(INVALID_ADDRESS);
    at(part(7)).masks = [0, 0, 0];
    expect(refusedWith(() => it.require(SPLIT, Huge, 1))).toBe(INVALID_ADDRESS);
  });

  test.each<[string, number, boolean, number | undefined]>([
    ['read and write', Read | Write, false, undefined],
    ['read', Read, false, INVALID_ADDRESS],
    ['write', Write, false, INVALID_ADDRESS],
    ['all, of a VMSA', Rwx, true, INVALID_ADDRESS],
  ])('access needs to read and write: %s', (_, mask, vmsa, expected) => {
    const { it, at } = rights([0, mask, 0]);
    at(PAGE).vmsa = vmsa;
    expect(refusedWith(() => it.requireAccess(PAGE + 0xff8n, Vmpl.Vmpl2))).toBe(expected);
    expect(refusedWith(() => it.requireAccess(PAGE, Vmpl.Vmpl1))).toBe(INVALID_ADDRESS);
    expect(refusedWith(() => it.requireAccess(PAGE, Vmpl.Vmpl0))).toBeUndefined();
  });
});

describe('a change', () => {
  test('sets the masks of each level, and flushes once', () => {
    const { it, log, masksAt } = rights();
    const page = { gpa: PAGE, size: Regular, masks: [1, 3, 0], vmsa: false } as const;
    it.set([page, { ...page, gpa: part(0) }]);
    expect([masksAt(PAGE), masksAt(part(0))]).toEqual([
      [1, 3, 0],
      [1, 3, 0],
    ]);
    expect(log).toEqual([
      ...['5000 of 1: 1', '5000 of 2: 3', '5000 of 3: 0'],
      ...['400000 of 1: 1', '400000 of 2: 3', '400000 of 3: 0', 'flush'],
    ]);
  });

  test('goes by 4 KiB where the RMP has these, and only for 2 MiB', () => {
    const { it, log, masksAt } = rights();
    const change = { isMade: false };
    it.adjust(SPLIT, Huge, 2, 1, false, change);
    expect([log.length, log[0], log[1], log[512]]).toEqual([
      513,
      '400000 of 2: 1',
      '400000 of 2: 1',
      '5ff000 of 2: 1',
    ]);
    expect([change.isMade, masksAt(part(511))]).toEqual([true, [Rwx, 1, Rwx]]);
    const small = { isMade: false };
    expect(refusedWith(() => it.adjust(LARGE, Regular, 2, 1, false, small))).toBe(
      FAILED + RmpResult.FAIL_SIZEMISMATCH,
    );
    expect(small.isMade).toBe(false);
  });

  test('that fails after some parts has been made', () => {
    const { it, hooks } = rights();
    hooks.fails = (step) => (step.startsWith('401000') ? RmpResult.FAIL_PERMISSION : undefined);
    const change = { isMade: false };
    expect(refusedWith(() => it.adjust(SPLIT, Huge, 2, 1, false, change))).toBe(
      FAILED + RmpResult.FAIL_PERMISSION,
    );
    expect(change.isMade).toBe(true);
  });

  test('takes all rights, grants them, closes, and makes a VMSA', () => {
    const { it, log, at } = rights();
    it.revokeUnflushed(PAGE, Regular);
    expect([at(PAGE).masks, log.includes('flush')]).toEqual([[0, 0, 0], false]);
    it.grant(PAGE, Regular, [Vmpl.Vmpl1, Vmpl.Vmpl3]);
    expect([at(PAGE).masks, log.includes('flush')]).toEqual([[Rwx, 0, Rwx], false]);
    it.revoke(PAGE, Regular);
    expect([at(PAGE).masks, log.at(-1)]).toEqual([[0, 0, 0], 'flush']);
    it.makeVmsa(PAGE);
    expect([it.isVmsa(PAGE), it.isVmsa(LARGE), log.at(-1)]).toEqual([true, false, '5000 of 1: 0 VMSA']);
    it.grant(LARGE, Huge, LEVELS);
    log.length = 0;
    it.close(LARGE, Huge);
    expect([at(LARGE).masks, log.at(-1), log.length]).toEqual([[0, 0, 0], 'flush', 4]);
  });

  test('that closes a page goes on after a failure', () => {
    const { it, hooks, at, log } = rights();
    hooks.fails = (step) => (step.endsWith('of 1: 0') ? unresolvedFault() : undefined);
    it.close(PAGE, Regular);
    expect([at(PAGE).masks, log.at(-1)]).toEqual([[Rwx, 0, 0], 'flush']);
  });
});

describe('steps that are undone', () => {
  const failed = (): never => {
    throw new Error('the step');
  };

  test('end with their value', () => {
    const { it, log, masksAt } = rights();
    expect(
      it.undoing((journal) => {
        it.revoke(PAGE, Regular, journal);
        return journal;
      }),
    ).toEqual(
      LEVELS.map((level) => ({ gpa: PAGE, size: Regular, level, before: Rwx, set: None, vmsa: false })),
    );
    expect([masksAt(PAGE), log.filter((step) => step === 'flush')]).toEqual([[0, 0, 0], ['flush']]);
  });

  test('give back what they have taken, in the reverse order, and flush', () => {
    const { it, log, at } = rights([Rwx, 3, 1]);
    expect(() =>
      it.undoing((journal) => {
        it.revokeUnflushed(PAGE, Regular, journal);
        it.makeVmsa(PAGE, journal);
        failed();
      }),
    ).toThrow('the step');
    expect([at(PAGE), log.slice(4)]).toEqual([
      { masks: [Rwx, 3, 1], vmsa: false },
      ['5000 of 1: 0', '5000 of 3: 1', '5000 of 2: 3', `5000 of 1: ${Rwx}`, 'flush'],
    ]);
  });

  test('give back each 4 KiB part', () => {
    const { it, masksAt, at } = rights();
    at(part(3)).masks = [1, 3, 0];
    expect(() =>
      it.undoing((journal) => {
        it.revoke(SPLIT, Huge, journal);
        it.grant(LARGE, Huge, LEVELS, journal);
        failed();
      }),
    ).toThrow('the step');
    expect([masksAt(part(0)), masksAt(part(3)), masksAt(part(511))]).toEqual([
      [Rwx, Rwx, Rwx],
      [1, 3, 0],
      [Rwx, Rwx, Rwx],
    ]);
  });

  test('do not give back a right that has changed meanwhile, and adjust nothing that is right already', () => {
    const { it, log, at } = rights([Rwx, Rwx, 3]);
    expect(() =>
      it.undoing((journal) => {
        it.revokeUnflushed(PAGE, Regular, journal);
        // Another processor: VMPL2 gets less than it had, VMPL3 other rights.
        at(PAGE).masks = [Rwx, 1, 5];
        log.length = 0;
        failed();
      }),
    ).toThrow();
    expect([at(PAGE).masks, log]).toEqual([
      [Rwx, 1, 1],
      ['5000 of 3: 1', 'flush'],
    ]);
  });

  test('go on after a part that cannot be given back', () => {
    const { it, hooks, masksAt } = rights();
    expect(() =>
      it.undoing((journal) => {
        it.revoke(PAGE, Regular, journal);
        hooks.fails = (step) => (step === `5000 of 2: ${Rwx}` ? unresolvedFault() : undefined);
        failed();
      }),
    ).toThrow('the step');
    expect(masksAt(PAGE)).toEqual([Rwx, 0, Rwx]);
  });

  test('write to the journal before they change a page', () => {
    const { it, hooks, masksAt } = rights();
    // `trace` throws after the change.
    hooks.trace = (step) => {
      if (step === '5000 of 2: 0') failed();
    };
    expect(() => it.undoing((journal) => it.revoke(PAGE, Regular, journal))).toThrow('the step');
    expect(masksAt(PAGE)).toEqual([Rwx, Rwx, Rwx]);
  });
});

describe('a page that is granted', () => {
  const levels = [Vmpl.Vmpl1, Vmpl.Vmpl2];

  test('is open', () => {
    const { it, masksAt } = rights([0, 0, 0]);
    expect(it.tryGrant(PAGE, levels)).toEqual({ error: undefined, isOpen: true });
    expect(masksAt(PAGE)).toEqual([Rwx, Rwx, 0]);
  });

  test.each<[string, step: string, 'fails' | 'fails after', closes: boolean, isOpen: boolean, steps: number]>(
    [
      ['nothing has changed', `5000 of 1: ${Rwx}`, 'fails', true, false, 1],
      ['the first level has it, and it is closed', `5000 of 1: ${Rwx}`, 'fails after', true, false, 5],
      ['one level had it, and it is closed', `5000 of 2: ${Rwx}`, 'fails', true, false, 6],
      ['one level has it, and it cannot be closed', `5000 of 2: ${Rwx}`, 'fails', false, true, 3],
    ],
  )('fails: %s', (_, failing, how, closes, isOpen, steps) => {
    const { it, hooks, log } = rights([0, 0, 0]);
    hooks.fails = (step) => {
      if (step === failing && how === 'fails') return RmpResult.FAIL_PERMISSION;
      return step.endsWith(': 0') && !closes ? RmpResult.FAIL_INPUT : undefined;
    };
    hooks.trace = (step) => {
      if (step === failing && how === 'fails after') throw new Error('trace');
    };
    expect(it.tryGrant(PAGE, levels)).toMatchObject({ error: expect.anything(), isOpen });
    expect(log).toHaveLength(steps);
  });
});

test('the rights before a journal are those that a level has had all the time', () => {
  const page: PageRights = { gpa: PAGE, size: Regular, masks: [Rwx, Rwx, Rwx], vmsa: false };
  const change = { gpa: PAGE, size: Regular, set: 0, vmsa: false } as const;
  const journal = [
    { ...change, level: Vmpl.Vmpl1, before: 3 },
    { ...change, level: Vmpl.Vmpl3, before: 5 },
    { ...change, level: Vmpl.Vmpl1, before: 1 },
  ];
  expect(rightsBefore(page, journal)).toEqual({ ...page, masks: [1, Rwx, 5] });
});

test('the levels that have not all rights on every page', () => {
  const page = (...masks: number[]): PageRights => ({ gpa: PAGE, size: Regular, masks, vmsa: false });
  expect(levelsWithout([page(Rwx, 7, Rwx), page(Rwx, Rwx, 14)])).toEqual([Vmpl.Vmpl2, Vmpl.Vmpl3]);
  expect(levelsWithout([page(Rwx, Rwx, Rwx)])).toEqual([]);
});
