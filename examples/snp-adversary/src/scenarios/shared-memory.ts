import { PAGE_SIZE, type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import { PageAllocator } from '@svsm/buddy-alloc';
import { type MemoryRegion, physRegion, virtRegion } from '@svsm/memory-region';
import { SharedBox, Svsm } from '@svsm/mm';
import { isSnpError, makePageShared } from '@svsm/sev-snp';
import type { Ending, Scenario } from '../scenario.ts';
import { A, bytesOf, type Stage, textOf } from '../stage.ts';

const MIB = 1024 * 1024;
const SECRET = 'attack at noon';

/** An SVSM in the first 6 MiB of the guest, and two of its pages from {@link A} on, which it has allocated. */
function withMemory(stage: Stage): { readonly svsm: Svsm; readonly block: MemoryRegion<VirtAddr> } {
  const { guest } = stage;
  const memory = [[physRegion(physAddr(0), 8 * MIB), 'guest']] as const;
  const svsm = Svsm.boot({ guest, memory, own: physRegion(physAddr(0), 6 * MIB) });
  const block = svsm.pages.allocateAt(virtRegion(svsm.directMap.toVirt(A), 2 * PAGE_SIZE));
  stage.moments.length = 0;
  return { svsm, block };
}

/** The same pages in an allocator that knows nothing of visibility. */
function plainPages(block: MemoryRegion<VirtAddr>): PageAllocator<VirtAddr> {
  const pages = new PageAllocator(block);
  pages.allocateAt(block);
  return pages;
}

/** The software that gets the block next writes a secret to it. Returns the text that the host reads. */
function nextOwner(
  stage: Stage,
  svsm: Svsm,
  pages: PageAllocator<VirtAddr>,
  block: MemoryRegion<VirtAddr>,
): string {
  const { start: page } = pages.allocateAt(virtRegion(block.start, PAGE_SIZE));
  stage.tell('the next owner of the page writes a secret to it');
  svsm.thisCpu().vcpu.write(page, bytesOf(SECRET));
  return stage.hostGets(svsm.directMap.toPhys(page));
}

/** Shares page by page, as COCONUT-SVSM does, and without a record. */
function sharePages(svsm: Svsm, block: MemoryRegion<VirtAddr>): void {
  const { vcpu, pageTable } = svsm.thisCpu();
  for (const page of block.iterPages(PAGE_SIZE)) makePageShared(vcpu, pageTable, page);
}

const end = (stoppedBy: string, guestSees: string): Ending => ({ stoppedBy, guestSees });

/** Attacks on memory that an SVSM shares with the hypervisor, and takes back. */
export const SHARED_MEMORY: readonly Scenario[] = [
  {
    id: 'A12',
    name: 'box-changed',
    attack: 'changes shared memory between two reads',
    stoppedBy: 'read once',
    guestSees: 'its first read',
    duty: 'check a copy',
    otherwise: 'retreat',
    play: (stage, careful) => {
      const { svsm } = withMemory(stage);
      using box = SharedBox.create(svsm, PAGE_SIZE);
      box.write(0, bytesOf('stay'));
      const checked = textOf(box.read(0, 16));
      stage.tell('the guest has checked the text, and the hypervisor changes it');
      stage.host.write(stage.spaOf(box.gpa), bytesOf('retreat'));
      const used = careful ? checked : textOf(box.read(0, 16));
      return used === checked ? end('read once', 'its first read') : used;
    },
  },
  {
    id: 'A22',
    name: 'freed-while-shared',
    attack: 'reads a shared page that the guest has freed',
    stoppedBy: 'record',
    guestSees: 'WRONG_VISIBILITY',
    duty: 'ask before a free',
    otherwise: SECRET,
    play: (stage, careful) => {
      const { svsm, block } = withMemory(stage);
      const pages = careful ? svsm.pages : plainPages(block);
      svsm.visibility.makeShared(block);
      stage.tell('the owner frees the block, and forgets that it is shared');
      pages.freePages(block);
      return nextOwner(stage, svsm, pages, block);
    },
  },
  {
    id: 'A22',
    name: 'share-half-refused',
    attack: 'refuses the second page of two, and reads the first',
    stoppedBy: 'rollback',
    guestSees: 'VISIBILITY_FAILED',
    duty: 'take all pages back',
    otherwise: SECRET,
    play: (stage, careful) => {
      const { svsm, block } = withMemory(stage);
      const second = (A + BigInt(PAGE_SIZE)) as PhysAddr;
      stage.host.answers.pageState = (gpa) => (gpa === second ? 1 : undefined);
      if (careful) svsm.visibility.makeShared(block);
      const pages = plainPages(block);
      try {
        sharePages(svsm, block);
      } catch (error) {
        if (!isSnpError(error, 'PAGE_STATE_REFUSED')) throw error;
        stage.tell('the guest gives the block back to its allocator');
        pages.freePages(block);
      }
      return nextOwner(stage, svsm, pages, block);
    },
  },
  {
    id: 'A25',
    name: 'ciphertext-of-shared',
    attack: 'compares bytes left in a shared page with known ones',
    stoppedBy: 'clearing',
    guestSees: 'nothing',
    duty: 'clear before sharing',
    otherwise: 'approved',
    play: (stage, careful) => {
      const { svsm, block } = withMemory(stage);
      const { vcpu } = svsm.thisCpu();
      const seen = new Map<string, string>();
      for (const value of ['denied', 'approved']) {
        vcpu.write(block.start, bytesOf(value));
        seen.set(stage.host.observeCiphertext(stage.spaOf(A)), value);
      }
      stage.tell('the guest shares the page, with a value in it');
      vcpu.write(block.start, bytesOf('approved'));
      let left: string | undefined;
      stage.onEvent = ({ type }) => {
        if (type === 'rmpupdate') left = seen.get(stage.host.observeCiphertext(stage.spaOf(A)));
      };
      if (careful) svsm.visibility.makeShared(block);
      else sharePages(svsm, block);
      return left ?? end('clearing', 'nothing');
    },
  },
  {
    id: 'A35',
    name: 'freed-at-an-exit',
    attack: 'runs a processor that frees the pages being shared',
    stoppedBy: 'record',
    guestSees: 'WRONG_VISIBILITY',
    duty: 'note pages that change',
    otherwise: SECRET,
    play: (stage, careful) => {
      const { svsm, block } = withMemory(stage);
      const pages = careful ? svsm.pages : plainPages(block);
      let failure: unknown;
      stage.host.answers.beforeResume = () => {
        stage.host.answers.beforeResume = undefined;
        stage.tell('the hypervisor runs another processor, which frees the block');
        try {
          pages.freePages(block);
        } catch (error) {
          failure = error;
        }
      };
      svsm.visibility.makeShared(block);
      if (failure !== undefined) throw failure;
      return nextOwner(stage, svsm, pages, block);
    },
  },
];
