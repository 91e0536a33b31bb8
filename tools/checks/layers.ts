/**
 * Which packages each package may import: the ones below it, never one above or beside it. A package that is not here
 * does not exist; a new one gets its row below all that it imports.
 */
export const LAYERS: Readonly<Record<string, readonly string[]>> = {
  address: [],
  'memory-region': ['address'],
  'buddy-alloc': ['address', 'memory-region'],
  pagetable: ['address', 'memory-region'],
  'sev-snp': ['address', 'memory-region', 'pagetable'],
  mm: ['address', 'memory-region', 'buddy-alloc', 'pagetable', 'sev-snp'],
};

/** The longest that a file in `src` may be: past some 400 lines it hides a second noun. */
export const MAX_LINES = 450;
