import type { Frame } from './frame.ts';
import { toGuest, toSystem } from './nested-image.ts';
import { type EntryAt, entryIn, walkImages } from './table-images.ts';

/** The kinds of address that a page has. */
export type AddressSpace = 'virtual' | 'guest' | 'system';

/** A page that is selected: its addresses, as far as it has them. All are multiples of 4096. */
export interface Selection {
  readonly virtual: bigint | undefined;
  readonly guest: bigint | undefined;
  readonly system: bigint | undefined;
}

/** Text that is not an address, and why. */
export class AddressProblem extends Error {}

const PREFIX: Readonly<Record<string, AddressSpace>> = { v: 'virtual', g: 'guest', s: 'system' };

/**
 * Reads an address: `0xffffff8040400000`, also with `v:`, `g:` or `s:` before it. Without one, an address of the upper half is
 * virtual, and others are of the space given.
 *
 * @throws AddressProblem
 */
export function parseAddress(text: string, otherwise: AddressSpace = 'guest'): [AddressSpace, bigint] {
  const [, prefix = '', digits = ''] = text.trim().match(/^(?:([vgs]):)?(?:0x)?([0-9a-f_]+)$/i) ?? [];
  const clean = digits.replaceAll('_', '');
  if (clean === '')
    throw new AddressProblem(
      `“${shortened(text.trim())}” is not an address: write hexadecimal digits, as 0xffffff8040400000 or g:0xe00000.`,
    );
  const value = BigInt(`0x${clean}`);
  const space = PREFIX[prefix.toLowerCase()] ?? (value >= 1n << 52n ? 'virtual' : otherwise);
  const sign = value >> 47n;
  const isCanonical = sign === 0n || sign === 0x1ffffn;
  if (space === 'virtual' && !isCanonical)
    throw new AddressProblem(
      `0x${shortened(clean)} is not a canonical virtual address: bits 63 to 47 have to be equal.`,
    );
  if (space !== 'virtual' && value >= 1n << 52n)
    throw new AddressProblem(`0x${shortened(clean)} is not a physical address: it has more than 52 bits.`);
  return [space, value];
}

/** Text for a message: the start of it, if it is long. */
export function shortened(text: string): string {
  return text.length <= 48 ? text : `${text.slice(0, 48)}…`;
}

/** The page of an address, with its addresses in the other spaces at the moment of `frame`. */
export function resolve(frame: Frame, space: AddressSpace, address: bigint): Selection {
  const page = BigInt.asUintN(64, address & ~0xfffn);
  if (space === 'virtual') {
    const guest = guestOf(walkImages(frame.tables, page), page);
    return { virtual: page, guest, system: guest === undefined ? undefined : toSystem(frame.nested, guest) };
  }
  const guest = space === 'guest' ? page : toGuest(frame.nested, page);
  const system = space === 'system' ? page : toSystem(frame.nested, page);
  return { virtual: guest === undefined ? undefined : virtualOf(frame, guest), guest, system };
}

/** `0xffffff8040400000` */
export function hex(value: bigint): string {
  return `0x${value.toString(16)}`;
}

function guestOf(path: readonly EntryAt[], vaddr: bigint): bigint | undefined {
  const last = path.at(-1);
  if (last === undefined || !last.entry.present || !last.entry.leaf) return undefined;
  return last.entry.address + (vaddr & ((1n << BigInt(12 + 9 * last.level)) - 1n) & ~0xfffn);
}

/**
 * The first virtual page that leads to a guest-physical one, other than through an entry that maps the tables themselves. O(entries
 * of the tables).
 */
function virtualOf({ tables }: Frame, gpa: bigint): bigint | undefined {
  const seen = new Set<bigint>();
  const search = (table: bigint, level: number, base: bigint): bigint | undefined => {
    const words = tables.tables.get(table);
    if (words === undefined || seen.has(table)) return undefined;
    seen.add(table);
    for (let index = 0; index < 512; index += 1) {
      if ((words[index]! & 1n) === 0n) continue;
      const { entry } = entryIn(tables, table, index, level);
      const start = base + (BigInt(index) << BigInt(12 + 9 * level));
      const size = 1n << BigInt(12 + 9 * level);
      const found = entry.leaf
        ? gpa >= entry.address && gpa < entry.address + size
          ? start + (gpa - entry.address)
          : undefined
        : search(entry.address, level - 1, start);
      if (found !== undefined) return found;
    }
    return undefined;
  };
  const found = search(tables.root, tables.levels - 1, 0n);
  if (found === undefined) return undefined;
  return BigInt.asUintN(64, BigInt.asIntN(9 * tables.levels + 12, found));
}
