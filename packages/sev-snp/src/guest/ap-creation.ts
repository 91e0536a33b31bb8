import { PAGE_SIZE, PageSize, Phys, type PhysAddr, type VirtAddr } from '@svsm/address';
import type { VirtPage } from '@svsm/memory-region';
import type { RmpAdjustment } from '../cpu/guest-instructions.ts';
import type { Vcpu } from '../cpu/vcpu.ts';
import { readArgument, requireInstance, requireObject, requireUint64 } from '../formats/arguments.ts';
import { copyOfBytes } from '../formats/byte-fields.ts';
import { GhcbExit } from '../formats/ghcb-page.ts';
import { addressOf } from '../formats/page-address.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SnpError } from '../formats/snp-error.ts';
import { VMPL_COUNT, Vmpl, VmplPermission } from '../formats/vmpl.ts';
import { requireProcessor } from './argument-checks.ts';
import { Ghcb } from './ghcb.ts';
import { changing, noteUse } from './pages-in-use.ts';
import { pageRegion } from './validated-pages.ts';

/** The requests of SNP AP creation: bits 15:0 of SW_EXITINFO1 (KVM `SVM_VMGEXIT_AP_*`). */
export const ApRequest = {
  /** Run the VMSA once the processor gets an INIT. */
  CreateOnInit: 0,
  Create: 1,
  Destroy: 2,
} as const;

/** One of the requests. */
export type ApRequest = (typeof ApRequest)[keyof typeof ApRequest];

/** A request of SNP AP creation, GHCB exit 0x8000_0013. */
export interface ApCreation {
  readonly request: ApRequest;
  /** The APIC id of the processor: 32 bits. */
  readonly apicId: number;
  readonly vmpl: number;
  /** The address of its VMSA. */
  readonly vmsa: PhysAddr;
  /** SEV_FEATURES of the VMSA, which the hypervisor cannot read itself. */
  readonly sevFeatures: bigint;
}

/**
 * Encodes a request: SW_EXITINFO1, SW_EXITINFO2 and RAX.
 *
 * @throws SnpError `INVALID_ARGUMENT` if `creation` is not an object that can be read, `INVALID_MESSAGE` if a field does not fit
 */
export function encodeApCreation(creation: ApCreation): { info1: bigint; info2: bigint; rax: bigint } {
  const { request, apicId, vmpl, vmsa, sevFeatures } = readArgument(
    'the request',
    creation,
    'pass an object with request, apicId, vmpl, vmsa and sevFeatures',
    () => ({ ...requireObject(creation) }),
  );
  const fields = { request, apicId, vmpl, vmsa, sevFeatures };
  const need = (field: keyof ApCreation, fits: boolean, expected: string): void => {
    if (!fits) throw new SnpError('INVALID_MESSAGE', { field, value: fields[field], expected });
  };
  need('request', Object.values(ApRequest).includes(request), 'pass 0 to 2');
  need('apicId', Number.isInteger(apicId) && apicId >= 0 && apicId < 2 ** 32, 'pass 32 bits');
  need('vmpl', Number.isInteger(vmpl) && vmpl >= 0 && vmpl < VMPL_COUNT, 'pass 0 to 3');
  need(
    'vmsa',
    Phys.isAddress(vmsa) && vmsa % BigInt(PAGE_SIZE) === 0n,
    'pass a multiple of 4096 as a bigint',
  );
  need(
    'sevFeatures',
    typeof sevFeatures === 'bigint' && sevFeatures >> 64n === 0n,
    'pass a bigint of 64 bits',
  );
  const info1 = (BigInt(apicId) << 32n) | BigInt((vmpl << 16) | request);
  return { info1, info2: vmsa, rax: sevFeatures };
}

/**
 * Decodes a request: `undefined` if it is not valid. `Destroy` has no VMSA and no RAX: they are 0 if they are not valid
 * (KVM `sev_snp_ap_creation`).
 *
 * @throws SnpError `INVALID_ARGUMENT` if a value is not an unsigned bigint of 64 bits
 */
