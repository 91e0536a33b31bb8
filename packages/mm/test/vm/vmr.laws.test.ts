/** Random programs on a `Vmr`, on two processors with TLBs, beside a model that is a list of mappings with bytes. */
import { PAGE_SIZE, type VirtAddr, virtAddr } from '@svsm/address';
import { type MemoryRegion, virtRegion } from '@svsm/memory-region';
import { type AccessKind, cpuState } from '@svsm/pagetable';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isMmError } from '../../src/formats/index.ts';
import {
  type FileLike,
  mappings,
  type PagedMapping,
  type VirtualMapping,
  type Vmr,
} from '../../src/vm/index.ts';
import { VmWorld } from '../support/vm-world.ts';

const PAGES = 24;
const BORDER = 2n ** 39n;
/** Pages on both sides of a border between two root entries. */
const WINDOW = virtRegion(virtAddr(BORDER - 12n * 4096n), PAGES * PAGE_SIZE);
const FILE = [100, 101, 102, 103];

const tally: Map<string, number> = new Map();
const count = (outcome: string): void => {
  tally.set(outcome, (tally.get(outcome) ?? 0) + 1);
};

/** A page of the model: its own byte, or that of a page of the file. */
type ModelPage = { byte: number } | { file: number };

interface Model {
  readonly mapping: PagedMapping | VirtualMapping;
  /** The pages, `undefined` for guards and reserved addresses. */
  readonly pages: (ModelPage | undefined)[];
  readonly writable: boolean;
  readonly executable: boolean;
  /** Whether a write to a page of the file goes to the file. */
  readonly isShared: boolean;
  /** The first page, while it is inserted. */
  at: number | undefined;
}

const kinds = ['allocated', 'lazy', 'readOnly', 'code', 'stack', 'reserved', 'file', 'privateFile'] as const;
const index = fc.nat(PAGES - 1);
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('make' as const),
      kind: fc.constantFrom(...kinds),
      size: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant('insert' as const),
      which: fc.nat(),
      place: fc.constantFrom('at', 'hint', 'first', 'aligned'),
      page: index,
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('remove' as const), page: index }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('clone' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('dispose' as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('toggle' as const), cpu: fc.nat(1) }) },
  {
    weight: 16,
    arbitrary: fc.record({
      op: fc.constant('access' as const),
      cpu: fc.nat(1),
      page: index,
      kind: fc.constantFrom<AccessKind>('read', 'read', 'write', 'write', 'fetch'),
      cpl: fc.constantFrom<0 | 3>(3, 3, 3, 0),
      value: fc.nat(90),
    }),
  },
  // Two processors fault at the same page before one of them is handled.
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('race' as const),
      page: index,
      kinds: fc.tuple(fc.boolean(), fc.boolean()),
      value: fc.nat(90),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

class Program {
  readonly world: VmWorld = new VmWorld(2);
  readonly vmr: Vmr = this.world.vmr(WINDOW);
  readonly file: FileLike & { readonly frames: readonly bigint[] } = this.world.file(FILE);
  readonly bytes: number[] = [...FILE];
  readonly models: Model[] = [];
  readonly attached: boolean[] = [false, false];
  readonly start: number = this.world.free;

  run(step: Step): void {
    switch (step.op) {
      case 'make':
        this.#make(step.kind, step.size);
        break;
      case 'insert':
        this.#insert(this.#pick(step.which), step.place, step.page);
        break;
      case 'remove':
        this.#remove(step.page);
        break;
      case 'clone':
        this.#clone(this.#pick(step.which));
        break;
      case 'dispose':
        this.#dispose(this.#pick(step.which));
        break;
      case 'toggle':
        this.#toggle(step.cpu);
        break;
      case 'access':
        this.#access(step.cpu, this.#aim(step.page), step.kind, step.cpl, step.value);
        break;
      default:
        this.#race(this.#aim(step.page), step.kinds, step.value);
    }
    expect(this.world.stale).toEqual([]);
  }

  /** Compares everything that is mapped, without a fault, with the model. */
  check(): void {
    const places = this.models.flatMap(({ at, pages, mapping }) =>
      at === undefined ? [] : [[address(at), BigInt(pages.length * PAGE_SIZE), mapping] as const],
    );
    places.sort(([a], [b]) => (a < b ? -1 : 1));
    expect(Array.from(this.vmr, ([{ start, size }, mapping]) => [start, size, mapping])).toEqual(places);
    for (const [k, cpu] of this.world.cpus.entries()) {
      for (let page = 0; page < PAGES; page += 1) {
        const model = this.#modelAt(page);
        const held = this.#pageOf(model, page);
        for (const kind of ['read', 'write', 'fetch'] as const) {
          const found = cpu.pageTable.access(address(page), kind, cpuState({ cpl: 3 }), { update: false });
          if (found.type !== 'translation') continue;
          // What is mapped is allowed, and its content is that of the model.
          expect(this.attached[k]).toBe(true);
          expect(isAllowed(model, held, kind)).toBe(true);
          expect(this.world.byte(found.paddr)).toBe(this.#byteOf(held!));
          expect(found.page.shadowStack).toBe(false);
        }
      }
    }
  }

  finish(): void {
    for (const model of this.models) {
      if (model.at !== undefined) this.#remove(model.at);
    }
    for (const model of [...this.models]) this.#dispose(model);
    this.vmr[Symbol.dispose]();
    expect(this.world.free).toBe(this.start);
    this.world.pages.checkInvariants();
    for (const { tlb } of this.world.cpus) expect(tlb.pending.map(String)).toEqual([]);
  }

  #pick(which: number): Model | undefined {
    return this.models[which % Math.max(this.models.length, 1)];
  }

