import type { ReportRecord } from '../view/record.ts';

/** An output format. */
export interface Renderer {
  /** The line or lines of a record, or `undefined` if the format has none for it. Call it for the records in their order. */
  render(record: ReportRecord): string | undefined;
}
