import {
  PAGE_SIZE,
  PAGE_SIZE_2M,
  PageSize,
  type PhysAddr,
  physAddr,
  type VirtAddr,
  virtAddr,
} from '@svsm/address';
import { PageTable, PtePreset, Tlb } from '@svsm/pagetable';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import type { Guest } from '../../src/guest/guest.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { isSnpFault } from '../../src/rmp/snp-fault.ts';
import { BASE, MiB, tableFrames } from '../support/world.ts';

const GiB = 1024 * MiB;
const TiB = 1024 * GiB;
const PARTS = PAGE_SIZE_2M / PAGE_SIZE;

/** The 2 MiB regions of each guest: one with page tables, then those at the start, at borders, in the middle and at the end. */
const LARGE = [0, 1, 511, 512, 262_144, 524_287];
const SMALL = LARGE.map((_, k) => k);

/** A guest that maps some of its regions. Pages have the number of a region, and an index in it. */
class Side {
  readonly machine: SnpMachine;
  readonly host: HostileHypervisor;
  readonly guest: Guest;
  readonly vcpu: Vcpu;
  readonly #regions: readonly number[];

  constructor(size: number, regions: readonly number[], pageSize: 0x1000 | 0x20_0000, withTlb: boolean) {
    this.#regions = regions;
    this.machine = new SnpMachine({
      memorySize: 2 * size + 64 * MiB,
      hypervisor: (it) => new HostileHypervisor(it),
    });
    this.host = this.machine.hypervisor as HostileHypervisor;
    this.guest = this.host.launch({ size, pageSize });
    const tlb = new Tlb();
    this.vcpu = this.guest.createVcpu({ tlb, ...(withTlb ? { nestedTlb: new NestedTlb() } : {}) });
    const { memory } = this.vcpu;
    const table = PageTable.create({ memory, frames: tableFrames(), config: this.guest.paging, tlb });
    for (const region of regions) {
      const gpa = physAddr(region * PAGE_SIZE_2M);
      table.map2m(virtAddr(BASE + gpa), gpa, PtePreset.Data);
    }
    this.vcpu.loadCr3(table.cr3);
  }

