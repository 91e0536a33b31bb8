import { describe, expect, test } from 'vitest';
import { CPU_SIGNATURES, cpuSignature } from '../../src/formats/cpu-signature.ts';
import { codeOf } from '../support/world.ts';

// L12
test.each<[string, number, number, number]>([
  ['EPYC', 23, 1, 2],
  ['EPYC-Rome', 23, 49, 0],
  ['EPYC-Milan', 25, 1, 1],
  ['EPYC-Genoa', 25, 17, 0],
  ['EPYC-Turin', 26, 0, 0],
])('%s has family %i, model %i, stepping %i', (name, family, model, stepping) => {
  expect(cpuSignature(family, model, stepping)).toBe(CPU_SIGNATURES[name as 'EPYC']);
});

test('each part has its bits', () => {
  expect(cpuSignature(0, 0, 0)).toBe(0);
  expect(cpuSignature(15, 0, 0)).toBe(0xf00);
  expect(cpuSignature(270, 0, 0)).toBe(0xff0_0f00);
  expect(cpuSignature(6, 0xff, 15)).toBe(0xf_06ff);
});

describe('refuses', () => {
  test.each<[string, [number, number, number]]>([
    ['a family above 270', [271, 0, 0]],
    ['a model above 255', [0, 256, 0]],
    ['a stepping above 15', [0, 0, 16]],
    ['a negative family', [-1, 0, 0]],
    ['half a model', [0, 0.5, 0]],
  ])('%s', (_, parts) => {
    expect(codeOf(() => cpuSignature(...parts))).toBe('INVALID_ARGUMENT');
  });
});
