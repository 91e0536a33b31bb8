import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeCpuidPage, encodeCpuidPage } from '../../src/formats/cpuid-page.ts';
import { decodeGhcbMsr, encodeGhcbMsr } from '../../src/formats/ghcb-msr.ts';
import { GHCB_FIELDS, type GhcbField, GhcbPage } from '../../src/formats/ghcb-page.ts';
import { encodePageInfo } from '../../src/formats/launch-digest.ts';
import {
  decodePscEntry,
  decodePscHeader,
  encodePscEntry,
  encodePscHeader,
} from '../../src/formats/page-state-list.ts';
import { decodeRmpEntry, encodeRmpEntry } from '../../src/formats/raw-rmp-entry.ts';
import { decodeRmpState, encodeRmpState } from '../../src/formats/rmp-state.ts';
import { announceSvsm, decodeSecretsPage } from '../../src/formats/secrets-page.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import {
  decodeSvsmListEntry,
  decodeSvsmListHeader,
  encodeSvsmListEntry,
  encodeSvsmListHeader,
} from '../../src/formats/svsm-protocol.ts';
import { decodeSwapRecord, encodeSwapRecord } from '../../src/formats/swap-record.ts';
import { readVmsa, VMSA_FIELDS, type VmsaField, writeVmsa } from '../../src/formats/vmsa.ts';

/*
 * The law of encoders: what fits comes back, `decode(encode(x))` is `x`; what does not fit in one field is refused with a
 * coded error that names the field.
 */

/** The values of a field that fit: unsigned integers of so many bits, pages below a power of two, or of one of these. */
type Range = { bits: number; wide?: true } | { page: number } | { bytes: number } | readonly unknown[];

const FLAG = [true, false] as const;
const SIZE = [0x1000, 0x20_0000] as const;

interface Format {
  readonly fields: Readonly<Record<string, Range>>;
  readonly encode: (value: never) => unknown;
  readonly decode: (encoded: never) => object;
}

const svsmOf = (svsm: object): Uint8Array => {
  const page = new Uint8Array(4096);
  announceSvsm(page, svsm as never);
  return page;
};