export function decodeApCreation(
  info1: bigint,
  info2: bigint,
  rax: bigint | undefined,
): ApCreation | undefined {
  requireUint64('SW_EXITINFO1', info1);
  requireUint64('SW_EXITINFO2', info2);
  if (rax !== undefined) requireUint64('RAX', rax);
  const request = Number(info1 & 0xffffn) as ApRequest;
  const isKnown = Object.values(ApRequest).includes(request) && (info1 & 0xfff0_0000n) === 0n;
  const vmsa = Phys.isAddress(info2) && info2 % BigInt(PAGE_SIZE) === 0n ? info2 : undefined;
  const isComplete = vmsa !== undefined && rax !== undefined;
  if (!isKnown || !(isComplete || request === ApRequest.Destroy)) return undefined;
  const vmpl = Number((info1 >> 16n) & 0xfn);
  const apicId = Number(info1 >> 32n);
  return { request, apicId, vmpl, vmsa: vmsa ?? (0n as PhysAddr), sevFeatures: rax ?? 0n };
}

/**
 * Makes a page of the guest a VMSA: takes the rights of all other levels on it, writes the image, then sets the VMSA bit of
 * the RMP entry. For guests without an SVSM: only VMPL0 can set the bit (AMD64 APM vol. 2, §15.36.12). At other levels
 * hardware ignores the bit without an error, so the RMPADJUST names VMPL1 as its target: VMPL1 may not adjust its own mask,
 * and gets FAIL_PERMISSION in place of a false success (EDK2 `AmdSev.c`, Linux `snp_set_vmsa`).
 *
 * If it throws, the page is not a VMSA, and the levels have the rights that they had. If the hypervisor hides the page then,
 * it can be a VMSA: it is treated as one until {@link unmakeVmsa}. Until then, functions that would change the state of a VMSA
 * throw `PAGE_IN_USE`: PVALIDATE does not clear the VMSA bit, so the hypervisor could run the page after its validation is
 * rescinded (table 15-41 has no check of the validated bit).
 *
 * @param page - its address, a multiple of 4096, or a cursor: a private, validated page whose guest-physical address is not a
 *   multiple of 2 MiB, because hypervisors refuse those for an erratum (KVM)
 * @param image - the 4096 bytes of the VMSA
 * @throws SnpError `INVALID_ARGUMENT`, `PAGE_IN_USE` if the page is a GHCB or a VMSA already, `RMPADJUST_FAILED`; SnpFault as
 *   `Vcpu.write`, `Vcpu.rmpadjust`, `Vcpu.rmpquery`
 */
export function makeVmsa(vcpu: Vcpu, page: VirtPage, image: Uint8Array): void {
  const gva = addressOf(page);
  requireProcessor(vcpu);
  const bytes = copyOfBytes(image, 'the image of a VMSA');
  const isPage = typeof gva === 'bigint' && gva % BigInt(PAGE_SIZE) === 0n && bytes.length === PAGE_SIZE;
  const gpa = isPage ? vcpu.translate(gva).gpa : 0n;
  if (gpa % BigInt(PageSize.Huge) === 0n) {
    const expected =
      'pass 4096 bytes, and a multiple of 4096 whose guest-physical address is not a multiple of 2 MiB';
    throw new SnpError('INVALID_ARGUMENT', { what: 'the page of a VMSA', value: gva, expected });
  }
  const region = pageRegion(gpa as PhysAddr, PAGE_SIZE);
  changing(vcpu.guest, [region], () => makeUnusedVmsa(vcpu, gva, gpa as PhysAddr, bytes));
}

function makeUnusedVmsa(vcpu: Vcpu, page: VirtAddr, gpa: PhysAddr, bytes: Uint8Array): void {
  const before = LOWER_LEVELS.map((vmpl) => vcpu.rmpquery(page, vmpl).permissions);
  try {
    for (const vmpl of LOWER_LEVELS)
      adjust(vcpu, page, { vmpl, permissions: VmplPermission.None, vmsa: false });
    vcpu.invlpgb();
    vcpu.write(page, bytes);
    noteUse(vcpu.guest, gpa, 'VMSA');
    adjust(vcpu, page, { vmpl: 1, permissions: VmplPermission.None, vmsa: true });
  } catch (error) {
    // Each of these RMPADJUSTs clears the VMSA bit too.
    const areGiven = LOWER_LEVELS.map((vmpl, k) => giveBack(vcpu, page, { vmpl, permissions: before[k]! }));
    if (areGiven.includes(true)) noteUse(vcpu.guest, gpa, undefined);
    throw error;
  }
}

