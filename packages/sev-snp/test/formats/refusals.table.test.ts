import { physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import {
  readArgument,
  requireBoolean,
  requireCount,
  requireFunction,
  requireInstance,
  requireInteger,
  requireIterable,
  requireMethods,
  requireOneOf,
  requireRmpPageSize,
  requireUint64,
  requireWhole,
} from '../../src/formats/arguments.ts';
import {
  copyOfBytes,
  fieldsOf,
  requireBits,
  requireBytes,
  requireFit,
  requireFlags,
  requireLength,
  requirePageAddress,
  requirePageSize,
  writeFields,
} from '../../src/formats/byte-fields.ts';
import { cpuSignature } from '../../src/formats/cpu-signature.ts';
import { decodeCpuidPage, encodeCpuidPage } from '../../src/formats/cpuid-page.ts';
import { ghcbExitFormat, readGhcbRegisters, writeGhcbRegisters } from '../../src/formats/ghcb-exits.ts';
import { decodeGhcbMsr, encodeGhcbMsr } from '../../src/formats/ghcb-msr.ts';
import { GhcbPage, ghcbValidBit } from '../../src/formats/ghcb-page.ts';
import { ImageBytes } from '../../src/formats/image-bytes.ts';
import { encodeKernelHashes, hashKernel } from '../../src/formats/kernel-hashes.ts';
import { optional, requireFields, requireOptions } from '../../src/formats/options.ts';
import {
  decodePscEntry,
  decodePscHeader,
  encodePscEntry,
  encodePscHeader,
  pscEntriesOf,
} from '../../src/formats/page-state-list.ts';
import { decodeRmpEntry, encodeRmpEntry } from '../../src/formats/raw-rmp-entry.ts';
import {
  flatRmpCoverage,
  flatRmpEntryAddress,
  type SegmentedRmp,
  segmentedRmpEntryAddress,
} from '../../src/formats/rmp-location.ts';
import { rmpResultName } from '../../src/formats/rmp-result-name.ts';
import { decodeRmpState, encodeRmpState } from '../../src/formats/rmp-state.ts';
import { announceSvsm, decodeSecretsPage, encodeSecretsPage } from '../../src/formats/secrets-page.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import {
  decodeSvsmListEntry,
  decodeSvsmListHeader,
  encodeSvsmListEntry,
  encodeSvsmListHeader,
} from '../../src/formats/svsm-protocol.ts';
import { decodeSwapRecord, encodeSwapRecord } from '../../src/formats/swap-record.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { readVmsa, writeVmsa } from '../../src/formats/vmsa.ts';
import { thrownBy } from '../support/world.ts';

/** A value that throws whatever is asked of it. */
const { proxy: unreadable, revoke } = Proxy.revocable([], {});
revoke();
const never = unreadable as never;
const page = GhcbPage.over();
const hash = new Uint8Array(32);
const fields = { byte: [0, 1], quad: [8, 8] } as const;
const image = new ImageBytes(new Uint8Array(16));

const spa = sysPhysAddr(0);
const segmented = (change: Partial<SegmentedRmp>) =>
  segmentedRmpEntryAddress(spa, { base: 0n, segmentShift: 30, read: () => 1n, ...change });
const cpuid = { eaxIn: 0, ecxIn: 0, xcr0: 0n, xss: 0n, eax: 0, ebx: 0, ecx: 0, edx: 0 };
const zero = physAddr(0);
const svsm = { base: zero, size: 0x1000n, callingArea: zero, maxVersion: 1, guestVmpl: 1 } as const;
const secrets = {
  version: 3,
  imi: false,
  familyModelStepping: 0,
  vmpcks: [hash, hash, hash, hash],
  vmsaTweakBitmap: new Uint8Array(64),
  svsm: undefined,
  tscFactor: 0,
} as const;

type Row = readonly [message: string, call: () => unknown];

