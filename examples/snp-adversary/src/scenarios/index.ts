import type { Scenario } from '../scenario.ts';
import { ANSWERS } from './answers.ts';
import { FIRMWARE } from './firmware.ts';
import { GUEST_CONTEXTS } from './guest-contexts.ts';
import { GUEST_DUTIES } from './guest-duties.ts';
import { INTERRUPTED } from './interrupted.ts';
import { LET_THROUGH } from './let-through.ts';
import { PAGES_IN_USE } from './pages-in-use.ts';
import { PRIVATE_PAGES } from './private-pages.ts';
import { SHARED_MEMORY } from './shared-memory.ts';
import { SVSM } from './svsm.ts';
import { SVSM_PROCESSORS } from './svsm-processors.ts';
import { SWAPPED_PAGES } from './swapped-pages.ts';

export { NOT_MODELLED } from './not-modelled.ts';

/** Every attack, in the order of the ids. `docs/hardware.md` has the table of attacks. */
export const SCENARIOS: readonly Scenario[] = [
  ...PRIVATE_PAGES,
  ...GUEST_DUTIES,
  ...INTERRUPTED,
  ...ANSWERS,
  ...SVSM,
  ...SVSM_PROCESSORS,
  ...FIRMWARE,
  ...SWAPPED_PAGES,
  ...LET_THROUGH,
  ...GUEST_CONTEXTS,
  ...PAGES_IN_USE,
  ...SHARED_MEMORY,
].sort((a, b) => Number(a.id.slice(1)) - Number(b.id.slice(1)));
