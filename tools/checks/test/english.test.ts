/** Documents, comments, messages and test titles avoid patterns that are not idiomatic English. */
import { describe, expect, test } from 'vitest';
import {
  areaOf,
  type Finding,
  findingsIn,
  findingsOf,
  proseFiles,
  proseOfMarkdown,
  proseOfSource,
} from '../english.ts';

const files = proseFiles();
const areas = [...new Set(files.map(areaOf))].sort();
const findings = Map.groupBy(files.flatMap(findingsIn), ({ at }) => areaOf(at));

test.each(areas)('%s has no findings', (area) => {
  const found = findings.get(area) ?? [];
  const places = found.map(({ at, pattern, excerpt }) => `${at}: …${excerpt}… (${pattern.instead})`);
  expect(places).toEqual([]);
});

describe('a finding', () => {
  const places = (found: readonly Finding[]): string[] =>
    found.map(({ at, pattern: { name } }) => `${at} ${name}`);
  // The texts below have `_` in place of a space, or this file would have findings.
  const markdown = (text: string): string[] =>
    places(findingsOf(proseOfMarkdown(text.replaceAll('_', ' ')), 'a.md'));
  const source = (text: string): string[] =>
    places(findingsOf(proseOfSource(text.replaceAll('_', ' ')), 'a.ts'));

  test('in a document names the line on which it begins', () => {
    expect(markdown('One.\n\nA level that there_is\nnot.\n')).toEqual(['a.md:3 `that there is not`']);
    expect(markdown('```text\nIt is_no address.\n```\n')).toEqual(['a.md:2 `is no X`']);
  });

  test('in a source is in a comment or in text', () => {
    expect(source('const a = 1;\n/**\n *_What it is. That is_no\n * name. */\n')).toEqual([
      'a.ts:3 `is no X`',
      'a.ts:2 `/** What`',
    ]);
    expect(source("f('0x1 is_no address');")).toEqual(['a.ts:1 `is no X`']);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the source of a template
    expect(source('f(`${x} is_no address`);\ng();')).toEqual(['a.ts:1 `is no X`']);
    expect(source('// One\n// that_is\n// none.\n')).toEqual(['a.ts:2 `that is none`']);
  });

  test('is neither good English, nor code, nor quoted', () => {
    expect(markdown('It is_no longer there. There is_no page. It is_no more than 4. `it is_no x`')).toEqual(
      [],
    );
    expect(markdown('A level `that\nthere_is not` one.')).toEqual([]);
    expect(source('const is_no = /is_no x/; // `is_no x`')).toEqual([]);
    expect(source('/** Whatever it is. */')).toEqual([]);
  });
});
