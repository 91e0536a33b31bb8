import { PageSize, Phys, type PhysAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { pageRegion, type SvsmMemory, type ValidatedPages, type Vmpl } from '@svsm/sev-snp';
import { regionArgument, requireInteger, requireIterable, requireMethods } from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';

/** The size of a page of the RMP. */
type RmpSize = typeof PageSize.Regular | typeof PageSize.Huge;
type Page = { readonly gpa: PhysAddr; readonly size: RmpSize; readonly isNew: boolean };

/**
 * Gives memory to the firmware that a level of the guest runs. Pages that are not validated are validated and cleared before the
 * level gets rights on them, in pages of 2 MiB where possible. Pages that the launch has validated keep their content: the
 * firmware's image. All or nothing: if a page is refused, rights and validations are taken back.
 *
 * O(pages); a page is mapped for the time of its change.
 *
 * @param memory - how the SVSM changes pages of the guest: `SvsmCore.memory`
 * @param record - the SVSM's record of validated pages
 * @param regions - whole 4 KiB pages of the guest
 * @param vmpl - the level; levels between it and VMPL0 get the rights, too
 * @throws MmError `INVALID_ARGUMENT`; `PAGE_REFUSED` with the page and the `SvsmResult`; SnpError `INVALID_ARGUMENT`
 */
export function launchFirmware(
  memory: SvsmMemory,
  record: ValidatedPages,
  regions: Iterable<MemoryRegion<PhysAddr>>,
  vmpl: Vmpl,
): void {
  requireMethods('the memory of the guest', memory, ['read', 'validate', 'grant', 'rescind', 'revoke']);
  requireMethods('the record', record, ['firstIn', 'firstMissingIn']);
  requireIterable('the regions', regions);
  requireInteger('the VMPL', vmpl, 0, 3);
  const whole = Array.from(regions, (region) => regionArgument('a region', region, Phys));
  const begun: Page[] = [];
  try {
    for (const region of whole) for (const page of pagesOf(region, record)) give(memory, page, vmpl, begun);
  } catch (error) {
    for (const page of begun.reverse()) takeBack(memory, record, page);
    throw error;
  }
}

function give(memory: SvsmMemory, page: Page, vmpl: Vmpl, begun: Page[]): void {
  const { gpa, size, isNew } = page;
  // A page on which the level has the rights already keeps them, whatever happens.
  if (!isNew && hasRights(memory, page, vmpl)) return;
  begun.push(page);
  const result = isNew ? memory.validate(gpa, size, vmpl) : memory.grant(gpa, size, vmpl);
  if (result === 0) return;
  if (size === PageSize.Regular) throw new MmError('PAGE_REFUSED', { gpa, size, result });
  // The RMP may have the 2 MiB in pages of 4 KiB.
  begun.pop();
  for (const part of partsOf(page)) give(memory, part, vmpl, begun);
}

function hasRights(memory: SvsmMemory, { gpa, size }: Page, vmpl: Vmpl): boolean {
  for (let offset = 0; offset < size; offset += PageSize.Regular)
    if (memory.read(gpa + BigInt(offset), 1, vmpl) === undefined) return false;
  return true;
}

/** Undoes what has happened to a page, which may be nothing. */
function takeBack(memory: SvsmMemory, record: ValidatedPages, page: Page): void {
  const { gpa, size, isNew } = page;
  const isThere = record.firstIn(pageRegion(gpa, size)) !== undefined;
  if (!isThere || (isNew ? memory.rescind(gpa, size) : memory.revoke(gpa, size)) === 0) return;
  if (size === PageSize.Huge) for (const part of partsOf(page)) takeBack(memory, record, part);
}

function partsOf(page: Page): Page[] {
  return Array.from({ length: page.size / PageSize.Regular }, (_, part) => ({
    ...page,
    gpa: (page.gpa + BigInt(part * PageSize.Regular)) as PhysAddr,
    size: PageSize.Regular,
  }));
}

/** The pages of a region, each either validated or not. O(parts + pages). */
function* pagesOf(region: MemoryRegion<PhysAddr>, record: ValidatedPages): Generator<Page> {
  for (let rest = region; !rest.isEmpty; ) {
    const validated = record.firstIn(rest);
    const isNew = validated !== rest.start;
    const end = (isNew ? validated : record.firstMissingIn(rest)) ?? rest.end;
    const part = MemoryRegion.fromAddresses(rest.kind, rest.start, end);
    for (const { start, pageSize, count } of part.pageRuns({ maxPageSize: PageSize.Huge })) {
      for (let page = 0; page < count; page += 1) {
        const gpa = (start + BigInt(page) * BigInt(pageSize)) as PhysAddr;
        yield { gpa, size: pageSize as RmpSize, isNew };
      }
    }
    if (end === region.end) return;
    rest = MemoryRegion.fromAddresses(rest.kind, end as PhysAddr, region.end);
  }
}
