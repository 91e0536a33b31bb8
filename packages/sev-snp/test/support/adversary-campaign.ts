import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { isPageTableError } from '@svsm/pagetable';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { ERRORS_OF } from '../../src/formats/error-codes.ts';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import type { SvsmListEntry } from '../../src/formats/svsm-protocol.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { requestPageState } from '../../src/guest/msr-protocol.ts';
import { acceptPage, makePagePrivate, makePageShared } from '../../src/guest/page-visibility.ts';
import { makeRegionPrivate, makeRegionShared } from '../../src/guest/region-visibility.ts';
import { pvalidateBySvsm } from '../../src/guest/svsm-call.ts';
import { pageRegion } from '../../src/guest/validated-pages.ts';
import { isSnpFault } from '../../src/rmp/snp-fault.ts';
import {
  type Adversary,
  ALL_DUTIES,
  adversary,
  type Duties,
  GPAS,
  HOLE,
  mapWith,
  OWN_END,
  type Party,
  SECRET,
} from './adversary-world.ts';
import { FirmwareAttacks } from './firmware-attacks.ts';
import { LawBroken } from './law-broken.ts';
import { ProcessorSteps, VMSA_GPAS } from './processor-steps.ts';
import { RmpShadow } from './rmp-shadow.ts';
import { gvaOf, MiB } from './world.ts';

/** A generator of 32-bit numbers (Mulberry32). The seed of a campaign repeats it. */
export function randomOf(seed: number): (end: number) => number {
  let state = seed | 0;
  return (end) => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % end;
  };
}

/** How often each thing happened. A campaign proves nothing about a thing that never happens in it. */
export type Tally = Record<string, number>;

/** The names of the hypervisor's steps. */
const ATTACKS = [
  'remap',
  'swap',
  'alias',
  'substitute',
  'capture',
  'replay',
  'host write',
  'unassign',
  'assign',
  'smash',
  'unsmash',
  'map small',
  'map huge',
  'move',
  'lend',
  'hide',
  'enter',
  'flush',
] as const;

/** The number of last steps in the message when the law is broken. */
const LOG = 24;

/**
 * Random steps of two guests, an SVSM and a hostile hypervisor. After each step the law must hold: a guest that follows
 * the rules reads through its private mappings what it wrote there, or faults; and the RMP keeps its invariants.
 */
export class Campaign {
  tally: Tally;
  readonly it: Adversary;
  readonly #seed: number;
  readonly #duties: Duties;
  readonly #shadow: RmpShadow;
  readonly #random: (end: number) => number;
  /** The last number that a guest wrote to each of its private pages, by party. A page without one is given up. */
  readonly #written: Map<Party, Map<number, number>> = new Map();
  /** The pages that each party has not accepted yet. */
  readonly #unaccepted: Map<Party, Set<number>> = new Map();
  readonly #hasMap: boolean;
  readonly #parties: readonly [Adversary['alone'], Adversary['above']];
  /** System pages that the hypervisor moves around: those of both guests, and some unassigned ones. */
  readonly #spas: SysPhysAddr[];
  readonly #homes: [Party, PhysAddr, SysPhysAddr][] = [];
  readonly #firmware: FirmwareAttacks;
  readonly #processors: ProcessorSteps;
  readonly #captured: Uint8Array[] = [];
  readonly #log: string[] = [];
  #values = 0;

