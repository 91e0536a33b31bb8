/** For each operation and each code of its row, a call that ends with this code. */
import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, type VirtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import type { PageTable } from '@svsm/pagetable';
import { pvalidate, rmpadjust, rmpquery } from '../../src/cpu/guest-instructions.ts';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { Vcpu } from '../../src/cpu/vcpu.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import type { Firmware } from '../../src/firmware/firmware.ts';
import { assumptionsOf } from '../../src/formats/assumptions.ts';
import { cpuSignature } from '../../src/formats/cpu-signature.ts';
import { decodeCpuidPage, encodeCpuidPage } from '../../src/formats/cpuid-page.ts';
import type { ERRORS_OF } from '../../src/formats/error-codes.ts';
import { writeGhcbRegisters } from '../../src/formats/ghcb-exits.ts';
import { encodeGhcbMsr, PageOperation } from '../../src/formats/ghcb-msr.ts';
import { GhcbExit, GhcbPage } from '../../src/formats/ghcb-page.ts';
import { decodeIgvmFile } from '../../src/formats/igvm-file.ts';
import { igvmExpectedDigest, igvmLaunchPages } from '../../src/formats/igvm-launch.ts';
import { encodeKernelHashes } from '../../src/formats/kernel-hashes.ts';
import { encodePageInfo, LaunchDigest } from '../../src/formats/launch-digest.ts';
import { launchDigestOf, launchPageSize } from '../../src/formats/launch-pages.ts';
import { decodeOvmfImage } from '../../src/formats/ovmf-image.ts';
import { ovmfLaunchPages, svsmLaunchPages } from '../../src/formats/ovmf-launch.ts';
import {
  decodePscEntry,
  decodePscHeader,
  encodePscEntry,
  encodePscHeader,
  type PscEntry,
} from '../../src/formats/page-state-list.ts';
import { pageStateOf } from '../../src/formats/page-state-of.ts';
import { encodeRmpEntry } from '../../src/formats/raw-rmp-entry.ts';
import { createResetVmsa, createSvsmResetVmsa } from '../../src/formats/reset-vmsa.ts';
import { segmentedRmpEntryAddress } from '../../src/formats/rmp-location.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { decodeRmpState, encodeRmpState } from '../../src/formats/rmp-state.ts';
import { announceSvsm, decodeSecretsPage, encodeSecretsPage } from '../../src/formats/secrets-page.ts';
import {
  decodeSvsmListEntry,
  decodeSvsmListHeader,
  encodeSvsmListEntry,
  encodeSvsmListHeader,
  SvsmCall,
  SvsmResult,
} from '../../src/formats/svsm-protocol.ts';
import { decodeSwapRecord, encodeSwapRecord } from '../../src/formats/swap-record.ts';
import { type SysPhysAddr, sysPhysAddr, sysPhysRegion } from '../../src/formats/sys-phys-addr.ts';
import { readVmsa, writeVmsa } from '../../src/formats/vmsa.ts';
import { ApRequest, encodeApCreation, makeVmsa, requestAp, unmakeVmsa } from '../../src/guest/ap-creation.ts';
import { Ghcb, type GhcbCall } from '../../src/guest/ghcb.ts';
import { Guest } from '../../src/guest/guest.ts';
import { hypervisorFeatures, requireFeatures } from '../../src/guest/hypervisor-features.ts';
import { registerGhcb, requestGhcbMsr, requestPageState } from '../../src/guest/msr-protocol.ts';
import { requestPageStates } from '../../src/guest/page-state-change.ts';
import {
  acceptPage,
  makePagePrivate,
  makePageShared,
  releasePage,
  type VisibilityOptions,
} from '../../src/guest/page-visibility.ts';
import {
  acceptRegion,
  makeRegionPrivate,
  makeRegionShared,
  releaseRegion,
  settleRegion,
} from '../../src/guest/region-visibility.ts';
import * as svsm from '../../src/guest/svsm-call.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import type { Hypervisor } from '../../src/host/hypervisor.ts';
import { processPageStateChange } from '../../src/host/page-state-service.ts';
import { SnpMachine, type SnpMachineOptions } from '../../src/host/snp-machine.ts';
import { EncryptedMemory } from '../../src/memory/encrypted-memory.ts';
import { GuestRegions } from '../../src/memory/guest-regions.ts';
import { rmpupdate } from '../../src/rmp/host-instructions.ts';
import { HYPERVISOR_ENTRY, Rmp } from '../../src/rmp/rmp.ts';
import { permanentMap } from '../../src/svsm/guest-page-access.ts';
import { SvsmState } from '../../src/svsm/svsm-state.ts';
import { HostileWorld as HostileMachine } from './hostile-calls.ts';
import { ovmfImage } from './images.ts';
import { entryOf, type SvsmWorld, svsmWorld } from './svsm-world.ts';
import { codeOf, gvaOf, MiB, rmpOf, spaOf, WHOLE, type World, world } from './world.ts';
import { WRONG_TYPES } from './wrong-types.ts';

export type Operation = keyof typeof ERRORS_OF;
type Provocations = {
  readonly [Name in Operation]: { readonly [Code in (typeof ERRORS_OF)[Name][number]]: () => unknown };
};

const PAGE = 6 * MiB + 0x1000;
const GHCB = 4 * MiB + 0x2000;
const SHORT = new Uint8Array(5);
const SNP_PLATFORM = { kind: 'platform', offset: 24, mask: 1, platform: 2 } as const;
const SVSM_IMAGE = decodeOvmfImage(ovmfImage({ svsmEntry: 0 }));
const SVSM_LAUNCH = { svsm: SVSM_IMAGE, firmware: SVSM_IMAGE, variablesSize: 0, vcpus: 1, cpuSignature: 1 };
const DIGEST = new Uint8Array(48);
/** An entry with an ASID that has no place. */
const MISFIT = { ...HYPERVISOR_ENTRY, asid: 1024 };
const page = (): Uint8Array => new Uint8Array(PAGE_SIZE);

// Worlds.

interface HostileWorld extends World {
  readonly host: HostileHypervisor;
}

function hostile(options: Partial<SnpMachineOptions> = {}): HostileWorld {
  const it = world({ hypervisor: (machine) => new HostileHypervisor(machine), ...options });
  return { ...it, host: it.machine.hypervisor as HostileHypervisor };
}

interface GhcbWorld extends HostileWorld {
  readonly ghcb: Ghcb;
}

function withGhcb(vcpuOf?: (it: HostileWorld) => Vcpu): GhcbWorld {
  const it = hostile();
  const vcpu = vcpuOf?.(it) ?? it.vcpu;
  vcpu.loadCr3(it.table.cr3);
  return { ...it, vcpu, ghcb: Ghcb.create(vcpu, it.table, gvaOf(GHCB)) };
}

/** Takes all memory of the host. */
function exhaust(host: Hypervisor): void {
  while (codeOf(() => host.allocatePage()) === undefined);
}

