/** Calls of four processors, whose SVSM reaches pages through windows. At each step of a window, another call can be served. */
import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { PageTable, Tlb } from '@svsm/pagetable';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import type { SvsmRegisters } from '../../src/formats/svsm-protocol.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { permanentMap } from '../../src/svsm/guest-page-access.ts';
import type { SvsmCore } from '../../src/svsm/svsm-core.ts';
import { CALLS, D, V, vmsaImage, W, X, Y } from '../support/svsm-steps.ts';
import { CAA, type SvsmWorld, svsmWorld } from '../support/svsm-world.ts';
import { Window, type WindowFaults } from '../support/window-world.ts';
import { gvaOf, MiB, spaOf } from '../support/world.ts';

const NAMES = Object.keys(CALLS);
const PAGES = [X, Y, W, D, V];

/** A processor of the guest, and the one of the SVSM that serves it. */
interface Pair {
  readonly it: SvsmWorld;
  readonly guestCpu: Vcpu;
  readonly core: SvsmCore;
  readonly window: Window;
  readonly caa: number;
}

interface Scene {
  readonly it: SvsmWorld;
  readonly pairs: readonly Pair[];
  readonly tables: { used: number };
  /** The pages that were validated a second time. */
  readonly twice: number[];
}

/** Four processors of the guest, and four of the SVSM, each with a window in one page table. */
function scene(faults: readonly WindowFaults[] = []): Scene {
  const it = svsmWorld({}, { hypervisor: (machine) => new HostileHypervisor(machine) });
  const tables = { used: 0 };
  const free: PhysAddr[] = [];
  const frames = {
    allocateFrame: () => {
      tables.used += 1;
      return free.pop() ?? physAddr(MiB + 0x80_000 + tables.used * 0x1000);
    },
    freeFrame: (frame: PhysAddr) => {
      tables.used -= 1;
      free.push(frame);
    },
  };
  const table = PageTable.create({ memory: it.vcpu.memory, frames, config: it.guest.paging });
  const pairs = [0, 1, 2, 3].map((k): Pair => {
    const svsmCpu = it.guest.createVcpu({ tlb: new Tlb() });
    svsmCpu.loadCr3(table.cr3);
    const window = new Window(svsmCpu, table, k, faults[k]);
    const guestCpu = k === 0 ? it.guestCpu : it.guest.createVcpu({ vmpl: 2 });
    if (k > 0) guestCpu.loadCr3(it.guestCpu.cr3);
    const core = it.state.on(svsmCpu, window.access);
    const caa = CAA + k * 0x10_000;
    if (k > 0) core.register(guestCpu, physAddr(caa));
    return { it: { ...it, guestCpu }, guestCpu, core, window, caa };
  });
  for (const page of [X, V]) it.guestCpu.write(gvaOf(page), vmsaImage());
  return { it, pairs, tables, twice: [] };
}

/** Makes a call. A list that cannot be written, since its page is not there, is none. */
function callOf({ it, guestCpu, core, caa }: Pair, name: string): number | undefined {
  let request: [number, Partial<SvsmRegisters>];
  try {
    request = CALLS[name]!(it, caa);
  } catch {
    return undefined;
  }
  const [id, registers] = request;
  const all = { rax: BigInt(id), rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, ...registers };
  core.call(guestCpu, all);
  return Number(all.rax);
}

/** The record agrees with the RMP, and nothing is left mapped, claimed or stale. */
function expectWhole({ it, pairs, tables, twice }: Scene, used: number): void {
  for (const gpa of PAGES) {
    expect(it.state.validated.has(physAddr(gpa)), gpa.toString(16)).toBe(
      it.machine.rmp.entry(spaOf(it, gpa))!.validated,
    );
  }
  expect(pairs.map(({ window }) => [window.mapped.size, window.stale])).toEqual(pairs.map(() => [0, []]));
  expect(tables.used, 'frames of page tables').toBe(used);
  expect(twice, 'pages that were validated twice').toEqual([]);
}

const calls = fc.array(fc.record({ cpu: fc.nat(3), name: fc.constantFrom(...NAMES) }), {
  minLength: 1,
  maxLength: 12,
});
/** At which steps of a window another processor calls. */
const exits = fc.array(fc.record({ step: fc.nat(60), name: fc.constantFrom(...NAMES) }), { maxLength: 8 });

