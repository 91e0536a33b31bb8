/** Each verdict: an export that earns it is caught, and one that keeps the rules is not. */
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { fuzz, type Report } from '../fuzz.ts';
import { type Callable, readSurface } from '../surface.ts';
import { type Finding, hasControl, hidesNumber, isCoded } from '../verdict.ts';

const at = (file: string): string => new URL(`fixtures/${file}`, import.meta.url).href;
const callables = readSurface([{ module: at('broken.js'), types: fileURLToPath(at('broken.d.ts')) }]);

let report: Report;

beforeAll(async () => {
  report = await fuzz({ callables, makers: at('makers.ts'), limit: 2000 });
}, 60_000);

function findingsOf(id: string): Finding[] {
  return report.findings.filter((finding) => finding.id === id);
}

function verdictsOf(id: string): string[] {
  return [...new Set(findingsOf(id).map(({ verdict }) => verdict))];
}

test('every export is found, with its accessors, its methods and the functions of objects', () => {
  expect(callables.map(({ id }: Callable) => id)).toEqual([
    'bare',
    'silent',
    'ignoresKeys',
    'hangs',
    'raw',
    'right',
    'isNumber',
    'later',
    'new Counter',
    'set Counter.step',
    'Counter.add',
    'Counter.addThenCheck',
    'Tools.lazy',
  ]);
});

test('an error without a code is bare', () => {
  expect(verdictsOf('bare')).toContain('bare');
  expect(findingsOf('bare').map(({ label }) => label)).toContain('text = undefined');
});

test('an error that an iterator throws later is found', () => {
  expect(findingsOf('Tools.lazy')).toContainEqual({
    verdict: 'bare',
    id: 'Tools.lazy',
    label: 'count = 0.5',
    seen: 'RangeError: late',
  });
});

test('a number for a bigint that is accepted is silent', () => {
  expect(findingsOf('silent')).toContainEqual({
    verdict: 'silent',
    id: 'silent',
    label: 'address = 0x1000',
    seen: '4096',
  });
  expect(findingsOf('silent').map(({ label }) => label)).not.toContain('address = -1n');
});

test('a setter and a promise that accept everything are silent', () => {
  expect(verdictsOf('set Counter.step')).toEqual(['silent']);
  expect(verdictsOf('later')).toEqual(['silent']);
});

test('a misspelt option that is ignored is silent', () => {
  expect(findingsOf('ignoresKeys').map(({ label }) => label)).toContain(
    'options has the unknown key "mispelt"',
  );
});

test('a call that does not return is a hang, and the calls after it are made', () => {
  expect(verdictsOf('hangs')).toEqual(['hang']);
  expect(findingsOf('hangs')).toEqual([
    { verdict: 'hang', id: 'hangs', label: 'text = 0.5', seen: 'no end within 2000 ms' },
  ]);
  expect(verdictsOf('later')).toEqual(['silent']);
});

test('a call that throws and changes the state is a change', () => {
  expect(verdictsOf('Counter.addThenCheck')).toEqual(['changed']);
  expect(findingsOf('Counter.add')).toEqual([]);
});

test('a control character in a message is found', () => {
  expect(
    findingsOf('raw')
      .filter(({ verdict }) => verdict === 'raw-control')
      .map(({ label }) => label),
  ).toEqual(['text = a control text']);
  expect(hasControl('a\u001b[31m')).toBe(true);
  expect(hasControl('a line')).toBe(false);
});

test('an export that keeps the rules has no finding, and a predicate answers everything', () => {
  expect(findingsOf('right')).toEqual([]);
  expect(findingsOf('isNumber')).toEqual([]);
  expect(findingsOf('new Counter')).toEqual([]);
});

test('an error of Node is bare, though it has a code', () => {
  let thrown: unknown;
  try {
    Buffer.from(5 as never);
  } catch (error) {
    thrown = error;
  }
  expect((thrown as { code: string }).code).toBe('ERR_INVALID_ARG_TYPE');
  expect(isCoded(thrown)).toBe(false);
});

test('a message that shows a number in place of a bigint as if it were right is caught, whatever words it has', () => {
  expect(hidesNumber('gpa cannot be 4096: pass a multiple of 4096')).toBe(true);
  expect(hidesNumber('-1 is not an address')).toBe(true);
  expect(hidesNumber('gpa cannot be the number 4096 (as a bigint: 4096n): pass a bigint')).toBe(false);
});
