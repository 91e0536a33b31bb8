import { describe, expect, test } from 'vitest';
import { openDump } from '../../src/formats/open-dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { type DumpErrorCode, isDumpError } from '../../src/source/dump-error.ts';
import { coreFile, tableOf } from '../support/core-file.ts';

const CORE = coreFile({
  segments: [{ paddr: 0x1000n, bytes: tableOf({ 511: 0x1063n }) }],
  cpus: [{ cr3: 0x1000n }],
});

function codeOf(bytes: Uint8Array, name?: string): DumpErrorCode | undefined {
  try {
    openDump(bytesSource(bytes), { name });
    return undefined;
  } catch (error) {
    if (!isDumpError(error)) throw error;
    return error.code;
  }
}

describe('openDump', () => {
  test('opens bytes in memory, with a name', () => {
    const dump = openDump(bytesSource(CORE), { name: 'guest.core' });
    expect(dump).toMatchObject({ name: 'guest.core', kind: 'ELF core, 1 segment' });
    expect(dump.cpus).toMatchObject([{ cr3: 0x1000n }]);
    const frame = new Uint8Array(4096);
    expect([dump.readFrame(1, frame), dump.readFrame(2, frame)]).toEqual([true, false]);
    expect(openDump(bytesSource(CORE)).name).toBe('dump');
  });

  test('takes bytes of unknown format for a raw image if CR3, ranges or raw are given', () => {
    const image = bytesSource(tableOf({ 0: 0x67n }));
    expect(openDump(image, { cr3: 0n }).kind).toBe('raw image');
    expect(openDump(image, { raw: true }).kind).toBe('raw image');
    const moved = openDump(image, { ram: [{ paddr: 0x5000, size: 0x1000, offset: 0 }] });
    expect([...moved.memory!]).toEqual([{ start: 0x5000n, end: 0x6000n, offset: 0, isZero: false }]);
  });

  test('an error has a code and the name of the file', () => {
    expect(codeOf(new Uint8Array(0))).toBe('TRUNCATED_FILE');
    expect(codeOf(CORE.subarray(0, 100))).toBe('TRUNCATED_FILE');
    expect(codeOf(new Uint8Array(10))).toBe('UNKNOWN_FORMAT');
    expect(codeOf(new Uint8Array(10), 'guest.vmss')).toBe('UNSUPPORTED_FORMAT');
    const bad = Buffer.from(CORE);
    bad.writeUInt16LE(40, 54);
    expect(codeOf(bad)).toBe('INVALID_FILE');
    bad.writeUInt16LE(56, 54);
    bad.writeUInt16LE(0, 56);
    expect(() => openDump(bytesSource(bad))).toThrow(/no program headers: a core of 'xl dump-core'/);
    bad.writeUInt16LE(2, 16);
    expect(codeOf(bad)).toBe('UNSUPPORTED_FORMAT');
    expect(() => openDump(bytesSource(new Uint8Array(1)), { name: 'x' })).toThrow(
      /^x: its format is unknown/,
    );
  });
});
