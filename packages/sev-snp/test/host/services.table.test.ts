/** The services of the hypervisor, answer by answer: GHCB requests, CPUID, ASIDs, RMPUPDATE of ranges, shared aliases. */
import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { GHCB_REGISTERS, ghcbExitFormat } from '../../src/formats/ghcb-exits.ts';
import { encodeGhcbMsr } from '../../src/formats/ghcb-msr.ts';
import { GHCB_FIELDS, GhcbExit, type GhcbField, GhcbPage, GhcbRefusal } from '../../src/formats/ghcb-page.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { cpuidAnswer, cpuidRequest, wordsOf } from '../../src/host/cpuid-service.ts';
import { readGhcbRequest, writeGhcbAnswer } from '../../src/host/ghcb-service.ts';
import { GuestAsids } from '../../src/host/guest-asids.ts';
import { mapSharedAlias } from '../../src/host/shared-alias.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { codeOf, gvaOf, MiB, spaOf, thrownBy, world } from '../support/world.ts';

const { Huge, Regular } = PageSize;
const gpa = physAddr(0x5000);

/** A GHCB with a request that has everything, changed by `change`. */
function ghcb(
  exitCode: bigint,
  change: (page: GhcbPage) => void = () => {},
  info1 = 0n,
  info2 = 0n,
): GhcbPage {
  const page = GhcbPage.over();
  page.set('usage', 0n);
  page.set('protocolVersion', 2n);
  page.set('exitCode', exitCode);
  page.set('exitInfo1', info1);
  page.set('exitInfo2', info2);
  change(page);
  return page;
}

function setAll(page: GhcbPage, fields: readonly GhcbField[]): void {
  for (const field of fields) page.set(field, 1n);
}

/** Copies a page without some of its valid fields. */
function without(page: GhcbPage, missing: string): GhcbPage {
  const copy = GhcbPage.over();
  for (const field of Object.keys(GHCB_FIELDS) as GhcbField[]) {
    const value = page.get(field);
    if (field !== missing && value !== undefined) copy.set(field, value);
  }
  return copy;
}

