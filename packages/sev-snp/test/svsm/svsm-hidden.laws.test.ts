/** A host that hides pages for ever, from any step of a call on: no right is gained, and the record stays true. */
import { PAGE_SIZE, pageNumber, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { isValidatedWord, isVmsaWord, maskOfWord, RMP_ENTRY_WORDS } from '../../src/formats/rmp-entry.ts';
import { VMPL_COUNT } from '../../src/formats/vmpl.ts';
import {
  CALLS,
  HUGE_CALLS,
  onSteps,
  openPages,
  type Request,
  run,
  type StepName,
  twoProcessors,
} from '../support/svsm-steps.ts';
import { CAA, OWN_END, type SvsmWorld, svsmWorld } from '../support/svsm-world.ts';
import { MiB, spaOf, unresolvedFault } from '../support/world.ts';

const BUSY = 0x8000_0007;
const GUEST_PAGES = Array.from(
  { length: (8 * MiB - OWN_END) / PAGE_SIZE },
  (_, k) => OWN_END + k * PAGE_SIZE,
);

/** The content of pages that are not validated. */
const OLD = new Uint8Array(PAGE_SIZE).fill(0xaa);

/** Whether a step fails, from the first hidden step on. INVLPGB has no operand in memory. */
type Hides = (name: StepName, gva: unknown, first: { name: StepName; gva: unknown }) => boolean;

const HIDDEN: Readonly<Record<string, Hides>> = {
  'all of memory': (name) => name !== 'invlpgb',
  'the page that the step is about': (name, gva, first) => name !== 'invlpgb' && gva === first.gva,
};

const WORLDS: Readonly<Record<string, () => SvsmWorld>> = {
  'of 4 KiB': twoProcessors,
  'of 2 MiB': () => svsmWorld(),
  'of 2 MiB, in parts': () => {
    const it = svsmWorld();
    it.machine.hypervisor.splitPage(it.guest, physAddr(6 * MiB));
    return it;
  },
};

const CASES: [string, string, Request][] = [
  ...Object.entries(CALLS).map(([name, request]) => [name, 'of 4 KiB', request] as never),
  ...['of 2 MiB', 'of 2 MiB, in parts'].flatMap((world) =>
    Object.entries(HUGE_CALLS).map(([name, request]) => [name, world, request] as never),
  ),
];

/** A page of the guest: the rights of the levels, one byte for each from VMPL0 on, and whether it is validated and a VMSA. */
interface Page {
  readonly masks: number;
  readonly validated: boolean;
  readonly vmsa: boolean;
}

function pagesOf(it: SvsmWorld): Page[] {
  const words = new Uint32Array(RMP_ENTRY_WORDS);
  return GUEST_PAGES.map((gpa) => {
    it.machine.rmp.readWords(pageNumber(spaOf(it, gpa)), words);
    return { masks: words[2]!, validated: isValidatedWord(words[1]!), vmsa: isVmsaWord(words[1]!) };
  });
}

function isSame(a: Page, b: Page): boolean {
  return a.masks === b.masks && a.validated === b.validated && a.vmsa === b.vmsa;
}

/** The records of the SVSM. */
function recordsOf({ state, svsm, guestCpu }: SvsmWorld): unknown {
  return [[...state.validated].map(String), svsm.callingArea(guestCpu), state.vcpus];
}

/** At how many steps at each end of a long call, and at how many between them, the host begins; more in a deep run. */
const PLACES = Number(process.env['FC_NUM_RUNS']) > 100 ? 6 : 3;

/** The steps to begin at: all, or some at each end and between. */
function chosen(count: number): number[] {
  const all = Array.from({ length: count }, (_, k) => k);
  if (count <= 24) return all;
  return all.filter((k) => k < PLACES || k >= count - PLACES || k % Math.ceil(count / PLACES) === 0);
}

describe.each(CASES)('%s %s', (_name, world, request) => {
  const make = WORLDS[world]!;

  /** Runs the call in a new world, whose host hides memory from step `from` on, and shows it again after the call. */
  const attempt = (from: number, hides: Hides) => {
    const it = make();
    const [id, registers] = request(it, CAA);
    const before = pagesOf(it);
    GUEST_PAGES.forEach((gpa, k) => {
      if (!before[k]!.validated) it.machine.memory.write(spaOf(it, gpa), OLD, it.guest.key);
    });
    let first: { name: StepName; gva: unknown } | undefined;
    let steps = 0;
    let isShown = false;
    onSteps(it.vcpu, (step, name, [gva]) => {
      if (isShown) return undefined;
      steps += 1;
      if (step === from) first = { name, gva };
      return first !== undefined && hides(name, gva, first) ? unresolvedFault() : undefined;
    });
    const all = { rax: BigInt(id), rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, ...registers };
    it.svsm.call(it.guestCpu, all);
    isShown = true;
    return { it, before, steps, result: Number(all.rax) };
  };
  const good = attempt(-1, () => false);
  const done = { records: recordsOf(good.it), pages: pagesOf(good.it) };

  // S5, S9
  test.each(Object.entries(HIDDEN))('keeps the law if the host hides %s for ever', (_what, hides) => {
    for (const from of chosen(good.steps)) {
      const { it, before, result } = attempt(from, hides);
      const where = `from step ${from}`;
      // A page that WITHDRAW_MEM returns can have fewer rights: see `tryGrant`.
      if (result === 0) expect(recordsOf(it), where).toEqual(done.records);
      const pages = pagesOf(it);
      GUEST_PAGES.forEach((gpa, k) => {
        const { masks, validated, vmsa } = pages[k]!;
        const at = `${where}, page ${gpa}`;
        if (it.state.validated.has(physAddr(gpa)) !== validated) expect.fail(`${at}: the record`);
        if (isSame(pages[k]!, done.pages[k]!)) return;
        for (let vmpl = 1; vmpl < VMPL_COUNT; vmpl += 1) {
          // A level may have got what the call gives it in the end: the levels get their rights one after another.
          const gained = maskOfWord(masks & ~(before[k]!.masks | done.pages[k]!.masks), vmpl);
          if (gained !== 0) expect.fail(`${at}: VMPL${vmpl} has gained rights 0x${gained.toString(16)}`);
        }
        if (vmsa && !before[k]!.vmsa) expect.fail(`${at}: a VMSA`);
        if (!validated || before[k]!.validated || masks >>> 8 === 0) return;
        const [first] = it.machine.memory.read(spaOf(it, gpa), 1, it.guest.key);
        expect(first, `${at}: a level sees the old content`).toBe(0);
      });
      expect(openPages(it), where).toEqual([]);
      // No claim is left. The call may be refused, or done already, but no other call is in its way.
      expect(run(request, it), `${where}, again`).not.toBe(BUSY);
    }
  });
});
