import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, physAddr, type VirtAddr } from '@svsm/address';
import { SlabCache } from '@svsm/buddy-alloc';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import { createVmsa, makeVmsa, unmakeVmsa } from '@svsm/sev-snp';
import { describe, expect, test } from 'vitest';
import { isMmError } from '../../src/formats/mm-error.ts';
import {
  brokenLaw,
  type Cpu,
  gvaOf,
  HEAP,
  hostView,
  MiB,
  pictureOf,
  spaOf,
  staleUses,
  type VisibilityWorld,
  visibilityWorld,
} from '../support/visibility-world.ts';

const SECRET = new TextEncoder().encode('attack at dawn');

/** The code of the error that an action throws, and what it has found. */
function refusal(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!isMmError(error)) throw error;
    const { found, use } = error.details as { found?: string; use?: string };
    return [error.code, found ?? use].filter((part) => part !== undefined).join(' ');
  }
}

/** Makes the hypervisor refuse the page state changes of some pages. */
function refuse(it: VisibilityWorld, region: MemoryRegion<VirtAddr>): void {
  const { start, end } = it.directMap.physOf(region);
  it.host.answers = {
    ...it.host.answers,
    pageState: (gpa, _, size) => (gpa < end && gpa + BigInt(size) > start ? 1 : undefined),
  };
}

const agree = (it: VisibilityWorld): void => {
  it.host.answers = {};
};

test('a region goes to the host and comes back, in pages of 2 MiB, with one flush and one exit', () => {
  const it = visibilityWorld();
  const { visibility, cpus, shootDown, pages } = it;
  const { exits } = it;
  const block = pages.allocatePages(10);
  cpus[0]!.vcpu.write(block.start, SECRET);
  staleUses(it);
  const flushes = shootDown.counts;
  visibility.makeShared(block);
  expect(shootDown.counts.broadcast - flushes.broadcast).toBe(1);
  expect(shootDown.counts.instructions - flushes.instructions).toBe(1);
  expect(brokenLaw(it)).toBeUndefined();
  expect(staleUses(it)).toEqual([]);
  expect(cpus[1]!.vcpu.read(block.start, 14)).toEqual(new Uint8Array(14));
  expect(it.events).toEqual([{ type: 'share', region: block }]);
  visibility.makePrivate(block);
  expect(shootDown.counts.broadcast - flushes.broadcast).toBe(2);
  expect(brokenLaw(it)).toBeUndefined();
  expect(staleUses(it)).toEqual([]);
  expect(it.exits - exits).toBe(2);
});

test('one page of a page of 2 MiB splits it, and its table comes back with the page', () => {
  const it = visibilityWorld({ mib: 4 });
  const before = pictureOf(it);
  const page = it.pages.allocateAt(virtRegion(gvaOf(HEAP + 0x5000), PAGE_SIZE));
  const other = it.pages.allocateAt(virtRegion(gvaOf(HEAP + 0x9000), 2 * PAGE_SIZE));
  it.visibility.makeShared(page);
  it.visibility.makeShared(other);
  expect(it.visibility.sharedIn(it.directMap.virt).map(String)).toEqual([String(page), String(other)]);
  it.visibility.makePrivate(page);
  expect(it.kernel.lookup(page.start)?.size).toBe(PageSize.Regular);
  it.visibility.makePrivate(other);
  expect(it.kernel.lookup(page.start)?.size).toBe(PageSize.Huge);
  it.pages.freePages(page);
  it.pages.freePages(other);
  expect(pictureOf(it)).toBe(before);
});

test('pages whose entries were set shared by hand are shared all the same', () => {
  const it = visibilityWorld({ mib: 4 });
  const pages = it.pages.allocatePages(2);
  for (const page of pages.iterPages(PageSize.Regular)) it.cpus[0]!.pageTable.setShared4k(page);
  it.visibility.makeShared(pages);
  expect(brokenLaw(it)).toBeUndefined();
  it.cpus[0]!.pageTable.setEncryptedRegion(pages);
  it.visibility.makePrivate(pages);
  expect([brokenLaw(it), staleUses(it)]).toEqual([undefined, []]);
});

