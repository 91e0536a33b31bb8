import { formatAddress } from '@svsm/address';
import type { ReportRecord } from '../view/record.ts';
import type { Renderer } from './renderer.ts';

/** Runs of printable ASCII are texts from this length on, as in the program strings. */
const SHORTEST = 4;
/** A longer text is printed in parts. */
const LONGEST = 4096;

/** Prints the texts in bytes, each with its address. A text may cross pages. */
export class Strings implements Renderer {
  #start = 0n;
  #next = -1n;
  #text = '';

  render(record: ReportRecord): string | undefined {
    if (record.type === 'end' || record.type === 'gap') return this.#end();
    if (record.type !== 'content') return undefined;
    const lines: string[] = [];
    const end = (): void => {
      const line = this.#end();
      if (line !== undefined) lines.push(line);
    };
    if (record.vaddr !== this.#next) end();
    for (const [i, byte] of record.bytes.entries()) {
      const isPrintable = byte >= 0x20 && byte < 0x7f;
      if (!isPrintable || this.#text.length === LONGEST) end();
      if (!isPrintable) continue;
      if (this.#text === '') this.#start = record.vaddr + BigInt(i);
      this.#text += String.fromCharCode(byte);
    }
    this.#next = record.vaddr + BigInt(record.bytes.length);
    return lines.length === 0 ? undefined : lines.join('\n');
  }

  #end(): string | undefined {
    const text = this.#text;
    this.#text = '';
    return text.length < SHORTEST ? undefined : `${formatAddress(this.#start)} ${text}`;
  }
}
