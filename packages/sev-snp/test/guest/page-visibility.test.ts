import { PAGE_SIZE, PageSize, physAddr, Virt, Virt57, type VirtAddr } from '@svsm/address';
import { MemoryRegion } from '@svsm/memory-region';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { acceptPage, makePagePrivate, makePageShared, releasePage } from '../../src/guest/page-visibility.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import {
  bytesOf,
  codeOf,
  gvaOf,
  MiB,
  mapAll,
  snapshot,
  spaOf,
  tableFrames,
  textOf,
  thrownBy,
  type World,
  world,
} from '../support/world.ts';

const GPA = 4 * MiB + 0x3000;
const page = gvaOf(GPA);
const SECRET = bytesOf('attack at dawn');

/** The steps in their order, including those of the guest's page table. */
function withSteps(): World & { steps: string[] } {
  const steps: string[] = [];
  const it = world({
    trace: (event) => steps.push(event.type + ('validate' in event ? ` ${Number(event.validate)}` : '')),
  });
  const tlb = {
    needsFlush: (_: bigint, bytes: number) => steps.push(bytes === PAGE_SIZE ? 'entry' : 'split'),
  };
  const options = { memory: it.vcpu.memory, config: it.guest.paging, frames: tableFrames(), tlb };
  options.frames.allocateFrame(); // the root
  for (let i = 0; i < 8; i += 1) options.frames.allocateFrame();
  const table = PageTable.open(it.table.root, options);
  steps.length = 0;
  return { ...it, table, steps };
}

describe('makePageShared', () => {
  // G12
  test('takes the steps in the safe order', () => {
    const { vcpu, table, steps } = withSteps();
    makePageShared(vcpu, table, page);
    expect(steps).toEqual([
      'split',
      'npf',
      'psmash',
      'pvalidate 0',
      'vmgexit',
      'rmpupdate',
      'vmrun',
      'entry',
      'flush',
    ]);
  });

  // C2, C7
  test('gives both sides one page to read and write, without its old content', () => {
    const it = world();
    const { hypervisor } = it.machine;
    it.vcpu.write(page, SECRET);
    makePageShared(it.vcpu, it.table, page);
    const spa = spaOf(it, GPA);
    expect(hypervisor.read(spa, 14)).not.toEqual(SECRET);
    expect(it.vcpu.read(page, 14)).not.toEqual(SECRET);
    it.vcpu.write(page, bytesOf('hello'));
    expect(textOf(hypervisor.read(spa, 5))).toBe('hello');
    hypervisor.write(spa, bytesOf('world'));
    expect(textOf(it.vcpu.read(page, 5))).toBe('world');
  });

  // R13, I12
  test('leaves the other pages as they are', () => {
    const it = world();
    it.vcpu.write(gvaOf(GPA + PAGE_SIZE), SECRET);
    makePageShared(it.vcpu, it.table, page);
    expect(it.vcpu.read(gvaOf(GPA + PAGE_SIZE), 14)).toEqual(SECRET);
    expect(codeOf(() => it.machine.hypervisor.write(spaOf(it, GPA + PAGE_SIZE), SECRET))).toBe('HOST_PF');
    const entries = [-1, 0, 1].map((k) => it.machine.rmp.entry(spaOf(it, GPA + k * PAGE_SIZE))!);
    expect(entries.map(({ assigned, validated }) => [assigned, validated])).toEqual([
      [true, true],
      [false, false],
      [true, true],
    ]);
    expect(it.machine.rmp.entry(spaOf(it, 4 * MiB))?.subpageCount).toBe(510);
  });
});

describe('makePagePrivate', () => {
  // G12
  test('takes the steps in the safe order', () => {
    const { vcpu, table, steps } = withSteps();
    makePageShared(vcpu, table, page);
    steps.length = 0;
    makePagePrivate(vcpu, table, page);
    expect(steps).toEqual(['entry', 'flush', 'vmgexit', 'rmpupdate', 'vmrun', 'pvalidate 1']);
  });

  // I11, G12
  test('gives a page of zeros that the host cannot read or write', () => {
    const it = world();
    makePageShared(it.vcpu, it.table, page);
    it.machine.hypervisor.write(spaOf(it, GPA), SECRET);
    makePagePrivate(it.vcpu, it.table, page);
    expect(it.vcpu.read(page, PAGE_SIZE)).toEqual(new Uint8Array(PAGE_SIZE));
    expect(it.machine.hypervisor.read(spaOf(it, GPA), 64)).not.toEqual(new Uint8Array(64));
    expect(codeOf(() => it.machine.hypervisor.write(spaOf(it, GPA), SECRET))).toBe('HOST_PF');
  });
});