  gpaOf(page: number): PhysAddr {
    return physAddr(this.#regions[Math.floor(page / PARTS)]! * PAGE_SIZE_2M + (page % PARTS) * PAGE_SIZE);
  }

  gvaOf(page: number): VirtAddr {
    return virtAddr(BASE + this.gpaOf(page));
  }

  spaOf(page: number): SysPhysAddr | undefined {
    return this.guest.nested.lookup(this.gpaOf(page))?.spa;
  }

  /** A page by the number of its region, for addresses that the two sides have in common. */
  pageOf(gpa: bigint): number {
    const region = this.#regions.indexOf(Math.floor(Number(gpa) / PAGE_SIZE_2M));
    return region * PARTS + Math.floor((Number(gpa) % PAGE_SIZE_2M) / PAGE_SIZE);
  }

  /** All that hardware knows of a page. */
  stateOf(page: number): unknown {
    const { rmp } = this.machine;
    const nested = this.guest.nested.lookup(this.gpaOf(page));
    if (nested === undefined) return undefined;
    const { spa, ...rights } = nested;
    const entry = rmp.entry(spa)!;
    const { gpa, ...fields } = entry;
    return {
      rights,
      ...fields,
      gpa: entry.asid === 0 ? gpa : this.pageOf(gpa),
      raw: rmp.rawEntry(spa)?.assigned,
      state: pageStateOf(entry),
      subpages: rmp.hasSubpages(spa),
      word: wordOf(this.machine.memory.read((spa & -4096n) as SysPhysAddr, 4, this.guest.key)),
    };
  }
}

/** A word that somebody wrote; ciphertext has another one at each address. */
function wordOf(bytes: Uint8Array): number | 'ciphertext' {
  const [word] = new Uint32Array(bytes.slice().buffer);
  return word! < 8 ? word! : 'ciphertext';
}

const page = fc
  .record({ region: fc.integer({ min: 1, max: 5 }), index: fc.constantFrom(0, 1, 255, 511) })
  .map(({ region, index }) => region * PARTS + index);
const pageSize = fc.constantFrom(PageSize.Regular, PageSize.Huge);
const word = fc.integer({ min: 0, max: 7 });
const step = fc.oneof(
  fc.record({ op: fc.constant('read' as const), page }),
  fc.record({ op: fc.constant('write' as const), page, word }),
  fc.record({ op: fc.constant('clear' as const), page, pageSize }),
  fc.record({ op: fc.constant('pvalidate' as const), page, pageSize, validate: fc.boolean() }),
  fc.record({ op: fc.constant('rmpadjust' as const), page, pageSize, permissions: fc.nat(15) }),
  fc.record({ op: fc.constant('host write' as const), page, word }),
  fc.record({ op: fc.constant('host read' as const), page }),
  fc.record({
    op: fc.constant('rmpupdate' as const),
    page,
    pageSize,
    assigned: fc.boolean(),
    immutable: fc.boolean(),
  }),
  fc.record({ op: fc.constant('smash' as const), page }),
  fc.record({ op: fc.constant('unsmash' as const), page }),
  fc.record({ op: fc.constant('hide' as const), page }),
  fc.record({ op: fc.constant('swap' as const), page, other: page }),
  fc.record({ op: fc.constant('alias' as const), page, other: page }),
  fc.record({ op: fc.constant('substitute' as const), page }),
  fc.record({ op: fc.constant('map huge' as const), page }),
  fc.record({ op: fc.constant('reclaim' as const), page, pageSize }),
  fc.record({ op: fc.constant('launch' as const), page, pageSize }),
  fc.record({ op: fc.constant('page state' as const), page, pageSize, shared: fc.boolean() }),
  fc.record({ op: fc.constant('flush' as const) }),
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

function act(side: Side, one: Step): unknown {
  const { vcpu, host, guest, machine } = side;
  if (one.op === 'flush') return host.flushTlbs(guest);
  const gva = side.gvaOf(one.page);
  const gpa = side.gpaOf(one.page);
  const spa = side.spaOf(one.page);
  const start = (size: number): SysPhysAddr => ((spa ?? 0n) & -BigInt(size)) as SysPhysAddr;
  switch (one.op) {
    case 'read':
      return wordOf(vcpu.read(gva, 4));
    case 'write':
      return vcpu.write(gva, Uint8Array.of(one.word, 0, 0, 0));
    case 'clear':
      return vcpu.clear(virtAddr(gva & -BigInt(one.pageSize)), one.pageSize);
    case 'pvalidate':
      return vcpu.pvalidate(gva, one.pageSize, one.validate);
    case 'rmpadjust':
      return vcpu.rmpadjust(gva, one.pageSize, { vmpl: 1, permissions: one.permissions });
    case 'host write':
      return spa && host.write(spa, Uint8Array.of(one.word, 0, 0, 0));
    case 'host read':
      return spa && host.read(spa, 4).length;
    case 'rmpupdate': {
      if (spa === undefined) return undefined;
      const { assigned, pageSize: size } = one;
      const owner = assigned ? { gpa, asid: guest.asid, immutable: one.immutable } : {};
      return host.rmpupdate(spa, { assigned, pageSize: size, ...owner });
    }
    case 'smash':
      return host.smash(guest, gpa);
    case 'unsmash':
      return host.unsmash(guest, gpa);
    case 'hide':
      return host.hide(guest, gpa) !== undefined;
    case 'swap':
      return host.swap(guest, gpa, side.gpaOf(one.other));
    case 'alias':
      return host.alias(guest, gpa, side.gpaOf(one.other));
    case 'substitute':
      return host.substitute(guest, gpa) !== undefined;
    case 'map huge':
      return host.mapHuge(guest, gpa);
    case 'reclaim':
      return spa && machine.firmware.pageReclaim(start(one.pageSize), one.pageSize);
    case 'launch':
      return (
        spa && machine.firmware.launchUpdate(guest.context, start(one.pageSize), { pageSize: one.pageSize })
      );
    default: {
      const operation = one.shared ? PageOperation.Shared : PageOperation.Private;
      return host.changePageState(guest, physAddr(gpa & -BigInt(one.pageSize)), operation, one.pageSize);
    }
  }
}

/** The result of a step, or its error without the addresses. */
function outcomeOf(side: Side, one: Step): unknown {
  try {
    return [act(side, one)];
  } catch (error) {
    if (isSnpFault(error)) {
      const { check, exitInfo1, errorCode, state } = error.details as Record<string, unknown>;
      return { code: error.code, check, exitInfo1, errorCode, state };
    }
    if (isSnpError(error, 'FIRMWARE_REFUSED')) return [error.code, error.details.status, error.details.state];
    const { code } = error as { code?: unknown };
    if (code === undefined) throw error;
    return code;
  }
}

// L1
describe.each([
  [PageSize.Huge, true],
  [PageSize.Huge, false],
  [PageSize.Regular, true],
] as const)('a guest of 1 TiB in pages of %d bytes, nested TLB: %s', (size, withTlb) => {
  test('behaves page by page as a guest with only the touched pages', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const large = new Side(TiB, LARGE, size, withTlb);
        const small = new Side(SMALL.length * PAGE_SIZE_2M, SMALL, size, withTlb);
        for (const one of steps) {
          expect(outcomeOf(large, one)).toEqual(outcomeOf(small, one));
        }
        for (let region = 1; region < LARGE.length; region += 1) {
          for (const index of [0, 1, 2, 255, 511]) {
            const at = region * PARTS + index;
            expect([at, large.stateOf(at)]).toEqual([at, small.stateOf(at)]);
          }
        }
        const entries = (side: Side, all: number): number =>
          all * (PAGE_SIZE_2M / size) - side.machine.rmp.entriesOf(side.guest.asid);
        expect(entries(large, TiB / PAGE_SIZE_2M)).toBe(entries(small, SMALL.length));
      }),
      { numRuns: 60 },
    );
  });
});

test('a launch that does not fit is refused before anything has changed, and the machine stays usable', () => {
  const machine = new SnpMachine({ memorySize: TiB });
  const { hypervisor, rmp } = machine;
  for (const pageSize of [PageSize.Regular, PageSize.Huge]) {
    let code: unknown;
    try {
      hypervisor.launch({ size: TiB, pageSize });
    } catch (error) {
      code = isSnpError(error, 'OUT_OF_MEMORY') && error.code;
    }
    expect(code).toBe('OUT_OF_MEMORY');
  }
  expect(rmp.entriesOf(1)).toBe(0);
  const guest = hypervisor.launch({ size: TiB - GiB });
  expect(guest.asid).toBe(1);
  expect(rmp.entriesOf(1)).toBe((TiB - GiB) / PAGE_SIZE_2M);
});
