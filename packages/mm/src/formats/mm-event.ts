import type { PhysAddr, VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import type { BootStep } from './boot-step.ts';

/** An event that the memory management reports after it has happened. An error of the receiver goes on to the caller. */
export type MmEvent =
  /** A step of the boot is done. `text` says in one line what it did. */
  | { readonly type: 'boot'; readonly step: BootStep; readonly text: string }
  /** Virtual addresses were mapped or unmapped by a guard. */
  | {
      readonly type: 'map' | 'unmap';
      readonly region: MemoryRegion<VirtAddr>;
      readonly phys: MemoryRegion<PhysAddr>;
    }
  /** Translations were dropped, of one processor or of all. Without a region: all of them. */
  | {
      readonly type: 'flush';
      readonly scope: 'local' | 'broadcast';
      readonly region: MemoryRegion<VirtAddr> | undefined;
    }
  /** Pages changed their visibility, or a change of it was undone, or pages were lost. */
  | {
      readonly type: 'share' | 'unshare' | 'rollback' | 'quarantine';
      readonly region: MemoryRegion<VirtAddr>;
    }
  /** A page fault was resolved. */
  | { readonly type: 'fault'; readonly region: MemoryRegion<VirtAddr> }
  /** A call of the guest was served: its number, and the result. */
  | { readonly type: 'call'; readonly call: number; readonly result: number };

/** The receiver of events. */
export type MmTrace = (event: MmEvent) => void;
