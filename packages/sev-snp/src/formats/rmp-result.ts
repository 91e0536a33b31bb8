/**
 * The results of the RMP instructions, in EAX (Linux `arch/x86/include/asm/sev.h`; the pages of the compilers'
 * intrinsics, `__rmpupdate` and the others). A PVALIDATE that changes nothing is a success with the carry flag set.
 */
export const RmpResult = {
  SUCCESS: 0,
  /** The operand is misaligned or contradictory, or the RMP does not cover the page. */
  FAIL_INPUT: 1,
  /** The entry is immutable, a guest executes a host instruction, or the caller may not give these rights. */
  FAIL_PERMISSION: 2,
  /** A processor uses the page or the entry. */
  FAIL_INUSE: 3,
  /** RMPUPDATE of 2 MiB over assigned 4 KiB pages, or of 4 KiB inside a 2 MiB page. */
  FAIL_OVERLAP: 4,
  /** The operand is 2 MiB, the page is 4 KiB. */
  FAIL_SIZEMISMATCH: 6,
  /** PSMASH of a page that is not an assigned, mutable 2 MiB page. */
  FAIL_BADADDR: 7,
} as const;

/** One of the results. */
export type RmpResult = (typeof RmpResult)[keyof typeof RmpResult];

/** The name of a result; `undefined` for another value. */
export function nameOfResult(result: RmpResult): keyof typeof RmpResult | undefined {
  const names = Object.keys(RmpResult) as (keyof typeof RmpResult)[];
  return names.find((name) => RmpResult[name] === result);
}
