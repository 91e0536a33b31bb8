import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import {
  acceptPage,
  makePagePrivate,
  makePageShared,
  type VisibilityOptions,
} from '../../src/guest/page-visibility.ts';
import { makeRegionPrivate, makeRegionShared, settleRegion } from '../../src/guest/region-visibility.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import type { GhcbAnswer } from '../../src/host/ghcb-service.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import type { SnpMachineOptions } from '../../src/host/snp-machine.ts';
import {
  bytesOf,
  codeOf,
  gvaOf,
  MiB,
  mapAll,
  snapshot,
  spaOf,
  tableFrames,
  thrownBy,
  type World,
  world,
} from '../support/world.ts';

function withGhcb(
  options: Partial<SnpMachineOptions> = {},
): World & { ghcb: Ghcb; validated: ValidatedPages; options: VisibilityOptions } {
  const it = world(options);
  const validated = new ValidatedPages(it.guest.memory, it.guest.memory);
  const ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(0x5000), { validated });
  it.events.length = 0;
  return { ...it, ghcb, validated, options: { validated } };
}

const regionOf = (gpa: number, bytes: number) => virtRegion(gvaOf(gpa), bytes);
const count = ({ events }: World, type: string): number =>
  events.filter((event) => event.type === type).length;
const stateAt = (it: World, gpa: number) => pageStateOf(it.machine.rmp.entry(spaOf(it, gpa)));

// G12, G7
test('a region changes in pages of 2 MiB where possible, and in pages of 4 KiB at its edges', () => {
  const it = withGhcb();
  const region = regionOf(2 * MiB - 2 * PAGE_SIZE, 2 * MiB + 3 * PAGE_SIZE);
  const { vcpu, table, ghcb, validated, machine } = it;
  vcpu.write(gvaOf(2 * MiB - 3 * PAGE_SIZE), bytesOf('before'));
  vcpu.write(gvaOf(4 * MiB + PAGE_SIZE), bytesOf('after'));
  makeRegionShared(ghcb, table, region, { validated });
  expect([count(it, 'pvalidate'), count(it, 'vmgexit')]).toEqual([2 + 1 + 1, 1]);
  expect(table.walk(gvaOf(2 * MiB)).page).toMatchObject({ size: PageSize.Huge, shared: true });
  expect(machine.rmp.isRegionUnassigned(spaOf(it, 2 * MiB))).toBe(true);
  expect(validated.size).toBe(BigInt(8 * MiB - PAGE_SIZE - Number(region.size)));
  vcpu.write(region.start, bytesOf('shared'));
  expect(machine.hypervisor.read(spaOf(it, 2 * MiB - 2 * PAGE_SIZE), 6)).toEqual(bytesOf('shared'));
  makeRegionPrivate(ghcb, table, region, { validated });
  expect(vcpu.read(region.start, Number(region.size)).every((byte) => byte === 0)).toBe(true);
  expect(machine.rmp.entry(spaOf(it, 2 * MiB))).toMatchObject({ pageSize: PageSize.Huge, validated: true });
  expect(validated.size).toBe(BigInt(8 * MiB - PAGE_SIZE));
  expect(vcpu.read(gvaOf(2 * MiB - 3 * PAGE_SIZE), 6)).toEqual(bytesOf('before'));
  expect(vcpu.read(gvaOf(4 * MiB + PAGE_SIZE), 5)).toEqual(bytesOf('after'));
});

// I12
test('PVALIDATE goes page by page where the RMP has 4 KiB pages', () => {
  const it = withGhcb();
  it.machine.hypervisor.splitPage(it.guest, physAddr(4 * MiB));
  it.events.length = 0;
  makeRegionShared(it.ghcb, it.table, regionOf(4 * MiB, 2 * MiB), it.options);
  expect(count(it, 'pvalidate')).toBe(513);
  expect([0, 1, 511].map((page) => stateAt(it, 4 * MiB + page * PAGE_SIZE))).toEqual(
    Array(3).fill('HYPERVISOR'),
  );
  makeRegionPrivate(it.ghcb, it.table, regionOf(4 * MiB, 2 * MiB), it.options);
  expect([0, 1, 511].map((page) => stateAt(it, 4 * MiB + page * PAGE_SIZE))).toEqual(
    Array(3).fill('GUEST-VALID'),
  );
});

