import { PageSize, physAddr, type VirtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { accessGuestPhys, type GuestPhysAccess, translateNested } from '../../src/cpu/guest-access.ts';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { NpfInfo } from '../../src/formats/exit-info.ts';
import type { NestedRights } from '../../src/memory/nested-table.ts';
import type { RmpAccessKind } from '../../src/rmp/rmp-check.ts';
import { bytesOf, codeOf, gvaOf, MiB, spaOf, thrownBy, type World, world } from '../support/world.ts';

const PRIVATE = 2 * MiB + 0x3000;
const SHARED = 2 * MiB + 0x4000;
const KINDS: readonly RmpAccessKind[] = ['read', 'write', 'fetch', 'table', 'table-update'];
const BOOLEANS = [false, true] as const;

/** A guest in 4 KiB pages, of which {@link SHARED} is shared. */
function small(launch: { gmet?: boolean; nestedAccessedDirty?: boolean } = {}): World {
  const it = world({}, { pageSize: PageSize.Regular, ...launch });
  it.vcpu.pvalidate(gvaOf(SHARED), PageSize.Regular, false);
  it.machine.hypervisor.changePageState(it.guest, physAddr(SHARED), 2);
  return it;
}

/** Maps the page at `gpa` again, to the same system page, with these rights. */
function restrict(it: World, gpa: number, rights: Partial<NestedRights>): void {
  const spa = spaOf(it, gpa);
  it.guest.nested.unmap(physAddr(gpa));
  it.guest.nested.map(physAddr(gpa), spa, PageSize.Regular, rights);
  it.guest.flushTlbs();
}

/**
 * The manual's text as a table of sentences: which rights an access needs (AMD64 APM vol. 2, §15.25.5, §15.25.7 and table
 * 15-21). Written apart from the code, and slowly.
 */
function expectedBits(
  { kind, cpl, isPrivate }: Pick<GuestPhysAccess, 'kind' | 'cpl' | 'isPrivate'>,
  { writable, user, executable }: NestedRights,
  gmet: boolean,
): string[] | undefined {
  const needs: boolean[] = [];
  if (kind === 'write' || kind === 'table' || kind === 'table-update') needs.push(writable);
  if (kind === 'fetch') needs.push(executable);
  if (!gmet) needs.push(user);
  else if (kind === 'fetch' && cpl < 3) needs.push(!user);
  if (needs.every((need) => need)) return undefined;
  const bits = ['Present'];
  if (kind === 'write' || kind === 'table' || kind === 'table-update') bits.push('Write');
  if (!(gmet && kind === 'fetch' && cpl < 3)) bits.push('User');
  if (kind === 'fetch') bits.push('Fetch');
  bits.push(kind === 'table' || kind === 'table-update' ? 'GuestTable' : 'FinalAddress');
  if (isPrivate) bits.push('Encrypted');
  return bits;
}

function bitsOf(exitInfo1: bigint): string[] {
  return Object.entries(NpfInfo)
    .filter(([, bit]) => (exitInfo1 & bit) !== 0n)
    .map(([name]) => name)
    .sort();
}

function outcome(action: () => unknown): string[] | undefined {
  const fault = thrownBy(action);
  if (fault === undefined) return undefined;
  expect([fault.code, fault.details['check']]).toEqual(['NPF', 'nested-rights']);
  return bitsOf(fault.details['exitInfo1'] as bigint);
}

// P27a, P83, P84
describe.each(BOOLEANS)('nested rights, GMET %s', (gmet) => {
  const cases = KINDS.flatMap(
    (kind) => BOOLEANS.flatMap((isPrivate) => [0, 2, 3].map((cpl) => ({ kind, isPrivate, cpl }))),
    // Fetches and accesses of page tables are private, always.
  ).filter(({ kind, isPrivate }) => isPrivate || kind === 'read' || kind === 'write');

  test.each(cases)('$kind at CPL $cpl, private: $isPrivate', ({ kind, isPrivate, cpl }) => {
    const it = small({ gmet });
    const at = isPrivate ? PRIVATE : SHARED;
    for (const writable of BOOLEANS) {
      for (const user of BOOLEANS) {
        for (const executable of BOOLEANS) {
          const rights = { writable, user, executable };
          restrict(it, at, rights);
          const access = { kind, isPrivate, cpl, vmpl: 0, gpa: physAddr(at), gva: undefined } as const;
          const expected = expectedBits(access, rights, gmet)?.sort();
          expect(outcome(() => accessGuestPhys(it.guest, access))).toEqual(expected);
          expect(outcome(() => translateNested(it.guest, access))).toEqual(expected);
          // Through a cached translation, which another kind of access has left if it was allowed.
          const tlb = new NestedTlb();
          for (const other of ['read', kind, kind] as const) {
            outcome(() => accessGuestPhys(it.guest, { ...access, kind: other }, tlb));
          }
          expect(outcome(() => accessGuestPhys(it.guest, access, tlb))).toEqual(expected);
          expect(outcome(() => translateNested(it.guest, access, tlb))).toEqual(expected);
        }
      }
    }
  });
});

// P27a
describe('the page that holds a table of the guest', () => {
  const tableOf = (it: World): number => Number(it.table.root);

  test.each<[string, Partial<NestedRights>, boolean]>([
    ['needs R/W, for a read that sets no bit too', { writable: false }, true],
    ['needs U/S', { user: false }, true],
    ['can have NX', { executable: false }, false],
  ])('%s', (_, rights, faults) => {
    const it = small();
    it.vcpu.read(gvaOf(PRIVATE), 1);
    restrict(it, tableOf(it), rights);
    it.vcpu.flushTlb();
    const fault = thrownBy(() => it.vcpu.read(gvaOf(PRIVATE), 1));
    if (!faults) expect(fault).toBeUndefined();
    else {
      expect(fault?.details).toMatchObject({
        check: 'nested-rights',
        gpa: it.table.root,
        gva: gvaOf(PRIVATE),
      });
      expect(bitsOf(fault?.details['exitInfo1'] as bigint)).toEqual([
        'Encrypted',
        'GuestTable',
        'Present',
        'User',
        'Write',
      ]);
    }
  });
});

// P27a, P84
describe('the page that an instruction accesses', () => {
  const ACTIONS: Record<string, (it: World, gva: VirtAddr) => unknown> = {
    read: ({ vcpu }, gva) => vcpu.read(gva, 1),
    write: ({ vcpu }, gva) => vcpu.write(gva, bytesOf('a')),
    fetch: ({ vcpu }, gva) => vcpu.fetch(gva, 1),
    rmpquery: ({ vcpu }, gva) => vcpu.rmpquery(gva, 1),
  };

  test.each<[keyof NestedRights, string]>([
    ['writable', 'write'],
    ['executable', 'fetch'],
    ['user', 'read write fetch rmpquery'],
  ])('without %s: faults of %s', (right, expected) => {
    const it = small();
    const faults = (): string =>
      Object.keys(ACTIONS)
        .filter((name) => codeOf(() => ACTIONS[name]!(it, gvaOf(PRIVATE))) === 'NPF')
        .join(' ');
    expect(faults()).toBe('');
    restrict(it, PRIVATE, { [right]: false });
    expect(faults()).toBe(expected);
    it.vcpu.cpl = 0;
    restrict(it, PRIVATE, {});
    expect(faults()).toBe('');
  });

  test('with GMET, the supervisor fetches from pages without U/S, and the user from all', () => {
    const it = small({ gmet: true });
    it.table.map4k(gvaOf(64 * MiB), physAddr(PRIVATE), 4);
    const fetches = (): (string | undefined)[] =>
      [0, 3].map((cpl) => {
        it.vcpu.cpl = cpl;
        const code = codeOf(() => it.vcpu.fetch(gvaOf(64 * MiB), 1));
        it.vcpu.cpl = 0;
        return code;
      });
    expect(fetches()).toEqual(['NPF', undefined]);
    restrict(it, PRIVATE, { user: false });
    expect(fetches()).toEqual([undefined, undefined]);
    expect(codeOf(() => it.vcpu.read(gvaOf(PRIVATE), 1))).toBeUndefined();
  });
});

// P83
describe('accessed and dirty bits of nested entries', () => {
  const bits = ({ guest }: World, gpa: number): [boolean, boolean] => {
    const page = guest.nested.lookup(physAddr(gpa));
    return [page!.accessed, page!.dirty];
  };
  const clear = (it: World): void => {
    for (let gpa = 0; gpa < 8 * MiB; gpa += 0x1000) restrict(it, gpa, {});
  };

  test('are set from the start if the hypervisor does not ask for them', () => {
    const it = small();
    expect(bits(it, PRIVATE)).toEqual([true, true]);
    it.guest.nested.markUsed(physAddr(PRIVATE), true);
  });

  test.each([undefined, new NestedTlb()])(
    'are set by accesses; a walk sets both for each table',
    (nestedTlb) => {
      const it = small({ nestedAccessedDirty: true });
      const vcpu = it.guest.createVcpu(nestedTlb === undefined ? {} : { nestedTlb });
      clear(it);
      vcpu.loadCr3(it.table.cr3);
      expect(bits(it, PRIVATE)).toEqual([false, false]);
      vcpu.read(gvaOf(PRIVATE), 1);
      expect(bits(it, PRIVATE)).toEqual([true, false]);
      expect(bits(it, Number(it.table.root))).toEqual([true, true]);
      vcpu.fetch(gvaOf(PRIVATE), 1);
      expect(bits(it, PRIVATE)).toEqual([true, false]);
      vcpu.write(gvaOf(PRIVATE), bytesOf('a'));
      expect(bits(it, PRIVATE)).toEqual([true, true]);
      expect(bits(it, PRIVATE + 0x1000)).toEqual([false, false]);
    },
  );

  test('stay clear if the nested rights deny the access', () => {
    const it = small({ nestedAccessedDirty: true });
    restrict(it, PRIVATE, { writable: false });
    expect(codeOf(() => it.vcpu.write(gvaOf(PRIVATE), bytesOf('a')))).toBe('NPF');
    expect(bits(it, PRIVATE)).toEqual([false, false]);
  });
});
