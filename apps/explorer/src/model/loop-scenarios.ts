import { PAGE_SIZE, PageSize, type VirtAddr, virtAddr } from '@svsm/address';
import { getOrder } from '@svsm/buddy-alloc';
import type { PageTable } from '@svsm/pagetable';
import { makePageShared, PageOperation, requestPageState } from '@svsm/sev-snp';
import { sourceOf } from './source.ts';
import type { StepNote } from './step.ts';
import type { Recorder, Scenario } from './timeline.ts';
import { type SvsmWorld, svsmWorld } from './worlds.ts';

const TEXT = new TextEncoder();

const CLEARED = {
  title: 'C-bit cleared',
  why: 'The C-bit goes only when the page is the hypervisor’s: with C=0 a write to a page of the guest faults.',
} as const;

/** The words for a split, before it happens. */
function splitNote(table: PageTable, page: VirtAddr): { readonly title: string; readonly why: string } {
  if (table.lookup(page)?.size === PageSize.Regular)
    return {
      title: 'No split needed',
      why: 'The split of a page before has given this one its own entry, and its own C-bit.',
    };
  return {
    title: 'Entry split',
    why: 'An entry of 2 MiB has one C-bit for 512 pages. The split comes first: it can run out of frames, and then nothing has changed.',
  };
}

/** The calls that make one page shared, one by one. Each scenario arranges them. */
export class PageCalls {
  readonly #stage: Recorder;
  readonly #world: SvsmWorld;

  constructor(stage: Recorder, world: SvsmWorld) {
    this.#stage = stage;
    this.#world = world;
  }

  /** Writes a text, so that the page has content and the TLB its translation. */
  write(page: VirtAddr, text: string, why: string): void {
    const code = `vcpu.write(page, new TextEncoder().encode('${text}'));`;
    this.#act({ title: 'Guest writes', actor: 'guest', code, why, page }, () =>
      this.#world.vcpu.write(page, TEXT.encode(text)),
    );
  }

  split(page: VirtAddr): void {
    const code = 'pageTable.split4k(page);';
    this.#act({ ...splitNote(this.#world.table, page), actor: 'guest', code, page }, () =>
      this.#world.table.split4k(page),
    );
  }

  rescind(page: VirtAddr): void {
    const code = 'vcpu.pvalidate(page, PageSize.Regular, false);';
    const why = 'The guest gives up its validation while the mapping is still private.';
    this.#act({ title: 'PVALIDATE', actor: 'guest', code, why, page }, () =>
      this.#world.vcpu.pvalidate(page, PageSize.Regular, false),
    );
  }

  accept(page: VirtAddr): void {
    const code = 'vcpu.pvalidate(page, PageSize.Regular, true);';
    const why = 'The guest accepts the page that the hypervisor has assigned.';
    this.#act({ title: 'PVALIDATE', actor: 'guest', code, why, page }, () =>
      this.#world.vcpu.pvalidate(page, PageSize.Regular, true),
    );
  }

  request(page: VirtAddr, operation: 'Shared' | 'Private'): void {
    const code = `requestPageState(vcpu, svsm.virtToPhys(page), PageOperation.${operation});`;
    const why = 'The hypervisor is asked for the page state change.';
    this.#act({ title: 'Page state change', actor: 'guest', code, why, page }, () =>
      requestPageState(this.#world.vcpu, this.#world.svsm.virtToPhys(page), PageOperation[operation]),
    );
  }

  setShared(page: VirtAddr): void {
    const code = 'pageTable.setShared4k(page);';
    this.#act({ ...CLEARED, actor: 'guest', code, page }, () => this.#world.table.setShared4k(page));
  }

  setPrivate(page: VirtAddr): void {
    const code = 'pageTable.setEncrypted4k(page);';
    const why = 'The C-bit comes back first, so that nothing more is written in plain text.';
    this.#act({ title: 'C-bit set', actor: 'guest', code, why, page }, () =>
      this.#world.table.setEncrypted4k(page),
    );
  }

  flush(page: VirtAddr): void {
    const code = 'vcpu.invlpg(page);';
    const why = 'The TLB drops the old translation before the page is used.';
    this.#act({ title: 'INVLPG', actor: 'guest', code, why, page }, () => this.#world.vcpu.invlpg(page));
  }

  #act(note: StepNote, run: () => void): void {
    this.#stage.act({ ...note, run: withPage(note) }, run);
  }
}