describe('a request in a GHCB', () => {
  test('is refused if it is not registered, of another usage or version, or without an input', () => {
    const { NotRegistered, BadUsage, InvalidInput, MissingInput } = GhcbRefusal;
    const features = GhcbExit.HypervisorFeatures;
    const refused = (page: GhcbPage, isRegistered?: boolean): unknown =>
      (readGhcbRequest(page, gpa, isRegistered) as { info2: bigint }).info2;
    expect(refused(ghcb(features), false)).toBe(NotRegistered);
    expect(refused(ghcb(features, (page) => page.set('usage', 1n)))).toBe(BadUsage);
    for (const version of [0n, 1n, 3n])
      expect(refused(ghcb(features, (page) => page.set('protocolVersion', version)))).toBe(InvalidInput);
    for (const field of ['exitCode', 'exitInfo1', 'exitInfo2'])
      expect(refused(without(ghcb(features), field))).toBe(MissingInput);
    expect(
      readGhcbRequest(
        ghcb(features, () => {}, 3n, 4n),
        gpa,
      ),
    ).toEqual({
      gpa,
      exitCode: features,
      info1: 3n,
      info2: 4n,
      scratch: undefined,
      registers: {},
    });
  });

  test.each(Object.entries(GhcbExit))('%s has to mark its inputs valid', (_, exitCode) => {
    const { inputs } = ghcbExitFormat(exitCode, 0n, 0n);
    const isGuestRequest = exitCode === GhcbExit.GuestRequest || exitCode === GhcbExit.ExtendedGuestRequest;
    const [info1, info2] = isGuestRequest ? [0x1000n, 0x2000n] : [0n, 0n];
    const all = ghcb(exitCode, (page) => setAll(page, inputs), info1, info2);
    expect(readGhcbRequest(all, gpa)).toMatchObject({ exitCode });
    for (const input of inputs)
      expect(readGhcbRequest(without(all, input), gpa)).toEqual({
        info1: 2n,
        info2: GhcbRefusal.MissingInput,
      });
  });

  test.each([GhcbExit.GuestRequest, GhcbExit.ExtendedGuestRequest])(
    'of the firmware, 0x%x, has two different pages',
    (exitCode) => {
      const { inputs } = ghcbExitFormat(exitCode, 0n, 0n);
      const set = (page: GhcbPage): void => setAll(page, inputs);
      for (const [info1, info2, isSound] of [
        [0x1000n, 0x2000n, true],
        [0x1000n, 0x1000n, false],
        [0x1008n, 0x2000n, false],
        [0x1000n, 0x2008n, false],
        [0x1008n, 0x2008n, false],
      ] as const)
        expect('exitCode' in readGhcbRequest(ghcb(exitCode, set, info1, info2), gpa)).toBe(isSound);
    },
  );

  test('gets an answer that marks no other field valid, cut to the width of the fields', () => {
    const page = ghcb(GhcbExit.Cpuid, (it) => setAll(it, GHCB_REGISTERS));
    writeGhcbAnswer(page, {
      info1: 5n,
      info2: 6n,
      registers: { rax: (1n << 64n) | 7n, cpl: 0x103n, rbx: undefined as never },
    });
    expect([page.get('exitInfo1'), page.get('exitInfo2'), page.get('rax'), page.get('cpl')]).toEqual([
      5n,
      6n,
      7n,
      3n,
    ]);
    expect(GHCB_REGISTERS.filter((name) => page.isValid(name))).toEqual(['rax', 'cpl']);
  });

  test.each<[string, unknown]>([
    ['the answer cannot be null', null],
    ['the answer cannot be "x"', 'x'],
    ['info1 cannot be undefined', {}],
    ['info2 cannot be undefined', { info1: 0n }],
    ['info1 cannot be 0x10000000000000000: pass', { info1: 1n << 64n, info2: 0n }],
    ['info2 cannot be -0x1: pass', { info1: 0n, info2: -1n }],
    ['registers cannot be null', { info1: 0n, info2: 0n, registers: null }],
    ['rax cannot be "x": pass a bigint [', { info1: 0n, info2: 0n, registers: { rax: 'x' } }],
    ['a name in registers cannot be "zz"', { info1: 0n, info2: 0n, registers: { zz: 1n } }],
    ['a name in the answer cannot be "register"', { info1: 0n, info2: 0n, register: {} }],
  ])('refuses an answer that is malformed, and writes nothing: %s', (message, answer) => {
    const page = ghcb(GhcbExit.Cpuid, (it) => setAll(it, GHCB_REGISTERS));
    const before = page.snapshot();
    const refused = thrownBy(() => writeGhcbAnswer(page, answer as never));
    expect([refused?.code, refused?.message.slice(0, message.length)]).toEqual(['INVALID_ARGUMENT', message]);
    for (const name of GHCB_REGISTERS) expect(page.get(name)).toBe(before.get(name));
    expect([page.get('exitInfo1'), page.get('exitInfo2')]).toEqual([
      before.get('exitInfo1'),
      before.get('exitInfo2'),
    ]);
  });
});

describe('CPUID', () => {
  const result = { eax: -1, ebx: 2, ecx: 2 ** 32 - 3, edx: 4 };
  const words = [2 ** 32 - 1, 2, 2 ** 32 - 3, 4];

  test('has 32 bits of leaf and sub-leaf, and XCR0 and XSS as they are given', () => {
    const registers = { rax: (5n << 32n) | 0xdn, rcx: (5n << 32n) | 1n, xcr0: 7n, xss: 8n };
    expect(cpuidRequest({ registers } as never)).toEqual({ leaf: 0xd, subleaf: 1, xcr0: 7n, xss: 8n });
    expect(cpuidRequest({ registers: {} } as never)).toEqual({
      leaf: 0,
      subleaf: 0,
      xcr0: undefined,
      xss: undefined,
    });
  });

  test('has its result in four registers, or is an invalid event', () => {
    expect(wordsOf(result)).toEqual(words);
    const [rax, rbx, rcx, rdx] = words.map(BigInt);
    expect(cpuidAnswer(result)).toEqual({ info1: 0n, info2: 0n, registers: { rax, rbx, rcx, rdx } });
    expect(cpuidAnswer(undefined)).toEqual({ info1: 2n, info2: GhcbRefusal.InvalidEvent });
  });

  test('through the GHCB MSR returns one register, or leaves the request', () => {
    const { guest, machine } = world();
    const { hypervisor } = machine;
    for (const register of [0, 1, 2, 3] as const) {
      const request = encodeGhcbMsr({ type: 'cpuid-request', register, leaf: 7 });
      expect(hypervisor.vmgexit(guest, request)).toBe(request);
      hypervisor.cpuid = (_guest, { leaf, subleaf }) => (leaf === 7 && subleaf === 0 ? result : undefined);
      const value = words[register]!;
      expect(hypervisor.vmgexit(guest, request)).toBe(encodeGhcbMsr({ type: 'cpuid', register, value }));
      hypervisor.cpuid = () => undefined;
    }
  });
});

