import { physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { Svsm } from '../../src/boot/svsm.ts';
import { isMmError } from '../../src/formats/mm-error.ts';
import { FailingWorld, failuresOf } from '../support/injection.ts';
import { mib } from '../support/world.ts';

const early = [physRegion(physAddr(0x9_0000), 0x3000), mib(10, 2)];

/** The points that a boot, or a start of a processor, passes. */
function pointsOf(
  run: (world: FailingWorld) => void,
  prepare: (world: FailingWorld) => void = () => {},
  startsShared = true,
) {
  const world = new FailingWorld({ early, startsShared });
  prepare(world);
  world.arm();
  run(world);
  return [...failuresOf(world.passed)];
}

/** Whether pages that an aborted boot has given up are what they were, but for unaccepted memory that was assigned meanwhile. */
const relevant = (state: readonly string[]): string[] =>
  state.map((run) => run.replace(/none|GUEST-INVALID/, 'not valid'));

let svsm: Svsm | undefined;

test.each([true, false])(
  'whatever point of the boot fails, once: the guest is as before, and the same boot works (starts shared: %s)',
  (startsShared) => {
    const points = pointsOf((world) => Svsm.boot(world.options), undefined, startsShared);
    expect(points.length).toBeGreaterThan(startsShared ? 90 : 75);
    for (const point of points) {
      const name = JSON.stringify(point);
      const world = new FailingWorld({ early, startsShared });
      const before = relevant(world.rmpState());
      world.arm(point);
      try {
        Svsm.boot(world.options);
        // A nested fault that stays makes the processor try again; a lie may not matter.
      } catch (error) {
        world.disarm();
        expect(isMmError(error, 'BOOT_FAILED') || isMmError(error, 'MISSING_FEATURE'), name).toBe(true);
        if (isMmError(error, 'BOOT_FAILED')) expect(error.details.undone, name).toBe(true);
        expect(relevant(world.rmpState()), name).toEqual(before);
        const svsm = Svsm.boot(world.options);
        expect(svsm.validated.size, name).toBe((10n << 20n) - 0x3000n - 2n * 4096n);
      }
      expect(world.stale, name).toEqual([]);
    }
  },
);

test('a hypervisor that refuses for ever: a boot that could not be undone is the last one', () => {
  const points = pointsOf((world) => Svsm.boot(world.options)).filter(({ kind }) => kind !== 'trace');
  let last = 0;
  for (const point of points) {
    const world = new FailingWorld({ early, startsShared: true });
    world.arm({ ...point, forEver: true });
    try {
      Svsm.boot(world.options);
    } catch (error) {
      world.disarm();
      const name = JSON.stringify(point);
      if (!isMmError(error, 'BOOT_FAILED') || error.details.undone) {
        Svsm.boot(world.options);
        continue;
      }
      last += 1;
      expect(() => Svsm.boot(world.options), name).toThrow(/ALREADY_BOOTED/);
    }
  }
  expect(last).toBeGreaterThan(0);
});

test('whatever page is the last one of the heap: the boot fails and is undone, or works', () => {
  const outcomes = new Set<boolean>();
  for (let heap = 1; heap <= 60; heap += 1) {
    const world = new FailingWorld({ own: physRegion(mib(4, 2).start, 0x20_0000 + heap * 4096) });
    const before = world.rmpState();
    try {
      Svsm.boot(world.options)[Symbol.dispose]();
      outcomes.add(true);
    } catch (error) {
      expect(isMmError(error, 'BOOT_FAILED') && error.details.undone, `${heap} pages`).toBe(true);
      outcomes.add(false);
    }
    expect(world.rmpState(), `${heap} pages`).toEqual(before);
  }
  expect(outcomes).toEqual(new Set([false, true]));
});

test('whatever point of the start of a processor fails: nothing of it is left, and it can be started', () => {
  const start = (): unknown => svsm?.startCpu(5);
  const prepare = (world: FailingWorld): void => {
    svsm = Svsm.boot(world.options);
  };
  const points = pointsOf(start, prepare);
  expect(points.length).toBeGreaterThan(10);
  for (const point of points) {
    const name = JSON.stringify(point);
    const world = new FailingWorld({ early, startsShared: true });
    prepare(world);
    const before = world.stateOf(svsm as Svsm);
    world.arm(point);
    try {
      start();
      world.disarm();
    } catch {
      world.disarm();
      // The 2 MiB page that held the GHCB stays split.
      const { kernel: _, tables: __, pages: ___, ...after } = world.stateOf(svsm as Svsm);
      const { kernel: _1, tables: _2, pages: _3, ...same } = before;
      expect(after, name).toEqual(same);
      start();
    }
    expect(
      svsm?.cpus.map(({ apicId }) => apicId),
      name,
    ).toEqual([0, 1, 5]);
    expect(world.stale, name).toEqual([]);
  }
});

test('whatever point of the launch of a firmware fails: no page has other rights, content of the image stays, and it can be launched', () => {
  const regions = [physRegion(physAddr(0x8_0000), 0x1_3000), mib(10, 2)];
  let svsm: Svsm | undefined;
  const prepare = (world: FailingWorld): void => {
    svsm = Svsm.boot(world.options);
    svsm.service.on(); // the first use takes addresses for the window, and they stay taken
  };
  const points = pointsOf(() => svsm?.launchFirmware(regions, 2), prepare, false);
  expect(points.length).toBeGreaterThan(20);
  for (const point of points) {
    const name = JSON.stringify(point);
    const world = new FailingWorld({ early, startsShared: false });
    prepare(world);
    const masks = world.rights();
    const before = world.stateOf(svsm as Svsm);
    world.arm(point);
    try {
      svsm?.launchFirmware(regions, 2);
      world.disarm();
    } catch {
      world.disarm();
      expect(world.stateOf(svsm as Svsm), name).toEqual(before);
      expect(world.rights(), name).toEqual(masks);
      svsm?.launchFirmware(regions, 2);
    }
    svsm?.checkInvariants();
    expect(world.stale, name).toEqual([]);
  }
});

test('whatever frame is missing for a processor: nothing of it is left', () => {
  const world = new FailingWorld();
  const svsm = Svsm.boot(world.options);
  const held: bigint[] = [];
  for (;;) {
    try {
      held.push(svsm.pages.allocatePage());
    } catch {
      break;
    }
  }
  let failures = 0;
  for (;;) {
    const before = world.stateOf(svsm);
    try {
      svsm.startCpu(5);
      break;
    } catch (error) {
      failures += 1;
      expect(String(error)).toMatch(/OUT_OF_MEMORY/);
      expect(world.stateOf(svsm), `${failures} frames`).toEqual(before);
    }
    svsm.pages.freePage(held.pop() as never);
  }
  expect(failures).toBeGreaterThan(5);
  expect(svsm.cpus).toHaveLength(3);
});

test('a disposal that the hypervisor refuses goes on when it is called again', () => {
  const points = pointsOf(
    () => svsm?.[Symbol.dispose](),
    (world) => {
      svsm = Svsm.boot(world.options);
    },
  );
  expect(points.length).toBeGreaterThan(10);
  for (const point of points) {
    const world = new FailingWorld({ early, startsShared: true });
    svsm = Svsm.boot(world.options);
    world.arm(point);
    try {
      svsm[Symbol.dispose]();
    } catch {
      world.disarm();
      svsm[Symbol.dispose]();
    }
    world.disarm();
    const validated = [...svsm.validated];
    expect(Svsm.boot({ ...world.options, early: [], validated }).cpus, JSON.stringify(point)).toHaveLength(2);
  }
});
