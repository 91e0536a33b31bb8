import { physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import {
  decodeGhcbMsr,
  encodeGhcbMsr,
  type GhcbMsrMessage,
  HypervisorFeature,
  PageOperation,
} from '../../src/formats/ghcb-msr.ts';
import { codeOf } from '../support/world.ts';

// GHCB MSR 0x000, GHCB MSR 0x001, GHCB MSR 0x002, GHCB MSR 0x003, GHCB MSR 0x004, GHCB MSR 0x005,
// GHCB MSR 0x006, GHCB MSR 0x007, GHCB MSR 0x010, GHCB MSR 0x011, GHCB MSR 0x012, GHCB MSR 0x013,
// GHCB MSR 0x014, GHCB MSR 0x015, GHCB MSR 0x016, GHCB MSR 0x017, GHCB MSR 0x080, GHCB MSR 0x081,
// GHCB MSR 0x100, GHCB MSR 0xF00
describe('messages and their bits (Linux arch/x86/include/asm/sev-common.h)', () => {
  test.each<[GhcbMsrMessage, bigint]>([
    [{ type: 'ghcb', gpa: physAddr(0x1234_5000) }, 0x1234_5000n],
    [{ type: 'sev-info', maxVersion: 2, minVersion: 1, cBit: 51 }, 0x0002_0001_3300_0001n],
    [{ type: 'sev-info-request' }, 0x002n],
    [{ type: 'cpuid-request', leaf: 0x8000_001f, register: 3 }, 0x8000_001f_c000_0004n],
    [{ type: 'cpuid', value: 0xdead_beef, register: 1 }, 0xdead_beef_4000_0005n],
    [{ type: 'ap-reset-hold-request' }, 0x006n],
    [{ type: 'ap-reset-hold', value: 1n }, 0x1007n],
    [{ type: 'preferred-ghcb-request' }, 0x010n],
    [{ type: 'preferred-ghcb', gpa: physAddr(0x5000) }, 0x5011n],
    [{ type: 'preferred-ghcb', gpa: undefined }, 0xffff_ffff_ffff_f011n],
    [{ type: 'register-ghcb-request', gpa: physAddr(0x5000) }, 0x5012n],
    [{ type: 'register-ghcb', gpa: physAddr(0x5000) }, 0x5013n],
    [{ type: 'register-ghcb', gpa: undefined }, 0xffff_ffff_ffff_f013n],
    [
      { type: 'page-state-request', gpa: physAddr(0x40_1000), operation: PageOperation.Private },
      0x0010_0000_0040_1014n,
    ],
    [
      { type: 'page-state-request', gpa: physAddr(0x40_1000), operation: PageOperation.Shared },
      0x0020_0000_0040_1014n,
    ],
    [{ type: 'page-state', error: 0 }, 0x015n],
    [{ type: 'page-state', error: 0xffff_ffff }, 0xffff_ffff_0000_0015n],
    [{ type: 'run-vmpl-request', vmpl: 2 }, 0x2_0000_0016n],
    [{ type: 'run-vmpl', error: 1 }, 0x1_0000_0017n],
    [{ type: 'features-request' }, 0x080n],
    [{ type: 'features', features: HypervisorFeature.Snp | HypervisorFeature.MultiVmpl }, 0x2_1081n],
    [{ type: 'terminate', reasonSet: 1, reason: 2 }, 0x2_1100n],
    [{ type: 'ap-jump-table-request', value: 5n }, 0x5003n],
    [{ type: 'hyperv-hypercall', value: 1n }, 0x1f00n],
    [{ type: 'hyperv-fast-call', value: 1n }, 0x1f01n],
    [{ type: 'hyperv-output', value: 1n }, 0x1f02n],
    [{ type: 'hyperv-debug-print', value: 2n }, 0x2f03n],
  ])('%o', (message, value) => {
    expect(encodeGhcbMsr(message)).toBe(value);
    expect(decodeGhcbMsr(value)).toEqual(message);
  });
});

describe('a value that is not a message is unknown', () => {
  test.each<[string, bigint]>([
    ['an unknown code', 0x008n],
    ['a request with more than its code', 0x1002n],
    ['a page state change with reserved bits', 0x0110_0000_0040_1014n],
    ['an answer to one with reserved bits', 0x1015n],
    ['a GHCB beyond 2^52', 0x0010_0000_0000_0000n],
    ['a reason with more than 8 bits', 0x100_0100n],
  ])('%s', (_, value) => {
    expect(decodeGhcbMsr(value)).toEqual({ type: 'unknown', value });
  });
});

describe('a field that does not fit is refused', () => {
  test.each<[string, GhcbMsrMessage]>([
    ['an address within a page', { type: 'ghcb', gpa: physAddr(0x1001) }],
    ['a version of 17 bits', { type: 'sev-info', maxVersion: 0x1_0000, minVersion: 0, cBit: 0 }],
    ['a fraction', { type: 'page-state', error: 0.5 }],
    ['a negative number', { type: 'run-vmpl', error: -1 }],
    ['a missing address', { type: 'ghcb', gpa: undefined as never }],
  ])('%s', (_, message) => {
    expect(codeOf(() => encodeGhcbMsr(message))).toBe('INVALID_MESSAGE');
  });
});
