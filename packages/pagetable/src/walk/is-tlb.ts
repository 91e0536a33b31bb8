/** Every `Tlb`. A proxy of one, or an object with its prototype, has none of its fields. */
const TLBS: WeakSet<object> = /* @__PURE__ */ new WeakSet();

/** Notes a new `Tlb`. */
export function noteTlb(tlb: object): void {
  TLBS.add(tlb);
}

/** Whether `value` is a `Tlb`. O(1). */
export function isTlb(value: unknown): boolean {
  return typeof value === 'object' && value !== null && TLBS.has(value);
}
