/** GHCBs that are released, and operations on the pages of those that are not. */
import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { PtePreset } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { GhcbExit } from '../../src/formats/ghcb-page.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { acceptPage, makePagePrivate, makePageShared, releasePage } from '../../src/guest/page-visibility.ts';
import {
  acceptRegion,
  makeRegionPrivate,
  makeRegionShared,
  releaseRegion,
  settleRegion,
} from '../../src/guest/region-visibility.ts';
import { type RegionWorld, regionOf, regionWorld, requireRecord } from '../support/region-worlds.ts';
import { codeOf, gvaOf, MiB, snapshot, spaOf, thrownBy, unresolvedFault } from '../support/world.ts';

const features = (ghcb: Ghcb): bigint => ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures });

describe.each(['by itself', 'above an SVSM'])('a guest %s', (which) => {
  const isAbove = which !== 'by itself';

  // G13
  test('gets the page of a released GHCB back, private and clear, and can make another one', () => {
    const it = regionWorld(isAbove);
    const { ghcb, pages, options, cpu } = it;
    expect(ghcb.isReleased).toBe(false);
    ghcb.release(pages, options);
    expect(ghcb.isReleased).toBe(true);
    expect(pageStateOf(it.machine.rmp.entry(spaOf(it, Number(ghcb.gpa))))).toBe('GUEST-VALID');
    expect(cpu.read(ghcb.gva, PAGE_SIZE)).toEqual(new Uint8Array(PAGE_SIZE));
    expect(it.flushes).toHaveLength(1);
    requireRecord(it, 'released');
    const uses = [
      () => features(ghcb),
      () => ghcb.page.get('rax'),
      () => ghcb.page.set('rax', 0n),
      () => ghcb.release(pages, options),
      () => makeRegionShared(ghcb, pages, regionOf(6 * MiB, PAGE_SIZE), options),
    ];
    for (const use of uses) expect(codeOf(use)).toBe('RELEASED_GHCB');
    expect(cpu.read(ghcb.gva, PAGE_SIZE)).toEqual(new Uint8Array(PAGE_SIZE));
    requireRecord(it, 'used');
    // The hypervisor has no GHCB of the processor any more.
    cpu.ghcbMsr = ghcb.gpa;
    expect(codeOf(() => cpu.vmgexit())).toBe('UNSUPPORTED_VMGEXIT');
    expect(features(Ghcb.create(cpu, pages, ghcb.gva, options))).toBeGreaterThan(0n);
  });

  test('can call `release` again after any step of it has failed', () => {
    let steps = 0;
    const dry = regionWorld(isAbove);
    dry.onStep = () => {
      steps += 1;
      return undefined;
    };
    dry.ghcb.release(dry.pages, dry.options);
    expect(steps).toBeGreaterThan(8);
    for (let at = 0; at < steps; at += 1) {
      const it = regionWorld(isAbove);
      let step = 0;
      it.onStep = () => (step++ === at ? unresolvedFault() : undefined);
      let hasFailed = false;
      try {
        it.ghcb.release(it.pages, it.options);
      } catch {
        hasFailed = true;
      }
      it.onStep = () => undefined;
      requireRecord(it, `step ${at}`);
      if (hasFailed) it.ghcb.release(it.pages, it.options);
      expect(it.cpu.read(it.ghcb.gva, PAGE_SIZE)).toEqual(new Uint8Array(PAGE_SIZE));
      requireRecord(it, `step ${at}, then again`);
    }
  }, 60_000);
});

// G13
test('the GHCB that was registered last stays registered when an earlier one is released', () => {
  const it = regionWorld();
  const next = Ghcb.create(it.cpu, it.pages, gvaOf(6 * MiB), it.options);
  it.ghcb.release(it.pages, it.options);
  expect(features(next)).toBeGreaterThan(0n);
});

// G13
test('a GHCB whose address maps another shared page is not released, and can be used', () => {
  const it = regionWorld();
  const { ghcb, pages, options } = it;
  const other = gvaOf(6 * MiB);
  makePageShared(it.cpu, pages, other, options);
  const { paddr } = pages.lookup(other)!;
  const before = snapshot(it.machine.rmp);
  pages.unmap4k(ghcb.gva);
  pages.map4k(ghcb.gva, paddr, PtePreset.Data);
  pages.setShared4k(ghcb.gva);
  expect(thrownBy(() => ghcb.release(pages, options))).toMatchObject({
    code: 'WRONG_MAPPING',
    details: { gva: ghcb.gva, expected: 'to the page of the GHCB', found: 'to another page' },
  });
  expect([ghcb.isReleased, snapshot(it.machine.rmp)]).toEqual([false, before]);
  pages.unmap4k(ghcb.gva);
  pages.map4k(ghcb.gva, ghcb.gpa, PtePreset.Data);
  pages.setShared4k(ghcb.gva);
  it.cpu.flushTlb();
  expect(features(ghcb)).toBeGreaterThan(0n);
  ghcb.release(pages, options);
});

