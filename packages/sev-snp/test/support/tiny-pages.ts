import { PAGE_SIZE, type PhysAddr, physAddr, type VirtAddr, virtAddr } from '@svsm/address';
import { PageTable, PtePreset } from '@svsm/pagetable';
import type { PvalidateAnswer } from '../../src/cpu/guest-instructions.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { acceptPage, makePagePrivate, makePageShared } from '../../src/guest/page-visibility.ts';
import { pageRegion, ValidatedPages } from '../../src/guest/validated-pages.ts';
import { NO_KEY } from '../../src/memory/encrypted-memory.ts';
import { ALL_DUTIES, type Duties } from './adversary-world.ts';
import type { Operation } from './explore.ts';
import { LawBroken } from './law-broken.ts';
import {
  bytesOfWord,
  gvaOf,
  ordersOf,
  refusalOf,
  StoppableVcpu,
  TinyMachine,
  type TinyState,
  TOM,
  wordOfBytes,
} from './tiny-machine.ts';

/** A word that only the host writes, and one that guests write to shared memory. */
const HOST_WORD = 0xdead_0001;
const SHARED_WORD = 0xdead_0002;

interface PagesState extends TinyState {
  /** Of each address: whether the guest's record has it, and whether the guest maps it shared. */
  readonly recorded: readonly boolean[];
  readonly shared: readonly boolean[];
  /** The word that the guest must read there; `undefined` for a page that is given up. */
  readonly expected: readonly (number | undefined)[];
  /** The ciphertext that the host has kept: a frame, and the first word of its DRAM. */
  readonly captured: readonly [frame: number, dram: number] | undefined;
}

/** The options of a {@link PagesMachine}. */
export interface PagesOptions {
  readonly addresses: number;
  readonly spares: number;
  /** Whether one more frame belongs to another guest. `false` if not given. */
  readonly foreign?: boolean;
  readonly duties?: Duties;
  /** Whether the host keeps and replays ciphertext. `true` if not given. */
  readonly replay?: boolean;
  /** Whether the host locks pages and has the firmware launch and reclaim them. `false` if not given. */
  readonly firmware?: boolean;
  /** The calls of the guest: all on one page if not given. `border`: reads from a shared page into the first address. */
  readonly calls?: readonly ('use' | 'change' | 'border')[];
}

/** A processor with page tables, and the last word of a shared page; the next word is the first one of a private page. */
interface Border {
  readonly vcpu: Vcpu;
  readonly gva: VirtAddr;
}

/** The number of tables that map one page. */
const TABLES = 4;

class DutifulVcpu extends StoppableVcpu {
  duties: Duties = ALL_DUTIES;

  override clear(gva: VirtAddr, length: number): void {
    if (this.duties.clear) super.clear(gva, length);
  }

  override pvalidate(gva: VirtAddr, pageSize: 0x1000 | 0x20_0000, validate: boolean): PvalidateAnswer {
    if (!validate && !this.duties.rescind) return { result: 0, unchanged: false };
    const answer = super.pvalidate(gva, pageSize, validate);
    return this.duties.carry ? answer : { ...answer, unchanged: false };
  }
}

/**
 * A guest at VMPL0 that follows the rules, and a host that does all that it can: RMPUPDATE of every frame, nested mappings of
 * every address to every frame, writes, old ciphertext, lies about page states. Each can happen at each point inside a call of
 * the guest.
 */
export class PagesMachine extends TinyMachine<PagesState> {
  readonly operations: Operation[];
  readonly #vcpu: DutifulVcpu;
  readonly #duties: Duties;
  readonly #hasFirmware: boolean;
  #validated!: ValidatedPages;
  #shared: boolean[];
  #expected: (number | undefined)[];
  #captured: PagesState['captured'];
  #values = 1;
  readonly #orders: readonly number[][];
  readonly #border: Border | undefined;