// S13, A14
test('random calls on four processors with windows leave a whole state, and validate no page twice', () => {
  let nested = 0;
  fc.assert(
    fc.property(calls, exits, (steps, interruptions) => {
      let scenery: Scene | undefined;
      let count = 0;
      let depth = 0;
      /** The calls that the hypervisor lets other processors make at this step. */
      const onStep = (cpu: number) => (): void => {
        const now = interruptions.filter(({ step }) => step === count);
        count += 1;
        if (scenery === undefined || depth > 2) return;
        for (const { name } of now) {
          nested += 1;
          depth += 1;
          callOf(scenery.pairs[(cpu + depth) % 4]!, name);
          depth -= 1;
        }
      };
      const made = scene([0, 1, 2, 3].map((cpu) => ({ onStep: onStep(cpu) })));
      const valid = new Set(PAGES.map((gpa) => gpa));
      made.it.events.push = (...events) => {
        for (const event of events) {
          if (event.type !== 'pvalidate' || event.result !== 0 || event.unchanged) continue;
          const gpa = made.pairs
            .map(({ window }) => window.mapped.get(event.gva))
            .find((it) => it !== undefined);
          if (gpa === undefined) continue;
          if (event.validate && valid.has(Number(gpa))) made.twice.push(Number(gpa));
          if (event.validate) valid.add(Number(gpa));
          else valid.delete(Number(gpa));
        }
        return 0;
      };
      const { used } = made.tables;
      scenery = made;
      for (const { cpu, name } of steps) callOf(made.pairs[cpu]!, name);
      expectWhole(made, used);
      // 4 pages of 4 KiB and one of 2 MiB for each call in progress on this processor.
      for (const { window } of made.pairs) expect(window.deepest).toBeLessThanOrEqual(10);
    }),
    { numRuns: 60 },
  );
  expect(nested).toBeGreaterThan(20);
});

// A14
test('a page that the host has replaced is not validated a second time by another processor', () => {
  const { it, pairs } = scene();
  expect(callOf(pairs[0]!, 'rescindX')).toBe(0);
  const again = CALLS['clearX']!;
  expect(callOf(pairs[1]!, 'clearX')).toBe(0);
  const spa = spaOf(it, X);
  (it.machine.hypervisor as HostileHypervisor).substitute(it.guest, physAddr(X));
  expect(spaOf(it, X)).not.toBe(spa);
  for (const pair of pairs) {
    expect(again).toBeDefined();
    expect(callOf(pair, 'clearX')).not.toBe(0);
  }
  expect(it.machine.rmp.entry(spaOf(it, X))!.validated).toBe(false);
});

test.each([true, false])(
  'a window that flushes reads each page, and without the flush another one: %s',
  (flushes) => {
    const { it, pairs } = scene([{ flushes }]);
    const pages = Array.from({ length: 12 }, (_, k) => 6 * MiB + (k + 16) * 0x1000);
    for (const [k, gpa] of pages.entries()) it.guestCpu.write(gvaOf(gpa), Uint8Array.of(k));
    const { core, window } = pairs[0]!;
    const read = pages.map((gpa) => core.memory.read(BigInt(gpa), 1)?.[0]);
    expect([read.every((byte, k) => byte === k), window.stale.length === 0]).toEqual([flushes, flushes]);
  },
);

describe.each(['map', 'mapped', 'unmap', 'unmapped'] as const)(
  'an error of the window at the step %s',
  (step) => {
    class WindowError extends Error {}

    // S9
    test.each(NAMES)('of %s goes on to the caller, and the records agree with the RMP', (name) => {
      let failures = 0;
      for (let at = 0; ; at += 1) {
        let count = -1;
        const faults: WindowFaults = {};
        const made = scene([faults]);
        const prepared = { rescindY: 'X', validateY: 'rescindY', deleteV: 'createV', withdraw: 'depositD' }[
          name
        ];
        if (prepared !== undefined && prepared in CALLS) expect(callOf(made.pairs[0]!, prepared)).toBe(0);
        const { used } = made.tables;
        faults.onStep = (now) => {
          if (now !== step) return;
          count += 1;
          if (count === at) throw new WindowError();
        };
        let thrown: unknown;
        try {
          callOf(made.pairs[0]!, name);
        } catch (error) {
          thrown = error;
        }
        faults.onStep = undefined;
        expectWhole(made, used);
        if (count < at) break;
        if (thrown !== undefined) expect(thrown).toBeInstanceOf(WindowError);
        failures += thrown === undefined ? 0 : 1;
        // No claim is left: the processor and another one can make the call, or are refused as they would be.
        for (const pair of made.pairs.slice(0, 2)) expect(callOf(pair, name)).not.toBe(0x8000_0006);
        expectWhole(made, used);
      }
      expect(failures).toBeGreaterThan(0);
    });
  },
);

test('an access that calls `use` twice, or never, is refused, and the page is as before', () => {
  const { it } = scene();
  const core = it.state.on(it.vcpu, (() => undefined) as never);
  expect(() => core.memory.clear(BigInt(X), PageSize.Regular)).toThrow('never');
  const twice = it.state.on(it.vcpu, (gpa, _, use) => {
    use(gvaOf(Number(gpa)));
    return use(gvaOf(Number(gpa)));
  });
  expect(() => twice.memory.rescind(BigInt(Y), PageSize.Regular)).toThrow('again');
  expect(it.state.validated.has(physAddr(Y))).toBe(it.machine.rmp.entry(spaOf(it, Y))!.validated);
});

test('a permanent map gives the address of each page, whatever its size', () => {
  const access = permanentMap((gpa) => gvaOf(Number(gpa)));
  expect(access(physAddr(X), PageSize.Regular, (gva) => gva)).toBe(gvaOf(X));
  expect(access(physAddr(6 * MiB), PageSize.Huge, (gva) => gva)).toBe(gvaOf(6 * MiB));
});