const ROWS: readonly Row[] = [
  // arguments
  ['x cannot be 1: pass a boolean [INVALID_ARGUMENT]', () => requireBoolean('x', 1)],
  ['x cannot be undefined: pass a boolean [INVALID_ARGUMENT]', () => requireBoolean('x', undefined)],
  ['x cannot be 1: pass an integer from 2 on [INVALID_ARGUMENT]', () => requireInteger('x', 1, 2)],
  [
    'x cannot be 9007199254740992: pass an integer from 2 on [INVALID_ARGUMENT]',
    () => requireInteger('x', 2 ** 53, 2),
  ],
  ['x cannot be 5: pass an integer from 2 to 4 [INVALID_ARGUMENT]', () => requireInteger('x', 5, 2, 4)],
  ['x cannot be 2.5: pass an integer from 2 to 4 [INVALID_ARGUMENT]', () => requireInteger('x', 2.5, 2, 4)],
  ['x cannot be 0x3: pass an integer from 2 to 4 [INVALID_ARGUMENT]', () => requireInteger('x', 3n, 2, 4)],
  [
    'x cannot be the number 1 (as a bigint: 1n): pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => requireUint64('x', 1),
  ],
  ['x cannot be -0x1: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]', () => requireUint64('x', -1n)],
  [
    'x cannot be 0x10000000000000000: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => requireUint64('x', 1n << 64n),
  ],
  ['x cannot be a value of type object: pass a function [INVALID_ARGUMENT]', () => requireFunction('x', {})],
  ['x cannot be 3: pass one of 1, 2 [INVALID_ARGUMENT]', () => requireOneOf('x', 3, [1, 2])],
  ['x cannot be 0.5: pass an integer [INVALID_ARGUMENT]', () => requireWhole('x', 0.5)],
  ['x cannot be 0x1: pass an integer [INVALID_ARGUMENT]', () => requireWhole('x', 1n)],
  [
    'the page size cannot be 1073741824: pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => requireRmpPageSize(0x4000_0000),
  ],
  [
    'x cannot be a value of type object: pass a Map [INVALID_ARGUMENT]',
    () => requireInstance('x', {}, Map, 'a Map'),
  ],
  [
    'x cannot be a value of type object: pass a Map [INVALID_ARGUMENT]',
    () => requireInstance('x', unreadable, Map, 'a Map'),
  ],
  [
    'x cannot be a value of type object: pass an object with the methods a, b [INVALID_ARGUMENT]',
    () => requireMethods('x', { a: () => 1, b: 1 }, ['a', 'b']),
  ],
  [
    'x cannot be null: pass an object with the methods a [INVALID_ARGUMENT]',
    () => requireMethods('x', null, ['a']),
  ],
  [
    'x cannot be a value of type function: pass an object with the methods call [INVALID_ARGUMENT]',
    () => requireMethods('x', () => 1, ['call']),
  ],
  [
    'x cannot be a value of type object: pass an object with the methods a [INVALID_ARGUMENT]',
    () => requireMethods('x', unreadable, ['a']),
  ],
  ['x cannot be 7: pass y [INVALID_ARGUMENT]', () => readArgument('x', 7, 'pass y', () => never[0])],
  [
    'x cannot be a value of type object: pass an array or another iterable [INVALID_ARGUMENT]',
    () => requireIterable('x', {} as never),
  ],
  [
    'x cannot be "text": pass an array or another iterable [INVALID_ARGUMENT]',
    () => requireIterable('x', 'text'),
  ],
  [
    'x cannot be null: pass an array or another iterable [INVALID_ARGUMENT]',
    () => requireIterable('x', null as never),
  ],
  [
    'x cannot be a value of type object: pass an array or another iterable [INVALID_ARGUMENT]',
    () => requireIterable('x', never),
  ],
  ['x cannot be 1: pass an integer from 2 on, or Infinity [INVALID_ARGUMENT]', () => requireCount('x', 1, 2)],
  [
    'x cannot be 0.5: pass an integer from 0 on, or Infinity [INVALID_ARGUMENT]',
    () => requireCount('x', 0.5),
  ],
  [
    'x cannot be -Infinity: pass an integer from 0 on, or Infinity [INVALID_ARGUMENT]',
    () => requireCount('x', Number.NEGATIVE_INFINITY),
  ],
  ['x cannot be 0x2: pass an integer from 0 on, or Infinity [INVALID_ARGUMENT]', () => requireCount('x', 2n)],
  // options
  [
    'a name in the options cannot be "c": pass only options that exist: a, b [INVALID_ARGUMENT]',
    () => requireOptions('the options', { a: 1, c: 2 }, ['a', 'b']),
  ],
  [
    'the options cannot be null: pass an object with the options a, b [INVALID_ARGUMENT]',
    () => requireOptions('the options', null as never, ['a', 'b']),
  ],
  [
    'the options cannot be "a": pass an object with the options a, b [INVALID_ARGUMENT]',
    () => requireOptions('the options', 'a' as never, ['a', 'b']),
  ],
  [
    'the options cannot be a value of type object: pass an object with the options a, b [INVALID_ARGUMENT]',
    () => requireOptions('the options', never, ['a', 'b']),
  ],
  // byte-fields
  [
    'the message cannot be null: pass an object with the fields a, b [INVALID_MESSAGE]',
    () => fieldsOf('the message', null as never, ['a', 'b']),
  ],
  [
    'the message cannot be "a": pass an object with the fields a, b [INVALID_MESSAGE]',
    () => fieldsOf('the message', 'a' as never, ['a', 'b'] as never),
  ],
  [
    'the message cannot be a value of type object: pass an object with the fields a, b [INVALID_MESSAGE]',
    () => fieldsOf('the message', never, ['a', 'b']),
  ],
  [
    'the fields cannot be undefined: pass an object with the fields byte, quad [INVALID_MESSAGE]',
    () => writeFields(new Uint8Array(16), fields, undefined as never),
  ],
  [
    'byte cannot be 256: pass an unsigned integer of 8 bits [INVALID_MESSAGE]',
    () => writeFields(new Uint8Array(16), fields, { byte: 256, quad: 0n }),
  ],
  [
    'quad cannot be the number 0 (as a bigint: 0n): pass an unsigned bigint of 64 bits [INVALID_MESSAGE]',
    () => writeFields(new Uint8Array(16), fields, { byte: 0, quad: 0 as never }),
  ],
  ['x cannot be -0x1: pass an unsigned integer of 8 bits [INVALID_MESSAGE]', () => requireFit('x', -1n, 1)],
  ['x cannot be -1: pass an unsigned integer of 9 bits [INVALID_MESSAGE]', () => requireBits('x', -1, 9)],
  ['x cannot be 512: pass an unsigned integer of 9 bits [INVALID_MESSAGE]', () => requireBits('x', 512, 9)],
  ['y cannot be 1: pass a boolean [INVALID_MESSAGE]', () => requireFlags({ x: true, y: 1 as never })],
  [
    'x cannot be -0x1000: pass a multiple of 4096 below 2^52 as a bigint [INVALID_MESSAGE]',
    () => requirePageAddress('x', -0x1000n, 52),
  ],
  [
    'x cannot be 0x10000000000000: pass a multiple of 4096 below 2^52 as a bigint [INVALID_MESSAGE]',
    () => requirePageAddress('x', 1n << 52n, 52),
  ],
  [
    'x cannot be 0x1001: pass a multiple of 4096 below 2^52 as a bigint [INVALID_MESSAGE]',
    () => requirePageAddress('x', 0x1001n, 52),
  ],
  [
    'x cannot be the number 4096 (as a bigint: 4096n): pass a multiple of 4096 below 2^52 as a bigint [INVALID_MESSAGE]',
    () => requirePageAddress('x', 0x1000 as never, 52),
  ],
  ['x cannot be 1: pass 4096 or 2097152 [INVALID_MESSAGE]', () => requirePageSize('x', 1)],
  ['x cannot be a value of type object: pass 3 bytes [INVALID_MESSAGE]', () => requireBytes('x', [1, 2], 3)],
  [
    'x cannot be a value of type object: pass 3 bytes [INVALID_MESSAGE]',
    () => requireBytes('x', [1, 256, 3], 3),
  ],
  ['x cannot be undefined: pass 3 bytes [INVALID_MESSAGE]', () => requireBytes('x', undefined as never, 3)],
  ['x cannot be a value of type object: pass 3 bytes [INVALID_MESSAGE]', () => requireBytes('x', never, 3)],
  [
    'the length of a record cannot be 7: pass 8 bytes [INVALID_ARGUMENT]',
    () => requireLength(new Uint8Array(7), 8, 'a record'),
  ],
  [
    'a record cannot be a value of type object: pass 1 bytes [INVALID_ARGUMENT]',
    () => requireLength([1] as never, 1, 'a record'),
  ],
  [
    'a record cannot be a value of type object: pass 0 bytes [INVALID_ARGUMENT]',
    () => requireLength(never, 0, 'a record'),
  ],
  [
    'a record cannot be a value of type object: pass a Uint8Array [INVALID_ARGUMENT]',
    () => copyOfBytes([1] as never, 'a record'),
  ],
  [
    'a record cannot be a value of type object: pass a Uint8Array [INVALID_ARGUMENT]',
    () => copyOfBytes(new Proxy(new Uint8Array(1), { get: () => never[0] }), 'a record'),
  ],
  // image-bytes
  [
    'a part, at offset 0x9 of the image, cannot be 8: 8 bytes must lie within the 16 bytes of the image [INVALID_IMAGE]',
    () => image.part(9, 8, 'a part'),
  ],
  // cpu-signature
  [
    'the family of a processor cannot be 271: pass an integer from 0 to 270 [INVALID_ARGUMENT]',
    () => cpuSignature(271, 0, 0),
  ],
  [
    'the model of a processor cannot be 256: pass an integer from 0 to 255 [INVALID_ARGUMENT]',
    () => cpuSignature(0, 256, 0),
  ],
  [
    'the stepping of a processor cannot be 16: pass an integer from 0 to 15 [INVALID_ARGUMENT]',
    () => cpuSignature(0, 0, 16),
  ],
  // GHCB
  [
    'the field of a GHCB cannot be "eax": pass a name of GHCB_FIELDS [INVALID_ARGUMENT]',
    () => ghcbValidBit('eax' as never),
  ],
  [
    'the field of a GHCB cannot be "toString": pass a name of GHCB_FIELDS [INVALID_ARGUMENT]',
    () => ghcbValidBit('toString' as never),
  ],
  [
    'the field of a GHCB cannot be a value of type object: pass a name of GHCB_FIELDS [INVALID_ARGUMENT]',
    () => ghcbValidBit(['rax'] as never),
  ],
  [
    'the bytes of a GHCB cannot be a value of type object: pass an object with the methods read, write [INVALID_ARGUMENT]',
    () => new GhcbPage({ read: () => hash } as never),
  ],
  ['the length of a GHCB cannot be 32: pass 4096 bytes [INVALID_ARGUMENT]', () => GhcbPage.over(hash)],
  [
    'the range in the shared buffer cannot be "2025 + 8": stay within its 2032 bytes [INVALID_ARGUMENT]',
    () => page.readBuffer(0x7e9, 8),
  ],
  [
    'the range in the shared buffer cannot be "8 + -8": stay within its 2032 bytes [INVALID_ARGUMENT]',
    () => page.readBuffer(8, -8),
  ],
  [
    'the range in the shared buffer cannot be "0.5 + 1": stay within its 2032 bytes [INVALID_ARGUMENT]',
    () => page.readBuffer(0.5, 1),
  ],
  [
    'the range in the shared buffer cannot be "0 + 0.5": stay within its 2032 bytes [INVALID_ARGUMENT]',
    () => page.readBuffer(0, 0.5),
  ],
  [
    'the range in the shared buffer cannot be "0 + NaN": stay within its 2032 bytes [INVALID_ARGUMENT]',
    () => page.writeBuffer(0, [1] as never),
  ],
  [
    'SW_EXITCODE cannot be the number 1 (as a bigint: 1n): pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => ghcbExitFormat(1 as never, 0n),
  ],
  [
    'SW_EXITINFO1 cannot be -0x1: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => ghcbExitFormat(0n, -1n),
  ],
  [
    'RAX cannot be 0x10000000000000000: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => ghcbExitFormat(0n, 0n, 1n << 64n),
  ],
  [
    'the GHCB cannot be a value of type object: pass a GhcbPage [INVALID_ARGUMENT]',
    () => readGhcbRegisters({} as never),
  ],
  [
    'the registers cannot be a value of type object: pass an array of names: rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, rip, cpl, dr7, xcr0, xss [INVALID_ARGUMENT]',
    () => readGhcbRegisters(page, ['rax', 'eax' as never]),
  ],
  [
    'the registers cannot be "rax": pass an array of names: rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, rip, cpl, dr7, xcr0, xss [INVALID_ARGUMENT]',
    () => readGhcbRegisters(page, 'rax' as never),
  ],
  [
    'the GHCB cannot be a value of type object: pass a GhcbPage [INVALID_ARGUMENT]',
    () => writeGhcbRegisters({} as never, {}),
  ],
  [
    'a name in the registers cannot be "eax": pass only options that exist: rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, rip, cpl, dr7, xcr0, xss [INVALID_ARGUMENT]',
    () => writeGhcbRegisters(page, { eax: 1n } as never),
  ],
  [
    'rax cannot be 0x10000000000000000: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => writeGhcbRegisters(page, { rax: 1n << 64n }),
  ],
  [
    'the message cannot be undefined: pass an object with the fields type [INVALID_MESSAGE]',
    () => encodeGhcbMsr(undefined as never),
  ],
  [
    'type cannot be "none": pass a type of GhcbMsrMessage [INVALID_MESSAGE]',
    () => encodeGhcbMsr({ type: 'none' } as never),
  ],
  [
    'type cannot be a value of type object: pass a type of GhcbMsrMessage [INVALID_MESSAGE]',
    () => encodeGhcbMsr({ type: ['terminate'], reasonSet: 0, reason: 0 } as never),
  ],
  [
    'value cannot be 0x10000000000000000: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => encodeGhcbMsr({ type: 'unknown', value: 1n << 64n }),
  ],
  [
    'reasonSet cannot be 16: pass an integer from 0 to 0xf [INVALID_MESSAGE]',
    () => encodeGhcbMsr({ type: 'terminate', reasonSet: 16, reason: 0 }),
  ],
  [
    'gpa cannot be 0x1: pass a multiple of 4096 from 0 to 0xffffffffff000 as a bigint [INVALID_MESSAGE]',
    () => encodeGhcbMsr({ type: 'page-state-request', gpa: 1n, operation: 1 } as never),
  ],
  [
    'the value of the GHCB MSR cannot be the number 1 (as a bigint: 1n): pass a bigint [INVALID_ARGUMENT]',
    () => decodeGhcbMsr(1 as never),
  ],
  // options with checks
  [
    'a name in the fields cannot be "c": pass only options that exist: a [INVALID_ARGUMENT]',
    () => requireFields('the fields', { a: 1, c: 2 }, { a: requireBoolean }),
  ],
  [
    'a cannot be undefined: pass a boolean [INVALID_ARGUMENT]',
    () => requireFields('the fields', {}, { a: requireBoolean }),
  ],
  [
    'a cannot be 1: pass a boolean [INVALID_ARGUMENT]',
    () => requireFields('the fields', { a: 1 }, { b: optional(requireBoolean), a: requireBoolean }),
  ],
  [
    'b cannot be 1: pass a boolean [INVALID_ARGUMENT]',
    () => requireFields('the fields', { b: 1 }, { b: optional(requireBoolean) }),
  ],
  // tables of the RMP in memory
  [
    'a flat RMP cannot be undefined: pass an object with base and end [INVALID_ARGUMENT]',
    () => flatRmpCoverage(undefined as never),
  ],
  [
    'RMP_BASE cannot be -0x1: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => flatRmpCoverage({ base: -1n, end: 0n }),
  ],
  [
    'RMP_END cannot be the number 1 (as a bigint: 1n): pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => flatRmpEntryAddress(spa, { base: 0n, end: 1 as never }),
  ],
  [
    'a segmented RMP cannot be undefined: pass an object with the options base, segmentShift, segments, unit, read [INVALID_ARGUMENT]',
    () => segmentedRmpEntryAddress(spa, undefined as never),
  ],
  [
    'a name in a segmented RMP cannot be "shift": pass only options that exist: base, segmentShift, segments, unit, read [INVALID_ARGUMENT]',
    () => segmented({ shift: 30 } as never),
  ],
  [
    'RMP_BASE cannot be -0x1: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => segmented({ base: -1n }),
  ],
  [
    'RMP_BASE cannot be 0x1000: pass a multiple of 1 MiB [INVALID_ARGUMENT]',
    () => segmented({ base: 0x1000n }),
  ],
  [
    'the segment size cannot be 0.5: pass an integer from 0 on [INVALID_ARGUMENT]',
    () => segmented({ segmentShift: 0.5 }),
  ],
  [
    'the segment size cannot be 29: the binary logarithm of its bytes must be 30 to 51 [INVALID_ARGUMENT]',
    () => segmented({ segmentShift: 29 }),
  ],
  [
    'the segment size cannot be 52: the binary logarithm of its bytes must be 30 to 51 [INVALID_ARGUMENT]',
    () => segmented({ segmentShift: 52 }),
  ],
  [
    'the segment size cannot be 29: the binary logarithm of its bytes must be 30 to 51 [INVALID_ARGUMENT]',
    () => segmented({ segmentShift: 9, unit: 'MiB' }),
  ],
  [
    'the segment size cannot be 52: the binary logarithm of its bytes must be 30 to 51 [INVALID_ARGUMENT]',
    () => segmented({ segmentShift: 32, unit: 'MiB' }),
  ],
  [
    'unit cannot be "GiB": pass one of byte, MiB [INVALID_ARGUMENT]',
    () => segmented({ unit: 'GiB' as never }),
  ],
  [
    'the number of segments cannot be -1: pass an integer from 0 to 512 [INVALID_ARGUMENT]',
    () => segmented({ segments: -1 }),
  ],
  [
    'the number of segments cannot be 513: pass an integer from 0 to 512 [INVALID_ARGUMENT]',
    () => segmented({ segments: 513 }),
  ],
  [
    'the number of segments cannot be 0.5: pass an integer from 0 to 512 [INVALID_ARGUMENT]',
    () => segmented({ segments: 0.5 }),
  ],
  ['read cannot be 1: pass a function [INVALID_ARGUMENT]', () => segmented({ read: 1 as never })],
  [
    'the quadword that read returns cannot be the number 1 (as a bigint: 1n): pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => segmented({ read: () => 1 as never }),
  ],
  [
    'the RMP segment for 0x0000000000000000 has reserved bits set: 0x8000000000000000 [INVALID_RMP_SEGMENT]',
    () => segmented({ read: () => 1n << 63n }),
  ],
  [
    'a raw RMP entry cannot be undefined: pass an object with the words low and high [INVALID_ARGUMENT]',
    () => decodeRmpEntry(undefined as never),
  ],
  [
    'the low word of an RMP entry cannot be the number 1 (as a bigint: 1n): pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => decodeRmpEntry({ low: 1 as never, high: 0n }),
  ],
  [
    'the high word of an RMP entry cannot be 0x10000000000000000: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => decodeRmpEntry({ low: 0n, high: 1n << 64n }),
  ],
  [
    'an RMP entry cannot be undefined: pass an object with the fields assigned, pageSize, immutable, subpageCount, gpa, asid, vmsa, validated, vmplMasks, lock, upper [INVALID_MESSAGE]',
    () => encodeRmpEntry(undefined as never),
  ],
  // pages and records of the firmware
  [
    'the length of a CPUID page cannot be 32: pass 4096 bytes [INVALID_ARGUMENT]',
    () => decodeCpuidPage(hash),
  ],
  [
    'count cannot be 65: pass at most 64 [INVALID_MESSAGE]',
    () => decodeCpuidPage(new Uint8Array(4096).fill(65, 0, 1)),
  ],
  [
    'entries cannot be undefined: pass an array of entries [INVALID_MESSAGE]',
    () => encodeCpuidPage(undefined as never),
  ],
  [
    'entries cannot be a value of type object: pass an array of entries [INVALID_MESSAGE]',
    () => encodeCpuidPage(never),
  ],
  [
    'count cannot be 65: pass at most 64 [INVALID_MESSAGE]',
    () => encodeCpuidPage(Array.from({ length: 65 }, () => cpuid)),
  ],
  [
    'eax cannot be -1: pass an unsigned integer of 32 bits [INVALID_MESSAGE]',
    () => encodeCpuidPage([{ ...cpuid, eax: -1 }]),
  ],
  [
    'the length of a secrets page cannot be 32: pass 4096 bytes [INVALID_ARGUMENT]',
    () => decodeSecretsPage(hash),
  ],
  [
    'the length of a secrets page cannot be 32: pass 4096 bytes [INVALID_ARGUMENT]',
    () => announceSvsm(hash, svsm),
  ],
  [
    'the location of the SVSM cannot be undefined: pass an object with the fields base, size, callingArea, maxVersion, guestVmpl [INVALID_MESSAGE]',
    () => announceSvsm(new Uint8Array(4096), undefined as never),
  ],
  [
    'base cannot be -0x1: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => announceSvsm(new Uint8Array(4096), { ...svsm, base: -1n as never }),
  ],
  [
    'guestVmpl cannot be 0: pass 1 to 3 [INVALID_MESSAGE]',
    () => announceSvsm(new Uint8Array(4096), { ...svsm, guestVmpl: 0 as never }),
  ],
  [
    'a secrets page cannot be undefined: pass an object with the fields version, imi, familyModelStepping, vmpcks, vmsaTweakBitmap, svsm, tscFactor [INVALID_MESSAGE]',
    () => encodeSecretsPage(undefined as never),
  ],
  [
    'imi cannot be 1: pass a boolean [INVALID_MESSAGE]',
    () => encodeSecretsPage({ ...secrets, imi: 1 as never }),
  ],
  [
    'the length of the bitmap cannot be 32: pass 64 bytes [INVALID_ARGUMENT]',
    () => encodeSecretsPage({ ...secrets, vmsaTweakBitmap: hash }),
  ],
  [
    'the length of a key cannot be 31: pass 32 bytes [INVALID_ARGUMENT]',
    () => encodeSecretsPage({ ...secrets, vmpcks: [hash, hash, hash, new Uint8Array(31)] }),
  ],
  [
    'the length of a swap record cannot be 32: pass 64 bytes [INVALID_ARGUMENT]',
    () => decodeSwapRecord(hash),
  ],
  [
    'a swap record cannot be undefined: pass an object with the fields softwareData, iv, tag, valid, validated, vmsa, metadata, pageSize, gpa, vmplMasks [INVALID_MESSAGE]',
    () => encodeSwapRecord(undefined as never),
  ],
  // lists
  [
    'the length of the header of a page state change cannot be 32: pass 8 bytes [INVALID_ARGUMENT]',
    () => decodePscHeader(hash),
  ],
  [
    'the length of an entry of a page state change cannot be 32: pass 8 bytes [INVALID_ARGUMENT]',
    () => decodePscEntry(hash),
  ],
  [
    'end cannot be -1: pass an unsigned integer of 16 bits [INVALID_MESSAGE]',
    () => encodePscHeader({ current: 0, end: -1, reserved: 0 }),
  ],
  [
    'an entry cannot be undefined: pass an object with the fields gpa, operation, pageSize, donePages, reserved [INVALID_MESSAGE]',
    () => encodePscEntry(undefined as never),
  ],
  [
    'operation cannot be 3: pass one of 1, 2 [INVALID_ARGUMENT]',
    () => pscEntriesOf(physRegion(physAddr(0), 4096), 3 as never),
  ],
  [
    'the length of the header of a list cannot be 32: pass 8 bytes [INVALID_ARGUMENT]',
    () => decodeSvsmListHeader(hash),
  ],
  [
    'the length of an entry of a list cannot be 32: pass 8 bytes [INVALID_ARGUMENT]',
    () => decodeSvsmListEntry(hash),
  ],
  [
    'count cannot be -1: pass an unsigned integer of 16 bits [INVALID_MESSAGE]',
    () => encodeSvsmListHeader({ count: -1, next: 0 }),
  ],
  [
    'an entry cannot be undefined: pass an object with the fields gpa, size, validate, ignoreUnchanged, reserved [INVALID_MESSAGE]',
    () => encodeSvsmListEntry(undefined as never),
  ],
  // others
  ['the length of a VMSA cannot be 32: pass 4096 bytes [INVALID_ARGUMENT]', () => readVmsa(hash, 'rip')],
  ['the length of a VMSA cannot be 32: pass 4096 bytes [INVALID_ARGUMENT]', () => writeVmsa(hash, 'rip', 0n)],
  [
    'the field of a VMSA cannot be "eip": pass a name of VMSA_FIELDS [INVALID_ARGUMENT]',
    () => readVmsa(new Uint8Array(4096), 'eip' as never),
  ],
  [
    'the field of a VMSA cannot be a value of type object: pass a name of VMSA_FIELDS [INVALID_ARGUMENT]',
    () => readVmsa(new Uint8Array(4096), ['rip'] as never),
  ],
  [
    'cpl cannot be 4: pass an unsigned integer of 2 bits [INVALID_MESSAGE]',
    () => writeVmsa(new Uint8Array(4096), 'cpl', 4n),
  ],
  [
    'rip cannot be 0x10000000000000000: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => writeVmsa(new Uint8Array(4096), 'rip', 1n << 64n),
  ],
  [
    'kernel cannot be 1: pass a Uint8Array [INVALID_ARGUMENT]',
    () => hashKernel({ kernel: 1 as never }, () => hash),
  ],
  [
    'initrd cannot be a value of type object: pass a Uint8Array [INVALID_ARGUMENT]',
    () => hashKernel({ kernel: hash, initrd: [1] as never }, () => hash),
  ],
  [
    'commandLine cannot be "a": pass a Uint8Array [INVALID_ARGUMENT]',
    () => hashKernel({ kernel: hash, commandLine: 'a' as never }, () => hash),
  ],
  [
    'sha256 cannot be a value of type object: pass a function [INVALID_ARGUMENT]',
    () => hashKernel({ kernel: hash }, hash as never),
  ],
  [
    'a name in the files of a kernel cannot be "cmdline": pass only options that exist: kernel, initrd, commandLine [INVALID_ARGUMENT]',
    () => hashKernel({ kernel: hash, cmdline: hash } as never, () => hash),
  ],
  [
    'the length of a hash of the kernel cannot be 1: pass 32 bytes [INVALID_ARGUMENT]',
    () => encodeKernelHashes({ kernel: hash, initrd: hash, commandLine: new Uint8Array(1) }),
  ],
  [
    'the hashes of a kernel cannot be undefined: pass what hashKernel returns [INVALID_ARGUMENT]',
    () => encodeKernelHashes(undefined as never),
  ],
  [
    'the result of an instruction cannot be 5: pass an RmpResult [INVALID_ARGUMENT]',
    () => rmpResultName(5 as never),
  ],
  [
    'the length of a state cannot be 15: pass 16 bytes [INVALID_ARGUMENT]',
    () => decodeRmpState(new Uint8Array(15)),
  ],
  [
    'a state cannot be undefined: pass an object with the fields gpa, assigned, pageSize, immutable, asid, regionStatus [INVALID_MESSAGE]',
    () => encodeRmpState(undefined as never),
  ],
  [
    'assigned cannot be 1: pass a boolean [INVALID_MESSAGE]',
    () => encodeRmpState({ gpa: 0n, assigned: 1, pageSize: 4096 } as never),
  ],
];