describe('content', () => {
  test('of a page never reaches the host, in whatever way the change ends', () => {
    for (const refuses of [false, true]) {
      const it = visibilityWorld({ mib: 4 });
      const block = it.pages.allocatePages(1);
      const [page] = hostView(it, it.directMap.physOf(block)) as [Uint8Array];
      const zeros = page.slice();
      it.cpus[0]!.vcpu.write(block.start, SECRET);
      const secret = hostView(it, it.directMap.physOf(block))[0]!;
      expect(secret).not.toEqual(zeros);
      const seen: Uint8Array[] = [];
      it.before = () => {
        const { assigned } = it.machine.rmp.entry(spaOf(it, it.directMap.toPhys(block.start)))!;
        if (!assigned) seen.push(hostView(it, it.directMap.physOf(block))[0]!);
      };
      if (refuses) refuse(it, virtRegion((block.start + 0x1000n) as VirtAddr, PAGE_SIZE));
      expect(refusal(() => it.visibility.makeShared(block))).toBe(refuses ? 'VISIBILITY_FAILED' : undefined);
      expect(seen.length).toBeGreaterThan(0);
      for (const bytes of seen) expect([zeros, new Uint8Array(PAGE_SIZE)]).toContainEqual(bytes);
    }
  });

  test('that the host has written is gone when the page is private', () => {
    const it = visibilityWorld({ mib: 4 });
    const block = it.visibility.allocateShared(2);
    it.host.write(spaOf(it, it.directMap.toPhys(block.start)), SECRET);
    expect(it.cpus[1]!.vcpu.read(block.start, 14)).toEqual(SECRET);
    it.visibility.makePrivate(block);
    expect(it.cpus[1]!.vcpu.read(block.start, 14)).toEqual(new Uint8Array(14));
  });
});

describe('a change is refused, and nothing changes, for', () => {
  const REFUSED: Readonly<Record<string, (it: VisibilityWorld) => [() => unknown, string]>> = {
    'a region that is not whole pages': (it) => {
      const { start } = it.pages.allocatePages(1);
      return [() => it.visibility.makeShared(virtRegion(start, 100)), 'INVALID_ARGUMENT'];
    },
    'another value': (it) => [() => it.visibility.makePrivate(5 as never), 'INVALID_ARGUMENT'],
    'physical addresses': (it) => [
      () => it.visibility.makeShared(physRegion(physAddr(0), PAGE_SIZE) as never),
      'INVALID_ARGUMENT',
    ],
    'a page that is free': (it) => [
      () => it.visibility.makeShared(virtRegion(gvaOf(HEAP), PAGE_SIZE)),
      'NOT_ALLOCATED free',
    ],
    'a block and the free page after it': (it) => {
      const { start } = it.pages.allocateAt(virtRegion(gvaOf(HEAP), PAGE_SIZE));
      return [() => it.visibility.makeShared(virtRegion(start, 2 * PAGE_SIZE)), 'NOT_ALLOCATED free'];
    },
    'a page outside the heap': (it) => [
      () => it.visibility.makeShared(virtRegion(gvaOf(0x5000), PAGE_SIZE)),
      'NOT_ALLOCATED outside the heap',
    ],
    'a page of a slab': (it) => {
      const object = new SlabCache(it.pages, 64).allocate();
      const page = virtRegion((object & ~0xfffn) as VirtAddr, PAGE_SIZE);
      return [() => it.visibility.makeShared(page), 'NOT_ALLOCATED slab'];
    },
    'a file page': (it) => {
      const page = virtRegion(it.pages.allocateFilePage(), PAGE_SIZE);
      return [() => it.visibility.makeShared(page), 'NOT_ALLOCATED file'];
    },
    'a page that is shared already': (it) => {
      const block = it.visibility.allocateShared(3);
      return [() => it.visibility.makeShared(block), 'WRONG_VISIBILITY shared'];
    },
    'a page that is private already': (it) => {
      const block = it.pages.allocatePages(1);
      it.visibility.makeShared(virtRegion(block.start, PAGE_SIZE));
      return [() => it.visibility.makePrivate(block), 'WRONG_VISIBILITY private'];
    },
    'a lost page': (it) => {
      const block = it.pages.allocatePages(0);
      refuse(it, block);
      refusal(() => it.visibility.makeShared(block));
      agree(it);
      return [() => it.visibility.makeShared(block), 'WRONG_VISIBILITY lost'];
    },
    'a page that is mapped for a time': (it) => {
      const block = it.pages.allocatePages(1);
      it.uses.add(physRegion(it.directMap.toPhys((block.start + 0x1000n) as VirtAddr), PAGE_SIZE));
      return [() => it.visibility.makeShared(block), 'PAGE_IN_USE MAPPING'];
    },
    'a shared page that is mapped for a time': (it) => {
      const block = it.visibility.allocateShared(2);
      it.uses.add(it.directMap.physOf(block));
      return [() => it.visibility.makePrivate(block), 'PAGE_IN_USE MAPPING'];
    },
  };

  test.each(Object.entries(REFUSED))('%s', (_, make) => {
    const it = visibilityWorld({ mib: 4 });
    const [action, code] = make(it);
    const before = pictureOf(it);
    const { exits } = it;
    expect(refusal(action)).toBe(code);
    expect(pictureOf(it)).toBe(before);
    expect(it.exits).toBe(exits);
  });

  test('no frame to split a page with', () => {
    const it = visibilityWorld({ mib: 4 });
    const page = it.pages.allocatePages(0);
    it.cpus[0]!.vcpu.write(page.start, SECRET);
    const before = pictureOf(it);
    it.before = (step) => {
      if (step === 'frame') throw new RangeError('no frame');
    };
    expect(() => it.visibility.makeShared(page)).toThrow('OUT_OF_MEMORY');
    expect(pictureOf(it)).toBe(before);
    expect(it.cpus[0]!.vcpu.read(page.start, 14)).toEqual(SECRET);
  });
});

