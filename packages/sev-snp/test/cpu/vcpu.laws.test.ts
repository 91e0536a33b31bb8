import { PageSize, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { PtePreset } from '@svsm/pagetable';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { gvaOf, MiB, spaOf, thrownBy, type World, world } from '../support/world.ts';

// The guest's second 2 MiB, and two unassigned regions of system memory; three pages of each.
const REGION = 2 * MiB;
const SPARE = [20 * MiB, 22 * MiB];
const SHARED = 1024 * MiB;
const PAGES = [0, 1, 511].map((page) => page * 0x1000);

class Idle extends Hypervisor {
  override handleNestedPageFault(): boolean {
    return false;
  }
}

const region = fc.integer({ min: 0, max: 2 });
const page = fc.constantFrom(...PAGES);
const size = fc.constantFrom(PageSize.Regular, PageSize.Regular, PageSize.Huge);
/** The place in the guest's region at which a page of system memory appears: mostly its own. */
const at = fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: page });
const command = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constantFrom('read' as const, 'write' as const, 'fetch' as const),
      shared: fc.boolean(),
      page,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant('pvalidate' as const), page, size, validate: fc.boolean() }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constantFrom('host read' as const, 'host write' as const), region, page }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('psmash' as const), region, page: fc.constant(0) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('assign' as const),
      region,
      page,
      asid: fc.constantFrom(1, 1, 1, 2, 0),
      at,
      size,
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('free' as const), region, page, size }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constantFrom('map 2 MiB' as const, 'map 4 KiB' as const),
      region,
      page,
      at,
    }),
  },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;

/** A world, and a record of what was last written at each address, and with which key. */
class Model {
  readonly it: World = world({ hypervisor: (machine) => new Idle(machine) }, { size: 4 * MiB });
  readonly #hypervisor: Hypervisor = this.it.machine.hypervisor;
  readonly #own: number = Number(spaOf(this.it, REGION));
  readonly #written: Map<bigint, { key: number; value: bigint }> = new Map();
  #values = 0n;

  /** @param isSmall - whether the region starts in 4 KiB pages, in which more steps succeed */
  constructor(isSmall: boolean) {
    const { table, guest } = this.it;
    if (isSmall) {
      this.#hypervisor.psmash(sysPhysAddr(this.#own));
      guest.nested.split4k(physAddr(REGION));
    }
    table.map2m(virtAddr(gvaOf(REGION) + BigInt(SHARED)), physAddr(REGION), PtePreset.Data & 0x7fff_ffff, {
      shared: true,
    });
  }