async function messageOf(call: () => unknown): Promise<string> {
  try {
    await call();
    return 'no error';
  } catch (error) {
    return isSnpError(error) ? error.message : `another error: ${error}`;
  }
}

test.each(ROWS)('%s', async (message, call) => {
  expect(await messageOf(call)).toBe(message);
});

test('the error that reading a value has thrown is the cause, and no error has none', () => {
  const causeOf = (call: () => unknown): unknown => {
    try {
      return call();
    } catch (error) {
      return (error as Error).cause;
    }
  };
  const thrown = new Error('thrown by a getter');
  const reader = {
    get a() {
      throw thrown;
    },
  };
  expect(causeOf(() => requireOptions('x', reader, ['a']))).toBe(thrown);
  expect(causeOf(() => fieldsOf('x', reader as { a: unknown }, ['a']))).toBe(thrown);
  expect(causeOf(() => requireMethods('x', reader, ['a']))).toBe(thrown);
  expect(causeOf(() => readArgument('x', reader, 'pass y', () => (reader as { a: unknown }).a))).toBe(thrown);
  const copied = new Proxy(new Uint8Array(1), {
    get: () => {
      throw thrown;
    },
  });
  expect(causeOf(() => copyOfBytes(copied, 'x'))).toBe(thrown);
  for (const call of [requireOptions, fieldsOf]) {
    const names = ['a'] as never[];
    expect(causeOf(() => call('x', 'a' as never, names))).toEqual(new TypeError('not an object'));
  }
  expect('cause' in (thrownBy(() => requireBoolean('x', 1)) as object)).toBe(false);
});

