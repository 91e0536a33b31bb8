import { Buffer } from 'node:buffer';
import { type LaunchPage, LaunchPageType, launchPageSize } from '@svsm/sev-snp';
import type { Launch } from './launch.ts';

/** Adjacent pages of one type and with equal permissions. */
interface PageRange {
  readonly type: string;
  /** The address of the first page. */
  readonly gpa: bigint;
  /** In bytes; for VMSAs, which share an address, of all of them. */
  readonly size: number;
  /** The masks of VMPL1 to VMPL3. */
  readonly permissions: readonly [number, number, number];
  /** Whether the digest covers the bytes. */
  readonly measured: boolean;
}

/** The pages in their order, adjacent ones as one range. */
function rangesOf(pages: readonly LaunchPage[]): PageRange[] {
  const ranges: PageRange[] = [];
  for (const page of pages) {
    const range = rangeOf(page);
    const last = ranges.at(-1);
    if (last !== undefined && follows(last, range))
      ranges[ranges.length - 1] = { ...last, size: last.size + range.size };
    else ranges.push(range);
  }
  return ranges;
}

function rangeOf(page: LaunchPage): PageRange {
  const { type, gpa, permissions = [0, 0, 0] } = page;
  const name = Object.entries(LaunchPageType)
    .find(([, value]) => value === type)![0]
    .toUpperCase();
  const measured = type === LaunchPageType.Normal || type === LaunchPageType.Vmsa;
  return { type: name, gpa, size: launchPageSize(page), permissions, measured };
}

function follows(last: PageRange, next: PageRange): boolean {
  const at = last.type === 'VMSA' ? last.gpa : last.gpa + BigInt(last.size);
  return last.type === next.type && next.gpa === at && last.permissions.join() === next.permissions.join();
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const address = (gpa: bigint): string => `0x${gpa.toString(16).padStart(12, '0')}`;

/** The digest, after a table of the pages if asked for. */
export function text({ name, pages, digest }: Launch, withPages: boolean): string {
  if (!withPages) return hex(digest);
  const rows = rangesOf(pages).map(({ type, gpa, size, permissions, measured }) =>
    [
      address(gpa),
      String(size / 4096).padStart(7),
      type.padEnd(10),
      permissions.map((mask) => mask.toString(16)).join(' '),
      measured ? 'bytes' : '-',
    ].join('  '),
  );
  const count = pages.reduce((sum, page) => sum + launchPageSize(page) / 4096, 0);
  return [
    `# ${name}: ${count} pages of 4 KiB, in the order of the launch`,
    '# address         pages  type        VMPL1-3  measured',
    ...rows,
    hex(digest),
  ].join('\n');
}

/** One object: the digest, the expected one, and the pages. */
export function json({ name, pages, digest, expected }: Launch): string {
  const ranges = rangesOf(pages).map((range) => ({ ...range, gpa: address(range.gpa) }));
  const value = {
    name,
    digest: hex(digest),
    expected: expected === undefined ? null : hex(expected),
    pages: ranges,
  };
  return JSON.stringify(value, undefined, 2);
}
