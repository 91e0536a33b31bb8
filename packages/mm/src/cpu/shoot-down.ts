import { PAGE_SIZE_2M, PageSize, showInConsoles, type VirtAddr } from '@svsm/address';
import type { MemoryRegion } from '@svsm/memory-region';
import { InvlpgbFlag, invlpgb, type Tlb } from '@svsm/pagetable';
import type { Vcpu } from '@svsm/sev-snp';
import {
  readArgument,
  requireInstance,
  requireInteger,
  requireOneOf,
  requireOptionalFunction,
  requireOptions,
  virtRegionArgument,
} from '../formats/arguments.ts';
import type { MmTrace } from '../formats/mm-event.ts';

/** A processor with a TLB that can be flushed. `PerCpu` is one. */
export interface FlushTarget {
  readonly vcpu: Vcpu;
  readonly tlb: Tlb;
}

/** Options of a {@link ShootDown}. */
export interface ShootDownOptions {
  /** The number of pages above which a broadcast flushes everything, as in COCONUT-SVSM: 256 if not given. */
  readonly fullFlushThreshold?: number;
  /**
   * The number of pages above which a flush of one processor flushes everything: 33 if not given, as in Linux
   * (`arch/x86/mm/tlb.c`, `tlb_single_page_flush_ceiling`). One INVLPG drops one page.
   */
  readonly localFullFlushThreshold?: number;
  /** CPUID Fn8000_0008 EDX[15:0]: the number of pages after the first that one INVLPGB names. 7 if not given. */
  readonly invlpgbCountMax?: number;
  readonly trace?: MmTrace | undefined;
}

const OPTIONS: readonly (keyof ShootDownOptions)[] = [
  'fullFlushThreshold',
  'localFullFlushThreshold',
  'invlpgbCountMax',
  'trace',
];

/** The flushes so far. */
export interface FlushCounts {
  /** Flushes of one processor, and of all processors. */
  readonly local: number;
  readonly broadcast: number;
  /** INVLPG and INVLPGB instructions, full flushes included. */
  readonly instructions: number;
  /** Flushes of everything. */
  readonly full: number;
}

/**
 * Drops translations: on one processor by INVLPG, or on all of them by INVLPGB and TLBSYNC (AMD64 APM vol. 3). What is flushed
 * is dropped when the call returns. It counts.
 */
export class ShootDown {
  static {
    showInConsoles(this, 'ShootDown', ({ counts }) => ({ counts }));
  }