/** A request for another processor, for which the host has no memory left, in the GHCB. */
function withoutMemory(): GhcbWorld {
  const it = withGhcb();
  const { info1, info2, rax } = encodeApCreation(creation);
  const { page } = it.ghcb;
  for (const [field, value] of Object.entries({
    protocolVersion: 2n,
    exitCode: GhcbExit.SnpApCreation,
    exitInfo1: info1,
    exitInfo2: info2,
    rax,
  })) {
    page.set(field as 'rax', value);
  }
  it.vcpu.ghcbMsr = it.ghcb.gpa;
  exhaust(it.host);
  return it;
}

/** Registers another GHCB, so that requests through the first one fail. */
/** A GHCB that the guest reaches by an old nested translation, and the host does not reach. */
function unreachable(): GhcbWorld {
  const it = withGhcb(({ guest }) => guest.createVcpu({ nestedTlb: new NestedTlb() }));
  it.vcpu.write(gvaOf(GHCB), new Uint8Array(1));
  it.guest.nested.unmap(physAddr(GHCB));
  return it;
}

const creation = {
  request: ApRequest.Create,
  apicId: 7,
  vmpl: 0,
  vmsa: physAddr(4 * MiB + 0x1000),
  sevFeatures: 1n,
};

/** A record in which all pages are validated, or none. */
function record({ guest }: World, isAll: boolean): VisibilityOptions {
  return { validated: new ValidatedPages(guest.memory, isAll ? guest.memory : []) };
}

// Operations on one page, and on a region.

type PageOperationOf = (vcpu: Vcpu, table: PageTable, gva: VirtAddr, options?: VisibilityOptions) => unknown;

/** An answer in the GHCB MSR that does not belong to any request. */
const nonsense = (): bigint => 0xfffn;

/** @param prepare - brings a private page to the state that the operation changes */
function pageChange(operation: PageOperationOf, prepare: (it: World) => void) {
  const change = (it: World, options?: VisibilityOptions): unknown =>
    operation(it.vcpu, it.table, gvaOf(PAGE), options);
  const ready = (): HostileWorld => {
    const it = hostile();
    prepare(it);
    return it;
  };
  return {
    INVALID_ARGUMENT: () => {
      const it = ready();
      return operation(it.vcpu, it.table, gvaOf(PAGE + 1));
    },
    WRONG_MAPPING: () => {
      const it = ready();
      return operation(it.vcpu, it.table, gvaOf(64 * MiB));
    },
    INVALID_RESPONSE: () => {
      const it = ready();
      it.host.answers = { msr: nonsense };
      return change(it);
    },
    PAGE_STATE_REFUSED: () => {
      const it = ready();
      it.host.answers = { pageState: () => 1 };
      return change(it);
    },
    PVALIDATE_FAILED: () => {
      const it = hostile({ assumptions: { pvalidateAboveVmpl0: 'FAIL_PERMISSION' } });
      prepare(it);
      const vcpu = it.guest.createVcpu({ vmpl: 1 });
      return operation(vcpu, it.table, gvaOf(PAGE));
    },
  };
}

const asPrivate = (): void => {};
const asShared = ({ table, vcpu }: World): void => {
  table.setShared4k(gvaOf(PAGE));
  vcpu.invlpg(gvaOf(PAGE));
};

/** A request through a GHCB. */
function asking(ask: (ghcb: Ghcb, call: GhcbCall) => unknown) {
  const features = { exitCode: GhcbExit.HypervisorFeatures };
  return {
    RELEASED_GHCB: () => ask(released().ghcb, features),
    OUT_OF_MEMORY: () => {
      const { info1, info2, rax } = encodeApCreation(creation);
      return ask(withoutMemory().ghcb, {
        exitCode: GhcbExit.SnpApCreation,
        info1,
        info2,
        registers: { rax },
      });
    },
    UNSUPPORTED_VMGEXIT: () => ask(unreachable().ghcb, features),
    TERMINATED: () => ask(withGhcb().ghcb, { exitCode: GhcbExit.Terminate }),
    INVALID_ARGUMENT: () => ask(withGhcb().ghcb, { exitCode: 0n, registers: { eax: 1n } as never }),
    INVALID_MESSAGE: () => ask(withGhcb().ghcb, { exitCode: -1n }),
    VMGEXIT_FAILED: () => ask(withGhcb().ghcb, { exitCode: GhcbExit.HvIpi }),
  };
}

/** A page that a processor uses as its GHCB, in a mapping that the operation accepts. */
const onGhcb = (operation: PageOperationOf, mapped: 'private' | 'shared') => (): unknown => {
  const it = withGhcb();
  if (mapped === 'private') it.table.setEncrypted4k(gvaOf(GHCB));
  return operation(it.vcpu, it.table, gvaOf(GHCB));
};

/** Sharing a page that the record, or the RMP, does not have as validated. */
function sharing(operation: PageOperationOf) {
  return {
    ...pageChange(operation, asPrivate),
    PAGE_IN_USE: onGhcb(operation, 'private'),
    NOT_VALIDATED: () => {
      const it = hostile();
      return operation(it.vcpu, it.table, gvaOf(PAGE), record(it, false));
    },
    PVALIDATE_UNCHANGED: () => {
      const it = hostile();
      it.vcpu.pvalidate(gvaOf(PAGE), PageSize.Regular, false);
      return operation(it.vcpu, it.table, gvaOf(PAGE));
    },
  };
}

/** Taking back a page that the record, or the RMP, has as validated already. */
function takingBack(operation: PageOperationOf, prepare: (it: World) => void) {
  return {
    ...pageChange(operation, prepare),
    PAGE_IN_USE: onGhcb(operation, prepare === asShared ? 'shared' : 'private'),
    ALREADY_VALIDATED: () => {
      const it = hostile();
      prepare(it);
      return operation(it.vcpu, it.table, gvaOf(PAGE), record(it, true));
    },
    PVALIDATE_UNCHANGED: () => {
      const it = hostile();
      prepare(it);
      it.host.answers = { pageState: () => 0 };
      return operation(it.vcpu, it.table, gvaOf(PAGE));
    },
  };
}

/** A processor whose PVALIDATE fails. */
class Failing extends Vcpu {
  fails = false;
  override pvalidate(...args: Parameters<Vcpu['pvalidate']>): ReturnType<Vcpu['pvalidate']> {
    return this.fails ? { result: RmpResult.FAIL_PERMISSION, unchanged: false } : super.pvalidate(...args);
  }
}

/** Lists of page state changes that the hypervisor processes wrongly. */
function lists(request: (it: GhcbWorld) => unknown, prepare: (it: GhcbWorld) => void = () => {}) {
  const ready = (): GhcbWorld => {
    const it = withGhcb();
    prepare(it);
    return it;
  };
  return {
    UNSUPPORTED_VMGEXIT: () => {
      const it = unreachable();
      prepare(it);
      return request(it);
    },
    VMGEXIT_FAILED: () => {
      const it = ready();
      it.host.answers = { page: () => ({ info1: 2n, info2: 1n }) };
      return request(it);
    },
    PSC_REFUSED: () => {
      const it = ready();
      it.host.answers = { page: () => ({ info1: 0n, info2: 1n }) };
      return request(it);
    },
    INVALID_PSC_RESPONSE: () => {
      const it = ready();
      it.host.answers = { afterPage: (page) => page.writeBuffer(4, Uint8Array.of(1)) };
      return request(it);
    },
  };
}

