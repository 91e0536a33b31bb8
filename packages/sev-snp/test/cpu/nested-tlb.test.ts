import { PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { PtePreset, Tlb } from '@svsm/pagetable';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { encodeSvsmListEntry, encodeSvsmListHeader } from '../../src/formats/svsm-protocol.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { Guest } from '../../src/guest/guest.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { isSnpFault } from '../../src/rmp/snp-fault.ts';
import { svsmWorld } from '../support/svsm-world.ts';
import { bytesOf, codeOf, gvaOf, MiB, mapAll, spaOf, thrownBy, type World, world } from '../support/world.ts';

const PAGE = 2 * MiB + 0x3000;
const SECRET = bytesOf('attack at dawn');

/** A guest in 4 KiB pages, whose processor caches nested translations. */
function cached(): { it: World; nestedTlb: NestedTlb; host: HostileHypervisor } {
  const nestedTlb = new NestedTlb();
  const it = world(
    { hypervisor: (machine) => new HostileHypervisor(machine) },
    { pageSize: PageSize.Regular },
    { nestedTlb },
  );
  it.vcpu.write(gvaOf(PAGE), SECRET);
  return { it, nestedTlb, host: it.machine.hypervisor as HostileHypervisor };
}
const read = ({ vcpu }: World): unknown => {
  try {
    return vcpu.read(gvaOf(PAGE), SECRET.length);
  } catch (error) {
    return isSnpFault(error) ? error.code : error;
  }
};

describe('a change of the nested page table alone', () => {
  // A8, P34
  test('has no effect before the hypervisor flushes: the old page answers', () => {
    const { it, host } = cached();
    host.remap(it.guest, physAddr(PAGE), host.allocatePage());
    expect(read(it)).toEqual(SECRET);
    host.flushTlbs(it.guest);
    expect(read(it)).toBe('NPF');
  });

  // P33
  test('has no effect after INVLPG, a load of CR3 or a flush of the guest’s own half either', () => {
    const { it, host } = cached();
    host.hide(it.guest, physAddr(PAGE));
    it.vcpu.invlpg(gvaOf(PAGE));
    it.vcpu.loadCr3(it.table.cr3);
    it.vcpu.flushTlb();
    expect(read(it)).toEqual(SECRET);
    it.vcpu.invlpgb();
    expect(read(it)).toBe('NPF');
  });

  // P29
  test('needs no flush if it adds rights', () => {
    const { it } = cached();
    it.table.map4k(gvaOf(64 * MiB), physAddr(16 * MiB), PtePreset.Data);
    expect(codeOf(() => it.vcpu.read(gvaOf(64 * MiB), 1))).toBe('NPF');
    const spa = it.machine.hypervisor.allocatePage();
    it.guest.nested.map(physAddr(16 * MiB), spa, PageSize.Regular);
    it.machine.hypervisor.rmpupdate(spa, { assigned: true, asid: 1, gpa: physAddr(16 * MiB) });
    expect(it.vcpu.pvalidate(gvaOf(64 * MiB), PageSize.Regular, true).unchanged).toBe(false);
    expect(it.vcpu.read(gvaOf(64 * MiB), 1)).toHaveLength(1);
  });
});

// P35, RMPUPDATE step 8
describe('a change of the RMP takes effect at once', () => {
  test('RMPUPDATE of the cached page: the page that is mapped now is checked', () => {
    const { it, host } = cached();
    const old = spaOf(it, PAGE);
    host.substitute(it.guest, physAddr(PAGE));
    expect(read(it)).toEqual(SECRET);
    host.rmpupdate(old, { assigned: false });
    expect(read(it)).toBe('VC_NOT_VALIDATED');
    // After it was taken and given back, the old page is not valid either.
    host.rmpupdate(old, { assigned: true, asid: 1, gpa: physAddr(PAGE) });
    expect(read(it)).toBe('VC_NOT_VALIDATED');
  });

  test('PVALIDATE', () => {
    const { it } = cached();
    it.vcpu.pvalidate(gvaOf(PAGE), PageSize.Regular, false);
    expect(read(it)).toBe('VC_NOT_VALIDATED');
  });

  test('RMPUPDATE of a shared page: a page that another guest now owns is not written', () => {
    const { it, host } = cached();
    it.vcpu.pvalidate(gvaOf(PAGE), PageSize.Regular, false);
    host.changePageState(it.guest, physAddr(PAGE), 2);
    it.table.setShared4k(gvaOf(PAGE));
    it.vcpu.invlpg(gvaOf(PAGE));
    it.vcpu.write(gvaOf(PAGE), SECRET);
    host.rmpupdate(spaOf(it, PAGE), { assigned: true, asid: 2, gpa: physAddr(0) });
    expect(thrownBy(() => it.vcpu.write(gvaOf(PAGE), SECRET))?.details).toMatchObject({
      check: 'hypervisor-owned',
    });
  });

  test('PSMASH of a 2 MiB page', () => {
    const it = world({}, {}, { nestedTlb: new NestedTlb() });
    it.vcpu.write(gvaOf(PAGE), SECRET);
    it.machine.hypervisor.psmash((spaOf(it, PAGE) & -BigInt(2 * MiB)) as SysPhysAddr);
    // Nested table and RMP disagree now. At the exit the hypervisor splits its own page.
    expect(read(it)).toEqual(SECRET);
    expect(it.events.map(({ type }) => type)).toEqual(['psmash', 'npf']);
  });
});

describe('RMPADJUST', () => {
  const revoked = (nestedTlb: NestedTlb) => {
    const it = svsmWorld();
    const { guest, table } = it;
    const stale = guest.createVcpu({ vmpl: 2, nestedTlb });
    stale.loadCr3(table.cr3);
    for (const gpa of [0, 2 * MiB])
      it.vcpu.rmpadjust(gvaOf(gpa), PageSize.Huge, { vmpl: 2, permissions: 0xf });
    stale.read(gvaOf(PAGE), 1);
    it.vcpu.rmpadjust(gvaOf(2 * MiB), PageSize.Huge, { vmpl: 2, permissions: 0 });
    return { it, stale };
  };

  // V7, P35
  test('does not reach the cache of another processor before somebody flushes', () => {
    const { it, stale } = revoked(new NestedTlb());
    expect(stale.read(gvaOf(PAGE), 1)).toHaveLength(1);
    // A kind of access that was not cached is checked now.
    expect(codeOf(() => stale.write(gvaOf(PAGE), new Uint8Array(1)))).toBe('NPF');
    it.vcpu.invlpgb();
    expect(codeOf(() => stale.read(gvaOf(PAGE), 1))).toBe('NPF');
  });

  // S9, V7
  test('an SVSM flushes when it revokes a page', () => {
    const it = svsmWorld();
    const stale = it.guest.createVcpu({ vmpl: 2, nestedTlb: new NestedTlb() });
    stale.loadCr3(it.guestCpu.cr3);
    stale.read(gvaOf(6 * MiB), 1);
    const entry = { gpa: physAddr(6 * MiB), size: 1, validate: false, ignoreUnchanged: false, reserved: 0 };
    it.svsm.register(stale, physAddr(5 * MiB));
    it.guestCpu.write(
      gvaOf(5 * MiB + 8),
      Uint8Array.from([...encodeSvsmListHeader({ count: 1, next: 0 }), ...encodeSvsmListEntry(entry)]),
    );
    const registers = { rax: 1n, rcx: BigInt(5 * MiB + 8), rdx: 0n, r8: 0n, r9: 0n };
    it.svsm.call(it.guestCpu, registers);
    expect(registers.rax).toBe(0n);
    expect(codeOf(() => stale.read(gvaOf(6 * MiB), 1))).toBe('VC_NOT_VALIDATED');
  });
});

describe('one cache for several users', () => {
  // A10, P28
  test('two guests that take turns on a processor read their own pages', () => {
    const { it, nestedTlb } = cached();
    const other = it.machine.hypervisor.launch({ size: 8 * MiB, pageSize: PageSize.Regular });
    const vcpu = other.createVcpu({ nestedTlb });
    mapAll(other, vcpu);
    vcpu.write(gvaOf(PAGE), bytesOf('retreat at ten'));
    for (let k = 0; k < 2; k += 1) {
      expect(read(it)).toEqual(SECRET);
      expect(vcpu.read(gvaOf(PAGE), SECRET.length)).toEqual(bytesOf('retreat at ten'));
    }
    // The other guest keeps a page that this one does not have any more.
    it.machine.hypervisor.rmpupdate(spaOf(it, PAGE), { assigned: false });
    expect(read(it)).toBe('NPF');
    expect(vcpu.read(gvaOf(PAGE), SECRET.length)).toEqual(bytesOf('retreat at ten'));
  });

  // V1, P28
  test('a level does not use what another level was allowed', () => {
    const { it, nestedTlb } = cached();
    const os = it.guest.createVcpu({ vmpl: 2, nestedTlb });
    for (const gpa of [0x10_0000, 0x10_1000, 0x10_2000, 0x10_3000]) {
      it.vcpu.rmpadjust(gvaOf(gpa), PageSize.Regular, { vmpl: 2, permissions: 3 });
    }
    os.loadCr3(it.table.cr3);
    expect(read(it)).toEqual(SECRET);
    expect(codeOf(() => os.read(gvaOf(PAGE), 1))).toBe('NPF');
    expect(codeOf(() => os.memory.words(PAGE / PageSize.Regular, false))).toBe('NPF');
    expect(read(it)).toEqual(SECRET);
  });

  // T11
  test('a guest with the ASID of another one does not find its translations', () => {
    const { it, nestedTlb } = cached();
    const { machine, guest } = it;
    const { firmware, hypervisor: host, rmp } = machine;
    const { nested, memory, asid } = guest;
    expect(nestedTlb.lookup(it.guest, 0, physAddr(PAGE))).toBeDefined();
    for (const page of rmp.covered.iterPages(PageSize.Regular)) {
      const entry = rmp.rawEntry(page);
      if (entry?.asid === asid) host.rmpupdate(page, { assigned: false, pageSize: entry.pageSize });
    }
    firmware.decommission(guest.context);
    firmware.wbinvd();
    firmware.dfFlush();
    const context = host.givePageToFirmware();
    firmware.guestContextCreate(context);
    firmware.launchStart(context);
    firmware.activate(context, asid);
    const heir = new Guest(machine, { context, nested, memory });
    expect(nestedTlb.lookup(heir, 0, physAddr(PAGE))).toBeUndefined();
    expect(nestedTlb.lookup(it.guest, 0, physAddr(PAGE))).toBeUndefined();
  });
});

test('size counts the translations, and flushAll drops them', () => {
  const { nestedTlb, it, host } = cached();
  // Three tables, and the page.
  expect(nestedTlb.size).toBe(4);
  host.hide(it.guest, physAddr(PAGE));
  nestedTlb.flushAll();
  expect([nestedTlb.size, read(it)]).toEqual([0, 'NPF']);
});

// With the flushes that software owes, a processor that caches behaves like one that does not.
// P35
test('programs of a host that flushes end the same with and without a nested TLB', () => {
  const gpas = [PAGE, PAGE + 0x1000, 4 * MiB, 4 * MiB + 0x1000];
  const place = fc.constantFrom(...gpas);
  const step = fc.oneof(
    fc.record({ op: fc.constant('remap' as const), a: place, b: place }),
    fc.record({ op: fc.constant('unassign' as const), a: place }),
    fc.record({ op: fc.constant('assign' as const), a: place, b: place }),
    fc.record({ op: fc.constant('psmash' as const), a: place }),
    fc.record({ op: fc.constant('split' as const), a: place }),
    fc.record({ op: fc.constant('validate' as const), a: place, validate: fc.boolean() }),
    fc.record({ op: fc.constant('adjust' as const), a: place, mask: fc.integer({ min: 0, max: 15 }) }),
    fc.record({
      op: fc.constant('access' as const),
      a: place,
      kind: fc.constantFrom('read', 'write', 'fetch'),
    }),
    fc.record({
      op: fc.constant('access' as const),
      a: place,
      kind: fc.constantFrom('read', 'write', 'fetch'),
    }),
  );
  const start = (isCaching: boolean) => {
    const it = world({ hypervisor: (machine) => new HostileHypervisor(machine) });
    // The guest's own tables never change here, so its half may be cached too. Then most accesses take the short path.
    const tlbs = () => (isCaching ? { tlb: new Tlb(), nestedTlb: new NestedTlb() } : {});
    const low = it.guest.createVcpu({ vmpl: 1, ...tlbs() });
    const top = it.guest.createVcpu(tlbs());
    for (const vcpu of [low, top]) vcpu.loadCr3(it.table.cr3);
    for (let gpa = 0; gpa < 8 * MiB; gpa += 2 * MiB)
      top.rmpadjust(gvaOf(gpa), PageSize.Huge, { vmpl: 1, permissions: 0xf });
    return { it, low, top };
  };
  type Machine = ReturnType<typeof start>;
  const run = ({ it, low, top }: Machine, action: Record<string, unknown> & { op: string }): unknown => {
    const host = it.machine.hypervisor as HostileHypervisor;
    const a = physAddr(action['a'] as number);
    const spa = (gpa: PhysAddr) => it.guest.nested.lookup(gpa)?.spa as SysPhysAddr;
    const access = (vcpu: Vcpu) => {
      if (action['kind'] === 'write') return vcpu.write(gvaOf(Number(a)), SECRET);
      return action['kind'] === 'read' ? vcpu.read(gvaOf(Number(a)), 4) : vcpu.fetch(gvaOf(Number(a)), 4);
    };
    const outcome = (of: () => unknown): unknown => {
      try {
        return of();
      } catch (error) {
        if (isSnpFault(error)) return [error.code, error.details];
        throw error;
      }
    };
    switch (action.op) {
      case 'remap':
        host.remap(it.guest, a, spa(physAddr(action['b'] as number)));
        return host.flushTlbs(it.guest);
      case 'unassign':
        return host.rmpupdate(spa(a), { assigned: false });
      case 'assign':
        return host.rmpupdate(spa(a), { assigned: true, asid: 1, gpa: physAddr(action['b'] as number) });
      case 'psmash':
        return host.psmash((spa(a) & -BigInt(2 * MiB)) as SysPhysAddr);
      case 'split':
        it.guest.nested.split4k(a);
        return host.flushTlbs(it.guest);
      case 'validate':
        return outcome(() =>
          top.pvalidate(gvaOf(Number(a)), PageSize.Regular, action['validate'] as boolean),
        );
      case 'adjust': {
        const adjustment = { vmpl: 1, permissions: action['mask'] as number };
        const result = outcome(() => top.rmpadjust(gvaOf(Number(a)), PageSize.Regular, adjustment));
        top.invlpgb();
        return result;
      }
      default:
        return [outcome(() => access(top)), outcome(() => access(low))];
    }
  };
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 25 }), (program) => {
      const plain = start(false);
      const caching = start(true);
      for (const action of program) expect(run(caching, action)).toEqual(run(plain, action));
    }),
  );
});
