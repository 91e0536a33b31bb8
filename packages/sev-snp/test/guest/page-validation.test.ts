/** PVALIDATE of pages on a processor that answers as a script says: each step, each note, and the record afterwards. */
import { PAGE_SIZE, PageSize, physAddr, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { executeReported } from '../../src/cpu/executed.ts';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import {
  clearPages,
  type OnPage,
  type PageValidator,
  type PrivatePage,
  rescindPages,
  smallPagesOf,
  type ValidationContext,
  type ValidationProgress,
  validatePages,
} from '../../src/guest/page-validation.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import { BASE, MiB } from '../support/world.ts';

const page = (number: number, size: PrivatePage['size'] = PageSize.Regular): PrivatePage => ({
  gva: virtAddr(BASE + BigInt(number * PAGE_SIZE)),
  gpa: physAddr(number * PAGE_SIZE),
  size,
});
const PAGES = [page(1), page(2), page(3)];
const LARGE = page(512, PageSize.Huge);
const name = ({ gva }: Pick<PrivatePage, 'gva'>): string => String(Number(gva - BASE) / PAGE_SIZE);

/** The answers to `on PAGE`, `off PAGE` and `clear PAGE`: an error, a result, or no change. */
type Script = Readonly<Record<string, 'fails' | 'unchanged' | RmpResult>>;

/** A context whose processor notes its steps in `log`. */
function scripted(script: Script, recorded: readonly PrivatePage[] = []) {
  const log: string[] = [];
  const step = (text: string): Script[string] | undefined => {
    log.push(text);
    const answer = script[text];
    if (answer === 'fails') throw new Error(text);
    return answer;
  };
  const vcpu = {
    clear: (gva: PrivatePage['gva']) => void step(`clear ${name({ gva })}`),
    pvalidate: (gva: PrivatePage['gva'], _: number, validate: boolean) => {
      const answer = step(`${validate ? 'on' : 'off'} ${name({ gva })}`);
      const result = typeof answer === 'number' ? answer : RmpResult.SUCCESS;
      return { result, unchanged: answer === 'unchanged' };
    },
  } as unknown as Vcpu;
  const validated = new ValidatedPages(
    physRegion(physAddr(0), 4 * MiB),
    recorded.map(({ gpa, size }) => physRegion(gpa, size)),
  );
  const onPage: OnPage = (noted, what) => log.push(`${what} ${name(noted)}`);
  const context: ValidationContext = { vcpu, validated };
  const outcome = (act: () => void): readonly [thrown: string, log: string, record: string] => {
    let thrown = '';
    try {
      act();
    } catch (error) {
      thrown = (error as Error).message;
    }
    const record = [...validated].flatMap((run) => [...run.iterPages(PAGE_SIZE)]).map((gpa) => gpa / 4096n);
    return [thrown, log.join(', '), record.length > 9 ? `${record.length} pages` : record.join()];
  };
  return { context, onPage, log, validated, outcome };
}

const ALL_ON = 'on 1, on 2, on 3, validated 1, validated 2, validated 3';

describe('validatePages', () => {
  test.each<[string, Script, ...ReturnType<ReturnType<typeof scripted>['outcome']>]>([
    ['all', {}, '', `${ALL_ON}, clear 1, cleared 1, clear 2, cleared 2, clear 3, cleared 3`, '1,2,3'],
    [
      'the second faults: the first is clear, and the others are not recorded',
      { 'on 2': 'fails' },
      'on 2',
      'on 1, on 2, validated 1, clear 1, cleared 1',
      '1',
    ],
    [
      'the second has not changed',
      { 'on 2': 'unchanged' },
      'PVALIDATE (validate) of 0xffff800000002000 changed nothing: the page is not the expected one [PVALIDATE_UNCHANGED]',
      'on 1, on 2, validated 1, clear 1, cleared 1',
      '1',
    ],
    [
      'the second is refused, and the first cannot be cleared: the first failure is reported',
      { 'on 2': RmpResult.FAIL_INPUT, 'clear 1': 'fails' },
      'PVALIDATE (validate) of 0xffff800000002000 returned FAIL_INPUT (1) [PVALIDATE_FAILED]',
      'on 1, on 2, validated 1, clear 1, lost 1, off 1, rescinded 1',
      '',
    ],
    [
      'a 4 KiB page that is said to have the wrong size',
      { 'on 1': RmpResult.FAIL_SIZEMISMATCH },
      'PVALIDATE (validate) of 0xffff800000001000 returned FAIL_SIZEMISMATCH (6) [PVALIDATE_FAILED]',
      'on 1',
      '',
    ],
    [
      'the second cannot be cleared: the others are',
      { 'clear 2': 'fails' },
      'clear 2',
      `${ALL_ON}, clear 1, cleared 1, clear 2, lost 2, off 2, rescinded 2, clear 3, cleared 3`,
      '1,3',
    ],
    [
      'two cannot be cleared: the first failure is reported',
      { 'clear 1': 'fails', 'clear 3': 'fails' },
      'clear 1',
      `${ALL_ON}, clear 1, lost 1, off 1, rescinded 1, clear 2, cleared 2, clear 3, lost 3, off 3, rescinded 3`,
      '2',
    ],
    [
      'a page that cannot be cleared is another one now: it stays in the record',
      { 'clear 2': 'fails', 'off 2': 'unchanged' },
      'clear 2',
      `${ALL_ON}, clear 1, cleared 1, clear 2, lost 2, off 2, clear 3, cleared 3`,
      '1,2,3',
    ],
  ])('%s', (_, script, ...expected) => {
    const it = scripted(script);
    expect(it.outcome(() => validatePages(it.context, PAGES, it.onPage))).toEqual(expected);
  });

  test('a page in the record refuses all, and the record is as before', () => {
    const it = scripted({}, [page(2)]);
    expect(it.outcome(() => validatePages(it.context, PAGES, it.onPage))).toEqual([
      '0x0000000000002000 is validated already: do not validate it again [ALREADY_VALIDATED]',
      '',
      '2',
    ]);
  });

  test('a large page that the RMP has in 4 KiB pages goes by these, then the rest', () => {
    const it = scripted({ 'on 512': RmpResult.FAIL_SIZEMISMATCH });
    let isFirst = true;
    const { vcpu } = it.context;
    const { pvalidate } = vcpu;
    vcpu.pvalidate = (at, size, validate) => {
      const gva = at as PrivatePage['gva'];
      if (!isFirst || size !== PageSize.Huge) {
        it.log.push(`${size} at ${name({ gva })}`);
        return { result: RmpResult.SUCCESS, unchanged: false };
      }
      isFirst = false;
      return pvalidate(gva, size, validate);
    };
    const pages = [page(1), LARGE, page(3)];
    expect(it.outcome(() => validatePages(it.context, pages, it.onPage)).slice(0, 1)).toEqual(['']);
    expect(it.validated.size).toBe(BigInt(2 * MiB + 2 * PAGE_SIZE));
    const parts = Array.from({ length: 512 }, (_, k) => `4096 at ${512 + k}`);
    const runs = it.log.filter((line) => line.includes(' at ') || line.startsWith('on'));
    expect(runs).toEqual(['4096 at 1', 'on 512', ...parts, '4096 at 3']);
    const cleared = it.log.filter((line) => line.startsWith('cleared'));
    expect([cleared.length, cleared[0], cleared[1], cleared.at(-1)]).toEqual([
      514,
      'cleared 1',
      'cleared 512',
      'cleared 3',
    ]);
  });

  test('without a record, and without notes', () => {
    const { context, log } = scripted({ 'clear 2': 'fails' });
    expect(() => validatePages({ vcpu: context.vcpu }, PAGES)).toThrow('clear 2');
    expect(log).toEqual(['on 1', 'on 2', 'on 3', 'clear 1', 'clear 2', 'off 2', 'clear 3']);
  });
});

test('without a record, a page that faults is cleared by nobody', () => {
  const { context, log } = scripted({ 'on 2': 'fails' });
  expect(() => validatePages({ vcpu: context.vcpu }, PAGES)).toThrow('on 2');
  expect(log).toEqual(['on 1', 'on 2', 'clear 1']);
});

describe('an error of `trace`, after PVALIDATE', () => {
  /** A processor that reports each PVALIDATE, and a `trace` that throws after the one of page 2. */
  function traced(answer: { result: RmpResult; unchanged: boolean }) {
    const it = scripted({}, []);
    let asked = '';
    const cpu = {
      ...it.context.vcpu,
      guest: {
        machine: {
          trace: () => {
            if (asked === '2') throw new Error('trace');
          },
        },
      },
      pvalidate: (gva: PrivatePage['gva']) => {
        asked = name({ gva });
        it.log.push(`PVALIDATE ${asked}`);
        return executeReported(
          cpu,
          () => (asked === '2' ? answer : { result: RmpResult.SUCCESS, unchanged: false }),
          () => ({}) as MachineEvent,
        );
      },
    };
    return { ...it, context: { ...it.context, vcpu: cpu as unknown as Vcpu } };
  }

  test.each<[string, { result: RmpResult; unchanged: boolean }, log: string, record: string]>([
    [
      'has changed the page',
      { result: RmpResult.SUCCESS, unchanged: false },
      'validated 1, validated 2, clear 1, cleared 1, clear 2, cleared 2',
      '1,2',
    ],
    [
      'has changed nothing',
      { result: RmpResult.SUCCESS, unchanged: true },
      'validated 1, clear 1, cleared 1',
      '1',
    ],
    [
      'has failed',
      { result: RmpResult.FAIL_INPUT, unchanged: false },
      'validated 1, clear 1, cleared 1',
      '1',
    ],
  ])('that %s', (_, answer, log, record) => {
    const it = traced(answer);
    expect(it.outcome(() => validatePages(it.context, PAGES, it.onPage))).toEqual([
      'trace',
      `PVALIDATE 1, PVALIDATE 2, ${log}`,
      record,
    ]);
  });
});

describe('rescindPages', () => {
  test.each<[string, Script, ...ReturnType<ReturnType<typeof scripted>['outcome']>]>([
    ['all', {}, '', 'off 1, off 2, off 3, rescinded 1, rescinded 2, rescinded 3', ''],
    [
      'the second faults: it is lost',
      { 'off 2': 'fails' },
      'off 2',
      'off 1, off 2, rescinded 1, lost 2',
      '2,3',
    ],
    [
      'the second has not changed: it is lost',
      { 'off 2': 'unchanged' },
      'PVALIDATE (rescind) of 0xffff800000002000 changed nothing: the page is not the expected one [PVALIDATE_UNCHANGED]',
      'off 1, off 2, rescinded 1, lost 2',
      '2,3',
    ],
  ])('%s', (_, script, ...expected) => {
    const it = scripted(script, PAGES);
    expect(it.outcome(() => rescindPages(it.context, PAGES, it.onPage))).toEqual(expected);
  });

  test('a page that is not in the record refuses all', () => {
    const it = scripted({}, [page(1), page(2)]);
    expect(it.outcome(() => rescindPages(it.context, PAGES, it.onPage))).toEqual([
      '0x0000000000003000 is not validated [NOT_VALIDATED]',
      '',
      '1,2',
    ]);
  });
});

test('clearPages', () => {
  const it = scripted({ 'clear 2': 'fails', 'off 2': 'fails' }, PAGES);
  expect(it.outcome(() => clearPages(it.context, PAGES, it.onPage))).toEqual([
    'clear 2',
    'clear 1, cleared 1, clear 2, lost 2, off 2, clear 3, cleared 3',
    '1,2,3',
  ]);
});

describe('a validator', () => {
  /** Runs a step with a validator whose answers come one after another. */
  function answered(answers: readonly (() => unknown)[], recorded: readonly PrivatePage[] = []) {
    const it = scripted({}, recorded);
    const calls: unknown[] = [];
    let next = 0;
    const validator: PageValidator = (_, pages, validate, inDoubt) => {
      calls.push([pages.map(name).join(), validate, inDoubt]);
      return answers[next++]?.() as ValidationProgress;
    };
    return { ...it, calls, context: { ...it.context, validator } };
  }
  const throws = () => {
    throw new Error('no');
  };
  const WRONG = (value: string) =>
    `the progress of a validator cannot be ${value}: return an object whose done is 3, or less with a reason [INVALID_ARGUMENT]`;

  test.each<[string, () => unknown, string]>([
    ['undefined', () => undefined, WRONG('undefined')],
    ['null', () => null, WRONG('null')],
    ['a number', () => 3, WRONG('3')],
    ['a part of a page', () => ({ done: 1.5, failure: {} }), WRONG('a value of type object')],
    ['fewer than none', () => ({ done: -1, failure: {} }), WRONG('a value of type object')],
    ['more than all', () => ({ done: 4, failure: {} }), WRONG('a value of type object')],
    ['fewer without a reason', () => ({ done: 2 }), WRONG('a value of type object')],
    ['fewer, with no mismatch', () => ({ done: 2, isMismatch: false }), WRONG('a value of type object')],
    ['an error', throws, 'no'],
  ])('that returns %s leaves all pages in doubt, and they are rescinded', (_, answer, message) => {
    const it = answered([answer, () => ({ done: 3 })]);
    expect(it.outcome(() => validatePages(it.context, PAGES, it.onPage))).toEqual([
      message,
      'validated 1, validated 2, validated 3, rescinded 1, rescinded 2, rescinded 3',
      '',
    ]);
    expect(it.calls).toEqual([
      ['1,2,3', true, false],
      ['1,2,3', false, true],
    ]);
    const off = answered([answer], PAGES);
    expect(off.outcome(() => rescindPages(off.context, PAGES, off.onPage))).toEqual([
      message,
      'lost 1, lost 2, lost 3',
      '1,2,3',
    ]);
    expect(off.calls).toEqual([['1,2,3', false, false]]);
  });

  test('that leaves two pages in doubt: they are rescinded, and the last one is not recorded', () => {
    const failure = { error: new Error('no'), unclear: 1 };
    const it = answered([() => ({ done: 1, failure }), () => ({ done: 1 })]);
    expect(it.outcome(() => validatePages(it.context, PAGES, it.onPage))).toEqual([
      'no',
      'validated 1, validated 2, rescinded 2, clear 1, cleared 1',
      '1',
    ]);
    expect(it.calls.at(-1)).toEqual(['2', false, true]);
  });

  test('that is done with all, and fails then', () => {
    const failure = { error: new Error('no') };
    const on = answered([() => ({ done: 3, failure })]);
    expect(on.outcome(() => validatePages(on.context, [...PAGES], on.onPage))[0]).toBe('no');
    const off = answered([() => ({ done: 3, failure })], PAGES);
    expect(off.outcome(() => rescindPages(off.context, PAGES, off.onPage, true))).toEqual([
      'no',
      'rescinded 1, rescinded 2, rescinded 3',
      '',
    ]);
    expect(off.calls).toEqual([['1,2,3', false, true]]);
  });

  test('passes over a page that it cannot rescind, and each page that is unclear', () => {
    const failed = (done: number, unclear?: number) => () => ({
      done,
      failure: { error: new Error('later'), ...(unclear === undefined ? {} : { unclear }) },
    });
    const five = [1, 2, 3, 4, 5].map((number) => page(number));
    const it = answered([throws, failed(0), failed(1, 1), failed(0, 2)]);
    expect(it.outcome(() => validatePages(it.context, five, it.onPage))).toEqual([
      'no',
      'validated 1, validated 2, validated 3, validated 4, validated 5, rescinded 2',
      '1,3,4,5',
    ]);
    expect(it.calls).toEqual([
      ['1,2,3,4,5', true, false],
      ['1,2,3,4,5', false, true],
      ['2,3,4,5', false, true],
      ['4,5', false, true],
    ]);
  });

  test('that fails after some pages goes on with the next one', () => {
    const it = answered([
      throws,
      () => ({ done: 1, failure: { error: new Error('later') } }),
      () => ({ done: 2 }),
    ]);
    expect(it.outcome(() => validatePages(it.context, PAGES, it.onPage))[2]).toBe('');
    expect(it.calls.map((call) => (call as string[])[0])).toEqual(['1,2,3', '1,2,3', '2,3']);
  });

  test('that finds 4 KiB pages while it rescinds goes by these', () => {
    const it = answered([throws, () => ({ done: 0, isMismatch: true }), () => ({ done: 513 })]);
    expect(it.outcome(() => validatePages(it.context, [LARGE, page(1)], it.onPage))[2]).toBe('');
    const last = String((it.calls.at(-1) as string[])[0]).split(',');
    expect([last.length, last[0], last[511], last[512]]).toEqual([513, '512', '1023', '1']);
    const off = answered([() => ({ done: 1, isMismatch: true }), () => ({ done: 512 })], [page(1), LARGE]);
    expect(off.outcome(() => rescindPages(off.context, [page(1), LARGE], off.onPage))[2]).toBe('');
    expect(off.calls).toHaveLength(2);
    // All is done, whatever is said of a page that does not exist.
    const end = answered([() => ({ done: 3, isMismatch: true })], PAGES);
    expect(end.outcome(() => rescindPages(end.context, PAGES, end.onPage))[0]).toBe('');
    expect(end.calls).toHaveLength(1);
  });
});

test('the parts of a 2 MiB page', () => {
  const parts = smallPagesOf({ ...LARGE, more: 1 } as PrivatePage & { more: number });
  expect(parts).toHaveLength(512);
  expect([parts[0], parts[511]]).toEqual([
    { ...page(512), more: 1 },
    { ...page(1023), more: 1 },
  ]);
});