type RegionOperation = typeof makeRegionShared;

const change = (operation: RegionOperation, it: GhcbWorld, options?: VisibilityOptions): unknown =>
  operation(it.ghcb, it.table, virtRegion(gvaOf(PAGE), 2 * PAGE_SIZE), options);

const regionShared = ({ table, vcpu }: World): void => {
  for (const gpa of [PAGE, PAGE + PAGE_SIZE]) {
    table.setShared4k(gvaOf(gpa));
    vcpu.invlpg(gvaOf(gpa));
  }
};

function regionChange(operation: RegionOperation, prepare: (it: GhcbWorld) => void) {
  return {
    INVALID_ARGUMENT: () => {
      const it = withGhcb();
      return operation(it.ghcb, it.table, virtRegion(gvaOf(PAGE + 1), PAGE_SIZE));
    },
    WRONG_MAPPING: () => {
      const it = withGhcb();
      return operation(it.ghcb, it.table, virtRegion(gvaOf(64 * MiB), PAGE_SIZE));
    },
    PAGE_IN_USE: () => {
      const it = withGhcb();
      return operation(it.ghcb, it.table, virtRegion(gvaOf(GHCB), PAGE_SIZE));
    },
    RELEASED_GHCB: () => change(operation, released()),
    REGION_CHANGE_FAILED: () => {
      const it = withGhcb();
      prepare(it);
      it.host.answers = { page: () => ({ info1: 0n, info2: 1n }) };
      return change(operation, it);
    },
  };
}

const notValidated = (operation: RegionOperation) => (): unknown => {
  const it = withGhcb();
  return change(operation, it, record(it, false));
};
const validatedTwice = (operation: RegionOperation, prepare: (it: GhcbWorld) => void) => (): unknown => {
  const it = withGhcb();
  prepare(it);
  return change(operation, it, record(it, true));
};
const settle =
  (list: 'private' | 'shared'): RegionOperation =>
  (ghcb, table, region, options) => {
    const to = list === 'private' ? 'shared' : 'private';
    settleRegion(ghcb, table, { private: [], shared: [], lost: [], [list]: [region] }, to, options);
  };

/** A GHCB that was released. */
function released(): GhcbWorld {
  const it = withGhcb();
  it.ghcb.release(it.table);
  return it;
}

// The SVSM.

interface HostileSvsmWorld extends SvsmWorld {
  readonly host: HostileHypervisor;
}

function hostileSvsm(): HostileSvsmWorld {
  const it = svsmWorld({}, { hypervisor: (machine) => new HostileHypervisor(machine) });
  return { ...it, host: it.machine.hypervisor as HostileHypervisor };
}

/** A call for which the hypervisor answers wrongly, or withholds the SVSM. */
function calls(call: (it: HostileSvsmWorld) => unknown) {
  return {
    INVALID_ARGUMENT: () => call({ ...hostileSvsm(), area: undefined as never }),
    INVALID_RESPONSE: () => {
      const it = hostileSvsm();
      it.host.answers = { msr: nonsense };
      return call(it);
    },
    SVSM_NOT_RUN: () => {
      const it = hostileSvsm();
      it.host.answers = { withhold: true };
      return call(it);
    },
  };
}

/** The same, and a call that the SVSM refuses. */
function refusable(call: (it: HostileSvsmWorld) => unknown) {
  return {
    ...calls(call),
    SVSM_REFUSED: () => {
      const it = hostileSvsm();
      it.guest.onEnter(0, (caller) => {
        caller.registers.rax = BigInt(SvsmResult.InvalidRequest);
        it.vcpu.write(it.area.gva, Uint8Array.of(0));
      });
      return call(it);
    },
  };
}

// Firmware.

const refused = (command: (firmware: Firmware, spa: SysPhysAddr) => unknown) => ({
  FIRMWARE_REFUSED: () => command(new SnpMachine({ memorySize: 8 * MiB }).firmware, sysPhysAddr(0)),
});
const swap = { source: sysPhysAddr(0), destination: sysPhysAddr(0x1000) };

const entry: PscEntry = {
  gpa: physAddr(PAGE),
  operation: PageOperation.Shared,
  pageSize: PageSize.Regular,
  donePages: 0,
  reserved: 0,
};
const cpuidEntries = Array.from({ length: 65 }, () => ({}) as never);
const location = { base: physAddr(0), size: 1n, callingArea: physAddr(0), maxVersion: 1, guestVmpl: 0 };
const memory = physRegion(physAddr(0), MiB);
const none = physRegion(physAddr(0), 1);
const terminate = encodeGhcbMsr({ type: 'terminate', reasonSet: 0, reason: 1 });

/** Passes nothing in place of an argument. */
function wrongType(operation: keyof typeof WRONG_TYPES): () => unknown {
  return () => WRONG_TYPES[operation](undefined as never, () => new HostileMachine(() => 1));
}

/** The operations of which a wrong type is the only error. */
const TYPED = Object.fromEntries(
  Object.keys(WRONG_TYPES).map((operation) => [
    operation,
    { INVALID_ARGUMENT: wrongType(operation as keyof typeof WRONG_TYPES) },
  ]),
) as Readonly<Record<keyof typeof WRONG_TYPES, { readonly INVALID_ARGUMENT: () => unknown }>>;