// G13
test('a release that failed does not register another page again, and one that could not has a GHCB still', () => {
  const it = regionWorld();
  const { ghcb, pages, options } = it;
  const requests: bigint[] = [];
  const { vmgexit } = it.host;
  let refuses = true;
  it.host.vmgexit = (vcpu, request) => {
    requests.push(request & 0xfffn);
    return refuses ? 0n : vmgexit.call(it.host, vcpu, request);
  };
  // The hypervisor does not answer the registration.
  expect(codeOf(() => ghcb.release(pages, options))).toBe('INVALID_RESPONSE');
  expect(ghcb.isReleased).toBe(false);
  expect(thrownBy(() => makePagePrivate(it.cpu, pages, ghcb.gva, options))).toMatchObject({
    code: 'PAGE_IN_USE',
    details: { use: 'GHCB' },
  });
  refuses = false;
  it.onStep = (step) => (step === 'pvalidate' ? unresolvedFault() : undefined);
  expect(codeOf(() => ghcb.release(pages, options))).toBe('NPF');
  it.onStep = () => undefined;
  ghcb.release(pages, options);
  expect(requests).toEqual([0x12n, 0x12n, 0x14n, 0x14n]);
});

// G13
test('a hypervisor without memory at GPA 0 refuses to register it, and the GHCB is released all the same', () => {
  const it = regionWorld();
  it.guest.nested.split4k(physAddr(0));
  it.guest.nested.unmap(physAddr(0));
  it.ghcb.release(it.pages, it.options);
  expect(it.ghcb.isReleased).toBe(true);
});

describe('the page of a GHCB of any processor', () => {
  /** The operations on `gva`, which maps the page of the GHCB. */
  const operations = (it: RegionWorld, user: Ghcb, gva: ReturnType<typeof gvaOf>) => {
    const { pages, options, cpu } = it;
    const region = regionOf(Number(gva - gvaOf(0)) - PAGE_SIZE, 3 * PAGE_SIZE);
    const lists = { private: [], shared: [], lost: [region] };
    return {
      makePageShared: () => makePageShared(cpu, pages, gva, options),
      makePagePrivate: () => makePagePrivate(cpu, pages, gva, options),
      releasePage: () => releasePage(cpu, pages, gva, options),
      acceptPage: () => acceptPage(cpu, pages, gva, options),
      makeRegionShared: () => makeRegionShared(user, pages, region, options),
      makeRegionPrivate: () => makeRegionPrivate(user, pages, region, options),
      releaseRegion: () => releaseRegion(user, pages, region, options),
      acceptRegion: () => acceptRegion(user, pages, region, options),
      settleRegion: () => settleRegion(user, pages, lists, 'private', options),
    };
  };

  test.each(['shared', 'private'])('is refused before anything has changed, in a %s mapping', (mapped) => {
    const it = regionWorld();
    const others = Ghcb.create(it.other, it.pages, gvaOf(6 * MiB + 0x3000), it.options);
    // Another mapping of the page, as a guest can have by mistake.
    const gva = mapped === 'shared' ? others.gva : gvaOf(2 * MiB + 0x5000);
    if (mapped === 'private') {
      it.pages.split4k(gva);
      it.pages.unmap4k(gva);
      it.pages.map4k(gva, others.gpa, PtePreset.Data);
    }
    const before = [snapshot(it.machine.rmp), it.pages.lookup(gva)?.shared];
    const codes = Object.entries(operations(it, it.ghcb, gva)).map(([name, run]) => [name, codeOf(run)]);
    // An operation on one page looks at its mapping first.
    const byMapping =
      mapped === 'shared' ? ['makePageShared', 'releasePage', 'acceptPage'] : ['makePagePrivate'];
    expect(codes).toEqual(
      codes.map(([name]) => [name, byMapping.includes(name!) ? 'WRONG_MAPPING' : 'PAGE_IN_USE']),
    );
    expect([snapshot(it.machine.rmp), it.pages.lookup(gva)?.shared]).toEqual(before);
    expect(features(others)).toBeGreaterThan(0n);
    requireRecord(it, 'refused');
  });

  test('in a page of 2 MiB is refused too', () => {
    const it = regionWorld();
    const alias = gvaOf(64 * MiB);
    it.pages.map2m(alias, physAddr(4 * MiB), PtePreset.Data);
    const region = regionOf(64 * MiB, PageSize.Huge);
    expect(codeOf(() => makeRegionShared(it.ghcb, it.pages, region))).toBe('PAGE_IN_USE');
    it.ghcb.release(it.pages, it.options);
    expect(codeOf(() => makePageShared(it.cpu, it.pages, it.ghcb.gva, it.options))).toBeUndefined();
  });
});
