import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { NpfInfo } from '../../src/formats/exit-info.ts';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import { PageState } from '../../src/formats/page-state.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { requestPageState } from '../../src/guest/msr-protocol.ts';
import { requestPageStates } from '../../src/guest/page-state-change.ts';
import { acceptPage, makePagePrivate, makePageShared } from '../../src/guest/page-visibility.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import type { LaunchMemory, LaunchOptions } from '../../src/host/launch-options.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import {
  bytesOf,
  codeOf,
  gvaOf,
  MiB,
  snapshot,
  spaOf,
  tableFrames,
  thrownBy,
  type World,
  world,
} from '../support/world.ts';

const GiB = 1024 * MiB;
const part = (start: number, size: number, validated = true): LaunchMemory => ({
  region: physRegion(physAddr(start), size),
  validated,
});
const low = part(0, 4 * MiB);
/** Unaccepted memory of 4 MiB, behind a hole of 4 MiB. */
const UNACCEPTED = 8 * MiB;
const unaccepted = part(UNACCEPTED, 4 * MiB, false);

function hostile(memory: readonly LaunchMemory[] = [low, unaccepted]): World & { host: HostileHypervisor } {
  const it = world({ hypervisor: (machine) => new HostileHypervisor(machine) }, { memory });
  return { ...it, host: it.machine.hypervisor as HostileHypervisor };
}

