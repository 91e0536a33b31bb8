import type { VirtAddr } from '@svsm/address';
import { ANY, BOOLEAN, Fields, optional, withMethods } from '../entry/fields.ts';
import { invalidArgument } from '../entry/invalid-argument.ts';
import type { MappedPage } from './walk.ts';

/** Options of an access. */
export interface AccessOptions {
  /** Whether accessed and dirty bits are set. `false` to look only. `true` if not given. */
  readonly update?: boolean;
  /**
   * Whether this is an implicit access of the processor, to a GDT, LDT, IDT or TSS. Such an access is in supervisor mode
   * at every CPL, and EFLAGS.AC does not permit it (Intel SDM vol. 3A, §4.6). `false` if not given.
   */
  readonly implicit?: boolean;
  /**
   * For an access to a shadow stack, whose address must be that of a shadow-stack page: `'current'` for one in the mode of
   * the processor (CALL, RET, INCSSP, WRSS), `'user'` for WRUSS, which is a user access at CPL 0. Not given for an ordinary
   * access. R/W of the leaf, CR0.WP, SMAP and NX have no effect on it; U/S of the page must be that of the access, exactly
   * (Intel SDM vol. 3A, §4.6; AMD64 APM vol. 2, §18.3).
   */
  readonly shadowStack?: 'current' | 'user';
  /**
   * Whether a walk that ends in a page fault sets accessed in the entries above the level of the fault. QEMU does this,
   * KVM does not, and the manuals leave it open (Intel SDM vol. 3A, §4.8). `false` if not given.
   */
  readonly accessedOnFault?: boolean;
  /**
   * A `Tlb` that receives the page if the access is allowed. None if not given. It may not call the page table: that throws
   * `BUSY`. If it throws, accessed and dirty are set already, and the access throws `CALLBACK_FAILED`.
   */
  readonly fill?: { insert(vaddr: VirtAddr, page: MappedPage): void };
}

const OPTIONS: Fields = /* @__PURE__ */ new Fields(
  'options',
  {
    update: /* @__PURE__ */ optional(BOOLEAN),
    implicit: /* @__PURE__ */ optional(BOOLEAN),
    shadowStack: ANY,
    accessedOnFault: /* @__PURE__ */ optional(BOOLEAN),
    fill: /* @__PURE__ */ optional(/* @__PURE__ */ withMethods('insert')),
  },
  invalidArgument,
);

/** @throws PageTableError `INVALID_ARGUMENT` */
export function requireAccessOptions(options: AccessOptions): void {
  if (!areSound(options)) OPTIONS.require(options);
}

/** The check of each access. {@link OPTIONS} finds out what is wrong. */
function areSound(options: AccessOptions): boolean {
  try {
    if (typeof options !== 'object' || options === null) return false;
    for (const name in options) {
      if (name === 'update') {
        if (!isSwitch(options.update)) return false;
      } else if (name === 'implicit') {
        if (!isSwitch(options.implicit)) return false;
      } else if (name === 'accessedOnFault') {
        if (!isSwitch(options.accessedOnFault)) return false;
      } else if (name === 'fill') {
        if (options.fill !== undefined && typeof options.fill.insert !== 'function') return false;
      } else if (name === 'shadowStack') {
        // Its value is checked with the access. It must be readable here.
        void options.shadowStack;
      } else return false;
    }
    return true;
  } catch {
    return false;
  }
}

function isSwitch(value: unknown): boolean {
  return value === undefined || typeof value === 'boolean';
}
