import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, Virt, type VirtAddr } from '@svsm/address';
import { type MemoryRegion, virtRegion } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import type { Vcpu } from '../cpu/vcpu.ts';
import { PageOperation } from '../formats/ghcb-msr.ts';
import type { PscEntry } from '../formats/page-state-list.ts';
import { SnpError } from '../formats/snp-error.ts';
import type { Ghcb } from './ghcb.ts';
import { requestPageStates } from './page-state-change.ts';
import { type PrivatePage, rescindPage, validatePage } from './page-validation.ts';
import type { VisibilityOptions } from './page-visibility.ts';
import { pageRegion } from './validated-pages.ts';

/**
 * Makes a private region shared, as `makePageShared` does for a page. It works in pages of 2 MiB wherever the guest's
 * page table, the RMP and the bounds of the region allow it, and requests page state changes in lists through the GHCB.
 *
 * Before anything changes, all pages are checked, and large pages that the region cuts are split. If it throws later, the
 * pages whose validation was rescinded are neither private nor shared; `options.validated` tells which.
 *
 * O(pages of 2 MiB + pages of 4 KiB).
 *
 * @param table - the page table of the processor of `ghcb`
 * @param region - whole 4 KiB pages
 * @throws SnpError `INVALID_ARGUMENT`, `WRONG_MAPPING`, `NOT_VALIDATED`, `PVALIDATE_FAILED`, `PVALIDATE_UNCHANGED`,
 *   `VMGEXIT_FAILED`, `PSC_REFUSED`, `INVALID_PSC_RESPONSE`, `UNSUPPORTED_VMGEXIT`; PageTableError `OUT_OF_MEMORY`,
 *   `NO_FRAME_ALLOCATOR`; SnpFault
 */
export function makeRegionShared(
  ghcb: Ghcb,
  table: PageTable,
  region: MemoryRegion<VirtAddr>,
  { validated }: VisibilityOptions = {},
): void {
  const { vcpu } = ghcb;
  const pages = plan(table, region, false);
  for (const page of pages) validated?.requireAll(pageRegion(page.gpa, page.size));
  splitEdges(table, pages);
  const done = pages.flatMap((page) => rescindPage(vcpu, page, validated));
  requestPageStates(ghcb, entriesOf(done, PageOperation.Shared));
  setShared(vcpu, table, pages, true);
}

/**
 * Makes a shared region private and clears it, as `makePagePrivate` does for a page. Page sizes, lists and failures are
 * as for {@link makeRegionShared}.
 *
 * @throws SnpError `INVALID_ARGUMENT`, `WRONG_MAPPING`, `ALREADY_VALIDATED`, `PVALIDATE_FAILED`, `PVALIDATE_UNCHANGED`,
 *   `VMGEXIT_FAILED`, `PSC_REFUSED`, `INVALID_PSC_RESPONSE`, `UNSUPPORTED_VMGEXIT`; PageTableError `OUT_OF_MEMORY`,
 *   `NO_FRAME_ALLOCATOR`; SnpFault
 */
export function makeRegionPrivate(
  ghcb: Ghcb,
  table: PageTable,
  region: MemoryRegion<VirtAddr>,
  { validated }: VisibilityOptions = {},
): void {
  const { vcpu } = ghcb;
  const pages = plan(table, region, true);
  for (const page of pages) validated?.requireNone(pageRegion(page.gpa, page.size));
  splitEdges(table, pages);
  setShared(vcpu, table, pages, false);
  requestPageStates(ghcb, entriesOf(pages, PageOperation.Private));
  for (const page of pages) validatePage(vcpu, page, validated);
}

/** A page to change, in the largest size that its mapping, its address and the region allow. */
interface Page extends PrivatePage {
  /** The size of the page that maps it in the guest's table. */
  readonly mappedSize: PageSize;
}

function plan(table: PageTable, region: MemoryRegion<VirtAddr>, shared: boolean): Page[] {
  const { start, end } = region;
  if (start % BigInt(PAGE_SIZE) !== 0n || end % BigInt(PAGE_SIZE) !== 0n) {
    const expected = 'pass whole pages of 4096 bytes';
    throw new SnpError('INVALID_ARGUMENT', { what: 'the region', value: region.toString(), expected });
  }
  const pages: Page[] = [];
  for (let at: bigint = start; at < end; at += BigInt(pages.at(-1)!.size)) {
    const gva = Virt.address(at);
    const page = table.lookup(gva);
    const name = (is: boolean): string => (is ? 'shared' : 'private');
    if (page?.shared !== shared) {
      const found = page === undefined ? 'not mapped' : name(page.shared);
      throw new SnpError('WRONG_MAPPING', { gva, expected: name(shared), found });
    }
    const huge = BigInt(PAGE_SIZE_2M);
    const isHuge = page.size !== PageSize.Regular && at % huge === 0n && end - at >= huge;
    const size = isHuge ? PageSize.Huge : PageSize.Regular;
    pages.push({ gva, gpa: page.paddr, size, mappedSize: page.size });
  }
  return pages;
}

/** Splits the mapped pages that are larger than the change. This comes first, since it can run out of frames. */
function splitEdges(table: PageTable, pages: readonly Page[]): void {
  for (const { gva, size, mappedSize } of pages) {
    // The change is of 4 KiB, or of a part of 1 GiB, which becomes 4 KiB pages.
    if (size === PageSize.Regular || mappedSize === PageSize.Giant) table.split4k(gva);
  }
}

function* entriesOf(pages: Iterable<Page>, operation: PageOperation): Generator<PscEntry> {
  for (const { gpa, size } of pages) yield { gpa, operation, pageSize: size, donePages: 0, reserved: 0 };
}

/** Changes the C-bit of every page, and flushes each. */
function setShared(vcpu: Vcpu, table: PageTable, pages: readonly Page[], shared: boolean): void {
  for (const { gva, size, mappedSize } of pages) {
    const region = virtRegion(gva, size);
    if (shared) table.setSharedRegion(region);
    else table.setEncryptedRegion(region);
    // INVLPG drops a page of any size that holds the address.
    const step = mappedSize === PageSize.Huge ? size : PAGE_SIZE;
    for (let k = 0; k < size; k += step) vcpu.invlpg((gva + BigInt(k)) as VirtAddr);
  }
}