test('ASIDs are 1 to the number of guests, and then there is none', () => {
  const asids = new GuestAsids(2);
  const taken = [1, 2].map(() => {
    asids.requireFree();
    return asids.take();
  });
  expect(taken).toEqual([1, 2]);
  expect(thrownBy(() => asids.requireFree())?.details).toEqual({
    what: 'the number of guests',
    value: 3,
    expected: 'at most 2 guests have an ASID',
  });
});

describe('RMPUPDATE of the host', () => {
  const first = sysPhysAddr(28 * MiB);
  const given = { assigned: true, gpa: physAddr(2 * MiB), asid: 9, pageSize: Regular } as const;
  const state = { ...given, immutable: undefined };

  test('of a range reports all pages at once, and the first one that fails', () => {
    const it = world();
    const { hypervisor, rmp } = it.machine;
    const used = sysPhysAddr(first + 5n * 4096n);
    expect(hypervisor.rmpupdatePages(first, 3, given)).toBe(RmpResult.SUCCESS);
    expect(it.events).toEqual([{ type: 'rmpupdate', spa: first, state, result: 0, count: 3 }]);
    expect([0, 2, 3].map((k) => rmp.entry(sysPhysAddr(first + BigInt(k) * 4096n))!.gpa)).toEqual([
      2n * BigInt(MiB),
      BigInt(2 * MiB + 0x2000),
      0n,
    ]);
    it.events.length = 0;
    rmp.setInUse(used, true);
    expect(hypervisor.rmpupdatePages(first, 9, given)).toBe(RmpResult.FAIL_INUSE);
    expect(it.events).toEqual([
      { type: 'rmpupdate', spa: first, state, result: 0, count: 5 },
      { type: 'rmpupdate', spa: used, state, result: RmpResult.FAIL_INUSE },
    ]);
    it.events.length = 0;
    expect(hypervisor.rmpupdatePages(used, 2, given)).toBe(RmpResult.FAIL_INUSE);
    expect(it.events).toEqual([{ type: 'rmpupdate', spa: used, state, result: RmpResult.FAIL_INUSE }]);
  });

  test('ends the arrays of the pages that it has changed, and no others', () => {
    for (const [count, pageSize, ended] of [
      [1, Regular, [true, false, false]],
      [2, Regular, [true, true, false]],
      [1, Huge, [true, true, false]],
    ] as const) {
      const { hypervisor, memory } = world().machine;
      const pages = [first, first + 4096n, first + BigInt(2 * MiB)].map((at) => Number(at / 4096n));
      const arrays = pages.map((frame) => hypervisor.memory.words(frame, true));
      const one = { ...given, pageSize };
      if (count === 1) hypervisor.rmpupdate(first, one);
      else hypervisor.rmpupdatePages(first, count, one);
      for (const words of arrays) words[0] = 7;
      const hasEnded = pages.map((frame) => memory.read(sysPhysAddr(frame * PAGE_SIZE), 1, 0)[0] !== 7);
      expect(hasEnded).toEqual(ended);
    }
  });

  test('that is refused ends no array', () => {
    const { hypervisor, memory, rmp } = world().machine;
    rmp.setInUse(first, true);
    const words = hypervisor.memory.words(Number(first) / PAGE_SIZE, true);
    expect(hypervisor.rmpupdate(first, given)).toBe(RmpResult.FAIL_INUSE);
    words[0] = 7;
    expect(memory.read(first, 1, 0)[0]).toBe(7);
  });
});

// C9
test('an address above the virtual top of memory gets the shared page at its offset, and no other', () => {
  const tom = 1n << 40n;
  const it = world({}, { virtualTom: tom, pageSize: Regular });
  const { guest, machine } = it;
  const at = (offset: number) => physAddr(tom + BigInt(offset));
  expect([mapSharedAlias(guest, at(0x3000)), mapSharedAlias(guest, physAddr(0x3000))]).toEqual([
    false,
    false,
  ]);
  expect(mapSharedAlias(guest, at(64 * MiB))).toBe(false);
  expect(guest.nested.lookup(at(0x3000))).toBeUndefined();
  machine.hypervisor.changePageState(guest, physAddr(0), 2);
  machine.hypervisor.changePageState(guest, physAddr(0x3000), 2);
  expect([mapSharedAlias(guest, at(0)), mapSharedAlias(guest, at(0x3008))]).toEqual([true, true]);
  expect(guest.nested.lookup(at(0x3000))).toMatchObject({ spa: spaOf(it, 0x3000), size: Regular });
  expect(guest.nested.lookup(at(0))).toMatchObject({ spa: spaOf(it, 0) });
  expect(mapSharedAlias(world().guest, at(0x3000))).toBe(false);
});

