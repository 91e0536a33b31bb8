import type { PhysAddr } from '@svsm/address';
import { PAGE_SIZE, PageSize, Phys } from '@svsm/address';
import type { PagingConfig } from '@svsm/pagetable';
import {
  readArgument,
  refuseArgument,
  requireInstance,
  requireOneOf,
  requireWhole,
} from '../formats/arguments.ts';
import { type Check, requireFields, requireOptions } from '../formats/options.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { readVmsa } from '../formats/vmsa.ts';
import { type MemoryKey, NO_KEY } from '../memory/encrypted-memory.ts';
import { Rmp } from '../rmp/rmp.ts';
import { failedChecks, type RmpCheck } from '../rmp/rmp-check.ts';
import { isSnpFault, SnpFault } from '../rmp/snp-fault.ts';
import { requireMachine } from './context-checks.ts';
import type { RunnableVmsa, SnpPlatform } from './platform.ts';
import { type ExitInformation, type SavedState, saveState } from './vcpu-state.ts';
import { failedVmsaCheck } from './vmsa-checks.ts';

/** Exit codes (AMD64 APM vol. 2, appendix C; OpenVMM `SevExitCode`). With a negative one, the guest has not run. */
export const VmExit = {
  Halt: 0x78n,
  NestedPageFault: 0x400n,
  Vmgexit: 0x403n,
  PageNotValidated: 0x404n,
  NotRestartable: 0x406n,
  /** VMRUN refuses the state, or one of the pages. */
  Invalid: -1n,
  /**
   * The BUSY bit of VINTR_CTRL is set in the VMSA (AMD64 APM vol. 2, table 15-33). The model also has it for a VMSA that
   * runs on another processor.
   */
  Busy: -2n,
  IdleRequired: -3n,
  InvalidPmc: -4n,
} as const;

/** A page that VMRUN or a related operation uses. */
export type VmrunPage =
  | 'vmcb'
  | 'avic-backing-page'
  | 'vmsa'
  | 'vmsa-without-snp'
  /** The page that VM_HSAVE_PA is loaded with. */
  | 'host-save-area'
  /** The operand of VMSAVE in the host. */
  | 'vmsave-target';

/** The checks of such a page, as 4 KiB, and the failure of the processor. */
export interface VmrunCheck {
  readonly checks: readonly RmpCheck[];
  readonly failure: '#GP(0)' | 'VMEXIT_INVALID';
}

const HOST: readonly RmpCheck[] = ['hypervisor-owned'];

/** The checks of VMRUN: AMD64 APM vol. 2, table 15-41. */
export const VMRUN_CHECKS: Readonly<Record<VmrunPage, VmrunCheck>> = /* @__PURE__ */ Object.freeze({
  vmcb: { checks: HOST, failure: '#GP(0)' },
  'avic-backing-page': { checks: HOST, failure: 'VMEXIT_INVALID' },
  vmsa: {
    checks: ['covered', 'guest-owned', 'reverse-map', 'mutable', 'vmsa'],
    failure: 'VMEXIT_INVALID',
  },
  'vmsa-without-snp': { checks: HOST, failure: 'VMEXIT_INVALID' },
  'host-save-area': { checks: HOST, failure: '#GP(0)' },
  'vmsave-target': { checks: HOST, failure: '#GP(0)' },
} as const);

/** A page that VMRUN uses, and the guest that it runs. */
interface VmrunPlace {
  readonly spa: SysPhysAddr;
  readonly gpa: PhysAddr;
  readonly asid: number;
}

const PLACE: Readonly<Record<keyof VmrunPlace, Check>> = {
  spa: (_, value) => SysPhys.assertIsAddress(value as bigint),
  gpa: (_, value) => Phys.assertIsAddress(value as bigint),
  asid: requireWhole,
};

/**
 * The first check that a page fails, or `undefined`. `gpa` and `asid` count for the VMSA of an SNP guest only. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type, or the page does not exist; AddressError
 */
export function failedVmrunCheck(rmp: Rmp, page: VmrunPage, place: VmrunPlace): RmpCheck | undefined {
  requireInstance('rmp', rmp, Rmp, 'an Rmp');
  requireOneOf('the page', page, Object.keys(VMRUN_CHECKS));
  requireFields('the place', place, PLACE);
  return failedCheck(rmp, page, place);
}

function failedCheck(rmp: Rmp, page: VmrunPage, { spa, gpa, asid }: VmrunPlace): RmpCheck | undefined {
  const access = { accessor: 'host', kind: 'write', spa, gpa, asid, vmpl: 0, cpl: 0 } as const;
  return failedChecks(rmp, { ...access, translationSize: PageSize.Regular }, VMRUN_CHECKS[page].checks);
}

/** The guest that owns a VMSA. */
interface Owner {
  readonly asid: number;
  readonly key: MemoryKey;
  readonly paging: Pick<PagingConfig, 'physicalBits'>;
}

/**
 * A VMSA as one object that nobody can change: each field is read once.
 *
 * @throws SnpError `INVALID_ARGUMENT` if it is not an object; AddressError if a field is not an address
 */
