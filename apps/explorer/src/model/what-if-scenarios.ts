import type { VirtAddr } from '@svsm/address';
import { type PageCalls, shareByHand, start, withPage } from './loop-scenarios.ts';
import { sourceOf } from './source.ts';
import type { StepNote } from './step.ts';
import type { Recorder, Scenario } from './timeline.ts';
import type { SvsmWorld } from './worlds.ts';

const SECRET = 'a secret';

interface Parts {
  readonly stage: Recorder;
  readonly world: SvsmWorld;
  readonly page: VirtAddr;
  readonly calls: PageCalls;
}

function whatIf(id: string, title: string, summary: string, play: (parts: Parts) => void): Scenario {
  return {
    id,
    group: 'What if',
    title,
    summary,
    source: sourceOf,
    play: (stage) => {
      const { world, pages, calls } = start(stage, 1);
      play({ stage, world, page: pages[0]!, calls });
    },
  };
}

/** The guest writes to the page, and the host looks at it: the end of each experiment. */
function useIt({ stage, world, page }: Parts, text: string, why: string): void {
  const code = `vcpu.write(page, new TextEncoder().encode('${text}'));`;
  const note: StepNote = { title: 'Guest writes', actor: 'guest', code, why, page };
  stage.attempt({ ...note, run: withPage(note) }, () => {
    world.vcpu.write(page, new TextEncoder().encode(text));
    const spa = world.guest.nested.lookup(world.svsm.virtToPhys(page))!.spa;
    const seen = new TextDecoder().decode(world.machine.hypervisor.read(spa, text.length));
    if (seen === text && text === SECRET)
      return {
        kind: 'leak',
        text: `The hypervisor reads “${seen}”. No check fails: nothing told the processor that it is a secret.`,
      };
    return { kind: 'works', text: `The hypervisor reads ${seen === text ? `“${seen}”` : 'ciphertext'}.` };
  });
}

/** Runs a call that may be refused. Returns whether the experiment goes on. */
function mayFail({ stage, page }: Parts, note: Omit<StepNote, 'page'>, run: () => void): boolean {
  const whole = { ...note, page };
  return stage.attempt({ ...whole, run: withPage(whole) }, () => {
    run();
    return undefined;
  });
}

/** Wrong orders, and forgotten steps. */
export const WHAT_IFS: readonly Scenario[] = [
  whatIf(
    'pte-first',
    'The entry first',
    'The C-bit is cleared before PVALIDATE. The instruction needs a private mapping of a page that is the guest’s.',
    (parts) => {
      const { world, page, calls } = parts;
      calls.write(page, SECRET, 'The page has content.');
      calls.split(page);
      calls.setShared(page);
      calls.flush(page);
      const goesOn = mayFail(
        parts,
        {
          title: 'PVALIDATE rescinds',
          actor: 'guest',
          code: 'vcpu.pvalidate(page, PageSize.Regular, false);',
          why: 'The order is wrong: the mapping is shared already.',
        },
        () => world.vcpu.pvalidate(page, 0x1000, false),
      );
      if (goesOn)
        useIt(
          parts,
          'hello, hypervisor',
          'The page is still assigned to the guest, and C=0 makes this a shared access.',
        );
    },
  ),
  whatIf(
    'no-flush',
    'No flush',
    'The C-bit is cleared and the TLB is forgotten. The processor goes on with the private translation.',
    (parts) => {
      const { page, calls } = parts;
      calls.write(page, SECRET, 'The TLB holds the private translation of the page.');
      calls.split(page);
      calls.flush(page);
      calls.write(page, SECRET, 'The TLB holds the private translation of 4 KiB.');
      calls.rescind(page);
      calls.request(page, 'Shared');
      calls.setShared(page);
      useIt(
        parts,
        'hello, hypervisor',
        'Without INVLPG the write goes through the stale translation: private, on a page of the hypervisor.',
      );
    },
  ),
  whatIf(
    'forgotten-psc',
    'Forgotten page state change',
    'PVALIDATE and the entry are right, but nobody asks the hypervisor. The page is still assigned to the guest.',
    (parts) => {
      const { page, calls } = parts;
      calls.write(page, SECRET, 'The page has content.');
      calls.split(page);
      calls.rescind(page);
      calls.setShared(page);
      calls.flush(page);
      useIt(parts, 'hello, hypervisor', 'A shared write needs a page of the hypervisor.');
    },
  ),
  whatIf(
    'no-pvalidate',
    'No PVALIDATE',
    'A shared page is taken back, and the guest forgets to validate it. Otherwise the hypervisor could put any page there.',
    (parts) => {
      const { page, calls } = parts;
      shareByHand(calls, page);
      calls.setPrivate(page);
      calls.flush(page);
      calls.request(page, 'Private');
      useIt(parts, SECRET, 'The page is assigned to the guest, but the guest has not accepted it.');
    },
  ),
  whatIf(
    'too-early',
    'Used too early',
    'A shared page is to become private again, and the guest writes its secret before the first step.',
    (parts) => {
      const { page, calls } = parts;
      shareByHand(calls, page);
      useIt(parts, SECRET, 'The entry is still shared: the write goes to memory in plain text.');
    },
  ),
];
