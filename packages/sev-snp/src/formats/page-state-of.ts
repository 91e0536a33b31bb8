import { type PageState, stateOfEntry } from './page-state.ts';
import { requireRmpEntry } from './raw-rmp-entry.ts';
import type { RmpEntry } from './rmp-entry.ts';

/**
 * The state of a page by its RMP entry. `undefined`, which `Rmp.entry` returns for an uncovered page, is `DEFAULT`. O(1).
 *
 * @throws SnpError `INVALID_MESSAGE` if a field of the entry does not fit
 */
export function pageStateOf(entry: RmpEntry | undefined): PageState {
  return stateOfEntry(entry === undefined ? undefined : requireRmpEntry(entry));
}
