/** Every constant of the package against a literal that is typed out from its source. */
import { globSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { EXITS } from '../support/literals/exits.ts';
import { FIRMWARE } from '../support/literals/firmware.ts';
import { GHCB } from '../support/literals/ghcb.ts';
import { IMAGES } from '../support/literals/images.ts';
import { constantsOf, type Literal, type LiteralTable } from '../support/literals/literal.ts';
import { MODEL } from '../support/literals/model.ts';
import { RMP } from '../support/literals/rmp.ts';
import { SVSM } from '../support/literals/svsm.ts';
import { VMSA } from '../support/literals/vmsa.ts';
import { VMSA_LAYOUT } from '../support/literals/vmsa-layout.ts';

const TABLES: Readonly<Record<string, LiteralTable>> = {
  EXITS,
  FIRMWARE,
  GHCB,
  IMAGES,
  MODEL,
  RMP,
  SVSM,
  VMSA,
  VMSA_LAYOUT,
};
const LITERALS: readonly Literal[] = Object.values(TABLES).flatMap(({ literals }) => literals);

/** The constants that other tests hold whole, and lists of the fields of a type: their types say the same again. */
const HELD_ELSEWHERE = /^(ERRORS_OF|GHCB_MSR_TYPES|LAUNCH_OPTIONS|VCPU_OPTIONS)\b/;
/** Storage that several files compute with. */
const STORAGE = /^HALVES\b/;

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));

/** Every constant that a file of the package exports, public or not. */
const EXPORTED: ReadonlyMap<string, unknown> = new Map(
  (
    await Promise.all(
      globSync('**/*.ts', { cwd: SRC }).map(async (file) => constantsOf(await import(`${SRC}${file}`))),
    )
  )
    .flat()
    .filter(([path]) => !HELD_ELSEWHERE.test(path) && !STORAGE.test(path)),
);

describe.each(Object.entries(TABLES))('%s', (_, { source, literals }) => {
  test.each(literals)(`%s (${source})`, (path, value) => {
    expect(EXPORTED.has(path), 'no file of src exports this constant').toBe(true);
    expect(EXPORTED.get(path)).toEqual(value);
  });
});

test('every exported constant has a literal', () => {
  const pinned = new Set(LITERALS.map(([path]) => path));
  const missing = [...EXPORTED.keys()].filter((path) => !pinned.has(path));
  expect(missing, 'type these out from their source in test/support/literals').toEqual([]);
  expect(pinned.size).toBeGreaterThan(400);
});

test('no constant has two literals, and each names its place in the source', () => {
  const paths = LITERALS.map(([path]) => path);
  expect(paths.filter((path, i) => paths.indexOf(path) !== i)).toEqual([]);
  expect(LITERALS.filter(([, , name]) => name === '')).toEqual([]);
});