// G12
test('releasePage and acceptPage around the change of the entry do the same', () => {
  const it = world();
  releasePage(it.vcpu, it.table, page);
  it.table.setShared4k(page);
  it.vcpu.invlpg(page);
  it.vcpu.write(page, SECRET);
  expect(it.machine.hypervisor.read(spaOf(it, GPA), 14)).toEqual(SECRET);
  it.table.setEncrypted4k(page);
  it.vcpu.invlpg(page);
  acceptPage(it.vcpu, it.table, page);
  expect(it.vcpu.read(page, 14)).toEqual(new Uint8Array(14));
});

// G12, PVALIDATE step 3
test('hardware refuses another order: the entry first, then PVALIDATE', () => {
  const it = world();
  it.table.setShared4k(page);
  it.vcpu.invlpg(page);
  expect(codeOf(() => releasePage(it.vcpu, it.table, page))).toBe('WRONG_MAPPING');
  expect(thrownBy(() => it.vcpu.pvalidate(page, PageSize.Regular, false))).toMatchObject({
    code: 'NPF',
    details: { check: 'guest-owned' },
  });
});

// G12, C8
describe('between the steps an access to the page faults', () => {
  test('while it is not validated and still private', () => {
    const it = world();
    it.vcpu.pvalidate(page, PageSize.Regular, false);
    expect(codeOf(() => it.vcpu.read(page, 1))).toBe('VC_NOT_VALIDATED');
  });

  test('while it is the hypervisor’s and still private, even through a stale translation', () => {
    const it = world();
    it.vcpu.read(page, 1);
    releasePage(it.vcpu, it.table, page);
    it.table.setShared4k(page);
    expect(thrownBy(() => it.vcpu.read(page, 1))?.details).toMatchObject({ check: 'guest-owned' });
    it.vcpu.invlpg(page);
    it.vcpu.read(page, 1);
  });
});

describe('refuses, before anything has changed', () => {
  test.each<[string, (it: World) => void, string]>([
    [
      'to share an unmapped page',
      ({ vcpu, table }) => makePageShared(vcpu, table, gvaOf(512 * MiB)),
      'WRONG_MAPPING',
    ],
    [
      'to make a private page private',
      ({ vcpu, table }) => makePagePrivate(vcpu, table, page),
      'WRONG_MAPPING',
    ],
    [
      'an address within a page',
      ({ vcpu, table }) => makePageShared(vcpu, table, gvaOf(GPA + 8)),
      'INVALID_ARGUMENT',
    ],
    [
      'an address within a page, for releasePage',
      ({ vcpu, table }) => releasePage(vcpu, table, gvaOf(GPA + 8)),
      'INVALID_ARGUMENT',
    ],
  ])('%s', (_, action, code) => {
    const it = world();
    const before = snapshot(it.machine.rmp);
    expect(codeOf(() => action(it))).toBe(code);
    expect(snapshot(it.machine.rmp)).toBe(before);
    expect(it.events).toEqual([]);
  });

  test('to share twice', () => {
    const it = world();
    makePageShared(it.vcpu, it.table, page);
    expect(codeOf(() => makePageShared(it.vcpu, it.table, page))).toBe('WRONG_MAPPING');
  });

  test('to split a page when no frame is left', () => {
    const it = world();
    const table = mapAll(it.guest, it.vcpu, undefined, tableFrames(3));
    const before = snapshot(it.machine.rmp);
    expect(() => makePageShared(it.vcpu, table, page)).toThrow('OUT_OF_MEMORY');
    expect(snapshot(it.machine.rmp)).toBe(before);
  });
});

