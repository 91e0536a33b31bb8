import type { MtrrType } from '../../src/entry/memory-type.ts';

/** The registers as a test draws them. */
export interface SlowRegisters {
  readonly defType: bigint;
  readonly fixed: readonly bigint[];
  readonly variable: readonly { readonly base: bigint; readonly mask: bigint }[];
  /** TOP_MEM2 while Tom2ForceMemTypeWB is 1. */
  readonly forcedTop?: bigint | undefined;
}

const NAMES: Readonly<Record<number, MtrrType>> = { 0: 'UC', 1: 'WC', 4: 'WT', 5: 'WP', 6: 'WB' };

/** First addresses of the 88 fixed ranges and the end, listed range by range as table 11-9 of the SDM does. */
const STARTS: readonly number[] = [
  ...Array.from({ length: 8 }, (_, i) => i * 65_536),
  ...Array.from({ length: 16 }, (_, i) => 524_288 + i * 16_384),
  ...Array.from({ length: 64 }, (_, i) => 786_432 + i * 4096),
  1_048_576,
];

/** The type of one page, by a sieve over all ranges: written for reading, after §11.11.4.1 of the SDM. */
export function slowMtrrType(registers: SlowRegisters, paddr: bigint, width: number): MtrrType | 'conflict' {
  const bits = (value: bigint) => value.toString(2).padStart(64, '0').split('').reverse();
  const typeIn = (register: bigint, byte: number) => NAMES[Number((register >> BigInt(8 * byte)) & 7n)]!;
  const defType = bits(registers.defType);
  if (defType[11] === '0') return 'UC';
  if (defType[10] === '1' && paddr < 1_048_576n) {
    const range = STARTS.findIndex((start, i) => paddr >= start && paddr < STARTS[i + 1]!);
    return typeIn(registers.fixed[Math.floor(range / 8)]!, range % 8);
  }
  const matches = new Set<MtrrType>();
  for (const { base, mask } of registers.variable) {
    const [b, m, a] = [bits(base), bits(mask), bits(paddr)];
    if (m[11] === '0') continue;
    let isMatch = true;
    for (let i = 12; i < width; i += 1) if (m[i] === '1' && b[i] !== a[i]) isMatch = false;
    if (isMatch) matches.add(typeIn(base, 0));
  }
  if (matches.has('UC')) return 'UC';
  if (matches.size === 1) return [...matches][0]!;
  if (matches.size === 2 && matches.has('WT') && matches.has('WB')) return 'WT';
  if (matches.size > 0) return 'conflict';
  const top = registers.forcedTop ?? 0n;
  return paddr >= 2n ** 32n && paddr < top ? 'WB' : typeIn(registers.defType, 0);
}

/** The type of a page of any size: each 4 KiB of it is looked at. */
export function slowPageType(
  registers: SlowRegisters,
  paddr: bigint,
  size: number,
  width: number,
): MtrrType | 'conflict' | 'mixed' {
  const start = paddr - (paddr % BigInt(size));
  const types = new Set<MtrrType | 'conflict'>();
  for (let offset = 0; offset < size; offset += 4096) {
    types.add(slowMtrrType(registers, start + BigInt(offset), width));
  }
  return types.size === 1 ? [...types][0]! : 'mixed';
}