/**
 * Turns a VMSA back into an ordinary page, on which only VMPL0 has rights. Before, the guest must stop the processor: at its
 * exit, hardware would write its state to the page. A processor stops itself, or the hypervisor no longer runs it after
 * `ApRequest.Destroy`, which proves nothing: here the machine decides whether the VMSA is in use.
 *
 * @throws SnpError `INVALID_ARGUMENT`, `RMPADJUST_FAILED`; `PAGE_IN_USE` while a processor runs with the VMSA: call it again
 *   once it has stopped. SnpFault as `Vcpu.rmpadjust`
 */
export function unmakeVmsa(vcpu: Vcpu, page: VirtPage): void {
  const gva = addressOf(page);
  requireProcessor(vcpu);
  requireStopped(vcpu, gva);
  adjust(vcpu, gva, { vmpl: 1, permissions: VmplPermission.None, vmsa: false });
  // The hypervisor can have run it at an exit of the RMPADJUST. From now on, it cannot.
  noteUse(vcpu.guest, requireStopped(vcpu, gva), undefined);
}

/** The page of a VMSA with which no processor runs. @throws SnpError `PAGE_IN_USE` */
function requireStopped(vcpu: Vcpu, page: VirtAddr): PhysAddr {
  const { gpa: address, spa } = vcpu.translate(page);
  const gpa = (address & -BigInt(PAGE_SIZE)) as PhysAddr;
  const isInUse = vcpu.guest.machine.rmp.isInUse(spa, PageSize.Regular);
  if (isInUse) throw new SnpError('PAGE_IN_USE', { gpa, use: 'VMSA' });
  return gpa;
}

/**
 * Asks the hypervisor to run a VMSA as a processor, or not to run it any more: `Destroy` ignores the VMSA and SEV_FEATURES.
 * A reported success proves nothing.
 *
 * @throws SnpError `INVALID_ARGUMENT`, `RELEASED_GHCB`, `INVALID_MESSAGE` if a field does not fit, `VMGEXIT_FAILED` if the
 *   hypervisor refuses, `UNSUPPORTED_VMGEXIT`, `OUT_OF_MEMORY`; SnpFault
 */
export function requestAp(ghcb: Ghcb, creation: ApCreation): void {
  requireInstance('the GHCB', ghcb, Ghcb, 'a Ghcb');
  const { info1, info2, rax } = encodeApCreation(creation);
  const isDestroyed = (info1 & 0xffffn) === BigInt(ApRequest.Destroy);
  const registers = isDestroyed ? {} : { rax };
  ghcb.vmgexit({ exitCode: GhcbExit.SnpApCreation, info1, info2, registers });
}

const LOWER_LEVELS = [Vmpl.Vmpl1, Vmpl.Vmpl2, Vmpl.Vmpl3] as const;

function adjust(vcpu: Vcpu, gva: VirtAddr, adjustment: RmpAdjustment): void {
  const result = vcpu.rmpadjust(gva, PageSize.Regular, adjustment);
  if (result !== RmpResult.SUCCESS) throw new SnpError('RMPADJUST_FAILED', { gva, result });
}

/** Gives a level its rights again after a failure. Returns whether RMPADJUST has succeeded. */
function giveBack(vcpu: Vcpu, gva: VirtAddr, adjustment: RmpAdjustment): boolean {
  try {
    return vcpu.rmpadjust(gva, PageSize.Regular, adjustment) === RmpResult.SUCCESS;
  } catch {
    // The page is gone, and the rights with it. The first failure is the one to report.
    return false;
  }
}
