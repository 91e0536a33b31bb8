/** The GHCB MSR, typed out from Linux arch/x86/include/asm/sev-common.h, EDK2 SevSnpMsr.h and OpenVMM `GhcbInfo`. */
import { physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import {
  decodeGhcbMsr,
  encodeGhcbMsr,
  GHCB_MSR_TYPES,
  type GhcbMsrMessage,
} from '../../src/formats/ghcb-msr.ts';
import { setBits } from '../support/bits.ts';
import { codeOf, thrownBy } from '../support/world.ts';

type Kind = 'number' | 'bigint' | 'page' | 'page or none';
type Row = readonly [
  type: Exclude<GhcbMsrMessage['type'], 'unknown'>,
  info: bigint,
  name: string,
  fields: readonly (readonly [field: string, kind: Kind, high: number, low: number])[],
];

// GHCB MSR 0x000, GHCB MSR 0x001, GHCB MSR 0x002, GHCB MSR 0x003, GHCB MSR 0x004, GHCB MSR 0x005,
// GHCB MSR 0x006, GHCB MSR 0x007, GHCB MSR 0x010, GHCB MSR 0x011, GHCB MSR 0x012, GHCB MSR 0x013,
// GHCB MSR 0x014, GHCB MSR 0x015, GHCB MSR 0x016, GHCB MSR 0x017, GHCB MSR 0x080, GHCB MSR 0x081,
// GHCB MSR 0x100, GHCB MSR 0xF00
const TABLE: readonly Row[] = [
  ['ghcb', 0x000n, 'NORMAL', [['gpa', 'page', 63, 12]]],
  [
    'sev-info',
    0x001n,
    'GHCB_MSR_SEV_INFO_RESP',
    [
      ['maxVersion', 'number', 63, 48],
      ['minVersion', 'number', 47, 32],
      ['cBit', 'number', 31, 24],
    ],
  ],
  ['sev-info-request', 0x002n, 'GHCB_MSR_SEV_INFO_REQ', []],
  ['ap-jump-table-request', 0x003n, 'AP_JUMP_TABLE', [['value', 'bigint', 63, 12]]],
  [
    'cpuid-request',
    0x004n,
    'GHCB_MSR_CPUID_REQ',
    [
      ['leaf', 'number', 63, 32],
      ['register', 'number', 31, 30],
    ],
  ],
  [
    'cpuid',
    0x005n,
    'GHCB_MSR_CPUID_RESP',
    [
      ['value', 'number', 63, 32],
      ['register', 'number', 31, 30],
    ],
  ],
  ['ap-reset-hold-request', 0x006n, 'GHCB_MSR_AP_RESET_HOLD_REQ', []],
  ['ap-reset-hold', 0x007n, 'GHCB_MSR_AP_RESET_HOLD_RESP', [['value', 'bigint', 63, 12]]],
  ['preferred-ghcb-request', 0x010n, 'PREFERRED_REQUEST', []],
  ['preferred-ghcb', 0x011n, 'PREFERRED_RESPONSE', [['gpa', 'page or none', 63, 12]]],
  ['register-ghcb-request', 0x012n, 'GHCB_MSR_REG_GPA_REQ', [['gpa', 'page', 63, 12]]],
  ['register-ghcb', 0x013n, 'GHCB_MSR_REG_GPA_RESP', [['gpa', 'page or none', 63, 12]]],
  [
    'page-state-request',
    0x014n,
    'GHCB_MSR_PSC_REQ',
    [
      ['gpa', 'page', 51, 12],
      ['operation', 'number', 55, 52],
    ],
  ],
  ['page-state', 0x015n, 'GHCB_MSR_PSC_RESP', [['error', 'number', 63, 32]]],
  ['run-vmpl-request', 0x016n, 'GHCB_MSR_VMPL_REQ', [['vmpl', 'number', 39, 32]]],
  ['run-vmpl', 0x017n, 'GHCB_MSR_VMPL_RESP', [['error', 'number', 63, 32]]],
  ['features-request', 0x080n, 'GHCB_MSR_HV_FT_REQ', []],
  ['features', 0x081n, 'GHCB_MSR_HV_FT_RESP', [['features', 'bigint', 63, 12]]],
  [
    'terminate',
    0x100n,
    'GHCB_MSR_TERM_REQ',
    [
      ['reasonSet', 'number', 15, 12],
      ['reason', 'number', 23, 16],
    ],
  ],
  ['hyperv-hypercall', 0xf00n, 'SPECIAL_HYPERCALL', [['value', 'bigint', 63, 12]]],
  ['hyperv-fast-call', 0xf01n, 'SPECIAL_FAST_CALL', [['value', 'bigint', 63, 12]]],
  ['hyperv-output', 0xf02n, 'HYPERCALL_OUTPUT', [['value', 'bigint', 63, 12]]],
  ['hyperv-debug-print', 0xf03n, 'SPECIAL_DBGPRINT', [['value', 'bigint', 63, 12]]],
];

/** The greatest value of a field of so many bits, and the distance of two values. */
const greatest = (kind: Kind, bits: bigint): bigint => ((1n << bits) - 1n) * unitOf(kind);
const unitOf = (kind: Kind): bigint => (kind.startsWith('page') ? 0x1000n : 1n);
const typed = (kind: Kind, value: bigint): number | bigint => (kind === 'number' ? Number(value) : value);

function message([type, , , fields]: Row, values: Readonly<Record<string, number | bigint>> = {}) {
  const zeros = Object.fromEntries(fields.map(([field, kind]) => [field, typed(kind, 0n)]));
  return { type, ...zeros, ...values } as unknown as GhcbMsrMessage;
}

describe.each(TABLE)('%s, code 0x%x (%s)', (...row) => {
  const [, info, , fields] = row;

  test('has its code in bits 11:0', () => {
    expect(encodeGhcbMsr(message(row))).toBe(info);
  });

  test.each(fields)('its field %s is a %s in bits %i:%i', (field, kind, high, low) => {
    const max = greatest(kind, BigInt(high - low + 1));
    const value = encodeGhcbMsr(message(row, { [field]: typed(kind, max) }));
    expect(setBits(value ^ info)).toBe(`${high}:${low}`);
    const over = typed(kind, max + unitOf(kind));
    expect(codeOf(() => encodeGhcbMsr(message(row, { [field]: over })))).toBe('INVALID_MESSAGE');
  });

  test('every single bit outside of its fields makes it another message, or none', () => {
    const used = new Set(
      fields.flatMap(([, , high, low]) => Array.from({ length: high - low + 1 }, (_, i) => low + i)),
    );
    const valid = row[0] === 'page-state-request' ? info | (1n << 52n) : info;
    expect(decodeGhcbMsr(valid).type).toBe(row[0]);
    for (let bit = 0; bit < 64; bit += 1) {
      const { type } = decodeGhcbMsr(valid ^ (1n << BigInt(bit)));
      if (!used.has(bit)) expect(type, `bit ${bit}`).not.toBe(row[0]);
    }
  });

  test('a greatest value decodes to itself, or to none', () => {
    for (const [field, kind, high, low] of fields) {
      const max = typed(kind, greatest(kind, BigInt(high - low + 1)));
      const decoded = decodeGhcbMsr(encodeGhcbMsr(message(row, { [field]: max })));
      if (kind === 'page or none') expect(decoded).toEqual({ type: row[0], gpa: undefined });
      else if (kind === 'page' && row[0] !== 'page-state-request') expect(decoded.type).toBe('unknown');
      else expect(decoded).toEqual(message(row, { [field]: max }));
    }
  });
});

// GHCB MSR 0x000, GHCB MSR 0x014
test('an address is below 2^52, and an operation has 4 bits', () => {
  const last = 0xf_ffff_ffff_f000n;
  expect(decodeGhcbMsr(last)).toEqual({ type: 'ghcb', gpa: last });
  expect(decodeGhcbMsr(last + 0x1000n)).toEqual({ type: 'unknown', value: last + 0x1000n });
  for (let operation = 0; operation < 16; operation += 1) {
    const message = { type: 'page-state-request', gpa: 0x1000n, operation };
    expect(decodeGhcbMsr((BigInt(operation) << 52n) | 0x1014n)).toEqual(message);
  }
});

test.each<[GhcbMsrMessage, object]>([
  [
    { type: 'ghcb', gpa: physAddr(0x1001) },
    {
      field: 'gpa',
      value: 0x1001n,
      expected: 'pass a multiple of 4096 from 0 to 0xfffffffffffff000 as a bigint',
    },
  ],
  [
    { type: 'run-vmpl-request', vmpl: 256 },
    { field: 'vmpl', value: 256, expected: 'pass an integer from 0 to 0xff' },
  ],
])('a refused field is named, with its value and its limits: %o', (refused, details) => {
  expect(thrownBy(() => encodeGhcbMsr(refused))?.details).toEqual(details);
});

test('the types of messages are those of the table, and unknown', () => {
  expect(GHCB_MSR_TYPES).toEqual([...TABLE.map(([type]) => type), 'unknown']);
});