  constructor(options: PagesOptions) {
    const { addresses, spares, foreign = false, duties = ALL_DUTIES, replay = true } = options;
    const { calls = ['use', 'change'] } = options;
    super({ addresses, spares, foreign, others: calls.includes('border') ? 1 + TABLES : 1 });
    this.#duties = duties;
    this.#hasFirmware = options.firmware === true;
    this.#vcpu = new DutifulVcpu(this.guest, {}, () => this.point());
    this.#vcpu.duties = duties;
    this.#record(this.gpas);
    this.#shared = this.gpas.map(() => false);
    this.#expected = this.gpas.map(() => 0);
    this.#orders = ordersOf(addresses);
    if (calls.includes('border')) this.#border = this.#makeBorder();
    this.operations = [...this.#hostOperations(replay), ...this.#guestOperations(calls)];
    if (this.#hasFirmware) this.operations.push(...this.#firmwareOperations());
  }

  // The guest's page table: each address is mapped, private or shared.
  readonly #table = {
    lookup: (gva: VirtAddr) => ({
      shared: this.#shared[this.#indexOf(gva)],
      paddr: gva as bigint as PhysAddr,
    }),
    split4k: () => {},
    setShared4k: (gva: VirtAddr) => this.#setShared(gva, true),
    setEncrypted4k: (gva: VirtAddr) => this.#setShared(gva, false),
  } as unknown as PageTable;

  #indexOf(gva: bigint): number {
    return this.gpas.indexOf(gva as PhysAddr);
  }

