import { expect, test } from 'vitest';
import {
  GHCB_REGISTERS,
  ghcbExitFormat,
  readGhcbRegisters,
  writeGhcbRegisters,
} from '../../src/formats/ghcb-exits.ts';
import { GHCB_FIELDS, GhcbPage, ghcbValidBit } from '../../src/formats/ghcb-page.ts';
import { codeOf } from '../support/world.ts';

// G4, GHCB exit 0x27, GHCB exit 0x37, GHCB exit 0x6F, GHCB exit 0x76, GHCB exit 0x89, GHCB exit 0x8A, GHCB exit 0x8B
test.each<[code: bigint, info1: bigint, rax: bigint, inputs: string, answers: string, optional: string]>([
  [0x27n, 0n, 0n, '', 'rax', ''],
  [0x37n, 0n, 0n, 'rax', '', ''],
  [0x6en, 0n, 0n, '', 'rax rdx', ''],
  [0x6fn, 0n, 0n, 'rcx', 'rax rdx', ''],
  [0x72n, 0n, 0xcn, 'rax rcx', 'rax rbx rcx rdx', ''],
  [0x72n, 0n, 0xdn, 'rax rcx xcr0', 'rax rbx rcx rdx', ''],
  [0x76n, 0n, 0n, '', '', ''],
  [0x7bn, 0n, 0n, 'rax', '', ''],
  [0x7bn, 1n, 0n, '', 'rax', ''],
  [0x7bn, 4n, 0n, 'scratch', '', ''],
  [0x7bn, 5n, 0n, 'scratch', '', ''],
  [0x7cn, 0n, 0n, 'rcx', 'rax rdx', ''],
  [0x7cn, 1n, 0n, 'rcx rax rdx', '', ''],
  [0x81n, 0n, 0n, 'rax cpl', 'rax', ''],
  [0x87n, 0n, 0n, '', 'rax rcx rdx', ''],
  [0x89n, 0n, 0n, '', '', ''],
  [0x8an, 0n, 0n, 'rax rcx rdx', '', ''],
  [0x8bn, 0n, 0n, 'rax rcx', '', ''],
  [0x8000_0001n, 0n, 0n, 'scratch', '', ''],
  [0x8000_0002n, 0n, 0n, 'scratch', '', ''],
  [0x8000_0005n, 0n, 0n, '', '', ''],
  [0x8000_0010n, 0n, 0n, 'scratch', '', ''],
  [0x8000_0011n, 0n, 0n, '', '', ''],
  [0x8000_0012n, 0n, 0n, 'rax rbx', '', 'rbx'],
  [0x8000_0013n, 0x7_0002_0000n, 0n, 'rax', '', ''],
  [0x8000_0013n, 0x7_0002_0001n, 0n, 'rax', '', ''],
  [0x8000_0013n, 0x7_0002_0002n, 0n, '', '', ''],
  [0x8000_0017n, 0n, 0n, 'rax', '', 'rax'],
  [0x8000_0018n, 0n, 0n, '', '', ''],
  [0x8000_fffdn, 0n, 0n, '', '', ''],
  [0x1234n, 0n, 0n, '', '', ''],
])('exit 0x%x with info 1 %s and RAX %s: inputs "%s", answers "%s" "%s"', (code, info1, rax, ...lists) => {
  const { inputs, answers, optional } = ghcbExitFormat(code, info1, rax);
  expect([inputs, answers, optional].map((names) => names.join(' '))).toEqual(lists);
});

test('RAX need not be given', () => {
  expect(ghcbExitFormat(0x72n, 0n).inputs).toEqual(['rax', 'rcx']);
});

// G14
test('every register has a bit in the valid bitmap', () => {
  expect(GHCB_REGISTERS.map(ghcbValidBit)).not.toContain(undefined);
  const others = ['exitCode', 'exitInfo1', 'exitInfo2', 'scratch', 'x87StateGpa', 'protocolVersion', 'usage'];
  expect([...GHCB_REGISTERS, ...others].sort()).toEqual(Object.keys(GHCB_FIELDS).sort());
});

// G4
test('registers that are written are read, and the others stay as they were', () => {
  const page = GhcbPage.over();
  writeGhcbRegisters(page, { rax: 1n, r15: 2n ** 64n - 1n, cpl: 3n, rbx: undefined });
  writeGhcbRegisters(page, { rax: 5n });
  expect(readGhcbRegisters(page)).toEqual({ rax: 5n, r15: 2n ** 64n - 1n, cpl: 3n });
  expect(readGhcbRegisters(page, ['cpl', 'xss'])).toStrictEqual({ cpl: 3n });
});

test('a register that does not exist, or does not fit, writes nothing', () => {
  const page = GhcbPage.over();
  const refused = (registers: object) => codeOf(() => writeGhcbRegisters(page, { rax: 1n, ...registers }));
  expect(refused({ eax: 1n })).toBe('INVALID_ARGUMENT');
  expect([refused({ cpl: 256n }), refused({ xss: -1n }), refused({ rip: 1 })]).toEqual(
    Array.from({ length: 3 }, () => 'INVALID_MESSAGE'),
  );
  expect(readGhcbRegisters(page)).toEqual({});
});
