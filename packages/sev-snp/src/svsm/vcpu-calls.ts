import { PAGE_SIZE, PageSize, type PhysAddr } from '@svsm/address';
import { SvsmResult } from '../formats/svsm-protocol.ts';
import { VMPL_COUNT, type Vmpl, VmplPermission } from '../formats/vmpl.ts';
import { EFER_SVME, readVmsa, writeVmsa } from '../formats/vmsa.ts';
import type { GuestPages } from './guest-pages.ts';
import { rightsBefore } from './page-rights.ts';
import type { Processor } from './processors.ts';
import { requireAligned, type SvsmCallContext, using } from './svsm-call-context.ts';
import { attempt, isDone, SvsmRefusal } from './svsm-refusal.ts';
import { disableVmsa, readImage, restoreEfer } from './vmsa-of-caller.ts';

/** The bytes of a calling area that are not arguments. */
const HEADER_SIZE = 8;

/** The APIC id that stands for all processors in x2APIC mode: no processor has it. */
const NO_APIC_ID = 0xffff_ffff;

/** SVSM_CORE_REMAP_CA (AMD document 58019, §6.1). O(processors). */
export function remapCallingArea(call: SvsmCallContext, gpa: bigint): number {
  const { memory, caller, vmpl } = call;
  requireAligned(gpa);
  if (caller === undefined) throw new SvsmRefusal(SvsmResult.InvalidRequest);
  const old = caller.caa;
  // Both areas stay mapped until all is done: if unmapping fails, the call has happened.
  const holdingOld = (steps: () => void): number => {
    memory.reach.holding(old, PageSize.Regular, steps);
    return SvsmResult.Success;
  };
  if (old === gpa) {
    return holdingOld(() => {
      memory.rights.requireAccess(gpa, vmpl as Vmpl);
      memory.write(gpa, new Uint8Array(HEADER_SIZE));
    });
  }
  const move = (): void => moveCallingArea(call, caller, gpa as PhysAddr);
  return using(call, [[gpa, PAGE_SIZE, 'change']], () => holdingOld(move));
}

/** Moves a calling area to a page that is mapped and claimed, as is the old one. @throws SvsmRefusal; nothing has changed then */
function moveCallingArea({ memory, vmpl }: SvsmCallContext, caller: Processor, gpa: PhysAddr): void {
  const old = caller.caa;
  // The old area too: another level can have taken it from the caller.
  for (const area of [gpa, old]) memory.rights.requireAccess(area, vmpl as Vmpl);
  const before = memory.read(gpa, HEADER_SIZE);
  memory.write(gpa, new Uint8Array(HEADER_SIZE));
  try {
    memory.write(old, new Uint8Array(1));
  } catch (error) {
    isDone(() => memory.write(gpa, before));
    throw error;
  }
  caller.caa = gpa;
}

/** SVSM_CORE_CREATE_VCPU (AMD document 58019, §6.3). O(processors). */
export function createVcpu(call: SvsmCallContext, vmsa: bigint, caa: bigint, apicId: number): number {
  requireAligned(vmsa);
  requireAligned(caa);
  if (vmsa === caa) throw new SvsmRefusal(SvsmResult.InvalidAddress);
  if (apicId === NO_APIC_ID) throw new SvsmRefusal(SvsmResult.InvalidParameter);
  const { rights } = call.memory;
  return using(
    call,
    [
      [vmsa, PAGE_SIZE, 'change'],
      [caa, PAGE_SIZE, 'change'],
    ],
    () => {
      const at = vmsa as PhysAddr;
      const before = rights.require(at, PageSize.Regular, call.vmpl);
      rights.requireAccess(caa, call.vmpl as Vmpl);
      const taken = rights.undoing((journal) => {
        // First nobody can change the page any more, then it is read.
        rights.revoke(at, PageSize.Regular, journal);
        const rightsOfPage = rightsBefore(before[0]!, journal);
        const level = requireFit(call, call.memory.read(at, PAGE_SIZE));
        if (call.assumptions.svsmSecondVmsa === 'refused') requireFirst(call, apicId, level);
        rights.makeVmsa(at, journal);
        return { vmpl: level, rightsBefore: [rightsOfPage] };
      });
      const { state } = call;
      state.take(at, PageSize.Regular);
      const areas = { caa: caa as PhysAddr, vmsa: at };
      state.processors.addCreated(at, { ...areas, ...taken, apicId, isBusy: false });
      return SvsmResult.Success;
    },
  );
}

