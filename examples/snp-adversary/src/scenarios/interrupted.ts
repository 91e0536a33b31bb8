import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import { Tlb } from '@svsm/pagetable';
import { NestedTlb, type Vcpu } from '@svsm/sev-snp';
import type { Ending, Scenario } from '../scenario.ts';
import { A, B, bytesOf, gvaOf, OWN, type Stage, textOf } from '../stage.ts';

/** The page before {@link A}. */
const BEFORE: PhysAddr = physAddr(A - BigInt(PAGE_SIZE));

/** The guest reads what it wrote: the attack has no effect. */
function unharmed(stoppedBy: string, text: string, own: string): Ending | string {
  return text === own ? { stoppedBy, guestSees: 'its own text' } : text;
}

/** Attacks in the middle of an access, and with what is left over from the time before a page or a guest changed. */
export const INTERRUPTED: readonly Scenario[] = [
  {
    id: 'A6',
    name: 'replay-in-read',
    attack: 'replays a page in the middle of a read',
    stoppedBy: 'RMP validated',
    guestSees: '#VC 0x404',
    play: (stage) => {
      const old = stage.host.capture(stage.spaOf(A));
      stage.share('', BEFORE);
      stage.put(A, 'retreat at once');
      stage.host.answers.beforeSharedRead = () => {
        stage.tell('the hypervisor replays the private page, before the guest reads that part');
        stage.host.replay(stage.guest, A, old);
      };
      return textOf(stage.vcpu.read(gvaOf(physAddr(A - 8n)), 24).slice(8));
    },
  },
  {
    id: 'A8',
    name: 'guests-on-one-cpu',
    attack: 'runs two guests in turns on one processor',
    stoppedBy: 'TLB tag',
    guestSees: 'its own text',
    play: (stage) => {
      const caches = { tlb: new Tlb(), nestedTlb: new NestedTlb() };
      const vcpu = stage.processor(caches);
      vcpu.loadCr3(stage.table.cr3);
      stage.get(B, vcpu);
      const other = stage.host.launch({ size: 8 * 1024 * 1024 });
      const theirs = other.createVcpu(caches);
      theirs.memory.words(Number(B) / PAGE_SIZE, true).set(new Uint32Array(bytesOf('surrender').buffer));
      const [word] = theirs.memory.words(Number(B) / PAGE_SIZE, false);
      stage.tell('the other guest writes to the same address');
      const own = textOf(Uint8Array.from([0, 8, 16, 24], (shift) => ((word ?? 0) >>> shift) & 0xff));
      return own === 'surr' ? unharmed('TLB tag', stage.get(B, vcpu), 'retreat') : `“${own}” of the other`;
    },
  },
  {
    id: 'A9',
    name: 'levels-on-one-cpu',
    attack: 'runs the OS on the processor of the SVSM',
    stoppedBy: 'RMP vmpl',
    guestSees: '#NPF, stopped',
    play: (stage) => {
      stage.put(OWN, 'SVSM key');
      const nestedTlb = new NestedTlb();
      const { osTable } = stage.withSvsm();
      const svsm = stage.processor({ nestedTlb });
      svsm.loadCr3(stage.table.cr3);
      stage.get(OWN, svsm);
      const os: Vcpu = stage.processor({ nestedTlb, vmpl: 2 });
      os.loadCr3(osTable.cr3);
      return stage.get(OWN, os);
    },
  },
  {
    id: 'A1',
    name: 'kept-array',
    attack: 'keeps its access to a page that was shared',
    stoppedBy: 'end of access',
    guestSees: 'its own text',
    play: (stage: Stage) => {
      const page = stage.share('a shared text');
      const words = stage.host.memory.words(Number(stage.spaOf(page)) / PAGE_SIZE, true);
      stage.takeBack(page);
      stage.put(page, 'the secret');
      const seen = textOf(new Uint8Array(words.buffer, words.byteOffset, 16));
      words.fill(0x4141_4141);
      return seen === 'the secret' ? seen : unharmed('end of access', stage.get(page), 'the secret');
    },
  },
];
