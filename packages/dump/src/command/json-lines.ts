import { formatAddress } from '@svsm/address';
import { LeafBits } from '../view/entry-bits.ts';
import type { ReportRecord } from '../view/record.ts';
import type { Renderer } from './renderer.ts';

/** One JSON object a line. Values of up to 64 bits are text: `"0x…"`. */
export class JsonLines implements Renderer {
  readonly #bits: LeafBits = new LeafBits();

  render(record: ReportRecord): string {
    if (record.type !== 'leaf') return JSON.stringify(record, hex);
    const { flags, ...others } = record;
    return JSON.stringify({ ...others, bits: this.#bits.of(flags, record.pageSize) }, hex);
  }
}

function hex(_: string, value: unknown): unknown {
  if (value instanceof Uint8Array)
    return Array.from(value, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return typeof value === 'bigint' ? formatAddress(value) : value;
}