test('an empty region is nothing to change', () => {
  const it = visibilityWorld({ mib: 4 });
  const empty = virtRegion(gvaOf(HEAP), 0);
  it.visibility.makeShared(empty);
  it.visibility.makePrivate(empty);
  expect(it.events).toEqual([]);
});

describe('a block is not freed while one of its pages is', () => {
  /** Gives a page of a block a use. Returns the refusal of a free, and the end of the use. */
  const USES: Readonly<
    Record<string, (it: VisibilityWorld, page: VirtAddr, cpu: Cpu) => [string, () => void]>
  > = {
    shared: (it, page) => {
      it.visibility.makeShared(virtRegion(page, PAGE_SIZE));
      return ['WRONG_VISIBILITY shared', () => it.visibility.makePrivate(virtRegion(page, PAGE_SIZE))];
    },
    lost: (it, page) => {
      const region = virtRegion(page, PAGE_SIZE);
      refuse(it, region);
      expect(refusal(() => it.visibility.makeShared(region))).toBe('VISIBILITY_FAILED');
      agree(it);
      return ['WRONG_VISIBILITY lost', () => expect(it.visibility.retryLost()).toBe(1)];
    },
    'mapped for a time': (it, page) => {
      const phys = physRegion(it.directMap.toPhys(page), PAGE_SIZE);
      it.uses.add(phys);
      return ['PAGE_IN_USE MAPPING', () => it.uses.remove(phys)];
    },
    'a VMSA': (_, page, { vcpu }) => {
      makeVmsa(vcpu, page, createVmsa({ vmpl: 1 }));
      return ['PAGE_IN_USE VMSA', () => unmakeVmsa(vcpu, page)];
    },
    'not validated, whoever has rescinded it': (it, page, { vcpu }) => {
      const phys = physRegion(it.directMap.toPhys(page), PAGE_SIZE);
      vcpu.pvalidate(page, PAGE_SIZE, false);
      it.validated.remove(phys);
      return [
        'WRONG_VISIBILITY not validated',
        () => {
          vcpu.pvalidate(page, PAGE_SIZE, true);
          it.validated.add(phys);
        },
      ];
    },
  };

  test.each(Object.entries(USES))('%s', (_, use) => {
    const it = visibilityWorld({ mib: 4 });
    const block = it.pages.allocatePages(2);
    const page = (block.start + 0x2000n) as VirtAddr;
    const [code, end] = use(it, page, it.cpus[0]!);
    expect(refusal(() => it.pages.freePages(block))).toBe(code);
    using owned = it.pages.own(block);
    expect(refusal(() => owned.release())).toBe(code);
    expect(it.pages.blockOf(page)?.state).toBe('allocated');
    end();
    owned.release();
    expect([brokenLaw(it), it.pages.blockOf(page)?.state]).toEqual([undefined, 'free']);
  });

  test('changing: the hypervisor runs another processor at the exit of a change', () => {
    const it = visibilityWorld({ mib: 4 });
    const block = it.pages.allocatePages(2);
    const other = it.pages.allocatePages(1);
    const seen: (string | undefined)[] = [];
    let turns = 0;
    it.after = (step) => {
      if (step !== 'vmgexit' || turns > 0) return;
      turns += 1;
      it.current = 1;
      seen.push(
        refusal(() => it.pages.freePages(block)),
        refusal(() => it.visibility.makeShared(block)),
        refusal(() => it.visibility.makePrivate(block)),
        refusal(() => it.visibility.release(block)),
      );
      it.visibility.makeShared(other);
      it.visibility.release(other);
      it.current = 0;
    };
    it.visibility.makeShared(block);
    const changing = 'WRONG_VISIBILITY changing';
    expect(seen).toEqual([changing, changing, changing, 'PAGE_IN_USE CHANGE']);
    expect([brokenLaw(it), staleUses(it)]).toEqual([undefined, []]);
    it.visibility.release(block);
    expect(it.pages.memoryInfo().allocatedPages).toBe(0);
  });
});

