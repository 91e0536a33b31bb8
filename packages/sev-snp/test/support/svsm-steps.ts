/** Calls of an SVSM step by step: each access and instruction of its processor, and the whole state around a call. */
import { PAGE_SIZE, PageSize, pageNumber, physAddr } from '@svsm/address';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import {
  isAssignedWord,
  isValidatedWord,
  isVmsaWord,
  maskOfWord,
  RMP_ENTRY_WORDS,
} from '../../src/formats/rmp-entry.ts';
import { SvsmCall, type SvsmRegisters } from '../../src/formats/svsm-protocol.ts';
import { EFER_SVME, writeVmsa } from '../../src/formats/vmsa.ts';
import { HYPERVISOR_ENTRY } from '../../src/rmp/rmp.ts';
import type { SvsmCore } from '../../src/svsm/svsm-core.ts';
import type { SvsmStateOptions } from '../../src/svsm/svsm-options.ts';
import { accessOf, CAA, call, entryOf, OWN_END, type SvsmWorld, svsmWorld, writeList } from './svsm-world.ts';
import { gvaOf, MiB, spaOf } from './world.ts';

/** The instructions and accesses of a processor. Each of them can exit, fail, or fault. */
const STEPS = [
  'read',
  'write',
  'clear',
  'exchange',
  'compareExchange',
  'rmpadjust',
  'rmpquery',
  'pvalidate',
  'invlpgb',
  'vmgexit',
] as const;
export type StepName = (typeof STEPS)[number];

/**
 * Calls `before` ahead of each step of a processor, with the number of the step. Its result, if it has one, replaces the
 * step. Calls `after` behind each step that has not thrown, as `trace` is called behind an instruction.
 */
export function onSteps(
  vcpu: Vcpu,
  before: (step: number, name: StepName, args: unknown[]) => unknown,
  after: (step: number) => void = () => {},
): void {
  let steps = 0;
  for (const name of STEPS) {
    const original = (vcpu[name] as (...args: unknown[]) => unknown).bind(vcpu);
    (vcpu as unknown as Record<string, unknown>)[name] = (...args: unknown[]): unknown => {
      const step = steps++;
      const result = before(step, name, args) ?? original(...args);
      after(step);
      return result;
    };
  }
}

/** An SVSM on two processors, with two processors of the guest at VMPL2. */
export interface TwoProcessors extends SvsmWorld {
  readonly other: { readonly svsm: SvsmCore; readonly svsmCpu: Vcpu; readonly guestCpu: Vcpu };
}

/** The calling area of the guest's second processor. */
export const OTHER_CAA = CAA + 0x10_000;

/** Pages of the guest, in a 2 MiB page that the RMP has in 4 KiB pages. */
export const X = 6 * MiB + 0x1000;
/** Not validated. */
export const Y = 6 * MiB + 0x2000;
export const W = 6 * MiB + 0x3000;
/** Deposited. */
export const D = 6 * MiB + 0x4000;
/** A VMSA that the SVSM has created. */
export const V = 6 * MiB + 0x5000;
const V_CAA = 6 * MiB + 0x6000;

/** The image of a VMSA that CREATE_VCPU accepts. */
export function vmsaImage(vmpl = 2n): Uint8Array {
  const image = new Uint8Array(PAGE_SIZE);
  writeVmsa(image, 'vmpl', vmpl);
  writeVmsa(image, 'efer', EFER_SVME);
  writeVmsa(image, 'sevFeatures', 1n);
  return image;
}

/** A guest with two processors; {@link X} holds the image of a VMSA. */
export function twoProcessors(options: Partial<SvsmStateOptions> = {}): TwoProcessors {
  const it = svsmWorld(options);
  const svsmCpu = it.guest.createVcpu();
  svsmCpu.loadCr3(it.vcpu.cr3);
  const guestCpu = it.guest.createVcpu({ vmpl: 2 });
  guestCpu.loadCr3(it.guestCpu.cr3);
  const svsm = it.state.on(svsmCpu, accessOf(svsmCpu, it.table));
  svsm.register(guestCpu, physAddr(OTHER_CAA));
  it.guestCpu.write(gvaOf(X), vmsaImage());
  it.guestCpu.write(gvaOf(V), vmsaImage());
  it.guestCpu.write(gvaOf(W), Uint8Array.of(1, 2, 3));
  const all = { ...it, other: { svsm, svsmCpu, guestCpu } };
  for (const prepare of [CALLS['rescindY'], CALLS['depositD'], CALLS['createV']]) {
    if (run(prepare!, all) !== 0) throw new Error('the world cannot be prepared');
  }
  return all;
}