  /** A page of a mapping, if there is one: most random pages are in none. Every fifth page stays as it is. */
  #aim(page: number): number {
    const mapped = Array.from({ length: PAGES }, (_, at) => at).filter(
      (at) => this.#pageOf(this.#modelAt(at), at) !== undefined,
    );
    return page % 5 === 4 ? page : (mapped[page % Math.max(mapped.length, 1)] ?? page);
  }

  #modelAt(page: number): Model | undefined {
    return this.models.find(({ at, pages }) => at !== undefined && page >= at && page < at + pages.length);
  }

  #pageOf(model: Model | undefined, page: number): ModelPage | undefined {
    return model?.at === undefined ? undefined : model.pages[page - model.at];
  }

  #byteOf(page: ModelPage): number {
    return 'byte' in page ? page.byte : this.bytes[page.file]!;
  }

  #make(kind: (typeof kinds)[number], size: number): void {
    const { store } = this.world;
    const bytes = size * PAGE_SIZE;
    const zeros = (): ModelPage[] => Array.from({ length: size }, () => ({ byte: 0 }));
    const filePages = (): ModelPage[] => Array.from({ length: size }, (_, file) => ({ file }));
    const made = { writable: true, executable: false, isShared: false, at: undefined };
    const options = { writable: true };
    if (kind === 'allocated')
      this.models.push({ ...made, mapping: mappings.allocated(store, bytes, options), pages: zeros() });
    else if (kind === 'lazy')
      this.models.push({
        ...made,
        mapping: mappings.allocated(store, bytes, { ...options, lazy: true }),
        pages: zeros(),
      });
    else if (kind === 'readOnly')
      this.models.push({
        ...made,
        writable: false,
        mapping: mappings.allocated(store, bytes, { lazy: true }),
        pages: zeros(),
      });
    else if (kind === 'code') {
      const mapping = mappings.file(store, this.file, 0, bytes, { executable: true, private: true });
      this.models.push({ ...made, writable: false, executable: true, mapping, pages: filePages() });
    } else if (kind === 'stack') {
      const mapping = mappings.kernelStack(store, { size: bytes });
      const guards = Array.from(
        { length: Number(mapping.size / 4096n - mapping.topOfStack / 4096n) },
        () => undefined,
      );
      this.models.push({ ...made, mapping, pages: [...guards, ...zeros(), ...guards] });
    } else if (kind === 'reserved')
      this.models.push({ ...made, mapping: mappings.reserved(bytes), pages: zeros().map(() => undefined) });
    else {
      const isShared = kind === 'file';
      const mapping = mappings.file(store, this.file, 0, bytes, { writable: true, private: !isShared });
      this.models.push({ ...made, isShared, mapping, pages: filePages() });
    }
  }

  #insert(model: Model | undefined, how: string, page: number): void {
    if (model === undefined) return;
    const { mapping, pages } = model;
    const isFree = (at: number): boolean =>
      at + pages.length <= PAGES && pages.every((_, i) => this.#modelAt(at + i) === undefined);
    const all = Array.from({ length: PAGES }, (_, at) => at).filter(isFree);
    // The window begins at 12 pages below a large power of two.
    const aligned = all.filter((at) => (at - 12) % 4 === 0);
    const options =
      how === 'at'
        ? { at: address(page) }
        : how === 'hint'
          ? { hint: address(page) }
          : how === 'aligned'
            ? { alignment: 4 * PAGE_SIZE }
            : {};
    const expected = {
      at: isFree(page) ? page : undefined,
      hint: all.find((at) => at >= page) ?? all[0],
      aligned: aligned[0],
      first: all[0],
    }[how];
    const outside = how === 'at' && page + pages.length > PAGES ? 'OUTSIDE_LAYOUT' : 'OVERLAPS_MAPPING';
    const refusal = how === 'at' ? outside : 'NO_VIRTUAL_RANGE';
    const code = model.at !== undefined ? 'MAPPING_IN_USE' : expected === undefined ? refusal : undefined;
    const found = outcome(() => this.vmr.insert(mapping, options));
    count(code === undefined ? 'insert' : 'refused');
    if (code !== undefined) expect(found).toBe(code);
    else {
      expect((found as MemoryRegion<VirtAddr>).start).toBe(address(expected!));
      model.at = expected;
    }
  }

  #remove(page: number): void {
    const model = this.#modelAt(page);
    const found = outcome(() => this.vmr.remove(address(page)));
    if (model?.at !== page) expect(found).toBe('NOT_A_MAPPING');
    else {
      count('removed');
      expect(found).toBe(model.mapping);
      model.at = undefined;
    }
  }

  #clone(model: Model | undefined): void {
    if (model === undefined || !('copyOnWrite' in model.mapping)) return;
    count('cloned');
    const mapping = model.mapping.copyOnWrite();
    const pages = model.pages.map((page) => (page === undefined ? undefined : { ...page }));
    this.models.push({ ...model, mapping, pages, isShared: false, at: undefined });
  }

  #dispose(model: Model | undefined): void {
    if (model === undefined || !('copyOnWrite' in model.mapping)) return;
    const { mapping } = model;
    const found = outcome(() => mapping[Symbol.dispose]());
    if (model.at !== undefined) expect(found).toBe('MAPPING_IN_USE');
    else this.models.splice(this.models.indexOf(model), 1);
  }

  #toggle(cpu: number): void {
    const target = this.world.cpus[cpu]!;
    if (this.attached[cpu]) this.vmr.detach(target);
    else this.vmr.attach(target);
    this.attached[cpu] = !this.attached[cpu];
  }

  #access(cpu: number, page: number, kind: AccessKind, cpl: 0 | 3, value: number): void {
    if (!this.attached[cpu]) return;
    const model = this.#modelAt(page);
    const held = this.#pageOf(model, page);
    const isUserFetch = kind !== 'fetch' || cpl === 3;
    this.world.arm(-1);
    const found = this.world.cpus[cpu]!.access(this.vmr, address(page), kind, cpl);
    if (this.world.steps.includes('copy')) count('copied');
    if (!isAllowed(model, held, kind) || !isUserFetch) {
      count('denied');
      expect(typeof found).toBe('number');
      return;
    }
    expect(typeof found).toBe('bigint');
    this.#use(found as never, model!, page, kind, value);
  }

  /** Reads or writes through a translation, in memory and in the model. */
  #use(paddr: never, model: Model, page: number, kind: AccessKind, value: number): void {
    const held = this.#pageOf(model, page)!;
    expect(this.world.byte(paddr)).toBe(this.#byteOf(held));
    if (kind !== 'write') return;
    count('written');
    this.world.setByte(paddr, value);
    if ('file' in held && model.isShared) this.bytes[held.file] = value;
    else model.pages[page - model.at!] = { byte: value };
  }

  #race(page: number, isWrite: readonly boolean[], value: number): void {
    if (!this.attached[0] || !this.attached[1]) return;
    const state = cpuState({ cpl: 3 });
    const kindOf = (k: number): AccessKind => (isWrite[k] ? 'write' : 'read');
    const first = this.world.cpus.map((cpu, k) => cpu.try(address(page), kindOf(k), state));
    const model = this.#modelAt(page);
    const held = this.#pageOf(model, page);
    for (const [k, answer] of first.entries()) {
      if (typeof answer !== 'number') continue;
      const free = this.world.free;
      this.world.arm(-1);
      expect(this.vmr.handlePageFault(address(page), answer, state)).toBe(isAllowed(model, held, kindOf(k)));
      if (this.world.steps.includes('copy')) count('copied');
      if (k === 1 && this.world.steps.length === 0 && this.world.free === free) count('spurious');
    }
    for (const k of [0, 1]) this.#access(k, page, kindOf(k), 3, value + k);
  }
}

