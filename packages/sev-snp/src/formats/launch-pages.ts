import { PAGE_SIZE } from '@svsm/address';
import { refuseArgument, requireIterable } from './arguments.ts';
import {
  LaunchDigest,
  type LaunchPage,
  LaunchPageType,
  type PageInfoAssumptions,
  requireLaunchPage,
  type Sha384,
} from './launch-digest.ts';

/**
 * The launch digest of pages: what an attestation report of the guest has as its measurement. O(bytes), and one hash for
 * each 4 KiB.
 *
 * @param from - the digest after pages before these; 48 zeros if not given
 * @returns 48 bytes
 * @throws SnpError as {@link LaunchDigest.update}, in the promise
 */
export async function launchDigestOf(
  pages: Iterable<LaunchPage>,
  sha384: Sha384,
  from?: Uint8Array,
  assumptions: PageInfoAssumptions = {},
): Promise<Uint8Array> {
  const digest = new LaunchDigest(sha384, from, assumptions);
  requireIterable('pages', pages);
  for (const page of pages) await digest.update(page);
  return digest.value;
}

/**
 * The number of bytes of guest memory that a page, or a range of pages, covers.
 *
 * @throws SnpError `INVALID_ARGUMENT` if a field has another type, or does not exist; `INVALID_MESSAGE` if the permissions or
 *   `imi` do not fit
 */
export function launchPageSize(page: LaunchPage): number {
  return sizeOf(requireLaunchPage(page));
}

function sizeOf({ bytes, size }: LaunchPage): number {
  return bytes?.length ?? size ?? PAGE_SIZE;
}

/**
 * Checks that no page is added twice: the firmware refuses a page that is not in state PRE-GUEST. VMSAs share an address.
 * O(n log n).
 *
 * @throws SnpError `INVALID_ARGUMENT` if two pages overlap
 */
export function requireApart(pages: readonly LaunchPage[]): void {
  const ranges = pages
    .filter(({ type }) => type !== LaunchPageType.Vmsa)
    .map((page) => ({ start: page.gpa, end: page.gpa + BigInt(sizeOf(page)) }))
    .sort((a, b) => (a.start < b.start ? -1 : 1));
  for (const [k, { start }] of ranges.entries())
    if (k > 0 && start < ranges[k - 1]!.end)
      refuseArgument('the address of a page', start, 'pass pages that do not overlap');
}

/** @throws SnpError `INVALID_ARGUMENT` if it is not a number of processors that KVM launches */
export function requireCount(vcpus: number): void {
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > 4096)
    refuseArgument('the number of processors', vcpus, 'pass an integer from 1 to 4096');
}