// A9, G12
test.each<[string, (it: ReturnType<typeof withGhcb>, gpa: number) => void]>([
  ['makePagePrivate', (it, gpa) => makePagePrivate(it.vcpu, it.table, gvaOf(gpa), it.options)],
  [
    'acceptPage',
    (it, gpa) => {
      it.table.setEncrypted4k(gvaOf(gpa));
      it.vcpu.invlpg(gvaOf(gpa));
      acceptPage(it.vcpu, it.table, gvaOf(gpa), it.options);
    },
  ],
  [
    'makeRegionPrivate',
    (it, gpa) => makeRegionPrivate(it.ghcb, it.table, regionOf(gpa, PAGE_SIZE), it.options),
  ],
])(
  '%s: a page that cannot be cleared is not a validated page, and is cleared at the next attempt',
  (_, make) => {
    const it = withGhcb();
    const gpa = 4 * MiB + 0x3000;
    makeRegionShared(it.ghcb, it.table, regionOf(gpa, PAGE_SIZE), it.options);
    it.vcpu.write(gvaOf(gpa), bytesOf('old'));
    const clear = it.vcpu.clear.bind(it.vcpu);
    it.vcpu.clear = () => {
      throw new Error('a callback');
    };
    const thrown: { private?: readonly unknown[] }[] = [];
    try {
      make(it, gpa);
    } catch (error) {
      thrown.push((error as { details?: object }).details ?? {});
    }
    expect(thrown.map(({ private: done = [] }) => done)).toEqual([[]]);
    expect([it.validated.has(physAddr(gpa)), stateAt(it, gpa)]).toEqual([false, 'GUEST-INVALID']);
    it.vcpu.clear = clear;
    acceptPage(it.vcpu, it.table, gvaOf(gpa), it.options);
    expect([it.validated.has(physAddr(gpa)), stateAt(it, gpa)]).toEqual([true, 'GUEST-VALID']);
    expect(it.vcpu.read(gvaOf(gpa), 3)).toEqual(new Uint8Array(3));
  },
);

// G9
test('a hypervisor that stops early is asked again until it is done', () => {
  const it = withGhcb();
  it.machine.hypervisor.pageStatesPerExit = 3;
  makeRegionShared(it.ghcb, it.table, regionOf(0x10_0000 * 2, 10 * PAGE_SIZE), it.options);
  expect(count(it, 'vmgexit')).toBe(4);
});

test('after any changes, shared pages are shared and private pages are validated', () => {
  const page = fc.integer({ min: 512, max: 2047 });
  const step = fc.record({ first: page, last: page, align: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 5 }), (steps) => {
      const it = withGhcb();
      const shared = new Set<number>([5]);
      for (const { first, last, align } of steps) {
        const low = Math.min(first, last);
        const start = align ? low - (low % 512) : low;
        const pages = Array.from({ length: Math.max(first, last) - start + 1 }, (_, k) => start + k);
        const region = regionOf(start * PAGE_SIZE, pages.length * PAGE_SIZE);
        const some = pages.filter((p) => shared.has(p)).length;
        const before = snapshot(it.machine.rmp);
        if (some !== 0 && some !== pages.length) {
          expect(codeOf(() => makeRegionShared(it.ghcb, it.table, region, it.options))).toBe('WRONG_MAPPING');
          expect(codeOf(() => makeRegionPrivate(it.ghcb, it.table, region, it.options))).toBe(
            'WRONG_MAPPING',
          );
          expect(snapshot(it.machine.rmp)).toBe(before);
        } else if (some === 0) {
          makeRegionShared(it.ghcb, it.table, region, it.options);
          for (const p of pages) shared.add(p);
        } else {
          makeRegionPrivate(it.ghcb, it.table, region, it.options);
          for (const p of pages) shared.delete(p);
        }
      }
      for (let p = 512; p < 2048; p += 37) {
        const gpa = p * PAGE_SIZE;
        expect(stateAt(it, gpa)).toBe(shared.has(p) ? 'HYPERVISOR' : 'GUEST-VALID');
        expect(it.table.walk(gvaOf(gpa)).page?.shared).toBe(shared.has(p));
        expect(it.validated.has(physAddr(gpa))).toBe(!shared.has(p));
        it.vcpu.write(gvaOf(gpa), Uint8Array.of(p & 0xff));
      }
      expect(it.validated.size).toBe(BigInt(8 * MiB - shared.size * PAGE_SIZE));
    }),
    { numRuns: Math.ceil(Number(process.env['FC_NUM_RUNS'] ?? 100) / 5) },
  );
}, 60_000);

