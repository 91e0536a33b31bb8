import { PAGE_SIZE, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { Tlb } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { makePageShared } from '../../src/guest/page-visibility.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { NO_KEY } from '../../src/memory/encrypted-memory.ts';
import { isSnpFault } from '../../src/rmp/snp-fault.ts';
import { gvaOf, MiB, mapAll, type spaOf, type World } from '../support/world.ts';

/*
 * The law of interrupted accesses: at every point at which the hypervisor gets to run during an access of a guest (a hook, an
 * exit, a trace), it performs one of its operations. Afterwards the bytes that were read from a private, validated page are
 * what the guest wrote there last, or the access faulted; and a write reached no other page.
 */

/** Four pages in a row: shared, private, private, shared. */
const [S, P, Q, T] = [0, 1, 2, 3].map((k) => 2 * MiB + 0x5000 + k * PAGE_SIZE) as [
  number,
  number,
  number,
  number,
];
const PRIVATE = [P, Q];
const OLD = 0x11;
const SECRET: Readonly<Record<number, number>> = { [P]: 0x22, [Q]: 0x33 };
const NEW = 0x44;
const NOTICED = 0x55;

interface Scene extends Pick<World, 'machine' | 'guest' | 'vcpu'> {
  readonly host: HostileHypervisor;
  /** A page of the hypervisor. */
  readonly spare: ReturnType<typeof spaOf>;
  /** Ciphertext of both private pages from a time when they had other content. */
  readonly captured: ReadonlyMap<number, Uint8Array>;
  /** The number of points passed, and the point at which the hypervisor acts. */
  points: number;
  actsAt: number;
  act: (scene: Scene) => void;
}

const page = (gpa: number): PhysAddr => physAddr(gpa);
const filled = (value: number): Uint8Array => new Uint8Array(PAGE_SIZE).fill(value);

/** The operations of a hypervisor, each on one of the private pages. */
const OPERATIONS: Readonly<Record<string, (scene: Scene, gpa: number) => void>> = {
  'takes the page': ({ host, guest }, gpa) => host.unassign(guest, page(gpa)),
  'takes the page and flushes': ({ host, guest }, gpa) => {
    host.unassign(guest, page(gpa));
    host.flushTlbs(guest);
  },
  'replays old ciphertext': ({ host, guest, captured }, gpa) => {
    host.replay(guest, page(gpa), captured.get(gpa)!);
  },
  'writes to the page': ({ host, guest }, gpa) => {
    const spa = guest.nested.lookup(page(gpa))?.spa;
    if (spa !== undefined) expect(() => host.write(spa, filled(9))).toThrow();
  },
  'maps a page of its own': ({ host, guest, spare }, gpa) => {
    host.remap(guest, page(gpa), spare);
    host.flushTlbs(guest);
  },
  'maps a page of its own without a flush': ({ host, guest, spare }, gpa) =>
    host.remap(guest, page(gpa), spare),
  'substitutes another page': ({ host, guest, spare }, gpa) => {
    host.substitute(guest, page(gpa), spare);
    host.flushTlbs(guest);
  },
  'swaps the private pages': ({ host, guest }) => {
    host.swap(guest, page(P), page(Q));
    host.flushTlbs(guest);
  },
  'maps the shared page in its place': ({ host, guest }, gpa) => {
    host.alias(guest, page(gpa), page(S));
    host.flushTlbs(guest);
  },
  'splits the page': ({ host, guest }, gpa) => host.smash(guest, page(gpa)),
  'moves the page to another address': ({ host, guest }, gpa) => host.move(guest, page(gpa), page(MiB / 2)),
  'exits and enters again': ({ vcpu, guest }) => {
    if (vcpu.vmsa === undefined || !vcpu.isRunning) return;
    vcpu.leave(0x60n);
    guest.vmrun(vcpu.vmsa);
  },
};

const ACCESSES: Readonly<Record<string, (vcpu: Vcpu) => [gpa: number, bytes: Uint8Array][] | undefined>> = {
  'a read from shared to private': (vcpu) => split(vcpu.read(gvaOf(P - 8), 16), P - 8),
  'a read from private to shared': (vcpu) => split(vcpu.read(gvaOf(T - 8), 16), T - 8),
  'a read across private pages': (vcpu) => split(vcpu.read(gvaOf(Q - 8), 16), Q - 8),
  'a read of all four pages': (vcpu) => split(vcpu.read(gvaOf(S), 4 * PAGE_SIZE), S),
  'a fetch across private pages': (vcpu) => split(vcpu.fetch(gvaOf(Q - 8), 16), Q - 8),
  'a write from shared to private': (vcpu) => written(() => vcpu.write(gvaOf(S), twoPages())),
  'a write across private pages': (vcpu) => written(() => vcpu.write(gvaOf(P), twoPages())),
  'a read of words': (vcpu) => {
    const words = vcpu.memory.words(P / PAGE_SIZE, false);
    return [[P, new Uint8Array(words.buffer, words.byteOffset, PAGE_SIZE).slice()]];
  },
  'a write of words': (vcpu) =>
    written(() => void vcpu.memory.words(P / PAGE_SIZE, true).fill(NEW * 0x0101_0101)),
  // Only a guest that ignores the answer uses the page: another page is there now.
  PVALIDATE: (vcpu) =>
    vcpu.pvalidate(gvaOf(P), PageSize.Regular, true).unchanged ? undefined : [[P, filled(NOTICED)]],
  RMPADJUST: (vcpu) => void vcpu.rmpadjust(gvaOf(Q), PageSize.Regular, { vmpl: 1, permissions: 1 }),
  RMPQUERY: (vcpu) => void vcpu.rmpquery(gvaOf(Q), 1),
  VMGEXIT: (vcpu) => {
    vcpu.ghcbMsr = 2n;
    vcpu.vmgexit();
    return undefined;
  },
};

const twoPages = (): Uint8Array => new Uint8Array(2 * PAGE_SIZE).fill(NEW);

/** The bytes of a read, by page. */
function split(bytes: Uint8Array, from: number): [number, Uint8Array][] {
  const pages: [number, Uint8Array][] = [];
  for (let at = 0; at < bytes.length; ) {
    const count = Math.min(PAGE_SIZE - ((from + at) % PAGE_SIZE), bytes.length - at);
    pages.push([from + at - ((from + at) % PAGE_SIZE), bytes.subarray(at, at + count)]);
    at += count;
  }
  return pages;
}

function written(write: () => void): undefined {
  write();
  return undefined;
}

const STATES = ['walked', 'cached', 'hidden', 'unsplit'] as const;

/** A guest on a VMSA, in one of the states before an access. The hypervisor acts at the point with the number `actsAt`. */
function scene(state: (typeof STATES)[number], actsAt: number, act: (scene: Scene) => void): Scene {
  let it: Scene | undefined;
  let isActing = false;
  const point = (): void => {
    if (it === undefined || isActing) return;
    it.points += 1;
    if (it.points - 1 !== it.actsAt) return;
    isActing = true;
    it.act(it);
    isActing = false;
  };
  const machine = new SnpMachine({
    memorySize: 8 * MiB,
    hypervisor: (machine) => new HostileHypervisor(machine),
    trace: point,
  });
  const host = machine.hypervisor as HostileHypervisor;
  const guest = host.launch({ size: 4 * MiB, vmsas: [createVmsa()] });
  guest.onStart(() => {});
  const vcpu = guest.vmrun(host.vmsaOf(guest, 0)!);
  const caches = guest.createVcpu({ tlb: new Tlb(), nestedTlb: new NestedTlb() });
  const table = mapAll(guest, caches);
  vcpu.loadCr3(table.cr3);
  const parts = { machine, guest, vcpu, host, spare: host.allocatePage(), points: 0, actsAt, act };
  if (state !== 'unsplit') host.splitPage(guest, page(S));
  for (const gpa of PRIVATE) vcpu.write(gvaOf(gpa), filled(OLD));
  const captured = new Map(PRIVATE.map((gpa) => [gpa, host.capture(guest.nested.lookup(page(gpa))!.spa)]));
  for (const gpa of PRIVATE) vcpu.write(gvaOf(gpa), filled(SECRET[gpa]!));
  if (state !== 'unsplit') for (const gpa of [S, T]) makePageShared(vcpu, table, gvaOf(gpa));
  host.write(parts.spare, filled(7));
  if (state === 'hidden') {
    const hidden = PRIVATE.map((gpa) => [gpa, host.hide(guest, page(gpa))!] as const);
    host.flushTlbs(guest);
    host.answers.fault = (gpa) => {
      const found = hidden.find(([at]) => page(at) === (gpa & -0x1000n));
      if (found === undefined) return undefined;
      if (guest.nested.lookup(page(found[0])) === undefined)
        guest.nested.map(page(found[0]), found[1], PageSize.Regular);
      return true;
    };
  } else if (state === 'walked') {
    vcpu.flushTlb();
    host.flushTlbs(guest);
  }
  host.answers.beforeResume = point;
  host.answers.beforeSharedRead = point;
  it = { ...parts, captured };
  return it;
}

/** The bytes, or `undefined` for a fault. */
function attempt<T>(access: () => T): T | 'fault' {
  try {
    return access();
  } catch (error) {
    if (isSnpFault(error)) return 'fault';
    throw error;
  }
}

function check(name: string, it: Scene): void {
  const { vcpu, machine, spare } = it;
  const result = attempt(() => ACCESSES[name]!(vcpu));
  const isWrite = name.startsWith('a write');
  const read = Array.isArray(result) ? result : [];
  if (read.some(([, bytes]) => bytes[0] === NOTICED)) return;
  for (const [gpa, bytes] of read) {
    if (PRIVATE.includes(gpa)) expect(valuesOf(bytes), nameOf(gpa)).toEqual([SECRET[gpa]]);
  }
  // The page of the hypervisor has what the hypervisor wrote.
  expect(valuesOf(machine.memory.read(spare, PAGE_SIZE, NO_KEY))).toEqual([7]);
  const meant = name === 'a write across private pages' ? [P, Q] : isWrite ? [P] : [];
  for (const gpa of PRIVATE) {
    const bytes = attempt(() => vcpu.read(gvaOf(gpa), PAGE_SIZE));
    if (bytes === 'fault') continue;
    const isNew = result !== 'fault' && meant.includes(gpa);
    expect(valuesOf(bytes), `${nameOf(gpa)} afterwards`).toEqual([isNew ? NEW : SECRET[gpa]]);
  }
}

/** The different values of the bytes. */
function valuesOf(bytes: Uint8Array): number[] {
  return bytes.every((byte) => byte === bytes[0]) ? [bytes[0]!] : [...new Set(bytes)];
}

const nameOf = (gpa: number): string => (gpa === P ? 'P' : 'Q');

const tally = { cases: 0, acted: 0 };

describe.each(Object.keys(ACCESSES))('%s', (name) => {
  test.each(Object.keys(OPERATIONS))('while the hypervisor at any point %s', (operation) => {
    for (const [k, state] of STATES.entries()) {
      // The page changes from case to case: all pairs would take twice as long.
      const target = PRIVATE[(k + name.length + operation.length) % 2]!;
      for (let actsAt = 0; ; actsAt += 1) {
        const it = scene(state, actsAt, (scene) => OPERATIONS[operation]!(scene, target));
        check(name, it);
        tally.cases += 1;
        if (it.points <= actsAt) break;
        tally.acted += 1;
      }
    }
  });
});

test('the law has met points of every kind of access', () => {
  expect(tally.acted).toBeGreaterThan(1000);
});
