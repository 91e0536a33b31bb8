import { formatAddress, PageSize } from '@svsm/address';
import { setBits } from './entry-bits.ts';
import type { DumpWalkRecord } from './record.ts';
import type { Renderer } from './renderer.ts';

const LEVELS: Readonly<Record<PageSize, number>> = {
  [PageSize.Regular]: 0,
  [PageSize.Huge]: 1,
  [PageSize.Giant]: 2,
};

/** One JSON object a line. What may have 64 bits is text, as `"0x…"`. */
export class JsonLines implements Renderer {
  render(record: DumpWalkRecord): string {
    if (record.type !== 'leaf') return JSON.stringify(record, hex);
    const { flags, ...others } = record;
    const bits = setBits(flags, { level: LEVELS[record.pageSize], leaf: true });
    return JSON.stringify({ ...others, bits }, hex);
  }
}

function hex(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? formatAddress(value) : value;
}
