/** For operations that check the types of their arguments: a call with any value in the place of one argument. */
import { physAddr, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { executeInGuest, executeInHost, rmpInstructionOf } from '../../src/cpu/instruction-registers.ts';
import { NestedTlb } from '../../src/cpu/nested-tlb.ts';
import { failedVmrunCheck, vmexit, vmrun } from '../../src/cpu/vmrun.ts';
import { Firmware } from '../../src/firmware/firmware.ts';
import type { ERRORS_OF } from '../../src/formats/error-codes.ts';
import * as formats from '../../src/formats/index.ts';
import * as ap from '../../src/guest/ap-creation.ts';
import { hypervisorFeatures, requireFeatures } from '../../src/guest/hypervisor-features.ts';
import { registerGhcb, requestGhcbMsr, requestPageState } from '../../src/guest/msr-protocol.ts';
import { useOfPages } from '../../src/guest/pages-in-use.ts';
import { svsmValidator } from '../../src/guest/svsm-validator.ts';
import { pageRegion } from '../../src/guest/validated-pages.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { EncryptedMemory } from '../../src/memory/encrypted-memory.ts';
import { GuestRegions } from '../../src/memory/guest-regions.ts';
import { NestedTable } from '../../src/memory/nested-table.ts';
import { psmash, rmpread } from '../../src/rmp/host-instructions.ts';
import { failedRmpCheck } from '../../src/rmp/rmp-check.ts';
import type { HostileWorld } from './hostile-calls.ts';
import { rmpOf } from './world.ts';

type Call = (value: never, it: () => HostileWorld) => unknown;

const GPA = physAddr(0x5000);
const GVA = virtAddr(0x5000);
const regions = new GuestRegions(physRegion(physAddr(0), 0x10_0000));
const SPA = formats.sysPhysAddr(0);
const memory = new EncryptedMemory(0x10_0000);
const ghcb = formats.GhcbPage.over();

const CALLS = {
  decodeGhcbMsr: (value) => formats.decodeGhcbMsr(value),
  decodeIgvmFile: (value) => formats.decodeIgvmFile(value),
  decodeOvmfImage: (value) => formats.decodeOvmfImage(value),
  decodeRmpEntry: (value) => formats.decodeRmpEntry({ low: 0n, high: value }),
  flatRmpCoverage: (value) => formats.flatRmpCoverage(value),
  flatRmpEntryAddress: (value) => formats.flatRmpEntryAddress(formats.sysPhysAddr(0), value),
  ghcbValidBit: (value) => formats.ghcbValidBit(value),
  GhcbPage: (value) => new formats.GhcbPage(value),
  'GhcbPage.get': (value) => ghcb.get(value),
  'GhcbPage.isValid': (value) => ghcb.isValid(value),
  'GhcbPage.set': (value) => ghcb.set(value, 0n),
  'Hypervisor.vmgexit': (value, it) => it().host.vmgexit(it().it.guest, value),
  'Vcpu.vmgexit': (value, it) => {
    const { vcpu } = it().it;
    vcpu.ghcbMsr = value;
    vcpu.vmgexit();
  },
  'Rmp.readWords': (value) => rmpOf().readWords(0, value),
  'Rmp.readRawWords': (value) => rmpOf().readRawWords(0, value),
  'Rmp.setRegionWords': (value) => rmpOf().setRegionWords(0, value, value),
  'Rmp.writeWords': (value) => rmpOf().writeWords(0, value),
  'Rmp.isAssigned': (value) => rmpOf().isAssigned(value),
  'Rmp.entriesOf': (value) => rmpOf().entriesOf(value),
  'Rmp.version': (value) => rmpOf().version(SPA, value),
  'Rmp.versionOfPage': (value) => rmpOf().versionOfPage(value, false),
  'Rmp.setInUse': (value) => rmpOf().setInUse(SPA, value),
  'Rmp.isInUse': (value) => rmpOf().isInUse(SPA, value),
  psmash: (value) => psmash(value, SPA),
  rmpread: (value) => rmpread(value, SPA),
  failedRmpCheck: (value) => failedRmpCheck(rmpOf(), value),
  'EncryptedMemory.read': (value) => memory.read(SPA, value, 0),
  'EncryptedMemory.readInto': (value) => memory.readInto(SPA, value, 0),
  'EncryptedMemory.write': (value) => memory.write(SPA, new Uint8Array(1), value),
  'EncryptedMemory.readFrame': (value) => memory.readFrame(0, value, 1, 0),
  'EncryptedMemory.writeFrame': (value) => memory.writeFrame(value, 0, new Uint8Array(1), 0),
  'EncryptedMemory.view': (value) => memory.view(value),
  'EncryptedMemory.epochOf': (value) => memory.epochOf(value),
  'EncryptedMemory.words': (value) => memory.words(0, 0, value),
  'EncryptedMemory.revoke': (value) => memory.revoke(value),
  'EncryptedMemory.aliasFrame': (value) => memory.aliasFrame(0, value),
  'EncryptedMemory.clear': (value) => memory.clear(value, 0),
  'Rmp.changePages': (value) => rmpOf().changePages(SPA, value, 4096, () => true),
  'EncryptedMemory.requirePages': (value) => memory.requirePages(0, value),
  'EncryptedMemory.writtenIn': (value) => memory.writtenIn(0, 1, value),
  'EncryptedMemory.rekey': (value) => memory.rekey(0, value, 0),
  NestedTable: (value) => new NestedTable(value),
  'NestedTable.map': (value, it) => it().it.guest.nested.map(physAddr(1 << 30), SPA, value),
  'NestedTable.markUsed': (value, it) => it().it.guest.nested.markUsed(physAddr(0x5000), value),
  Firmware: (value, it) => new Firmware(it().it.machine, value),
  'HostileHypervisor.substitute': (value, it) => it().host.substitute(value, GPA),
  'HostileHypervisor.unsmash': (value, it) => it().host.unsmash(value, physAddr(0x5000)),
  'HostileHypervisor.hide': (value, it) => it().host.hide(value, GPA),
  'HostileHypervisor.unassign': (value, it) => it().host.unassign(value, GPA),
  'HostileHypervisor.smash': (value, it) => it().host.smash(value, GPA),
  'HostileHypervisor.mapSmall': (value, it) => it().host.mapSmall(value, GPA),
  'HostileHypervisor.mapHuge': (value, it) => it().host.mapHuge(value, GPA),
  'HostileHypervisor.remap': (value, it) => it().host.remap(value, GPA, SPA),
  'HostileHypervisor.swap': (value, it) => it().host.swap(value, GPA, GPA),
  'HostileHypervisor.alias': (value, it) => it().host.alias(value, GPA, GPA),
  'HostileHypervisor.move': (value, it) => it().host.move(value, GPA, GPA),
  'HostileHypervisor.lend': (value, it) => it().host.lend(it().it.guest, GPA, value, GPA),
  'HostileHypervisor.enter': (value, it) => it().host.enter(it().it.guest, value, it().it.vcpu),
  'HostileHypervisor.answers': (value, it) => {
    it().host.answers = { page: value ?? null };
  },
  'HostileHypervisor.beforeSharedRead': (value, it) => it().host.beforeSharedRead(it().it.guest, SPA, value),
  Hypervisor: (value) => new Hypervisor(value),
  'Hypervisor.pageStatesPerExit': (value, it) => {
    it().host.pageStatesPerExit = value;
  },
  'Hypervisor.rmpupdatePages': (value, it) => it().host.rmpupdatePages(SPA, value, { assigned: false }),
  'Hypervisor.read': (value, it) => it().host.read(SPA, value),
  'Hypervisor.flushTlbs': (value, it) => it().host.flushTlbs(value),
  'Hypervisor.handleNestedPageFault': (value, it) =>
    it().host.handleNestedPageFault(it().it.guest, GPA, value),
  'Hypervisor.splitPage': (value, it) => it().host.splitPage(value, GPA),
  'Hypervisor.vmsaOf': (value, it) => it().host.vmsaOf(it().it.guest, value),
  'Hypervisor.init': (value, it) => it().host.init(it().it.guest, value),
  'Hypervisor.runVmpl': (value, it) => it().host.runVmpl(it().it.guest, 0, value),
  'Hypervisor.changePageState': (value, it) => it().host.changePageState(it().it.guest, GPA, value),
  'Hypervisor.answerGhcb': (value, it) => it().host.answerGhcb(it().it.guest, value, ghcb),
  'HostileHypervisor.tamperRmp': (value, it) => it().host.tamperRmp(SPA, value),
  ghcbExitFormat: (value) => formats.ghcbExitFormat(value, 0n),
  readGhcbRegisters: (value) => formats.readGhcbRegisters(value),
  decodeApCreation: (value) => ap.decodeApCreation(value, 0n, 0n),
  encodeApCreation: (value) => ap.encodeApCreation(value),
  unmakeVmsa: (value) => ap.unmakeVmsa(value, GVA),
  requestAp: (value, it) => ap.requestAp(it().ghcb, value),
  hypervisorFeatures: (value) => hypervisorFeatures(value),
  requireFeatures: (value, it) => requireFeatures(it().it.vcpu, value),
  requestGhcbMsr: (value, it) => requestGhcbMsr(it().it.vcpu, { type: 'features-request' }, value),
  registerGhcb: (value) => registerGhcb(value, GPA),
  requestPageState: (value) => requestPageState(value, GPA, 1),
  'GuestRegions.containsPage': (value) => regions.containsPage(GPA, value),
  pageRegion: (value) => pageRegion(GPA, value),
  useOfPages: (value) => useOfPages(value, physRegion(physAddr(0), 4096)),
  'Guest.onEnter': (value, it) => it().it.guest.onEnter(0, value),
  'Guest.enterVmpl': (value, it) => it().it.guest.enterVmpl(value, it().it.vcpu),
  'Guest.onStart': (value, it) => it().it.guest.onStart(value),
  'Guest.onCreateVcpu': (value, it) => it().it.guest.onCreateVcpu(value),
  'Guest.start': (value, it) => it().it.guest.start(value),
  'Guest.vmrun': (value, it) => it().it.guest.vmrun(value),
  'Vcpu.ghcbMsr': (value, it) => {
    it().it.vcpu.ghcbMsr = value;
  },
  'Vcpu.csL': (value, it) => {
    it().it.vcpu.csL = value;
  },
  'Vcpu.read': (value, it) => it().it.vcpu.read(GVA, value),
  'Vcpu.fetch': (value, it) => it().it.vcpu.fetch(GVA, value),
  'Vcpu.write': (value, it) => it().it.vcpu.write(GVA, value),
  'Vcpu.clear': (value, it) => it().it.vcpu.clear(GVA, value),
  rmpInstructionOf: (value) => rmpInstructionOf(value),
  executeInGuest: (value, it) => executeInGuest(it().it.vcpu, 'PVALIDATE', value),
  executeInHost: (value, it) => executeInHost(it().host, 'PSMASH', value),
  failedVmrunCheck: (value) => failedVmrunCheck(rmpOf(), value, { spa: SPA, gpa: GPA, asid: 1 }),
  vmrun: (value, it) => vmrun(it().it.machine, value, it().it.guest),
  vmexit: (value, it) => vmexit(it().it.machine, value),
  'NestedTlb.lookup': (value, it) => new NestedTlb().lookup(it().it.guest, value, GPA),
  'NestedTlb.frameOf': (value, it) => new NestedTlb().frameOf(it().it.guest, 0, 1, value),
  'NestedTlb.holdsPartOf': (value) => new NestedTlb().holdsPartOf(value, 0, GPA),
  'NestedTlb.widen': (value, it) => new NestedTlb().widen(it().it.guest, value, GPA),
  'NestedTlb.insert': (value, it) => new NestedTlb().insert(it().it.guest, 0, GPA, value, 1),
  'SvsmCore.callingArea': (value, it) => it().it.svsm.callingArea(value),
  'SvsmCore.enter': (value, it) => it().it.svsm.enter(value),
  'SvsmCore.call': (value, it) => it().it.svsm.call(it().it.guestCpu, value),
  'SnpMachine.trace': (value, it) => it().it.machine.trace(value),
  svsmValidator: (value) => svsmValidator(value),
  hashKernel: (value) => formats.hashKernel(value, (bytes) => bytes),
  igvmExpectedDigest: (value) => formats.igvmExpectedDigest(value),
  launchPageSize: (value) => formats.launchPageSize(value),
  pscEntriesOf: (value) => formats.pscEntriesOf(physRegion(physAddr(0), 4096), value),
  rmpResultName: (value) => formats.rmpResultName(value),
  webCryptoSha384: (value) => formats.webCryptoSha384(value),
} satisfies Partial<Readonly<Record<keyof typeof ERRORS_OF, Call>>>;

export const WRONG_TYPES: Readonly<Record<keyof typeof CALLS, Call>> = CALLS;