/** A call of one of the processors: writes its list, and returns the call and its registers. */
export type Request = (it: SvsmWorld, caa: number) => [id: number, registers: Partial<SvsmRegisters>];

const pvalidate =
  (gpa: number, validate: boolean, fields = {}): Request =>
  (it, caa) => {
    writeList(it, [entryOf(gpa, { validate, ...fields })], caa + 8);
    return [SvsmCall.Pvalidate, { rcx: BigInt(caa + 8) }];
  };
const deposit =
  (gpa: number, size = 0): Request =>
  (it, caa) => {
    writeList(it, [entryOf(gpa, { validate: false, size })], caa + 8);
    return [SvsmCall.DepositMem, { rcx: BigInt(caa + 8) }];
  };
const create =
  (vmsa: number, caa: number): Request =>
  () => [SvsmCall.CreateVcpu, { rcx: BigInt(vmsa), rdx: BigInt(caa), r8: 7n }];

/** Calls that use some of the same pages. */
export const CALLS: Readonly<Record<string, Request>> = {
  rescindX: pvalidate(X, false),
  rescindY: pvalidate(Y, false),
  validateY: pvalidate(Y, true),
  clearX: pvalidate(X, true, { ignoreUnchanged: true }),
  depositX: deposit(X),
  depositD: deposit(D),
  withdraw: (_, caa) => [SvsmCall.WithdrawMem, { rcx: BigInt(caa + 0xff0) }],
  remapX: () => [SvsmCall.RemapCa, { rcx: BigInt(X) }],
  createX: create(X, W),
  createV: create(V, V_CAA),
  deleteV: () => [SvsmCall.DeleteVcpu, { rcx: BigInt(V) }],
  remapW: () => [SvsmCall.RemapCa, { rcx: BigInt(W) }],
  rescindW: pvalidate(W, false),
  /** A list in the page of another call. */
  listInX: (it) => {
    writeList(it, [entryOf(W, { validate: false })], X + 8);
    return [SvsmCall.Pvalidate, { rcx: BigInt(X + 8) }];
  },
};

/** Calls with pages of 2 MiB, in a guest without 4 KiB pages. */
export const HUGE_CALLS: Readonly<Record<string, Request>> = {
  rescind: pvalidate(6 * MiB, false, { size: 1 }),
  validate6: pvalidate(6 * MiB, true, { size: 1 }),
  clear: pvalidate(6 * MiB, true, { size: 1, ignoreUnchanged: true }),
  deposit: deposit(6 * MiB, 1),
};

/** Makes a call of the first processor. */
export function run(request: Request, it: SvsmWorld): number {
  const [id, registers] = request(it, CAA);
  return call(it, id, registers);
}

/** A call of the second processor, on the second processor of the SVSM. Its list is written now; the result runs it. */
export function prepareOther(request: Request, it: TwoProcessors): () => number {
  const [id, registers] = request(it, OTHER_CAA);
  return () => {
    const all = { rax: BigInt(id), rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, ...registers };
    it.other.svsm.call(it.other.guestCpu, all);
    return Number(all.rax);
  };
}

/** Pages of the guest that a state compares: all but the page tables of the guest's processor. */
const COMPARED = [2 * MiB, 4 * MiB, 6 * MiB];

/**
 * The whole state: entries of the RMP, records, and the content of the validated pages of the guest, without the headers of
 * lists in calling areas. Entries and content are in typed arrays, which compare fast.
 */
export function stateOf(it: SvsmWorld, others: readonly Vcpu[] = []): unknown {
  const record = [...it.state.validated].map(String);
  const areas = [it.guestCpu, ...others].map((vcpu) => it.svsm.callingArea(vcpu));
  return { record, areas, vcpus: it.state.vcpus, rmp: rmpOf(it), memory: memoryOf(it) };
}

