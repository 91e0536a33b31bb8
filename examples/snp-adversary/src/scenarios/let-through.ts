import { type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { INIT_REGISTERS, type LaunchPage, LaunchPageType, type SysPhysAddr } from '@svsm/sev-snp';
import { NOTHING, type Scenario } from '../scenario.ts';
import { A, B, bytesOf, type Stage, textOf } from '../stage.ts';
import { launched, vmrun, vmsaAt } from './firmware.ts';

const OLD_TEXT = { stoppedBy: NOTHING, guestSees: 'its own old text' };
const UNSEEN = { stoppedBy: NOTHING, guestSees: 'nothing' };

/** A platform whose DIMMs lie about their size, and one with an interposer on the memory bus. */
const BADRAM = {
  needs: 'access to the DIMM’s SPD (BadRAM)',
  mitigatedBy: 'firmware with an alias check',
};
const BATTERING_RAM = {
  needs: 'an interposer (Battering RAM)',
  mitigatedBy: 'nothing in the platform',
};

/** The ciphertext at `gpa` of each value: the hypervisor knows which one the guest writes when. */
function dictionary(stage: Stage, gpa: PhysAddr, values: readonly string[]): Map<string, string> {
  stage.tell('the hypervisor learns the ciphertexts of values that it knows');
  const seen = new Map<string, string>();
  for (const value of values) {
    stage.put(gpa, value);
    seen.set(stage.host.observeCiphertext(stage.spaOf(gpa)), value);
  }
  return seen;
}

/** A value of the guest that the hypervisor does not know. */
const SECRET = 'approved';
const VALUES = ['denied', SECRET] as const;

/** Old ciphertext of the page at `spa` goes back through `write`, while the guest has newer text. */
function rolledBack(stage: Stage, spa: SysPhysAddr, write: (old: Uint8Array) => void): string {
  const old = stage.host.capture(spa);
  stage.put(A, 'attack at noon');
  write(old);
  return stage.get(A);
}

/** Attacks that hardware does not stop. They succeed, as in reality. */
export const LET_THROUGH: readonly Scenario[] = [
  {
    id: 'A23',
    name: 'alias-of-dram',
    attack: 'writes old ciphertext through an alias of DRAM',
    ...OLD_TEXT,
    letThrough: { gets: 'attack at dawn', ...BADRAM },
    play: (stage) => {
      const page = stage.spaOf(A);
      const alias = stage.host.aliasDram(page);
      stage.tell('the alias is the hypervisor’s own page; its DRAM is the guest’s');
      return rolledBack(stage, page, (old) => stage.host.write(alias, old));
    },
  },
  {
    id: 'A23',
    name: 'alias-for-a-moment',
    attack: 'the same, with an alias for the write alone',
    ...OLD_TEXT,
    letThrough: { gets: 'attack at dawn', ...BATTERING_RAM },
    play: (stage) => {
      const page = stage.spaOf(A);
      return rolledBack(stage, page, (old) => {
        const alias = stage.host.aliasDram(page);
        stage.host.write(alias, old);
        stage.host.aliasDram(alias, alias);
        stage.tell('the interposer is off again: a check for aliases finds none');
      });
    },
  },
  {
    id: 'A24',
    name: 'tampered-rmp',
    attack: 'takes a page, restores old text and its RMP entry',
    ...OLD_TEXT,
    letThrough: { gets: 'attack at dawn', ...BADRAM },
    play: (stage) => {
      const page = stage.spaOf(A);
      return rolledBack(stage, page, (old) => {
        const entry = stage.host.tamperRmp(page, { assigned: false });
        stage.tell('the RMP says that the page is the hypervisor’s');
        stage.host.write(page, old);
        stage.host.tamperRmp(page, entry);
        stage.tell('the RMP says that the page is the guest’s, and validated');
      });
    },
  },
  {
    id: 'A24',
    name: 'tampered-rmp-vmsa',
    attack: 'makes a page with an old VMSA a VMSA again',
    stoppedBy: NOTHING,
    guestSees: 'an old processor',
    letThrough: {
      gets: 'a processor',
      needs: 'old firmware (RMPocalypse)',
      mitigatedBy: 'newer firmware, by its TCB version',
    },
    play: (stage) => {
      const page = stage.spaOf(vmsaAt(stage, A));
      const old = stage.host.capture(page);
      const entry = stage.host.tamperRmp(page, { vmsa: false });
      stage.tell('the guest uses the page for a text');
      stage.put(A, 'attack at noon');
      stage.host.tamperRmp(page, { assigned: false });
      stage.host.write(page, old);
      stage.host.tamperRmp(page, entry);
      return vmrun(stage, A);
    },
  },
  {
    id: 'A25',
    name: 'ciphertext-dictionary',
    attack: 'compares ciphertext with that of known values',
    ...UNSEEN,
    letThrough: {
      gets: SECRET,
      needs: 'no more than reads (CipherLeaks)',
      mitigatedBy: 'ciphertext hiding',
    },
    play: (stage) => {
      const seen = dictionary(stage, A, VALUES);
      stage.tell('the guest decides');
      stage.put(A, SECRET);
      return seen.get(stage.host.observeCiphertext(stage.spaOf(A))) ?? 'noise';
    },
  },
  {
    id: 'A25',
    name: 'masked-ciphertext',
    attack: 'the same, for a guest that masks its values',
    stoppedBy: 'fresh mask',
    guestSees: 'nothing',
    duty: 'mask secrets anew at each write',
    otherwise: SECRET,
    play: (stage, careful) => {
      const seen = dictionary(stage, A, VALUES);
      stage.tell('the guest decides');
      // A value that this address has not seen. Without a mask, it is 0.
      const mask = careful ? 0x5a : 0;
      stage.put(B, String.fromCharCode(mask));
      stage.put(A, String.fromCharCode(...bytesOf(SECRET).map((byte) => byte ^ mask)));
      const known = seen.get(stage.host.observeCiphertext(stage.spaOf(A)));
      return known ?? { stoppedBy: 'fresh mask', guestSees: 'nothing' };
    },
  },
  {
    id: 'A26',
    name: 'unmeasured-content',
    attack: 'launches an unmeasured page with other content',
    stoppedBy: NOTHING,
    guestSees: 'what the host put there',
    letThrough: {
      gets: 'surrender',
      needs: 'a launch with UNMEASURED pages',
      mitigatedBy: 'a guest that does not trust them',
    },
    play: async (stage) => {
      const [gpa, type] = [physAddr(0x2000), LaunchPageType.Unmeasured];
      const pageOf = (text: string): LaunchPage => {
        const bytes = new Uint8Array(4096);
        bytes.set(bytesOf(text));
        return { type, gpa, bytes };
      };
      const page = pageOf('surrender');
      const end = await launched((pages) => pages.with(2, page), [pageOf('stand firm')]);
      if (typeof end !== 'string') return end;
      stage.tell('the digest is the one that the owner of the guest expects');
      const image = [{ gpa, bytes: page.bytes!, unmeasured: true }];
      const guest = stage.host.launch({ size: 4096 * 3, image });
      const vcpu = guest.createVcpu({ registers: INIT_REGISTERS });
      return textOf(vcpu.read(virtAddr(gpa), 16));
    },
  },
];