  readonly #targets: Set<FlushTarget> = new Set();
  readonly #threshold: number;
  readonly #localThreshold: number;
  readonly #countMax: number;
  readonly #trace: MmTrace | undefined;
  readonly #counts: { -readonly [Count in keyof FlushCounts]: number } = {
    local: 0,
    broadcast: 0,
    instructions: 0,
    full: 0,
  };

  /** Without processors: {@link add} them. @throws MmError `INVALID_ARGUMENT` */
  constructor(options: ShootDownOptions = {}) {
    requireOptions('options', options, OPTIONS);
    const { fullFlushThreshold = 256, localFullFlushThreshold = 33, invlpgbCountMax = 7, trace } = options;
    requireInteger('fullFlushThreshold', fullFlushThreshold, 0);
    requireInteger('localFullFlushThreshold', localFullFlushThreshold, 0);
    requireInteger('invlpgbCountMax', invlpgbCountMax, 0, 0xffff);
    requireOptionalFunction('trace', trace);
    this.#threshold = fullFlushThreshold;
    this.#localThreshold = localFullFlushThreshold;
    this.#countMax = invlpgbCountMax;
    this.#trace = trace;
  }

  /** The flushes so far. */
  get counts(): FlushCounts {
    return { ...this.#counts };
  }

  /** Makes a processor hear broadcasts: before it loads a page table. @throws MmError `INVALID_ARGUMENT` */
  add(target: FlushTarget): void {
    requireTarget(target);
    this.#targets.add(target);
  }

  /** Ends that: when the processor uses no page table any more. @throws MmError `INVALID_ARGUMENT` */
  remove(target: FlushTarget): void {
    requireTarget(target);
    this.#targets.delete(target);
  }

  /**
   * Drops the translations of a region, or all, on one processor. O(pages), at most the threshold.
   *
   * @param pageSize - the size of the pages that map it: one INVLPG drops a page of any size
   * @throws MmError `INVALID_ARGUMENT`
   */
  local(
    target: Pick<FlushTarget, 'vcpu'>,
    region?: MemoryRegion<VirtAddr>,
    pageSize: PageSize = PageSize.Regular,
  ): void {
    const vcpu = readArgument('the processor', target, 'pass an object with vcpu', () => target.vcpu);
    requireInstance('vcpu', vcpu, 'Vcpu');
    const range = regionOf(region, pageSize);
    const pages = range?.pageCount(pageSize) ?? Number.POSITIVE_INFINITY;
    this.#counts.local += 1;
    if (range === undefined || pages > this.#localThreshold) {
      this.#counts.full += 1;
      this.#counts.instructions += 1;
      vcpu.flushTlb();
    } else {
      for (const page of range.iterPages(pageSize)) {
        this.#counts.instructions += 1;
        vcpu.invlpg(page);
      }
    }
    this.#trace?.({ type: 'flush', scope: 'local', region: range });
  }

  /**
   * Drops the translations of a region, or all, on all processors. O(processors · pages), at most the threshold.
   *
   * @param pageSize - the size of the pages that map it, 4 KiB or 2 MiB
   * @throws MmError `INVALID_ARGUMENT`
   */
  broadcast(region?: MemoryRegion<VirtAddr>, pageSize: PageSize = PageSize.Regular): void {
    const range = regionOf(region, pageSize);
    const stride = pageSize === PageSize.Regular ? PageSize.Regular : PageSize.Huge;
    const pages = range?.pageCount(stride) ?? Number.POSITIVE_INFINITY;
    this.#counts.broadcast += 1;
    if (range === undefined || pages > this.#threshold) {
      this.#counts.full += 1;
      this.#instruction(InvlpgbFlag.IncludeGlobal, 0, undefined);
    } else {
      const most = this.#countMax + 1;
      for (let done = 0; done < pages; done += most) {
        const start = (range.start + BigInt(done) * BigInt(stride)) as VirtAddr;
        const count = Math.min(most, pages - done) - 1;
        const ecx = (count | (stride === PAGE_SIZE_2M ? 0x8000_0000 : 0)) >>> 0;
        this.#instruction(start | InvlpgbFlag.Va | InvlpgbFlag.IncludeGlobal, ecx, start);
      }
    }
    this.#trace?.({ type: 'flush', scope: 'broadcast', region: range });
  }

  /** One INVLPGB for the guest's ASID. All TLBs hear it before the machine reports it. */
  #instruction(rax: bigint, ecx: number, gva: VirtAddr | undefined): void {
    this.#counts.instructions += 1;
    let machine: { trace(event: { type: 'flush'; gva: bigint | undefined }): void } | undefined;
    for (const { vcpu, tlb } of this.#targets) {
      const { asid } = vcpu.guest;
      const registers = { rax: BigInt.asUintN(64, rax | InvlpgbFlag.Asid), ecx, edx: asid };
      invlpgb(tlb, registers, { asid, maxCount: this.#countMax });
      machine ??= vcpu.guest.machine;
    }
    machine?.trace({ type: 'flush', gva });
  }
}

/** @throws MmError `INVALID_ARGUMENT` */
function requireTarget(target: FlushTarget): void {
  const expected = 'pass an object with vcpu and tlb';
  const { vcpu, tlb } = readArgument('the processor', target, expected, () => {
    const parts: FlushTarget = { vcpu: target.vcpu, tlb: target.tlb };
    return parts;
  });
  requireInstance('vcpu', vcpu, 'Vcpu');
  requireInstance('tlb', tlb, 'Tlb');
}

/** The region of a flush, made of pages of a size that exists. @throws MmError `INVALID_ARGUMENT` */
function regionOf(
  region: MemoryRegion<VirtAddr> | undefined,
  pageSize: PageSize,
): MemoryRegion<VirtAddr> | undefined {
  requireOneOf('the page size', pageSize, Object.values(PageSize));
  return region === undefined ? undefined : virtRegionArgument('the region', region);
}
