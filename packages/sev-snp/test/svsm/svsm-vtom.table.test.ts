/** CONFIGURE_VTOM: each combination of the bits of RCX, and each end of the offered range. */
import { expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { readVmsa, SevFeature } from '../../src/formats/vmsa.ts';
import { configureVtom } from '../../src/svsm/svsm-vtom.ts';

const { InvalidAddress, InvalidParameter, InvalidRequest, Success } = SvsmResult;
const STEP = 1n << 21n;
const offered = { min: 1n << 40n, max: 1n << 41n };
const FIELDS = ['sevFeatures', 'virtualTom', 'cr3', 'rip', 'rsp'] as const;
const [RDX, R8, R9] = [0x5000n, 0x6000n, 0x7000n];

function configured(rcx: bigint, options: { before?: bigint; range?: typeof offered | undefined } = {}) {
  const before = options.before ?? 0n;
  const sevFeatures = before === 0n ? 1n : 1n | SevFeature.VirtualTom;
  const image = createVmsa({ sevFeatures, virtualTom: before, control: { cr3: 0x1000n }, rip: 2n, rsp: 3n });
  const registers = { rax: 0n, rcx, rdx: RDX, r8: R8, r9: R9 };
  const result = configureVtom(registers, 'range' in options ? options.range : offered, image, 'RDX');
  return { result, fields: FIELDS.map((field) => readVmsa(image, field)), registers };
}

// SVSM call 7
test('loads the fields whose bits are set, and no others', () => {
  for (let bits = 0n; bits < 8n; bits += 1n) {
    const loaded = [bits & 1n ? RDX : 0x1000n, bits & 2n ? R8 : 2n, bits & 4n ? R9 : 3n];
    for (const top of [offered.min, offered.min + STEP, offered.max]) {
      const { result, fields } = configured(top | 2n | (bits << 2n));
      expect([result, ...fields]).toEqual([Success, 3n, top, ...loaded]);
    }
    const { result, fields } = configured(bits << 2n, { before: offered.max });
    expect([result, ...fields]).toEqual([Success, 1n, 0n, ...loaded]);
  }
});

// SVSM call 7
test.each<[string, bigint, number]>([
  ['below the range', (offered.min - STEP) | 2n, InvalidAddress],
  ['above the range', (offered.max + STEP) | 2n, InvalidAddress],
  ['misaligned by a page', (offered.min + 0x1000n) | 2n, InvalidParameter],
  ['without the enable bit', offered.min, InvalidParameter],
  ['without the enable bit, with loads', offered.min | 0x1cn, InvalidParameter],
  ...[5n, 6n, 7n, 8n, 9n, 10n, 11n].map((bit): [string, bigint, number] => [
    `with reserved bit ${bit}`,
    offered.min | 2n | (1n << bit),
    InvalidParameter,
  ]),
])('%s: nothing changes', (_, rcx, result) => {
  const before = configured(1n).fields;
  expect(configured(rcx)).toMatchObject({
    result,
    fields: before,
    registers: { rcx, rdx: RDX, r8: R8, r9: R9 },
  });
});

// SVSM call 7
test('without an offered range, or without a VMSA, a configuration is an invalid request', () => {
  expect(configured(offered.min | 2n, { range: undefined }).result).toBe(InvalidRequest);
  expect(configured(0n, { range: undefined }).result).toBe(InvalidRequest);
  const registers = { rax: 0n, rcx: offered.min | 2n, rdx: 0n, r8: 0n, r9: 0n };
  expect(configureVtom(registers, offered, undefined, 'RDX')).toBe(InvalidRequest);
});

// SVSM call 7
test('a query has the range, in RDX or in RCX', () => {
  const query = (minimumIn: 'RDX' | 'RCX', range: typeof offered | undefined, rcx = 1n) => {
    const registers = { rax: 0n, rcx, rdx: RDX, r8: R8, r9: R9 };
    const result = configureVtom(registers, range, undefined, minimumIn as never);
    return [result, registers.rcx, registers.rdx, registers.r8];
  };
  const answer = 2n | (21n << 12n);
  expect(query('RDX', offered)).toEqual([Success, answer, offered.min, offered.max]);
  expect(query('RCX', offered)).toEqual([Success, answer | offered.min, RDX, offered.max]);
  expect(query('RDX', undefined)).toEqual([Success, 0n, RDX, R8]);
  for (const rcx of [3n, 5n, offered.min | 1n])
    expect(query('RDX', offered, rcx)).toEqual([InvalidParameter, rcx, RDX, R8]);
});
