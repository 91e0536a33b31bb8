/** A value of a constant. */
export type LiteralValue = number | bigint | string | boolean | undefined | readonly LiteralValue[];

/**
 * A constant as its source has it: the path of the export, the value typed out from the source, and the name or place
 * there.
 */
export type Literal = readonly [path: string, value: LiteralValue, name: string];

/** The literals of one protocol, with the documents that they are typed out from. */
export interface LiteralTable {
  readonly source: string;
  readonly literals: readonly Literal[];
}

/** The literals under one export: `[member, value, name]` each. */
export function under(
  path: string,
  members: readonly (readonly [member: string, value: LiteralValue, name: string])[],
): Literal[] {
  return members.map(([member, value, name]) => [`${path}.${member}`, value, name]);
}

/** Every constant in `exports`: the path and value of each leaf. Functions and classes are not constants. */
export function constantsOf(exports: object, path = ''): [path: string, value: unknown][] {
  return Object.entries(exports).flatMap(([name, value]): [string, unknown][] => {
    const at = path === '' ? name : `${path}.${name}`;
    if (typeof value === 'function') return [];
    const isBranch = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isBranch ? constantsOf(value as object, at) : [[at, value]];
  });
}