  run(command: Command): void {
    const { vcpu, guest } = this.it;
    const before = this.#slots();
    switch (command.op) {
      case 'read':
      case 'fetch':
      case 'write':
        this.#access(command.op, command.shared, command.page);
        break;
      case 'pvalidate': {
        const fault = thrownBy(() => {
          const { result, unchanged } = vcpu.pvalidate(
            gvaOf(REGION + command.page),
            command.size,
            command.validate,
          );
          if (result === 0 && !unchanged) expect(this.#slots()).not.toEqual(before);
          else expect(this.#slots()).toEqual(before);
        });
        if (fault !== undefined) expect(this.#slots()).toEqual(before);
        return;
      }
      case 'host read':
        this.#read(this.#spa(command), 0, (spa) => this.#hypervisor.read(spa, 8));
        break;
      case 'host write': {
        const spa = this.#spa(command);
        const fault = this.#write(spa, 0, (bytes) => this.#hypervisor.write(spa, bytes));
        expect(fault === undefined).toBe(this.#entry(spa).assigned === false);
        break;
      }
      case 'psmash':
        this.#hypervisor.psmash(this.#spa(command));
        return;
      case 'assign': {
        const { asid, page, at = page, size: pageSize } = command;
        this.#hypervisor.rmpupdate(this.#spa(command), {
          assigned: true,
          asid,
          gpa: physAddr(REGION + at),
          pageSize,
        });
        return;
      }
      case 'free':
        this.#hypervisor.rmpupdate(this.#spa(command), { assigned: false, pageSize: command.size });
        return;
      default:
        this.#map(guest, command);
    }
    expect(this.#slots()).toEqual(before);
  }

  /** An access of the guest. It must succeed exactly if table 15-39, read by hand, allows it. */
  #access(kind: 'read' | 'write' | 'fetch', shared: boolean, page: number): void {
    const { vcpu, guest } = this.it;
    const gva = (gvaOf(REGION + page) + BigInt(shared ? SHARED : 0)) as VirtAddr;
    const isPrivate = !shared || kind === 'fetch';
    const nested = guest.nested.lookup(physAddr(REGION + page));
    const allowed = nested !== undefined && this.#allowed(nested.spa, nested.size, page, kind, isPrivate);
    const key = isPrivate ? guest.key : 0;
    const spa = nested?.spa ?? sysPhysAddr(0);
    const fault =
      kind === 'write'
        ? this.#write(spa, key, (bytes) => vcpu.write(gva, bytes))
        : thrownBy(() => this.#read(spa, key, () => vcpu[kind](gva, 8)));
    expect(fault === undefined).toBe(allowed);
    if (fault?.code === 'VC_NOT_VALIDATED')
      expect(this.#entry(spa)).toMatchObject({ asid: 1, validated: false });
  }

  #allowed(spa: SysPhysAddr, nestedSize: PageSize, page: number, kind: string, isPrivate: boolean): boolean {
    const entry = this.#entry(spa);
    if (!isPrivate) {
      if (kind === 'read') return true;
      if (nestedSize === PageSize.Regular) return !entry.assigned;
      const start = Number(spa) - (Number(spa) % REGION);
      return PAGES.every((p) => !(this.it.machine.rmp.rawEntry(sysPhysAddr(start + p)) as RmpEntry).assigned);
    }
    const gpa = entry.pageSize === PageSize.Huge ? entry.gpa + BigInt(page) : entry.gpa;
    const itsOwn = entry.assigned && entry.asid === 1 && gpa === BigInt(REGION + page) && !entry.immutable;
    return itsOwn && entry.pageSize === nestedSize && entry.validated;
  }

  /** Reads eight bytes. They are what was written last with the same key, and never what another key wrote. */
  #read(spa: SysPhysAddr, key: number, read: (spa: SysPhysAddr) => Uint8Array): void {
    const value = new BigUint64Array(read(spa).buffer)[0];
    const last = this.#written.get(spa);
    if (last === undefined) return;
    if (last.key === key) expect(value).toBe(last.value);
    else expect(value).not.toBe(last.value);
  }

  #write(spa: bigint, key: number, write: (bytes: Uint8Array) => void): { code: string } | undefined {
    this.#values += 1n;
    const value = this.#values * 0x9e37_79b9_7f4an;
    const fault = thrownBy(() => write(new Uint8Array(new BigUint64Array([value]).buffer)));
    if (fault === undefined) this.#written.set(spa, { key, value });
    return fault;
  }

  #map({ nested }: World['guest'], command: Command & { op: 'map 2 MiB' | 'map 4 KiB' }): void {
    const gpa = (p: number): PhysAddr => physAddr(REGION + p);
    if (command.op === 'map 4 KiB') {
      const { page, at = page } = command;
      nested.split4k(gpa(at));
      nested.unmap(gpa(at));
      nested.map(gpa(at), this.#spa(command), PageSize.Regular);
    } else if (nested.lookup(gpa(0))?.size === PageSize.Huge) {
      nested.unmap(gpa(0));
      nested.map(gpa(0), this.#spa({ ...command, page: 0 }), PageSize.Huge);
    }
  }

  #spa(where: { region: number; page: number }): SysPhysAddr {
    return sysPhysAddr([this.#own, ...SPARE][where.region]! + where.page);
  }

  /** The entries of the pages that programs use, and of one that they leave alone. */
  #slots(): (RmpEntry | undefined)[] {
    const pages = [0, 1, 2].flatMap((region) =>
      [...PAGES, 0x2000].map((page) => this.#spa({ region, page })),
    );
    return pages.map((spa) => this.it.machine.rmp.rawEntry(spa));
  }

  #entry(spa: SysPhysAddr): RmpEntry {
    return this.it.machine.rmp.entry(spa) as RmpEntry;
  }
}

// No access returns what another key wrote. No access that the table forbids succeeds. No failed access changes anything.
// R2, R12, C2, C15
test('programs of host and guest get what the table of checks allows, and no plaintext of each other', () => {
  fc.assert(
    fc.property(fc.boolean(), fc.array(command, { maxLength: 60, size: 'max' }), (isSmall, program) => {
      const model = new Model(isSmall);
      for (const step of program) model.run(step);
    }),
  );
});
