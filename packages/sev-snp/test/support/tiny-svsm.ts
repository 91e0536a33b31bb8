import { PAGE_SIZE, type PhysAddr } from '@svsm/address';
import type { RunnableVmsa } from '../../src/cpu/platform.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { VmExit } from '../../src/cpu/vmrun.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import {
  encodeSvsmListEntry,
  encodeSvsmListHeader,
  SvsmCall,
  type SvsmRegisters,
  SvsmResult,
} from '../../src/formats/svsm-protocol.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import type { Vmpl } from '../../src/formats/vmpl.ts';
import { EFER_SVME, readVmsa } from '../../src/formats/vmsa.ts';
import { pageRegion } from '../../src/guest/validated-pages.ts';
import { permanentMap } from '../../src/svsm/guest-page-access.ts';
import type { SvsmCore } from '../../src/svsm/svsm-core.ts';
import { SvsmState } from '../../src/svsm/svsm-state.ts';
import type { Interruption, Operation } from './explore.ts';
import { LawBroken } from './law-broken.ts';
import { ReplayedMachine } from './replayed-machine.ts';
import { bytesOfWord, gvaOf, refusalOf, StoppableVcpu } from './tiny-machine.ts';

/**
 * The page of the SVSM, a calling area for each of the two processors, one for a processor that they make, and pages that they
 * use as they like.
 */
const OWN = 0;
const AREAS = [1, 2] as const;
const THIRD = 3;
const FREE = 4;
const NAMES = ['own', 'c1', 'c2', 'c3', 'p', 'q'] as const;

/** The options of an {@link SvsmMachine}. */
export interface SvsmOptions {
  /** The levels of the two processors. The first is not less privileged than the second. */
  readonly levels: readonly [Vmpl, Vmpl];
  /** The number of free pages, 1 or 2. The first belongs to the level of the first processor alone. */
  readonly pages: number;
  /** The calls of the processors. */
  readonly calls: readonly ('pvalidate' | 'vcpus' | 'memory' | 'remap')[];
  /** The pages that the calls name: only the free ones, or also the page of the SVSM and the calling areas. */
  readonly names: 'free' | 'all';
  /** Whether the host hides the first free page. */
  readonly hides: boolean;
}

/** A processor that calls. */
interface Caller {
  readonly name: string;
  readonly vcpu: Vcpu;
  /** Its calling area at first, by index. Its lists lie there. */
  readonly area: number;
}

/**
 * An SVSM at VMPL0, and two processors above it, which are hostile: they make any call about any page, write any VMSA, and the
 * first level gives and takes rights of the second. The host runs them so that a call happens at any point inside another one.
 */
export class SvsmMachine extends ReplayedMachine {
  readonly operations: readonly Operation[];
  readonly #options: SvsmOptions;
  readonly #svsmCpu: StoppableVcpu;
  readonly #callers: readonly Caller[];
  readonly #vmcb: SysPhysAddr;
  #state!: SvsmState;
  #svsm!: SvsmCore;
  #running: Vcpu | undefined;
  /** The processors that have run, by the index of their VMSA. */
  readonly #ran: Map<number, Vcpu> = new Map();
  /** The free pages that the second level may use, because the first one lets it. */
  #given: Set<number> = new Set();
  /** The deposited pages, and the call that has deposited each. */
  readonly #deposited: Map<number, object> = new Map();

