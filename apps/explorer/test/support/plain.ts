import type { Frame } from '../../src/model/frame.ts';

/** A frame as plain data: maps as arrays, entries as texts. */
export function plainOf(frame: Frame): unknown {
  const { tables, rmp, nested, heap, cached } = frame;
  return {
    root: tables.root,
    tables: [...tables.tables].map(([at, words]) => [at, words.join()]).sort(),
    rmp: [...rmp.regions],
    nested,
    heap,
    cached,
  };
}
