import { PageSize, physAddr, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { INIT_REGISTERS } from '../../src/cpu/vcpu-registers.ts';
import { failedVmrunCheck } from '../../src/cpu/vmrun.ts';
import { encodeGhcbMsr, PageOperation } from '../../src/formats/ghcb-msr.ts';
import { GhcbExit } from '../../src/formats/ghcb-page.ts';
import { pscEntriesOf } from '../../src/formats/page-state-list.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { requestPageStates } from '../../src/guest/page-state-change.ts';
import { makePagePrivate, makePageShared } from '../../src/guest/page-visibility.ts';
import { pageRegion, ValidatedPages } from '../../src/guest/validated-pages.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { messageOf } from '../support/message-of.ts';
import {
  bytesOf,
  codeOf,
  gvaOf,
  MiB,
  snapshot,
  spaOf,
  textOf,
  thrownBy,
  type World,
  world,
} from '../support/world.ts';

const A = 4 * MiB + 0x1000;
const B = 4 * MiB + 0x2000;
const gpaA = physAddr(A);
const gpaB = physAddr(B);

function attacked(): World & { host: HostileHypervisor; validated: ValidatedPages } {
  const it = world({ hypervisor: (machine) => new HostileHypervisor(machine) });
  const host = it.machine.hypervisor as HostileHypervisor;
  // 4 KiB pages from the start, so that an attack does not fail by a page size.
  host.splitPage(it.guest, gpaA);
  it.vcpu.write(gvaOf(A), bytesOf('attack at dawn'));
  it.vcpu.write(gvaOf(B), bytesOf('retreat'));
  const validated = new ValidatedPages(it.guest.memory, it.guest.memory);
  return { ...it, host, validated };
}
type Attacked = ReturnType<typeof attacked>;

/** The bytes that the guest reads at A: the text, or the check or fault that stops it. */
function readA({ vcpu }: Attacked): unknown {
  let text = '';
  const fault = thrownBy(() => {
    text = textOf(vcpu.read(gvaOf(A), 14));
  });
  return fault === undefined ? text : (fault.details['check'] ?? fault.code);
}

describe('stopped by hardware', () => {
  test.each<[string, (it: Attacked) => unknown, unknown]>([
    [
      'A1 overwrite a private page',
      (it) => codeOf(() => it.host.write(spaOf(it, A), bytesOf('x'))),
      'HOST_PF',
    ],
    [
      'A2 alias: two addresses, one page',
      (it) => {
        it.host.alias(it.guest, gpaA, gpaB);
        return readA(it);
      },
      'reverse-map',
    ],
    [
      'A3 another page at the same address',
      (it) => {
        it.host.substitute(it.guest, gpaA);
        return readA(it);
      },
      'VC_NOT_VALIDATED',
    ],
    [
      'A5 swap two pages',
      (it) => {
        it.host.swap(it.guest, gpaA, gpaB);
        return readA(it);
      },
      'reverse-map',
    ],
    [
      'A6 replay old ciphertext into the same page',
      (it) => {
        const old = it.host.capture(spaOf(it, A));
        it.vcpu.write(gvaOf(A), bytesOf('attack at noon'));
        expect(it.host.replay(it.guest, gpaA, old)).toEqual([0, 0]);
        return readA(it);
      },
      'VC_NOT_VALIDATED',
    ],
    [
      'A7 2 MiB in the nested page table over 4 KiB in the RMP',
      (it) => {
        it.host.psmash(spaOf(it, 6 * MiB));
        it.host.answers.fault = () => false;
        return thrownBy(() => it.vcpu.read(gvaOf(6 * MiB), 1))?.details['check'];
      },
      'page-size',
    ],
    [
      'A7 4 KiB in the nested page table over 2 MiB in the RMP',
      (it) => {
        it.guest.nested.split4k(physAddr(6 * MiB));
        it.host.answers.fault = () => false;
        return thrownBy(() => it.vcpu.read(gvaOf(6 * MiB), 1))?.details['check'];
      },
      'page-size',
    ],
    [
      'A10 a page of the hypervisor in place of a private one',
      (it) => {
        it.host.remap(it.guest, gpaA, it.host.allocatePage());
        return readA(it);
      },
      'guest-owned',
    ],
    [
      'A10 another guest’s page',
      (it) => {
        const other = it.host.launch({ size: 2 * MiB });
        it.host.remap(it.guest, gpaA, other.nested.lookup(physAddr(0))?.spa as SysPhysAddr);
        return readA(it);
      },
      'guest-owned',
    ],
    [
      'A10 a page of the hypervisor as the guest’s page table',
      (it) => {
        const root = physAddr(it.table.root);
        it.host.remap(it.guest, root, it.host.allocatePage());
        return readA({ ...it, vcpu: it.vcpu });
      },
      'guest-owned',
    ],
    [
      'no page at all',
      (it) => {
        it.host.hide(it.guest, gpaA);
        return readA(it);
      },
      'nested-not-present',
    ],
    [
      'A19 a page in use',
      (it) => {
        it.machine.rmp.setInUse(spaOf(it, A), true);
        expect(it.host.rmpupdate(spaOf(it, A), { assigned: false })).toBe(3);
        return readA(it);
      },
      'attack at dawn',
    ],
  ])('%s', (_, attack, outcome) => {
    const it = attacked();
    // A cached translation would not read the page table.
    it.vcpu.flushTlb();
    expect(attack(it)).toBe(outcome);
  });
});

test('A16 a forged VMSA: only VMPL0 makes a page a VMSA, and only at its address', () => {
  const it = attacked();
  const { rmp } = it.machine;
  const own = { spa: spaOf(it, A), gpa: gpaA, asid: it.guest.asid };
  expect(failedVmrunCheck(rmp, 'vmsa', own)).toBe('vmsa');
  const lower = it.guest.createVcpu({ vmpl: 1 });
  it.vcpu.rmpadjust(gvaOf(A), PageSize.Regular, { vmpl: 1, permissions: 0xf });
  // The page table that both use.
  const first = spaOf(it, 0);
  rmp.setRawEntry(first, { ...(rmp.rawEntry(first) as RmpEntry), vmplMasks: [0x1f, 0xf, 0, 0] });
  lower.loadCr3(it.table.cr3);
  expect(lower.rmpadjust(gvaOf(A), PageSize.Regular, { vmpl: 2, permissions: 0, vmsa: true })).toBe(0);
  expect(failedVmrunCheck(rmp, 'vmsa', own)).toBe('vmsa');
  it.vcpu.rmpadjust(gvaOf(A), PageSize.Regular, { vmpl: 1, permissions: 0, vmsa: true });
  expect(failedVmrunCheck(rmp, 'vmsa', own)).toBe(undefined);
  expect(failedVmrunCheck(rmp, 'vmsa', { ...own, gpa: gpaB })).toBe('reverse-map');
  expect(failedVmrunCheck(rmp, 'vmsa', { ...own, asid: 2 })).toBe('guest-owned');
  expect(failedVmrunCheck(rmp, 'vmsa', { ...own, spa: it.host.allocatePage() })).toBe('guest-owned');
  it.host.replay(it.guest, gpaA, new Uint8Array(1));
  expect(failedVmrunCheck(rmp, 'vmsa', own)).toBe('vmsa');
});

describe('stopped only by what the guest does', () => {
  test('A4 double validation: without a record, the hypervisor changes between two valid pages', () => {
    const it = attacked();
    const old = spaOf(it, A);
    const fresh = it.host.substitute(it.guest, gpaA) as SysPhysAddr;
    // The guest takes the page for new and validates it again: hardware reports a change.
    expect(it.vcpu.pvalidate(gvaOf(A), PageSize.Regular, true)).toEqual({ result: 0, unchanged: false });
    it.vcpu.write(gvaOf(A), bytesOf('attack at noon'));
    it.host.remap(it.guest, gpaA, old);
    expect(readA(it)).toBe('attack at dawn');
    it.host.remap(it.guest, gpaA, fresh);
    expect(readA(it)).toBe('attack at noon');
  });

  test('A4 with a record, the second validation is refused', () => {
    const it = attacked();
    it.host.substitute(it.guest, gpaA);
    expect(codeOf(() => it.validated.requireNone(pageRegion(gpaA, PageSize.Regular)))).toBe(
      'ALREADY_VALIDATED',
    );
    expect(readA(it)).toBe('VC_NOT_VALIDATED');
  });

  test('A9 a stale translation: without a flush, the guest uses the shared page as private', () => {
    const it = attacked();
    makePageShared(it.vcpu, it.table, gvaOf(A), { validated: it.validated });
    it.vcpu.read(gvaOf(A), 1);
    it.table.setEncrypted4k(gvaOf(A));
    // Without INVLPG it writes where the host reads.
    it.vcpu.write(gvaOf(A), bytesOf('leak'));
    expect(textOf(it.host.read(spaOf(it, A), 4))).toBe('leak');
    it.vcpu.invlpg(gvaOf(A));
    expect(codeOf(() => it.vcpu.write(gvaOf(A), bytesOf('leak')))).toBe('NPF');
  });

  test('A11 a false claim of success: the page is private only once PVALIDATE reports it', () => {
    const it = attacked();
    makePageShared(it.vcpu, it.table, gvaOf(A), { validated: it.validated });
    it.host.answers.msr = () => 0x015n;
    expect(codeOf(() => makePagePrivate(it.vcpu, it.table, gvaOf(A), { validated: it.validated }))).toBe(
      'NPF',
    );
    expect(it.validated.has(gpaA)).toBe(false);
  });

  test('A6 old content in a page that the guest takes back: it is cleared before use', () => {
    const it = attacked();
    const old = it.host.capture(spaOf(it, A));
    makePageShared(it.vcpu, it.table, gvaOf(A), { validated: it.validated });
    it.host.write(spaOf(it, A), old);
    makePagePrivate(it.vcpu, it.table, gvaOf(A), { validated: it.validated });
    expect(it.vcpu.read(gvaOf(A), 14)).toEqual(new Uint8Array(14));
    // Without the clearing, address and key are the same, and so is the text.
    const bare = attacked();
    bare.host.replay(bare.guest, gpaA, old);
    bare.vcpu.pvalidate(gvaOf(A), PageSize.Regular, true);
    expect(readA(bare)).toBe('attack at dawn');
  });

  test('A3 a change of memory at an exit: the next step of the guest is checked again', () => {
    const it = attacked();
    makePageShared(it.vcpu, it.table, gvaOf(A), { validated: it.validated });
    it.host.answers.beforeResume = (guest) => {
      it.host.answers.beforeResume = undefined;
      it.host.remap(guest, gpaA, spaOf(it, B));
    };
    expect(
      thrownBy(() => makePagePrivate(it.vcpu, it.table, gvaOf(A), { validated: it.validated }))?.details,
    ).toMatchObject({
      check: 'reverse-map',
    });
    expect(textOf(it.vcpu.read(gvaOf(B), 7))).toBe('retreat');
  });
});

test('attacks on an unmapped address do nothing', () => {
  const { host, guest } = attacked();
  const nowhere = physAddr(64 * MiB);
  expect([host.hide(guest, nowhere), host.replay(guest, nowhere, new Uint8Array(1))]).toEqual([
    undefined,
    undefined,
  ]);
  host.lend(guest, gpaA, guest, nowhere);
  host.mapSmall(guest, nowhere);
  host.mapHuge(guest, nowhere);
  const results = [
    host.unassign(guest, nowhere),
    host.move(guest, nowhere, gpaA),
    host.smash(guest, nowhere),
  ];
  expect([...results, host.unsmash(guest, nowhere)]).toEqual([undefined, undefined, undefined, false]);
  host.alias(guest, gpaA, nowhere);
  host.swap(guest, gpaA, nowhere);
  expect(guest.nested.lookup(gpaA)).toBe(undefined);
});

test('a wrong argument is refused even if nothing is mapped, and changes no mapping', () => {
  const { host, guest, ...it } = attacked();
  const nowhere = physAddr(64 * MiB);
  const wrong = 'x' as never;
  const address = '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]';
  const place = '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]';
  const who = 'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]';
  const before = spaOf({ ...it, guest } as World, A);
  for (const [call, message] of [
    [() => host.swap(guest, gpaA, wrong), address],
    [() => host.remap(guest, gpaA, wrong), place],
    [() => host.alias(guest, wrong, nowhere), address],
    [() => host.lend(guest, wrong, guest, nowhere), address],
    [() => host.lend(wrong, gpaA, guest, nowhere), who],
    [() => host.beforeSharedRead(wrong, before, 1), who],
    [() => host.beforeSharedRead(guest, wrong, 1), place],
    [
      () => host.beforeSharedRead(guest, before, -1),
      'length cannot be -1: pass an integer from 0 on [INVALID_ARGUMENT]',
    ],
  ] as const) {
    expect(messageOf(call)).toBe(message);
  }
  expect(guest.nested.lookup(gpaA)?.spa).toBe(before);
});

test('swap moves both pages, or the only one', () => {
  const it = attacked();
  const [a, b] = [spaOf(it, A), spaOf(it, B)];
  it.host.swap(it.guest, gpaA, gpaB);
  expect([spaOf(it, A), spaOf(it, B)]).toEqual([b, a]);
  it.host.hide(it.guest, gpaA);
  it.host.swap(it.guest, gpaA, gpaB);
  expect([spaOf(it, A), it.guest.nested.lookup(gpaB)]).toEqual([a, undefined]);
});

test('replay writes the captured bytes only if the page could be taken', () => {
  const it = attacked();
  const old = it.host.capture(spaOf(it, A));
  it.vcpu.write(gvaOf(A), bytesOf('attack at noon'));
  const now = it.host.capture(spaOf(it, A));
  it.machine.rmp.setInUse(spaOf(it, A), true);
  expect(it.host.replay(it.guest, gpaA, old)).toEqual([3, 3]);
  expect(it.host.capture(spaOf(it, A))).toEqual(now);
  it.machine.rmp.setInUse(spaOf(it, A), false);
  expect(it.host.replay(it.guest, gpaA, old)).toEqual([0, 0]);
  expect(it.host.capture(spaOf(it, A))).toEqual(old);
});

test('unsmash passes on an error that does not come from the firmware', () => {
  const it = attacked();
  it.machine.firmware.pageUnsmash = () => {
    throw new Error('another');
  };
  expect(() => it.host.unsmash(it.guest, physAddr(6 * MiB))).toThrow('another');
});

test('withhold answers a request to run a level, and no other, without serving it', () => {
  const it = attacked();
  let entered = 0;
  it.guest.onEnter(1, () => {
    entered += 1;
  });
  it.host.answers = { withhold: true };
  const run = encodeGhcbMsr({ type: 'run-vmpl-request', vmpl: 1 });
  const version = encodeGhcbMsr({ type: 'sev-info-request' });
  const honest = (withhold: boolean, request: bigint) => {
    it.host.answers = { withhold };
    return it.host.vmgexit(it.guest, request, it.vcpu);
  };
  expect([honest(true, run), entered]).toEqual([0x017n, 0]);
  expect([honest(false, run), entered]).toEqual([0x017n, 1]);
  expect(honest(true, version)).toBe(honest(false, version));
});

test('substitute fails with a page that RMPUPDATE refuses', () => {
  const it = attacked();
  const fixed = it.host.allocatePage();
  it.host.rmpupdate(fixed, { assigned: true, immutable: true });
  expect(it.host.substitute(it.guest, gpaA, fixed)).toBe(undefined);
});

describe('page sizes', () => {
  const nestedSize = ({ guest }: World, gpa: number) => guest.nested.lookup(physAddr(gpa))?.size;

  // I9, I17
  test('smash and unsmash change the RMP alone, and keep validated', () => {
    const it = attacked();
    const at = physAddr(6 * MiB + 0x5000);
    it.vcpu.write(gvaOf(6 * MiB), bytesOf('kept'));
    expect(it.host.smash(it.guest, at)).toBe(0);
    expect(it.machine.rmp.entry(spaOf(it, 6 * MiB))?.pageSize).toBe(PageSize.Regular);
    expect(nestedSize(it, 6 * MiB)).toBe(PageSize.Huge);
    expect(it.host.smash(it.guest, at)).toBe(7);
    expect(it.host.unsmash(it.guest, at)).toBe(true);
    expect(it.machine.rmp.entry(spaOf(it, 6 * MiB))).toMatchObject({
      pageSize: PageSize.Huge,
      validated: true,
    });
    expect(textOf(it.vcpu.read(gvaOf(6 * MiB), 4))).toBe('kept');
  });

  test('unsmash of pages that are not alike changes nothing', () => {
    const it = attacked();
    it.host.smash(it.guest, physAddr(6 * MiB));
    it.host.mapSmall(it.guest, physAddr(6 * MiB));
    it.vcpu.pvalidate(gvaOf(6 * MiB + 0x7000), PageSize.Regular, false);
    const before = snapshot(it.machine.rmp);
    expect(it.host.unsmash(it.guest, physAddr(6 * MiB))).toBe(false);
    expect(it.host.unsmash(it.guest, physAddr(4 * MiB))).toBe(true);
    it.host.smash(it.guest, physAddr(4 * MiB));
    expect(snapshot(it.machine.rmp)).toBe(before);
    it.host.unassign(it.guest, physAddr(6 * MiB + 0x9000));
    const less = snapshot(it.machine.rmp);
    expect(it.host.unsmash(it.guest, physAddr(6 * MiB))).toBe(false);
    expect(snapshot(it.machine.rmp)).toBe(less);
  });

  test('mapSmall and mapHuge change the nested page table alone', () => {
    const it = attacked();
    const first = spaOf(it, 6 * MiB);
    it.host.mapSmall(it.guest, physAddr(6 * MiB));
    expect([nestedSize(it, 6 * MiB), nestedSize(it, 8 * MiB - 0x1000)]).toEqual([0x1000, 0x1000]);
    it.host.hide(it.guest, physAddr(6 * MiB + 0x3000));
    it.host.mapHuge(it.guest, physAddr(6 * MiB + 0x2000));
    expect([nestedSize(it, 6 * MiB), spaOf(it, 6 * MiB + 0x3000)]).toEqual([PageSize.Huge, first + 0x3000n]);
    it.host.mapHuge(it.guest, physAddr(6 * MiB));
    expect(spaOf(it, 6 * MiB)).toBe(first);
    expect(it.machine.rmp.entry(first)?.pageSize).toBe(PageSize.Huge);
  });
});

test('unassign leaves the page mapped; move gives it to another address; lend maps a page of another guest', () => {
  const it = attacked();
  const spa = spaOf(it, A);
  expect(it.host.unassign(it.guest, gpaA)).toBe(0);
  expect([spaOf(it, A), it.machine.rmp.entry(spa)?.assigned]).toEqual([spa, false]);
  expect(it.host.move(it.guest, gpaB, gpaA)).toBe(0);
  expect(it.machine.rmp.entry(spaOf(it, A))).toMatchObject({ gpa: gpaA, asid: 1, validated: false });
  const other = it.host.launch({ size: 2 * MiB });
  it.host.lend(it.guest, gpaB, other, physAddr(0x3000));
  expect(it.machine.rmp.entry(spaOf(it, B))?.asid).toBe(other.asid);
});

describe('answers', () => {
  // A11
  test('pageState claims a change that was not made', () => {
    const it = attacked();
    const ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(4 * MiB + 0x8000));
    it.host.answers.pageState = () => 0;
    requestPageStates(ghcb, pscEntriesOf(pageRegion(gpaA, PageSize.Regular), PageOperation.Shared));
    expect(it.machine.rmp.entry(spaOf(it, A))?.assigned).toBe(true);
  });

  test('afterPage changes what the guest finds in its GHCB', () => {
    const it = attacked();
    const ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(4 * MiB + 0x8000));
    it.host.answers.afterPage = (page) => page.set('exitInfo2', 77n);
    expect(ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures })).toBe(77n);
    it.host.answers.afterPage = (page) => page.invalidate();
    expect(codeOf(() => ghcb.vmgexit({ exitCode: GhcbExit.HypervisorFeatures }))).toBe('VMGEXIT_FAILED');
  });

  test('beforeSharedRead is called before each read of shared memory, and before no other', () => {
    const it = attacked();
    makePageShared(it.vcpu, it.table, gvaOf(A), { validated: it.validated });
    const spa = spaOf(it, A);
    let reads = 0;
    it.host.answers.beforeSharedRead = (_, at, length) => {
      expect([at, length]).toEqual([spa + 8n, 4]);
      it.host.write(at, Uint8Array.of(++reads));
    };
    const at = gvaOf(A + 8);
    expect([it.vcpu.read(at, 4)[0], it.vcpu.read(at, 4)[0]]).toEqual([1, 2]);
    it.vcpu.write(gvaOf(B), Uint8Array.of(9));
    expect([it.vcpu.read(gvaOf(B), 1)[0], reads]).toEqual([9, 2]);
  });

  // A15
  test('enter runs a level without a request', () => {
    const it = attacked();
    let entered = 0;
    it.guest.onEnter(0, () => {
      entered += 1;
    });
    const lower = it.guest.createVcpu({ vmpl: 2 });
    expect([it.host.enter(it.guest, 0, lower), it.host.enter(it.guest, 1, lower), entered]).toEqual([
      true,
      false,
      1,
    ]);
  });
});

