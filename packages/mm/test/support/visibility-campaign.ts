/** Random programs on several processors, beside a hypervisor that lies, against an obvious model of the pages. */
import { PAGE_SIZE, type PhysAddr, type VirtAddr } from '@svsm/address';
import { isBuddyError } from '@svsm/buddy-alloc';
import { type MemoryRegion, virtRegion } from '@svsm/memory-region';
import { isPageTableError } from '@svsm/pagetable';
import { isSnpError, isSnpFault, type MachineEvent, RmpResult } from '@svsm/sev-snp';
import { isMmError } from '../../src/formats/mm-error.ts';
import { SharedBox } from '../../src/visibility/shared-box.ts';
import { randomFrom } from './random.ts';
import {
  brokenLaw,
  everyPage,
  HEAP,
  MiB,
  quietly,
  type VisibilityWorld,
  visibilityWorld,
} from './visibility-world.ts';

/** The content of a private page: `secret` is its number, 0 for zeros. Two where a change has failed. */
type Content = readonly bigint[] | 'anything';

const MARK = 0xc0de_0000_0000_0000n;
const PROCESSORS = 3;

/** A run of random steps on one world. */
export class Campaign {
  readonly it: VisibilityWorld;
  /** How often each kind of step has come to each end. */
  readonly tally: Map<string, number> = new Map();
  readonly #random: (below: number) => number;
  readonly #blocks: MemoryRegion<VirtAddr>[] = [];
  readonly #boxes: SharedBox[] = [];
  readonly #pins: MemoryRegion<PhysAddr>[] = [];
  /** The content of pages, by virtual address. A page without an entry holds anything. */
  readonly #content: Map<bigint, Content> = new Map();
  /** Pages that the hypervisor has exchanged or taken: an access may fault. */
  readonly #attacked: Set<bigint> = new Set();
  /** The pages whose validation stands, by PVALIDATE. */
  readonly #validated: Set<bigint>;
  #secrets = 0n;
  #depth = 0;
  #malice = 0;

  constructor(seed: number) {
    this.#random = randomFrom(seed);
    this.it = visibilityWorld({ cpus: PROCESSORS, mib: 4 });
    this.#validated = new Set(everyPage(this.it));
    const { it } = this;
    it.onEvent = (event) => this.#watch(event);
    it.host.answers = {
      pageState: () => (this.#lies(8) ? 1 : undefined),
      page: () =>
        this.#lies(30) ? { info1: BigInt(this.#random(3)), info2: BigInt(this.#random(3)) } : undefined,
      beforeResume: () => this.#interrupt(),
    };
  }

  /** Runs `steps` steps, and checks all pages at the end. @throws Error if a law is broken */
  run(steps: number): void {
    for (let step = 0; step < steps; step += 1) {
      if (this.#random(200) === 0) this.#malice = this.#random(3);
      this.it.current = this.#random(PROCESSORS);
      this.#step();
      this.#require(this.it.stale.length === 0, `a stale translation: ${this.it.stale.join()}`);
    }
    this.#finish();
  }

  /** One step of the processor that is current. */
  #step(): void {
    const kinds = [
      ...([
        this.#write,
        this.#write,
        this.#write,
        this.#read,
        this.#read,
        this.#read,
        this.#hostReads,
      ] as const),
      ...([this.#allocate, this.#free, this.#free, this.#share, this.#takeBack, this.#release] as const),
      ...([this.#box, this.#unbox, this.#pin, this.#unpin, this.#retry, this.#attack] as const),
    ];
    const kind = kinds[this.#random(kinds.length)]!;
    kind.call(this);
  }

  /** At an exit: the hypervisor runs another processor, at most one in another. */
  #interrupt(): void {
    if (this.#depth > 0 || this.#random(3) !== 0) return;
    const { current } = this.it;
    this.#depth += 1;
    this.it.current = (current + 1 + this.#random(PROCESSORS - 1)) % PROCESSORS;
    this.#step();
    this.it.current = current;
    this.#depth -= 1;
  }

  #lies(oneIn: number): boolean {
    return this.#malice > 0 && this.#random(oneIn) === 0;
  }

  #watch(event: MachineEvent): void {
    if (event.type !== 'pvalidate' || event.result !== RmpResult.SUCCESS || event.unchanged) return;
    const { virt } = this.it.directMap;
    for (let at = event.gva; at < event.gva + BigInt(event.pageSize); at += BigInt(PAGE_SIZE)) {
      if (!virt.contains(at as VirtAddr)) continue;
      const gpa = this.it.directMap.toPhys(at as VirtAddr);
      if (!event.validate) this.#validated.delete(gpa);
      else if (this.#validated.has(gpa)) throw new Error(`0x${gpa.toString(16)} is validated twice`);
      else this.#validated.add(gpa);
    }
  }

  // ---------- memory ----------

  #pageIn(block: MemoryRegion<VirtAddr>): VirtAddr {
    return (block.start + BigInt(this.#random(block.pageCount()) * PAGE_SIZE)) as VirtAddr;
  }

  #anyPage(): VirtAddr | undefined {
    const block = this.#blocks[this.#random(this.#blocks.length + 1)];
    return block === undefined ? undefined : this.#pageIn(block);
  }

  #isPrivate(page: VirtAddr): boolean {
    const region = virtRegion(page, PAGE_SIZE);
    const { visibility, directMap } = this.it;
    return visibility.sharedIn(region).length === 0 && !visibility.lost.contains(directMap.toPhys(page));
  }

  /** Writes a secret to a private page. Another processor may be changing it: then the model does not know. */
  #write(): void {
    const page = this.#anyPage();
    if (page === undefined || this.#depth > 0 || !this.#isPrivate(page)) return;
    this.#secrets += 1n;
    const bytes = new Uint8Array(new BigUint64Array([MARK | this.#secrets]).buffer);
    this.#access('write', page, () => {
      this.it.cpus[this.it.current]!.vcpu.write(page, bytes);
      this.#content.set(page, [MARK | this.#secrets]);
    });
  }

  #read(): void {
    const page = this.#anyPage();
    if (page === undefined || this.#depth > 0 || !this.#isPrivate(page)) return;
    this.#access('read', page, () => {
      const bytes = this.it.cpus[this.it.current]!.vcpu.read(page, 8);
      const value = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
      const expected = this.#content.get(page) ?? 'anything';
      const isKnown = expected === 'anything' || expected.includes(value);
      this.#require(isKnown, `0x${page.toString(16)} holds ${value.toString(16)}, not ${String(expected)}`);
    });
  }

  #access(what: string, page: VirtAddr, access: () => void): void {
    try {
      access();
      this.#note(what, undefined);
    } catch (error) {
      if (!isSnpFault(error)) throw error;
      const isExpected = this.#attacked.has(this.it.directMap.toPhys(page));
      this.#require(isExpected, `${what} of 0x${page.toString(16)}: ${error.message}`);
      this.#note(what, error);
    }
  }

  /** The host looks for a secret in DRAM. */
  #hostReads(): void {
    const { it } = this;
    const page = this.#anyPage() ?? it.directMap.virt.start;
    const nested = it.guest.nested.lookup(it.directMap.toPhys(page));
    if (nested === undefined) return;
    const view = new DataView(it.host.read(nested.spa, 8).buffer);
    const mark = view.getBigUint64(0, true) & 0xffff_0000_0000_0000n;
    this.#require(mark !== MARK, `the host reads a secret of 0x${page.toString(16)}`);
  }

  // ---------- blocks ----------

  #allocate(): void {
    const pages = [1, 2, 3, 8, 40, 512][this.#random(6)]!;
    this.#attempt('allocate', () => {
      const block = this.it.pages.allocateRun(pages, pages === 512 ? 2 * MiB : PAGE_SIZE);
      for (const page of block.iterPages(PAGE_SIZE)) this.#content.delete(page);
      this.#blocks.push(block);
    });
  }

