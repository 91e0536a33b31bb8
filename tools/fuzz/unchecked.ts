/**
 * The exports of `@svsm/sev-snp` whose arguments are not checked for their type: plain JavaScript that passes another type gets
 * an error without a code, or an answer without meaning. They are the model itself: instructions, firmware commands, the
 * processor, the hypervisor and the tables that they read. A name leaves this list when its arguments are checked.
 */
export const UNCHECKED: readonly string[] = [
  'NestedTlb.frameOf',
  'NestedTlb.holdsPartOf',
  'NestedTlb.insert',
  'NestedTlb.lookup',
  'NestedTlb.widen',
  'Vcpu.clear',
  'Vcpu.fetch',
  'Vcpu.leave',
  'Vcpu.pvalidate',
  'Vcpu.read',
  'Vcpu.resume',
  'Vcpu.rmpadjust',
  'Vcpu.vmgexit',
  'Vcpu.write',
  'createVmsa',
  'executeInGuest',
  'executeInHost',
  'failedVmrunCheck',
  'new Vcpu',
  'pvalidate',
  'rmpInstructionOf',
  'rmpadjust',
  'rmpquery',
  'set Vcpu.csL',
  'set Vcpu.ghcbMsr',
  'vmexit',
  'vmrun',
];
