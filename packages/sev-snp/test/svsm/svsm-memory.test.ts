import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { CALLS, onSteps, run, twoProcessors, V, W, X, Y } from '../support/svsm-steps.ts';
import { CAA, OWN_END } from '../support/svsm-world.ts';
import { bytesOf, codeOf, gvaOf, MiB, spaOf, unresolvedFault } from '../support/world.ts';

const { Success, InvalidAddress, InvalidParameter, Busy, PvalidateUnchanged } = SvsmResult;
const SMALL = PageSize.Regular;

describe('bytes of the guest', () => {
  test('are read and written across pages', () => {
    const { svsm, guestCpu } = twoProcessors();
    const at = BigInt(6 * MiB + 0x7ffa);
    expect(svsm.memory.write(at, bytesOf('on two pages'))).toBe(Success);
    expect(guestCpu.read(gvaOf(Number(at)), 12)).toEqual(bytesOf('on two pages'));
    expect(svsm.memory.read(at, 12)).toEqual(bytesOf('on two pages'));
    expect(svsm.memory.read(at, 0)).toEqual(new Uint8Array(0));
  });

  test.each([
    ['are of the SVSM', OWN_END - 8],
    ['lie outside of memory', 8 * MiB],
    ['end outside of memory', 8 * MiB - 4],
    ['are not at an address', 2 ** 60],
    ['are not validated', Y],
    ['are a VMSA of the guest', V],
  ])('that %s are undefined, and are not written', (_, gpa) => {
    const { svsm } = twoProcessors();
    expect(svsm.memory.read(BigInt(gpa), 8)).toBeUndefined();
    expect(svsm.memory.write(BigInt(gpa), new Uint8Array(8))).toBe(InvalidAddress);
  });

  test('need the rights of the level that is passed', () => {
    const { svsm, vcpu } = twoProcessors();
    vcpu.rmpadjust(gvaOf(W), SMALL, { vmpl: 2, permissions: 1 });
    expect([svsm.memory.read(BigInt(W), 1, 2), svsm.memory.write(BigInt(W), Uint8Array.of(1), 2)]).toEqual([
      undefined,
      InvalidAddress,
    ]);
    expect(svsm.memory.read(BigInt(W), 1, 1)).toEqual(Uint8Array.of(1));
  });

  test('that a call uses are Busy', () => {
    const it = twoProcessors();
    const seen: unknown[] = [];
    onSteps(it.vcpu, () => {
      if (seen.length > 0) return undefined;
      const { memory } = it.other.svsm;
      seen.push(
        memory.read(BigInt(X), 1),
        memory.write(BigInt(X), Uint8Array.of(1)),
        memory.clear(BigInt(X), SMALL),
      );
      return undefined;
    });
    expect(run(CALLS['createX']!, it)).toBe(Success);
    expect(seen).toEqual([undefined, Busy, Busy]);
  });
});

test('a page is rescinded, validated with zeros, granted, revoked and cleared', () => {
  const it = twoProcessors();
  const { memory } = it.svsm;
  const masks = (): readonly number[] => it.machine.rmp.entry(spaOf(it, W))!.vmplMasks.slice(1);
  const at = BigInt(W);
  expect(memory.rescind(at, SMALL)).toBe(Success);
  expect([it.state.validated.has(physAddr(W)), memory.rescind(at, SMALL)]).toEqual([
    false,
    PvalidateUnchanged,
  ]);
  expect([memory.validate(at, SMALL, 2), memory.validate(at, SMALL, 2)]).toEqual([
    Success,
    PvalidateUnchanged,
  ]);
  expect([masks(), it.guestCpu.read(gvaOf(W), 3)]).toEqual([[15, 15, 0], new Uint8Array(3)]);
  it.guestCpu.write(gvaOf(W), bytesOf('old'));
  expect([memory.revoke(at, SMALL), masks()]).toEqual([Success, [0, 0, 0]]);
  expect(codeOf(() => it.guestCpu.read(gvaOf(W), 1))).toBe('NPF');
  expect([memory.grant(at, SMALL, 3), masks()]).toEqual([Success, [15, 15, 15]]);
  expect(it.guestCpu.read(gvaOf(W), 3)).toEqual(bytesOf('old'));
  expect([memory.clear(at, SMALL), it.guestCpu.read(gvaOf(W), 3)]).toEqual([Success, new Uint8Array(3)]);
});

test('a misaligned page, a page of the SVSM, a calling area and a VMSA are refused', () => {
  const { svsm } = twoProcessors();
  const { memory } = svsm;
  const all = (gpa: number, size: 4096 | 0x20_0000 = SMALL): number[] => [
    memory.validate(BigInt(gpa), size, 2),
    memory.rescind(BigInt(gpa), size),
    memory.grant(BigInt(gpa), size, 2),
    memory.revoke(BigInt(gpa), size),
    memory.clear(BigInt(gpa), size),
  ];
  for (const result of [all(W + 8), all(W, PageSize.Huge)])
    expect(result).toEqual(Array(5).fill(InvalidParameter));
  for (const gpa of [0, CAA, V]) expect(all(gpa)).toEqual(Array(5).fill(InvalidAddress));
});

test.each(['rescind', 'revoke', 'clear', 'grant'] as const)(
  '%s that faults at a step leaves the page as it was',
  (name) => {
    for (let at = 0; ; at += 1) {
      const it = twoProcessors();
      let steps = 0;
      onSteps(it.vcpu, (_, step) => (steps++ === at && step !== 'invlpgb' ? unresolvedFault() : undefined));
      const before = it.machine.rmp.entry(spaOf(it, W))!;
      const result = it.svsm.memory[name](BigInt(W), SMALL, 3);
      if (steps <= at) break;
      if (result !== Success) expect(it.machine.rmp.entry(spaOf(it, W))).toEqual(before);
      expect(it.state.validated.has(physAddr(W))).toBe(it.machine.rmp.entry(spaOf(it, W))!.validated);
    }
  },
);
