/** Guests that change the visibility of regions: each step of a change can fail, and the state of each page is compared. */
import { PAGE_SIZE, PageSize, type PhysAddr, pageNumber, physAddr, type VirtAddr } from '@svsm/address';
import { type MemoryRegion, virtRegion } from '@svsm/memory-region';
import { PageTable, type PhysMemory, Tlb } from '@svsm/pagetable';
import { expect } from 'vitest';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { isValidatedWord, RMP_ENTRY_WORDS } from '../../src/formats/rmp-entry.ts';
import { isSnpError } from '../../src/formats/snp-error.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import type { VisibilityOptions } from '../../src/guest/page-visibility.ts';
import type { RegionState } from '../../src/guest/region-state.ts';
import { svsmValidator } from '../../src/guest/svsm-validator.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import type { GhcbAnswer } from '../../src/host/ghcb-service.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { onSteps } from './svsm-steps.ts';
import { CAA, type SvsmWorld, svsmWorld } from './svsm-world.ts';
import { BASE, bytesOf, gvaOf, MiB, spaOf, type World, world } from './world.ts';

/** A hypervisor that refuses the page state changes of some pages, or a whole exit. */
class Refusing extends Hypervisor {
  /** Whether a page is refused. */
  refuses: (gpa: PhysAddr, size: number) => boolean = () => false;
  /** The answer to the next exit through a GHCB. */
  answer: GhcbAnswer | undefined;

  override changePageState(...args: Parameters<Hypervisor['changePageState']>): number {
    return this.refuses(args[1], args[3] ?? PAGE_SIZE) ? 1 : super.changePageState(...args);
  }

  override answerGhcb(...args: Parameters<Hypervisor['answerGhcb']>): GhcbAnswer {
    const { answer } = this;
    this.answer = undefined;
    return answer ?? super.answerGhcb(...args);
  }
}

/** A step of a change, which can fail: an instruction, an access to the page table, a new frame, or a flush. */
export type Step = Parameters<Parameters<typeof onSteps>[1]>[1] | 'table' | 'frame' | 'shootdown';

export interface RegionWorld extends World {
  /** The processor that changes pages, and another one of the guest. */
  readonly cpu: Vcpu;
  readonly other: Vcpu;
  readonly ghcb: Ghcb;
  /** The page table of both processors. Its accesses and frames are steps. */
  readonly pages: PageTable;
  readonly validated: ValidatedPages;
  readonly options: VisibilityOptions;
  /** The regions that were flushed. */
  readonly flushes: string[];
  readonly host: Refusing;
  /** Called before each step. Its result replaces an instruction. */
  onStep: (step: Step) => unknown;
}

/** A guest on two processors: by itself with `size` bytes, or above an SVSM with 8 MiB. */
export function regionWorld(isAbove = false, size: number = 8 * MiB): RegionWorld {
  const machine = { hypervisor: (it: never) => new Refusing(it), memorySize: 24 * MiB + size };
  const base = isAbove ? aboveSvsm(machine) : alone(machine, size);
  const { it, cpu, root, validator, frame: first } = base;
  const hooks: { onStep: (step: Step) => unknown } = { onStep: () => undefined };
  let frame = first;
  const frames = {
    allocateFrame: () => {
      hooks.onStep('frame');
      frame += PAGE_SIZE;
      return physAddr(frame);
    },
    freeFrame: () => {},
  };
  const { memory } = cpu;
  const hooked: PhysMemory = {
    epoch: Number.NaN,
    words: (number, write) => {
      hooks.onStep('table');
      return memory.words(number, write);
    },
    wordOffset: memory.wordOffset,
  };
  const pages = PageTable.open(root, { memory: hooked, frames, config: it.guest.paging });
  const other = it.guest.createVcpu({ vmpl: cpu.vmpl, tlb: new Tlb() });
  other.loadCr3(cpu.cr3);
  const validated = new ValidatedPages(it.guest.memory, it.guest.memory);
  const flushes: string[] = [];
  const flush = (region: MemoryRegion<VirtAddr>): void => {
    hooks.onStep('shootdown');
    flushes.push(String(region));
    for (const gva of region.iterPages(PageSize.Regular)) for (const vcpu of [cpu, other]) vcpu.invlpg(gva);
  };
  const options = { validated, flush, ...(validator === undefined ? {} : { validator }) };
  const ghcb = Ghcb.create(cpu, pages, gvaOf(CAA + 0x2000), options);
  flushes.length = 0;
  onSteps(cpu, (_, name) => hooks.onStep(name));
  // Above an SVSM, it is the SVSM that executes PVALIDATE.
  if (isAbove) onSteps(it.vcpu, (_, name) => (name === 'pvalidate' ? hooks.onStep(name) : undefined));
  const host = it.machine.hypervisor as Refusing;
  return Object.assign(hooks, { ...it, cpu, other, ghcb, pages, validated, options, flushes, host });
}

type Machine = Parameters<typeof world>[0];

function alone(machine: unknown, size: number) {
  const it = world(machine as Machine, { size });
  return { it, cpu: it.vcpu, root: it.table.root, frame: MiB + 0x8_0000, validator: undefined };
}