describe('a launch needs', () => {
  /** A machine with `left` free pages. */
  const machineWith = (left: number): SnpMachine => {
    const count = (machine: SnpMachine): number => {
      for (let pages = 0; ; pages += 1)
        if (codeOf(() => machine.hypervisor.allocatePage()) !== undefined) return pages;
    };
    const all = count(new SnpMachine({ memorySize: 8 * MiB }));
    const machine = new SnpMachine({ memorySize: 8 * MiB });
    for (let taken = 0; taken < all - left; taken += 1) machine.hypervisor.allocatePage();
    return machine;
  };
  const two = [createVmsa(), createVmsa()];
  const map = [0x1000, 0x20_0000, 0x4000_0000].map((start) => ({
    region: physRegion(physAddr(start), PAGE_SIZE),
    validated: true,
  }));

  // The root, the context, a table for each level, and a VMCB for each VMSA: a page each.
  test.each<[string, object, number]>([
    ['a page', { size: PAGE_SIZE }, 1 + 2 + 3],
    ['a page in 5 nested levels', { size: PAGE_SIZE, nestedLevels: 5 }, 1 + 2 + 4],
    // Places that share a table count it each.
    ['pages in three places', { memory: map }, 3 + 2 + 3 * 3],
    ['2 MiB', { size: 2 * MiB }, 512 + 2 + 2],
    ['2 MiB in small pages', { size: 2 * MiB, pageSize: Regular }, 512 + 2 + 3],
    ['4 MiB and a page', { size: 4 * MiB + PAGE_SIZE }, 1025 + 2 + 2 + 3],
    ['a page, and two processors', { size: PAGE_SIZE, vmsas: two }, 1 + 2 + 3 + 4 + 1],
  ])('%s: %o, %i pages', (_, options, pages) => {
    const launch = (left: number) => {
      const machine = machineWith(left);
      return thrownBy(() => machine.hypervisor.launch(options as never));
    };
    const needed = BigInt(pages * PAGE_SIZE);
    const free = needed - BigInt(PAGE_SIZE);
    expect(launch(pages - 1)).toMatchObject({ code: 'OUT_OF_MEMORY', details: { needed, free } });
    const isSmall = pages < 512;
    if (isSmall) expect(launch(pages)).toBeUndefined();
  });
});

describe('AP creation and "run VMPL"', () => {
  test('a level that does not exist, and a processor without a VMSA, are not run', () => {
    const it = world({}, { vmsas: [createVmsa()] });
    const { hypervisor } = it.machine;
    const vmsa = hypervisor.vmsaOf(it.guest, 0);
    expect([
      vmsa?.gpa !== undefined,
      hypervisor.vmsaOf(it.guest, 1),
      hypervisor.vmsaOf(it.guest, 0, 1),
    ]).toEqual([true, undefined, undefined]);
    const other = world().guest;
    expect(hypervisor.vmsaOf(other, 0)).toBeUndefined();
    expect(hypervisor.runVmpl(it.guest, 2, it.vcpu)).toBe(false);
    let entered = 0;
    it.guest.onEnter(2, () => {
      entered += 1;
    });
    expect([hypervisor.runVmpl(it.guest, 2, it.vcpu), entered]).toEqual([true, 1]);
    expect(codeOf(() => it.vcpu.read(gvaOf(2 * MiB), 1))).toBeUndefined();
  });
});