/** @throws SvsmRefusal InvalidParameter if an APIC id has a VMSA of a level */
function requireFirst({ state }: SvsmCallContext, apicId: number, vmpl: number): void {
  for (const created of state.processors.created) {
    const isSame = created.apicId === apicId && created.vmpl === vmpl;
    if (isSame) throw new SvsmRefusal(SvsmResult.InvalidParameter);
  }
}

/** The level of a VMSA. @throws SvsmRefusal InvalidParameter if the caller may not have it run */
function requireFit({ vmpl: caller, assumptions, sevFeatures }: SvsmCallContext, image: Uint8Array): number {
  const vmpl = Number(readVmsa(image, 'vmpl'));
  const isLevel = assumptions.svsmVmsaLevels === 'own' ? vmpl === caller : vmpl >= caller;
  const isFit =
    vmpl !== 0 &&
    vmpl < VMPL_COUNT &&
    isLevel &&
    (readVmsa(image, 'efer') & EFER_SVME) !== 0n &&
    readVmsa(image, 'sevFeatures') === sevFeatures;
  if (!isFit) throw new SvsmRefusal(SvsmResult.InvalidParameter);
  return vmpl;
}

/**
 * SVSM_CORE_DELETE_VCPU (AMD document 58019, §6.4). It succeeds once the processor is gone, even if the hypervisor hides the
 * page then: the page has the rights that could be given back until then. O(1).
 */
export function deleteVcpu(call: SvsmCallContext, vmsa: bigint): number {
  const { state } = call;
  const held = state.processors.createdAt(vmsa);
  if (held === undefined || held.vmpl < call.vmpl) throw new SvsmRefusal(SvsmResult.InvalidParameter);
  const isOther = held !== call.caller;
  if (isOther && held.isBusy) throw new SvsmRefusal(SvsmResult.Busy);
  // Until the end it cannot call.
  held.isBusy = true;
  try {
    call.memory.reach.holding(vmsa, PageSize.Regular, () => {
      dropVmsa(call, vmsa as PhysAddr, held);
      removeProcessor(call, vmsa as PhysAddr);
    });
  } finally {
    if (isOther) held.isBusy = false;
  }
  return SvsmResult.Success;
}

/** Forgets a processor. The page is the guest's again. */
function removeProcessor({ state }: SvsmCallContext, vmsa: PhysAddr): void {
  state.processors.deleteCreated(vmsa);
  state.release(vmsa, PageSize.Regular);
}

/**
 * Makes a VMSA an ordinary page, with the rights that it had before CREATE_VCPU. If that fails, it is a VMSA again. If that
 * fails too, because the hypervisor hides the page, it is neither, and others can have rights on it: the processor is gone,
 * and the call has done what it was asked for.
 */
function dropVmsa(call: SvsmCallContext, vmsa: PhysAddr, { rightsBefore = [] }: Processor): void {
  const { memory } = call;
  const efer = disableVmsa(memory, vmsa, call.isRunning);
  if (efer === undefined) throw new SvsmRefusal(SvsmResult.InstructionFailed + 3);
  let image: Uint8Array | undefined;
  const change = { isMade: false };
  try {
    image = readImage(memory, vmsa);
    memory.rights.adjust(vmsa, PageSize.Regular, 1, VmplPermission.None, false, change);
    memory.rights.set(rightsBefore);
  } catch (error) {
    const made = image;
    if (!change.isMade || made === undefined) attempt(() => restoreEfer(memory, vmsa, efer));
    else if (!attempt(() => remakeVmsa(memory, vmsa, made, efer))) {
      removeProcessor(call, vmsa);
      if (error instanceof SvsmRefusal) return;
    }
    throw error;
  }
}

/**
 * Makes a page a VMSA again. Other levels can have written to it: so it is closed, and then gets its content, with EFER.
 * The VMSA bit comes last: without it, the hypervisor cannot run the page.
 */
function remakeVmsa(memory: GuestPages, vmsa: PhysAddr, image: Uint8Array, efer: bigint): void {
  memory.rights.revoke(vmsa, PageSize.Regular);
  writeVmsa(image, 'efer', efer);
  memory.write(vmsa, image);
  memory.rights.adjust(vmsa, PageSize.Regular, 1, VmplPermission.None, true);
}