  /** `hasMap`: the memory of both guests has a hole, and some of the contested pages are unaccepted. */
  constructor(
    seed: number,
    {
      duties = ALL_DUTIES,
      tally = {},
      hasMap = false,
    }: { duties?: Duties; tally?: Tally; hasMap?: boolean } = {},
  ) {
    this.tally = tally;
    this.#seed = seed;
    this.#random = randomOf(seed);
    this.#duties = duties;
    this.#hasMap = hasMap;
    const unaccepted = hasMap ? GPAS.filter(() => this.#random(2) === 0) : [];
    this.it = hasMap ? adversary(duties, mapWith(unaccepted)) : adversary(duties);
    const { host, alone, above, machine } = this.it;
    this.#parties = [alone, above];
    this.#processors = new ProcessorSteps(this.it, this.#random);
    this.#firmware = new FirmwareAttacks(host, [alone.guest, above.guest], this.#random);
    this.#shadow = new RmpShadow(machine.rmp);
    for (const party of this.#parties) {
      const accepted = GPAS.filter((gpa) => !unaccepted.includes(gpa));
      this.#written.set(party, new Map(accepted.map((gpa) => [gpa, 0])));
      // The pages of the page tables too.
      for (const gpa of [...accepted, MiB, MiB + 0x3000, 0x18_0000]) {
        this.#homes.push([party, physAddr(gpa), party.guest.nested.lookup(physAddr(gpa))!.spa]);
      }
      this.#unaccepted.set(party, new Set(unaccepted));
      if (this.#random(2) === 0) host.splitPage(party.guest, physAddr(GPAS[0]!));
    }
    const free = Array.from({ length: 4 }, () => host.allocatePage());
    const contested = this.#homes.filter(([, gpa]) => gpa >= OWN_END).map(([, , spa]) => spa);
    this.#spas = [...contested, ...free];
    above.svsmCpu.write(gvaOf(SECRET), wordsOf(SECRET));
  }

  /** @throws LawBroken, with the last steps in its message */
  run(steps: number): void {
    const { stackTraceLimit } = Error;
    // Most steps fault, and no stack is read.
    Error.stackTraceLimit = 0;
    try {
      for (let step = 0; step < steps; step += 1) {
        if (this.#random(5) < 3) this.#guestStep(this.#parties[this.#random(2)]!);
        else this.#hostStep();
        this.#require(this.#shadow.problem());
      }
      if (this.#random(8) === 0) this.#require(this.#shadow.recheck());
    } catch (error) {
      // The hypervisor has given a page of its own tables away. It stops when it changes them next, or when it reads what a
      // guest has written there.
      if (isSnpFault(error, 'HOST_PF') || isPageTableError(error)) {
        this.#note('host stopped');
        return;
      }
      if (error instanceof LawBroken) {
        error.message += `\nin the campaign with seed ${this.#seed}, after: ${this.#log.join(', ')}`;
      }
      throw error;
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  }

  #require(problem: string | undefined): void {
    if (problem !== undefined) throw new LawBroken(problem);
  }

  #note(what: string, detail = ''): void {
    this.tally[what] = (this.tally[what] ?? 0) + 1;
    this.#log.push(detail === '' ? what : `${what} ${detail}`);
    if (this.#log.length > LOG) this.#log.shift();
  }

  // Steps of guests.

  #guestStep(party: Party): void {
    const gpa = GPAS[this.#random(GPAS.length)]!;
    const vcpu = party.vcpus[this.#random(party.vcpus.length)]!;
    let isPrivate: boolean | undefined;
    // The guest's own page table can be out of reach.
    const unreachable = thrownBy(() => {
      isPrivate = party.table.walk(gvaOf(gpa)).page?.shared === false;
    });
    const kind = this.#random(12);
    if (unreachable !== undefined) this.#note('table out of reach');
    else if (kind === 0 && this.#hasMap && this.#random(2) === 0) this.#hole(party);
    else if (kind === 0) this.#secret();
    else if (kind > 9) this.#useProcessors(party, gpa, isPrivate === true);
    else if (kind < 4) this.#change(party, gpa, isPrivate === true, kind);
    else if (isPrivate !== true) this.#useShared(vcpu, gpa);
    else if (kind < 8) this.#read(party, vcpu, gpa);
    else this.#write(party, vcpu, gpa);
  }

  #read(party: Party, vcpu: Vcpu, gpa: number): void {
    const expected = this.#written.get(party)!.get(gpa);
    let found: number | undefined;
    const fault = thrownBy(() => {
      const bytes = vcpu.read(gvaOf(gpa + 8 * this.#random(4)), 8);
      found = new Float64Array(bytes.buffer)[0];
    });
    this.#note(fault === undefined ? 'read' : 'fault', fault?.code);
    // A page is given up if something went wrong while it changed. It is not used then.
    if (fault === undefined && expected !== undefined && found !== expected) {
      throw new LawBroken(
        `ASID ${party.guest.asid} wrote ${expected} to ${gpa.toString(16)}, and reads ${found}`,
      );
    }
  }

  #write(party: Party, vcpu: Vcpu, gpa: number): void {
    const written = this.#written.get(party)!;
    if (written.get(gpa) === undefined) return;
    const value = ++this.#values;
    const fault = thrownBy(() => vcpu.write(gvaOf(gpa), wordsOf(value)));
    if (fault === undefined) written.set(gpa, value);
    this.#note(fault === undefined ? 'written' : 'fault', fault?.code);
  }

  /** Shared memory can hold anything, but what a guest writes there must not end up in a private page. */
  #useShared(vcpu: Vcpu, gpa: number): void {
    const fault = thrownBy(() => {
      vcpu.read(gvaOf(gpa), 8);
      vcpu.write(gvaOf(gpa), wordsOf(-1));
    });
    this.#note(fault === undefined ? 'shared use' : 'shared fault');
  }

  #useProcessors(party: Party, gpa: number, isPrivate: boolean): void {
    if (isPrivate) {
      this.#processors.step(party, gpa, this.#written.get(party)!, (name, run) => this.#attempt(name, run));
    }
    if (this.#duties.flush) for (const vcpu of party.vcpus) vcpu.invlpg(gvaOf(gpa));
  }

  /** Runs a step, and notes whether it was refused. Returns whether it was not. */
  #attempt(name: string, run: () => void): boolean {
    const refused = thrownBy(() => (isOperation(name) ? checked(name, run) : run()));
    this.#note(refused === undefined ? name : `${name} refused`, refused?.code);
    return refused === undefined;
  }

  /** The memory of the SVSM: it reads what it wrote, and its guest, which can be hostile, cannot write there. */
  #secret(): void {
    const { svsmCpu, vcpus } = this.it.above;
    const attempt = thrownBy(() => vcpus[0]!.write(gvaOf(SECRET), wordsOf(1)));
    const kept = thrownBy(() => {
      const [found] = new Float64Array(svsmCpu.read(gvaOf(SECRET), 8).buffer);
      this.#note('secret');
      if (found !== SECRET) throw new LawBroken(`the SVSM wrote ${SECRET}, and reads ${found}`);
    });
    if (attempt === undefined && kept === undefined) throw new LawBroken('VMPL2 writes to the SVSM');
  }

  /** A page outside of the map: its state does not change, and no record has it, whatever the hypervisor maps there. */
  #hole(party: Party): void {
    const at = physAddr(HOLE);
    const before = party.guest.nested.lookup(at)?.spa;
    const changed = thrownBy(() => {
      if (this.#random(2) === 0) this.#changeAlone(HOLE, 'accept', false);
      else this.#pvalidateBySvsm({ gpa: at, size: 0, validate: true, ignoreUnchanged: true, reserved: 0 });
    });
    this.#note(changed === undefined ? 'hole' : 'hole refused', changed?.code);
    if (changed === undefined || party.isValidated(at))
      throw new LawBroken('a page outside of memory is validated');
    const { host } = this.it;
    if (host.answers.pageState !== undefined) return;
    if (host.changePageState(party.guest, at, PageOperation.Private) === 0)
      throw new LawBroken('the state of a page outside of memory changes');
    if (party.guest.nested.lookup(at)?.spa !== before && host.answers.beforeResume === undefined)
      throw new LawBroken('a page outside of memory gets a system page');
  }

  #change(party: Party, gpa: number, isPrivate: boolean, kind: number): void {
    const at = physAddr(gpa);
    const wasValidated = party.isValidated(at);
    const written = this.#written.get(party)!;
    const wants = isPrivate ? (kind < 3 ? 'share' : 'accept') : 'take back';
    const refused = thrownBy(() => {
      if (party === this.it.above) this.#changeBySvsm(gpa, wants);
      else this.#changeAlone(gpa, wants, this.#random(2) === 0);
    });
    if (this.#duties.flush) for (const vcpu of party.vcpus) vcpu.invlpg(gvaOf(gpa));
    if (refused === undefined) {
      if (wants === 'share') written.delete(gpa);
      else written.set(gpa, 0);
      if (wants === 'accept' && this.#unaccepted.get(party)!.delete(gpa)) this.#note('accept new memory');
    } else if (!wasValidated || !party.isValidated(at)) written.delete(gpa);
    this.#note(refused === undefined ? wants : `${wants} refused`, refused?.code);
  }

  /** `accept`: the hypervisor claims that there is new memory. The record refuses it, unless the page was given up. */
  #changeAlone(gpa: number, wants: string, inLists: boolean): void {
    const { table, options, ghcb } = this.it.alone;
    const { vcpu } = ghcb;
    const page = gvaOf(gpa);
    const region = virtRegion(page, PAGE_SIZE);
    if (wants === 'accept') checked('acceptPage', () => acceptPage(vcpu, table, page, options));
    else if (wants === 'share') {
      if (inLists) checked('makeRegionShared', () => makeRegionShared(ghcb, table, region, options));
      else checked('makePageShared', () => makePageShared(vcpu, table, page, options));
    } else if (inLists) checked('makeRegionPrivate', () => makeRegionPrivate(ghcb, table, region, options));
    else checked('makePagePrivate', () => makePagePrivate(vcpu, table, page, options));
  }

  #changeBySvsm(gpa: number, wants: string): void {
    const { above } = this.it;
    const vcpu = above.vcpus[0]!;
    const page = gvaOf(gpa);
    const at = physAddr(gpa);
    const entry = { gpa: at, size: 0, ignoreUnchanged: this.#random(2) === 0, reserved: 0 };
    const validate = (): void => {
      // An SVSM without a record does not know that it has validated the page.
      const region = pageRegion(at, PAGE_SIZE);
      if (!this.#duties.record && above.isValidated(at)) above.state.validated.remove(region);
      // A page that is validated whatever its state is cleared too. So its content is given up, whatever the answer.
      if (entry.ignoreUnchanged) this.#written.get(above)!.delete(gpa);
      this.#pvalidateBySvsm({ ...entry, validate: true });
    };
    if (wants === 'share') {
      above.table.split4k(page);
      this.#pvalidateBySvsm({ ...entry, validate: false });
      checked('requestPageState', () => requestPageState(vcpu, at, PageOperation.Shared));
      above.table.setShared4k(page);
      vcpu.invlpg(page);
      return;
    }
    if (wants === 'take back') {
      above.table.setEncrypted4k(page);
      vcpu.invlpg(page);
    }
    checked('requestPageState', () => requestPageState(vcpu, at, PageOperation.Private));
    validate();
  }

  #pvalidateBySvsm(entry: SvsmListEntry): void {
    const { vcpus, areas } = this.it.above;
    const cpu = this.#random(vcpus.length);
    checked('pvalidateBySvsm', () => pvalidateBySvsm(vcpus[cpu]!, areas[cpu]!, [entry]));
  }

  // Steps of the hypervisor.

  #hostStep(): void {
    const { host, above } = this.it;
    const { guest } = this.#parties[this.#random(2)]!;
    const at = this.#target();
    const spa = this.#page();
    const other = this.#target();
    const old = this.#captured[this.#random(8)];
    const results: Record<number, () => unknown> = {
      0: () => host.remap(guest, at, spa),
      1: () => host.swap(guest, at, other),
      2: () => host.alias(guest, at, other),
      3: () => host.substitute(guest, at, spa) !== undefined,
      4: () => {
        this.#captured.push(host.capture(spa));
        if (this.#captured.length > 8) this.#captured.shift();
      },
      5: () => old !== undefined && host.replay(guest, at, old)?.[1] === RmpResult.SUCCESS,
      6: () => thrownBy(() => host.write(spa, old ?? wordsOf(-2))) === undefined,
      7: () => host.rmpupdate(spa, { assigned: false }),
      8: () => host.rmpupdate(spa, { assigned: true, asid: 1 + this.#random(2), gpa: other }),
      9: () => host.smash(guest, at),
      10: () => this.#random(32) === 0 && host.unsmash(guest, at),
      11: () => host.mapSmall(guest, at),
      12: () => this.#random(32) === 0 && host.mapHuge(guest, at),
      13: () => host.move(guest, at, other),
      14: () => host.lend(guest, at, this.#parties[this.#random(2)]!.guest, other),
      15: () => host.hide(guest, at) !== undefined,
      17: () => host.flushTlbs(guest),
      16: () => host.enter(above.guest, 0, above.vcpus[this.#random(2)]!),
    };
    const kind = this.#random(34);
    const attack = results[kind];
    if (attack !== undefined) this.#note(`${ATTACKS[kind]} ${attack() ?? ''}`.trim());
    else if (kind < 21) this.#lie();
    else if (kind < 26) this.#relent();
    else if (kind < 32) this.#note(this.#firmware.step(spa, at));
    else this.#runVmsa();
  }

  #runVmsa(): void {
    const party = this.#parties[this.#random(2)]!;
    const gpa = VMSA_GPAS[this.#random(VMSA_GPAS.length)]!;
    this.#processors.run(party, gpa, (name, run) => this.#attempt(name, run));
  }

  /** A system page for an attack: seldom one with page tables, because its loss ends a guest. */
  #page(): SysPhysAddr {
    const some = this.#random(64) === 0 ? this.#homes.map(([, , spa]) => spa) : this.#spas;
    return some[this.#random(some.length)]!;
  }

  /** The address of an attack: mostly a contested page, else the GHCB or a page table. */
  #target(): PhysAddr {
    if (this.#hasMap && this.#random(16) === 0) return physAddr(HOLE);
    if (this.#random(64) !== 0) return physAddr(GPAS[this.#random(GPAS.length)]!);
    return this.#homes[this.#random(this.#homes.length)]![1];
  }

  /** Installs a lie in the answers, until the hypervisor relents. */
  #lie(): void {
    const { host } = this.it;
    const { answers } = host;
    const spa = this.#page();
    const kind = this.#random(10);
    const value = BigInt(this.#random(2 ** 32));
    const noise = Uint8Array.from({ length: 8 }, () => this.#random(256));
    const at = this.#random(0x7e8);
    this.#note(`lie ${kind}`);
    const mostly = (): boolean => this.#random(4) !== 0;
    // For requests in the MSR, not in a GHCB.
    const lieOf = (lie: (request: bigint) => bigint | undefined) => (request: bigint) =>
      (request & 0xfffn) === 0n ? undefined : lie(request);
    switch (kind) {
      case 0:
        answers.msr = lieOf(() => 0x015n);
        break;
      case 1:
        answers.msr = lieOf((request) => (mostly() ? (value << 32n) | (request + 1n) : value));
        break;
      case 2:
        // Now and then it serves the request: a list without progress would be repeated a thousand times.
        answers.page = () => (mostly() ? { info1: value & 3n, info2: mostly() ? 0n : value } : undefined);
        break;
      case 3:
        answers.afterPage = (page) => page.writeBuffer(0, noise);
        break;
      case 4:
        answers.afterPage = (page) => page.invalidate();
        break;
      case 5:
        answers.pageState = () => (mostly() ? 0 : undefined);
        break;
      case 6:
        answers.fault = () => false;
        break;
      case 7: {
        // A level is not run. Forever only seldom, because the guest then asks a thousand times.
        const isForever = this.#random(500) === 0;
        const isRun = (request: bigint): boolean => (request & 0xfffn) === 0x016n;
        answers.msr = (request) => (isRun(request) && (isForever || mostly()) ? 0x017n : undefined);
        break;
      }
      case 8: {
        const gpa = this.#target();
        answers.beforeResume = (guest) => {
          if (mostly()) host.remap(guest, gpa, spa);
        };
        break;
      }
      default:
        answers.beforeSharedRead = (_, read) => {
          const there = sysPhysAddr((read & -4096n) + BigInt(0x800 + at));
          thrownBy(() => host.write(there, noise));
        };
    }
  }

  /** Stops lying, and often restores the nested page tables, so that the guests make progress. */
  #relent(): void {
    const { host } = this.it;
    host.answers = {};
    if (this.#random(2) === 0) return;
    for (const [{ guest }, gpa, spa] of this.#homes) {
      if (guest.nested.lookup(gpa)?.spa !== spa) host.remap(guest, gpa, spa);
    }
    this.#note('relent');
  }
}

/** The error that stops `action`: a fault, a refusal, or page tables that are out of reach. `undefined` without one. */
function thrownBy(action: () => void): { readonly code: string } | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (isSnpFault(error) || isSnpError(error) || isPageTableError(error)) return error;
    throw error;
  }
}

/**
 * Runs an operation whose `SnpError` must have a code of its row.
 *
 * @throws LawBroken for another code; the errors of the operation
 */
function checked<T>(operation: keyof typeof ERRORS_OF, run: () => T): T {
  try {
    return run();
  } catch (error) {
    const row: readonly string[] = ERRORS_OF[operation];
    if (!isSnpError(error) || row.includes(error.code)) throw error;
    throw new LawBroken(`${operation} threw ${error.code}, which its row does not have`);
  }
}

function isOperation(name: string): name is keyof typeof ERRORS_OF {
  return name in ERRORS_OF;
}

/** A number four times, so that it can be read at four places of a page. */
function wordsOf(value: number): Uint8Array {
  return new Uint8Array(Float64Array.of(value, value, value, value).buffer);
}