export const PROVOCATIONS: Provocations = {
  ...TYPED,
  decodeCpuidPage: {
    INVALID_ARGUMENT: () => decodeCpuidPage(SHORT),
    INVALID_MESSAGE: () => decodeCpuidPage(page().fill(0xff)),
  },
  launchPageSize: {
    INVALID_ARGUMENT: wrongType('launchPageSize'),
    INVALID_MESSAGE: () => launchPageSize({ type: 1, gpa: physAddr(0), permissions: [1, 2] as never }),
  },
  pageStateOf: { INVALID_MESSAGE: () => pageStateOf(MISFIT) },
  decodeIgvmFile: {
    INVALID_ARGUMENT: wrongType('decodeIgvmFile'),
    INVALID_IMAGE: () => decodeIgvmFile(SHORT),
  },
  decodeOvmfImage: {
    INVALID_ARGUMENT: wrongType('decodeOvmfImage'),
    INVALID_IMAGE: () => decodeOvmfImage(SHORT),
  },
  decodePscHeader: { INVALID_ARGUMENT: () => decodePscHeader(SHORT) },
  decodePscEntry: { INVALID_ARGUMENT: () => decodePscEntry(SHORT) },
  decodeRmpState: { INVALID_ARGUMENT: () => decodeRmpState(SHORT) },
  decodeSecretsPage: { INVALID_ARGUMENT: () => decodeSecretsPage(SHORT) },
  decodeSvsmListHeader: { INVALID_ARGUMENT: () => decodeSvsmListHeader(SHORT) },
  decodeSvsmListEntry: { INVALID_ARGUMENT: () => decodeSvsmListEntry(SHORT) },
  decodeSwapRecord: { INVALID_ARGUMENT: () => decodeSwapRecord(SHORT) },
  readVmsa: { INVALID_ARGUMENT: () => readVmsa(SHORT, 'rax') },
  segmentedRmpEntryAddress: {
    INVALID_ARGUMENT: () =>
      segmentedRmpEntryAddress(sysPhysAddr(0), { base: 1n, segmentShift: 30, read: () => 0n }),
    INVALID_RMP_SEGMENT: () =>
      segmentedRmpEntryAddress(sysPhysAddr(0), { base: 0n, segmentShift: 30, read: () => 1n << 63n }),
  },
  'GhcbPage.over': { INVALID_ARGUMENT: () => GhcbPage.over(SHORT) },
  'GhcbPage.readBuffer': { INVALID_ARGUMENT: () => GhcbPage.over().readBuffer(0x7f0, 1) },

  encodeSecretsPage: {
    INVALID_ARGUMENT: () => encodeSecretsPage({ ...decodeSecretsPage(page()), vmsaTweakBitmap: SHORT }),
    INVALID_MESSAGE: () => encodeSecretsPage({ ...decodeSecretsPage(page()), version: -1 }),
  },
  announceSvsm: {
    INVALID_ARGUMENT: () => announceSvsm(SHORT, location),
    INVALID_MESSAGE: () => announceSvsm(page(), location),
  },
  cpuSignature: { INVALID_ARGUMENT: () => cpuSignature(0, 0, 16) },
  createResetVmsa: {
    INVALID_ARGUMENT: () => createResetVmsa({ vmm: 'qemu' }),
    INVALID_MESSAGE: () => createResetVmsa({ cpuSignature: 1, sevFeatures: -1n }),
  },
  createSvsmResetVmsa: {
    INVALID_ARGUMENT: () => createSvsmResetVmsa({}),
    INVALID_MESSAGE: () => createSvsmResetVmsa({ cpuSignature: 1, sevFeatures: -1n }),
  },
  createVmsa: {
    INVALID_ARGUMENT: () => createVmsa({ sp: 0n } as never),
    INVALID_MESSAGE: () => createVmsa({ vmpl: 256 }),
  },
  encodeApCreation: {
    INVALID_ARGUMENT: wrongType('encodeApCreation'),
    INVALID_MESSAGE: () => encodeApCreation({ ...creation, vmpl: 4 }),
  },
  encodeCpuidPage: { INVALID_MESSAGE: () => encodeCpuidPage(cpuidEntries) },
  encodeGhcbMsr: { INVALID_MESSAGE: () => encodeGhcbMsr({ type: 'ghcb', gpa: 1n as PhysAddr }) },
  encodeKernelHashes: {
    INVALID_ARGUMENT: () => encodeKernelHashes({ kernel: SHORT, initrd: SHORT, commandLine: SHORT }),
  },
  encodePageInfo: {
    INVALID_ARGUMENT: () => encodePageInfo({ digest: SHORT, contents: SHORT, type: 1, gpa: physAddr(0) }),
    INVALID_MESSAGE: () =>
      encodePageInfo({ digest: DIGEST, contents: DIGEST, type: 256 as never, gpa: physAddr(0) }),
  },
  encodePscEntry: { INVALID_MESSAGE: () => encodePscEntry({ ...entry, donePages: -1 }) },
  encodePscHeader: { INVALID_MESSAGE: () => encodePscHeader({ current: -1, end: 0, reserved: 0 }) },
  encodeRmpEntry: { INVALID_MESSAGE: () => encodeRmpEntry({ ...HYPERVISOR_ENTRY, asid: 0x400 }) },
  encodeRmpState: {
    INVALID_MESSAGE: () => encodeRmpState({ ...decodeRmpState(new Uint8Array(16)), asid: -1 }),
  },
  encodeSvsmListEntry: { INVALID_MESSAGE: () => encodeSvsmListEntry({ ...entryOf(0), size: 4 }) },
  encodeSvsmListHeader: { INVALID_MESSAGE: () => encodeSvsmListHeader({ count: 0x1_0000, next: 0 }) },
  encodeSwapRecord: {
    INVALID_MESSAGE: () => encodeSwapRecord({ ...decodeSwapRecord(new Uint8Array(64)), iv: -1n }),
  },
  writeVmsa: {
    INVALID_ARGUMENT: () => writeVmsa(SHORT, 'rax', 0n),
    INVALID_MESSAGE: () => writeVmsa(page(), 'rax', -1n),
  },
  'GhcbPage.set': {
    INVALID_ARGUMENT: wrongType('GhcbPage.set'),
    INVALID_MESSAGE: () => GhcbPage.over().set('cpl', 256n),
  },
  writeGhcbRegisters: {
    INVALID_ARGUMENT: () => writeGhcbRegisters(GhcbPage.over(), { eax: 1n } as never),
    INVALID_MESSAGE: () => writeGhcbRegisters(GhcbPage.over(), { cpl: 256n }),
  },
  'GhcbPage.writeBuffer': { INVALID_ARGUMENT: () => GhcbPage.over().writeBuffer(-1, SHORT) },
  LaunchDigest: { INVALID_ARGUMENT: () => new LaunchDigest((bytes) => bytes, SHORT) },
  igvmExpectedDigest: {
    INVALID_ARGUMENT: wrongType('igvmExpectedDigest'),
    INVALID_IMAGE: () => igvmExpectedDigest({ version: 1, headers: [] }),
  },
  igvmLaunchPages: {
    INVALID_ARGUMENT: () => igvmLaunchPages({ file: { version: 1, headers: [SNP_PLATFORM] }, vcpus: 0 }),
    INVALID_IMAGE: () => igvmLaunchPages({ file: { version: 1, headers: [] } }),
  },
  launchDigestOf: {
    INVALID_ARGUMENT: () => launchDigestOf([{ type: 7 as never, gpa: physAddr(0) }], (bytes) => bytes),
    INVALID_MESSAGE: () =>
      launchDigestOf([{ type: 3, gpa: physAddr(0), permissions: [256, 0, 0] }], () => new Uint8Array(48)),
  },
  ovmfLaunchPages: {
    INVALID_ARGUMENT: () => ovmfLaunchPages({ image: decodeOvmfImage(ovmfImage()), vcpus: 0 }),
    INVALID_MESSAGE: () =>
      ovmfLaunchPages({ image: decodeOvmfImage(ovmfImage()), vcpus: 1, cpuSignature: 1, sevFeatures: -1n }),
  },
  svsmLaunchPages: {
    INVALID_ARGUMENT: () => svsmLaunchPages({ ...SVSM_LAUNCH, vcpus: 0 }),
    INVALID_MESSAGE: () => svsmLaunchPages({ ...SVSM_LAUNCH, sevFeatures: -1n }),
  },
  'LaunchDigest.update': {
    INVALID_ARGUMENT: () => new LaunchDigest((bytes) => bytes).update({ type: 7 as never, gpa: physAddr(0) }),
    INVALID_MESSAGE: () =>
      new LaunchDigest(() => new Uint8Array(48)).update({
        type: 3,
        gpa: physAddr(0),
        permissions: [256, 0, 0],
      }),
  },

  assumptionsOf: { INVALID_ARGUMENT: () => assumptionsOf({ inUseTest: 'never' as never }) },
  Rmp: {
    INVALID_ARGUMENT: () =>
      new Rmp(sysPhysRegion(sysPhysAddr(0), 2 * MiB), { assumptions: { other: 1 } as never }),
    INVALID_RMP_RANGE: () => new Rmp(sysPhysRegion(sysPhysAddr(0), MiB)),
  },
  'Rmp.masksOnceValidated': { INVALID_MESSAGE: () => rmpOf().masksOnceValidated(MISFIT) },
  'Rmp.setRawEntry': {
    INVALID_MESSAGE: () => rmpOf().setRawEntry(sysPhysAddr(0), MISFIT),
    OUTSIDE_RMP: () => rmpOf().setRawEntry(sysPhysAddr(8 * MiB), HYPERVISOR_ENTRY),
  },
  'Rmp.setRegion': {
    INVALID_MESSAGE: () => rmpOf().setRegion(sysPhysAddr(0), MISFIT, HYPERVISOR_ENTRY),
    OUTSIDE_RMP: () => rmpOf().setRegion(sysPhysAddr(8 * MiB), HYPERVISOR_ENTRY, HYPERVISOR_ENTRY),
  },
  'Rmp.setRegionWords': {
    INVALID_ARGUMENT: () => rmpOf().setRegionWords(0, new Uint32Array(4), new Uint32Array(3)),
    OUTSIDE_RMP: () => rmpOf().setRegionWords((8 * MiB) / 0x1000, new Uint32Array(4), new Uint32Array(4)),
  },
  'Rmp.writeWords': {
    INVALID_ARGUMENT: () => rmpOf().writeWords(0, new Uint32Array(3)),
    OUTSIDE_RMP: () => rmpOf().writeWords((8 * MiB) / 0x1000, new Uint32Array(4)),
  },
  EncryptedMemory: { INVALID_ARGUMENT: () => new EncryptedMemory(1) },
  'Firmware.guestContextCreate': refused((firmware, spa) => firmware.guestContextCreate(spa)),
  'Firmware.launchStart': refused((firmware, spa) => firmware.launchStart(spa)),
  'Firmware.activate': refused((firmware, spa) => firmware.activate(spa, 1)),
  'Firmware.launchUpdate': refused((firmware, spa) => firmware.launchUpdate(spa, spa)),
  'Firmware.launchDigest': refused((firmware, spa) => firmware.launchDigest(spa, (bytes) => bytes)),
  'Firmware.launchFinish': refused((firmware, spa) => firmware.launchFinish(spa)),
  'Firmware.decommission': refused((firmware, spa) => firmware.decommission(spa)),
  'Firmware.dfFlush': {
    FIRMWARE_REFUSED: () => {
      const { machine, guest } = world();
      machine.firmware.decommission(guest.context);
      machine.firmware.dfFlush();
    },
  },
  'Firmware.guestStatus': refused((firmware, spa) => firmware.guestStatus(spa)),
  'Firmware.pageReclaim': {
    FIRMWARE_REFUSED: () => {
      const { machine, guest } = world();
      machine.firmware.pageReclaim(guest.context);
    },
  },
  'Firmware.pageSetHvFixed': refused((firmware, spa) => firmware.pageSetHvFixed(spa)),
  'Firmware.pageUnsmash': refused((firmware, spa) => firmware.pageUnsmash(spa)),
  'Firmware.metadataInit': refused((firmware, spa) => firmware.metadataInit(spa, spa)),
  'Firmware.swapOut': refused((firmware, spa) => firmware.swapOut(spa, swap)),
  'Firmware.swapIn': refused((firmware, spa) => firmware.swapIn(spa, swap)),
  'Firmware.pageMove': refused((firmware, spa) => firmware.pageMove(spa, swap)),

  Vcpu: { INVALID_ARGUMENT: () => new Vcpu(world().guest, { vmpl: 4 as never }) },
  'Vcpu.leave': {
    INVALID_MESSAGE: () => {
      const { guest, machine } = world({}, { vmsas: [createVmsa()] });
      guest.onStart((vcpu) => vcpu.leave(1n, -1n));
      machine.hypervisor.run(guest);
    },
  },
  'Vcpu.load': { INVALID_ARGUMENT: () => world().vcpu.load('cr0', -1n) },
  'Vcpu.loadCr3': { INVALID_ARGUMENT: () => world().vcpu.loadCr3(1n << 64n) },
  'Vcpu.resume': {
    INVALID_ARGUMENT: () => {
      const at = { spa: sysPhysAddr(0), gpa: physAddr(0), vmcb: sysPhysAddr(0) };
      world().vcpu.resume(SHORT, at);
    },
  },
  'Vcpu.vmgexit': {
    INVALID_ARGUMENT: wrongType('Vcpu.vmgexit'),
    OUT_OF_MEMORY: () => withoutMemory().vcpu.vmgexit(),
    UNSUPPORTED_VMGEXIT: () => {
      const { vcpu } = world();
      vcpu.ghcbMsr = 0n;
      vcpu.vmgexit();
    },
    TERMINATED: () => {
      const { vcpu } = world();
      vcpu.ghcbMsr = terminate;
      vcpu.vmgexit();
    },
  },
  Guest: {
    INVALID_ARGUMENT: () => {
      const { machine, guest } = world();
      return new Guest(machine, { context: guest.context, nested: guest.nested, memory: guest.memory });
    },
  },
  pvalidate: {
    INVALID_ARGUMENT: () => pvalidate(world().vcpu, gvaOf(0), 0x4000_0000 as never, true),
  },
  rmpadjust: {
    INVALID_ARGUMENT: () => rmpadjust(world().vcpu, gvaOf(0), PageSize.Regular, { vmpl: 1, permissions: -1 }),
  },
  rmpquery: { INVALID_ARGUMENT: () => rmpquery(world().vcpu, gvaOf(0), 0.5 as never) },
  rmpupdate: {
    INVALID_ARGUMENT: () => rmpupdate(rmpOf(), sysPhysAddr(0), { assigned: false, pageSize: 1 as never }),
  },
  'Vcpu.pvalidate': {
    INVALID_ARGUMENT: () => world().vcpu.pvalidate(gvaOf(0), 0x4000_0000 as never, true),
  },
  'Vcpu.rmpadjust': {
    INVALID_ARGUMENT: () => world().vcpu.rmpadjust(gvaOf(0), PageSize.Regular, { vmpl: 256, permissions: 0 }),
  },
  'Vcpu.exchange': { INVALID_ARGUMENT: () => world().vcpu.exchange(gvaOf(0), 256) },
  'Vcpu.compareExchange': { INVALID_ARGUMENT: () => world().vcpu.compareExchange(gvaOf(4), 0n, 0n) },
  'Vcpu.rmpquery': { INVALID_ARGUMENT: () => world().vcpu.rmpquery(gvaOf(0), -1 as never) },
  'Guest.createVcpu': { INVALID_ARGUMENT: () => world().guest.createVcpu({ vmpl: -1 as never }) },

  requestGhcbMsr: {
    INVALID_ARGUMENT: wrongType('requestGhcbMsr'),
    OUT_OF_MEMORY: () => {
      const { vcpu, ghcb } = withoutMemory();
      return requestGhcbMsr(vcpu, { type: 'ghcb', gpa: ghcb.gpa }, 'ghcb');
    },
    UNSUPPORTED_VMGEXIT: () => requestGhcbMsr(world().vcpu, { type: 'ghcb', gpa: physAddr(0) }, 'features'),
    TERMINATED: () =>
      requestGhcbMsr(world().vcpu, { type: 'terminate', reasonSet: 0, reason: 0 }, 'features'),
    INVALID_MESSAGE: () => requestGhcbMsr(world().vcpu, { type: 'run-vmpl-request', vmpl: 256 }, 'run-vmpl'),
    INVALID_RESPONSE: () => requestGhcbMsr(world().vcpu, { type: 'features-request' }, 'run-vmpl'),
  },
  registerGhcb: {
    INVALID_ARGUMENT: wrongType('registerGhcb'),
    INVALID_MESSAGE: () => registerGhcb(world().vcpu, physAddr(1)),
    INVALID_RESPONSE: () => registerGhcb(world().vcpu, physAddr(64 * MiB)),
  },
  requestPageState: {
    INVALID_ARGUMENT: wrongType('requestPageState'),
    INVALID_MESSAGE: () => requestPageState(world().vcpu, physAddr(1), PageOperation.Shared),
    INVALID_RESPONSE: () => {
      const it = hostile();
      it.host.answers = { msr: nonsense };
      requestPageState(it.vcpu, physAddr(PAGE), PageOperation.Shared);
    },
    PAGE_STATE_REFUSED: () => requestPageState(world().vcpu, physAddr(64 * MiB), PageOperation.Shared),
    PAGE_IN_USE: () => requestPageState(withGhcb().vcpu, physAddr(GHCB), PageOperation.Private),
  },
  requestPageStates: {
    ...lists(({ ghcb }) => requestPageStates(ghcb, [entry])),
    INVALID_ARGUMENT: () => requestPageStates(withGhcb().ghcb, [], 0),
    INVALID_MESSAGE: () => requestPageStates(withGhcb().ghcb, [{ ...entry, reserved: -1 }]),
    RELEASED_GHCB: () => requestPageStates(released().ghcb, [entry]),
    PAGE_IN_USE: () => requestPageStates(withGhcb().ghcb, [{ ...entry, gpa: physAddr(GHCB) }]),
  },
  'Ghcb.create': sharing(Ghcb.create),
  hypervisorFeatures: {
    INVALID_ARGUMENT: wrongType('hypervisorFeatures'),
    RELEASED_GHCB: () => hypervisorFeatures(released().ghcb),
    INVALID_RESPONSE: () => {
      const it = hostile();
      it.host.answers = { msr: nonsense };
      return hypervisorFeatures(it.vcpu);
    },
    VMGEXIT_FAILED: () => {
      const it = withGhcb();
      it.host.answers = { page: () => ({ info1: 2n, info2: 1n }) };
      return hypervisorFeatures(it.ghcb);
    },
  },
  requireFeatures: {
    INVALID_ARGUMENT: wrongType('requireFeatures'),
    RELEASED_GHCB: () => requireFeatures(released().ghcb, 1n),
    INVALID_RESPONSE: () => {
      const it = hostile();
      it.host.answers = { msr: nonsense };
      return requireFeatures(it.vcpu, 1n);
    },
    VMGEXIT_FAILED: () => {
      const it = withGhcb();
      it.host.answers = { page: () => ({ info1: 2n, info2: 1n }) };
      return requireFeatures(it.ghcb, 1n);
    },
    MISSING_FEATURE: () => requireFeatures(world().vcpu, 4n),
  },
  'Ghcb.exchange': {
    ...asking((ghcb, call) => ghcb.exchange(call)),
    INVALID_RESPONSE: () =>
      withGhcb().ghcb.exchange({ exitCode: GhcbExit.HypervisorFeatures, answers: ['rax'] }),
  },
  'Ghcb.vmgexit': {
    ...asking((ghcb, call) => ghcb.vmgexit(call)),
    INVALID_RESPONSE: () => {
      const it = withGhcb();
      it.host.answers = { page: () => ({ info1: 0n, info2: 0n }) };
      return it.ghcb.vmgexit({ exitCode: GhcbExit.Rdtsc });
    },
  },
  'Ghcb.release': {
    PAGE_IN_USE: () => {
      const { ghcb, table } = withGhcb();
      return ghcb.release(table, { flush: () => ghcb.release(table) });
    },
    INVALID_ARGUMENT: () => {
      const { ghcb, table } = withGhcb();
      return ghcb.release(table, { validated: new ValidatedPages(memory) });
    },
    ALREADY_VALIDATED: () => {
      const it = withGhcb();
      return it.ghcb.release(it.table, record(it, true));
    },
    WRONG_MAPPING: () => {
      const { ghcb, table } = withGhcb();
      table.setEncrypted4k(ghcb.gva);
      return ghcb.release(table);
    },
    INVALID_RESPONSE: () => {
      const { ghcb, table, host } = withGhcb();
      host.answers = { msr: nonsense };
      return ghcb.release(table);
    },
    PAGE_STATE_REFUSED: () => {
      const { ghcb, table, host } = withGhcb();
      host.answers = { pageState: () => 1 };
      return ghcb.release(table);
    },
    PVALIDATE_FAILED: () => {
      const it = withGhcb(({ guest }) => new Failing(guest as never));
      (it.vcpu as Failing).fails = true;
      return it.ghcb.release(it.table);
    },
    PVALIDATE_UNCHANGED: () => {
      const it = withGhcb();
      const state = { assigned: true, asid: it.guest.asid, gpa: it.ghcb.gpa };
      const options = {
        // The hypervisor assigns the page early, and another processor validates it.
        flush: () => {
          it.vcpu.flushTlb();
          it.host.rmpupdate(spaOf(it, GHCB), state);
          it.vcpu.pvalidate(gvaOf(GHCB), PageSize.Regular, true);
        },
      };
      return it.ghcb.release(it.table, options);
    },
    RELEASED_GHCB: () => {
      const it = released();
      return it.ghcb.release(it.table);
    },
  },
  makePageShared: sharing(makePageShared),
  makePagePrivate: takingBack(makePagePrivate, asShared),
  releasePage: sharing(releasePage),
  acceptPage: takingBack(acceptPage, asPrivate),
  makeRegionShared: {
    ...regionChange(makeRegionShared, asPrivate),
    NOT_VALIDATED: notValidated(makeRegionShared),
  },
  makeRegionPrivate: {
    ...regionChange(makeRegionPrivate, regionShared),
    ALREADY_VALIDATED: validatedTwice(makeRegionPrivate, regionShared),
  },
  releaseRegion: {
    ...regionChange(releaseRegion, asPrivate),
    NOT_VALIDATED: notValidated(releaseRegion),
  },
  acceptRegion: {
    ...regionChange(acceptRegion, asPrivate),
    ALREADY_VALIDATED: validatedTwice(acceptRegion, asPrivate),
  },
  settleRegion: {
    ...regionChange(settle('private'), asPrivate),
    NOT_VALIDATED: notValidated(settle('private')),
    ALREADY_VALIDATED: validatedTwice(settle('shared'), regionShared),
  },
  GuestRegions: { INVALID_ARGUMENT: () => new GuestRegions([]) },
  ValidatedPages: { INVALID_ARGUMENT: () => new ValidatedPages(none) },
  'ValidatedPages.requireNone': {
    INVALID_ARGUMENT: () => new ValidatedPages(memory).requireNone(none),
    ALREADY_VALIDATED: () => new ValidatedPages(memory, [memory]).requireNone(memory),
  },
  'ValidatedPages.requireAll': {
    INVALID_ARGUMENT: () => new ValidatedPages(memory).requireAll(none),
    NOT_VALIDATED: () => new ValidatedPages(memory).requireAll(memory),
  },
  'ValidatedPages.add': {
    INVALID_ARGUMENT: () => new ValidatedPages(memory).add(none),
    ALREADY_VALIDATED: () => new ValidatedPages(memory, [memory]).add(memory),
  },
  'ValidatedPages.remove': {
    INVALID_ARGUMENT: () => new ValidatedPages(memory).remove(none),
    NOT_VALIDATED: () => new ValidatedPages(memory).remove(memory),
  },
  makeVmsa: {
    INVALID_ARGUMENT: () => makeVmsa(world().vcpu, gvaOf(PAGE), SHORT),
    RMPADJUST_FAILED: () => {
      const it = world();
      it.vcpu.rmpadjust(gvaOf(6 * MiB), PageSize.Huge, { vmpl: 1, permissions: 0xf });
      const vcpu = it.guest.createVcpu({ vmpl: 1 });
      it.vcpu.rmpadjust(gvaOf(0), PageSize.Huge, { vmpl: 1, permissions: 0xf });
      vcpu.loadCr3(it.table.cr3);
      makeVmsa(vcpu, gvaOf(PAGE), createVmsa());
    },
    PAGE_IN_USE: () => {
      const { vcpu } = world();
      makeVmsa(vcpu, gvaOf(PAGE), createVmsa());
      makeVmsa(vcpu, gvaOf(PAGE), createVmsa());
    },
  },
  unmakeVmsa: {
    INVALID_ARGUMENT: wrongType('unmakeVmsa'),
    RMPADJUST_FAILED: () => {
      const it = world();
      it.vcpu.rmpadjust(gvaOf(6 * MiB), PageSize.Huge, { vmpl: 1, permissions: 0xf });
      const vcpu = it.guest.createVcpu({ vmpl: 1 });
      it.vcpu.rmpadjust(gvaOf(0), PageSize.Huge, { vmpl: 1, permissions: 0xf });
      vcpu.loadCr3(it.table.cr3);
      unmakeVmsa(vcpu, gvaOf(PAGE));
    },
    PAGE_IN_USE: () => {
      const it = withGhcb();
      makeVmsa(it.vcpu, gvaOf(PAGE), createVmsa());
      requestAp(it.ghcb, { ...creation, vmsa: physAddr(PAGE) });
      it.guest.onStart(() => unmakeVmsa(it.vcpu, gvaOf(PAGE)));
      it.machine.hypervisor.run(it.guest, creation.apicId);
    },
  },
  requestAp: {
    INVALID_ARGUMENT: wrongType('requestAp'),
    OUT_OF_MEMORY: () => requestAp(withoutMemory().ghcb, creation),
    UNSUPPORTED_VMGEXIT: () => requestAp(unreachable().ghcb, creation),
    INVALID_MESSAGE: () => requestAp(withGhcb().ghcb, { ...creation, apicId: -1 }),
    VMGEXIT_FAILED: () => requestAp(withGhcb().ghcb, { ...creation, sevFeatures: 0n }),
    RELEASED_GHCB: () => requestAp(released().ghcb, creation),
  },
  callSvsm: calls(({ guestCpu, area }) => svsm.callSvsm(guestCpu, area, {})),
  requestSvsm: refusable(({ guestCpu, area }) => svsm.requestSvsm(guestCpu, area, SvsmCall.RemapCa, {})),
  pvalidateBySvsm: {
    ...refusable(({ guestCpu, area }) => svsm.pvalidateBySvsm(guestCpu, area, [entryOf(0)])),
    INVALID_MESSAGE: () => {
      const { guestCpu, area } = hostileSvsm();
      svsm.pvalidateBySvsm(guestCpu, area, [{ ...entryOf(0), size: 4 }]);
    },
  },
  depositToSvsm: {
    ...refusable(({ guestCpu, area }) => svsm.depositToSvsm(guestCpu, area, [{ gpa: physAddr(0), size: 0 }])),
    INVALID_MESSAGE: () => {
      const { guestCpu, area } = hostileSvsm();
      svsm.depositToSvsm(guestCpu, area, [{ gpa: physAddr(0), size: 4 as never }]);
    },
  },
  withdrawFromSvsm: refusable(({ guestCpu, area }) => svsm.withdrawFromSvsm(guestCpu, area)),
  createVcpuBySvsm: refusable(({ guestCpu, area }) =>
    svsm.createVcpuBySvsm(guestCpu, area, { vmsa: physAddr(0), caa: physAddr(0), apicId: 0 }),
  ),
  deleteVcpuBySvsm: refusable(({ guestCpu, area }) => svsm.deleteVcpuBySvsm(guestCpu, area, physAddr(0))),
  remapCallingArea: refusable(({ guestCpu, area }) => svsm.remapCallingArea(guestCpu, area, area)),
  querySvsmProtocol: refusable(({ guestCpu, area }) => svsm.querySvsmProtocol(guestCpu, area, 0, 1)),
  querySvsmVtom: refusable(({ guestCpu, area }) => svsm.querySvsmVtom(guestCpu, area)),
  configureSvsmVtom: refusable(({ guestCpu, area }) =>
    svsm.configureSvsmVtom(guestCpu, area, { virtualTom: undefined }),
  ),

  permanentMap: { INVALID_ARGUMENT: () => permanentMap(undefined as never) },
  SvsmState: { INVALID_ARGUMENT: () => new SvsmState({ memory: none, own: [] }) },
  'SvsmState.on': {
    INVALID_ARGUMENT: () => {
      const it = svsmWorld();
      it.state.on(it.guest.createVcpu({ vmpl: 2 }), WHOLE);
    },
  },
  'SvsmMemory.validate': { INVALID_ARGUMENT: () => svsmWorld().svsm.memory.validate(0n, 1 as never, 0) },
  'SvsmMemory.rescind': { INVALID_ARGUMENT: () => svsmWorld().svsm.memory.rescind(0n, 1 as never) },
  'SvsmMemory.grant': { INVALID_ARGUMENT: () => svsmWorld().svsm.memory.grant(0n, 1 as never, 0) },
  'SvsmMemory.revoke': { INVALID_ARGUMENT: () => svsmWorld().svsm.memory.revoke(0n, 1 as never) },
  'SvsmMemory.clear': { INVALID_ARGUMENT: () => svsmWorld().svsm.memory.clear(0n, 1 as never) },
  'SvsmMemory.read': { INVALID_ARGUMENT: () => svsmWorld().svsm.memory.read(0n, -1) },
  'SvsmMemory.write': { INVALID_ARGUMENT: () => svsmWorld().svsm.memory.write(-1n, Uint8Array.of(1)) },
  'SvsmCore.register': {
    INVALID_ARGUMENT: () => {
      const it = svsmWorld();
      it.svsm.register(it.guest.createVcpu({ vmpl: 2 }), it.area.gpa);
    },
  },
  SnpMachine: {
    INVALID_ARGUMENT: () => new SnpMachine({ memorySize: MiB }),
    INVALID_RMP_RANGE: () => new SnpMachine({ memorySize: 4 * MiB, rmpCovers: MiB }),
  },
  'Hypervisor.givePageToFirmware': {
    OUT_OF_MEMORY: () => {
      const { hypervisor } = new SnpMachine({ memorySize: 4 * MiB });
      for (;;) hypervisor.givePageToFirmware();
    },
    HOST_INSTRUCTION_FAILED: () => {
      const { hypervisor } = new SnpMachine({ memorySize: 8 * MiB, rmpCovers: 2 * MiB });
      for (;;) hypervisor.givePageToFirmware();
    },
  },
  'Hypervisor.allocatePage': {
    OUT_OF_MEMORY: () => {
      const { host } = hostile();
      exhaust(host);
      host.allocatePage();
    },
  },
  'Hypervisor.launch': {
    INVALID_MESSAGE: () => {
      const page = { type: 3, gpa: physAddr(0), permissions: [256, 0, 0] } as const;
      new SnpMachine({ memorySize: 8 * MiB }).hypervisor.launch({ size: PAGE_SIZE, pages: [page] });
    },
    INVALID_ARGUMENT: () => new SnpMachine({ memorySize: 8 * MiB }).hypervisor.launch({ size: 1 }),
    OUT_OF_MEMORY: () => new SnpMachine({ memorySize: 8 * MiB }).hypervisor.launch({ size: 8 * MiB }),
    HOST_INSTRUCTION_FAILED: () =>
      new SnpMachine({ memorySize: 8 * MiB, rmpCovers: 2 * MiB }).hypervisor.launch({ size: 2 * MiB }),
    FIRMWARE_REFUSED: () => {
      // The page belongs to the guest before its launch: no program reaches this state.
      const { rmp, hypervisor } = new SnpMachine({ memorySize: 8 * MiB });
      const valid = { ...HYPERVISOR_ENTRY, assigned: true, asid: 1, validated: true };
      const others = { ...HYPERVISOR_ENTRY, assigned: true };
      rmp.setRegion(sysPhysAddr(2 * MiB), { ...valid, pageSize: PageSize.Huge }, others);
      hypervisor.launch({ size: 2 * MiB });
    },
  },
  'Hypervisor.rmpupdate': {
    INVALID_ARGUMENT: () =>
      hostile().host.rmpupdate(sysPhysAddr(0), { assigned: false, pageSize: 0x4000_0000 as never }),
  },
  'Hypervisor.write': { INVALID_ARGUMENT: () => hostile().host.write(sysPhysAddr(0), [1] as never) },
  'Hypervisor.run': { INVALID_ARGUMENT: () => hostile().host.run(world().guest) },
  'Hypervisor.init': {
    INVALID_ARGUMENT: wrongType('Hypervisor.init'),
    OUT_OF_MEMORY: () => {
      const { host, guest } = hostile();
      exhaust(host);
      host.init(guest, 3);
    },
  },
  'Hypervisor.vmgexit': {
    INVALID_ARGUMENT: wrongType('Hypervisor.vmgexit'),
    OUT_OF_MEMORY: () => {
      const { host, guest, vcpu, ghcb } = withoutMemory();
      host.vmgexit(guest, ghcb.gpa, vcpu);
    },
    UNSUPPORTED_VMGEXIT: () => {
      const { host, guest } = hostile();
      host.vmgexit(guest, 0n);
    },
    TERMINATED: () => {
      const { host, guest } = hostile();
      host.vmgexit(guest, terminate);
    },
  },
  'Hypervisor.answerGhcb': {
    INVALID_ARGUMENT: wrongType('Hypervisor.answerGhcb'),
    OUT_OF_MEMORY: () => {
      const { host, guest, ghcb } = withoutMemory();
      const { info1, info2, rax } = encodeApCreation(creation);
      const exitCode = GhcbExit.SnpApCreation;
      const request = { gpa: ghcb.gpa, exitCode, info1, info2, scratch: undefined, registers: { rax } };
      return host.answerGhcb(guest, request, GhcbPage.over());
    },
    TERMINATED: () => {
      const { host, guest } = hostile();
      const exitCode = GhcbExit.Terminate;
      const none = { info1: 0n, info2: 0n, scratch: undefined, registers: {} };
      return host.answerGhcb(guest, { gpa: physAddr(0), exitCode, ...none }, GhcbPage.over());
    },
  },
  'HostileHypervisor.replay': {
    INVALID_ARGUMENT: () => {
      const { host, guest } = hostile();
      return host.replay(guest, physAddr(0), undefined as never);
    },
  },
  'HostileHypervisor.substitute': {
    INVALID_ARGUMENT: wrongType('HostileHypervisor.substitute'),
    OUT_OF_MEMORY: () => {
      const { host, guest } = hostile();
      exhaust(host);
      host.substitute(guest, physAddr(PAGE));
    },
  },
  'HostileHypervisor.unsmash': {
    INVALID_ARGUMENT: wrongType('HostileHypervisor.unsmash'),
    FIRMWARE_REFUSED: () => {
      // A locked page of the firmware with an address: no state from which it can be reclaimed.
      const it = hostile();
      const { host, guest } = it;
      host.splitPage(guest, physAddr(6 * MiB));
      host.rmpupdate(spaOf(it, 6 * MiB), { assigned: true, gpa: physAddr(0x5000) });
      return host.unsmash(guest, physAddr(6 * MiB));
    },
  },
  'HostileHypervisor.aliasDram': {
    OUT_OF_MEMORY: () => {
      const { host } = hostile();
      exhaust(host);
      host.aliasDram(sysPhysAddr(0));
    },
  },
  'HostileHypervisor.tamperRmp': {
    INVALID_ARGUMENT: wrongType('HostileHypervisor.tamperRmp'),
    INVALID_MESSAGE: () => hostile().host.tamperRmp(sysPhysAddr(0), { asid: 1024 }),
    OUTSIDE_RMP: () => hostile({ rmpCovers: 30 * MiB }).host.tamperRmp(sysPhysAddr(30 * MiB), {}),
  },
  processPageStateChange: {
    INVALID_ARGUMENT: () => processPageStateChange(GhcbPage.over(), 0x7f0, () => 0),
  },
};
