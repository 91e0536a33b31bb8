import type { DumpWalkRecord } from './record.ts';

/** A form of output. */
export interface Renderer {
  /** The line or lines of a record, or `undefined` if this form has none for it. Records come in their order. */
  render(record: DumpWalkRecord): string | undefined;
}