test('an error with a code comes out of the reader as it is', () => {
  const coded = (): never => requireWhole('the inner value', 0.5) as never;
  expect(thrownBy(() => readArgument('x', 0.5, 'pass y', coded))?.message).toMatch(/^the inner value/);
});

test('what fits is accepted, up to its ends', () => {
  requireBoolean('x', false);
  requireFields('x', { a: true }, { a: requireBoolean, b: optional(requireBoolean) });
  requireFields('x', { b: undefined }, { b: optional(requireBoolean) });
  expect(encodeCpuidPage(Array.from({ length: 64 }, () => cpuid))[0]).toBe(64);
  expect(segmented({ segments: 512 })).toBe(0n);
  expect(segmented({ segments: 0 })).toBeUndefined();
  expect(segmented({ segmentShift: 51 })).toBe(0n);
  expect(segmented({ segmentShift: 10, unit: 'MiB' })).toBe(0n);
  expect(segmented({ segmentShift: 31, unit: 'MiB' })).toBe(0n);
  expect(flatRmpCoverage({ base: 0n, end: 0x3fffn })).toBe(0n);
  expect(flatRmpCoverage({ base: 0n, end: 0x400fn })).toBe(4096n);
  expect(flatRmpCoverage({ base: 0x10_0000n, end: 0n })).toBe(0n);
  requireWhole('x', -1);
  requireFunction('x', () => 1);
  requireCount('x', 0);
  requireCount('x', 2, 2);
  requireCount('x', Number.POSITIVE_INFINITY, 2);
  requireInteger('x', 2, 2, 4);
  requireInteger('x', 4, 2, 4);
  requireInteger('x', Number.MAX_SAFE_INTEGER, 0);
  requireUint64('x', (1n << 64n) - 1n);
  requireOneOf('x', 2, [1, 2]);
  requireMethods('x', { a: () => 1 }, ['a']);
  requireIterable('x', new Set());
  requireInstance('x', new Map(), Map, 'a Map');
  requireOptions('x', { b: 1 }, ['a', 'b']);
  requireBits('x', 511, 9);
  requireBytes('x', [0, 255, 3], 3);
  requirePageAddress('x', (1n << 52n) - 0x1000n, 52);
  for (const size of [0x1000, 0x20_0000]) {
    requirePageSize('x', size);
    requireRmpPageSize(size);
  }
  expect(image.part(8, 8, 'a part').length).toBe(8);
  expect(readArgument('x', 1, 'pass y', () => 7)).toBe(7);
});
