import type { VirtAddr } from '@svsm/address';
import type { SysPhysAddr } from '@svsm/sev-snp';
import type { Selection } from './address.ts';
import { outcomeOf } from './outcome.ts';
import type { Timeline } from './timeline.ts';

/** The result of a read: bytes, or the reason why there are none. */
export type Peek =
  | { readonly bytes: Uint8Array }
  | { readonly refusal: string; readonly check?: string | undefined };

/** The bytes that guest and host read at a page after a step. */
export interface Peeks {
  readonly guest: Peek;
  readonly host: Peek;
}

const LENGTH = 64;

/** Reads a page from both sides, in a replay: reads can exit, fill the TLB and change the state. */
export function peek(timeline: Timeline, step: number, page: Selection): Promise<Peeks> {
  return timeline.at(step, ({ machine, vcpu }) => {
    const read = (address: bigint | undefined, run: (at: bigint) => Uint8Array): Peek => {
      if (address === undefined) return { refusal: 'The page has no address of this kind.' };
      try {
        return { bytes: run(address).slice() };
      } catch (error) {
        const { text, check } = outcomeOf(error);
        return { refusal: text, check };
      }
    };
    // The host reads first: its reads change nothing.
    const host = read(page.system, (at) => machine.hypervisor.read(at as SysPhysAddr, LENGTH));
    return { guest: read(page.virtual, (at) => vcpu.read(at as VirtAddr, LENGTH)), host };
  });
}