export function runnableVmsa(vmsa: RunnableVmsa): RunnableVmsa {
  const expected = 'pass an object with spa, gpa and vmcb';
  if (Object(vmsa) !== vmsa) refuseArgument('the VMSA', vmsa, expected);
  // Each field is read once.
  const fields = readArgument('the VMSA', vmsa, expected, () => ({ ...vmsa }));
  requireOptions('the VMSA', fields, VMSA_FIELDS);
  const { spa, gpa, vmcb, avicBackingPage } = fields;
  for (const page of [spa, vmcb]) SysPhys.assertIsAddress(page);
  if (avicBackingPage !== undefined) SysPhys.assertIsAddress(avicBackingPage);
  Phys.assertIsAddress(gpa);
  return Object.freeze({ spa, gpa, vmcb, ...(avicBackingPage === undefined ? {} : { avicBackingPage }) });
}

const VMSA_FIELDS: readonly (keyof RunnableVmsa)[] = ['spa', 'gpa', 'vmcb', 'avicBackingPage'];

/**
 * VMRUN up to the guest's first instruction: makes all checks, and marks VMCB, AVIC backing page and VMSA as in use until
 * {@link vmexit} (AMD64 APM vol. 2, §15.36.12). O(1).
 *
 * @returns the exit code if the guest does not run; then nothing has changed
 * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type; AddressError; SnpFault `HOST_GP` if the VMCB is not a
 *   page of the hypervisor
 */
export function vmrun(machine: SnpPlatform, asked: RunnableVmsa, owner: Owner): bigint | undefined {
  requireMachine(machine);
  requireOwner(owner);
  const vmsa = runnableVmsa(asked);
  const { rmp, memory, cBit } = machine;
  const { vmcb, avicBackingPage, spa, gpa } = vmsa;
  const fails = (page: VmrunPage, at: SysPhysAddr): RmpCheck | undefined =>
    failedCheck(rmp, page, { spa: at, gpa, asid: owner.asid });
  const check = fails('vmcb', vmcb);
  if (check !== undefined) throw new SnpFault('HOST_GP', { errorCode: 0, spa: vmcb, check });
  if (avicBackingPage !== undefined && fails('avic-backing-page', avicBackingPage)) return VmExit.Invalid;
  if (fails('vmsa', spa)) return VmExit.Invalid;
  if (rmp.isInUse(spa, PageSize.Regular)) return VmExit.Busy;
  const image = memory.read(spa, PAGE_SIZE, owner.key);
  if (readVmsa(image, 'vintrCtrl') >> VINTR_BUSY === 1n) return VmExit.Busy;
  if (failedVmsaCheck(image, cBit, owner.paging.physicalBits) !== undefined) return VmExit.Invalid;
  setInUse(rmp, vmsa, true);
  return undefined;
}

/** The bit BUSY of VINTR_CTRL: software that changes a VMSA sets it, so that the VMSA cannot be run. */
const VINTR_BUSY = 63n;

/** @throws SnpError `INVALID_ARGUMENT` if `owner` does not have the properties of a guest */
function requireOwner(owner: Owner): void {
  const expected = 'pass a Guest';
  const isOwner = readArgument('the owner', owner, expected, () => {
    const isKey = Number.isInteger(keyOr(owner, NO_KEY));
    return isKey && Number.isInteger(owner.asid) && Number.isInteger(owner.paging.physicalBits);
  });
  if (!isOwner) refuseArgument('the owner', owner, expected);
}

/**
 * #VMEXIT: the pages are not in use any more. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type; AddressError
 */
export function vmexit(machine: SnpPlatform, vmsa: RunnableVmsa): void {
  requireMachine(machine);
  setInUse(machine.rmp, runnableVmsa(vmsa), false);
}

/**
 * #VMEXIT of a processor with a state: saves it, and the exit information, in the VMSA. A decommissioned guest has no key:
 * nothing is saved. O(1).
 *
 * @throws SnpError `INVALID_MESSAGE` if an exit information has more than 64 bits; then nothing has changed
 */
export function saveAndExit(
  guest: Pick<Owner, 'key'> & { readonly machine: SnpPlatform },
  vmsa: RunnableVmsa,
  state: SavedState,
  exit: ExitInformation,
): void {
  const { machine } = guest;
  const key = keyOf(guest);
  if (key !== undefined) {
    const image = machine.memory.read(vmsa.spa, PAGE_SIZE, key);
    saveState(image, state, exit);
    machine.memory.write(vmsa.spa, image, key);
  }
  setInUse(machine.rmp, vmsa, false);
}

/** The key of a guest, or `undefined` if the guest does not run. */
export function keyOf(guest: Pick<Owner, 'key'>): MemoryKey | undefined {
  return keyOr(guest, undefined);
}

function keyOr<Other>(guest: Pick<Owner, 'key'>, other: Other): MemoryKey | Other {
  try {
    return guest.key;
  } catch (error) {
    if (isSnpFault(error, 'VMRUN')) return other;
    throw error;
  }
}

function setInUse(rmp: Rmp, { vmcb, avicBackingPage, spa }: RunnableVmsa, inUse: boolean): void {
  for (const page of [vmcb, spa, avicBackingPage]) if (page !== undefined) rmp.setInUse(page, inUse);
}