  constructor(options: SvsmOptions) {
    super({ addresses: FREE + options.pages, spares: 0, others: 0 });
    this.#options = options;
    const { levels, pages } = options;
    this.#svsmCpu = this.createVcpu();
    this.#vmcb = this.host.allocatePage();
    this.#callers = levels.map((vmpl, k) => ({
      name: `cpu${k + 1}`,
      vcpu: new StoppableVcpu(this.guest, { vmpl }, () => {}),
      area: AREAS[k]!,
    }));
    for (let a = AREAS[0]; a < FREE + pages; a += 1) {
      const level = this.#isAlone(a) ? levels[0] : levels[1];
      for (let vmpl = 1; vmpl <= level; vmpl += 1) this.#adjust(a, vmpl);
    }
    this.operations = [...this.#hostOperations(), ...this.#callers.flatMap((it) => this.#operationsOf(it))];
    this.begin();
  }

  /** Whether a page belongs to the first level alone: its calling area, and the first free page. */
  #isAlone(a: number): boolean {
    return a === AREAS[0] || a === FREE;
  }

  #adjust(a: number, vmpl: number): void {
    this.#svsmCpu.rmpadjust(gvaOf(this.gpas[a]!), PAGE_SIZE, { vmpl, permissions: 0xf });
  }

  protected reset(): void {
    this.#running = undefined;
    this.#ran.clear();
    for (const spa of [...this.frames, this.#vmcb]) {
      while (this.machine.rmp.isInUse(spa, PAGE_SIZE)) this.machine.rmp.setInUse(spa, false);
    }
    const own = [pageRegion(this.gpas[OWN]!, PAGE_SIZE)];
    const { memory } = this.guest;
    this.#state = new SvsmState({ memory, own });
    this.#svsm = this.#state.on(this.#svsmCpu, permanentMap(gvaOf));
    for (const { vcpu, area } of this.#callers) this.#svsm.register(vcpu, this.gpas[area]!);
    this.#given = new Set([...this.#free()].filter((a) => !this.#isAlone(a)));
    this.#deposited.clear();
  }

  *#free(): Generator<number> {
    for (let a = FREE; a < this.gpas.length; a += 1) yield a;
  }

  #hostOperations(): Operation[] {
    const operations: Operation[] = [];
    const add = (name: string, interrupts: boolean, run: () => void): void => {
      operations.push({ name, run, actor: 'host', interrupts });
    };
    if (this.#options.hides) {
      add('hide p', true, () => this.map(FREE, -1));
      add('map p', true, () => this.map(FREE, FREE));
    }
    if (!this.#options.calls.includes('vcpus')) return operations;
    for (const a of this.#free()) add(`run ${NAMES[a]}`, true, () => this.#runVmsa(a));
    add('halt', true, () => this.#halt());
    const actor = 'cpu3';
    for (const a of this.#options.calls.includes('remap') ? [OWN, ...this.#free()] : []) {
      const registers = { rcx: this.gpas[a]! };
      const run = (): void => {
        if (this.#running !== undefined) this.#call(this.#running, SvsmCall.RemapCa, registers);
      };
      operations.push({ name: `cpu3: remap to ${NAMES[a]}`, run, actor });
    }
    return operations;
  }

  #runVmsa(a: number): void {
    if (this.#running !== undefined || this.mapped(a) === -1) return;
    const vmsa = { spa: this.frames[this.mapped(a)]!, gpa: this.gpas[a]!, vmcb: this.#vmcb };
    const running = this.#vmrun(vmsa);
    this.#running = running;
    if (running !== undefined) this.#ran.set(a, running);
    if (running?.vmpl === 0) throw new LawBroken('the host runs a processor at VMPL0');
  }

  #vmrun(vmsa: RunnableVmsa): Vcpu | undefined {
    let vcpu: Vcpu | undefined;
    refusalOf(() => {
      vcpu = this.guest.vmrun(vmsa);
    });
    return vcpu;
  }

  #halt(): void {
    this.#running?.leave(VmExit.Halt);
    this.#running = undefined;
  }

  #operationsOf(caller: Caller): Operation[] {
    const { calls, levels, names } = this.#options;
    const { name: actor, vcpu, area } = caller;
    // The host runs the second processor while the first one is in a call. With equal levels, that is the same the other way round.
    const isSplit = area === AREAS[0] || levels[0] !== levels[1];
    const operations: Operation[] = [];
    const add = (name: string, run: () => void, isCall = true, interrupts = true): void => {
      operations.push({ name: `${actor}: ${name}`, run, actor, isCall: isCall && isSplit, interrupts });
    };
    const named = names === 'free' ? [...this.#free()] : [OWN, ...AREAS, ...this.#free()];
    const addresses = named.map((a) => [NAMES[a]!, this.gpas[a]!] as const);
    if (calls.includes('pvalidate')) {
      for (const [page, gpa] of addresses) {
        add(`rescind ${page}`, () => this.#list(caller, SvsmCall.Pvalidate, gpa, {}));
        for (const ignoreUnchanged of [false, true]) {
          const name = `validate ${page}${ignoreUnchanged ? ' anyway' : ''}`;
          const fields = { validate: true, ignoreUnchanged };
          add(name, () => this.#list(caller, SvsmCall.Pvalidate, gpa, fields));
        }
      }
    }
    if (calls.includes('memory')) {
      for (const a of new Set([THIRD, ...named])) {
        add(`deposit ${NAMES[a]}`, () => this.#deposit(caller, a));
      }
      for (const a of [area, ...this.#free()]) add(`withdraw to ${NAMES[a]}`, () => this.#withdraw(vcpu, a));
    }
    if (calls.includes('remap')) {
      for (const [page, rcx] of addresses)
        add(`remap to ${page}`, () => void this.#call(vcpu, SvsmCall.RemapCa, { rcx }));
    }
    for (const a of this.#free()) {
      const gva = gvaOf(this.gpas[a]!);
      if (calls.includes('vcpus')) {
        const others = [THIRD, ...named].filter((it) => it !== a);
        for (const caa of others) {
          const registers = { rcx: this.gpas[a]!, rdx: this.gpas[caa]! };
          const name = `create ${NAMES[a]} with ${NAMES[caa]}`;
          add(name, () => void this.#call(vcpu, SvsmCall.CreateVcpu, registers));
        }
        add(`delete ${NAMES[a]}`, () => void this.#call(vcpu, SvsmCall.DeleteVcpu, { rcx: this.gpas[a]! }));
        for (const image of IMAGES) {
          if (![0, ...levels].includes(image[0x0ca]!)) continue;
          const name = `write VMSA of VMPL${image[0x0ca]} to ${NAMES[a]}`;
          add(name, () => void refusalOf(() => vcpu.write(gva, image)), false);
        }
      } else
        add(`write ${NAMES[a]}`, () => void refusalOf(() => vcpu.write(gva, bytesOfWord(vcpu.vmpl))), false);
      const target = levels[1];
      if (vcpu.vmpl >= target) continue;
      for (const [name, permissions] of [
        ['give', 0xf],
        ['take', 0],
      ] as const) {
        const adjust = (): void => {
          let isDone = false;
          refusalOf(() => {
            isDone = vcpu.rmpadjust(gva, PAGE_SIZE, { vmpl: target, permissions }) === RmpResult.SUCCESS;
          });
          if (!isDone) return;
          // A page that is the SVSM's at the moment comes back as it was deposited.
          if (this.entry(a).vmplMasks[vcpu.vmpl] === 0) return;
          if (permissions === 0) this.#given.delete(a);
          else this.#given.add(a);
        };
        // An SVSM that looks up rights and restores them later overwrites what a level does in between.
        add(`${name} ${NAMES[a]}`, adjust, false, false);
      }
    }
    return operations;
  }

  /** Makes a call, and returns its result. */
  #call(vcpu: Vcpu, call: SvsmCall, registers: Partial<SvsmRegisters>): number {
    const all = { rax: BigInt(call), rcx: 0n, rdx: 0n, r8: 1n, r9: 0n, ...registers };
    this.#svsm.call(vcpu, all);
    this.note(`call ${call}: ${all.rax.toString(16)}`);
    return Number(all.rax);
  }

  #list({ vcpu, area }: Caller, call: SvsmCall, gpa: PhysAddr, flags: object): number | undefined {
    const plain = { gpa, size: 0, validate: false, ignoreUnchanged: false, reserved: 0 };
    const at = (this.gpas[area]! + 8n) as PhysAddr;
    const refused = refusalOf(() => {
      vcpu.write(gvaOf(at), encodeSvsmListHeader({ count: 1, next: 0 }));
      vcpu.write(gvaOf(at + 8n), encodeSvsmListEntry({ ...plain, ...flags }));
    });
    if (refused !== undefined) return undefined;
    return this.#call(vcpu, call, { rcx: at });
  }

  /** A page that belongs to its caller, and that no processor has as its calling area, can be deposited. */
  #deposit(caller: Caller, a: number): void {
    const { vmpl } = caller.vcpu;
    const { vmplMasks, validated } = this.entry(a);
    const isFree = validated && vmplMasks[vmpl] === 0xf && this.mapped(a) === a;
    const isArea = this.#areas().includes(this.gpas[a]!);
    // Another processor can deposit or withdraw the page before the call ends.
    const call = {};
    const held = this.#deposited.get(a);
    this.#deposited.set(a, call);
    const result = this.#list(caller, SvsmCall.DepositMem, this.gpas[a]!, {});
    if (result === SvsmResult.Success) {
      const isHeld = this.entry(a)
        .vmplMasks.slice(1)
        .every((mask) => mask === 0);
      if (isHeld) this.#deposited.set(a, call);
      return;
    }
    if (this.#deposited.get(a) === call) {
      if (held === undefined) this.#deposited.delete(a);
      else this.#deposited.set(a, held);
    }
    if (result !== undefined && isFree && !isArea && !this.isInterrupted) {
      throw new LawBroken(`DEPOSIT_MEM refuses ${NAMES[a]}, which is free, with ${result.toString(16)}`);
    }
  }

  /** The calling areas of all processors. */
  #areas(): PhysAddr[] {
    const areaOf = (vcpu: Vcpu | undefined): PhysAddr | undefined => vcpu && this.#svsm.callingArea(vcpu);
    const made = this.#state.vcpus.map(
      ({ vmsa, caa }) => areaOf(this.#ran.get(this.gpas.indexOf(vmsa))) ?? caa,
    );
    return [...this.#callers.flatMap(({ vcpu }) => areaOf(vcpu) ?? []), ...made];
  }

  /** The answer is a number of pages, and their addresses. */
  #withdraw(vcpu: Vcpu, a: number): void {
    const at = this.gpas[a]! + 8n;
    if (this.#call(vcpu, SvsmCall.WithdrawMem, { rcx: at }) !== SvsmResult.Success) {
      // If the host hides a page in the middle, the SVSM gives it up.
      for (const a of this.#deposited.keys()) if (this.#isGivenUp(a)) this.#deposited.delete(a);
      return;
    }
    const spa = (this.frames[a]! + 8n) as SysPhysAddr;
    const bytes = this.machine.memory.read(spa, 8 * (1 + this.gpas.length), this.guest.key);
    const words = new BigUint64Array(bytes.buffer);
    for (const gpa of words.slice(1, 1 + Number(words[0]))) {
      if (!this.#deposited.delete(this.gpas.indexOf(gpa as PhysAddr))) {
        throw new LawBroken(`WITHDRAW_MEM returns ${gpa.toString(16)}, which was not deposited`);
      }
    }
  }

  /** Whether others have rights on a page that the host hides. A later call must not return it. */
  #isGivenUp(a: number): boolean {
    const { vmplMasks } = this.entry(a);
    return this.mapped(a) === -1 && vmplMasks.slice(1).some((mask) => mask !== 0);
  }

  override run(operation: Operation, interruptions: readonly Interruption[]): number {
    const isSecond = operation.actor === this.#callers[1]!.name && interruptions.length === 0;
    const hidden = isSecond ? [...this.#free()].filter((a) => this.#isHidden(a)) : [];
    const before = hidden.map((a) => this.#pageText(a));
    const points = super.run(operation, interruptions);
    for (const [k, a] of hidden.entries()) {
      if (this.#pageText(a) !== before[k]) {
        throw new LawBroken(`${NAMES[a]} was ${before[k]}, and is ${this.#pageText(a)}`);
      }
    }
    return points;
  }

  /** Whether a page belongs to the first level, which does not let the second one use it. */
  #isHidden(a: number): boolean {
    const [first, second] = this.#options.levels;
    const { vmplMasks, validated } = this.entry(a);
    return first < second && validated && vmplMasks[first] !== 0 && !this.#given.has(a);
  }

  override problem(): string | undefined {
    const own = new Set([OWN, ...this.#deposited.keys()]);
    const made = new Map(this.#state.vcpus.map((it) => [this.gpas.indexOf(it.vmsa), it.vmpl]));
    for (const a of made.keys()) own.add(a);
    const [first, second] = this.#options.levels;
    for (const a of this.gpas.keys()) {
      const { vmplMasks, validated, vmsa } = this.entry(a);
      const name = NAMES[a]!;
      if (!validated) continue;
      if (own.has(a) && vmplMasks.slice(1).some((mask) => mask !== 0)) {
        return `${name} belongs to the SVSM, and has the masks ${vmplMasks.join()}`;
      }
      if (vmsa !== made.has(a)) return `${name} is ${vmsa ? 'a' : 'not a'} VMSA, unlike the SVSM's record`;
      if (first < second && a >= FREE && vmplMasks[second] !== 0 && !this.#given.has(a)) {
        return `VMPL${second} may use ${name}, and VMPL${first} did not allow it`;
      }
      const image = vmsa ? this.#vmsaOf(a) : undefined;
      if (image !== undefined && image.vmpl !== made.get(a))
        return `the VMSA ${name} is of VMPL${image.vmpl}`;
    }
    const taken = this.#areas().find((area) => own.has(this.gpas.indexOf(area)));
    if (taken !== undefined)
      return `${NAMES[this.gpas.indexOf(taken)]} is a calling area, and the SVSM's own`;
    if (this.word(OWN) !== 0) return 'the page of the SVSM has changed';
    return undefined;
  }

  #vmsaOf(a: number): { vmpl: number; isEnabled: boolean } {
    const image = this.machine.memory.read(this.frames[a]!, PAGE_SIZE, this.guest.key);
    return { vmpl: Number(readVmsa(image, 'vmpl')), isEnabled: (readVmsa(image, 'efer') & EFER_SVME) !== 0n };
  }

  #pageText(a: number): string {
    return `${this.entryText(a)} ${this.word(a)}`;
  }

  key(): string {
    const pages = this.gpas.map((gpa, a) => {
      const isValidated = this.#state.validated.has(gpa);
      const isFree = a >= FREE;
      let text = this.entryText(a) + (isValidated ? 'r' : '') + (this.mapped(a) === -1 ? '-' : '');
      if (this.#deposited.has(a)) text += 'd';
      if (!isFree) return text;
      text += `${this.#given.has(a) ? 'g' : ''}:${this.word(a).toString(16)}`;
      if (this.#options.calls.includes('vcpus')) {
        const { vmpl, isEnabled } = this.#vmsaOf(a);
        text += `/${vmpl}${isEnabled ? 'e' : ''}`;
      }
      return text;
    });
    const areas = this.#callers.map(({ vcpu }) => this.#svsm.callingArea(vcpu));
    const made = this.#state.vcpus.map(({ vmsa, caa, vmpl }) => `${vmsa}+${caa}@${vmpl}`);
    const ran = [...this.#ran].sort(([a], [b]) => a - b);
    const runs = ran.map(([a, vcpu]) => {
      return `${a}+${this.#svsm.callingArea(vcpu)}@${vcpu.vmpl}${vcpu === this.#running ? '!' : ''}`;
    });
    return `${pages.join()};${areas.join()};${made.join()};${runs.join()}`;
  }

  canonical(): string {
    return this.key();
  }
}

/** A VMSA of each level, with its level in the first word, which is a selector that the model does not use. */
const IMAGES: readonly Uint8Array[] = [0, 1, 2].map((vmpl) => {
  const image = createVmsa({ vmpl });
  image.set(bytesOfWord(0x10 + vmpl));
  return image;
});