describe('against a hypervisor that', () => {
  const against = (answer: (hypervisor: Hypervisor, request: bigint) => bigint | undefined) => {
    class Hostile extends Hypervisor {
      override vmgexit(guest: Parameters<Hypervisor['vmgexit']>[0], request: bigint): bigint {
        return answer(this, request) ?? super.vmgexit(guest, request);
      }
    }
    return world({ hypervisor: (machine) => new Hostile(machine) });
  };
  const DONE = 0x015n;
  const isPrivateRequest = (request: bigint): boolean => request >> 52n === 1n;

  // A11, G11
  test('claims success and does nothing, PVALIDATE does not succeed', () => {
    const it = against((_, request) => (isPrivateRequest(request) ? DONE : undefined));
    makePageShared(it.vcpu, it.table, page);
    expect(thrownBy(() => makePagePrivate(it.vcpu, it.table, page))).toMatchObject({ code: 'NPF' });
  });

  // I10, G11
  test('keeps the page valid, PVALIDATE reports no change, which is refused', () => {
    const it = world();
    it.vcpu.pvalidate(page, PageSize.Regular, false);
    expect(codeOf(() => releasePage(it.vcpu, it.table, page))).toBe('PVALIDATE_UNCHANGED');
    it.vcpu.pvalidate(page, PageSize.Regular, true);
    expect(codeOf(() => acceptPage(it.vcpu, it.table, page))).toBe('PVALIDATE_UNCHANGED');
  });

  // PVALIDATE step 5, A7
  test('splits the nested page alone, PVALIDATE of 2 MiB fails', () => {
    const it = world();
    const huge = it.vcpu.pvalidate(gvaOf(4 * MiB), PageSize.Huge, false);
    expect(huge).toEqual({ result: 0, unchanged: false });
    it.guest.nested.split4k(physAddr(4 * MiB));
    expect(it.vcpu.pvalidate(gvaOf(4 * MiB), PageSize.Huge, true).result).toBe(6);
  });

  // GHCB MSR 0x015
  test('refuses, the page stays without validation and cannot be read', () => {
    const it = against((_, request) => (isPrivateRequest(request) ? undefined : 0x1_0000_0015n));
    expect(codeOf(() => makePageShared(it.vcpu, it.table, page))).toBe('PAGE_STATE_REFUSED');
    expect(codeOf(() => it.vcpu.read(page, 1))).toBe('VC_NOT_VALIDATED');
    acceptPage(it.vcpu, it.table, page);
    expect(it.vcpu.read(page, 1)).toEqual(new Uint8Array(1));
  });

  // I11
  test('puts another page there, the guest gets zeros', () => {
    const it = world();
    makePageShared(it.vcpu, it.table, page);
    const other = it.machine.hypervisor;
    const spare = 0xc0_0000n as SysPhysAddr;
    other.write(spare, SECRET);
    it.guest.nested.unmap(physAddr(GPA));
    it.guest.nested.map(physAddr(GPA), spare, PageSize.Regular);
    makePagePrivate(it.vcpu, it.table, page);
    expect(it.vcpu.read(page, 14)).toEqual(new Uint8Array(14));
  });
});

test.each([4, 5] as const)(
  'with %i levels, the flush gets the page as a region of their addresses',
  (levels) => {
    const machine = new SnpMachine({ memorySize: 32 * MiB });
    const guest = machine.hypervisor.launch({ size: 8 * MiB, levels });
    const tlb = new Tlb({ levels });
    const vcpu = guest.createVcpu({ tlb });
    const table = mapAll(guest, vcpu, tlb);
    const gva = (1n << (levels === 5 ? 50n : 46n)) as VirtAddr;
    table.map4k(gva, physAddr(5 * MiB), PtePreset.Data & ~0x8000_0000);
    const flushed: string[] = [];
    const flush = (region: MemoryRegion<VirtAddr>): void => {
      flushed.push(`${region.kind.name} ${region}`);
      for (const page of region.iterPages(PageSize.Regular)) vcpu.invlpg(page);
    };
    makePageShared(vcpu, table, gva, { flush });
    expect(table.lookup(gva)?.shared).toBe(true);
    makePagePrivate(vcpu, table, gva, { flush });
    expect(table.lookup(gva)?.shared).toBe(false);
    vcpu.write(gva, Uint8Array.of(1));
    const region = new MemoryRegion(levels === 5 ? Virt57 : Virt, gva, 4096n);
    expect(flushed).toEqual([0, 1].map(() => `${region.kind.name} ${region}`));
  },
);
