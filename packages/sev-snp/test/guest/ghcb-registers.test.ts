/** Registers in a GHCB, both ways, with hypervisors that answer the exits of instructions. */
import { PAGE_SIZE, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { GuestContext, VcpuContext } from '../../src/cpu/platform.ts';
import {
  GHCB_REGISTERS,
  type GhcbRegister,
  type GhcbRegisters,
  ghcbExitFormat,
} from '../../src/formats/ghcb-exits.ts';
import { GhcbExit, GhcbPage, GhcbRefusal } from '../../src/formats/ghcb-page.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { requestGhcbMsr } from '../../src/guest/msr-protocol.ts';
import { makePageShared } from '../../src/guest/page-visibility.ts';
import type { CpuidRequest, CpuidResult } from '../../src/host/cpuid-service.ts';
import { type GhcbAnswer, type GhcbRequest, readGhcbRequest, refusal } from '../../src/host/ghcb-service.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { bytesOf, gvaOf, MiB, spaOf, thrownBy, type World, world } from '../support/world.ts';

const GPA = 6 * MiB + 0x1000;
const DATA = 6 * MiB + 0x4000;

interface Asking extends World {
  readonly ghcb: Ghcb;
}

function asking(Host: new (machine: never) => Hypervisor): Asking {
  const it = world({ hypervisor: (machine) => new Host(machine as never) });
  return { ...it, ghcb: Ghcb.create(it.vcpu, it.table, gvaOf(GPA)) };
}

const done = (registers: GhcbRegisters = {}, info2 = 0n): GhcbAnswer => ({ info1: 0n, info2, registers });

// GHCB exit 0x72, GHCB MSR 0x004, GHCB MSR 0x005
describe('a hypervisor that answers CPUID', () => {
  class WithCpuid extends Hypervisor {
    readonly asked: CpuidRequest[] = [];
    override cpuid(_guest: GuestContext, request: CpuidRequest): CpuidResult | undefined {
      this.asked.push(request);
      if (request.leaf > 0xd) return undefined;
      return { eax: request.leaf, ebx: request.subleaf, ecx: -1, edx: 0x8000_0000 };
    }
  }

  test('gets leaf, subleaf, XCR0 and XSS, and the guest gets four registers', () => {
    const { ghcb, machine } = asking(WithCpuid);
    const registers = { rax: 0xdn, rcx: 1n, xcr0: 7n, xss: 0x1800n };
    const answer = ghcb.exchange({ exitCode: GhcbExit.Cpuid, registers });
    expect(answer.registers).toEqual({ rax: 0xdn, rbx: 1n, rcx: 0xffff_ffffn, rdx: 0x8000_0000n });
    expect((machine.hypervisor as WithCpuid).asked).toEqual([
      { leaf: 0xd, subleaf: 1, xcr0: 7n, xss: 0x1800n },
    ]);
  });

  test('answers the same through the GHCB MSR, register by register', () => {
    const { vcpu, machine } = asking(WithCpuid);
    const ask = (register: number) =>
      requestGhcbMsr(vcpu, { type: 'cpuid-request', leaf: 5, register }, 'cpuid').value;
    expect([0, 1, 2, 3].map(ask)).toEqual([5, 0, 0xffff_ffff, 0x8000_0000]);
    const request = { leaf: 5, subleaf: 0, xcr0: undefined, xss: undefined };
    expect((machine.hypervisor as WithCpuid).asked).toEqual([request, request, request, request]);
  });

  // G4: KVM `sev_es_validate_vmgexit`
  test.each<[string, GhcbRegisters]>([
    ['RAX', { rcx: 0n }],
    ['RCX', { rax: 0n }],
    ['XCR0 of leaf 0xd', { rax: 0xdn, rcx: 0n }],
  ])('refuses a request without %s', (_, registers) => {
    const { ghcb } = asking(WithCpuid);
    const { details } = thrownBy(() => ghcb.exchange({ exitCode: GhcbExit.Cpuid, registers })) ?? {};
    expect(details).toMatchObject({ info1: 2n, info2: GhcbRefusal.MissingInput });
  });

  test('and one that does not answer a leaf refuses it as an event', () => {
    const { ghcb } = asking(WithCpuid);
    const call = { exitCode: GhcbExit.Cpuid, registers: { rax: 0xen, rcx: 0n } };
    expect(thrownBy(() => ghcb.exchange(call))?.details).toMatchObject({ info1: 2n, info2: 6n });
  });
});

/** A hypervisor with MSRs, a time stamp counter, ports, hypercalls, and what firmware and certificates need. */
class Full extends Hypervisor {
  readonly msrs = new Map<bigint, bigint>();
  jumpTable = 0n;
  readonly ids = [0, 1, 7];

  override answerGhcb(
    guest: GuestContext,
    request: GhcbRequest,
    page: GhcbPage,
    vcpu?: VcpuContext,
  ): GhcbAnswer {
    const { exitCode, info1, info2, registers } = request;
    const { rax = 0n, rbx = 0n, rcx = 0n, rdx = 0n } = registers;
    const low = (value: bigint) => BigInt.asUintN(32, value);
    switch (exitCode) {
      case GhcbExit.Msr: {
        if (info1 === 0n) {
          const value = this.msrs.get(low(rcx)) ?? 0n;
          return done({ rax: low(value), rdx: value >> 32n });
        }
        this.msrs.set(low(rcx), (low(rdx) << 32n) | low(rax));
        return done();
      }
      case GhcbExit.Vmmcall:
        return registers.cpl === 0n ? done({ rax: rax + rbx + (registers.rsi ?? 0n) }) : done({ rax: -1n });
      case GhcbExit.Rdtsc:
        return done({ rax: 0x89n, rdx: 0x1n });
      case GhcbExit.Rdtscp:
        return done({ rax: 0x89n, rcx: 3n, rdx: 0x1n });
      case GhcbExit.Ioio:
        return (info1 & 1n) === 0n ? done() : done({ rax: 0x55n });
      case GhcbExit.ApJumpTable:
        if (info1 > 1n) return refusal(GhcbRefusal.InvalidInput);
        if (info1 === 0n) this.jumpTable = info2;
        return done({}, this.jumpTable);
      case GhcbExit.GuestRequest: {
        const text = this.read(spaOf({ guest } as World, Number(info1)), 4);
        this.write(spaOf({ guest } as World, Number(info2)), text.reverse());
        return done({}, 0x16n);
      }
      case GhcbExit.ExtendedGuestRequest:
        if (rbx < 2n) return done({ rbx: 2n }, 1n << 32n);
        this.write(spaOf({ guest } as World, Number(rax)), bytesOf('certificates'));
        return done();
      case GhcbExit.GetApicIds: {
        if (rax === 0n) return done({ rax: 1n });
        const list = Uint32Array.of(this.ids.length, ...this.ids);
        this.write(spaOf({ guest } as World, Number(info1)), new Uint8Array(list.buffer));
        return done();
      }
      default:
        return super.answerGhcb(guest, request, page, vcpu);
    }
  }
}

// GHCB exit 0x7C
test('a subclass answers RDMSR and WRMSR', () => {
  const { ghcb } = asking(Full);
  const rcx = 0xc000_0103n;
  ghcb.exchange({ exitCode: GhcbExit.Msr, info1: 1n, registers: { rcx, rax: 5n, rdx: 9n } });
  const { registers } = ghcb.exchange({
    exitCode: GhcbExit.Msr,
    registers: { rcx },
    answers: ['rax', 'rdx'],
  });
  const [low, high]: bigint[] = [registers.rax, registers.rdx];
  expect([low, high]).toEqual([5n, 9n]);
});

// GHCB exit 0x81
test('a subclass answers VMMCALL, with registers of its own convention and the CPL', () => {
  const { ghcb } = asking(Full);
  const call = (cpl: bigint) =>
    ghcb.exchange({ exitCode: GhcbExit.Vmmcall, registers: { rax: 1n, rbx: 2n, rsi: 4n, cpl } }).registers
      .rax;
  expect([call(0n), call(3n)]).toEqual([7n, 2n ** 64n - 1n]);
});

// GHCB exit 0x6E, GHCB exit 0x87, GHCB exit 0x7B
test('a subclass answers RDTSC, RDTSCP and ports', () => {
  const { ghcb } = asking(Full);
  expect(ghcb.exchange({ exitCode: GhcbExit.Rdtsc }).registers).toEqual({ rax: 0x89n, rdx: 1n });
  expect(ghcb.exchange({ exitCode: GhcbExit.Rdtscp }).registers).toEqual({ rax: 0x89n, rcx: 3n, rdx: 1n });
  expect(ghcb.exchange({ exitCode: GhcbExit.Ioio, info1: 0x80_0011n }).registers).toEqual({ rax: 0x55n });
  const out = { exitCode: GhcbExit.Ioio, info1: 0x80_0010n, registers: { rax: 0x41n } };
  expect(ghcb.exchange(out).registers).toEqual({});
});

// GHCB exit 0x8000_0005
test('a subclass keeps an AP jump table', () => {
  const { ghcb } = asking(Full);
  const ask = (info1: bigint, info2 = 0n) => ghcb.vmgexit({ exitCode: GhcbExit.ApJumpTable, info1, info2 });
  ask(0n, 0x9_f000n);
  expect(ask(1n)).toBe(0x9_f000n);
  expect(thrownBy(() => ask(2n))?.details).toMatchObject({ info1: 2n, info2: 5n });
});

// GHCB exit 0x8000_0011, GHCB exit 0x8000_0012
test('a subclass answers guest requests, and tells the pages that certificates need', () => {
  const { ghcb, vcpu, table } = asking(Full);
  for (const page of [DATA, DATA + 0x1000, DATA + 0x2000]) makePageShared(vcpu, table, gvaOf(page));
  vcpu.write(gvaOf(DATA), bytesOf('abcd'));
  const [info1, info2] = [BigInt(DATA), BigInt(DATA + 0x1000)];
  expect(ghcb.vmgexit({ exitCode: GhcbExit.GuestRequest, info1, info2 })).toBe(0x16n);
  expect(vcpu.read(gvaOf(DATA + 0x1000), 4)).toEqual(bytesOf('dcba'));
  const extended = (rbx: bigint) =>
    ghcb.exchange({
      exitCode: GhcbExit.ExtendedGuestRequest,
      info1,
      info2,
      registers: { rax: BigInt(DATA + 0x2000), rbx },
    });
  expect(extended(1n)).toEqual({ info2: 1n << 32n, registers: { rbx: 2n } });
  expect(extended(2n)).toEqual({ info2: 0n, registers: {} });
  expect(vcpu.read(gvaOf(DATA + 0x2000), 12)).toEqual(bytesOf('certificates'));
});

// GHCB exit 0x8000_0017
test('a subclass lists the APIC ids, and tells the pages that they need', () => {
  const { ghcb, vcpu, table } = asking(Full);
  makePageShared(vcpu, table, gvaOf(DATA));
  const ask = (rax: bigint) =>
    ghcb.exchange({ exitCode: GhcbExit.GetApicIds, info1: BigInt(DATA), registers: { rax } }).registers.rax;
  expect([ask(0n), ask(1n)]).toEqual([1n, undefined]);
  expect([...new Uint32Array(vcpu.read(gvaOf(DATA), 16).buffer)]).toEqual([3, 0, 1, 7]);
});

// G4
describe('the guest believes', () => {
  const answering = (registers: GhcbRegisters) => {
    const it = asking(HostileHypervisor);
    (it.machine.hypervisor as HostileHypervisor).answers = { page: () => done(registers) };
    return it.ghcb;
  };

  test('no register that the exit does not define', () => {
    const all = Object.fromEntries(GHCB_REGISTERS.map((name) => [name, 1n]));
    const ghcb = answering(all);
    expect(ghcb.exchange({ exitCode: GhcbExit.Rdtsc }).registers).toEqual({ rax: 1n, rdx: 1n });
    expect(ghcb.exchange({ exitCode: 0x1234n }).registers).toEqual({});
    expect(ghcb.exchange({ exitCode: 0x1234n, answers: ['r8', 'xss'] }).registers).toEqual({
      r8: 1n,
      xss: 1n,
    });
  });

  test.each(['rax', 'rbx', 'rcx', 'rdx'] as const)('no answer to CPUID without %s', (missing) => {
    const { [missing]: _, ...registers } = { rax: 1n, rbx: 2n, rcx: 3n, rdx: 4n };
    const ghcb = answering(registers);
    const call = { exitCode: GhcbExit.Cpuid, registers: { rax: 0n, rcx: 0n } };
    const expected = { request: 0x72n, response: 0n, problem: `it does not mark ${missing} valid` };
    expect(thrownBy(() => ghcb.exchange(call))).toMatchObject({
      code: 'INVALID_RESPONSE',
      details: expected,
    });
  });

  test('no answer without a register that the request asks for', () => {
    const ghcb = answering({ rax: 1n });
    const call = { exitCode: 0x1234n, answers: ['rax', 'r9'] as const };
    expect(thrownBy(() => ghcb.exchange(call))).toMatchObject({ code: 'INVALID_RESPONSE' });
  });
});

// G4, A12
test('the host takes only registers that are marked valid, and reads the page once', () => {
  const register = fc.constantFrom<GhcbRegister>(...GHCB_REGISTERS);
  fc.assert(
    fc.property(
      fc.uniqueArray(register),
      fc.uint8Array({ minLength: PAGE_SIZE, maxLength: PAGE_SIZE }),
      (names, noise) => {
        const bytes = noise.slice();
        const page = GhcbPage.over(bytes);
        page.invalidate();
        page.set('usage', 0n);
        page.set('protocolVersion', 2n);
        for (const field of ['exitCode', 'exitInfo1', 'exitInfo2'] as const) page.set(field, 0x1234n);
        const expected = Object.fromEntries(names.map((name) => [name, name === 'cpl' ? 3n : 77n]));
        for (const name of names) page.set(name, expected[name]!);
        let reads = 0;
        const live = new GhcbPage({
          read: (offset, length) => {
            reads += 1;
            return bytes.slice(offset, offset + length);
          },
          write: () => expect.unreachable(),
        });
        const request = readGhcbRequest(live, physAddr(GPA)) as GhcbRequest;
        expect([request.registers, request.scratch, reads]).toEqual([expected, undefined, 1]);
      },
    ),
  );
});

// G4: each exit and direction, against the list of KVM
test('every input of an exit is needed', () => {
  const cases: [bigint, bigint][] = Object.values(GhcbExit).flatMap((code) =>
    [0n, 1n, 2n, 4n].map((info1) => [code, info1] as [bigint, bigint]),
  );
  for (const [exitCode, info1] of cases) {
    const { inputs } = ghcbExitFormat(exitCode, info1, 0xdn);
    const answerWithout = (missing?: string) => {
      const page = GhcbPage.over();
      page.set('protocolVersion', 2n);
      page.set('exitCode', exitCode);
      page.set('exitInfo1', exitCode === GhcbExit.GuestRequest ? 0n : info1);
      page.set('exitInfo2', 0x1000n);
      for (const input of inputs) if (input !== missing) page.set(input, input === 'rax' ? 0xdn : 0n);
      return readGhcbRequest(page, physAddr(GPA));
    };
    if (exitCode === GhcbExit.ExtendedGuestRequest && info1 !== 0n) continue;
    expect(answerWithout(), `exit 0x${exitCode.toString(16)}`).toHaveProperty('exitCode', exitCode);
    for (const input of inputs) expect(answerWithout(input)).toEqual({ info1: 2n, info2: 4n });
  }
});

test('a register that does not exist, or does not fit, writes nothing', () => {
  const { ghcb } = asking(Hypervisor);
  const refused = (registers: object) =>
    thrownBy(() => ghcb.exchange({ exitCode: GhcbExit.HypervisorFeatures, registers }))?.code;
  expect([refused({ eax: 1n }), refused({ cpl: 256n }), refused({ rax: -1n })]).toEqual([
    'INVALID_ARGUMENT',
    'INVALID_MESSAGE',
    'INVALID_MESSAGE',
  ]);
});