describe('changes nothing if', () => {
  test.each<[string, (it: ReturnType<typeof withGhcb>) => void, string]>([
    [
      'a page is the GHCB of a processor',
      (it) => makeRegionShared(it.ghcb, it.table, regionOf(0x4000, 0x3000), it.options),
      'PAGE_IN_USE',
    ],
    [
      'a page is private already',
      (it) => makeRegionPrivate(it.ghcb, it.table, regionOf(0x6000, 0x3000), it.options),
      'WRONG_MAPPING',
    ],
    [
      'a page is not mapped',
      (it) => makeRegionShared(it.ghcb, it.table, regionOf(8 * MiB - 0x1000, 0x2000)),
      'WRONG_MAPPING',
    ],
    [
      'the region has half a page',
      (it) => makeRegionShared(it.ghcb, it.table, regionOf(0x8000, 0x800)),
      'INVALID_ARGUMENT',
    ],
    [
      'the record does not have a page as validated',
      (it) => {
        it.validated.remove(physRegion(physAddr(4 * MiB + 0x1000), 0x1000));
        makeRegionShared(it.ghcb, it.table, regionOf(4 * MiB, 2 * MiB), it.options);
      },
      'NOT_VALIDATED',
    ],
  ])('%s', (_, action, code) => {
    const it = withGhcb();
    const before = snapshot(it.machine.rmp);
    expect(codeOf(() => action(it))).toBe(code);
    expect(snapshot(it.machine.rmp)).toBe(before);
    expect(it.events).toEqual([]);
  });

  test('no frame is left to split a page with', () => {
    const it = withGhcb();
    const table = mapAll(it.guest, it.vcpu, undefined, tableFrames(3));
    const before = snapshot(it.machine.rmp);
    expect(() => makeRegionShared(it.ghcb, table, regionOf(2 * MiB, 3 * MiB), it.options)).toThrow(
      'OUT_OF_MEMORY',
    );
    expect(snapshot(it.machine.rmp)).toBe(before);
  });
});

// A11, A22
test('if the hypervisor claims success and does nothing, the first shared write faults and leaks nothing', () => {
  class Idle extends Hypervisor {
    idle = false;
    override answerGhcb(...args: Parameters<Hypervisor['answerGhcb']>): GhcbAnswer {
      if (!this.idle) return super.answerGhcb(...args);
      const page = args[2];
      page.writeBuffer(
        0,
        page.readBuffer(2, 2).map((byte, k) => (k === 0 ? byte + 1 : byte)),
      );
      return { info1: 0n, info2: 0n };
    }
  }
  const it = withGhcb({ hypervisor: (machine) => new Idle(machine) });
  const host = it.machine.hypervisor as Idle;
  host.idle = true;
  makeRegionShared(it.ghcb, it.table, regionOf(4 * MiB, 0x2000), it.options);
  expect(codeOf(() => it.vcpu.write(gvaOf(4 * MiB), bytesOf('x')))).toBe('NPF');
  host.idle = false;
  const other = regionOf(4 * MiB + 0x10_000, 0x2000);
  makeRegionShared(it.ghcb, it.table, other, it.options);
  host.idle = true;
  const error = thrownBy(() => makeRegionPrivate(it.ghcb, it.table, other, it.options));
  expect(error).toMatchObject({ code: 'REGION_CHANGE_FAILED', cause: { code: 'NPF' } });
  expect(error?.details).toMatchObject({ to: 'private', private: [], shared: [], lost: [other] });
  expect(it.validated.has(physAddr(4 * MiB + 0x10_000))).toBe(false);
});

