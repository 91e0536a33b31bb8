/**
 * The results of the RMP instructions, in EAX (Linux `arch/x86/include/asm/sev.h`; the pages of the compilers'
 * intrinsics, `__rmpupdate` and the others). A PVALIDATE that changes nothing is a success with the carry flag set.
 */
export const RmpResult = {
  SUCCESS: 0,
  /** A misaligned or contradictory operand, or a page that the RMP does not cover. */
  FAIL_INPUT: 1,
  /** An immutable entry, a guest executing a host instruction, or rights that the caller may not give. */
  FAIL_PERMISSION: 2,
  /** Another processor uses the entry or the page. */
  FAIL_INUSE: 3,
  /** 4 KiB pages where a 2 MiB page was asked for, or the reverse. */
  FAIL_OVERLAP: 4,
  /** A 2 MiB operand whose page is 4 KiB. */
  FAIL_SIZEMISMATCH: 6,
  /** PSMASH of a page that is not a mutable 2 MiB page. */
  FAIL_BADADDR: 7,
} as const;

/** One of the results. */
export type RmpResult = (typeof RmpResult)[keyof typeof RmpResult];

/** The name of a result: `FAIL_OVERLAP`. */
export function rmpResultName(result: RmpResult): keyof typeof RmpResult {
  const names = Object.keys(RmpResult) as (keyof typeof RmpResult)[];
  return names.find((name) => RmpResult[name] === result) as keyof typeof RmpResult;
}