  #setShared(gva: VirtAddr, isShared: boolean): void {
    this.#shared[this.#indexOf(gva)] = isShared;
  }

  #record(gpas: readonly PhysAddr[]): void {
    const { memory } = this.guest;
    this.#validated = new ValidatedPages(
      memory,
      gpas.map((gpa) => pageRegion(gpa, PAGE_SIZE)),
    );
  }

  #hostOperations(replay: boolean): Operation[] {
    const operations: Operation[] = [];
    const add = (name: string, run: () => void): void => {
      operations.push({ name, run, actor: 'host', interrupts: true });
    };
    for (const [f, spa] of this.frames.entries()) {
      add(`take f${f}`, () => void this.host.rmpupdate(spa, { assigned: false }));
      add(`write f${f}`, () => void refusalOf(() => this.host.write(spa, bytesOfWord(HOST_WORD))));
      for (const [a, gpa] of this.gpas.entries()) {
        const state = { assigned: true, asid: this.guest.asid, gpa };
        add(`give f${f} as a${a}`, () => void this.host.rmpupdate(spa, state));
        add(`map a${a} to f${f}`, () => this.map(a, f));
      }
      if (!replay) continue;
      add(`capture f${f}`, () => {
        this.#captured = [f, wordOfBytes(this.host.read(spa, 4))];
      });
    }
    for (const a of this.gpas.keys()) add(`hide a${a}`, () => this.map(a, -1));
    if (replay) add('replay', () => this.#replay());
    return operations;
  }

  #firmwareOperations(): Operation[] {
    const operations: Operation[] = [];
    const add = (name: string, run: () => void): void => {
      operations.push({ name, run, actor: 'host', interrupts: true });
    };
    const { firmware } = this.machine;
    const { context } = this.guest;
    for (const [f, spa] of this.frames.entries()) {
      add(`launch f${f}`, () => void refusalOf(() => firmware.launchUpdate(context, spa)));
      add(`reclaim f${f}`, () => void refusalOf(() => firmware.pageReclaim(spa)));
      for (const [g, destination] of this.frames.entries()) {
        if (f === g) continue;
        add(
          `move f${f} to f${g}`,
          () => void refusalOf(() => firmware.pageMove(context, { source: spa, destination })),
        );
      }
      for (const [a, gpa] of this.gpas.entries()) {
        const state = { assigned: true, immutable: true, asid: this.guest.asid, gpa };
        add(`lock f${f} as a${a}`, () => void this.host.rmpupdate(spa, state));
      }
    }
    return operations;
  }

  #replay(): void {
    if (this.#captured === undefined) return;
    const [f, dram] = this.#captured;
    refusalOf(() => this.host.write(this.frames[f]!, bytesOfWord(dram)));
  }

  /** Page tables of the guest that map a shared page, and then the first contested address. */
  #makeBorder(): Border {
    const { guest, host } = this;
    const vcpu = guest.createVcpu();
    vcpu.memory.words(0, true);
    let frame = 0;
    const frames = { allocateFrame: () => physAddr(PAGE_SIZE * ++frame), freeFrame: () => {} };
    const table = PageTable.create({ memory: vcpu.memory, frames, config: guest.paging });
    const gva = virtAddr(0xffff_8000_0000_0000n);
    const shared = physAddr(TOM);
    guest.nested.map(shared, host.allocatePage(), PAGE_SIZE);
    table.map4k(gva, shared, PtePreset.Data);
    table.map4k((gva + BigInt(PAGE_SIZE)) as VirtAddr, this.gpas[0]!, PtePreset.Data);
    vcpu.loadCr3(table.cr3);
    return { vcpu, gva: (gva + BigInt(PAGE_SIZE - 4)) as VirtAddr };
  }

  #readAcross({ vcpu, gva }: Border): void {
    if (this.#shared[0]) return;
    const expected = this.#expected[0];
    let found: number | undefined;
    const fault = refusalOf(() => {
      this.point();
      found = wordOfBytes(vcpu.read(gva, 8).subarray(4));
    });
    this.note(fault === undefined ? 'read across' : 'fault');
    if (fault === undefined && expected !== undefined && found !== expected) {
      throw new LawBroken(`the guest wrote ${expected} to a0, and reads ${found} across the border`);
    }
  }

  #guestOperations(calls: NonNullable<PagesOptions['calls']>): Operation[] {
    const operations: Operation[] = [];
    const add = (name: string, isCall: boolean, run: () => void): void => {
      operations.push({ name, run, actor: 'guest', isCall });
    };
    const border = this.#border;
    if (border !== undefined) add('read across the border', true, () => this.#readAcross(border));
    for (const a of this.gpas.keys()) {
      if (calls.includes('use')) {
        add(`read a${a}`, true, () => this.#read(a));
        add(`write a${a}`, true, () => this.#write(a));
      }
      if (!calls.includes('change')) continue;
      for (const f of this.frames.keys()) {
        add(`use shared a${a} on f${f}`, false, () => this.#useShared(a, f));
      }
      for (const [lie, pageState] of [
        ['', undefined],
        [' of a liar', () => 0],
        [' of a refuser', () => 1],
      ] as const) {
        const asked = (change: () => void) => (): void => {
          this.host.answers.pageState = pageState;
          this.#change(a, change);
          this.host.answers.pageState = undefined;
        };
        const options = (): object => (this.#duties.record ? { validated: this.#validated } : {});
        const gva = gvaOf(this.gpas[a]!);
        const vcpu = this.#vcpu;
        add(
          `share a${a}${lie}`,
          true,
          asked(() => makePageShared(vcpu, this.#table, gva, options())),
        );
        add(
          `take back a${a}${lie}`,
          true,
          asked(() => makePagePrivate(vcpu, this.#table, gva, options())),
        );
        add(
          `accept a${a}${lie}`,
          true,
          asked(() => acceptPage(vcpu, this.#table, gva, options())),
        );
      }
    }
    return operations;
  }

  #isRecorded(a: number): boolean {
    return !this.#duties.record || this.#validated.has(this.gpas[a]!);
  }

  #read(a: number): void {
    if (this.#shared[a]) return;
    const expected = this.#expected[a];
    let found: number | undefined;
    const fault = refusalOf(() => {
      found = wordOfBytes(this.#vcpu.read(gvaOf(this.gpas[a]!), 4));
    });
    this.note(fault === undefined ? 'read' : 'fault');
    if (fault === undefined && expected !== undefined && found !== expected) {
      throw new LawBroken(`the guest wrote ${expected} to a${a}, and reads ${found}`);
    }
  }

  #write(a: number): void {
    if (this.#shared[a] || this.#expected[a] === undefined) return;
    const value = this.#newValue();
    const fault = refusalOf(() => this.#vcpu.write(gvaOf(this.gpas[a]!), bytesOfWord(value)));
    if (fault === undefined) this.#expected[a] = value;
  }

  /** The next value; values that are nowhere begin again. */
  #newValue(): number {
    this.#values = (this.#values % 0x3fff_ffff) + 1;
    return this.#values;
  }

  /** The guest writes to a shared page, whose second address the host maps to a frame. */
  #useShared(a: number, f: number): void {
    if (!this.#shared[a]) return;
    const gpa = (this.gpas[a]! + BigInt(TOM)) as PhysAddr;
    this.guest.nested.map(gpa, this.frames[f]!, PAGE_SIZE);
    const fault = refusalOf(() => this.#vcpu.write(gvaOf(gpa), bytesOfWord(SHARED_WORD)));
    this.note(fault === undefined ? 'shared use' : 'shared fault');
    this.guest.nested.unmap(gpa);
  }

  /** After a refusal, a page that was recorded before is as it was, if it still is; the others are given up. */
  #change(a: number, change: () => void): void {
    const wasRecorded = this.#isRecorded(a);
    const refused = refusalOf(change);
    this.note(refused === undefined ? 'changed' : `refused: ${refused.code}`);
    if (refused === undefined) this.#expected[a] = this.#shared[a] ? undefined : 0;
    else if (!wasRecorded || !this.#isRecorded(a) || this.#shared[a]) this.#expected[a] = undefined;
  }

  override problem(): string | undefined {
    for (const [f] of this.frames.entries()) {
      const { validated, gpa, asid } = this.entry(f);
      if (!validated) continue;
      const other = this.frames.findIndex((_, g) => {
        const held = this.entry(g);
        return g > f && held.validated && held.gpa === gpa && held.asid === asid;
      });
      if (other !== -1) return `f${f} and f${other} are two validated pages at one address`;
    }
    return undefined;
  }

  key(): string {
    return this.#keyWith(undefined);
  }

  canonical(): string {
    let least: string | undefined;
    for (const order of this.#orders) {
      const key = this.#keyWith(order);
      if (least === undefined || key < least) least = key;
    }
    return least!;
  }

  /** The state with the addresses in another order, and the frames sorted; `undefined`: in the order that they have. */
  #keyWith(order: readonly number[] | undefined): string {
    const addresses = order ?? this.gpas.map((_, a) => a);
    const frames = this.frames.map((_, f) => {
      let text = this.entryText(f);
      if (order !== undefined) {
        const { assigned, gpa } = this.entry(f);
        if (assigned) text = text.replace(/@\d+/, `@${order.indexOf(this.#indexOf(gpa))}`);
      }
      text += ` ${this.#contentOf(this.word(f), addresses)}${this.#plainOf(f)} `;
      for (const [at, a] of addresses.entries()) if (this.mapped(a) === f) text += `<${at}`;
      if (this.#captured?.[0] === f) {
        const word = (this.#captured[1] ^ this.word(f) ^ this.word(f, NO_KEY)) >>> 0;
        text += `!${this.#captured[1] === HOST_WORD ? 'h' : ''}${this.#contentOf(word, addresses)}`;
      }
      return text;
    });
    if (order !== undefined) frames.sort();
    const guest = addresses.map((a) => {
      const expected = this.#expected[a];
      const known = expected === undefined ? '-' : expected === 0 ? '0' : '+';
      return `${this.#validated.has(this.gpas[a]!) ? 'r' : ''}${this.#shared[a] ? 's' : ''}${known}`;
    });
    return `${frames.join()};${guest.join()}`;
  }

  /** Whether the host reads its own word, which the firmware can encrypt. */
  #plainOf(f: number): string {
    return this.#hasFirmware && this.word(f, NO_KEY) === HOST_WORD ? 'h' : '';
  }

  /** The content that the guest would read: the addresses where it expects that, and whether it is clear. */
  #contentOf(word: number, addresses: readonly number[]): string {
    let text = word === 0 ? 'z' : '';
    for (const [at, a] of addresses.entries()) if (this.#expected[a] === word) text += at;
    return text;
  }

  save(): PagesState {
    return {
      ...this.savePlatform(),
      recorded: this.gpas.map((gpa) => this.#validated.has(gpa)),
      shared: [...this.#shared],
      expected: [...this.#expected],
      captured: this.#captured,
    };
  }

  restore(state: PagesState): void {
    this.restorePlatform(state);
    const isSame = this.gpas.every((gpa, a) => this.#validated.has(gpa) === state.recorded[a]);
    if (!isSame) this.#record(this.gpas.filter((_, a) => state.recorded[a]));
    this.#shared = [...state.shared];
    this.#expected = [...state.expected];
    this.#captured = state.captured;
  }
}