describe('if the hypervisor refuses a page', () => {
  test('that page is lost, the others are private, and the block comes back with it', () => {
    const it = visibilityWorld({ mib: 8 });
    const before = pictureOf(it);
    const block = it.pages.allocateAt(virtRegion(gvaOf(HEAP + 0x1000), 300 * PAGE_SIZE));
    const page = virtRegion((block.start + 0x4_0000n) as VirtAddr, PAGE_SIZE);
    refuse(it, page);
    expect(refusal(() => it.visibility.makeShared(block))).toBe('VISIBILITY_FAILED');
    expect([...it.visibility.lost].map(String)).toEqual([String(it.directMap.physOf(page))]);
    expect(it.events.map(({ type }) => type)).toEqual(['quarantine', 'rollback']);
    expect([brokenLaw(it), staleUses(it)]).toEqual([undefined, []]);
    expect(it.visibility.retryLost()).toBe(0);
    agree(it);
    expect(it.visibility.retryLost()).toBe(1);
    it.pages.freePages(block);
    expect(pictureOf(it)).toBe(before);
  });

  test('on the way back, pages are shared as before, or lost', () => {
    const it = visibilityWorld({ mib: 8 });
    const block = it.visibility.allocateShared(300);
    const page = virtRegion((block.start + 0x4_0000n) as VirtAddr, PAGE_SIZE);
    refuse(it, page);
    expect(refusal(() => it.visibility.makePrivate(block))).toBe('VISIBILITY_FAILED');
    const shared = it.visibility.sharedIn(block);
    expect(shared.reduce((sum, { size }) => sum + size, 0n)).toBe(299n * 4096n);
    expect(brokenLaw(it)).toBeUndefined();
    agree(it);
    expect(it.visibility.retryLost()).toBe(1);
    for (const part of shared) it.visibility.makePrivate(part);
    it.pages.freePages(block);
  });

  test('a block that is released keeps its pages until the lost one is back, and is freed then', () => {
    const it = visibilityWorld({ mib: 4 });
    const before = pictureOf(it);
    const block = it.visibility.allocateShared(4);
    refuse(it, virtRegion((block.start + 0x1000n) as VirtAddr, PAGE_SIZE));
    expect(refusal(() => it.visibility.release(block))).toBe('VISIBILITY_FAILED');
    expect([it.visibility.isAbandoned(block), it.pages.blockOf(block.start)?.state]).toEqual([
      true,
      'allocated',
    ]);
    expect(it.visibility.sharedIn(block)).toEqual([]);
    expect(brokenLaw(it)).toBeUndefined();
    agree(it);
    expect(it.visibility.retryLost()).toBe(1);
    expect([it.visibility.isAbandoned(block), pictureOf(it)]).toEqual([false, before]);
  });

  test('for ever, the attempts are bounded', () => {
    const it = visibilityWorld({ mib: 8 });
    const block = it.pages.allocateAt(virtRegion(gvaOf(HEAP + 0x1000), 500 * PAGE_SIZE));
    it.host.answers = { pageState: () => 1 };
    const { exits } = it;
    expect(refusal(() => it.visibility.makeShared(block))).toBe('VISIBILITY_FAILED');
    expect(it.exits - exits).toBeLessThan(100);
    expect(brokenLaw(it)).toBeUndefined();
    agree(it);
    expect(it.visibility.retryLost()).toBeGreaterThan(0);
    expect(it.visibility.lost.isEmpty).toBe(true);
  });
});

test('release frees a block without shared pages, and says what is wrong with another region', () => {
  const it = visibilityWorld({ mib: 4 });
  const block = it.pages.allocatePages(1);
  expect(() => it.visibility.release(virtRegion(block.start, PAGE_SIZE))).toThrow('WRONG_SIZE');
  it.visibility.release(block);
  expect(() => it.visibility.release(block)).toThrow('DOUBLE_FREE');
});

test('from 2 MiB on, shared pages start at a multiple of 2 MiB', () => {
  const it = visibilityWorld({ mib: 8 });
  it.pages.allocatePage();
  const block = it.visibility.allocateShared(512 + 3);
  expect([block.start % BigInt(PAGE_SIZE_2M), block.pageCount()]).toEqual([0n, 515]);
  expect(it.kernel.lookup(block.start)).toMatchObject({ size: PageSize.Huge, shared: true });
  expect(() => it.visibility.allocateShared(0)).toThrow('INVALID_ARGUMENT');
  expect(() => it.visibility.allocateShared(MiB)).toThrow('OUT_OF_MEMORY');
});
