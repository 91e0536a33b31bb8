import type { VirtualMapping } from './virtual-mapping.ts';

/** Where a mapping is inserted. */
export interface Place {
  /** Takes the right to write from every page that is mapped, and flushes: the next write of each one faults. */
  writeProtect(): void;
}

const PLACES: WeakMap<VirtualMapping, Place> = /* @__PURE__ */ new WeakMap();

/** Where `mapping` is inserted, or `undefined`. */
export function placeOf(mapping: VirtualMapping): Place | undefined {
  return PLACES.get(mapping);
}

/** Notes where `mapping` is inserted. */
export function setPlace(mapping: VirtualMapping, place: Place | undefined): void {
  if (place === undefined) PLACES.delete(mapping);
  else PLACES.set(mapping, place);
}
