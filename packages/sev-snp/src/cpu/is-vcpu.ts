/** Every `Vcpu`. A check by `instanceof` would need the class, and with it all of the processor, in every bundle. */
const VCPUS: WeakSet<object> = /* @__PURE__ */ new WeakSet();

/** Notes a new processor. */
export function noteVcpu(vcpu: object): void {
  VCPUS.add(vcpu);
}

/** Whether `value` is a `Vcpu`. O(1). */
export function isVcpu(value: unknown): boolean {
  return typeof value === 'object' && value !== null && VCPUS.has(value);
}
