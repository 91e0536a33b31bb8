/** Every refusal of an argument by the hypervisor and the machine: its whole message, and nothing changes. */
import { physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { LaunchPageType } from '../../src/formats/launch-digest.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import type { LaunchOptions } from '../../src/host/launch-options.ts';
import { SnpMachine, type SnpMachineOptions } from '../../src/host/snp-machine.ts';
import { messageOf } from '../support/message-of.ts';
import { MiB, snapshot, spaOf, world } from '../support/world.ts';

const it = world({ hypervisor: (machine) => new HostileHypervisor(machine) }, { vmsas: [createVmsa()] });
const { guest, machine } = it;
const host = machine.hypervisor as HostileHypervisor;
const wrong = 'x' as never;
const spa = sysPhysAddr(31 * MiB);
const gpa = physAddr(2 * MiB);
const own = spaOf(it, 2 * MiB);
const region = physRegion(physAddr(0), 2 * MiB);
const launch = (options: object): unknown => host.launch(options as LaunchOptions);
const sized = (options: object): unknown => launch({ size: 2 * MiB, ...options });
const made = (options: object): SnpMachine => new SnpMachine(options as SnpMachineOptions);
const page = { type: LaunchPageType.Normal, gpa: physAddr(0), bytes: new Uint8Array(4096) };
const state = (): unknown => [snapshot(machine.rmp), host.pageStatesPerExit, host.vmsaOf(guest, 0)];
const before = state();

const ROWS: readonly (readonly [message: string, call: () => unknown])[] = [
  // a machine
  [
    'options cannot be "x": pass an object with the options memorySize, rmpCovers, cBit, addressReduction, seed, hypervisor, assumptions, trace [INVALID_ARGUMENT]',
    () => made(wrong),
  ],
  [
    'undefined is not a byte count: pass a bigint or a safe integer that is at least 0 [INVALID_BYTE_COUNT]',
    () => made({}),
  ],
  [
    '"x" is not a byte count: pass a bigint or a safe integer that is at least 0 [INVALID_BYTE_COUNT]',
    () => made({ memorySize: wrong }),
  ],
  [
    'memory size cannot be 0x1001: pass a multiple of 4096 [INVALID_ARGUMENT]',
    () => made({ memorySize: 0x1001 }),
  ],
  [
    'the C-bit cannot be 31: pass an integer from 47 to 51 [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, cBit: 31 }),
  ],
  [
    'the C-bit cannot be 52: pass an integer from 47 to 51 [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, cBit: 52 }),
  ],
  [
    'the C-bit cannot be "x": pass an integer from 47 to 51 [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, cBit: wrong }),
  ],
  [
    'the address reduction cannot be -1: pass an integer from 0 to 20 [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, addressReduction: -1 }),
  ],
  [
    'the address reduction cannot be 64: pass an integer from 0 to 20 [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, addressReduction: 64 }),
  ],
  [
    'the address reduction cannot be "x": pass an integer from 0 to 20 [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, addressReduction: wrong }),
  ],
  [
    '"x" is not a byte count: pass a bigint or a safe integer that is at least 0 [INVALID_BYTE_COUNT]',
    () => made({ memorySize: 4 * MiB, rmpCovers: wrong }),
  ],
  [
    'a value of type object is not a byte count: pass a bigint or a safe integer that is at least 0 [INVALID_BYTE_COUNT]',
    () => made({ memorySize: 4 * MiB, rmpCovers: physRegion(physAddr(0), 4096) }),
  ],
  [
    'hypervisor cannot be "x": pass a function [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, hypervisor: wrong }),
  ],
  [
    'trace cannot be "x": pass a function [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, trace: wrong }),
  ],
  [
    'the seed cannot be 0.5: pass an integer [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, seed: 0.5 }),
  ],
  [
    'assumptions cannot be "x": pass an object with the options exceptionOrder, resultFlags, pvalidateAboveVmpl0, carryOnFailure, lowAddressBits, operandAccess, sharedOperand, guestSizeMatters, defaultMasks, resetMaskOfVmpl0, inUseTest, alignedPageBlocksHuge, rmpupdateReset, smallUpdateInHuge, psmashBadPage, psmashImmutable, subpageCount, sourceVmsa, rmpqueryLevels, rmpqueryNeedsValidated, rmpadjustReservedBits, rmpadjustVmplRange, inUseErratum, hostTableReads, exitInfo2, cr2OnCrossing, reservedFaultPresent, accessedOnFault, eferLmaWrites, topLevelBit8, runVmplError, pageInfoMasks, rmpSegSizeUnit, svsmVtomMinimum, svsmVmsaLevels, svsmCallPending, svsmSecondVmsa [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, assumptions: wrong }),
  ],
  [
    'the assumption exceptionOrder cannot be "x": pass UD-first or GP-first [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, assumptions: { exceptionOrder: wrong } }),
  ],
  [
    'a name in assumptions cannot be "order": pass only options that exist: exceptionOrder, resultFlags, pvalidateAboveVmpl0, carryOnFailure, lowAddressBits, operandAccess, sharedOperand, guestSizeMatters, defaultMasks, resetMaskOfVmpl0, inUseTest, alignedPageBlocksHuge, rmpupdateReset, smallUpdateInHuge, psmashBadPage, psmashImmutable, subpageCount, sourceVmsa, rmpqueryLevels, rmpqueryNeedsValidated, rmpadjustReservedBits, rmpadjustVmplRange, inUseErratum, hostTableReads, exitInfo2, cr2OnCrossing, reservedFaultPresent, accessedOnFault, eferLmaWrites, topLevelBit8, runVmplError, pageInfoMasks, rmpSegSizeUnit, svsmVtomMinimum, svsmVmsaLevels, svsmCallPending, svsmSecondVmsa [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, assumptions: { order: 1 } }),
  ],
  [
    'a name in options cannot be "size": pass only options that exist: memorySize, rmpCovers, cBit, addressReduction, seed, hypervisor, assumptions, trace [INVALID_ARGUMENT]',
    () => made({ memorySize: 4 * MiB, size: 1 }),
  ],
  ['the machine cannot be "x": pass an SnpMachine [INVALID_ARGUMENT]', () => new Hypervisor(wrong)],
  // the hypervisor
  [
    'pageStatesPerExit cannot be 0: pass an integer from 1 on, or Infinity [INVALID_ARGUMENT]',
    () => (host.pageStatesPerExit = 0),
  ],
  [
    'pageStatesPerExit cannot be "x": pass an integer from 1 on, or Infinity [INVALID_ARGUMENT]',
    () => (host.pageStatesPerExit = wrong),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.read(wrong, 1),
  ],
  ['length cannot be -1: pass an integer from 0 on [INVALID_ARGUMENT]', () => host.read(spa, -1)],
  ['length cannot be "x": pass an integer from 0 on [INVALID_ARGUMENT]', () => host.read(spa, wrong)],
  [
    'there is no memory at physical address 0x0000000002000000: memory has system memory of 0x2000000 bytes [BUS_ERROR]',
    () => host.read(sysPhysAddr(32 * MiB), 1),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.write(wrong, new Uint8Array(1)),
  ],
  ['the bytes cannot be "x": pass a Uint8Array [INVALID_ARGUMENT]', () => host.write(spa, wrong)],
  [
    'mappedWith cannot be 5: pass one of 4096, 2097152, 1073741824 [INVALID_ARGUMENT]',
    () => host.write(spa, new Uint8Array(1), 5 as never),
  ],
  [
    'there is no memory at physical address 0x0000000002000000: memory has system memory of 0x2000000 bytes [BUS_ERROR]',
    () => host.write(sysPhysAddr(32 * MiB), new Uint8Array(1)),
  ],
  [
    'host #PF at SPA 0x0000000000400000, error code 0x80000003: failed hypervisor-owned [HOST_PF]',
    () => host.write(own, new Uint8Array(1)),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.rmpupdate(wrong, { assigned: false }),
  ],
  [
    'a name in the new state cannot be "0": pass only options that exist: assigned, pageSize, immutable, gpa, asid [INVALID_ARGUMENT]',
    () => host.rmpupdate(spa, wrong),
  ],
  [
    'assigned cannot be "x": pass a boolean [INVALID_ARGUMENT]',
    () => host.rmpupdate(spa, { assigned: wrong }),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.rmpupdatePages(wrong, 1, { assigned: false }),
  ],
  [
    'the number of pages cannot be 0: pass a positive integer [INVALID_ARGUMENT]',
    () => host.rmpupdatePages(spa, 0, { assigned: false }),
  ],
  [
    'the number of pages cannot be 0.5: pass a positive integer [INVALID_ARGUMENT]',
    () => host.rmpupdatePages(spa, 0.5, { assigned: false }),
  ],
  [
    'a name in the new state cannot be "0": pass only options that exist: assigned, pageSize, immutable, gpa, asid [INVALID_ARGUMENT]',
    () => host.rmpupdatePages(spa, 1, wrong),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.rmpread(wrong),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.psmash(wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.flushTlbs(wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.handleNestedPageFault(wrong, gpa, 0n),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.handleNestedPageFault(guest, wrong, 0n),
  ],
  [
    'exitInfo1 cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => host.handleNestedPageFault(guest, gpa, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.splitPage(wrong, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.splitPage(guest, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.vmgexit(wrong, 0n),
  ],
  [
    'the value of the GHCB MSR cannot be "x": pass a bigint [INVALID_ARGUMENT]',
    () => host.vmgexit(guest, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.changePageState(wrong, gpa, 1),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.changePageState(guest, wrong, 1),
  ],
  [
    'operation cannot be 9: pass one of 1, 2 [INVALID_ARGUMENT]',
    () => host.changePageState(guest, gpa, 9 as never),
  ],
  [
    'the page size cannot be 5: pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => host.changePageState(guest, gpa, 1, 5 as never),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.vmsaOf(wrong, 0),
  ],
  ['the APIC ID cannot be "x": pass an integer [INVALID_ARGUMENT]', () => host.vmsaOf(guest, wrong)],
  ['the VMPL cannot be "x": pass an integer [INVALID_ARGUMENT]', () => host.vmsaOf(guest, 0, wrong)],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.run(wrong),
  ],
  [
    'the processor cannot be "5 at VMPL0": pass one that has a VMSA [INVALID_ARGUMENT]',
    () => host.run(guest, 5),
  ],
  [
    'the processor cannot be "0 at VMPL3": pass one that has a VMSA [INVALID_ARGUMENT]',
    () => host.run(guest, 0, 3),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.init(wrong, 0),
  ],
  ['the APIC ID cannot be "x": pass an integer [INVALID_ARGUMENT]', () => host.init(guest, wrong)],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.runVmpl(wrong, 0, it.vcpu),
  ],
  ['the VMPL cannot be "x": pass an integer [INVALID_ARGUMENT]', () => host.runVmpl(guest, wrong, it.vcpu)],
  [
    'the processor cannot be "x": pass an object with the methods leave [INVALID_ARGUMENT]',
    () => host.runVmpl(guest, 0, wrong),
  ],
  // a hostile hypervisor
  [
    'answers cannot be "x": pass an object with the options msr, page, afterPage, pageState, fault, withhold, beforeResume, beforeSharedRead [INVALID_ARGUMENT]',
    () => (host.answers = wrong),
  ],
  [
    'a name in answers cannot be "lie": pass only options that exist: msr, page, afterPage, pageState, fault, withhold, beforeResume, beforeSharedRead [INVALID_ARGUMENT]',
    () => (host.answers = { lie: 1 } as never),
  ],
  [
    'withhold cannot be 1: pass a boolean [INVALID_ARGUMENT]',
    () => (host.answers = { withhold: 1 } as never),
  ],
  ['msr cannot be 1: pass a function [INVALID_ARGUMENT]', () => (host.answers = { msr: 1 } as never)],
  ['page cannot be 1: pass a function [INVALID_ARGUMENT]', () => (host.answers = { page: 1 } as never)],
  [
    'afterPage cannot be 1: pass a function [INVALID_ARGUMENT]',
    () => (host.answers = { afterPage: 1 } as never),
  ],
  [
    'pageState cannot be 1: pass a function [INVALID_ARGUMENT]',
    () => (host.answers = { pageState: 1 } as never),
  ],
  ['fault cannot be 1: pass a function [INVALID_ARGUMENT]', () => (host.answers = { fault: 1 } as never)],
  [
    'beforeResume cannot be 1: pass a function [INVALID_ARGUMENT]',
    () => (host.answers = { beforeResume: 1 } as never),
  ],
  [
    'beforeSharedRead cannot be 1: pass a function [INVALID_ARGUMENT]',
    () => (host.answers = { beforeSharedRead: 1 } as never),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.remap(wrong, gpa, spa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.remap(guest, wrong, spa),
  ],
  [
    'the virtual address 0x0000000000000008 is not a multiple of the page size 0x1000 [MISALIGNED]',
    () => host.remap(guest, physAddr(8), spa),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.remap(guest, gpa, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.hide(wrong, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.hide(guest, wrong),
  ],
  [
    'the virtual address 0x0000000000000008 is not a multiple of the page size 0x1000 [MISALIGNED]',
    () => host.hide(guest, physAddr(8)),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.swap(wrong, gpa, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.swap(guest, wrong, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.swap(guest, gpa, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.alias(wrong, gpa, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.alias(guest, gpa, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.substitute(wrong, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.substitute(guest, wrong),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.substitute(guest, gpa, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.lend(wrong, gpa, guest, gpa),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.lend(guest, gpa, wrong, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.lend(guest, wrong, guest, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.lend(guest, gpa, guest, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.unassign(wrong, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.unassign(guest, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.move(wrong, gpa, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.move(guest, gpa, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.smash(wrong, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.smash(guest, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.unsmash(wrong, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.unsmash(guest, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.mapSmall(wrong, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.mapSmall(guest, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.mapHuge(wrong, gpa),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.mapHuge(guest, wrong),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.enter(wrong, 0, it.vcpu),
  ],
  [
    'vmpl cannot be "x": pass an integer from 0 to 3 [INVALID_ARGUMENT]',
    () => host.enter(guest, wrong, it.vcpu),
  ],
  [
    'the processor cannot be "x": pass an object with the methods leave [INVALID_ARGUMENT]',
    () => host.enter(guest, 0, wrong),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.capture(wrong),
  ],
  [
    'there is no memory at physical address 0x0000000002000000: memory has system memory of 0x2000000 bytes [BUS_ERROR]',
    () => host.capture(sysPhysAddr(32 * MiB)),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => host.replay(wrong, gpa, new Uint8Array(4096)),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.replay(guest, wrong, new Uint8Array(4096)),
  ],
  [
    'the address of a page cannot be 0x8: pass a multiple of 4096 as a bigint [INVALID_ARGUMENT]',
    () => host.replay(guest, physAddr(8), new Uint8Array(4096)),
  ],
  [
    'captured bytes cannot be "x": pass a Uint8Array [INVALID_ARGUMENT]',
    () => host.replay(guest, gpa, wrong),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.aliasDram(wrong),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.aliasDram(spa, wrong),
  ],
  [
    'there is no memory at physical address 0x0000000002000000: memory has system memory of 0x2000000 bytes [BUS_ERROR]',
    () => host.aliasDram(sysPhysAddr(32 * MiB)),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.tamperRmp(wrong, {}),
  ],
  [
    'the fields of an entry cannot be "x": pass an object with the options assigned, pageSize, immutable, subpageCount, gpa, asid, vmsa, validated, vmplMasks, lock, upper [INVALID_ARGUMENT]',
    () => host.tamperRmp(spa, wrong),
  ],
  [
    'asid cannot be -1: pass an unsigned integer of 10 bits [INVALID_MESSAGE]',
    () => host.tamperRmp(spa, { asid: -1 }),
  ],
  [
    'a name in the fields of an entry cannot be "size": pass only options that exist: assigned, pageSize, immutable, subpageCount, gpa, asid, vmsa, validated, vmplMasks, lock, upper [INVALID_ARGUMENT]',
    () => host.tamperRmp(spa, { size: 1 } as never),
  ],
  [
    'the RMP has no entry for 0x0000010000000000 [OUTSIDE_RMP]',
    () => host.tamperRmp(sysPhysAddr(1n << 40n), {}),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => host.observeCiphertext(wrong),
  ],
  [
    'length cannot be "x": pass an integer from 0 on [INVALID_ARGUMENT]',
    () => host.observeCiphertext(spa, wrong),
  ],
  // a launch
  [
    'options cannot be "x": pass an object with the options memory, size, pages, image, pageSize, levels, nestedLevels, virtualTom, gmet, nestedAccessedDirty, vmsas [INVALID_ARGUMENT]',
    () => launch(wrong),
  ],
  [
    'the memory of a guest cannot be undefined: pass memory or size, and not both [INVALID_ARGUMENT]',
    () => launch({}),
  ],
  [
    'the memory of a guest cannot be a value of type object: pass memory or size, and not both [INVALID_ARGUMENT]',
    () => launch({ size: 2 * MiB, memory: [] }),
  ],
  [
    '"x" is not a byte count: pass a bigint or a safe integer that is at least 0 [INVALID_BYTE_COUNT]',
    () => launch({ size: wrong }),
  ],
  ['guest memory size cannot be 0x0: pass a multiple of 4096 [INVALID_ARGUMENT]', () => launch({ size: 0 })],
  [
    'guest memory size cannot be 0x1001: pass a multiple of 4096 [INVALID_ARGUMENT]',
    () => launch({ size: 0x1001 }),
  ],
  [
    'memory cannot be "x": pass a list of what its type says [INVALID_ARGUMENT]',
    () => launch({ memory: wrong }),
  ],
  [
    'guest memory cannot be a value of type object: pass at least one region [INVALID_ARGUMENT]',
    () => launch({ memory: [] }),
  ],
  [
    'memory cannot be a value of type object: pass a list of what its type says [INVALID_ARGUMENT]',
    () => launch({ memory: [wrong] }),
  ],
  [
    'validated of a region cannot be undefined: pass true or false [INVALID_ARGUMENT]',
    () => launch({ memory: [{ region }] }),
  ],
  [
    'memory cannot be a value of type object: pass a list of what its type says [INVALID_ARGUMENT]',
    () => launch({ memory: [{ region: wrong, validated: true }] }),
  ],
  [
    'guest memory cannot be "[0x0000000000000008-0x0000000000001008)": pass whole pages of 4096 bytes [INVALID_ARGUMENT]',
    () => launch({ memory: [{ region: physRegion(physAddr(8), 4096), validated: true }] }),
  ],
  [
    'a region of memory cannot be "[0x0000000000000000-0x0000000000200000)": regions may not overlap [INVALID_ARGUMENT]',
    () =>
      launch({
        memory: [
          { region, validated: true },
          { region, validated: false },
        ],
      }),
  ],
  [
    'guest memory cannot be "{[0x0001000000000000-0x0001000000001000)…": guest memory ends at 0x1000000000000 or before [INVALID_ARGUMENT]',
    () => launch({ memory: [{ region: physRegion(physAddr(1n << 48n), 4096), validated: true }] }),
  ],
  [
    'pages cannot be "x": pass a list of what its type says [INVALID_ARGUMENT]',
    () => sized({ pages: wrong }),
  ],
  [
    'a page of a launch cannot be "x": pass an object with the options type, gpa, bytes, size, permissions, imi [INVALID_ARGUMENT]',
    () => sized({ pages: [wrong] }),
  ],
  [
    'the type of a page cannot be 9: pass 1 to 6 [INVALID_ARGUMENT]',
    () => sized({ pages: [{ ...page, type: 9 }] }),
  ],
  [
    'the address of a page cannot be 0x8: pass a multiple of 4096 as a bigint [INVALID_ARGUMENT]',
    () => sized({ pages: [{ ...page, gpa: physAddr(8) }] }),
  ],
  [
    'the address of a page cannot be "x": pass a multiple of 4096 as a bigint [INVALID_ARGUMENT]',
    () => sized({ pages: [{ ...page, gpa: wrong }] }),
  ],
  [
    'the bytes of a page cannot be 8: pass a multiple of 4096 [INVALID_ARGUMENT]',
    () => sized({ pages: [{ ...page, bytes: new Uint8Array(8) }] }),
  ],
  [
    'the bytes of a page cannot be "x": pass a Uint8Array [INVALID_ARGUMENT]',
    () => sized({ pages: [{ ...page, bytes: wrong }] }),
  ],
  [
    'a page of the launch cannot be "[0x0000000000000000-0x0000000000001000)": pages may not overlap [INVALID_ARGUMENT]',
    () => sized({ pages: [page, page] }),
  ],
  [
    'a page of the launch cannot be "[0x0000000004000000-0x0000000004001000)": it must lie in memory [INVALID_ARGUMENT]',
    () => sized({ pages: [{ ...page, gpa: physAddr(64 * MiB) }] }),
  ],
  [
    'image cannot be "x": pass a list of what its type says [INVALID_ARGUMENT]',
    () => sized({ image: wrong }),
  ],
  ['an image cannot be undefined: pass a Uint8Array [INVALID_ARGUMENT]', () => sized({ image: [wrong] })],
  [
    'an image cannot be "x": pass a Uint8Array [INVALID_ARGUMENT]',
    () => sized({ image: [{ gpa: physAddr(0), bytes: wrong }] }),
  ],
  [
    'image cannot be a value of type object: pass a list of what its type says [INVALID_ARGUMENT]',
    () => sized({ image: [{ gpa: wrong, bytes: new Uint8Array(8) }] }),
  ],
  [
    'the address of an image cannot be 0x1ffffc: it must lie in validated memory without pages [INVALID_ARGUMENT]',
    () => sized({ image: [{ gpa: physAddr(2 * MiB - 4), bytes: new Uint8Array(8) }] }),
  ],
  [
    'unmeasured of an image cannot be 1: pass a boolean [INVALID_ARGUMENT]',
    () => sized({ image: [{ gpa: physAddr(0), bytes: new Uint8Array(8), unmeasured: 1 }] }),
  ],
  ['pageSize cannot be 5: pass 4096 or 0x200000 [INVALID_ARGUMENT]', () => sized({ pageSize: 5 })],
  ['levels cannot be 3: pass 4 or 5 [INVALID_ARGUMENT]', () => sized({ levels: 3 })],
  ['nestedLevels cannot be 3: pass 4 or 5 [INVALID_ARGUMENT]', () => sized({ nestedLevels: 3 })],
  [
    'the virtual top of memory cannot be "x": pass a multiple of 2 MiB from 0x200000 to 0xffffffe00000 as a bigint [INVALID_ARGUMENT]',
    () => sized({ virtualTom: wrong }),
  ],
  [
    'the virtual top of memory cannot be 0x8: pass a multiple of 2 MiB from 0x200000 to 0xffffffe00000 as a bigint [INVALID_ARGUMENT]',
    () => sized({ virtualTom: 8n }),
  ],
  [
    'the virtual top of memory cannot be 0x0: pass a multiple of 2 MiB from 0x200000 to 0xffffffe00000 as a bigint [INVALID_ARGUMENT]',
    () => sized({ virtualTom: 0n }),
  ],
  [
    'the virtual top of memory cannot be 0x1000000000000000: pass a multiple of 2 MiB from 0x200000 to 0xffffffe00000 as a bigint [INVALID_ARGUMENT]',
    () => sized({ virtualTom: 1n << 60n }),
  ],
  ['gmet cannot be 1: pass a boolean [INVALID_ARGUMENT]', () => sized({ gmet: 1 })],
  [
    'nestedAccessedDirty cannot be 1: pass a boolean [INVALID_ARGUMENT]',
    () => sized({ nestedAccessedDirty: 1 }),
  ],
  [
    'vmsas cannot be "x": pass a list of what its type says [INVALID_ARGUMENT]',
    () => sized({ vmsas: wrong }),
  ],
  ['a VMSA cannot be "x": pass a Uint8Array [INVALID_ARGUMENT]', () => sized({ vmsas: [wrong] })],
  [
    'the length of a VMSA cannot be 8: pass 4096 bytes [INVALID_ARGUMENT]',
    () => sized({ vmsas: [new Uint8Array(8)] }),
  ],
  [
    'a name in options cannot be "length": pass only options that exist: memory, size, pages, image, pageSize, levels, nestedLevels, virtualTom, gmet, nestedAccessedDirty, vmsas [INVALID_ARGUMENT]',
    () => sized({ length: 1 }),
  ],
];

test.each(ROWS)('%s', (message, call) => {
  expect(messageOf(call)).toBe(message);
});

test('no refusal has changed the machine', () => {
  for (const [, call] of ROWS) messageOf(call);
  expect(state()).toEqual(before);
});
