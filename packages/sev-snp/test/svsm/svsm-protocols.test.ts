/** Protocols in addition to the core protocol: what a handler can do, and what it cannot. */
import { physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { type SvsmRegisters, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { querySvsmProtocol } from '../../src/guest/svsm-call.ts';
import type { SvsmProtocol, SvsmProtocolAnswer, SvsmProtocolCall } from '../../src/svsm/other-protocol.ts';
import { SvsmState } from '../../src/svsm/svsm-state.ts';
import { CAA, call, entryOf, pvalidateList, type SvsmWorld, svsmWorld } from '../support/svsm-world.ts';
import { bytesOf, codeOf, gvaOf, MiB, spaOf } from '../support/world.ts';

const { Success, InvalidAddress, InvalidRequest, Busy, UnsupportedProtocol } = SvsmResult;
const VTPM = 2;
const BUFFER = 6 * MiB + 0x1ff0;
const OWN = 0x1000;

/** A world whose SVSM has protocol 2, with this handler and versions 1 to 3. */
function withProtocol(
  handler: (call: SvsmProtocolCall, it: SvsmWorld) => SvsmProtocolAnswer,
  trace?: () => void,
): SvsmWorld {
  const protocol: SvsmProtocol = { versions: { min: 1, max: 3 }, call: (asked) => handler(asked, it) };
  const it: SvsmWorld = svsmWorld(
    { protocols: new Map([[VTPM, protocol]]) },
    trace === undefined ? {} : { trace },
  );
  it.machine.hypervisor.splitPage(it.guest, physAddr(BUFFER));
  return it;
}

const id = (number: number) => VTPM * 2 ** 32 + number;
const ask = (it: SvsmWorld, registers: Partial<SvsmRegisters> = {}, number = 1) =>
  call(it, id(number), registers);

// S6, SVSM call 6
test('QUERY_PROTOCOL knows the versions of a protocol', () => {
  const it = withProtocol(() => ({ result: 0 }));
  const versions = (protocol: number, version: number) =>
    querySvsmProtocol(it.guestCpu, it.area, protocol, version);
  expect([1, 2, 3].map((version) => versions(VTPM, version))).toEqual(
    Array.from({ length: 3 }, () => ({ min: 1, max: 3 })),
  );
  expect([versions(VTPM, 0), versions(VTPM, 4), versions(1, 1)]).toEqual([undefined, undefined, undefined]);
  expect(versions(0, 1)).toEqual({ min: 1, max: 1 });
  expect(call(it, 2 ** 32)).toBe(UnsupportedProtocol);
});

// S14
test('a handler gets the call, the level and the registers, and returns some', () => {
  const seen: unknown[] = [];
  const it = withProtocol(({ id, vmpl, registers }) => {
    seen.push({ id, vmpl, ...registers });
    return { result: 0x1234, rcx: 2n ** 64n - 1n, r9: 7n };
  });
  const registers = { rcx: 1n, rdx: 2n, r8: 3n, r9: 4n };
  expect(ask(it, registers, 0xffff_ffff)).toBe(0x1234);
  expect(seen).toEqual([{ id: 0xffff_ffff, vmpl: 2, rcx: 1n, rdx: 2n, r8: 3n, r9: 4n }]);
  expect(registers).toMatchObject({ rcx: 2n ** 64n - 1n, rdx: 2n, r8: 3n, r9: 7n });
});

// S14
test('a handler reads and writes memory of the guest, across pages', () => {
  const it = withProtocol(({ read, write, registers }) => {
    write(registers.rcx, read(registers.rcx, 32).reverse());
    return { result: Success };
  });
  const text = bytesOf('0123456789abcdef0123456789ABCDEF');
  it.guestCpu.write(gvaOf(BUFFER), text);
  expect(ask(it, { rcx: BigInt(BUFFER) })).toBe(Success);
  expect(it.guestCpu.read(gvaOf(BUFFER), 32)).toEqual(text.reverse());
});

describe('an access that the caller may not make ends the call', () => {
  // S14, A14
  test.each<[string, bigint, number]>([
    ['the SVSM’s own memory', BigInt(OWN), 8],
    ['memory outside of the guest', BigInt(8 * MiB), 8],
    ['memory that begins before the end of the guest', BigInt(8 * MiB - 4), 8],
    ['an address beyond 2^52', 1n << 60n, 8],
    ['a negative address', -8n, 4],
  ])('%s: INVALID_ADDRESS, also if the handler drops the error', (_, gpa, length) => {
    for (const access of ['read', 'write'] as const) {
      for (const drops of [false, true]) {
        const it = withProtocol((asked) => {
          try {
            if (access === 'read') asked.read(gpa, length);
            else asked.write(gpa, new Uint8Array(length).fill(0xee));
          } catch (error) {
            if (!drops) throw error;
          }
          return { result: Success, rcx: 5n };
        });
        const before = it.vcpu.read(gvaOf(OWN), 8);
        const registers = { rcx: 1n };
        expect([ask(it, registers), registers.rcx]).toEqual([InvalidAddress, 1n]);
        expect(it.vcpu.read(gvaOf(OWN), 8)).toEqual(before);
      }
    }
  });

  // S12, S14
  test('a page on which the caller has no rights: INVALID_ADDRESS', () => {
    const it = withProtocol(({ write }) => {
      write(BigInt(BUFFER), Uint8Array.of(9));
      return { result: Success };
    });
    it.vcpu.rmpadjust(gvaOf(BUFFER & -4096), 0x1000, { vmpl: 2, permissions: 0 });
    expect(ask(it)).toBe(InvalidAddress);
    expect(it.vcpu.read(gvaOf(BUFFER), 1)).toEqual(Uint8Array.of(0));
  });

  // S14
  test('a page that the hypervisor hides: INVALID_ADDRESS', () => {
    const it = withProtocol(({ read }) => ({ result: read(BigInt(BUFFER), 1)[0]! }));
    it.guest.nested.unmap(physAddr(BUFFER & -4096));
    expect(ask(it)).toBe(InvalidAddress);
  });

  // S13, S14
  test('a page that another call uses: BUSY; and the pages of this call are its own until it ends', () => {
    const results: unknown[] = [];
    const it = withProtocol(({ read, id: number, registers }, world) => {
      read(registers.rcx, 1);
      if (number === 1) {
        const second = world.guest.createVcpu({ vmpl: 2 });
        world.svsm.register(second, physAddr(4 * MiB + 0x8000));
        results.push(call(world, id(2), { rcx: registers.rcx }, second));
        results.push(call(world, id(2), { rcx: registers.rcx + 0x1_0000n }, second));
      }
      return { result: Success };
    });
    expect(ask(it, { rcx: BigInt(BUFFER) })).toBe(Success);
    expect(results).toEqual([Busy, Success]);
    expect(pvalidateList(it, [entryOf(BUFFER & -4096, { validate: false })])).toEqual([Success, 1]);
  });
});

describe('a handler that misbehaves is contained', () => {
  // S14
  test.each<[string, (asked: SvsmProtocolCall) => unknown]>([
    ['throws', () => expect.unreachable()],
    ['throws a syntax error', () => JSON.parse('{')],
    ['returns nothing', () => undefined],
    ['returns a result of 33 bits', () => ({ result: 2 ** 32 })],
    ['returns a negative result', () => ({ result: -1 })],
    ['returns a register of 65 bits', () => ({ result: 0, rcx: 1n << 64n })],
    ['returns a number as a register', () => ({ result: 0, rdx: 1 })],
    ['reads a negative length', ({ read }) => ({ result: 0, bytes: read(BigInt(BUFFER), -1) })],
    ['reads without end', ({ read }) => ({ result: 0, bytes: read(BigInt(BUFFER), 2 ** 60) })],
    ['writes what are not bytes', ({ write }) => ({ result: 0, _: write(BigInt(BUFFER), 'x' as never) })],
    ['reads at an address that is not a bigint', ({ read }) => ({ result: 0, _: read(5 as never, 1) })],
  ])('%s: INVALID_REQUEST', (_, handler) => {
    const it = withProtocol(handler as never);
    const registers = { rcx: 1n };
    expect([ask(it, registers), registers.rcx]).toEqual([InvalidRequest, 1n]);
    // Nothing of the call is left behind.
    expect(pvalidateList(it, [entryOf(BUFFER & -4096, { validate: false })])).toEqual([Success, 1]);
  });

  // S14, A15
  test('calls back: its caller is busy, and its accesses end with the call', () => {
    const results: unknown[] = [];
    let kept: SvsmProtocolCall['read'] | undefined;
    const it = withProtocol(({ read }, world) => {
      kept = read;
      results.push(call(world, 6, { rcx: 1n }), world.svsm.enter(world.guestCpu));
      return { result: Success };
    });
    expect(ask(it)).toBe(Success);
    expect(results).toEqual([Busy, false]);
    expect(() => kept!(BigInt(CAA), 1)).toThrow('the call has ended');
  });

  // S14
  test('an error of `trace` during an access goes on to the caller of the SVSM', () => {
    let isArmed = false;
    const it = withProtocol(
      ({ read }) => {
        isArmed = true;
        try {
          read(BigInt(BUFFER), 1);
        } finally {
          isArmed = false;
        }
        return { result: Success };
      },
      () => {
        if (isArmed) throw new Error('from trace');
      },
    );
    it.guest.nested.unmap(physAddr(BUFFER & -4096));
    expect(() => ask(it)).toThrow('from trace');
  });
});

// S14
test.each<[string, unknown]>([
  ['the core protocol', new Map([[0, { versions: { min: 1, max: 1 }, call: () => ({ result: 0 }) }]])],
  [
    'a number of 33 bits',
    new Map([[2 ** 32, { versions: { min: 1, max: 1 }, call: () => ({ result: 0 }) }]]),
  ],
  [
    'versions in the wrong order',
    new Map([[2, { versions: { min: 2, max: 1 }, call: () => ({ result: 0 }) }]]),
  ],
  ['no versions', new Map([[2, { call: () => ({ result: 0 }) }]])],
  ['no call', new Map([[2, { versions: { min: 1, max: 1 } }]])],
  ['what is not a map', 5],
])('refuses %s', (_, protocols) => {
  const memory = svsmWorld().guest.memory;
  expect(codeOf(() => new SvsmState({ memory, own: [], protocols: protocols as never }))).toBe(
    'INVALID_ARGUMENT',
  );
});

// S14
test('a protocol that is added to the map later is not served', () => {
  const protocols = new Map<number, SvsmProtocol>();
  const it = svsmWorld({ protocols });
  protocols.set(VTPM, { versions: { min: 1, max: 1 }, call: () => ({ result: 0 }) });
  expect(ask(it)).toBe(UnsupportedProtocol);
  expect(spaOf(it, BUFFER)).toBeDefined();
});