// A4
test('the record refuses a double validation, which hardware allows', () => {
  const it = withGhcb();
  const gpa = physAddr(6 * MiB);
  const host = it.machine.hypervisor;
  host.splitPage(it.guest, gpa);
  // Another page at the same address, assigned and mapped: hardware lets the guest validate it.
  const spare = 0x1a0_0000n as never;
  host.rmpupdate(spare, { assigned: true, asid: 1, gpa });
  it.guest.nested.unmap(gpa);
  it.guest.nested.map(gpa, spare, PageSize.Regular);
  expect(codeOf(() => it.vcpu.read(gvaOf(6 * MiB), 1))).toBe('VC_NOT_VALIDATED');
  expect(codeOf(() => it.validated.requireNone(physRegion(gpa, 0x1000)))).toBe('ALREADY_VALIDATED');
  expect(it.vcpu.pvalidate(gvaOf(6 * MiB), PageSize.Regular, true)).toEqual({ result: 0, unchanged: false });
});

describe('with `clear`, pages are cleared before they are shared', () => {
  // Two ciphertexts of one page are equal if the content is: so the host knows a page of zeros.
  const cipherOf = (it: World, gpa: number): Uint8Array =>
    it.machine.hypervisor.read(spaOf(it, gpa), PAGE_SIZE);

  test.each([
    [
      'a region',
      (it: ReturnType<typeof withGhcb>, clear?: boolean) =>
        makeRegionShared(it.ghcb, it.table, regionOf(4 * MiB, 0x1000), { ...it.options, clear }),
    ],
    [
      'a page',
      (it: ReturnType<typeof withGhcb>, clear?: boolean) =>
        makePageShared(it.vcpu, it.table, gvaOf(4 * MiB), { ...it.options, clear }),
    ],
  ])('%s: the host finds the ciphertext of zeros, and without it that of the content', (_, share) => {
    for (const clear of [true, false, undefined]) {
      const it = withGhcb();
      it.vcpu.write(gvaOf(4 * MiB), new Uint8Array(PAGE_SIZE));
      const zeros = cipherOf(it, 4 * MiB);
      it.vcpu.write(gvaOf(4 * MiB), bytesOf('a secret'));
      const secret = cipherOf(it, 4 * MiB);
      share(it, clear);
      expect(cipherOf(it, 4 * MiB)).toEqual(clear === true ? zeros : secret);
    }
  });

  test('pages of lists that were not requested keep their content', () => {
    const it = withGhcb();
    const region = regionOf(2 * MiB + 0x1000, 400 * PAGE_SIZE);
    const last = gvaOf(2 * MiB + 400 * PAGE_SIZE);
    it.vcpu.write(region.start, bytesOf('first'));
    it.vcpu.write(last, bytesOf('last'));
    it.machine.hypervisor.changePageState = () => 1;
    const options = { ...it.options, clear: true };
    const error = thrownBy(() => makeRegionShared(it.ghcb, it.table, region, options));
    expect(error).toMatchObject({
      code: 'REGION_CHANGE_FAILED',
      details: { lost: [{ size: 253n * 4096n }] },
    });
    expect(it.vcpu.read(last, 4)).toEqual(bytesOf('last'));
  });

  test('a page that cannot be cleared is lost, and the others stay private', () => {
    const it = withGhcb();
    const region = regionOf(4 * MiB, 0x3000);
    it.machine.hypervisor.splitPage(it.guest, physAddr(4 * MiB));
    const { spa } = it.guest.nested.lookup(physAddr(4 * MiB + 0x1000))!;
    it.guest.nested.unmap(physAddr(4 * MiB + 0x1000));
    const options = { ...it.options, clear: true };
    const error = thrownBy(() => makeRegionShared(it.ghcb, it.table, region, options));
    expect(error).toMatchObject({ code: 'REGION_CHANGE_FAILED', cause: { code: 'NPF' } });
    const page = regionOf(4 * MiB + 0x1000, 0x1000);
    expect(error?.details).toMatchObject({ shared: [], lost: [page], validated: [page] });
    it.guest.nested.map(physAddr(4 * MiB + 0x1000), spa, PageSize.Regular);
    settleRegion(it.ghcb, it.table, error?.details as never, 'private', it.options);
    expect(it.vcpu.read(region.start, 0x3000).every((byte) => byte === 0)).toBe(true);
  });

  test('another value than a boolean is refused', () => {
    const it = withGhcb();
    const options = { clear: 1 as never };
    expect(codeOf(() => makePageShared(it.vcpu, it.table, gvaOf(4 * MiB), options))).toBe('INVALID_ARGUMENT');
  });
});
