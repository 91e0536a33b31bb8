import { PAGE_SIZE } from '@svsm/address';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { Vmpl } from '../../src/formats/vmpl.ts';
import type { Guest } from '../../src/guest/guest.ts';
import type { NestedPage } from '../../src/memory/nested-table.ts';
import type { Operation } from './explore.ts';
import { LawBroken } from './law-broken.ts';
import {
  bytesOfWord,
  gvaOf,
  refusalOf,
  StoppableVcpu,
  TinyMachine,
  type TinyState,
  wordOfBytes,
} from './tiny-machine.ts';

/** Rights of a mask. */
const RIGHTS = { nothing: 0, all: 0xf } as const;

/** A live translation of the contested address in a cache. */
interface Cached {
  readonly page: NestedPage;
  readonly allowed: number;
}

interface TlbsState extends TinyState {
  /** Of each cache, and each of its users. */
  readonly cached: readonly (readonly (Cached | undefined)[])[];
  readonly expected: number | undefined;
  readonly given: readonly number[];
}

/** The options of a {@link TlbsMachine}. */
export interface TlbsOptions {
  /** The number of levels: without the third one, the second processor is idle. */
  readonly levels: 2 | 3;
  /** Whether the guest flushes after it has taken rights. `true` if not given. */
  readonly flushes?: boolean;
  /** Whether the guest takes all rights on a page before it rescinds the validation. `true` if not given. */
  readonly revokes?: boolean;
  /** Whether another guest runs on the first processor, too. */
  readonly others: boolean;
}

/**
 * Two processors that cache nested translations. On the first one, a guest runs at VMPL0 and VMPL1, and perhaps another guest;
 * on the second one, the guest runs at VMPL2. Each level gives and takes the rights of the next one, for one contested page
 * with two frames. The host changes mappings and RMP, and flushes when it likes.
 */
export class TlbsMachine extends TinyMachine<TlbsState> {
  readonly operations: readonly Operation[];
  readonly #flushes: boolean;
  readonly #revokes: boolean;
  readonly #other: Guest | undefined;
  readonly #tlbs: readonly [NestedTlb, NestedTlb] = [new NestedTlb(), new NestedTlb()];
  readonly #levels: readonly StoppableVcpu[];
  readonly #otherCpu: StoppableVcpu | undefined;
  /** The levels of guests that use a cache. */
  readonly #users: readonly (readonly [Guest, Vmpl])[];
  /** The word that the guest must read; `undefined` while its page is not validated. */
  #expected: number | undefined = 0;
  /** The rights that a higher level gave to each level. */
  #given: number[] = [];
  #values = 0;

  constructor({ levels, flushes = true, revokes = true, others }: TlbsOptions) {
    super({ addresses: 1, spares: 1 });
    this.#flushes = flushes;
    this.#revokes = revokes;
    // The other guest has a page at the contested address, too.
    this.#other = others ? this.host.launch({ size: 2 * PAGE_SIZE, pageSize: PAGE_SIZE }) : undefined;
    const [first, second] = this.#tlbs;
    const ofLevels = [first, first, second].slice(0, levels);
    this.#levels = ofLevels.map((nestedTlb, vmpl) => this.createVcpu({ vmpl: vmpl as Vmpl, nestedTlb }));
    const other = this.#other;
    if (other !== undefined) this.#otherCpu = new StoppableVcpu(other, { nestedTlb: first }, () => {});
    const users = this.#levels.map(({ vmpl }) => [this.guest, vmpl] as const);
    this.#users = other === undefined ? users : [...users, [other, Vmpl.Vmpl0]];
    this.#given = [0xf, 0, 0].slice(0, levels);
    this.operations = [...this.#hostOperations(), ...this.#guestOperations()];
  }

  #hostOperations(): Operation[] {
    const operations: Operation[] = [];
    const add = (name: string, run: () => void): void => {
      operations.push({ name, run, actor: 'host', interrupts: true });
    };
    for (const [f, spa] of this.frames.entries()) {
      const state = { assigned: true, asid: this.guest.asid, gpa: this.gpas[0]! };
      add(`take f${f}`, () => void this.host.rmpupdate(spa, { assigned: false }));
      add(`give f${f}`, () => void this.host.rmpupdate(spa, state));
      add(`write f${f}`, () => void refusalOf(() => this.host.write(spa, bytesOfWord(0xdead_0001))));
      add(`map f${f}`, () => this.map(0, f));
    }
    add('hide', () => this.map(0, -1));
    add('flush', () => this.host.flushTlbs(this.guest));
    return operations;
  }