describe('a memory map', () => {
  test('has holes, memory above 4 GiB, and the SVSM of COCONUT at 512 GiB', () => {
    const svsm = 512 * GiB;
    const it = world({}, { memory: [part(svsm, 8 * MiB), low, part(4 * GiB, 4 * MiB)] });
    expect(String(it.guest.memory)).toBe(
      '{[0x0000000000000000-0x0000000000400000), [0x0000000100000000-0x0000000100400000), ' +
        '[0x0000008000000000-0x0000008000800000)}',
    );
    for (const gpa of [0, 4 * MiB - PAGE_SIZE, 4 * GiB, svsm, svsm + 8 * MiB - PAGE_SIZE]) {
      it.vcpu.write(gvaOf(gpa), bytesOf(`at ${gpa}`));
      expect(it.machine.rmp.entry(spaOf(it, gpa))).toMatchObject({ gpa: BigInt(gpa) & -0x20_0000n });
    }
    for (const gpa of [0, 4 * GiB, svsm])
      expect(it.vcpu.read(gvaOf(gpa), `at ${gpa}`.length)).toEqual(bytesOf(`at ${gpa}`));
    for (const gpa of [4 * MiB, 4 * GiB - PAGE_SIZE, svsm - PAGE_SIZE, svsm + 8 * MiB])
      expect(it.guest.nested.lookup(physAddr(gpa))).toBeUndefined();
  });

  // P85
  test('reaches up to 2^48, or to the C-bit', () => {
    const top = 2 ** 48 - 4 * MiB;
    const machine = new SnpMachine({ memorySize: 32 * MiB });
    const memory = [low, part(2 ** 47 - 2 * MiB, 4 * MiB), part(top, 4 * MiB)];
    const guest = machine.hypervisor.launch({ memory });
    const tlb = new Tlb();
    const vcpu = guest.createVcpu({ tlb });
    const table = PageTable.create({ memory: vcpu.memory, frames: tableFrames(), config: guest.paging, tlb });
    vcpu.loadCr3(table.cr3);
    for (const [k, gpa] of [2 ** 47 - PAGE_SIZE, 2 ** 47, top, 2 ** 48 - PAGE_SIZE].entries()) {
      const gva = virtAddr(k * PAGE_SIZE);
      table.map4k(gva, physAddr(gpa), PtePreset.Data);
      vcpu.write(gva, bytesOf('private'));
      expect(vcpu.read(gva, 7)).toEqual(bytesOf('private'));
      makePageShared(vcpu, table, gva);
      vcpu.write(gva, bytesOf('shared'));
      expect(machine.hypervisor.read(guest.nested.lookup(physAddr(gpa))!.spa, 6)).toEqual(bytesOf('shared'));
      makePagePrivate(vcpu, table, gva);
      expect(vcpu.read(gva, 6)).toEqual(new Uint8Array(6));
    }
    const launch = (cBit: number, start: number) => () =>
      new SnpMachine({ memorySize: 32 * MiB, cBit }).hypervisor.launch({
        memory: [low, part(start, 4 * MiB, false)],
      });
    expect(codeOf(launch(47, 2 ** 47 - 4 * MiB))).toBeUndefined();
    expect(codeOf(launch(47, 2 ** 47 - 4 * MiB + PAGE_SIZE))).toBe('INVALID_ARGUMENT');
    expect(codeOf(launch(51, top + PAGE_SIZE))).toBe('INVALID_ARGUMENT');
  });

  test('makes pages of the largest size that fits in a region, also between regions that touch', () => {
    const { guest } = world({}, { memory: [low, part(4 * MiB, 4 * MiB)] });
    expect(guest.memory.regionCount).toBe(1);
    const odd = part(8 * MiB + PAGE_SIZE, 4 * MiB);
    const machine = new SnpMachine({ memorySize: 32 * MiB });
    const other = machine.hypervisor.launch({ memory: [odd, part(0, PAGE_SIZE)] });
    const sizeAt = (gpa: number) => other.nested.lookup(physAddr(gpa))?.size;
    expect([8 * MiB, 8 * MiB + PAGE_SIZE, 10 * MiB, 12 * MiB, 0].map(sizeAt)).toEqual([
      undefined,
      PageSize.Regular,
      PageSize.Huge,
      PageSize.Regular,
      PageSize.Regular,
    ]);
  });

  test('has no page state changes outside, even where the hypervisor maps a page', () => {
    const it = hostile();
    it.host.substitute(it.guest, physAddr(6 * MiB));
    const before = snapshot(it.machine.rmp);
    for (const gpa of [4 * MiB, 6 * MiB, 12 * MiB, 2 ** 40]) {
      for (const operation of [PageOperation.Private, PageOperation.Shared]) {
        const refused = { code: 'PAGE_STATE_REFUSED', details: { error: 1 } };
        expect(thrownBy(() => requestPageState(it.vcpu, physAddr(gpa), operation))).toMatchObject(refused);
        expect(it.host.changePageState(it.guest, physAddr(gpa), operation, PageSize.Huge)).toBe(1);
      }
    }
    const { Shared } = PageOperation;
    expect(() => it.host.changePageState(it.guest, -1n as PhysAddr, Shared)).toThrow('OUTSIDE_SPACE');
    expect(snapshot(it.machine.rmp)).toBe(before);
  });

  test.each<[string, LaunchOptions]>([
    ['neither memory nor a size', {}],
    ['memory and a size', { memory: [low], size: 4 * MiB }],
    ['no region', { memory: [] }],
    ['regions that overlap', { memory: [low, part(4 * MiB - PAGE_SIZE, 2 * PAGE_SIZE)] }],
    ['a region twice', { memory: [low, low] }],
    ['a part of a page', { memory: [part(0, 0x1800)] }],
    ['an empty region', { memory: [low, part(8 * MiB, 0)] }],
    ['a region with another type', { memory: [{ region: 5 as never, validated: true }] }],
    [
      'a region that does not say whether it is validated',
      { memory: [{ region: low.region } as LaunchMemory] },
    ],
    ['memory that is not a list', { memory: 5 as never }],
    [
      'an image in unaccepted memory',
      { memory: [low, unaccepted], image: [{ gpa: physAddr(8 * MiB), bytes: bytesOf('a') }] },
    ],
    [
      'an image across a hole',
      {
        memory: [low, part(8 * MiB, 4 * MiB)],
        image: [{ gpa: physAddr(4 * MiB - 1), bytes: new Uint8Array(4 * MiB + 2) }],
      },
    ],
    ['another page size', { memory: [low], pageSize: 8192 as never }],
    ['another number of levels', { memory: [low], levels: 3 as never }],
    ['another number of nested levels', { memory: [low], nestedLevels: 3 as never }],
    ['images that are not a list', { memory: [low], image: 5 as never }],
    ['an image that is not one', { memory: [low], image: [undefined as never] }],
    ['VMSAs that are not a list', { memory: [low], vmsas: 5 as never }],
    ['a virtual top of memory in a hole', { memory: [low, unaccepted], virtualTom: BigInt(6 * MiB) }],
  ])('is refused with %s, and nothing is launched', (_, options) => {
    const machine = new SnpMachine({ memorySize: 32 * MiB });
    const before = snapshot(machine.rmp);
    expect(codeOf(() => machine.hypervisor.launch(options))).toBe('INVALID_ARGUMENT');
    expect(snapshot(machine.rmp)).toBe(before);
    expect(machine.hypervisor.launch({ memory: [low] }).asid).toBe(1);
  });
});