function address(page: number): VirtAddr {
  return virtAddr(WINDOW.start + BigInt(page * PAGE_SIZE));
}

function isAllowed(model: Model | undefined, page: ModelPage | undefined, kind: AccessKind): boolean {
  if (model === undefined || page === undefined) return false;
  return kind === 'read' || (kind === 'write' ? model.writable : model.executable);
}

function outcome<T>(action: () => T): T | string {
  try {
    return action();
  } catch (error) {
    if (isMmError(error)) return error.code;
    throw error;
  }
}

test('a Vmr behaves as a list of mappings, and loses no page', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }), (steps) => {
      const program = new Program();
      // Nearly everything needs a processor and a mapping.
      program.run({ op: 'toggle', cpu: 0 });
      program.run({ op: 'toggle', cpu: 1 });
      for (const [i, step] of steps.entries()) {
        program.run(step);
        if (i % 8 === 0) program.check();
      }
      program.check();
      program.finish();
    }),
  );
});

// Without these, the law would say little.
test('the programs of the law reach every outcome', () => {
  const { world } = new Program();
  expect(world.stale).toEqual([]);
  for (const outcome of ['insert', 'refused', 'removed', 'cloned', 'denied', 'written', 'spurious', 'copied'])
    expect(tally.get(outcome) ?? 0, outcome).toBeGreaterThan(20);
});