  #guestOperations(): Operation[] {
    const operations: Operation[] = [];
    const add = (name: string, run: () => void, isCall = true): void => {
      operations.push({ name, run, actor: 'guest', isCall });
    };
    for (const vmpl of this.#levels.keys()) {
      add(`read at VMPL${vmpl}`, () => this.#read(vmpl));
      add(`write at VMPL${vmpl}`, () => this.#write(vmpl));
      const target = vmpl + 1;
      if (target === this.#levels.length) continue;
      for (const [name, rights] of Object.entries(RIGHTS)) {
        add(`VMPL${vmpl} lets VMPL${target} do ${name}`, () => void this.#adjust(vmpl, target, rights));
      }
    }
    add('rescind', () => this.#rescind());
    add('validate', () => this.#validate());
    const other = this.#otherCpu;
    if (this.#other !== undefined || other !== undefined)
      add('read in the other guest', () => this.#readOther());
    return operations;
  }

  get #gva() {
    return gvaOf(this.gpas[0]!);
  }

  #requireRight(vmpl: number, right: number): void {
    if ((this.#given[vmpl]! & right) === right) return;
    throw new LawBroken(`VMPL${vmpl} has used the right ${right}, and was given ${this.#given[vmpl]}`);
  }

  #read(vmpl: number): void {
    const expected = this.#expected;
    let found: number | undefined;
    const fault = refusalOf(() => {
      found = wordOfBytes(this.#levels[vmpl]!.read(this.#gva, 4));
    });
    this.note(fault === undefined ? `read at VMPL${vmpl}` : 'fault');
    if (fault !== undefined) return;
    this.#requireRight(vmpl, 1);
    // A page that could not be cleared is not used.
    if (Number.isNaN(expected)) return;
    if (expected !== found) throw new LawBroken(`VMPL${vmpl} reads ${found}, and not ${expected}`);
  }

  #write(vmpl: number): void {
    this.#values += 1;
    const fault = refusalOf(() => this.#levels[vmpl]!.write(this.#gva, bytesOfWord(this.#values)));
    if (fault !== undefined) return;
    this.#requireRight(vmpl, 3);
    this.#expected = this.#values;
  }

  /** Sets the rights of a level. Returns whether the RMP has them now. */
  #adjust(vmpl: number, target: number, permissions: number): boolean {
    const cpu = this.#levels[vmpl]!;
    let isDone = false;
    refusalOf(() => {
      isDone = cpu.rmpadjust(this.#gva, PAGE_SIZE, { vmpl: target, permissions }) === RmpResult.SUCCESS;
    });
    if (!isDone) return false;
    this.#given[target] = permissions;
    if (this.#flushes) cpu.invlpgb();
    return true;
  }

  #rescind(): void {
    if (this.#expected === undefined) return;
    for (let vmpl = 1; this.#revokes && vmpl < this.#levels.length; vmpl += 1)
      if (!this.#adjust(0, vmpl, 0)) return;
    refusalOf(() => {
      const { result, unchanged } = this.#levels[0]!.pvalidate(this.#gva, PAGE_SIZE, false);
      if (result === RmpResult.SUCCESS && !unchanged) this.#expected = undefined;
    });
  }

  /** Validates and clears a page. A page that could be validated, but not cleared, stays unused. */
  #validate(): void {
    if (this.#expected !== undefined) return;
    const [cpu] = this.#levels;
    refusalOf(() => {
      const { result, unchanged } = cpu!.pvalidate(this.#gva, PAGE_SIZE, true);
      if (result !== RmpResult.SUCCESS || unchanged) return;
      this.#expected = Number.NaN;
      cpu!.write(this.#gva, new Uint8Array(PAGE_SIZE));
      this.#expected = 0;
    });
  }

  #readOther(): void {
    let found = 0;
    refusalOf(() => {
      found = wordOfBytes(this.#otherCpu!.read(this.#gva, 4));
    });
    if (found !== 0) throw new LawBroken(`the other guest reads ${found}, and not 0`);
  }

  key(): string {
    const frames = this.frames.map((_, f) => {
      const word = this.word(f);
      const content = word === this.#expected ? 'e' : word === 0 ? 'z' : '';
      return `${this.entryText(f)}${content}${this.mapped(0) === f ? '<' : ''}`;
    });
    const cached = this.#cached().map((held) =>
      held.map((it) => it && `${this.frames.indexOf(it.page.spa)}:${it.allowed}`).join('/'),
    );
    return `${frames.join()};${cached.join()};${this.#expected === 0 ? 0 : this.#expected && '+'};${this.#given.join()}`;
  }

  #cached(): (Cached | undefined)[][] {
    const [gpa] = this.gpas;
    return this.#tlbs.map((tlb) => this.#users.map(([guest, vmpl]) => tlb.lookup(guest, vmpl, gpa!)));
  }

  save(): TlbsState {
    const cached = this.#cached().map((held) =>
      held.map((it) => it && { page: it.page, allowed: it.allowed }),
    );
    return { ...this.savePlatform(), cached, expected: this.#expected, given: [...this.#given] };
  }

  restore({ cached, expected, given, ...platform }: TlbsState): void {
    this.restorePlatform(platform);
    for (const [t, tlb] of this.#tlbs.entries()) {
      tlb.flushAll();
      for (const [u, [guest, vmpl]] of this.#users.entries()) {
        const held = cached[t]![u];
        if (held !== undefined) tlb.insert(guest, vmpl, this.gpas[0]!, held.page, held.allowed);
      }
    }
    this.#expected = expected;
    this.#given = [...given];
  }

  canonical(): string {
    return this.key();
  }
}