/** For each assigned page: its number, whether its own entry is assigned, and the entry that decides. */
function rmpOf({ machine: { rmp } }: SvsmWorld): Uint32Array {
  // The entry of a region that nothing has changed, and of no other, is this object.
  const changed = [...rmp.covered.iterPages(PageSize.Huge)].filter(
    (at) => rmp.rawEntry(at) !== HYPERVISOR_ENTRY,
  );
  const words = new Uint32Array(changed.length * PAGES_OF_HUGE * (2 + RMP_ENTRY_WORDS));
  let used = 0;
  for (const region of changed) {
    const first = pageNumber(region);
    for (let page = first; page < first + PAGES_OF_HUGE; page += 1) {
      const isAssigned = rmp.isAssigned(page);
      rmp.readWords(page, ENTRY);
      if (!isAssigned && !isAssignedWord(ENTRY[0]!)) continue;
      words[used] = page;
      words[used + 1] = Number(isAssigned);
      for (let k = 0; k < RMP_ENTRY_WORDS; k += 1) words[used + 2 + k] = ENTRY[k]!;
      used += 2 + RMP_ENTRY_WORDS;
    }
  }
  return words.subarray(0, used);
}

const PAGES_OF_HUGE = PageSize.Huge / PAGE_SIZE;
const ZEROS = new Uint8Array(PAGE_SIZE);
/** Scratch: the words of one entry. */
const ENTRY = new Uint32Array(RMP_ENTRY_WORDS);

function memoryOf(it: SvsmWorld): { gpas: number[]; bytes: Buffer } {
  const { memory, rmp } = it.machine;
  const gpas: number[] = [];
  const pages: Uint8Array[] = [];
  for (const start of COMPARED) {
    const first = pageNumber(spaOf(it, start));
    for (const frame of memory.writtenIn(first, PAGES_OF_HUGE, it.guest.key)) {
      const gpa = start + (frame - first) * PAGE_SIZE;
      rmp.readWords(frame, ENTRY);
      // Pages that are not validated have no content, and those of the SVSM are not the guest's.
      if (isTable(gpa) || !isValidatedWord(ENTRY[1]!) || maskOfWord(ENTRY[2]!, 2) === 0) continue;
      const page = memory.readFrame(frame, 0, PAGE_SIZE, it.guest.key);
      for (const list of [CAA, OTHER_CAA, X]) if (list === gpa) page.fill(0, 8, 16);
      if (Buffer.compare(page, ZEROS) === 0) continue;
      gpas.push(gpa);
      pages.push(page);
    }
  }
  return { gpas, bytes: Buffer.concat(pages) };
}

function isTable(gpa: number): boolean {
  return gpa >= 3 * MiB && gpa < 4 * MiB;
}

/** The pages that WITHDRAW_MEM returns, all of them. */
export function allDeposits(it: SvsmWorld): bigint[] {
  const found: bigint[] = [];
  for (;;) {
    const rcx = BigInt(it.svsm.callingArea(it.guestCpu)! + 8n);
    if (call(it, SvsmCall.WithdrawMem, { rcx }) !== 0) return [...found, -1n];
    const words = new BigUint64Array(it.vcpu.read(gvaOf(Number(rcx)), 0xff8).slice().buffer);
    if (words[0] === 0n) return found;
    found.push(...words.subarray(1, 1 + Number(words[0])));
  }
}

/** The pages that are closed to the SVSM's guest by rule, and open: the SVSM's memory, and every VMSA of the RMP. */
export function openPages(it: SvsmWorld): string[] {
  const open: string[] = [];
  eachPage(it, (gpa) => {
    const isClosed = gpa < OWN_END || isVmsaWord(ENTRY[1]!);
    // The masks of VMPL1 to VMPL3.
    if (isClosed && ENTRY[2]! >>> 8 !== 0) open.push(gpa.toString(16));
  });
  return open;
}

/** The addresses of the VMSAs in the RMP. */
export function vmsasOf(it: SvsmWorld): bigint[] {
  const found: bigint[] = [];
  eachPage(it, (gpa) => {
    if (isVmsaWord(ENTRY[1]!)) found.push(BigInt(gpa));
  });
  return found;
}

/** Calls `visit` for each page of the guest, with the words of its entry in {@link ENTRY}. */
function eachPage(it: SvsmWorld, visit: (gpa: number) => void): void {
  for (let start = 0; start < 8 * MiB; start += PageSize.Huge) {
    const first = pageNumber(spaOf(it, start));
    for (let k = 0; k < PAGES_OF_HUGE; k += 1) {
      it.machine.rmp.readWords(first + k, ENTRY);
      visit(start + k * PAGE_SIZE);
    }
  }
}
