import type { PageState } from '@svsm/sev-snp';
import { type NestedRun, toGuest } from './nested-image.ts';
import { type RmpImage, stateAt } from './rmp-image.ts';

/** The state of a cell of the map. `SHARED` is a page of the hypervisor that a guest maps; `MIXED` has several states. */
export type CellState = PageState | 'SHARED' | 'MIXED' | 'OUTSIDE';

/** The zoom of the map: the memory that one cell stands for. */
export interface Zoom {
  readonly name: string;
  /** Bytes of a cell. The map has {@link CELLS} of them. */
  readonly cell: bigint;
}

export const CELLS = 512;
export const ZOOMS: readonly Zoom[] = [
  { name: '4 KiB', cell: 1n << 12n },
  { name: '2 MiB', cell: 1n << 21n },
  { name: '2 GiB', cell: 1n << 31n },
];

/** The start of the map that has `spa` in it. */
export function windowOf({ cell }: Zoom, spa: bigint): bigint {
  const size = cell * BigInt(CELLS);
  return spa - (spa % size);
}

/** The states of the cells from `start` on. O(cells + pages of regions that are split). */
export function cellStates(
  image: RmpImage,
  nested: readonly NestedRun[],
  zoom: Zoom,
  start: bigint,
): CellState[] {
  return Array.from({ length: CELLS }, (_, i) =>
    cellState(image, nested, start + BigInt(i) * zoom.cell, zoom.cell),
  );
}

function cellState(image: RmpImage, nested: readonly NestedRun[], start: bigint, size: bigint): CellState {
  if (start >= image.size) return 'OUTSIDE';
  if (size === PAGE) return pageState(image, nested, start);
  const [first, ...others] = statesIn(image, nested, start, size).keys();
  return others.length > 0 ? 'MIXED' : first!;
}

const PAGE = 1n << 12n;
const REGION = 1n << 21n;

/** The states of the pages of a cell, each with its number of pages. O(pages in regions that the guest has or shares). */
export function statesIn(
  image: RmpImage,
  nested: readonly NestedRun[],
  start: bigint,
  size: bigint,
): Map<CellState, number> {
  const end = start + size < image.size ? start + size : image.size;
  const counts = new Map<CellState, number>();
  const count = (state: CellState, pages: number): void => {
    if (pages > 0) counts.set(state, (counts.get(state) ?? 0) + pages);
  };
  let others = Number((end - start) / PAGE);
  for (const region of regionsIn(image, nested, start, end)) {
    const at = BigInt(region) * REGION;
    const pages = Number(((at + REGION < end ? at + REGION : end) - at) / PAGE);
    others -= pages;
    if (image.regions.get(region)?.length === 1) count(pageState(image, nested, at), pages);
    else
      for (let page = 0; page < pages; page += 1)
        count(pageState(image, nested, at + BigInt(page) * PAGE), 1);
  }
  count('HYPERVISOR', others);
  return counts;
}

/** The indexes of regions of 2 MiB that are not the hypervisor's alone. */
function regionsIn(
  image: RmpImage,
  nested: readonly NestedRun[],
  start: bigint,
  end: bigint,
): ReadonlySet<number> {
  const [first, last] = [Number(start / REGION), Number((end - 1n) / REGION)];
  if (first === last) return new Set([first]);
  const found = new Set([...image.regions.keys()].filter((index) => index >= first && index <= last));
  for (const { spa, size } of nested) {
    const to = Math.min(last, Number((spa + size - 1n) / REGION));
    for (let index = Math.max(first, Number(spa / REGION)); index <= to; index += 1) found.add(index);
  }
  return found;
}

function pageState(image: RmpImage, nested: readonly NestedRun[], spa: bigint): CellState {
  const state = stateAt(image, spa);
  return state === 'HYPERVISOR' && toGuest(nested, spa) !== undefined ? 'SHARED' : state;
}

/** The letter and the words of a state. Letters tell states apart without colours. */
export const STATE_TEXT: Readonly<Record<CellState, readonly [letter: string, text: string]>> = {
  'GUEST-VALID': ['V', 'guest, validated'],
  'GUEST-INVALID': ['I', 'guest, not validated'],
  SHARED: ['S', 'shared with the hypervisor'],
  HYPERVISOR: ['', 'hypervisor'],
  MIXED: ['M', 'several states'],
  FIRMWARE: ['F', 'firmware'],
  CONTEXT: ['C', 'context of a guest'],
  RECLAIM: ['R', 'given back by the firmware'],
  METADATA: ['T', 'records of swapped pages'],
  'FIRMWARE-IOMMU': ['U', 'firmware, IOMMU'],
  'PRE-GUEST': ['P', 'guest, before launch'],
  'PRE-SWAP': ['W', 'guest, being swapped'],
  'HV-FIXED': ['H', 'hypervisor, fixed'],
  DEFAULT: ['', 'not covered'],
  INVALID: ['?', 'invalid'],
  OUTSIDE: ['', 'no memory'],
};
