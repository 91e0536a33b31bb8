/** The steps of the boot of an SVSM, in their order. */
export const BOOT_STEPS = [
  'features',
  'paging',
  'memory-map',
  'kernel-mapping',
  'heap',
  'root-memory',
  'validity-record',
  'global-ranges',
  'cpus',
  'read-only',
  'early-memory',
] as const;

/** A step of the boot. */
export type BootStep = (typeof BOOT_STEPS)[number];
