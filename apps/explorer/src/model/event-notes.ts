import { type MachineEvent, RmpResult } from '@svsm/sev-snp';
import type { Actor, StepNote } from './step.ts';

interface EventText {
  readonly title: string;
  readonly actor: Actor;
  readonly why: string;
}

/** The step of an event that happened while `during` ran. */
export function eventNote(event: MachineEvent, during: StepNote): StepNote {
  return { ...during, ...textOf(event), outcome: undefined };
}

/** A few words about an event, and the reason for it. */
export function textOf(event: MachineEvent): EventText {
  switch (event.type) {
    case 'pvalidate':
      return {
        title: `PVALIDATE ${event.validate ? 'validates' : 'rescinds'}${resultText(event.result, event.unchanged)}`,
        actor: 'guest',
        why: event.validate
          ? 'The guest accepts the page once the hypervisor has assigned it; only this makes it usable, so a page that was swapped in is noticed.'
          : 'The guest gives up its validation first, through the mapping that is still private: PVALIDATE needs a page that is the guest’s.',
      };
    case 'npf':
      return {
        title: `#VMEXIT(NPF) 0x${event.exitInfo1.toString(16)}`,
        actor: 'processor',
        why: 'The nested page fault exits to the hypervisor: if it can resolve the cause, the guest repeats its instruction.',
      };
    case 'psmash':
      return {
        title: `PSMASH${resultText(event.result)}`,
        actor: 'hypervisor',
        why: 'The RMP has one entry for 2 MiB, and a page of 4 KiB cannot change alone: the hypervisor makes 512 entries of it.',
      };
    case 'vmgexit':
      return {
        title: `VMGEXIT 0x${event.request.toString(16)}`,
        actor: 'guest',
        why: 'The guest exits on purpose and asks for the page state change: only the hypervisor can execute RMPUPDATE.',
      };
    case 'rmpupdate':
      return {
        title: `RMPUPDATE assigned=${event.state.assigned ? 1 : 0}${resultText(event.result)}`,
        actor: 'hypervisor',
        why: event.state.assigned
          ? 'The page becomes the guest’s again, not validated: it is useless to everybody until the guest accepts it.'
          : 'The page changes hands: from now on the hypervisor can write to it, and the guest cannot use it as private memory.',
      };
    case 'vmrun':
      return {
        title: `VMRUN 0x${event.response.toString(16)}`,
        actor: 'hypervisor',
        why: 'The guest continues with an answer that it checks, and does not trust: the proof is PVALIDATE, or the cleared C-bit.',
      };
    case 'rmpadjust':
      return {
        title: `RMPADJUST${resultText(event.result)}`,
        actor: 'guest',
        why: 'Software at a higher VMPL changes the rights of a lower one on the page.',
      };
    case 'flush':
      return {
        title: event.gva === undefined ? 'Flush of all translations' : 'INVLPG',
        actor: 'guest',
        why: 'The TLB drops its translation after the entry has changed and before the page is used: a stale one would go on with the old C-bit.',
      };
  }
}

function resultText(result: RmpResult, unchanged = false): string {
  if (result === RmpResult.SUCCESS) return unchanged ? ', CF=1: unchanged' : '';
  const name = Object.entries(RmpResult).find(([, value]) => value === result)?.[0] ?? String(result);
  return `: ${name}`;
}