describe('let through, as by hardware', () => {
  const ASIDS = { assigned: true, asid: 1 } as const;

  test('A23 an alias of DRAM: the guest reads its own old text, and no check fails', () => {
    const it = attacked();
    const page = spaOf(it, A);
    const entry = it.machine.rmp.entry(page);
    const alias = it.host.aliasDram(page);
    expect(it.machine.rmp.entry(alias)).toMatchObject({ assigned: false });
    const old = it.host.capture(alias);
    expect(old).toEqual(it.host.capture(page));
    it.vcpu.write(gvaOf(A), bytesOf('attack at noon'));
    expect(readA(it)).toBe('attack at noon');
    it.host.write(alias, old);
    expect(readA(it)).toBe('attack at dawn');
    expect(it.machine.rmp.entry(page)).toEqual(entry);
    // The RMP still guards the address of the page itself.
    expect(codeOf(() => it.host.write(page, old))).toBe('HOST_PF');
  });

  test('A23 ciphertext of one page decrypts to noise in another, alias or not', () => {
    const it = attacked();
    const [a, b] = [it.host.aliasDram(spaOf(it, A)), it.host.aliasDram(spaOf(it, B))];
    it.host.write(a, it.host.capture(b));
    expect(readA(it)).not.toBe('retreat');
    expect(readA(it)).not.toBe('attack at dawn');
  });

  test('A23 the alias sees through no key, and ends when it becomes its own page again', () => {
    const it = attacked();
    const free = it.host.allocatePage();
    it.host.write(free, bytesOf('before'));
    expect(it.host.aliasDram(spaOf(it, A), free)).toBe(free);
    expect(textOf(it.host.read(free, 14))).not.toBe('attack at dawn');
    it.host.aliasDram(free, free);
    expect(textOf(it.host.read(free, 6))).toBe('before');
    expect(readA(it)).toBe('attack at dawn');
  });

  test('A24 a tampered RMP: a page is taken, rolled back, and valid again', () => {
    const it = attacked();
    const page = spaOf(it, A);
    const old = it.host.capture(page);
    it.vcpu.write(gvaOf(A), bytesOf('attack at noon'));
    const before = it.host.tamperRmp(page, { assigned: false });
    expect(before).toMatchObject({ ...ASIDS, validated: true, gpa: gpaA });
    it.host.write(page, old);
    expect(readA(it)).toBe('guest-owned');
    expect(it.host.tamperRmp(page, before)).toMatchObject({ assigned: false });
    expect(it.machine.rmp.rawEntry(page)).toEqual(before);
    expect(readA(it)).toBe('attack at dawn');
  });

  test('A24 a tampered RMP: the hypervisor makes a page of the guest a VMSA', () => {
    const it = attacked();
    const own = { spa: spaOf(it, A), gpa: gpaA, asid: it.guest.asid };
    expect(failedVmrunCheck(it.machine.rmp, 'vmsa', own)).toBe('vmsa');
    it.host.tamperRmp(own.spa, { vmsa: true });
    expect(failedVmrunCheck(it.machine.rmp, 'vmsa', own)).toBe(undefined);
  });

  test('A24 tampered masks have no effect before the translations are flushed, other fields at once', () => {
    const it = attacked();
    const page = spaOf(it, A);
    it.vcpu.rmpadjust(gvaOf(A), PageSize.Regular, { vmpl: 2, permissions: 0xf });
    const vcpu = it.guest.createVcpu({ vmpl: 2, nestedTlb: new NestedTlb(), registers: INIT_REGISTERS });
    const read = () => codeOf(() => vcpu.read(virtAddr(A), 1));
    expect(read()).toBe(undefined);
    const before = it.host.tamperRmp(page, { vmplMasks: [0x1f, 0, 0, 0] });
    expect(read()).toBe(undefined);
    it.host.flushTlbs(it.guest);
    expect(read()).toBe('NPF');
    it.host.tamperRmp(page, before);
    it.host.flushTlbs(it.guest);
    expect(read()).toBe(undefined);
    it.host.tamperRmp(page, { validated: false });
    expect(read()).toBe('VC_NOT_VALIDATED');
  });

  test('A24 only covered pages have an entry to tamper with', () => {
    const it = world({
      rmpCovers: 30 * MiB,
      hypervisor: (machine) => new HostileHypervisor(machine),
    });
    const host = it.machine.hypervisor as HostileHypervisor;
    const outside = sysPhysAddr(30 * MiB);
    expect(codeOf(() => host.tamperRmp(outside, {}))).toBe('OUTSIDE_RMP');
  });

  test('A25 ciphertext: equal values at the same address look equal, and a known one gives itself away', () => {
    const it = attacked();
    const page = spaOf(it, A);
    const seen = new Map<string, string>();
    for (const value of ['yes', 'no']) {
      it.vcpu.write(gvaOf(A), bytesOf(value.padEnd(16)));
      seen.set(it.host.observeCiphertext(page), value);
    }
    expect(seen.size).toBe(2);
    for (const value of ['no', 'yes', 'yes', 'no']) {
      it.vcpu.write(gvaOf(A), bytesOf(value.padEnd(16)));
      expect(seen.get(it.host.observeCiphertext(page))).toBe(value);
    }
    // At another address the same value has another ciphertext.
    it.vcpu.write(gvaOf(B), bytesOf('yes'.padEnd(16)));
    expect(seen.has(it.host.observeCiphertext(spaOf(it, B)))).toBe(false);
    expect(it.host.observeCiphertext(page, 3)).toMatch(/^[0-9a-f]{6}$/);
  });
});