function aboveSvsm(machine: unknown) {
  const it = svsmWorld({}, machine as Machine);
  const cpu = it.guestCpu;
  const root = physAddr(cpu.cr3 & ~(1n << BigInt(it.machine.cBit)));
  return { it, cpu, root, frame: 3 * MiB + 0x8_0000, validator: svsmValidator(it.area) };
}

/** The state of a page: by its mapping and the RMP. */
function stateOf(it: RegionWorld, gva: bigint): 'private' | 'shared' | 'lost' {
  const page = it.pages.lookup(gva as VirtAddr)!;
  const { assigned, validated } = it.machine.rmp.entry(spaOf(it, Number(gva - BASE)))!;
  if (assigned && validated && !page.shared) return 'private';
  return !assigned && page.shared ? 'shared' : 'lost';
}

/** Checks that each page of a region is where the state says, and that the record has what the RMP has as validated. */
export function requireState(
  it: RegionWorld,
  region: MemoryRegion<VirtAddr>,
  state: RegionState,
  why: string,
): void {
  const expected = new Map<bigint, string>();
  for (const list of ['private', 'shared', 'lost'] as const) {
    for (const part of state[list]) {
      for (const gva of part.iterPages(PageSize.Regular)) {
        if (expected.has(gva)) expect.fail(`${why}: 0x${gva.toString(16)} is in two lists`);
        expected.set(gva, list);
      }
    }
  }
  expect(expected.size, why).toBe(region.pageCount());
  for (const gva of region.iterPages(PageSize.Regular)) {
    const list = expected.get(gva);
    if (list !== 'lost' && stateOf(it, gva) !== list)
      expect([why, gva, stateOf(it, gva)]).toEqual([why, gva, list]);
  }
  requireRecord(it, why);
}

/** Scratch: the words of one entry. */
const ENTRY = new Uint32Array(RMP_ENTRY_WORDS);

/** Checks that the record has the pages that the RMP has as validated, and the SVSM likewise. */
export function requireRecord(it: RegionWorld, why: string): void {
  const { state } = it as Partial<SvsmWorld>;
  const records = [it.validated, ...(state === undefined ? [] : [state.validated])];
  // A page of the nested table, which can be large, is looked up once: the next page of it, and how many are left.
  let page = 0;
  let left = 0;
  for (const gpa of it.guest.memory.iterPages(PageSize.Regular)) {
    if (left === 0) {
      const { spa, size } = it.guest.nested.lookup(gpa)!;
      page = pageNumber(spa);
      left = size / PAGE_SIZE - (page % (size / PAGE_SIZE));
    }
    it.machine.rmp.readWords(page, ENTRY);
    page += 1;
    left -= 1;
    const inRmp = isValidatedWord(ENTRY[1]!);
    for (const record of records)
      if (record.has(gpa) !== inRmp) expect([why, gpa, record.has(gpa)]).toEqual([why, gpa, inRmp]);
  }
}

/** Of how many pages of a region one is written: each takes 4 KiB. */
const WRITTEN_OF = 37;

/** Checks that all of a region is in one state, usable by both processors, and clear if it is private. */
export function requireAll(
  it: RegionWorld,
  region: MemoryRegion<VirtAddr>,
  to: 'private' | 'shared',
  why: string,
): void {
  requireState(it, region, { private: [], shared: [], lost: [], [to]: [region] }, why);
  const bytes = it.cpu.read(region.start, Number(region.size));
  if (to === 'private' && !isClear(bytes)) expect.fail(`${why}: a private page is not clear`);
  const last = region.pageCount() - 1;
  for (const [k, gva] of [...region.iterPages(PageSize.Regular)].entries())
    if (k < 4 || k === last || k % WRITTEN_OF === 0) it.other.write(gva, bytesOf('mine'));
    else it.other.translate(gva);
  if (to === 'shared')
    expect(it.host.read(spaOf(it, Number(region.start - BASE)), 4), why).toEqual(bytesOf('mine'));
}

const ZEROS = new Uint8Array(PAGE_SIZE);

/** Whether the bytes of whole pages are zero. */
function isClear(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += PAGE_SIZE)
    if (Buffer.compare(bytes.subarray(at, at + PAGE_SIZE), ZEROS) !== 0) return false;
  return true;
}

/** The state in the error of a change; `undefined` if it has not failed, `unchanged` if it says that nothing has changed. */
export function failureOf(change: () => void): RegionState | undefined | 'unchanged' {
  try {
    change();
    return undefined;
  } catch (error) {
    return isSnpError(error, 'REGION_CHANGE_FAILED') ? error.details : 'unchanged';
  }
}

/** The number of exits of an action. */
export function exitsOf(it: World, action: () => void): number {
  const before = it.events.length;
  action();
  return it.events.slice(before).filter(({ type }) => type === 'vmgexit').length;
}

export const regionOf = (gpa: number, bytes: number): MemoryRegion<VirtAddr> => virtRegion(gvaOf(gpa), bytes);
