import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import { type LaunchPage, LaunchPageType } from '../formats/launch-digest.ts';

/** A page that SNP_LAUNCH_UPDATE has added, or a range of pages that are alike. */
interface LaunchedRange extends Required<Pick<LaunchPage, 'type' | 'gpa' | 'permissions' | 'imi'>> {
  /** The content of one page of 4 KiB; `undefined` for content that is not measured, and for zeros. */
  readonly bytes: Uint8Array | undefined;
  size: number;
}

/**
 * The pages that the firmware has added to a guest, in their order, with the content that was measured. The launch digest
 * follows from it: the firmware of a processor hashes each page at once, but the hash functions of JavaScript hosts are
 * asynchronous. Pages that follow each other and have no content of their own are one range.
 */
export class LaunchLog {
  readonly #ranges: LaunchedRange[] = [];

  /**
   * Adds 4 KiB, or a range without content. O(1).
   *
   * @param bytes - the content, if it is measured and not zero: the caller does not change it later
   */
  add(
    page: Omit<LaunchedRange, 'bytes' | 'size'>,
    bytes: Uint8Array | undefined,
    size: number = PAGE_SIZE,
  ): void {
    const last = this.#ranges.at(-1);
    const isNext =
      bytes === undefined &&
      last !== undefined &&
      last.bytes === undefined &&
      last.type === page.type &&
      last.imi === page.imi &&
      last.gpa + BigInt(last.size) === page.gpa &&
      last.permissions.every((mask, k) => mask === page.permissions[k]);
    if (isNext) last.size += size;
    else this.#ranges.push({ ...page, bytes, size });
  }

  /** The pages up to now, as `launchDigestOf` takes them. */
  pages(): Iterable<LaunchPage> {
    return pagesOf(this.#ranges.map((range) => ({ ...range })));
  }
}

function* pagesOf(ranges: readonly LaunchedRange[]): Generator<LaunchPage, undefined, undefined> {
  const zeros = new Uint8Array(PAGE_SIZE);
  for (const { bytes, size, ...page } of ranges) {
    if (bytes !== undefined) yield { ...page, bytes };
    else if (page.type === LaunchPageType.Zero || page.type === LaunchPageType.Unmeasured)
      yield { ...page, size };
    else {
      const isMeasured = page.type === LaunchPageType.Normal || page.type === LaunchPageType.Vmsa;
      const content = isMeasured ? { bytes: zeros } : {};
      for (let at = 0; at < size; at += PAGE_SIZE)
        yield { ...page, ...content, gpa: (page.gpa + BigInt(at)) as PhysAddr };
    }
  }
}