/** The statement of a call, with its page. */
export function withPage({ code, page }: StepNote): string {
  return page === undefined
    ? code
    : code.replaceAll(/\bpage\b(?!s|\()/g, `virtAddr(0x${page.toString(16)}n)`);
}

/** Boots the world of a scenario, and allocates its pages: the first two steps. */
export function start(stage: Recorder, count = 4): { world: SvsmWorld; pages: VirtAddr[]; calls: PageCalls } {
  const world = svsmWorld((event) => stage.event(event));
  stage.begin(world, {
    title: 'SVSM booted',
    actor: 'guest',
    code: "const svsm = Svsm.boot({ guest, memory: [[memory, 'guest']], own });",
    why: 'A guest of 64 MiB runs an SVSM. Its heap of 4 MiB is private, validated, and mapped by two entries of 2 MiB.',
    run: '',
  });
  const code =
    count === 1
      ? 'const page = heap.allocatePage();'
      : `const pages = heap.allocatePages(getOrder(${count} * PAGE_SIZE));`;
  const why =
    count === 1
      ? 'The allocator halves a free block until a page is left.'
      : 'The pages have to be contiguous: the allocator halves a free block until it has the order of four pages.';
  const allocate = (): VirtAddr => heap.allocatePages(getOrder(count * PAGE_SIZE)).start;
  const { heap } = world;
  const first = stage.act({ title: 'Allocation', actor: 'guest', code, why }, allocate);
  const pages = Array.from({ length: count }, (_, i) => virtAddr(first + BigInt(i * PAGE_SIZE)));
  world.pages.push(...pages);
  return { world, pages, calls: new PageCalls(stage, world) };
}

/** Makes a page shared by all the rules. */
export function shareByHand(calls: PageCalls, page: VirtAddr): void {
  calls.split(page);
  calls.rescind(page);
  calls.request(page, 'Shared');
  calls.setShared(page);
  calls.flush(page);
}

/** A page table whose changes of a page are steps. */
function shown(stage: Recorder, table: PageTable): PageTable {
  const changes = {
    lookup: (page: VirtAddr) => table.lookup(page),
    setEncrypted4k: (page: VirtAddr) => table.setEncrypted4k(page),
    split4k: (page: VirtAddr) => {
      const note = splitNote(table, page);
      table.split4k(page);
      stage.mark(note);
    },
    setShared4k: (page: VirtAddr) => {
      table.setShared4k(page);
      stage.mark(CLEARED);
    },
  };
  return changes as unknown as PageTable;
}

function finish(stage: Recorder, world: SvsmWorld, page: VirtAddr): void {
  const code = "vcpu.write(page, new TextEncoder().encode('hello, hypervisor'));";
  const why = 'The page is shared: both sides read the same bytes now.';
  const note: StepNote = { title: 'Guest writes', actor: 'guest', code, why, page };
  stage.attempt({ ...note, run: withPage(note) }, () => {
    world.vcpu.write(page, TEXT.encode('hello, hypervisor'));
    const spa = world.guest.nested.lookup(world.svsm.virtToPhys(page))!.spa;
    const seen = new TextDecoder().decode(world.machine.hypervisor.read(spa, 17));
    return { kind: 'works', text: `The hypervisor reads “${seen}”.` };
  });
}

/** The two loops of the mailing list. */
export const LOOPS: readonly Scenario[] = [
  {
    id: 'by-hand',
    group: 'The loop',
    title: 'Four pages, by hand',
    summary:
      'The first loop of the mailing list: four contiguous pages become shared, address by address, each step spelled out.',
    source: sourceOf,
    play: (stage) => {
      const { world, pages, calls } = start(stage);
      calls.write(pages[0]!, 'a secret', 'The page has content, and the TLB holds its private translation.');
      for (const page of pages) shareByHand(calls, page);
      finish(stage, world, pages[0]!);
    },
  },
  {
    id: 'by-iterator',
    group: 'The loop',
    title: 'Four pages, by iterPages',
    summary:
      'The second loop: with MemoryRegion<VirtAddr> and one call for each page, which does the same steps in the same order.',
    source: sourceOf,
    play: (stage) => {
      const { world, pages, calls } = start(stage);
      const { vcpu, table, validated } = world;
      calls.write(pages[0]!, 'a secret', 'The page has content, and the TLB holds its private translation.');
      for (const page of pages) {
        const code =
          'for (const page of pages.iterPages(PageSize.Regular)) makePageShared(vcpu, pageTable, page, { validated });';
        const run = `makePageShared(vcpu, pageTable, virtAddr(0x${page.toString(16)}n), { validated });`;
        const why = 'One call does all steps of a page.';
        stage.act({ title: 'makePageShared', actor: 'guest', code, run, why, page }, () =>
          makePageShared(vcpu, shown(stage, table), page, { validated }),
        );
      }
      finish(stage, world, pages[0]!);
    },
  },
];
