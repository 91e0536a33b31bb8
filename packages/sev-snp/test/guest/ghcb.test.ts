import { PageSize, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { encodeGhcbMsr } from '../../src/formats/ghcb-msr.ts';
import { GhcbExit, type GhcbPage } from '../../src/formats/ghcb-page.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { registerGhcb } from '../../src/guest/msr-protocol.ts';
import type { GhcbAnswer } from '../../src/host/ghcb-service.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { codeOf, gvaOf, MiB, spaOf, thrownBy, type World, world } from '../support/world.ts';

const GPA = 6 * MiB + 0x1000;

class Answering extends Hypervisor {
  answer: GhcbAnswer | undefined;
  /** Done to the page after the answer. */
  afterwards: ((page: GhcbPage) => void) | undefined;
  override answerGhcb(...args: Parameters<Hypervisor['answerGhcb']>): GhcbAnswer {
    return this.answer ?? super.answerGhcb(...args);
  }
  override vmgexit(...args: Parameters<Hypervisor['vmgexit']>): bigint {
    const response = super.vmgexit(...args);
    if ((args[1] & 0xfffn) === 0n) this.afterwards?.(ghcb!.page);
    return response;
  }
}

let ghcb: Ghcb | undefined;
function withGhcb(): { it: World; host: Answering; ghcb: Ghcb } {
  const it = world({ hypervisor: (machine) => new Answering(machine) });
  ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(GPA));
  return { it, host: it.machine.hypervisor as Answering, ghcb };
}

// GHCB exit 0x8000_FFFD, GHCB exit 0x8000_FFFE, G1, G3
test('a request and its answer go through the shared page', () => {
  const { it, ghcb } = withGhcb();
  expect([ghcb.gpa, ghcb.gva]).toEqual([physAddr(GPA), gvaOf(GPA)]);
  expect(ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures })).toBe(0x23n);
  expect(it.machine.hypervisor.read(spaOf(it, GPA), 4096)).toEqual(it.vcpu.read(gvaOf(GPA), 4096));
  expect(ghcb.page.get('protocolVersion')).toBe(2n);
  expect(thrownBy(() => ghcb.vmgexit({ exitCode: GhcbExit.Terminate, info1: 0x1234n }))).toMatchObject({
    code: 'TERMINATED',
    details: { reasonSet: 4, reason: 0x23 },
  });
});

// G4
test('a request marks valid no field of the one before, which the hypervisor may have left so', () => {
  const { host, ghcb } = withGhcb();
  const { answerGhcb } = host;
  const seen: unknown[] = [];
  host.answerGhcb = (...args) => {
    seen.push([args[2].isValid('rcx'), args[2].isValid('scratch')]);
    return answerGhcb.apply(host, args);
  };
  host.afterwards = (page) => {
    page.set('rcx', 1n);
    page.set('scratch', 2n);
  };
  for (let k = 0; k < 2; k += 1) ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures });
  expect(seen).toEqual([
    [false, false],
    [false, false],
  ]);
});

// A22
test('the old content of the page is cleared before it is shared', () => {
  const it = world();
  it.vcpu.write(gvaOf(GPA), new Uint8Array(4096).fill(0x5a));
  Ghcb.create(it.vcpu, it.table, gvaOf(GPA));
  expect(it.machine.hypervisor.read(spaOf(it, GPA), 4096)).toEqual(new Uint8Array(4096));
});

describe('the hypervisor refuses', () => {
  const refused = (change: (page: GhcbPage) => void): unknown => {
    const { it, ghcb } = withGhcb();
    const { page } = ghcb;
    page.set('protocolVersion', 2n);
    for (const field of ['exitCode', 'exitInfo1', 'exitInfo2'] as const) page.set(field, 0n);
    change(page);
    it.vcpu.ghcbMsr = ghcb.gpa;
    it.vcpu.vmgexit();
    return [page.get('exitInfo1'), page.get('exitInfo2')];
  };
  // G4, G5, G6
  test.each<[string, (page: GhcbPage) => void, bigint]>([
    ['another usage', (page) => page.set('usage', 1n), 2n],
    ['version 1 of the protocol', (page) => page.set('protocolVersion', 1n), 5n],
    ['version 3 of the protocol', (page) => page.set('protocolVersion', 3n), 5n],
    ['a request with nothing marked valid', (page) => page.invalidate(), 4n],
    ['an unknown exit', (page) => page.set('exitCode', 0x8000_0015n), 6n],
    ['a list without a scratch address', (page) => page.set('exitCode', GhcbExit.PageStateChange), 4n],
    ['a guest request with one page for both', (page) => page.set('exitCode', GhcbExit.GuestRequest), 4n],
    [
      'a list outside the page',
      (page) => {
        page.set('exitCode', GhcbExit.PageStateChange);
        page.set('scratch', 0x1000n);
      },
      3n,
    ],
  ])('%s', (_, change, why) => {
    expect(refused(change)).toEqual([2n, why]);
  });

  // G5, G13
  test('a page that was not registered, or that another processor has registered', () => {
    const { it, ghcb } = withGhcb();
    const other = it.guest.createVcpu();
    other.ghcbMsr = ghcb.gpa;
    other.vmgexit();
    expect([ghcb.page.get('exitInfo1'), ghcb.page.get('exitInfo2')]).toEqual([2n, 1n]);
    registerGhcb(it.vcpu, physAddr(0x5000));
    expect(thrownBy(() => ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures }))?.details).toMatchObject({
      info1: 2n,
      info2: 1n,
    });
  });

  // G13
  test('a page that the hypervisor cannot reach, because it is private or not mapped', () => {
    const { it, ghcb } = withGhcb();
    const exit = (gpa: bigint, vcpu = it.vcpu): string | undefined => {
      vcpu.ghcbMsr = gpa;
      return codeOf(() => vcpu.vmgexit());
    };
    expect(exit(ghcb.gpa + 0x1000n)).toBe('UNSUPPORTED_VMGEXIT');
    const other = physAddr(0x5000);
    it.vcpu.ghcbMsr = encodeGhcbMsr({ type: 'register-ghcb-request', gpa: other });
    it.vcpu.vmgexit();
    expect(exit(other)).toBe('UNSUPPORTED_VMGEXIT');
    it.guest.nested.unmap(physAddr(GPA));
    expect(exit(ghcb.gpa)).toBe('UNSUPPORTED_VMGEXIT');
  });
});

