/**
 * Called during long work, once an item: `done` of `total` items are done, of which `what` is the name in the plural. `total` is
 * `undefined` if it is not known.
 */
export type OnProgress = (done: number, total: number | undefined, what: string) => void;