describe('a request in the GHCB MSR', () => {
  const info = { type: 'sev-info', minVersion: 2, maxVersion: 2, cBit: 51 } as const;
  test.each<[string, bigint, bigint | undefined]>([
    ['the versions', encodeGhcbMsr({ type: 'sev-info-request' }), encodeGhcbMsr(info)],
    [
      'the features',
      encodeGhcbMsr({ type: 'features-request' }),
      encodeGhcbMsr({ type: 'features', features: 0x23n }),
    ],
    [
      'a preferred GHCB',
      encodeGhcbMsr({ type: 'preferred-ghcb-request' }),
      encodeGhcbMsr({ type: 'preferred-ghcb', gpa: undefined }),
    ],
    [
      'a GHCB in memory',
      encodeGhcbMsr({ type: 'register-ghcb-request', gpa }),
      encodeGhcbMsr({ type: 'register-ghcb', gpa }),
    ],
    [
      'a GHCB outside memory',
      encodeGhcbMsr({ type: 'register-ghcb-request', gpa: physAddr(64 * MiB) }),
      encodeGhcbMsr({ type: 'register-ghcb', gpa: undefined }),
    ],
    ['a request that nobody knows', 0xffen, 0xffen],
  ])('%s', (_, request, answer) => {
    const { guest, machine, vcpu } = world();
    for (const caller of [undefined, vcpu])
      expect(machine.hypervisor.vmgexit(guest, request, caller)).toBe(answer);
  });

  test('a termination has its reason', () => {
    const { guest, machine } = world();
    const request = encodeGhcbMsr({ type: 'terminate', reasonSet: 3, reason: 0x42 });
    expect(thrownBy(() => machine.hypervisor.vmgexit(guest, request))).toMatchObject({
      code: 'TERMINATED',
      details: { reasonSet: 3, reason: 0x42 },
    });
  });

  test('a level is run for a processor, and for nobody else', () => {
    const { guest, machine, vcpu } = world();
    let entered = 0;
    guest.onEnter(1, () => {
      entered += 1;
    });
    const request = encodeGhcbMsr({ type: 'run-vmpl-request', vmpl: 1 });
    const done = encodeGhcbMsr({ type: 'run-vmpl', error: 0 });
    expect(machine.hypervisor.vmgexit(guest, request, vcpu)).toBe(done);
    expect(machine.hypervisor.vmgexit(guest, request)).not.toBe(done);
    expect(entered).toBe(1);
  });
});

// A request that a subclass passes on has the types of its fields.
test.each<[string, object]>([
  ['physical address', { gpa: 'x' }],
  ['exitCode cannot be "x": pass', { exitCode: 'x' }],
  ['info1 cannot be -0x1: pass', { info1: -1n }],
  ['info2 cannot be 0x10000000000000000: pass', { info2: 1n << 64n }],
  ['scratch cannot be "x": pass', { scratch: 'x' }],
  ['the registers cannot be "x": pass', { registers: 'x' }],
  ['rax cannot be "x": pass', { registers: { rax: 'x' } }],
  ['a name in the request cannot be "rip"', { rip: 1n }],
])('a request to answer that is malformed is refused: %s', (message, wrong) => {
  const { guest, machine, vcpu } = world();
  const request = { gpa, exitCode: 0x8000_fffdn, info1: 0n, info2: 0n, scratch: undefined, registers: {} };
  const { hypervisor } = machine;
  const answer = (fields: object, page: unknown = GhcbPage.over(), caller: unknown = vcpu): unknown =>
    hypervisor.answerGhcb(guest, { ...request, ...fields } as never, page as never, caller as never);
  expect(answer({ registers: { rax: 1n, rbx: undefined }, scratch: 5n })).toEqual({
    info1: 0n,
    info2: 0x23n,
  });
  expect(answer({}, GhcbPage.over(), undefined)).toEqual({ info1: 0n, info2: 0x23n });
  expect(() => answer(wrong)).toThrow(message);
  expect(thrownBy(() => answer({}, 'x'))?.message).toContain('page cannot be "x": pass a GhcbPage [');
  expect(codeOf(() => answer({}, GhcbPage.over(), 'x'))).toBe('INVALID_ARGUMENT');
});

test('a virtual top of memory lies at or above memory, at a multiple of 2 MiB, with as much memory above it', () => {
  const launch = (virtualTom: bigint) =>
    codeOf(() => new SnpMachine({ memorySize: 16 * MiB }).hypervisor.launch({ size: 4 * MiB, virtualTom }));
  const last = (1n << 48n) - BigInt(4 * MiB);
  for (const top of [BigInt(4 * MiB), 1n << 40n, last]) expect([top, launch(top)]).toEqual([top, undefined]);
  for (const top of [BigInt(2 * MiB), BigInt(4 * MiB) + 4096n, last + BigInt(2 * MiB)])
    expect([top, launch(top)]).toEqual([top, 'INVALID_ARGUMENT']);
});