const FORMATS: Readonly<Record<string, Format>> = {
  RmpEntry: {
    fields: {
      assigned: FLAG,
      pageSize: SIZE,
      immutable: FLAG,
      subpageCount: { bits: 9 },
      gpa: { page: 51 },
      asid: { bits: 10 },
      vmsa: FLAG,
      validated: FLAG,
      vmplMasks: { bytes: 4 },
      lock: FLAG,
      upper: { bits: 32 },
    },
    encode: encodeRmpEntry,
    decode: decodeRmpEntry,
  },
  RmpState: {
    fields: {
      gpa: { bits: 64, wide: true },
      assigned: FLAG,
      pageSize: SIZE,
      immutable: FLAG,
      asid: { bits: 32 },
      regionStatus: FLAG,
    },
    encode: encodeRmpState,
    decode: decodeRmpState,
  },
  PscHeader: {
    fields: { current: { bits: 16 }, end: { bits: 16 }, reserved: { bits: 32 } },
    encode: encodePscHeader,
    decode: decodePscHeader,
  },
  PscEntry: {
    fields: {
      gpa: { page: 52 },
      operation: { bits: 4 },
      pageSize: SIZE,
      donePages: { bits: 12 },
      reserved: { bits: 7 },
    },
    encode: encodePscEntry,
    decode: decodePscEntry,
  },
  SvsmListHeader: {
    fields: { count: { bits: 16 }, next: { bits: 16 } },
    encode: encodeSvsmListHeader,
    decode: decodeSvsmListHeader,
  },
  SvsmListEntry: {
    fields: {
      gpa: { page: 64 },
      size: { bits: 2 },
      validate: FLAG,
      ignoreUnchanged: FLAG,
      reserved: { bits: 8 },
    },
    encode: encodeSvsmListEntry,
    decode: decodeSvsmListEntry,
  },
  SwapRecord: {
    fields: {
      softwareData: { bits: 64, wide: true },
      iv: { bits: 64, wide: true },
      tag: { bytes: 16 },
      valid: FLAG,
      validated: FLAG,
      vmsa: FLAG,
      metadata: FLAG,
      pageSize: SIZE,
      gpa: { page: 52 },
      vmplMasks: { bytes: 4 },
    },
    encode: encodeSwapRecord,
    decode: decodeSwapRecord,
  },
  CpuidEntry: {
    fields: {
      eaxIn: { bits: 32 },
      ecxIn: { bits: 32 },
      xcr0: { bits: 64, wide: true },
      xss: { bits: 64, wide: true },
      eax: { bits: 32 },
      ebx: { bits: 32 },
      ecx: { bits: 32 },
      edx: { bits: 32 },
    },
    encode: (entry) => encodeCpuidPage([entry]),
    decode: (page) => decodeCpuidPage(page)[0] as object,
  },
  SvsmLocation: {
    fields: {
      base: { bits: 64, wide: true },
      size: { bits: 64, wide: true },
      callingArea: { bits: 64, wide: true },
      maxVersion: { bits: 32 },
      guestVmpl: [1, 2, 3],
    },
    encode: svsmOf,
    decode: (page) => decodeSecretsPage(page).svsm ?? { size: 0n },
  },
  PageStateRequest: {
    fields: { type: ['page-state-request'], gpa: { page: 52 }, operation: [1, 2] },
    encode: encodeGhcbMsr,
    decode: decodeGhcbMsr,
  },
  Terminate: {
    fields: { type: ['terminate'], reasonSet: { bits: 4 }, reason: { bits: 8 } },
    encode: encodeGhcbMsr,
    decode: decodeGhcbMsr,
  },
  PageInfo: {
    fields: { type: { bits: 8 }, gpa: { page: 64 }, imi: FLAG, permissions: { bytes: 3 } },
    encode: (info: object) =>
      encodePageInfo({ digest: new Uint8Array(48), contents: new Uint8Array(48), ...info } as never, {
        pageInfoMasks: 'vmpl1-first',
      }),
    decode: (bytes: Uint8Array) => ({
      type: bytes[0x62],
      gpa: new DataView(bytes.buffer).getBigUint64(0x68, true),
      imi: bytes[0x63] === 1,
      permissions: bytes.slice(0x65, 0x68),
    }),
  },
};

function fitting(range: Range): fc.Arbitrary<unknown> {
  if (Array.isArray(range)) return fc.constantFrom(...(range as readonly unknown[]));
  if ('page' in range) {
    return fc.bigInt({ min: 0n, max: (1n << BigInt(range.page - 12)) - 1n }).map((frame) => frame << 12n);
  }
  if ('bytes' in range) {
    const { bytes } = range;
    return fc.uint8Array({ minLength: bytes, maxLength: bytes });
  }
  const { bits, wide } = range as { bits: number; wide?: true };
  return wide === true
    ? fc.bigInt({ min: 0n, max: (1n << BigInt(bits)) - 1n })
    : fc.nat({ max: 2 ** bits - 1 });
}

function unfitting(range: Range): fc.Arbitrary<unknown> {
  const others = fc.constantFrom<unknown>(
    undefined,
    null,
    'x',
    -1,
    -1n,
    0.5,
    Number.NaN,
    {},
    Number.POSITIVE_INFINITY,
  );
  if (Array.isArray(range)) return fc.oneof(others, fc.constantFrom(16, 0x1001, 0x4000_0000, 'none'));
  if ('page' in range) {
    return fc.oneof(others, fc.constantFrom(1n << BigInt(range.page), 0x1001n, 1n, -0x1000n, 0x1000));
  }
  if ('bytes' in range) {
    const { bytes } = range;
    const lengths = fc.constantFrom(0, bytes - 1, bytes + 1).map((length) => new Uint8Array(length));
    return fc.oneof(others, lengths, fc.constant(Array.from({ length: bytes }, () => 256)));
  }
  const { bits, wide } = range as { bits: number; wide?: true };
  const end = 1n << BigInt(bits);
  return wide === true
    ? fc.oneof(others, fc.bigInt({ min: end, max: end << 8n }), fc.constant(1))
    : fc.oneof(others, fc.integer({ min: Number(end), max: Number(end) * 4 }), fc.constant(1n));
}

