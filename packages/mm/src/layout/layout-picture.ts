import { formatAddress, type VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { type AddressSpaceLayout, layoutArgument, partsOf, slotRegion } from './address-space-layout.ts';

/**
 * A layout as text, highest address first: the slots of the root table, and the parts in each.
 *
 * @example
 * ```ts
 * import { COCONUT_LAYOUT, renderLayout } from '@svsm/mm';
 *
 * console.log(renderLayout(COCONUT_LAYOUT).split('\n')[0]); // => 0xffffff8000000000  512 GiB  slot 511: shared by all processors
 * ```
 *
 * @throws MmError `INVALID_ARGUMENT`, `INVALID_LAYOUT`
 */
export function renderLayout(layout: AddressSpaceLayout): string {
  const places = layoutArgument(layout);
  const { levels, slots } = places;
  const titles: (readonly [string, MemoryRegion<VirtAddr>])[] = [
    [`slot ${slots.shared}: shared by all processors`, slotRegion(levels, slots.shared)],
    [`slot ${slots.perCpu}: of each processor`, slotRegion(levels, slots.perCpu)],
    [`slot ${slots.perTask}: of a task`, slotRegion(levels, slots.perTask)],
    [`slot ${slots.selfMap}: the tables themselves`, slotRegion(levels, slots.selfMap)],
    ['slots 0 to 255: user mode', places.user],
  ];
  titles.sort(([, a], [, b]) => (a.start < b.start ? 1 : -1));
  const parts = partsOf(places).filter(([name]) => name !== 'perTask' && name !== 'user');
  const rows = titles.flatMap(([title, region]) => [
    lineOf(region, title, ''),
    ...parts
      .filter(([, part]) => region.containsRegion(part))
      .reverse()
      .map(([name, part]) => lineOf(part, name, '  ')),
  ]);
  return rows.join('\n');
}

function lineOf(region: MemoryRegion<VirtAddr>, text: string, indent: string): string {
  return `${formatAddress(region.start)}  ${sizeText(region.size).padStart(7)}  ${indent}${text}`;
}

/** A size in the largest unit of which it is a whole number. */
function sizeText(size: bigint): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  let rest = size;
  for (; rest % 1024n === 0n && unit < units.length - 1; unit += 1) rest /= 1024n;
  return `${rest} ${units[unit]}`;
}
