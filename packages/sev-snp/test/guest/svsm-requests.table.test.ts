/** The registers and lists of each request to an SVSM, its repetitions, and what it makes of each answer. */
import { physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { SvsmCall, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import * as calls from '../../src/guest/svsm-call.ts';
import { CAA, entryOf, type SvsmWorld, svsmWorld } from '../support/svsm-world.ts';
import { codeOf, gvaOf, MiB, thrownBy } from '../support/world.ts';

type Registers = Vcpu['registers'];
type Answer = Partial<Registers> | 'not run';

/** A guest whose SVSM answers call by call; the last answer is given again and again. */
function answering(...answers: readonly (Answer | ((it: SvsmWorld) => Answer))[]) {
  const it = svsmWorld();
  const asked: (Registers & { list: Uint8Array })[] = [];
  it.guest.onEnter(0, (caller) => {
    const next = answers[Math.min(asked.length, answers.length - 1)]!;
    asked.push({ ...caller.registers, list: it.vcpu.read(gvaOf(CAA + 8), 0xff8) });
    const answer = typeof next === 'function' ? next(it) : next;
    if (answer === 'not run') return;
    Object.assign(caller.registers, { rax: 0n, ...answer });
    it.vcpu.write(gvaOf(CAA), new Uint8Array(1));
  });
  return { it, asked };
}

const A = physAddr(6 * MiB);
const B = physAddr(6 * MiB + 0x1000);
const area = { gva: gvaOf(CAA), gpa: physAddr(CAA) };
const LIST = BigInt(CAA + 8);
const ZERO = { rcx: 0n, rdx: 0n, r8: 0n, r9: 0n };

describe('a request', () => {
  test.each<[string, (vcpu: Vcpu) => unknown, Partial<Registers>]>([
    [
      'REMAP_CA',
      (vcpu) => calls.remapCallingArea(vcpu, area, { gva: gvaOf(0), gpa: A }),
      { rax: 0n, rcx: A },
    ],
    [
      'CREATE_VCPU',
      (vcpu) => calls.createVcpuBySvsm(vcpu, area, { vmsa: A, caa: B, apicId: 2 ** 32 - 1 }),
      { rax: 2n, rcx: A, rdx: B, r8: 2n ** 32n - 1n },
    ],
    ['DELETE_VCPU', (vcpu) => calls.deleteVcpuBySvsm(vcpu, area, A), { rax: 3n, rcx: A }],
    ['DEPOSIT_MEM', (vcpu) => calls.depositToSvsm(vcpu, area, [{ gpa: A, size: 1 }]), { rax: 4n, rcx: LIST }],
    ['WITHDRAW_MEM', (vcpu) => calls.withdrawFromSvsm(vcpu, area), { rax: 5n, rcx: LIST }],
    [
      'QUERY_PROTOCOL',
      (vcpu) => calls.querySvsmProtocol(vcpu, area, 2 ** 32 - 1, 2 ** 32 - 2),
      { rax: 6n, rcx: ((2n ** 32n - 1n) << 32n) | (2n ** 32n - 2n) },
    ],
    ['a query of CONFIGURE_VTOM', (vcpu) => calls.querySvsmVtom(vcpu, area), { rax: 7n, rcx: 1n }],
    ['PVALIDATE', (vcpu) => calls.pvalidateBySvsm(vcpu, area, [entryOf(A)]), { rax: 1n, rcx: LIST }],
  ])('%s has its arguments in registers', (_, request, registers) => {
    const { it, asked } = answering({});
    request(it.guestCpu);
    expect(asked).toMatchObject([{ ...ZERO, ...registers }]);
  });

  test('CONFIGURE_VTOM has a flag for each setting, and 0 for those that are not given', () => {
    const values = { virtualTom: 5n << 40n, cr3: 0x1000n, rip: 0x2000n, rsp: 0x3000n };
    const names = ['virtualTom', 'cr3', 'rip', 'rsp'] as const;
    for (let set = 0; set < 16; set += 1) {
      const given = names.map((name, k) => [name, (set >> k) & 1 ? values[name] : undefined] as const);
      const { it, asked } = answering({});
      calls.configureSvsmVtom(it.guestCpu, area, Object.fromEntries(given) as never);
      const [tom = 0n, cr3 = 0n, rip = 0n, rsp = 0n] = given.map(([, value]) => value);
      const rcx = tom | (BigInt(set) << 1n);
      expect(asked).toMatchObject([{ rax: 7n, rcx, rdx: cr3, r8: rip, r9: rsp }]);
    }
  });

  test('takes its results from registers', () => {
    const protocol = (rcx: bigint) => {
      const { it } = answering({ rcx });
      return calls.querySvsmProtocol(it.guestCpu, area, 0, 1);
    };
    expect([protocol(0n), protocol((7n << 32n) | 3n)]).toEqual([undefined, { min: 3, max: 7 }]);
    const vtom = (rcx: bigint) => {
      const { it } = answering({ rcx, rdx: 1n << 40n, r8: 1n << 46n });
      return calls.querySvsmVtom(it.guestCpu, area);
    };
    expect([vtom(0x1_5001n), vtom(0x1_5003n)]).toEqual([
      undefined,
      { min: 1n << 40n, max: 1n << 46n, alignment: 1n << 21n },
    ]);
  });

  test('WITHDRAW_MEM returns the pages that the SVSM has written, as many as a calling area holds', () => {
    const pages = Array.from({ length: 510 }, (_, k) => BigInt(k + 1) << 12n);
    for (const count of [0, 1, 510]) {
      const words = new BigUint64Array([BigInt(count) | (1n << 16n), ...pages.slice(0, count)]);
      const { it } = answering((world) => {
        world.vcpu.write(gvaOf(CAA + 8), new Uint8Array(words.buffer));
        return {};
      });
      expect(calls.withdrawFromSvsm(it.guestCpu, area)).toEqual(pages.slice(0, count));
    }
  });
});

describe('a list', () => {
  const countOf = (list: Uint8Array): number => new DataView(list.buffer).getUint16(0, true);
  const nextOf = (list: Uint8Array): number => new DataView(list.buffer).getUint16(2, true);

  test.each([
    [0, []],
    [1, [1]],
    [510, [510]],
    [511, [510, 1]],
    [1021, [510, 510, 1]],
  ])('of %i entries goes in lists of %s', (count, lists) => {
    const { it, asked } = answering({});
    const entries = Array.from({ length: count }, (_, k) => entryOf(BigInt(A) + BigInt(k % 512) * 4096n));
    calls.pvalidateBySvsm(it.guestCpu, area, entries);
    expect(asked.map(({ list }) => [countOf(list), nextOf(list)])).toEqual(lists.map((one) => [one, 0]));
    const sent = asked.flatMap(({ list }) => [
      ...new BigUint64Array(list.buffer).subarray(1, 1 + countOf(list)),
    ]);
    expect(sent.map((word) => word & ~0xfffn)).toEqual(entries.map(({ gpa }) => gpa));
    const all: unknown[] = [];
    const pages = entries.map(({ gpa }) => ({ gpa, size: 0 as const }));
    const deposit = answering({});
    calls.depositToSvsm(deposit.it.guestCpu, area, pages);
    for (const { rax, list } of deposit.asked) all.push(Number(rax), countOf(list));
    expect(all).toEqual(lists.flatMap((one) => [4, one]));
  });

  test('that the SVSM does in parts is called again, once for each entry at most', () => {
    const incomplete = { rax: BigInt(SvsmResult.Incomplete) };
    const entries = [entryOf(A), entryOf(B)];
    const ends = answering(incomplete, incomplete, {});
    calls.pvalidateBySvsm(ends.it.guestCpu, area, entries);
    expect(ends.asked.length).toBe(3);
    const never = answering(incomplete);
    expect(thrownBy(() => calls.pvalidateBySvsm(never.it.guestCpu, area, entries))).toMatchObject({
      code: 'SVSM_REFUSED',
      details: { call: SvsmCall.Pvalidate, result: SvsmResult.Incomplete, entry: 0 },
    });
    expect(never.asked.length).toBe(3);
  });

  test('that is BUSY is called again, 1024 times in all', () => {
    const busy = { rax: BigInt(SvsmResult.Busy) };
    const ends = answering(busy, busy, busy, busy, {});
    calls.pvalidateBySvsm(ends.it.guestCpu, area, [entryOf(A)]);
    expect(ends.asked.length).toBe(5);
    const never = answering(busy);
    expect(codeOf(() => calls.pvalidateBySvsm(never.it.guestCpu, area, [entryOf(A)]))).toBe('SVSM_REFUSED');
    expect(never.asked.length).toBe(calls.SVSM_MAX_ATTEMPTS);
  });

  test('that is refused is not called again, and the error has the index of the entry', () => {
    const { it, asked } = answering((world) => {
      world.vcpu.write(gvaOf(CAA + 10), Uint8Array.of(0x05, 0x01));
      return { rax: BigInt(SvsmResult.InvalidAddress) };
    });
    expect(thrownBy(() => calls.depositToSvsm(it.guestCpu, area, [{ gpa: A, size: 0 }]))?.details).toEqual({
      call: SvsmCall.DepositMem,
      result: SvsmResult.InvalidAddress,
      entry: 0x105,
    });
    expect([asked.length, calls.entriesDone(it.guestCpu, area)]).toEqual([1, 0x105]);
    it.guest.nested.unmap(physAddr(CAA));
    expect(calls.entriesDone(it.guestCpu, area)).toBeUndefined();
  });
});

test.each([
  [SvsmResult.Busy, 1024],
  [SvsmResult.Incomplete, 1024],
  [SvsmResult.InvalidParameter, 1],
])('a request that returns 0x%x is made %i times', (result, times) => {
  const { it, asked } = answering({ rax: BigInt(result) });
  expect(
    thrownBy(() => calls.requestSvsm(it.guestCpu, area, SvsmCall.RemapCa, { rcx: 5n }))?.details,
  ).toEqual({
    call: SvsmCall.RemapCa,
    result,
    entry: 0,
  });
  expect(asked.length).toBe(times);
  expect(asked.every(({ rax, rcx }) => rax === 0n && rcx === 5n)).toBe(true);
});

test('a call that the hypervisor does not run is made again, 1024 times in all, and is withdrawn', () => {
  const pending = ({ vcpu }: SvsmWorld) => vcpu.read(gvaOf(CAA), 1)[0];
  const late = answering('not run', 'not run', { rcx: 9n });
  expect(calls.callSvsm(late.it.guestCpu, area, { rax: 6n })).toEqual({ ...ZERO, rax: 0n, rcx: 9n });
  expect([late.asked.length, pending(late.it)]).toEqual([3, 0]);
  const never = answering('not run');
  expect(thrownBy(() => calls.callSvsm(never.it.guestCpu, area, { rax: 6n }))?.details).toEqual({
    attempts: 1024,
  });
  expect([never.asked.length, pending(never.it)]).toEqual([1024, 0]);
});
