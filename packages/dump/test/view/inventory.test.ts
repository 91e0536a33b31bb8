import { expect, test } from 'vitest';
import { openDump } from '../../src/formats/open-dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { describeDump } from '../../src/view/inventory.ts';
import { coreFile } from '../support/core-file.ts';

test('describeDump has the file, each processor, and the memory', () => {
  const bytes = coreFile({
    segments: [{ paddr: 0x1000n, bytes: Buffer.alloc(0x2000) }],
    cpus: [{ cr3: 0x1000n, cr4: 0xa0n }],
  });
  const [file, cpu, memory, ...others] = describeDump(openDump(bytesSource(bytes), { name: 'a' }));
  expect(file).toEqual({
    type: 'file',
    file: 'a',
    kind: 'ELF core, 1 segment',
    size: bytes.length,
    cpus: 1,
  });
  expect(cpu).toMatchObject({ type: 'cpu', cpu: 0, registers: { cr3: 0x1000n, cr4: 0xa0n } });
  expect(memory).toEqual({
    type: 'memory',
    start: 0x1000n,
    end: 0x3000n,
    size: 0x2000n,
    fileOffset: bytes.length - 0x2000,
    isZero: false,
  });
  expect(others).toEqual([{ type: 'end', what: 'ranges', count: 1, bytes: null, faults: 0 }]);
});
