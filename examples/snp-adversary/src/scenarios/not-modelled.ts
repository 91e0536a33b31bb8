/** An attack that cannot be shown. */
export interface NotModelled {
  /** Its row in the table of attacks of `docs/hardware.md`. */
  readonly id: string;
  /** The name and the action, in a few words. */
  readonly attack: string;
  /** The part of a processor that the model does not have. */
  readonly lacks: string;
  /** The countermeasure on hardware. */
  readonly mitigatedBy: string;
}

/** The attacks that the model cannot express, with the reason. */
export const NOT_MODELLED: readonly NotModelled[] = [
  {
    id: 'A20',
    attack: 'breaks coherency by memory types',
    lacks: 'caches',
    mitigatedBy: 'coherent types, which SNP forces',
  },
  {
    id: 'A21',
    attack: 'leaves stale cache lines in a page',
    lacks: 'caches',
    mitigatedBy: 'eviction, or coherent hardware',
  },
  {
    id: 'A27',
    attack: 'CacheWarp: drops modified cache lines by INVD',
    lacks: 'caches',
    mitigatedBy: 'microcode (CVE-2023-20592)',
  },
  {
    id: 'A28',
    attack: 'WeSee: injects a #VC that did not happen',
    lacks: 'events',
    mitigatedBy: 'restricted injection; a strict handler (CVE-2024-25742)',
  },
  {
    id: 'A28',
    attack: 'Heckler: injects an int 0x80',
    lacks: 'events',
    mitigatedBy: 'restricted injection; a kernel that checks (CVE-2024-25744)',
  },
  {
    id: 'A29',
    attack: 'StackWarp: moves the stack pointer by a sibling thread',
    lacks: 'stack engine',
    mitigatedBy: 'microcode, SMT off (CVE-2025-29943)',
  },
];
