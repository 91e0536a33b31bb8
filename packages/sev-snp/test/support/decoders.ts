import { PAGE_SIZE, physAddr } from '@svsm/address';
import { stateOfVmsa } from '../../src/cpu/vcpu-state.ts';
import { decodeCpuidPage } from '../../src/formats/cpuid-page.ts';
import { decodeGhcbMsr } from '../../src/formats/ghcb-msr.ts';
import { GHCB_BUFFER, GHCB_FIELDS, type GhcbField, GhcbPage } from '../../src/formats/ghcb-page.ts';
import { decodeIgvmFile } from '../../src/formats/igvm-file.ts';
import { decodeOvmfImage } from '../../src/formats/ovmf-image.ts';
import { decodePscEntry, decodePscHeader } from '../../src/formats/page-state-list.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import { decodeRmpEntry } from '../../src/formats/raw-rmp-entry.ts';
import { decodeRmpState } from '../../src/formats/rmp-state.ts';
import { decodeSecretsPage } from '../../src/formats/secrets-page.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import { decodeSvsmListEntry, decodeSvsmListHeader, svsmEntrySize } from '../../src/formats/svsm-protocol.ts';
import { decodeSwapRecord } from '../../src/formats/swap-record.ts';
import { readVmsa, VMSA_FIELDS, type VmsaField } from '../../src/formats/vmsa.ts';
import { decodeApCreation } from '../../src/guest/ap-creation.ts';
import { readGhcbRequest } from '../../src/host/ghcb-service.ts';
import { processPageStateChange } from '../../src/host/page-state-service.ts';

/** Bytes in the middle of a buffer. The bytes around them must neither matter nor change. */
interface Sample {
  readonly buffer: Uint8Array;
  readonly bytes: Uint8Array;
}

/** The number of guard bytes on each side. */
const GUARD = 64;

function sampleOf(content: Uint8Array, guard: number): Sample {
  const buffer = new Uint8Array(content.length + 2 * GUARD).fill(guard);
  buffer.set(content, GUARD);
  return { buffer, bytes: buffer.subarray(GUARD, GUARD + content.length) };
}

const quadword = (bytes: Uint8Array, at: number): bigint => {
  let value = 0n;
  for (let k = 7; k >= 0; k -= 1) value = (value << 8n) | BigInt(bytes[at + k] ?? 0);
  return value;
};

/** A page over `bytes` that refuses accesses outside of them. */
function pageOf(bytes: Uint8Array): GhcbPage {
  return new GhcbPage({
    read: (offset, length) => {
      if (offset < 0 || offset + length > bytes.length)
        throw new RangeError(`reads ${length} bytes at ${offset}`);
      return bytes.slice(offset, offset + length);
    },
    write: (offset, from) => {
      if (offset < 0 || offset + from.length > bytes.length) throw new RangeError(`writes beyond ${offset}`);
      bytes.set(from, offset);
    },
  });
}

/** Every decoder of the package, with the length of its input. It can be called with another length. */
export const DECODERS: Readonly<
  Record<string, { readonly length: number; readonly decode: (bytes: Uint8Array) => unknown }>
> = {
  decodeGhcbMsr: { length: 8, decode: (bytes) => decodeGhcbMsr(quadword(bytes, 0)) },
  decodeRmpEntry: {
    length: 16,
    decode: (bytes) => {
      const entry = decodeRmpEntry({ low: quadword(bytes, 0), high: quadword(bytes, 8) });
      return [entry, pageStateOf(entry)];
    },
  },
  decodeRmpState: { length: 16, decode: decodeRmpState },
  decodePscHeader: { length: 8, decode: decodePscHeader },
  decodePscEntry: { length: 8, decode: decodePscEntry },
  decodeSvsmListHeader: { length: 8, decode: decodeSvsmListHeader },
  decodeSvsmListEntry: {
    length: 8,
    decode: (bytes) => {
      const entry = decodeSvsmListEntry(bytes);
      return [entry, svsmEntrySize(entry)];
    },
  },
  decodeApCreation: {
    length: 24,
    decode: (bytes) => decodeApCreation(quadword(bytes, 0), quadword(bytes, 8), quadword(bytes, 16)),
  },
  decodeCpuidPage: { length: PAGE_SIZE, decode: decodeCpuidPage },
  decodeIgvmFile: { length: 64, decode: decodeIgvmFile },
  decodeOvmfImage: { length: PAGE_SIZE, decode: decodeOvmfImage },
  decodeSecretsPage: { length: PAGE_SIZE, decode: decodeSecretsPage },
  decodeSwapRecord: { length: 64, decode: decodeSwapRecord },
  stateOfVmsa: { length: PAGE_SIZE, decode: (bytes) => stateOfVmsa(bytes, 0n as never) },
  readVmsa: {
    length: PAGE_SIZE,
    decode: (bytes) => Object.keys(VMSA_FIELDS).map((field) => readVmsa(bytes, field as VmsaField)),
  },
  GhcbPage: {
    length: PAGE_SIZE,
    decode: (bytes) => {
      const page = bytes.length === PAGE_SIZE ? pageOf(bytes) : GhcbPage.over(bytes);
      const fields = Object.keys(GHCB_FIELDS).map((field) => page.get(field as GhcbField));
      return [fields, page.readBuffer(0, GHCB_BUFFER.size), readGhcbRequest(page, physAddr(0))];
    },
  },
  processPageStateChange: {
    length: PAGE_SIZE,
    decode: (bytes) => {
      const page = bytes.length === PAGE_SIZE ? pageOf(bytes) : GhcbPage.over(bytes);
      // Any place in the buffer: the guest chooses it.
      const start = 8 * ((bytes[0] ?? 0) % (GHCB_BUFFER.size / 8));
      return processPageStateChange(page, start, () => (bytes[1] ?? 0) & 1, 16);
    },
  },
};

/** The outcome of a decoder: a value, or the code of its `SnpError`. Other errors are thrown on. */
function outcomeOf(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): unknown {
  try {
    return decode(bytes);
  } catch (error) {
    if (isSnpError(error)) return error.code;
    throw error;
  }
}

const text = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part)) ?? 'undefined';

/** Random content for a decoder: mostly of its length, now and then of another; sparse or dense. */
export function randomContent(length: number, random: (end: number) => number): Uint8Array {
  const actual = random(8) === 0 ? random(length + 16) : length;
  const content = new Uint8Array(actual);
  const density = random(3);
  const count = density === 0 ? 8 : actual;
  for (let k = 0; k < count; k += 1) content[density === 0 ? random(actual || 1) : k] = random(256);
  return content;
}

/** The problem of a decoder with `content`, or `undefined`. */
export function decoderProblem(name: string, content: Uint8Array): string | undefined {
  const { decode } = DECODERS[name]!;
  const [a, b] = [sampleOf(content, 0x00), sampleOf(content, 0xff)];
  const [first, second] = [outcomeOf(decode, a.bytes), outcomeOf(decode, b.bytes)];
  if (text(first) !== text(second)) return `${name} depends on bytes around its input`;
  for (const [{ buffer }, guard] of [
    [a, 0x00],
    [b, 0xff],
  ] as const) {
    const around = [...buffer.subarray(0, GUARD), ...buffer.subarray(buffer.length - GUARD)];
    if (around.some((byte) => byte !== guard)) return `${name} writes outside of its input`;
  }
  return undefined;
}