describe.each(Object.entries(FORMATS))('%s', (_, { fields, encode, decode }) => {
  const record = fc.record(
    Object.fromEntries(Object.entries(fields).map(([name, range]) => [name, fitting(range)])),
  );

  test('what fits comes back', () => {
    fc.assert(
      fc.property(record, (value) => {
        const found = decode(encode(value as never) as never) as Record<string, unknown>;
        if (found['size'] === 0n && 'guestVmpl' in fields) return;
        for (const name of Object.keys(fields)) {
          const [given, got] = [value[name], found[name]];
          if (given instanceof Uint8Array) expect([...(got as Uint8Array)]).toEqual([...given]);
          else expect(got, name).toBe(given);
        }
      }),
    );
  });

  test.each(Object.keys(fields).filter((name) => name !== 'type' || !Array.isArray(fields[name])))(
    'what does not fit is refused: %s',
    (name) => {
      fc.assert(
        fc.property(record, unfitting(fields[name] as Range), (value, wrong) => {
          let error: unknown;
          try {
            encode({ ...value, [name]: wrong } as never);
          } catch (caught) {
            error = caught;
          }
          // A field that is not given has its default.
          if (wrong === undefined && 'permissions' in fields && ['imi', 'permissions'].includes(name)) return;
          expect(isSnpError(error), String(error)).toBe(true);
          const { code, details } = error as { code: string; details: object };
          if (code === 'INVALID_MESSAGE') expect(details).toMatchObject({ field: name });
          else expect(code).toBe('INVALID_ARGUMENT');
        }),
      );
    },
  );
});

test('a GHCB MSR of an unknown type is 64 bits, and of no other type', () => {
  expect(encodeGhcbMsr({ type: 'unknown', value: 0xfff_ffffn })).toBe(0xfff_ffffn);
  for (const message of [
    { type: 'unknown', value: 1n << 64n },
    { type: 'unknown', value: 7 },
    { type: 'none' },
  ]) {
    expect(() => encodeGhcbMsr(message as never)).toThrow(/INVALID_MESSAGE/);
  }
});

// Each field of the pages that are written field by field.
test('a field of a VMSA or of a GHCB comes back, or is refused', () => {
  const vmsa = new Uint8Array(4096);
  for (const [field, [, size]] of Object.entries(VMSA_FIELDS)) {
    const greatest = field === 'cpl' ? 3n : (1n << BigInt(8 * size)) - 1n;
    writeVmsa(vmsa, field as VmsaField, greatest);
    expect(readVmsa(vmsa, field as VmsaField)).toBe(greatest);
    for (const wrong of [greatest + 1n, -1n, 1, undefined, '1']) {
      expect(() => writeVmsa(vmsa, field as VmsaField, wrong as bigint)).toThrow(/INVALID_MESSAGE/);
    }
  }
  for (const [field, [, size]] of Object.entries(GHCB_FIELDS)) {
    const page = GhcbPage.over();
    const greatest = (1n << BigInt(8 * size)) - 1n;
    page.set(field as GhcbField, greatest);
    expect(page.get(field as GhcbField)).toBe(greatest);
    for (const wrong of [greatest + 1n, -1n, 1, undefined, '1']) {
      expect(() => page.set(field as GhcbField, wrong as bigint)).toThrow(/INVALID_MESSAGE/);
    }
  }
});