describe('the guest refuses', () => {
  // G5
  test.each<[string, bigint, bigint]>([
    ['an exception', 1n, 0x8000_0b0dn],
    ['a refusal', 2n, 5n],
    ['an unknown action', 7n, 0n],
  ])('%s', (_, info1, info2) => {
    const { host, ghcb } = withGhcb();
    host.answer = { info1, info2 };
    expect(thrownBy(() => ghcb.vmgexit({ exitCode: GhcbExit.RunVmpl }))).toMatchObject({
      code: 'VMGEXIT_FAILED',
      details: { info1, info2, exitCode: GhcbExit.RunVmpl },
    });
  });

  // G4
  test('an answer that is not marked valid', () => {
    const { host, ghcb } = withGhcb();
    host.afterwards = (page) => page.invalidate();
    const error = thrownBy(() => ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures }));
    expect(error).toMatchObject({ code: 'VMGEXIT_FAILED', details: { info1: undefined, info2: undefined } });
  });

  // G4
  test('an answer of which one half is not marked valid', () => {
    const { host, ghcb } = withGhcb();
    const INFOS = ['exitInfo1', 'exitInfo2'] as const;
    for (const half of INFOS) {
      host.afterwards = (page) => {
        page.invalidate();
        page.set(half, 0n);
      };
      expect(codeOf(() => ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures }))).toBe('VMGEXIT_FAILED');
    }
  });

  // GHCB MSR 0x013
  test('a hypervisor that does not register the page', () => {
    class Refusing extends Hypervisor {
      answer = 0n;
      override vmgexit(...args: Parameters<Hypervisor['vmgexit']>): bigint {
        return (args[1] & 0xfffn) === 0x012n ? this.answer : super.vmgexit(...args);
      }
    }
    for (const gpa of [undefined, physAddr(0x1000)]) {
      const it = world({ hypervisor: (machine) => new Refusing(machine) });
      (it.machine.hypervisor as Refusing).answer = encodeGhcbMsr({ type: 'register-ghcb', gpa });
      expect(codeOf(() => Ghcb.create(it.vcpu, it.table, gvaOf(GPA)))).toBe('INVALID_RESPONSE');
    }
  });
});

// G5
test('bits 63:32 of SW_EXITINFO1 are ignored', () => {
  const { host, ghcb } = withGhcb();
  host.answer = { info1: 0xffff_ffff_0000_0000n, info2: 5n };
  expect(ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures })).toBe(5n);
});

// A11
test('a GHCB that the hypervisor assigns to the guest faults', () => {
  const { it, ghcb } = withGhcb();
  it.machine.hypervisor.rmpupdate(spaOf(it, GPA), { assigned: true, asid: 1, gpa: physAddr(GPA) });
  expect(it.guest.nested.lookup(physAddr(GPA))?.size).toBe(PageSize.Regular);
  expect(codeOf(() => ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures }))).toBe('NPF');
});

// GHCB exit 0x8000_0018, V10
test('"run VMPL" runs the software of a level, and is refused for a level without software', () => {
  const { it, ghcb } = withGhcb();
  const entered: number[] = [];
  it.guest.onEnter(2, (caller) => entered.push(caller.vmpl));
  const runVmpl = (vmpl: bigint) => ghcb.vmgexit({ exitCode: GhcbExit.RunVmpl, info1: vmpl });
  expect([runVmpl(2n), entered]).toEqual([0n, [0]]);
  expect(thrownBy(() => runVmpl(3n))?.details).toMatchObject({ info1: 2n, info2: 5n });
});

// GHCB exit 0x8000_0013, GHCB exit 0x8000_0018
test.each<[string, bigint, bigint, bigint]>([
  ['AP creation of an unknown kind', GhcbExit.SnpApCreation, 3n, 0x5000n],
  ['AP creation with a reserved bit', GhcbExit.SnpApCreation, 0x10_0001n, 0x5000n],
  ['AP creation with a misaligned VMSA', GhcbExit.SnpApCreation, 1n, 0x5008n],
  ['"run VMPL" without a processor', GhcbExit.RunVmpl, 2n, 0n],
])('the hypervisor refuses %s as an invalid input', (_, exitCode, info1, info2) => {
  const { it, host, ghcb } = withGhcb();
  it.guest.onEnter(2, () => {});
  const request = { gpa: ghcb.gpa, exitCode, info1, info2, scratch: undefined, registers: { rax: 1n } };
  expect(host.answerGhcb(it.guest, request, ghcb.page)).toEqual({ info1: 2n, info2: 5n });
});
