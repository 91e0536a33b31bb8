/** Every refusal of an argument by the software of a guest: its whole message, and nothing changes. */
import { physAddr, virtAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { PtePreset } from '@svsm/pagetable';
import { expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import * as ap from '../../src/guest/ap-creation.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { Guest } from '../../src/guest/guest.ts';
import { hypervisorFeatures, requireFeatures } from '../../src/guest/hypervisor-features.ts';
import { registerGhcb, requestGhcbMsr, requestPageState } from '../../src/guest/msr-protocol.ts';
import { requestPageStates } from '../../src/guest/page-state-change.ts';
import * as pages from '../../src/guest/page-visibility.ts';
import * as regions from '../../src/guest/region-visibility.ts';
import * as calls from '../../src/guest/svsm-call.ts';
import { svsmValidator } from '../../src/guest/svsm-validator.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import { messageOf } from '../support/message-of.ts';
import { gvaOf, MiB, snapshot, world } from '../support/world.ts';

const it = world({}, { vmsas: [createVmsa()] });
const { guest, machine, table, vcpu } = it;
const wrong = 'x' as never;
const gva = gvaOf(4 * MiB);
const odd = virtAddr(gva + 8n);
const [shared, unmapped, ghcbPage, releasedPage] = [
  gvaOf(0x3000),
  gvaOf(64 * MiB),
  gvaOf(0x5000),
  gvaOf(0x6000),
];
pages.makePageShared(vcpu, table, shared);
const ghcb = Ghcb.create(vcpu, table, ghcbPage);
const released = Ghcb.create(vcpu, table, releasedPage);
released.release(table);
registerGhcb(vcpu, ghcb.gpa);
const VMSA = gvaOf(0x7000);
ap.makeVmsa(vcpu, VMSA, createVmsa());
const validated = new ValidatedPages(guest.memory, [physRegion(physAddr(0), 0x10_0000)]);
const region = virtRegion(gva, 0x1000);
const area = { gva, gpa: physAddr(4 * MiB) };
const creation = {
  request: ap.ApRequest.Create,
  apicId: 1,
  vmpl: 0,
  vmsa: physAddr(0x7000),
  sevFeatures: 1n,
};
const record = physRegion(physAddr(0x20_0000), 0x1000);
const entry = { gpa: physAddr(0), size: 0 as const, validate: true, ignoreUnchanged: false, reserved: 0 };
const high = virtAddr(0xffff_9000_0000_0000n);
table.map4k(high, physAddr(0x5000), PtePreset.Data);
const state = (): unknown => [
  snapshot(machine.rmp),
  vcpu.registers,
  [...validated].map(String),
  vcpu.read(gva, 64),
];
const before = state();

const ROWS: readonly (readonly [message: string, call: () => unknown])[] = [
  // AP creation
  [
    'the request cannot be "x": pass an object with request, apicId, vmpl, vmsa and sevFeatures [INVALID_ARGUMENT]',
    () => ap.encodeApCreation(wrong),
  ],
  [
    'the request cannot be undefined: pass an object with request, apicId, vmpl, vmsa and sevFeatures [INVALID_ARGUMENT]',
    () => ap.encodeApCreation(undefined as never),
  ],
  [
    'request cannot be 3: pass 0 to 2 [INVALID_MESSAGE]',
    () => ap.encodeApCreation({ ...creation, request: 3 as never }),
  ],
  [
    'apicId cannot be 4294967296: pass 32 bits [INVALID_MESSAGE]',
    () => ap.encodeApCreation({ ...creation, apicId: 2 ** 32 }),
  ],
  [
    'apicId cannot be -1: pass 32 bits [INVALID_MESSAGE]',
    () => ap.encodeApCreation({ ...creation, apicId: -1 }),
  ],
  [
    'apicId cannot be 0.5: pass 32 bits [INVALID_MESSAGE]',
    () => ap.encodeApCreation({ ...creation, apicId: 0.5 }),
  ],
  ['vmpl cannot be 4: pass 0 to 3 [INVALID_MESSAGE]', () => ap.encodeApCreation({ ...creation, vmpl: 4 })],
  ['vmpl cannot be -1: pass 0 to 3 [INVALID_MESSAGE]', () => ap.encodeApCreation({ ...creation, vmpl: -1 })],
  [
    'vmpl cannot be 0.5: pass 0 to 3 [INVALID_MESSAGE]',
    () => ap.encodeApCreation({ ...creation, vmpl: 0.5 }),
  ],
  [
    'vmsa cannot be 0x8: pass a multiple of 4096 as a bigint [INVALID_MESSAGE]',
    () => ap.encodeApCreation({ ...creation, vmsa: 8n as never }),
  ],
  [
    'vmsa cannot be "x": pass a multiple of 4096 as a bigint [INVALID_MESSAGE]',
    () => ap.encodeApCreation({ ...creation, vmsa: wrong }),
  ],
  [
    'sevFeatures cannot be 0x10000000000000000: pass a bigint of 64 bits [INVALID_MESSAGE]',
    () => ap.encodeApCreation({ ...creation, sevFeatures: 1n << 64n }),
  ],
  [
    'sevFeatures cannot be -0x1: pass a bigint of 64 bits [INVALID_MESSAGE]',
    () => ap.encodeApCreation({ ...creation, sevFeatures: -1n }),
  ],
  [
    'sevFeatures cannot be the number 1 (as a bigint: 1n): pass a bigint of 64 bits [INVALID_MESSAGE]',
    () => ap.encodeApCreation({ ...creation, sevFeatures: 1 as never }),
  ],
  [
    'SW_EXITINFO1 cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => ap.decodeApCreation(wrong, 0n, 0n),
  ],
  [
    'SW_EXITINFO2 cannot be -0x1: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => ap.decodeApCreation(0n, -1n, 0n),
  ],
  [
    'RAX cannot be 0x10000000000000000: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => ap.decodeApCreation(0n, 0n, 1n << 64n),
  ],
  [
    'the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]',
    () => ap.makeVmsa(wrong, gva, createVmsa()),
  ],
  [
    'the page of a VMSA cannot be "x": pass 4096 bytes, and a multiple of 4096 whose guest-physical address is not a multiple of 2 MiB [INVALID_ARGUMENT]',
    () => ap.makeVmsa(vcpu, wrong, createVmsa()),
  ],
  [
    'the page of a VMSA cannot be 0xffff800000400008: pass 4096 bytes, and a multiple of 4096 whose guest-physical address is not a multiple of 2 MiB [INVALID_ARGUMENT]',
    () => ap.makeVmsa(vcpu, odd, createVmsa()),
  ],
  [
    'the page of a VMSA cannot be 0xffff800000400000: pass 4096 bytes, and a multiple of 4096 whose guest-physical address is not a multiple of 2 MiB [INVALID_ARGUMENT]',
    () => ap.makeVmsa(vcpu, gva, createVmsa()),
  ],
  [
    'the page of a VMSA cannot be 0xffff800000008000: pass 4096 bytes, and a multiple of 4096 whose guest-physical address is not a multiple of 2 MiB [INVALID_ARGUMENT]',
    () => ap.makeVmsa(vcpu, gvaOf(0x8000), new Uint8Array(8)),
  ],
  [
    'the image of a VMSA cannot be "x": pass a Uint8Array [INVALID_ARGUMENT]',
    () => ap.makeVmsa(vcpu, gvaOf(0x8000), wrong),
  ],
  [
    '0x0000000000007000 is the VMSA of a processor: call unmakeVmsa or deleteVcpuBySvsm first [PAGE_IN_USE]',
    () => ap.makeVmsa(vcpu, VMSA, createVmsa()),
  ],
  [
    '0x0000000000005000 is the GHCB of a processor: release the GHCB first [PAGE_IN_USE]',
    () => ap.makeVmsa(vcpu, ghcbPage, createVmsa()),
  ],
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => ap.unmakeVmsa(wrong, VMSA)],
  ['the GHCB cannot be "x": pass a Ghcb [INVALID_ARGUMENT]', () => ap.requestAp(wrong, creation)],
  [
    'the request cannot be "x": pass an object with request, apicId, vmpl, vmsa and sevFeatures [INVALID_ARGUMENT]',
    () => ap.requestAp(ghcb, wrong),
  ],
  [
    'the GHCB at 0x0000000000006000 was released: create another one [RELEASED_GHCB]',
    () => ap.requestAp(released, creation),
  ],
  // GHCBs
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => Ghcb.create(wrong, table, gva)],
  [
    'the page table cannot be "x": pass an object with the methods lookup, setShared4k, setEncrypted4k, split4k [INVALID_ARGUMENT]',
    () => Ghcb.create(vcpu, wrong, gva),
  ],
  [
    '"x" is not a 64-bit address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => Ghcb.create(vcpu, table, wrong),
  ],
  [
    'the page cannot be 0xffff800000400008: pass a multiple of 4096 as a bigint [INVALID_ARGUMENT]',
    () => Ghcb.create(vcpu, table, odd),
  ],
  [
    '0xffff800000003000 must be mapped private, but is shared [WRONG_MAPPING]',
    () => Ghcb.create(vcpu, table, shared),
  ],
  [
    '0xffff800004000000 must be mapped private, but is not mapped [WRONG_MAPPING]',
    () => Ghcb.create(vcpu, table, unmapped),
  ],
  [
    '0x0000000000007000 is the VMSA of a processor: call unmakeVmsa or deleteVcpuBySvsm first [PAGE_IN_USE]',
    () => Ghcb.create(vcpu, table, VMSA),
  ],
  [
    'options cannot be "x": pass an object with the options validated, flush, validator, clear [INVALID_ARGUMENT]',
    () => Ghcb.create(vcpu, table, gva, wrong),
  ],
  [
    'the page table cannot be "x": pass an object with the methods lookup, setShared4k, setEncrypted4k, split4k [INVALID_ARGUMENT]',
    () => ghcb.release(wrong),
  ],
  [
    'options cannot be "x": pass an object with the options validated, flush, validator, clear [INVALID_ARGUMENT]',
    () => ghcb.release(table, wrong),
  ],
  [
    'the GHCB at 0x0000000000006000 was released: create another one [RELEASED_GHCB]',
    () => released.release(table),
  ],
  [
    'the GHCB at 0x0000000000006000 was released: create another one [RELEASED_GHCB]',
    () => released.page.get('rax'),
  ],
  [
    'the GHCB at 0x0000000000006000 was released: create another one [RELEASED_GHCB]',
    () => released.page.set('rax', 1n),
  ],
  [
    'the GHCB at 0x0000000000006000 was released: create another one [RELEASED_GHCB]',
    () => released.vmgexit({ exitCode: 0x8000_0013n }),
  ],
  [
    'the request cannot be "x": pass an object with the options exitCode, info1, info2, scratch, registers, answers [INVALID_ARGUMENT]',
    () => ghcb.vmgexit(wrong),
  ],
  [
    'exitCode cannot be "x": pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => ghcb.vmgexit({ exitCode: wrong }),
  ],
  [
    'exitInfo1 cannot be -0x1: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => ghcb.vmgexit({ exitCode: 1n, info1: -1n }),
  ],
  ['the GHCB cannot be "x": pass a Ghcb, or a Vcpu [INVALID_ARGUMENT]', () => hypervisorFeatures(wrong)],
  ['the GHCB cannot be "x": pass a Ghcb, or a Vcpu [INVALID_ARGUMENT]', () => requireFeatures(wrong, 1n)],
  [
    'the features cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => requireFeatures(vcpu, wrong),
  ],
  [
    'the hypervisor does not announce bit 63: its features are 0x23 [MISSING_FEATURE]',
    () => requireFeatures(vcpu, 1n << 63n),
  ],
  // the GHCB MSR
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => registerGhcb(wrong, physAddr(0))],
  [
    'gpa cannot be "x": pass a multiple of 4096 from 0 to 0xfffffffffffff000 as a bigint [INVALID_MESSAGE]',
    () => registerGhcb(vcpu, wrong),
  ],
  [
    'the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]',
    () => requestPageState(wrong, physAddr(0), 1),
  ],
  [
    'gpa cannot be "x": pass a multiple of 4096 from 0 to 0xffffffffff000 as a bigint [INVALID_MESSAGE]',
    () => requestPageState(vcpu, wrong, 1),
  ],
  [
    'the operation cannot be 9: pass one of 1, 2 [INVALID_ARGUMENT]',
    () => requestPageState(vcpu, physAddr(0), 9 as never),
  ],
  [
    'the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]',
    () => requestGhcbMsr(wrong, { type: 'features-request' }, 'features'),
  ],
  [
    'the message cannot be "x": pass an object with the fields type [INVALID_MESSAGE]',
    () => requestGhcbMsr(vcpu, wrong, 'features'),
  ],
  ['the GHCB cannot be "x": pass a Ghcb [INVALID_ARGUMENT]', () => requestPageStates(wrong, [])],
  [
    'the entries cannot be "x": pass an array or another iterable [INVALID_ARGUMENT]',
    () => requestPageStates(ghcb, wrong),
  ],
  [
    'the size of a batch cannot be a value of type object: pass 1 to 253 [INVALID_ARGUMENT]',
    () => requestPageStates(ghcb, [], { batchSize: 0 } as never),
  ],
  [
    'the size of a batch cannot be 0: pass 1 to 253 [INVALID_ARGUMENT]',
    () => requestPageStates(ghcb, [], 0 as never),
  ],
  [
    'the size of a batch cannot be 254: pass 1 to 253 [INVALID_ARGUMENT]',
    () => requestPageStates(ghcb, [], 254 as never),
  ],
  [
    'the size of a batch cannot be 0.5: pass 1 to 253 [INVALID_ARGUMENT]',
    () => requestPageStates(ghcb, [], 0.5 as never),
  ],
  // visibility of pages
  [
    'the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]',
    () => pages.makePageShared(wrong, table, gva),
  ],
  [
    'the page table cannot be "x": pass an object with the methods lookup, setShared4k, setEncrypted4k, split4k [INVALID_ARGUMENT]',
    () => pages.makePageShared(vcpu, wrong, gva),
  ],
  [
    'the page table cannot be a value of type object: pass an object with the methods lookup, setShared4k, setEncrypted4k, split4k [INVALID_ARGUMENT]',
    () => pages.makePageShared(vcpu, { lookup() {} } as never, gva),
  ],
  [
    '"x" is not a 64-bit address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => pages.makePageShared(vcpu, table, wrong),
  ],
  [
    'the page cannot be 0xffff800000400008: pass a multiple of 4096 as a bigint [INVALID_ARGUMENT]',
    () => pages.makePageShared(vcpu, table, odd),
  ],
  [
    '0xffff800000003000 must be mapped private, but is shared [WRONG_MAPPING]',
    () => pages.makePageShared(vcpu, table, shared),
  ],
  [
    '0xffff800004000000 must be mapped private, but is not mapped [WRONG_MAPPING]',
    () => pages.makePageShared(vcpu, table, unmapped),
  ],
  [
    '0x0000000000007000 is the VMSA of a processor: call unmakeVmsa or deleteVcpuBySvsm first [PAGE_IN_USE]',
    () => pages.makePageShared(vcpu, table, VMSA),
  ],
  [
    '0x0000000000005000 is the GHCB of a processor: release the GHCB first [PAGE_IN_USE]',
    () => pages.makePageShared(vcpu, table, high),
  ],
  [
    'options cannot be "x": pass an object with the options validated, flush, validator, clear [INVALID_ARGUMENT]',
    () => pages.makePageShared(vcpu, table, gva, wrong),
  ],
  [
    'options cannot be null: pass an object with the options validated, flush, validator, clear [INVALID_ARGUMENT]',
    () => pages.makePageShared(vcpu, table, gva, null as never),
  ],
  [
    'validated cannot be "x": pass a ValidatedPages [INVALID_ARGUMENT]',
    () => pages.makePageShared(vcpu, table, gva, { validated: wrong }),
  ],
  [
    '0x0000000000400000 is not validated [NOT_VALIDATED]',
    () => pages.makePageShared(vcpu, table, gva, { validated }),
  ],
  [
    'flush cannot be "x": pass a function [INVALID_ARGUMENT]',
    () => pages.makePageShared(vcpu, table, gva, { flush: wrong }),
  ],
  [
    'validator cannot be "x": pass a function [INVALID_ARGUMENT]',
    () => pages.makePageShared(vcpu, table, gva, { validator: wrong }),
  ],
  [
    'the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]',
    () => pages.makePagePrivate(wrong, table, shared),
  ],
  [
    '0xffff800000400000 must be mapped shared, but is private [WRONG_MAPPING]',
    () => pages.makePagePrivate(vcpu, table, gva),
  ],
  [
    'the page cannot be 0xffff800000400008: pass a multiple of 4096 as a bigint [INVALID_ARGUMENT]',
    () => pages.makePagePrivate(vcpu, table, odd),
  ],
  [
    '0xffff800004000000 must be mapped shared, but is not mapped [WRONG_MAPPING]',
    () => pages.makePagePrivate(vcpu, table, unmapped),
  ],
  [
    '0x0000000000005000 is the GHCB of a processor: release the GHCB first [PAGE_IN_USE]',
    () => pages.makePagePrivate(vcpu, table, ghcbPage),
  ],
  [
    '0x0000000000003000 is validated already: do not validate it again [ALREADY_VALIDATED]',
    () => pages.makePagePrivate(vcpu, table, shared, { validated }),
  ],
  [
    'flush cannot be "x": pass a function [INVALID_ARGUMENT]',
    () => pages.makePagePrivate(vcpu, table, shared, { flush: wrong }),
  ],
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => pages.acceptPage(wrong, table, gva)],
  [
    '0xffff800000003000 must be mapped private, but is shared [WRONG_MAPPING]',
    () => pages.acceptPage(vcpu, table, shared),
  ],
  [
    '0x0000000000007000 is the VMSA of a processor: call unmakeVmsa or deleteVcpuBySvsm first [PAGE_IN_USE]',
    () => pages.acceptPage(vcpu, table, VMSA),
  ],
  [
    '0x0000000000009000 is validated already: do not validate it again [ALREADY_VALIDATED]',
    () => pages.acceptPage(vcpu, table, gvaOf(0x9000), { validated }),
  ],
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => pages.releasePage(wrong, table, gva)],
  [
    '0xffff800000003000 must be mapped private, but is shared [WRONG_MAPPING]',
    () => pages.releasePage(vcpu, table, shared),
  ],
  [
    '0x0000000000007000 is the VMSA of a processor: call unmakeVmsa or deleteVcpuBySvsm first [PAGE_IN_USE]',
    () => pages.releasePage(vcpu, table, VMSA),
  ],
  [
    '0x0000000000400000 is not validated [NOT_VALIDATED]',
    () => pages.releasePage(vcpu, table, gva, { validated }),
  ],
  // visibility of regions
  [
    'the GHCB cannot be "x": pass a Ghcb [INVALID_ARGUMENT]',
    () => regions.makeRegionShared(wrong, table, region),
  ],
  [
    'the GHCB at 0x0000000000006000 was released: create another one [RELEASED_GHCB]',
    () => regions.makeRegionShared(released, table, region),
  ],
  [
    'the page table cannot be "x": pass an object with the methods lookup, setShared4k, setEncrypted4k, split4k [INVALID_ARGUMENT]',
    () => regions.makeRegionShared(ghcb, wrong, region),
  ],
  [
    'the region must be of kind virtual, not "x" [KIND_MISMATCH]',
    () => regions.makeRegionShared(ghcb, table, wrong),
  ],
  [
    'the region cannot be "[0xffff800000400008-0xffff800000401008)": pass whole pages of 4096 bytes [INVALID_ARGUMENT]',
    () => regions.makeRegionShared(ghcb, table, virtRegion(odd, 0x1000)),
  ],
  [
    'the region cannot be "[0xffff800000400000-0xffff800000401008)": pass whole pages of 4096 bytes [INVALID_ARGUMENT]',
    () => regions.makeRegionShared(ghcb, table, virtRegion(gva, 0x1008)),
  ],
  [
    '0xffff800000003000 must be mapped private, but is shared [WRONG_MAPPING]',
    () => regions.makeRegionShared(ghcb, table, virtRegion(shared, 0x1000)),
  ],
  [
    '0xffff800004000000 must be mapped private or shared, but is not mapped [WRONG_MAPPING]',
    () => regions.makeRegionShared(ghcb, table, virtRegion(unmapped, 0x1000)),
  ],
  [
    '0x0000000000005000 is the GHCB of a processor: release the GHCB first [PAGE_IN_USE]',
    () => regions.makeRegionShared(ghcb, table, virtRegion(ghcbPage, 0x1000)),
  ],
  [
    '0x0000000000007000 is the VMSA of a processor: call unmakeVmsa or deleteVcpuBySvsm first [PAGE_IN_USE]',
    () => regions.makeRegionShared(ghcb, table, virtRegion(VMSA, 0x1000)),
  ],
  [
    'options cannot be "x": pass an object with the options validated, flush, validator, clear [INVALID_ARGUMENT]',
    () => regions.makeRegionShared(ghcb, table, region, wrong),
  ],
  [
    '0x0000000000400000 is not validated [NOT_VALIDATED]',
    () => regions.makeRegionShared(ghcb, table, region, { validated }),
  ],
  [
    '0xffff800000400000 must be mapped shared, but is private [WRONG_MAPPING]',
    () => regions.makeRegionPrivate(ghcb, table, region),
  ],
  [
    '0x0000000000005000 is the GHCB of a processor: release the GHCB first [PAGE_IN_USE]',
    () => regions.makeRegionPrivate(ghcb, table, virtRegion(ghcbPage, 0x1000)),
  ],
  [
    '0xffff800000003000 must be mapped private, but is shared [WRONG_MAPPING]',
    () => regions.acceptRegion(ghcb, table, virtRegion(shared, 0x1000)),
  ],
  [
    '0x0000000000009000 is validated already: do not validate it again [ALREADY_VALIDATED]',
    () => regions.acceptRegion(ghcb, table, virtRegion(gvaOf(0x9000), 0x1000), { validated }),
  ],
  [
    '0xffff800000003000 must be mapped private, but is shared [WRONG_MAPPING]',
    () => regions.releaseRegion(ghcb, table, virtRegion(shared, 0x1000)),
  ],
  [
    'the state of a region cannot be "x": pass an object with the options private, shared, lost, validated, to [INVALID_ARGUMENT]',
    () => regions.settleRegion(ghcb, table, wrong, 'private'),
  ],
  [
    'the state cannot be "x": pass one of private, shared [INVALID_ARGUMENT]',
    () => regions.settleRegion(ghcb, table, { private: [region], shared: [], lost: [] }, wrong),
  ],
  [
    'the region cannot be "[0xffff800000400000-0xffff800000401000)": pass each page once [INVALID_ARGUMENT]',
    () => regions.settleRegion(ghcb, table, { private: [region], shared: [region], lost: [] }, 'private'),
  ],
  [
    'the region cannot be "[0xffff800000400008-0xffff800000401008)": pass whole pages of 4096 bytes [INVALID_ARGUMENT]',
    () =>
      regions.settleRegion(
        ghcb,
        table,
        { private: [], shared: [], lost: [virtRegion(odd, 0x1000)] },
        'private',
      ),
  ],
  [
    '0xffff800000003000 must be mapped private, but is shared [WRONG_MAPPING]',
    () =>
      regions.settleRegion(
        ghcb,
        table,
        { private: [virtRegion(shared, 0x1000)], shared: [], lost: [] },
        'shared',
      ),
  ],
  // calls of an SVSM
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => calls.callSvsm(wrong, area, {})],
  [
    'the calling area cannot be "x": pass the addresses gva and gpa of a page [INVALID_ARGUMENT]',
    () => calls.callSvsm(vcpu, wrong, {}),
  ],
  [
    'gpa of the calling area cannot be "x": pass the addresses gva and gpa of a page [INVALID_ARGUMENT]',
    () => calls.callSvsm(vcpu, { gva, gpa: wrong }, {}),
  ],
  [
    'gva of the calling area cannot be "x": pass the addresses gva and gpa of a page [INVALID_ARGUMENT]',
    () => calls.callSvsm(vcpu, { gva: wrong, gpa: area.gpa }, {}),
  ],
  [
    'registers cannot be "x": pass an object with the options rax, rcx, rdx, r8, r9 [INVALID_ARGUMENT]',
    () => calls.callSvsm(vcpu, area, wrong),
  ],
  [
    'rcx cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => calls.callSvsm(vcpu, area, { rcx: wrong }),
  ],
  [
    'r9 cannot be 0x10000000000000000: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => calls.callSvsm(vcpu, area, { r9: 1n << 64n }),
  ],
  [
    'a name in registers cannot be "rip": pass only options that exist: rax, rcx, rdx, r8, r9 [INVALID_ARGUMENT]',
    () => calls.callSvsm(vcpu, area, { rip: 1n } as never),
  ],
  [
    'the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]',
    () => calls.pvalidateBySvsm(wrong, area, [entry]),
  ],
  [
    'the calling area cannot be "x": pass the addresses gva and gpa of a page [INVALID_ARGUMENT]',
    () => calls.pvalidateBySvsm(vcpu, wrong, [entry]),
  ],
  [
    'the entries cannot be "x": pass an array [INVALID_ARGUMENT]',
    () => calls.pvalidateBySvsm(vcpu, area, wrong),
  ],
  [
    'an entry cannot be "x": pass an object with the fields gpa, size, validate, ignoreUnchanged, reserved [INVALID_MESSAGE]',
    () => calls.pvalidateBySvsm(vcpu, area, [wrong]),
  ],
  [
    'size cannot be 4: pass an unsigned integer of 2 bits [INVALID_MESSAGE]',
    () => calls.pvalidateBySvsm(vcpu, area, [{ ...entry, size: 4 }]),
  ],
  [
    'the calling area cannot be "x": pass the addresses gva and gpa of a page [INVALID_ARGUMENT]',
    () => calls.remapCallingArea(vcpu, wrong, area),
  ],
  [
    'the calling area cannot be "x": pass the addresses gva and gpa of a page [INVALID_ARGUMENT]',
    () => calls.remapCallingArea(vcpu, area, wrong),
  ],
  [
    'the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]',
    () => calls.createVcpuBySvsm(wrong, area, { vmsa: physAddr(0), caa: physAddr(0), apicId: 0 }),
  ],
  [
    'the address of the VMSA cannot be undefined: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => calls.createVcpuBySvsm(vcpu, area, wrong),
  ],
  [
    'the address of the VMSA cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => calls.createVcpuBySvsm(vcpu, area, { vmsa: wrong, caa: physAddr(0), apicId: 0 }),
  ],
  [
    'the address of the calling area cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => calls.createVcpuBySvsm(vcpu, area, { vmsa: physAddr(0), caa: wrong, apicId: 0 }),
  ],
  [
    'the APIC ID cannot be -1: pass an integer from 0 to 4294967295 [INVALID_ARGUMENT]',
    () => calls.createVcpuBySvsm(vcpu, area, { vmsa: physAddr(0), caa: physAddr(0), apicId: -1 }),
  ],
  [
    'the APIC ID cannot be 4294967296: pass an integer from 0 to 4294967295 [INVALID_ARGUMENT]',
    () => calls.createVcpuBySvsm(vcpu, area, { vmsa: physAddr(0), caa: physAddr(0), apicId: 2 ** 32 }),
  ],
  [
    'the address of the VMSA cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => calls.deleteVcpuBySvsm(vcpu, area, wrong),
  ],
  ['the pages cannot be "x": pass an array [INVALID_ARGUMENT]', () => calls.depositToSvsm(vcpu, area, wrong)],
  [
    'gpa cannot be undefined: pass a multiple of 4096 below 2^64 as a bigint [INVALID_MESSAGE]',
    () => calls.depositToSvsm(vcpu, area, [wrong]),
  ],
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => calls.depositToSvsm(wrong, area, [])],
  [
    'the calling area cannot be "x": pass the addresses gva and gpa of a page [INVALID_ARGUMENT]',
    () => calls.withdrawFromSvsm(vcpu, wrong),
  ],
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => calls.withdrawFromSvsm(wrong, area)],
  [
    'the protocol cannot be -1: pass an integer from 0 to 4294967295 [INVALID_ARGUMENT]',
    () => calls.querySvsmProtocol(vcpu, area, -1, 0),
  ],
  [
    'the protocol cannot be 4294967296: pass an integer from 0 to 4294967295 [INVALID_ARGUMENT]',
    () => calls.querySvsmProtocol(vcpu, area, 2 ** 32, 0),
  ],
  [
    'the version cannot be 4294967296: pass an integer from 0 to 4294967295 [INVALID_ARGUMENT]',
    () => calls.querySvsmProtocol(vcpu, area, 0, 2 ** 32),
  ],
  [
    'the version cannot be "x": pass an integer from 0 to 4294967295 [INVALID_ARGUMENT]',
    () => calls.querySvsmProtocol(vcpu, area, 0, wrong),
  ],
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => calls.querySvsmVtom(wrong, area)],
  [
    'settings cannot be "x": pass an object with the options virtualTom, cr3, rip, rsp [INVALID_ARGUMENT]',
    () => calls.configureSvsmVtom(vcpu, area, wrong),
  ],
  [
    'a setting cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => calls.configureSvsmVtom(vcpu, area, { virtualTom: wrong }),
  ],
  [
    'a setting cannot be -0x1: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => calls.configureSvsmVtom(vcpu, area, { virtualTom: undefined, cr3: -1n }),
  ],
  [
    'a setting cannot be 0x10000000000000000: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => calls.configureSvsmVtom(vcpu, area, { virtualTom: undefined, rip: 1n << 64n }),
  ],
  [
    'a setting cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => calls.configureSvsmVtom(vcpu, area, { virtualTom: undefined, rsp: wrong }),
  ],
  [
    'a name in settings cannot be "rax": pass only options that exist: virtualTom, cr3, rip, rsp [INVALID_ARGUMENT]',
    () => calls.configureSvsmVtom(vcpu, area, { virtualTom: undefined, rax: 1n } as never),
  ],
  [
    'the call cannot be 99: pass one of 0, 1, 2, 3, 4, 5, 6, 7 [INVALID_ARGUMENT]',
    () => calls.requestSvsm(vcpu, area, 99 as never, {}),
  ],
  [
    'rdx cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => calls.requestSvsm(vcpu, area, 0, { rdx: wrong }),
  ],
  [
    'the calling area cannot be "x": pass the addresses gva and gpa of a page [INVALID_ARGUMENT]',
    () => svsmValidator(wrong),
  ],
  // records and guests
  [
    'guest memory cannot be "x": pass a region of guest-physical addresses, or several [INVALID_ARGUMENT]',
    () => new ValidatedPages(wrong),
  ],
  [
    'guest memory cannot be "[0x0000000000000008-0x0000000000001008)": pass whole pages of 4096 bytes [INVALID_ARGUMENT]',
    () => new ValidatedPages(physRegion(physAddr(8), 0x1000)),
  ],
  [
    'the pages of a record cannot be "[0x0000000004000000-0x0000000004001000)": pass whole pages within {[0x0000000000000000-0x0000000000800000)} [INVALID_ARGUMENT]',
    () => new ValidatedPages(guest.memory, [physRegion(physAddr(64 * MiB), 0x1000)]),
  ],
  ['the region must be of kind physical, not "x" [KIND_MISMATCH]', () => validated.add(wrong)],
  [
    '0x0000000000000000 is validated already: do not validate it again [ALREADY_VALIDATED]',
    () => validated.add(physRegion(physAddr(0), 0x1000)),
  ],
  [
    'the pages of a record cannot be "[0x0000000000200000-0x0000000000200008)": pass whole pages within {[0x0000000000000000-0x0000000000800000)} [INVALID_ARGUMENT]',
    () => validated.add(physRegion(physAddr(0x20_0000), 8)),
  ],
  [
    'the pages of a record cannot be "[0x0000000004000000-0x0000000004001000)": pass whole pages within {[0x0000000000000000-0x0000000000800000)} [INVALID_ARGUMENT]',
    () => validated.add(physRegion(physAddr(64 * MiB), 0x1000)),
  ],
  ['0x0000000000200000 is not validated [NOT_VALIDATED]', () => validated.remove(record)],
  [
    'the pages of a record cannot be "[0x0000000000000008-0x0000000000001008)": pass whole pages within {[0x0000000000000000-0x0000000000800000)} [INVALID_ARGUMENT]',
    () => validated.remove(physRegion(physAddr(8), 0x1000)),
  ],
  ['0x0000000000200000 is not validated [NOT_VALIDATED]', () => validated.requireAll(record)],
  [
    '0x00000000000ff000 is validated already: do not validate it again [ALREADY_VALIDATED]',
    () => validated.requireNone(physRegion(physAddr(0xf_f000), 0x2000)),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => validated.has(wrong),
  ],
  [
    'VMPL cannot be 9: pass one of 0, 1, 2, 3 [INVALID_ARGUMENT]',
    () => guest.createVcpu({ vmpl: 9 as never }),
  ],
  ['the VMPL cannot be "x": pass one of 0, 1, 2, 3 [INVALID_ARGUMENT]', () => guest.onEnter(wrong, () => {})],
  ['the software cannot be "x": pass a function [INVALID_ARGUMENT]', () => guest.onEnter(0, wrong)],
  ['the software cannot be "x": pass a function [INVALID_ARGUMENT]', () => guest.onStart(wrong)],
  ['the factory cannot be "x": pass a function [INVALID_ARGUMENT]', () => guest.onCreateVcpu(wrong)],
  [
    'the processor cannot be "x": pass an object with the methods leave [INVALID_ARGUMENT]',
    () => guest.enterVmpl(0, wrong),
  ],
  [
    'the processor cannot be "x": pass an object with the methods leave [INVALID_ARGUMENT]',
    () => guest.start(wrong),
  ],
  [
    'the VMSA cannot be "x": pass an object with spa, gpa and vmcb [INVALID_ARGUMENT]',
    () => guest.vmrun(wrong),
  ],
  ['the machine cannot be "x": pass an SnpMachine [INVALID_ARGUMENT]', () => new Guest(wrong, wrong)],
  [
    'options cannot be "x": pass an object with the options context, nested, memory, levels, virtualTom [INVALID_ARGUMENT]',
    () => new Guest(machine, wrong),
  ],
  [
    'a name in options cannot be "asid": pass only options that exist: context, nested, memory, levels, virtualTom [INVALID_ARGUMENT]',
    () => new Guest(machine, { context: sysPhysAddr(0), asid: 1 } as never),
  ],
];

test.each(ROWS)('%s', (message, call) => {
  expect(messageOf(call)).toBe(message);
});

test('no refusal has changed the guest, the RMP or the record', () => {
  for (const [, call] of ROWS) messageOf(call);
  expect(state()).toEqual(before);
});
