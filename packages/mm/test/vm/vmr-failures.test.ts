/** Each step of each operation fails in turn: frames of tables, pages, their content, references, and flushes. */
import { PAGE_SIZE, type VirtAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { PageTablePart } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import { isMmError } from '../../src/formats/index.ts';
import { mappings, type PagedMapping, type Vmr } from '../../src/vm/index.ts';
import { Injected, VmWorld } from '../support/vm-world.ts';

const BORDER = 2n ** 39n;
const START = virtAddr(BORDER - 2n * 4096n);
const WINDOW = virtRegion(START, 16 * PAGE_SIZE);
const PAGES = [...WINDOW.iterPages(PAGE_SIZE)];

/** A world with two processors, which have the region. */
class Scene {
  readonly world: VmWorld = new VmWorld(2);
  readonly vmr: Vmr = this.world.vmr(WINDOW);
  readonly file = this.world.file([1, 2, 3, 4]);
  /** The mappings that the operation makes, so that it can be released. */
  readonly made: PagedMapping[] = [];

  constructor() {
    for (const cpu of this.world.cpus) this.vmr.attach(cpu);
  }

  /** Inserts a mapping, writes or reads its pages on both processors, and so fills their TLBs. */
  insert(mapping: PagedMapping, kind: 'read' | 'write' | 'none'): VirtAddr {
    const { start, size } = this.vmr.insert(mapping, { at: this.next });
    for (let at: bigint = start; at < start + size && kind !== 'none'; at += 4096n) {
      const paddr = this.world.cpus[0]!.access(this.vmr, virtAddr(at), kind);
      if (kind === 'write') this.world.setByte(paddr as never, Number(at / 4096n) & 0x7f);
      this.world.cpus[1]!.access(this.vmr, virtAddr(at), 'read');
    }
    return start;
  }

  get next(): VirtAddr {
    const last = [...this.vmr].at(-1);
    return last === undefined ? START : virtAddr(last[0].end);
  }

  allocated(pages: number, lazy: boolean): PagedMapping {
    return mappings.allocated(this.world.store, pages * PAGE_SIZE, { writable: true, lazy });
  }

  /** The mappings, and what every page of every table has, but for the numbers of frames. */
  get tables(): unknown {
    return {
      mappings: Array.from(this.vmr, ([place, { size }]) => [String(place), size]),
      pages: this.world.cpus.map(({ pageTable }) =>
        Array.from(pageTable.leaves(), ({ vaddr, frame, flags }) => [vaddr, flags, this.world.byte(frame)]),
      ),
    };
  }

  /** Nothing that a TLB reaches is free. */
  checkReachable(): void {
    const states = Array.from(
      this.world.reachable(PAGES),
      (frame) => this.world.pages.blockOf(frame as never)?.state,
    );
    expect(new Set([...states, 'allocated'])).toEqual(new Set(['allocated']));
  }

  /** Everything is given back in the end. */
  finish(total: number): void {
    const inserted = Array.from(this.vmr, ([, mapping]) => mapping as PagedMapping);
    this.vmr[Symbol.dispose]();
    for (const mapping of new Set([...inserted, ...this.made])) mapping[Symbol.dispose]?.();
    this.file.close();
    expect(this.world.free).toBe(total);
    expect(this.world.stale).toEqual([]);
    for (const { tlb } of this.world.cpus) expect(tlb.pending.map(String)).toEqual([]);
    this.world.pages.checkInvariants();
  }
}

interface Case {
  readonly name: string;
  /** Returns the operation, whose steps fail. */
  readonly prepare: (scene: Scene) => () => unknown;
  /** The kinds of the steps that the operation has to have. */
  readonly steps: readonly string[];
  /** The operation has happened even if its flush fails. */
  readonly isDoneDespiteFlush?: true;
}

const CASES: readonly Case[] = [
  {
    name: 'insert across root entries',
    prepare: (scene) => {
      const mapping = scene.allocated(4, false);
      scene.made.push(mapping);
      return () => scene.vmr.insert(mapping, { at: START });
    },
    steps: ['frame', 'reference'],
  },
  {
    name: 'insert beside a mapping',
    prepare: (scene) => {
      scene.insert(scene.allocated(3, false), 'write');
      const mapping = scene.allocated(4, false);
      scene.made.push(mapping);
      return () => scene.vmr.insert(mapping, { at: scene.next });
    },
    steps: ['reference'],
  },
  {
    name: 'remove',
    prepare: (scene) => {
      const mapping = scene.allocated(4, false);
      scene.made.push(mapping);
      const at = scene.insert(mapping, 'write');
      return () => scene.vmr.remove(at);
    },
    steps: ['flush', 'flush'],
  },
  {
    name: 'a fault at a page that is not there',
    prepare: (scene) => {
      const at = scene.insert(scene.allocated(4, true), 'none');
      return () => scene.world.cpus[0]!.access(scene.vmr, at, 'write');
    },
    steps: ['clear', 'frame'],
  },
  {
    name: 'a fault at a page of a file',
    prepare: (scene) => {
      const mapping = mappings.file(scene.world.store, scene.file, 0, 4 * PAGE_SIZE, { writable: true });
      const at = scene.insert(mapping, 'none');
      return () => scene.world.cpus[1]!.access(scene.vmr, at, 'read');
    },
    steps: ['reference', 'frame'],
  },
  {
    name: 'a write to a private page of a file, not read before',
    prepare: (scene) => {
      const options = { writable: true, private: true };
      const at = scene.insert(mappings.file(scene.world.store, scene.file, 0, PAGE_SIZE, options), 'none');
      return () => scene.world.cpus[1]!.access(scene.vmr, at, 'write');
    },
    steps: ['copy', 'frame'],
  },
  {
    name: 'a write to a private page of a file, read before',
    prepare: (scene) => {
      const options = { writable: true, private: true };
      const at = scene.insert(mappings.file(scene.world.store, scene.file, 0, PAGE_SIZE, options), 'read');
      return () => scene.world.cpus[1]!.access(scene.vmr, at, 'write');
    },
    steps: ['reference', 'copy', 'flush', 'flush'],
    isDoneDespiteFlush: true,
  },
  {
    name: 'a write that copies a page',
    prepare: (scene) => {
      const parent = scene.allocated(2, false);
      const at = scene.insert(parent, 'write');
      scene.insert(parent.copyOnWrite(), 'read');
      return () => scene.world.cpus[0]!.access(scene.vmr, at, 'write');
    },
    steps: ['copy', 'flush', 'flush'],
    isDoneDespiteFlush: true,
  },
  {
    name: 'copyOnWrite',
    prepare: (scene) => {
      const parent = scene.allocated(3, false);
      scene.insert(parent, 'write');
      return () => scene.made.push(parent.copyOnWrite());
    },
    steps: ['flush', 'flush', 'reference'],
    isDoneDespiteFlush: true,
  },
  {
    name: 'mappings.allocated',
    prepare: (scene) => () => scene.made.push(scene.allocated(4, false)),
    steps: ['clear', 'clear', 'clear', 'clear'],
  },
  {
    name: 'mappings.kernelStack',
    prepare: (scene) => () =>
      scene.made.push(mappings.kernelStack(scene.world.store, { size: 2 * PAGE_SIZE })),
    steps: ['clear', 'clear'],
  },
  {
    name: 'detach',
    prepare: (scene) => {
      scene.insert(scene.allocated(4, false), 'write');
      return () => scene.vmr.detach(scene.world.cpus[1]!);
    },
    steps: ['flush'],
    isDoneDespiteFlush: true,
  },
];

function total(): number {
  const world = new VmWorld(2);
  return world.free;
}

describe.each(CASES)('$name', ({ prepare, steps, isDoneDespiteFlush }) => {
  const whole = new Scene();
  const run = prepare(whole);
  whole.world.arm(-1);
  run();
  const counted = [...whole.world.steps];
  const after = whole.tables;

  test('has the steps that fail below', () => {
    for (const kind of steps) expect(counted).toContain(kind);
    whole.finish(total());
  });

  test.each(counted.map((kind, failAt) => [failAt, kind] as const))(
    'at step %i, %s, fails without a trace, and works the next time',
    (failAt, kind) => {
      const scene = new Scene();
      const operation = prepare(scene);
      const before = scene.tables;
      const free = scene.world.free;
      scene.world.arm(failAt);
      const error = errorOf(operation);
      expect(scene.world.steps.at(failAt)).toBe(kind);
      scene.world.arm(-1);
      const cause = error instanceof Injected ? error : (error as Error).cause;
      expect(cause).toBeInstanceOf(Injected);
      scene.checkReachable();
      if (kind === 'flush') expect(isMmError(error, 'FLUSH_FAILED')).toBe(true);
      const isChanged = kind === 'flush' && isDoneDespiteFlush === true;
      if (!isChanged) {
        expect(scene.tables).toEqual(before);
        expect(scene.world.free).toBe(free);
      }
      if (isMmError(error, 'FLUSH_FAILED') && isDetached(scene)) scene.vmr.attach(scene.world.cpus[1]!);
      operation();
      expect(scene.tables).toEqual(after);
      scene.checkReachable();
      scene.finish(total());
    },
  );
});

/** Whether the second processor has lost the region, although its flush has failed. */
function isDetached({ world, vmr }: Scene): boolean {
  const [first] = vmr;
  return first !== undefined && world.cpus[1]!.pageTable.translate(first[0].start) === undefined;
}

function errorOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('it has not failed');
}

describe('a page table that has no room', () => {
  test('keeps insert from leaving anything, and attach', () => {
    const scene = new Scene();
    const { world, vmr } = scene;
    const other = PageTablePart.create(1, world.tables);
    other.attach(world.cpus[1]!.pageTable);
    const free = world.free;
    const mapping = scene.allocated(4, false);
    const before = scene.tables;
    expect(() => vmr.insert(mapping, { at: START })).toThrow('ALREADY_MAPPED');
    expect(scene.tables).toEqual(before);
    expect(world.free).toBe(free - 4);
    // The other root entry has room.
    expect(vmr.insert(scene.allocated(2, false)).start).toBe(START);
  });
});
