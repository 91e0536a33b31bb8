import { PAGE_SIZE, PAGE_SIZE_2M, type PhysAddr, pageNumber, physAddr, type VirtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { isPageTableError } from '@svsm/pagetable';
import { Vcpu } from '../../src/cpu/vcpu.ts';
import type { VcpuOptions } from '../../src/cpu/vcpu-options.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import type { Guest } from '../../src/guest/guest.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import type { LaunchMemory } from '../../src/host/launch-options.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { type MemoryKey, NO_KEY } from '../../src/memory/encrypted-memory.ts';
import { isSnpFault } from '../../src/rmp/snp-fault.ts';
import type { Explorable, Interruption, Operation } from './explore.ts';

/** The virtual top of memory: the second address of a page, at which it is shared, lies this far above the first. */
export const TOM = PAGE_SIZE_2M;

/** Of each contested frame: its RMP entry, the first word of its DRAM; of each contested address: its frame, or -1. */
export interface TinyState {
  readonly entries: readonly RmpEntry[];
  readonly dram: readonly number[];
  readonly mapped: readonly number[];
}

/** A processor without paging that reports each of its instructions before it executes it. */
export class StoppableVcpu extends Vcpu {
  readonly #point: () => void;

  constructor(guest: Guest, options: VcpuOptions, point: () => void) {
    super(guest, { registers: { cr0: 0x11n, cr3: 0n, cr4: 0n, efer: 0n }, csL: false, ...options });
    this.#point = point;
  }

  /** RMPADJUST exists only in 64-bit mode, and a processor without paging is not in that mode. */
  override get is64Bit(): boolean {
    return true;
  }

  override read(...operands: Parameters<Vcpu['read']>): Uint8Array {
    this.#point();
    return super.read(...operands);
  }

  override write(...operands: Parameters<Vcpu['write']>): void {
    this.#point();
    super.write(...operands);
  }

  override clear(...operands: Parameters<Vcpu['clear']>): void {
    this.#point();
    super.clear(...operands);
  }

  override compareExchange(...operands: Parameters<Vcpu['compareExchange']>): bigint {
    this.#point();
    return super.compareExchange(...operands);
  }

  override pvalidate(...operands: Parameters<Vcpu['pvalidate']>): ReturnType<Vcpu['pvalidate']> {
    this.#point();
    return super.pvalidate(...operands);
  }

  override rmpadjust(...operands: Parameters<Vcpu['rmpadjust']>): ReturnType<Vcpu['rmpadjust']> {
    this.#point();
    return super.rmpadjust(...operands);
  }

  override vmgexit(): void {
    this.#point();
    super.vmgexit();
  }
}

export interface TinyOptions {
  /** The number of contested addresses. Each has a frame. */
  readonly addresses: number;
  /** The number of contested frames that belong to the host at first. */
  readonly spares: number;
  /** The number of the guest's other pages, from address 0 on: 1 if not given. */
  readonly others?: number;
  /** Whether the last contested frame is the page of another guest at the first contested address. `false` if not given. */
  readonly foreign?: boolean;
  /**
   * The number of contested addresses without a frame, which the launch leaves unaccepted: 0 if not given. A hole of one page
   * comes before them, and is contested too.
   */
  readonly unaccepted?: number;
}

/**
 * A machine with a few contested pages, whose state can be saved and restored. Its guest has no page tables: without
 * paging, an address is guest-physical, and the virtual top of memory tells private from shared. So a page of the guest
 * is one frame, and nothing else changes.
 *
 * The content of a frame is its first word.
 */
export abstract class TinyMachine<State extends TinyState> implements Explorable<State> {
  abstract readonly operations: readonly Operation[];
  readonly tally: Record<string, number> = {};
  readonly machine: SnpMachine;
  readonly host: HostileHypervisor;
  readonly guest: Guest;
  /**
   * The contested addresses: the last pages of the guest, with the hole of its memory, if it has one. Those before them never
   * change.
   */
  readonly gpas: readonly PhysAddr[];
  /** The contested frames: those of the contested addresses, then free ones. */
  readonly frames: readonly SysPhysAddr[];
  /** The contested frames, and the first one of their region, whose entry counts them. */
  readonly #watched: readonly SysPhysAddr[];
  readonly #entries: (RmpEntry | undefined)[] = [];
  readonly #texts: string[] = [];
  readonly #keys: MemoryKey[];
  readonly #dram: (number | undefined)[] = [];
  readonly #mapped: number[];
  /** The first word of the keystream of each key, by frame. */
  readonly #streams: Map<number, number> = new Map();
  #points = 0;
  #interruptions: readonly Interruption[] = [];

  constructor({ addresses, spares, others = 1, foreign = false, unaccepted = 0 }: TinyOptions) {
    const memorySize = 2 * PAGE_SIZE_2M;
    this.machine = new SnpMachine({ memorySize, hypervisor: (it) => new HostileHypervisor(it) });
    this.host = this.machine.hypervisor as HostileHypervisor;
    const size = (others + addresses) * PAGE_SIZE;
    const memory = memoryMap(size, unaccepted * PAGE_SIZE);
    this.guest = this.host.launch({ memory, pageSize: PAGE_SIZE, virtualTom: BigInt(TOM) });
    const contested = unaccepted === 0 ? addresses : addresses + 1 + unaccepted;
    this.gpas = Array.from({ length: contested }, (_, k) => physAddr((k + others) * PAGE_SIZE));
    const free = Array.from({ length: spares }, () => this.host.allocatePage());
    const backed = this.gpas.slice(0, addresses);
    this.frames = [...backed.map((gpa) => this.guest.nested.lookup(gpa)?.spa as SysPhysAddr), ...free];
    this.#keys = this.frames.map((_, f) => (f < addresses ? this.guest.key : NO_KEY));
    if (foreign) {
      const { key, nested } = this.host.launch({ size, pageSize: PAGE_SIZE });
      this.frames = [...this.frames, nested.lookup(this.gpas[0]!)?.spa as SysPhysAddr];
      this.#keys.push(key);
    }
    this.#watched = [...this.frames, (this.frames[0]! & -BigInt(PAGE_SIZE_2M)) as SysPhysAddr];
    this.#mapped = this.gpas.map((_, a) => (a < addresses ? a : -1));
    this.#watch();
    this.host.answers = { beforeResume: () => void this.point() };
    this.host.answers.beforeSharedRead = () => void this.point();
    // The guest tries again if the host has done something about the fault.
    this.host.answers.fault = () => (this.point() ? true : undefined);
  }

  /** A processor of the guest, which can be stopped before each instruction. */
  createVcpu(options: VcpuOptions = {}): StoppableVcpu {
    return new StoppableVcpu(this.guest, options, () => this.point());
  }

  /** Counts a thing that has happened. An exploration proves nothing about a thing that never happens in it. */
  protected note(what: string): void {
    this.tally[what] = (this.tally[what] ?? 0) + 1;
  }

  /** A point at which the processor can stop, and another actor can act. Returns whether one did. */
  point(): boolean {
    this.#points += 1;
    const at = this.#points;
    let hasActed = false;
    for (const interruption of this.#interruptions) {
      if (interruption.at !== at) continue;
      hasActed = true;
      this.#interruptions = this.#interruptions.filter((it) => it !== interruption);
      // What happens inside has no points.
      const held = this.#interruptions;
      this.#interruptions = [];
      interruption.operation.run();
      this.#interruptions = held;
      this.#points = at;
    }
    return hasActed;
  }

  /** Whether another operation happens inside the present one. */
  protected isInterrupted = false;

  run(operation: Operation, interruptions: readonly Interruption[]): number {
    this.#points = 0;
    this.#interruptions = interruptions;
    this.isInterrupted = interruptions.length > 0;
    operation.run();
    this.#interruptions = [];
    return this.#points;
  }

  abstract key(): string;
  abstract canonical(): string;
  abstract save(): State;
  abstract restore(state: State): void;
  problem(): string | undefined {
    return undefined;
  }

  /** The RMP entry of a frame. */
  entry(f: number): RmpEntry {
    this.#entries[f] ??= this.machine.rmp.rawEntry(this.#watched[f]!) as RmpEntry;
    return this.#entries[f];
  }

  /** The RMP entry of a frame as a text. */
  entryText(f: number): string {
    const held = this.#texts[f];
    if (held !== undefined) return held;
    const { assigned, asid, gpa, validated, immutable, lock, vmsa, vmplMasks } = this.entry(f);
    const flags = `${validated ? 'v' : ''}${immutable ? 'i' : ''}${lock ? 'l' : ''}${vmsa ? 's' : ''}`;
    const masks = vmplMasks.slice(1).join('');
    const text = assigned ? `${asid}@${pageNumber(gpa)}${flags}${masks}` : `h${flags}`;
    this.#texts[f] = text;
    return text;
  }

  /** The first word of a frame as a key reads it. */
  word(f: number, key: MemoryKey = this.guest.key): number {
    return (this.#dramOf(f) ^ this.#stream(f, key)) >>> 0;
  }

  /** The frame that an address is mapped to, or -1. */
  mapped(a: number): number {
    return this.#mapped[a]!;
  }

  /** Maps an address to a frame; to none for -1. */
  map(a: number, f: number): void {
    if (this.#mapped[a] === f) return;
    const gpa = this.gpas[a]!;
    const { nested } = this.guest;
    if (this.#mapped[a] !== -1) nested.unmap(gpa);
    if (f !== -1) nested.map(gpa, this.frames[f]!, PAGE_SIZE);
    else this.#mapped[a] = -1;
  }

  protected savePlatform(): TinyState {
    return {
      entries: this.#watched.map((_, f) => this.entry(f)),
      dram: this.frames.map((_, f) => this.#dramOf(f)),
      mapped: [...this.#mapped],
    };
  }

  /** Clears the contested frames of the guest, as after its launch: not only the first words. */
  protected clearFrames(): void {
    const { memory } = this.machine;
    const zeros = new Uint8Array(PAGE_SIZE);
    for (const a of this.gpas.keys()) memory.write(this.frames[a]!, zeros, this.guest.key);
  }

  protected restorePlatform({ entries, dram, mapped }: TinyState): void {
    const { rmp, memory } = this.machine;
    for (const [f, entry] of entries.entries()) {
      if (this.entry(f) !== entry) rmp.setRawEntry(this.#watched[f]!, entry);
    }
    for (const [f, word] of dram.entries()) {
      if (this.#dramOf(f) === word) continue;
      const key = this.#keys[f]!;
      memory.write(this.frames[f]!, bytesOfWord(word ^ this.#stream(f, key)), key);
    }
    for (const [a, f] of mapped.entries()) this.map(a, f);
  }

  #dramOf(f: number): number {
    const held = this.#dram[f];
    if (held !== undefined) return held;
    const key = this.#keys[f]!;
    const dram = (this.#firstWord(f, key) ^ this.#stream(f, key)) >>> 0;
    this.#dram[f] = dram;
    return dram;
  }

  #firstWord(f: number, key: MemoryKey): number {
    return wordOfBytes(this.machine.memory.read(this.frames[f]!, 4, key));
  }

  #stream(f: number, key: MemoryKey): number {
    if (key === NO_KEY) return 0;
    const place = key * this.frames.length + f;
    const held = this.#streams.get(place);
    if (held !== undefined) return held;
    const stream = (this.#firstWord(f, key) ^ this.#firstWord(f, NO_KEY)) >>> 0;
    this.#streams.set(place, stream);
    return stream;
  }

  /** Notes what changes. */
  #watch(): void {
    const { nested } = this.guest;
    const map = nested.map.bind(nested);
    nested.map = (gpa, spa, ...rest) => {
      map(gpa, spa, ...rest);
      const a = this.gpas.indexOf(gpa);
      if (a !== -1) this.#mapped[a] = this.frames.indexOf(spa);
    };
    const { rmp, memory } = this.machine;
    const indexes = new Map(this.#watched.map((spa, f) => [pageNumber(spa), f]));
    const forget = (page: number): void => {
      const f = indexes.get(page);
      if (f === undefined) return;
      this.#entries[f] = undefined;
      delete this.#texts[f];
    };
    const setRawEntry = rmp.setRawEntry.bind(rmp);
    rmp.setRawEntry = (spa, entry) => {
      forget(pageNumber(spa));
      setRawEntry(spa, entry);
    };
    const writeWords = rmp.writeWords.bind(rmp);
    rmp.writeWords = (page, entry) => {
      forget(page);
      writeWords(page, entry);
    };
    const note = (frame: number, key: MemoryKey): void => {
      const f = indexes.get(frame);
      if (f === undefined || f >= this.frames.length) return;
      this.#dram[f] = undefined;
      this.#keys[f] = key;
    };
    const write = memory.write.bind(memory);
    memory.write = (spa, bytes, key) => {
      note(pageNumber(spa), key);
      write(spa, bytes, key);
    };
    const writeFrame = memory.writeFrame.bind(memory);
    memory.writeFrame = (frame, offset, bytes, key) => {
      note(frame, key);
      writeFrame(frame, offset, bytes, key);
    };
    const clear = memory.clear.bind(memory);
    memory.clear = (frame, key, count = 1) => {
      for (let k = frame; k < frame + count; k += 1) note(k, key);
      clear(frame, key, count);
    };
    const words = memory.words.bind(memory);
    memory.words = (frame, key, write) => {
      if (write) note(frame, key);
      return words(frame, key, write);
    };
    const rekey = memory.rekey.bind(memory);
    memory.rekey = (frame, from, key, count = 1) => {
      rekey(frame, from, key, count);
      for (let k = frame; k < frame + count; k += 1) note(k, key);
    };
  }
}

/** A memory map: validated memory from address 0 on, and, if there is unaccepted memory, a hole of one page before it. */
function memoryMap(validated: number, unaccepted: number): LaunchMemory[] {
  const map = [{ region: physRegion(physAddr(0), validated), validated: true }];
  if (unaccepted === 0) return map;
  return [...map, { region: physRegion(physAddr(validated + PAGE_SIZE), unaccepted), validated: false }];
}

/** The virtual address of a guest-physical one, without paging: the same. */
export function gvaOf(gpa: bigint): VirtAddr {
  return gpa as VirtAddr;
}

/** The error that stops `action`: a fault, or a refusal. `undefined` without one. */
export function refusalOf(action: () => void): { readonly code: string } | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (isSnpFault(error) || isSnpError(error) || isPageTableError(error)) return error;
    throw error;
  }
}

/** A word of 32 bits as bytes, and back. */
export function bytesOfWord(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

export function wordOfBytes(bytes: Uint8Array): number {
  return new Uint32Array(bytes.slice(0, 4).buffer)[0]!;
}

/** All ways to order the numbers below `count`. */
export function ordersOf(count: number): number[][] {
  if (count === 0) return [[]];
  const last = count - 1;
  return ordersOf(last).flatMap((order) =>
    Array.from({ length: count }, (_, at) => [...order.slice(0, at), last, ...order.slice(at)]),
  );
}
