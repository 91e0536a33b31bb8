/**
 * Sequences of changes, invalidations and reads, as emulated processors executed them: see `fixtures/README.md`. The `Tlb`
 * holds what it may hold. Every read must give what the tables say, or a stale result that the sequence allows at that place.
 */
import { type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { pagingConfig } from '../../src/entry/paging-config.ts';
import { PteFlags } from '../../src/entry/pte-flags.ts';
import { createPhysMemory } from '../../src/memory/create-phys-memory.ts';
import { PageTable } from '../../src/table/page-table.ts';
import { Tlb } from '../../src/walk/tlb.ts';
import { invpcid } from '../../src/walk/tlb-instructions.ts';
import { fixturesOf, fixtureText } from '../support/fixtures.ts';
import { FramePool } from '../support/frame-pool.ts';

type Operation =
  | { readonly op: 'init'; readonly pcide: 0 | 1; readonly pge: 0 | 1 }
  | {
      readonly op: 'pte';
      readonly space: number;
      readonly la: string;
      readonly size: '4K' | '2M';
      readonly pa: string | null;
      readonly g: 0 | 1;
    }
  | { readonly op: 'read'; readonly la: string; readonly fresh: string; readonly stale: readonly string[] }
  | { readonly op: 'cr3'; readonly space: number; readonly pcid: number; readonly keep: 0 | 1 }
  | { readonly op: 'invlpg'; readonly la: string }
  | { readonly op: 'pge' | 'smep'; readonly on: 0 | 1 }
  | {
      readonly op: 'invpcid';
      readonly type: number;
      readonly pcid: number | string;
      readonly la: string;
      readonly out: 'ok' | 'gp';
    };

interface Sequence {
  readonly id: string;
  readonly ops: readonly Operation[];
}

/** Three address spaces in one memory, and the TLB of the one processor that uses them. */
class Machine {
  readonly #memory = createPhysMemory({ size: 0x20_0000 });
  readonly #frames = new FramePool(0, 500);
  readonly #config = pagingConfig();
  readonly #tables = [0, 1, 2].map(() =>
    PageTable.create({ memory: this.#memory, frames: this.#frames, config: this.#config }),
  );
  #tlb = new Tlb();
  #pcide = false;
  #current = 0;
  stale = 0;

  /** Performs one operation. Returns what is wrong with its result, if something is. */
  perform(operation: Operation): string | undefined {
    switch (operation.op) {
      case 'init':
        this.#pcide = operation.pcide === 1;
        this.#tlb = new Tlb({ pcids: this.#pcide, globalPages: operation.pge === 1, smep: false });
        this.#current = 0;
        return undefined;
      case 'pte':
        this.#change(operation);
        return undefined;
      case 'read':
        return this.#read(operation);
      case 'cr3':
        this.#current = operation.space;
        if (this.#pcide) this.#tlb.loadCr3({ pcid: operation.pcid, keep: operation.keep === 1 });
        else this.#tlb.loadCr3();
        return undefined;
      case 'invlpg':
        this.#tlb.flushPage(BigInt(operation.la) as VirtAddr);
        return undefined;
      case 'pge':
        this.#tlb.setGlobalPages(operation.on === 1);
        return undefined;
      case 'smep':
        this.#tlb.setSmep(operation.on === 1);
        return undefined;
      default: {
        const { type, la, out } = operation;
        const pcid = Number(operation.pcid);
        const result = invpcid(this.#tlb, type, { pcid, vaddr: BigInt(la) as VirtAddr });
        const found = result.type === 'done' ? 'ok' : 'gp';
        return found === out ? undefined : `INVPCID ${type} gives ${found}, not ${out}`;
      }
    }
  }

  /** Writes an entry, as software does: no flush. */
  #change({ space, la, size, pa, g }: Operation & { op: 'pte' }): void {
    const table = this.#tables[space]!;
    const vaddr = BigInt(la) as VirtAddr;
    const isHuge = size === '2M';
    if (table.lookup(vaddr) !== undefined) {
      if (isHuge) table.unmap2m(vaddr);
      else table.unmap4k(vaddr);
    }
    if (pa === null) return;
    const flags = PteFlags.Writable | (g === 1 ? PteFlags.Global : 0);
    if (isHuge) table.map2m(vaddr, physAddr(BigInt(pa)), flags);
    else table.map4k(vaddr, physAddr(BigInt(pa)), flags);
  }

  #read({ la, fresh, stale }: Operation & { op: 'read' }): string | undefined {
    const vaddr = BigInt(la) as VirtAddr;
    let page = this.#tlb.lookup(vaddr)?.page;
    if (page === undefined) {
      page = this.#tables[this.#current]!.lookup(vaddr);
      if (page !== undefined) this.#tlb.insert(vaddr, page);
    }
    const paddr = page && ((page.frame + (vaddr & BigInt(page.size - 1))) as PhysAddr);
    const found = paddr === undefined ? 'pf' : `0x${paddr.toString(16)}`;
    if (found === fresh) return undefined;
    this.stale += 1;
    return stale.includes(found) ? undefined : `${la} gives ${found}, not ${[fresh, ...stale].join(' or ')}`;
  }
}

/** How many sequences the files in `fixtures/` have, and in how many reads this TLB gives a stale result that is allowed. */
const COUNTS: Record<string, [sequences: number, stale: number]> = {
  'tlb-dev': [700, 597],
  'tlb-nopcid-dev': [200, 118],
};

const FILES = fixturesOf('.jsonl.gz').filter((name) => name.startsWith('tlb-'));

describe.each(FILES)('%s', (name) => {
  const sequences = fixtureText(`${name}.jsonl.gz`)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Sequence);

  test(`all ${sequences.length} sequences: each read is fresh, or stale as allowed`, () => {
    const wrong: unknown[] = [];
    let stale = 0;
    for (const { id, ops } of sequences) {
      const machine = new Machine();
      for (const [index, operation] of ops.entries()) {
        const problem = machine.perform(operation);
        if (problem !== undefined) wrong.push({ id, index, problem });
      }
      stale += machine.stale;
    }
    expect(wrong.slice(0, 5)).toEqual([]);
    expect([sequences.length, stale]).toEqual(COUNTS[name] ?? [sequences.length, stale]);
  });
});
