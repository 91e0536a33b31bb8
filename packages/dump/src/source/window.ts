import { fieldsOf, readBytes, type Source } from './source.ts';

const WINDOW = 0x4_0000;

/** Reads a source in large parts, for many small fields one after another. */
export class Window {
  readonly #source: Source;
  #start = 0;
  #fields: DataView = new DataView(new ArrayBuffer(0));

  constructor(source: Source) {
    this.#source = source;
  }

  /** The fields from `position` on, in a part of the source in which they begin at `offset`. */
  at(position: number, length: number): { fields: DataView; offset: number } {
    if (position < this.#start || position + length > this.#start + this.#fields.byteLength) {
      const part = Math.min(WINDOW, this.#source.size - position);
      this.#start = position;
      this.#fields = fieldsOf(readBytes(this.#source, position, part));
    }
    return { fields: this.#fields, offset: position - this.#start };
  }
}
