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
  if (size === 1n << 12n) return pageState(image, nested, start);
  if (size === 1n << 21n) return regionState(image, nested, start);
  let found: CellState | undefined;
  for (const index of image.regions.keys()) {
    const at = BigInt(index) << 21n;
    if (at < start || at >= start + size) continue;
    found = 'MIXED';
  }
  return found ?? 'HYPERVISOR';
}

function regionState(image: RmpImage, nested: readonly NestedRun[], start: bigint): CellState {
  const region = image.regions.get(Number(start >> 21n));
  if (region === undefined || region.length === 1) return pageState(image, nested, start);
  const first = pageState(image, nested, start);
  for (let page = 1n; page < 512n; page += 1n)
    if (pageState(image, nested, start + (page << 12n)) !== first) return 'MIXED';
  return first;
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
  'FIRMWARE-IOMMU': ['F', 'firmware, IOMMU'],
  'PRE-GUEST': ['P', 'guest, before launch'],
  'PRE-SWAP': ['P', 'guest, being swapped'],
  'HV-FIXED': ['H', 'hypervisor, fixed'],
  DEFAULT: ['', 'not covered'],
  INVALID: ['?', 'invalid'],
  OUTSIDE: ['', 'no memory'],
};
