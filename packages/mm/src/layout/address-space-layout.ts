import { PAGE_SIZE_1G, PAGE_SIZE_2M, PageSize, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { refuseArgument, regionArgument, requireInteger, requireOptions } from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';

/** Indexes of entries of the root table. */
export interface LayoutSlots {
  /** The subtree that all processors share: the image, the heap and global mappings. COCONUT-SVSM: 511. */
  readonly shared: number;
  /** The subtree that each processor has for itself. COCONUT-SVSM: 510. */
  readonly perCpu: number;
  /** The subtree of a task. COCONUT-SVSM: 508. */
  readonly perTask: number;
  /** The entry that leads back to the root. COCONUT-SVSM: 493. */
  readonly selfMap: number;
}

/** The virtual addresses that each processor maps for itself, the same on all of them. */
export interface PerCpuLayout {
  /** The processor's own page. */
  readonly self: VirtAddr;
  /** The calling area of the guest's processor. */
  readonly caa: VirtAddr;
  /** The VMSA of the guest's processor. */
  readonly vmsa: VirtAddr;
  readonly stacks: MemoryRegion<VirtAddr>;
  /** Temporary mappings of 4 KiB pages. */
  readonly temp4k: MemoryRegion<VirtAddr>;
  /** Temporary mappings of 2 MiB pages. */
  readonly temp2m: MemoryRegion<VirtAddr>;
}

/** The virtual address space of an SVSM, by its parts. All values are frozen. */
export interface AddressSpaceLayout {
  /** The levels of the page tables. */
  readonly levels: 4 | 5;
  readonly slots: LayoutSlots;
  /** The addresses for the image of the SVSM. */
  readonly image: MemoryRegion<VirtAddr>;
  /** The addresses for the direct map of the heap. */
  readonly heap: MemoryRegion<VirtAddr>;
  /** Mappings that all processors see, of 4 KiB and of 2 MiB pages. */
  readonly globalMappings: { readonly small: MemoryRegion<VirtAddr>; readonly huge: MemoryRegion<VirtAddr> };
  readonly perCpu: PerCpuLayout;
  /** All addresses of the task's slot. */
  readonly perTask: MemoryRegion<VirtAddr>;
  /** The lower half, for user mode. */
  readonly user: MemoryRegion<VirtAddr>;
}

/** The fields of a layout that differ from those of COCONUT-SVSM. */
export interface LayoutChanges {
  readonly levels?: 4 | 5;
  readonly slots?: Partial<LayoutSlots>;
  readonly image?: MemoryRegion<VirtAddr>;
  readonly heap?: MemoryRegion<VirtAddr>;
  readonly globalMappings?: {
    readonly small?: MemoryRegion<VirtAddr>;
    readonly huge?: MemoryRegion<VirtAddr>;
  };
  readonly perCpu?: Partial<PerCpuLayout>;
  readonly user?: MemoryRegion<VirtAddr>;
}

const GIB = BigInt(PAGE_SIZE_1G);

/** The layouts that have been checked. */
const MADE: WeakSet<AddressSpaceLayout> = /* @__PURE__ */ new WeakSet();

/** The fields that can be given. */
const NAMES = {
  layout: ['levels', 'slots', 'image', 'heap', 'globalMappings', 'perCpu', 'user'],
  slots: ['shared', 'perCpu', 'perTask', 'selfMap'],
  globalMappings: ['small', 'huge'],
  perCpu: ['self', 'caa', 'vmsa', 'stacks', 'temp4k', 'temp2m'],
} as const;

/** The address space of COCONUT-SVSM (`kernel/src/mm/address_space.rs`). */
export const COCONUT_LAYOUT: AddressSpaceLayout = /* @__PURE__ */ addressSpaceLayout();

/**
 * A layout with some fields that differ from those of {@link COCONUT_LAYOUT}. Fields that are not given follow from the levels and
 * the slots: each part has the offset in its slot that COCONUT-SVSM gives it.
 *
 * @throws MmError `INVALID_ARGUMENT` for a field that does not exist or has another type; `INVALID_LAYOUT` if two slots are the
 *   same or not in the upper half, a part does not lie in its slot, is not aligned to its pages, or overlaps another one
 *
 * @example
 * ```ts
 * import { addressSpaceLayout } from '@svsm/mm';
 *
 * const layout = addressSpaceLayout({ levels: 5 });
 * console.log(String(layout.globalMappings.huge)); // => [0xffff004000200000-0xffff004040000000)
 * ```
 */
export function addressSpaceLayout(changes: LayoutChanges = {}): AddressSpaceLayout {
  requireOptions('changes', changes, NAMES.layout);
  const { levels = 4 } = changes;
  if (levels !== 4 && levels !== 5) refuseArgument('levels', levels, 'pass 4 or 5');
  const slots = slotsOf(changes.slots);
  const kind = levels === 5 ? Virt57 : Virt;
  const shared = slotRegion(levels, slots.shared);
  const own = slotRegion(levels, slots.perCpu);
  const at = (slot: MemoryRegion<VirtAddr>, offset: bigint): VirtAddr => (slot.start + offset) as VirtAddr;
  const part = (
    slot: MemoryRegion<VirtAddr>,
    from: bigint,
    to: bigint,
    given: MemoryRegion<VirtAddr> | undefined,
  ): MemoryRegion<VirtAddr> =>
    given === undefined
      ? new MemoryRegion(kind, at(slot, from), to - from)
      : regionArgument('a region of the layout', given, kind);
  const page = (what: string, offset: bigint, given: VirtAddr | undefined): VirtAddr => {
    const vaddr = given === undefined ? at(own, offset) : given;
    return kind.isAddress(vaddr) ? vaddr : refuseArgument(what, vaddr, 'pass a canonical address');
  };
  const { globalMappings = {}, perCpu = {} } = changes;
  requireOptions('globalMappings', globalMappings, NAMES.globalMappings);
  requireOptions('perCpu', perCpu, NAMES.perCpu);
  const mid = 256n * GIB;
  const layout: AddressSpaceLayout = {
    levels,
    slots,
    image: part(shared, 0n, GIB, changes.image),
    heap: part(shared, GIB, mid - GIB, changes.heap),
    globalMappings: Object.freeze({
      small: part(shared, mid, mid + BigInt(PAGE_SIZE_2M), globalMappings.small),
      huge: part(shared, mid + BigInt(PAGE_SIZE_2M), mid + GIB, globalMappings.huge),
    }),
    perCpu: Object.freeze({
      self: page('perCpu.self', 0n, perCpu.self),
      caa: page('perCpu.caa', 0x2000n, perCpu.caa),
      vmsa: page('perCpu.vmsa', 0x4000n, perCpu.vmsa),
      stacks: part(own, 0x20_0000n, 0x26_0000n, perCpu.stacks),
      temp4k: part(own, GIB, GIB + BigInt(PAGE_SIZE_2M), perCpu.temp4k),
      temp2m: part(own, GIB + BigInt(PAGE_SIZE_2M), 2n * GIB, perCpu.temp2m),
    }),
    perTask: slotRegion(levels, slots.perTask),
    user: part(lowerHalf(levels), 0n, lowerHalf(levels).size, changes.user),
  };
  requireSound(layout);
  MADE.add(layout);
  return Object.freeze(layout);
}

/**
 * A value as a layout: one that {@link addressSpaceLayout} has made passes at once, another one is checked as its changes are.
 *
 * @throws MmError `INVALID_ARGUMENT`, `INVALID_LAYOUT`
 */
export function layoutArgument(layout: AddressSpaceLayout): AddressSpaceLayout {
  if (MADE.has(layout)) return layout;
  const { perTask, ...changes } = requireAll('the layout', layout, [...NAMES.layout, 'perTask']);
  requireAll('slots', changes.slots, NAMES.slots);
  requireAll('globalMappings', changes.globalMappings, NAMES.globalMappings);
  requireAll('perCpu', changes.perCpu, NAMES.perCpu);
  const made = addressSpaceLayout(changes);
  if (!regionArgument('perTask', perTask, made.perTask.kind).equals(made.perTask))
    throw invalid('perTask', 'is not the slot of the task');
  return made;
}

/** An object that has all of some fields. @throws MmError `INVALID_ARGUMENT` */
function requireAll<T extends object>(what: string, value: T, names: readonly string[]): T {
  requireOptions(what, value, names);
  const missing = names.find((name) => (value as Readonly<Record<string, unknown>>)[name] === undefined);
  if (missing !== undefined) refuseArgument(`${what}.${missing}`, undefined, 'pass a whole layout');
  return value;
}

/**
 * The addresses below one entry of the root table: 512 GiB with 4 levels, 256 TiB with 5.
 *
 * @param slot - the index of the entry, 0 to 511
 * @throws MmError `INVALID_ARGUMENT`
 */
export function slotRegion(levels: 4 | 5, slot: number): MemoryRegion<VirtAddr> {
  if (levels !== 4 && levels !== 5) refuseArgument('levels', levels, 'pass 4 or 5');
  requireInteger('the slot', slot, 0, 511);
  const bits = levels === 5 ? 57 : 48;
  const size = 1n << BigInt(bits - 9);
  const start = BigInt.asUintN(64, BigInt.asIntN(bits, BigInt(slot) * size));
  return new MemoryRegion(levels === 5 ? Virt57 : Virt, start as VirtAddr, size);
}

function lowerHalf(levels: 4 | 5): MemoryRegion<VirtAddr> {
  return new MemoryRegion(levels === 5 ? Virt57 : Virt, 0n as VirtAddr, 1n << (levels === 5 ? 56n : 47n));
}

function slotsOf(changes: Partial<LayoutSlots> = {}): LayoutSlots {
  const names = NAMES.slots;
  requireOptions('slots', changes, names);
  const { shared = 511, perCpu = 510, perTask = 508, selfMap = 493 } = changes;
  const slots = Object.freeze({ shared, perCpu, perTask, selfMap });
  for (const name of names) requireInteger(`slots.${name}`, slots[name], 0, 511);
  if (new Set(Object.values(slots)).size < names.length) throw invalid('slots', 'has one entry twice');
  const low = names.find((name) => slots[name] < 256);
  if (low !== undefined) throw invalid(`slots.${low}`, 'lies in the lower half, which belongs to user mode');
  return slots;
}

/** A part of a layout: its name, its addresses, the slot that it must lie in, and the size of its pages. */
type Part = readonly [string, MemoryRegion<VirtAddr>, MemoryRegion<VirtAddr>, PageSize];

/** The parts of a layout, each with its slot, by ascending address. */
export function partsOf(layout: AddressSpaceLayout): readonly Part[] {
  const { levels, slots, globalMappings, perCpu } = layout;
  const shared = slotRegion(levels, slots.shared);
  const own = slotRegion(levels, slots.perCpu);
  const { Regular, Huge } = PageSize;
  const page = (start: VirtAddr): MemoryRegion<VirtAddr> => new MemoryRegion(shared.kind, start, Regular);
  const parts: Part[] = [
    ['image', layout.image, shared, Regular],
    ['heap', layout.heap, shared, Regular],
    ['globalMappings.small', globalMappings.small, shared, Regular],
    ['globalMappings.huge', globalMappings.huge, shared, Huge],
    ['perCpu.self', page(perCpu.self), own, Regular],
    ['perCpu.caa', page(perCpu.caa), own, Regular],
    ['perCpu.vmsa', page(perCpu.vmsa), own, Regular],
    ['perCpu.stacks', perCpu.stacks, own, Regular],
    ['perCpu.temp4k', perCpu.temp4k, own, Regular],
    ['perCpu.temp2m', perCpu.temp2m, own, Huge],
    ['perTask', layout.perTask, slotRegion(levels, slots.perTask), Regular],
    ['user', layout.user, lowerHalf(levels), Regular],
  ];
  return parts.sort(([, a], [, b]) => (a.start < b.start ? -1 : 1));
}

function requireSound(layout: AddressSpaceLayout): void {
  const parts = partsOf(layout);
  for (const [field, region, slot, pageSize] of parts) {
    const size = BigInt(pageSize);
    if (region.isEmpty) throw invalid(field, 'is empty');
    if (!slot.containsRegion(region)) throw invalid(field, `is ${region}, which does not lie in ${slot}`);
    if (region.start % size !== 0n || region.size % size !== 0n)
      throw invalid(field, `is ${region}, which is not made of whole pages of ${pageSize} bytes`);
  }
  for (const [index, [field, region]] of parts.entries()) {
    const [other, next] = parts[index + 1] ?? [];
    if (next?.overlaps(region)) throw invalid(field, `is ${region}, which overlaps ${other}, ${next}`);
  }
}

function invalid(field: string, problem: string): MmError<'INVALID_LAYOUT'> {
  return new MmError('INVALID_LAYOUT', { field, problem });
}