  #free(): void {
    this.#withBlock((block, index) => {
      this.#attempt('free', () => {
        this.it.pages.freePages(block);
        this.#blocks.splice(index, 1);
      });
    });
  }

  #share(): void {
    this.#withBlock((block) => {
      const region = this.#partOf(block);
      const isDone = this.#attempt('share', () => this.it.visibility.makeShared(region));
      this.#after(region, isDone);
    });
  }

  #takeBack(): void {
    this.#withBlock((block) => {
      const parts = this.it.visibility.sharedIn(block);
      const region = parts[this.#random(parts.length + 1)] ?? this.#partOf(block);
      const isDone = this.#attempt('take back', () => this.it.visibility.makePrivate(region));
      this.#after(region, isDone);
    });
  }

  #release(): void {
    this.#withBlock((block, index) => {
      const isDone = this.#attempt('release', () => this.it.visibility.release(block));
      // Also after a failure, the caller has given the block up.
      if (isDone !== undefined) this.#blocks.splice(index, 1);
      else this.#after(block, false);
    });
  }

  #box(): void {
    if (this.#boxes.length > 6) return;
    this.#attempt('box', () => {
      const box = SharedBox.create(this.it, 1 + this.#random(3 * PAGE_SIZE));
      const bytes = box.read(0, box.size);
      this.#require(
        bytes.every((byte) => byte === 0),
        'a new box does not hold zeros',
      );
      this.#boxes.push(box);
    });
  }

  #unbox(): void {
    const box = this.#boxes.splice(this.#random(this.#boxes.length + 1), 1)[0];
    if (box === undefined) return;
    this.#attempt('unbox', () => box[Symbol.dispose]());
    if (!box.isReleased) this.#boxes.push(box);
  }

  #pin(): void {
    const page = this.#anyPage();
    if (page === undefined || this.#pins.length > 5) return;
    const phys = this.it.directMap.physOf(virtRegion(page, PAGE_SIZE));
    this.it.uses.add(phys);
    this.#pins.push(phys);
  }

  #unpin(): void {
    const pin = this.#pins.pop();
    if (pin !== undefined) this.it.uses.remove(pin);
  }

  #retry(): void {
    this.#attempt('retry', () => {
      const before = [...this.it.visibility.lost].map((region) => this.it.directMap.virtOf(region));
      this.it.visibility.retryLost();
      for (const region of before) this.#after(region, true);
    });
  }

  /** The hypervisor exchanges or takes a page that the guest has. */
  #attack(): void {
    if (this.#malice < 2 || this.#random(10) !== 0) return;
    const { it } = this;
    const [one, other] = [0, 1].map(
      () => (BigInt(HEAP) + BigInt(this.#random(1024) * PAGE_SIZE)) as PhysAddr,
    );
    const attacks = [
      () => it.host.swap(it.guest, one!, other!),
      () => it.host.unassign(it.guest, one!),
      () => it.host.smash(it.guest, one!),
      () => it.host.alias(it.guest, one!, other!),
    ];
    attacks[this.#random(attacks.length)]!();
    it.host.flushTlbs(it.guest);
    for (const gpa of [one!, other!]) this.#attacked.add(gpa);
    this.#note('attack', undefined);
  }

  // ---------- the model ----------

  #withBlock(use: (block: MemoryRegion<VirtAddr>, index: number) => void): void {
    // An interrupt must not take a block away from the step that it interrupts.
    if (this.#depth > 0) {
      this.#meddle();
      return;
    }
    const index = this.#random(this.#blocks.length + 1);
    const block = this.#blocks[index];
    if (block !== undefined) use(block, index);
  }

  /** In an interrupt: tries what the processor that is interrupted may just be doing, on any block. */
  #meddle(): void {
    const block = this.#blocks[this.#random(this.#blocks.length + 1)];
    if (block === undefined) return;
    const region = this.#partOf(block);
    const { visibility } = this.it;
    const isDone = this.#attempt('meddle', () =>
      this.#random(2) === 0 ? visibility.makeShared(region) : visibility.makePrivate(region),
    );
    this.#after(region, isDone);
  }

  #partOf(block: MemoryRegion<VirtAddr>): MemoryRegion<VirtAddr> {
    const count = block.pageCount();
    if (this.#random(2) === 0) return block;
    const first = this.#random(count);
    const pages = 1 + this.#random(Math.min(count - first, 16));
    return virtRegion((block.start + BigInt(first * PAGE_SIZE)) as VirtAddr, pages * PAGE_SIZE);
  }

  /** Corrects the model after a change of a region: clear where it is done, else old or clear. */
  #after(region: MemoryRegion<VirtAddr>, isDone: boolean | undefined): void {
    if (isDone === undefined) return;
    for (const page of region.iterPages(PAGE_SIZE)) {
      const before = this.#content.get(page) ?? 'anything';
      if (isDone && this.#isPrivate(page)) this.#content.set(page, [0n]);
      else if (before !== 'anything') this.#content.set(page, [...before, 0n]);
    }
  }

  /** Runs a step that may be refused. Returns whether it is done; `undefined` if it was refused, and nothing has changed. */
  #attempt(what: string, run: () => void): boolean | undefined {
    try {
      run();
      this.#note(what, undefined);
      return true;
    } catch (error) {
      const isKnown =
        isMmError(error) ||
        isBuddyError(error) ||
        isSnpError(error) ||
        isSnpFault(error) ||
        isPageTableError(error);
      if (!isKnown) throw error;
      this.#note(what, error);
      return isMmError(error, 'VISIBILITY_FAILED') ? false : undefined;
    }
  }

  #note(what: string, error: { readonly code: string } | undefined): void {
    const name = error === undefined ? what : `${what}: ${error.code}`;
    this.tally.set(name, (this.tally.get(name) ?? 0) + 1);
  }

  #require(holds: boolean, problem: string): void {
    if (!holds) throw new Error(problem);
  }

  /** All pages that the hypervisor has not touched are where the records say. */
  #finish(): void {
    const { it } = this;
    const pages = everyPage(it).filter((gpa) => !this.#attacked.has(gpa));
    const broken = quietly(it, () => brokenLaw(it, pages));
    this.#require(broken === undefined, String(broken));
    it.pages.checkInvariants();
    const held = new Set(this.#blocks.map(({ start }) => start));
    for (const box of this.#boxes) held.add(box.region.start);
    for (const { region, state } of it.pages.blocks()) {
      if (state !== 'allocated' || held.has(region.start)) continue;
      this.#require(it.visibility.isAbandoned(region), `${region} is leaked`);
    }
    const spas = pages.map((gpa) => it.guest.nested.lookup(gpa)?.spa);
    const secrets = spas.filter((spa) => spa !== undefined && isSecret(it.host.read(spa, 8)));
    this.#require(secrets.length === 0, `the host reads ${secrets.length} secrets`);
  }
}

function isSecret(bytes: Uint8Array): boolean {
  return (new DataView(bytes.buffer).getBigUint64(0, true) & 0xffff_0000_0000_0000n) === MARK;
}
