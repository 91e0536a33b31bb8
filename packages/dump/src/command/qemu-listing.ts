import { PageSize } from '@svsm/address';
import { PteFlags } from '@svsm/pagetable';
import type { LeafRecord, ReportRecord, RunRecord } from '../view/record.ts';
import type { Renderer } from './renderer.ts';

/** The letters of `info tlb` and the bits of the leaf. P, bit 7, is only shown for large pages. */
const LETTERS: readonly (readonly [letter: string, flag: number])[] = [
  ['X', PteFlags.NoExecute],
  ['G', PteFlags.Global],
  ['P', PteFlags.Large],
  ['D', PteFlags.Dirty],
  ['A', PteFlags.Accessed],
  ['C', PteFlags.CacheDisable],
  ['T', PteFlags.WriteThrough],
  ['U', PteFlags.User],
  ['W', PteFlags.Writable],
];
const TLB_ADDRESS_BITS = 50;

/** Prints leaves as QEMU's `info tlb` does, for a comparison line by line. */
export class QemuTlb implements Renderer {
  render(record: ReportRecord): string | undefined {
    return record.type === 'leaf' ? tlbLine(record) : undefined;
  }
}

/** Prints runs as QEMU's `info mem` does: joined if U and W agree, whatever they are mapped to. */
export class QemuMem implements Renderer {
  /** The width of an address in bits. QEMU joins runs across the border of the two halves of the space. */
  #bits = 48;
  #start = 0n;
  #end = -1n;
  #rights = '';

  render(record: ReportRecord): string | undefined {
    if (record.type === 'dump') this.#bits = record.levels === 5 ? 57 : 48;
    if (record.type === 'end') return this.#line();
    return record.type === 'run' ? this.#add(record) : undefined;
  }

  #add({ start, size, user, writable }: RunRecord): string | undefined {
    const from = BigInt.asUintN(this.#bits, start);
    const rights = `${user ? 'u' : '-'}r${writable ? 'w' : '-'}`;
    const joins = from === this.#end && rights === this.#rights;
    const line = joins ? undefined : this.#line();
    if (!joins) this.#start = from;
    this.#end = from + size;
    this.#rights = rights;
    return line;
  }

  #line(): string | undefined {
    if (this.#end < 0n) return undefined;
    const numbers = [this.#start, this.#end, this.#end - this.#start].map((value) => this.#canonical(value));
    return `${numbers[0]}-${numbers[1]} ${numbers[2]} ${this.#rights}`;
  }

  /** QEMU sign-extends all three numbers, even the size. A value with one more bit than an address (2^48) is not changed. */
  #canonical(value: bigint): string {
    const isNegative = ((value >> BigInt(this.#bits - 1)) & 1n) === 1n;
    const extended = isNegative ? BigInt.asUintN(64, BigInt.asIntN(this.#bits, value)) : value;
    return hex16(extended);
  }
}

function tlbLine({ start, paddr, pageSize, flags }: LeafRecord): string {
  const letters = LETTERS.map(([letter, flag]) => {
    const hidden = flag === PteFlags.Large && pageSize === PageSize.Regular;
    return !hidden && (flags & flag) !== 0 ? letter : '-';
  });
  return `${hex16(start)}: ${hex16(BigInt.asUintN(TLB_ADDRESS_BITS, paddr))} ${letters.join('')}`;
}

function hex16(value: bigint): string {
  return value.toString(16).padStart(16, '0');
}
