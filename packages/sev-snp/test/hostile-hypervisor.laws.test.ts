import { PAGE_SIZE, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HostileHypervisor } from '../src/hostile-hypervisor.ts';
import { acceptPage, makePagePrivate, makePageShared } from '../src/page-visibility.ts';
import type { RmpEntry } from '../src/rmp-entry.ts';
import { type SysPhysAddr, sysPhysAddr } from '../src/sys-phys-addr.ts';
import { ValidatedPages } from '../src/validated-pages.ts';
import { gvaOf, MiB, spaOf, thrownBy, type World, world } from './support.ts';

/*
 * The central law: whatever the hypervisor does, a guest that follows the rules (a record, zeroes before use, the safe
 * order, flushes) never reads through a private mapping a byte that it did not write there. It may only fault.
 */

const REGION = 4 * MiB;
const GPAS = [0, 1, 2, 511].map((page) => REGION + page * PAGE_SIZE);
const STEPS = 1000;

/** A generator of 32-bit numbers (Mulberry32): a campaign is its seed. */
function randomOf(seed: number): (end: number) => number {
  let state = seed | 0;
  return (end) => {
    state = (state + 0x6d2b_79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % end;
  };
}

/** How often each thing happened, so that a campaign in which nothing does is seen. */
const THINGS = [
  'read',
  'fault',
  'shared',
  'private',
  'accepted',
  'refused',
  'substituted',
  'replayed',
] as const;
type Tally = Record<(typeof THINGS)[number], number>;
const nothing = (): Tally => Object.fromEntries(THINGS.map((name) => [name, 0])) as Tally;

class Campaign {
  readonly tally: Tally = nothing();
  readonly #it: World = world({ hypervisor: (machine) => new HostileHypervisor(machine) });
  readonly #host: HostileHypervisor = this.#it.machine.hypervisor as HostileHypervisor;
  readonly #validated: ValidatedPages = new ValidatedPages(this.#it.guest.memory, [this.#it.guest.memory]);
  readonly #random: (end: number) => number;
  /** What the guest wrote last to its private page, by address; without it the page is not its to read. */
  readonly #written: Map<number, number> = new Map(GPAS.map((gpa) => [gpa, 0]));
  readonly #spas: SysPhysAddr[];
  readonly #captured: Uint8Array[] = [];
  #values = 0;

  constructor(seed: number) {
    this.#random = randomOf(seed);
    const it = this.#it;
    if (this.#random(2) === 0) this.#host.splitPage(it.guest, physAddr(REGION));
    const own = GPAS.map((gpa) => spaOf(it, gpa));
    this.#spas = [...own, ...Array.from({ length: 4 }, () => this.#host.allocatePage())];
    // A page that an honest hypervisor's other guest has.
    const other = this.#host.launch({ size: 2 * MiB, pageSize: PageSize.Regular });
    this.#spas.push(other.nested.lookup(physAddr(0))?.spa as SysPhysAddr);
  }

  run(steps: number): void {
    for (let step = 0; step < steps; step += 1) {
      const gpa = GPAS[this.#random(GPAS.length)]!;
      if (this.#random(2) === 0) this.#guestStep(gpa);
      else this.#hostStep(gpa);
      this.#checkRmp();
    }
  }

  #guestStep(gpa: number): void {
    const { vcpu, table } = this.#it;
    const gva = gvaOf(gpa);
    const at = gvaOf(gpa + 8 * this.#random(4));
    const isPrivate = table.walk(gva).page?.shared === false;
    const options = { validated: this.#validated };
    switch (this.#random(7)) {
      case 0:
      case 1:
      case 2: {
        if (!isPrivate) return;
        const expected = this.#written.get(gpa);
        const fault = thrownBy(() => {
          const bytes = vcpu.read(at, 8);
          this.tally.read += 1;
          // A page that was being accepted when something went wrong is given up: it may hold anything.
          if (expected !== undefined) expect(new Float64Array(bytes.buffer)[0]).toBe(expected);
        });
        if (fault !== undefined) this.tally.fault += 1;
        break;
      }
      case 3: {
        if (!isPrivate || this.#written.get(gpa) === undefined) return;
        const value = ++this.#values;
        const all = new Uint8Array(Float64Array.from([value, value, value, value]).buffer);
        if (thrownBy(() => vcpu.write(gva, all)) === undefined) this.#written.set(gpa, value);
        break;
      }
      case 4: {
        if (!isPrivate) return;
        const refused = thrownBy(() => makePageShared(vcpu, table, gva, options));
        // Whether it went well or half way, what was in it is lost.
        if (!this.#validated.has(physAddr(gpa))) this.#written.delete(gpa);
        this.tally[refused === undefined ? 'shared' : 'refused'] += 1;
        break;
      }
      case 5: {
        // The hypervisor says that there is new memory. The record knows better, unless a page was given up.
        if (!isPrivate) return;
        const isNew = !this.#validated.has(physAddr(gpa));
        const refused = thrownBy(() => acceptPage(vcpu, table, gva, options));
        if (refused === undefined) this.#written.set(gpa, 0);
        else if (isNew) this.#written.delete(gpa);
        this.tally[refused === undefined ? 'accepted' : 'refused'] += 1;
        break;
      }
      default: {
        if (isPrivate) return;
        const refused = thrownBy(() => makePagePrivate(vcpu, table, gva, options));
        if (refused === undefined) this.#written.set(gpa, 0);
        this.tally[refused === undefined ? 'private' : 'refused'] += 1;
      }
    }
  }

  #hostStep(gpa: number): void {
    const { guest } = this.#it;
    const host = this.#host;
    const at = physAddr(gpa);
    const spa = this.#spas[this.#random(this.#spas.length)]!;
    const other = physAddr(GPAS[this.#random(GPAS.length)]!);
    switch (this.#random(13)) {
      case 0:
        host.remap(guest, at, spa);
        break;
      case 1:
        host.swap(guest, at, other);
        break;
      case 2:
        host.alias(guest, at, other);
        break;
      case 3:
        if (host.substitute(guest, at, spa) !== undefined) this.tally.substituted += 1;
        return;
      case 4:
        this.#captured.push(host.capture(spa));
        if (this.#captured.length > 8) this.#captured.shift();
        return;
      case 5: {
        const old = this.#captured[this.#random(8)];
        if (old !== undefined && host.replay(guest, at, old)?.[1] === 0) this.tally.replayed += 1;
        return;
      }
      case 6: {
        const old = this.#captured[this.#random(8)] ?? new Uint8Array(PAGE_SIZE);
        thrownBy(() => host.write(spa, old));
        return;
      }
      case 7:
        host.rmpupdate(spa, { assigned: false });
        return;
      case 8:
        host.rmpupdate(spa, { assigned: true, asid: 1 + this.#random(2), gpa: other });
        return;
      case 9:
        host.psmash(spaOf0(spa));
        return;
      case 10:
        host.answers.msr = this.#random(3) === 0 ? () => 0x015n : undefined;
        return;
      case 11:
        host.answers.beforeResume = this.#random(3) === 0 ? () => host.remap(guest, at, spa) : undefined;
        return;
      default:
        // Back to where it all began, so that the guest gets on.
        host.answers = {};
        GPAS.forEach((gpa, i) => {
          host.remap(guest, physAddr(gpa), this.#spas[i]!);
        });
    }
  }

  /** No address has two validated pages, and the counts of the region are true. */
  #checkRmp(): void {
    const { rmp } = this.#it.machine;
    const valid = new Set<PhysAddr>();
    for (const spa of this.#spas) {
      const entry = rmp.slot(spa) as RmpEntry;
      if (entry.asid !== 1 || !entry.validated) continue;
      expect(valid.has(entry.gpa), 'two valid pages for one address').toBe(false);
      valid.add(entry.gpa);
    }
    if (this.#random(100) !== 0) return;
    const first = spaOf0(this.#spas[0]!);
    const slots = Array.from({ length: 511 }, (_, k) =>
      rmp.slot(sysPhysAddr(first + BigInt((k + 1) * PAGE_SIZE))),
    );
    const head = rmp.slot(first) as RmpEntry;
    if (head.pageSize === PageSize.Huge) expect(slots.every((slot) => slot?.asid === 0)).toBe(true);
    else expect(head.subpageCount).toBe(slots.filter((slot) => slot?.assigned === true).length);
  }
}

/** The first page of the 2 MiB region. */
function spaOf0(spa: SysPhysAddr): SysPhysAddr {
  return sysPhysAddr(spa & -BigInt(2 * MiB));
}

const total: Tally = nothing();

test('whatever the hypervisor does, a guest that follows the rules reads what it wrote, or faults', () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const campaign = new Campaign(seed);
      campaign.run(STEPS);
      for (const [name, count] of Object.entries(campaign.tally)) total[name as keyof Tally] += count;
    }),
  );
  // Otherwise the law says nothing.
  for (const [name, count] of Object.entries(total)) expect(count, name).toBeGreaterThan(0);
});