describe('unaccepted memory', () => {
  test('costs no system page at the launch', () => {
    const machine = new SnpMachine({ memorySize: 8 * MiB });
    const guest = machine.hypervisor.launch({ memory: [part(0, 2 * MiB), part(4 * GiB, 2 ** 40, false)] });
    expect(guest.memory.size).toBe(BigInt(2 ** 40 + 2 * MiB));
    expect(guest.nested.lookup(physAddr(4 * GiB))).toBeUndefined();
  });

  // R28
  test('is assigned at the first private access, and #VC, until the guest validates it', () => {
    const it = hostile();
    const fault = thrownBy(() => it.vcpu.read(gvaOf(UNACCEPTED), 1));
    expect(fault).toMatchObject({ code: 'VC_NOT_VALIDATED', details: { gpa: BigInt(UNACCEPTED) } });
    expect(it.events.map(({ type }) => type)).toEqual(['npf', 'rmpupdate']);
    const { spa, size } = it.guest.nested.lookup(physAddr(UNACCEPTED))!;
    expect([size, pageStateOf(it.machine.rmp.entry(spa))]).toEqual([PageSize.Huge, PageState.GuestInvalid]);
    expect(codeOf(() => it.vcpu.write(gvaOf(UNACCEPTED + MiB), bytesOf('x')))).toBe('VC_NOT_VALIDATED');
    expect(it.vcpu.pvalidate(gvaOf(UNACCEPTED), PageSize.Huge, true)).toEqual({
      result: 0,
      unchanged: false,
    });
    it.vcpu.write(gvaOf(UNACCEPTED + MiB), bytesOf('x'));
    expect(it.vcpu.read(gvaOf(UNACCEPTED + MiB), 1)).toEqual(bytesOf('x'));
  });

  test('is not backed by a shared access, by a hypervisor without memory, or outside of the map', () => {
    const it = hostile();
    for (const page of [UNACCEPTED, UNACCEPTED + 2 * MiB]) it.table.split4k(gvaOf(page));
    it.table.setShared4k(gvaOf(UNACCEPTED));
    it.vcpu.invlpg(gvaOf(UNACCEPTED));
    expect(codeOf(() => it.vcpu.read(gvaOf(UNACCEPTED), 1))).toBe('NPF');
    while (codeOf(() => it.host.allocatePage()) === undefined);
    expect(codeOf(() => it.vcpu.read(gvaOf(UNACCEPTED + 2 * MiB), 1))).toBe('NPF');
    for (const page of [UNACCEPTED, UNACCEPTED + 2 * MiB])
      expect(it.guest.nested.lookup(physAddr(page))).toBeUndefined();
    const info = NpfInfo.Encrypted | NpfInfo.FinalAddress;
    expect(it.host.handleNestedPageFault(it.guest, physAddr(5 * MiB), info)).toBe(false);
  });

  // A4, G12
  test.each<[string, (it: ReturnType<typeof hostile>) => void]>([
    ['an access', (it) => void thrownBy(() => it.vcpu.read(gvaOf(UNACCEPTED), 1))],
    ['PVALIDATE', (it) => void it.vcpu.pvalidate(gvaOf(UNACCEPTED), PageSize.Huge, true)],
  ])('that %s has backed is validated once', (_, access) => {
    const it = hostile();
    access(it);
    const isValidated = () => it.machine.rmp.entry(spaOf(it, UNACCEPTED))?.validated === true;
    const pvalidate = () => it.vcpu.pvalidate(gvaOf(UNACCEPTED), PageSize.Huge, true);
    if (!isValidated()) expect(pvalidate()).toEqual({ result: 0, unchanged: false });
    it.vcpu.write(gvaOf(UNACCEPTED), bytesOf('mine'));
    // The fault handler does nothing for a page that is there, hidden, or replaced.
    expect(pvalidate()).toEqual({ result: 0, unchanged: true });
    const { spa } = it.guest.nested.lookup(physAddr(UNACCEPTED))!;
    it.host.hide(it.guest, physAddr(UNACCEPTED));
    expect(codeOf(pvalidate)).toBe('NPF');
    it.guest.nested.map(physAddr(UNACCEPTED), spa, PAGE_SIZE);
    expect(it.vcpu.read(gvaOf(UNACCEPTED), 4)).toEqual(bytesOf('mine'));
  });

  // A hypervisor may map anything at once.
  test('is a fault at a page of the hypervisor, and #VC at an assigned page, if the hypervisor maps it unasked', () => {
    const it = hostile();
    it.host.remap(it.guest, physAddr(UNACCEPTED), it.host.allocatePage());
    const check = { check: 'guest-owned' };
    expect(thrownBy(() => it.vcpu.read(gvaOf(UNACCEPTED), 1))).toMatchObject({ code: 'NPF', details: check });
    it.host.substitute(it.guest, physAddr(UNACCEPTED));
    expect(codeOf(() => it.vcpu.read(gvaOf(UNACCEPTED), 1))).toBe('VC_NOT_VALIDATED');
    expect(codeOf(() => it.vcpu.write(gvaOf(UNACCEPTED), bytesOf('x')))).toBe('VC_NOT_VALIDATED');
    // It is a page of the guest like others from now on.
    acceptPage(it.vcpu, it.table, gvaOf(UNACCEPTED));
    expect(it.vcpu.read(gvaOf(UNACCEPTED), 1)).toEqual(new Uint8Array(1));
  });

  // G10
  test('gets one page of 4 KiB for a request through the MSR', () => {
    const it = world({}, { memory: [low, unaccepted] });
    const validated = new ValidatedPages(it.guest.memory, [low.region]);
    it.table.split4k(gvaOf(UNACCEPTED));
    const gva = gvaOf(UNACCEPTED + PAGE_SIZE);
    acceptPage(it.vcpu, it.table, gva, { validated });
    it.vcpu.write(gva, bytesOf('accepted'));
    expect(it.vcpu.read(gva, 8)).toEqual(bytesOf('accepted'));
    expect(validated.has(physAddr(UNACCEPTED + PAGE_SIZE))).toBe(true);
    const page = it.guest.nested.lookup(physAddr(UNACCEPTED + PAGE_SIZE))!;
    expect([page.size, pageStateOf(it.machine.rmp.entry(page.spa))]).toEqual([4096, PageState.GuestValid]);
    for (const gpa of [UNACCEPTED, UNACCEPTED + 2 * PAGE_SIZE])
      expect(it.guest.nested.lookup(physAddr(gpa))).toBeUndefined();
  });

  // G9
  test('gets pages of 2 MiB for a list in the GHCB, and of 4 KiB where a part has a page already', () => {
    const it = world({}, { memory: [low, unaccepted] });
    requestPageState(it.vcpu, physAddr(UNACCEPTED + 2 * MiB + 0x5000), PageOperation.Private);
    const ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(MiB / 2));
    const entryOf = (gpa: number) => ({
      gpa: physAddr(gpa),
      operation: PageOperation.Private,
      pageSize: PageSize.Huge,
      donePages: 0,
      reserved: 0,
    });
    requestPageStates(ghcb, [entryOf(UNACCEPTED), entryOf(UNACCEPTED + 2 * MiB)]);
    const sizeAt = (gpa: number) => it.guest.nested.lookup(physAddr(gpa))?.size;
    expect([
      sizeAt(UNACCEPTED),
      sizeAt(UNACCEPTED + 2 * MiB),
      sizeAt(UNACCEPTED + 4 * MiB - PAGE_SIZE),
    ]).toEqual([PageSize.Huge, PageSize.Regular, PageSize.Regular]);
    expect(it.vcpu.pvalidate(gvaOf(UNACCEPTED), PageSize.Huge, true)).toEqual({
      result: 0,
      unchanged: false,
    });
    it.vcpu.write(gvaOf(UNACCEPTED + MiB), bytesOf('huge'));
    expect(it.vcpu.pvalidate(gvaOf(UNACCEPTED + 2 * MiB), PageSize.Huge, true).result).toBe(6);
  });

  test('gets pages of 4 KiB alone if the launch has no larger ones', () => {
    const it = world({}, { memory: [low, unaccepted], pageSize: PageSize.Regular });
    const { hypervisor } = it.machine;
    expect(hypervisor.changePageState(it.guest, physAddr(UNACCEPTED), 1, PageSize.Huge)).toBe(1);
    expect(hypervisor.changePageState(it.guest, physAddr(UNACCEPTED), 1)).toBe(0);
  });

  test('can become shared at once', () => {
    const it = world({}, { memory: [low, unaccepted] });
    requestPageState(it.vcpu, physAddr(UNACCEPTED), PageOperation.Shared);
    it.table.split4k(gvaOf(UNACCEPTED));
    it.table.setShared4k(gvaOf(UNACCEPTED));
    it.vcpu.invlpg(gvaOf(UNACCEPTED));
    it.vcpu.write(gvaOf(UNACCEPTED), bytesOf('shared'));
    expect(it.machine.hypervisor.read(spaOf(it, UNACCEPTED), 6)).toEqual(bytesOf('shared'));
  });

  test('keeps its system page through later changes', () => {
    const it = world({}, { memory: [low, unaccepted] });
    const gpa = physAddr(UNACCEPTED);
    requestPageState(it.vcpu, gpa, PageOperation.Private);
    const spa = spaOf(it, UNACCEPTED);
    requestPageState(it.vcpu, gpa, PageOperation.Shared);
    requestPageState(it.vcpu, gpa, PageOperation.Private);
    expect(spaOf(it, UNACCEPTED)).toBe(spa);
  });

  test('gets no second system page after the hypervisor has hidden the first one', () => {
    const it = hostile();
    requestPageState(it.vcpu, physAddr(UNACCEPTED), PageOperation.Private);
    it.host.hide(it.guest, physAddr(UNACCEPTED));
    expect(codeOf(() => requestPageState(it.vcpu, physAddr(UNACCEPTED), PageOperation.Private))).toBe(
      'PAGE_STATE_REFUSED',
    );
  });

  test('stays as it is if the host has too little memory for the page and its tables', () => {
    // Memory at 1 TiB needs two tables of its own, and a third one for a page of 4 KiB.
    const far = physAddr(2 ** 40);
    const memory = [part(0, PAGE_SIZE), part(2 ** 40, 2 * MiB, false)];
    const launched = () => {
      const { hypervisor, rmp } = new SnpMachine({ memorySize: 8 * MiB });
      return { hypervisor, rmp, guest: hypervisor.launch({ memory }) };
    };
    const takeAll = ({ hypervisor }: ReturnType<typeof launched>): number => {
      for (let taken = 0; ; taken += 1)
        if (codeOf(() => hypervisor.allocatePage()) === 'OUT_OF_MEMORY') return taken;
    };
    const free = takeAll(launched());
    for (const [pageSize, needed] of [
      [PageSize.Regular, 1 + 3],
      [PageSize.Huge, 512 + 2],
    ] as const) {
      for (const left of [0, 1, 2, 3, needed - 2, needed - 1, needed]) {
        const it = launched();
        for (let k = left; k < free; k += 1) it.hypervisor.allocatePage();
        const before = snapshot(it.rmp);
        const isDone = it.hypervisor.changePageState(it.guest, far, 1, pageSize) === 0;
        expect(isDone).toBe(left === needed);
        expect(it.guest.nested.lookup(far) !== undefined).toBe(isDone);
        expect(snapshot(it.rmp) === before).toBe(!isDone);
        expect(takeAll(it)).toBe(isDone ? 0 : left);
      }
    }
  });
});
