/** The TLBs of the guest are flushed once for a list, and no page gets another use before. */
import { PAGE_SIZE } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import { SvsmCall, type SvsmListEntry, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { CAA, call, entryOf, type SvsmWorld, svsmWorld, writeList } from '../support/svsm-world.ts';
import { MiB } from '../support/world.ts';

const FIRST = 6 * MiB;
const pages = (count: number, fields: Partial<SvsmListEntry>): SvsmListEntry[] =>
  Array.from({ length: count }, (_, i) => entryOf(FIRST + i * PAGE_SIZE, fields));

/** A world whose events a test can hear, and the names of the instructions that change pages or flush. */
function scene(): { it: SvsmWorld; steps: string[]; hook: { onEvent: (event: MachineEvent) => void } } {
  const steps: string[] = [];
  const hook = { onEvent: (_: MachineEvent): void => {} };
  const it = svsmWorld(
    {},
    {
      trace: (event) => {
        if (event.type === 'flush') steps.push(event.gva === undefined ? 'flush' : 'invlpg');
        if (event.type === 'pvalidate') steps.push(event.validate ? 'validate' : 'rescind');
        hook.onEvent(event);
      },
    },
  );
  // Entries of 4 KiB in the RMP.
  it.machine.hypervisor.splitPage(it.guest, BigInt(FIRST) as never);
  steps.length = 0;
  return { it, steps, hook };
}

const run = (it: SvsmWorld, id: SvsmCall, entries: readonly SvsmListEntry[]): number => {
  writeList(it, entries);
  return call(it, id, { rcx: BigInt(CAA + 8) });
};

// V7, S9
describe('a list', () => {
  test.each([
    ['PVALIDATE', SvsmCall.Pvalidate],
    ['DEPOSIT_MEM', SvsmCall.DepositMem],
  ])('of %s that takes rights on many pages ends with one flush', (_, id) => {
    const { it, steps } = scene();
    expect(run(it, id, pages(40, { validate: false }))).toBe(SvsmResult.Success);
    expect(steps.filter((step) => step === 'flush')).toHaveLength(1);
    expect(steps.at(-1)).toBe('flush');
  });

  test('that only validates needs no flush', () => {
    const { it, steps } = scene();
    run(it, SvsmCall.Pvalidate, pages(10, { validate: false }));
    steps.length = 0;
    expect(run(it, SvsmCall.Pvalidate, pages(10, {}))).toBe(SvsmResult.Success);
    expect(steps).not.toContain('flush');
  });

  test('flushes before it validates again, which could be a page that it has just rescinded', () => {
    const { it, steps } = scene();
    const entries = [...pages(3, { validate: false }), ...pages(2, {}), ...pages(2, { validate: false })];
    expect(run(it, SvsmCall.Pvalidate, entries)).toBe(SvsmResult.Success);
    expect(steps).toEqual([
      ...['rescind', 'rescind', 'rescind', 'flush'],
      ...['validate', 'validate', 'rescind', 'rescind', 'flush'],
    ]);
  });

  test('flushes what it has done when an entry is refused', () => {
    const { it, steps } = scene();
    const entries = [...pages(2, { validate: false }), entryOf(0, { validate: false })];
    expect(run(it, SvsmCall.Pvalidate, entries)).toBe(SvsmResult.InvalidAddress);
    expect(steps).toEqual(['rescind', 'rescind', 'flush']);
  });

  test.each([
    ['is BUSY', false, SvsmResult.Busy],
    ['is free', true, SvsmResult.Success],
  ])('until its flush, a page that it has rescinded %s (after it: %s)', (_, isAfter, expected) => {
    const { it, hook } = scene();
    const results: number[] = [];
    let rescinded = 0;
    // At the exit of the third page, the hypervisor enters the SVSM, which wants the first page.
    const validateFirst = (): void => {
      results.push(it.svsm.memory.validate(BigInt(FIRST), PAGE_SIZE, 2));
    };
    hook.onEvent = (event) => {
      if (event.type !== 'pvalidate' || event.validate) return;
      rescinded += 1;
      if (rescinded === 3 && !isAfter) validateFirst();
    };
    expect(run(it, SvsmCall.Pvalidate, pages(4, { validate: false }))).toBe(SvsmResult.Success);
    if (isAfter) validateFirst();
    expect(results).toEqual([expected]);
  });
});
