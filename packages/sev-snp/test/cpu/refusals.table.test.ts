/** Every refusal of an argument by the processor: its whole message, and nothing changes. */
import { PageSize, physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import {
  requireGuest,
  requireMachine,
  requirePages,
  requirePlace,
  requireProcessor,
  requireVcpu,
} from '../../src/cpu/context-checks.ts';
import { pvalidate, rmpadjust, rmpquery } from '../../src/cpu/guest-instructions.ts';
import { executeInGuest, executeInHost, rmpInstructionOf } from '../../src/cpu/instruction-registers.ts';

import { INIT_REGISTERS, START_REGISTERS } from '../../src/cpu/vcpu-registers.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { vmexit, vmrun } from '../../src/cpu/vmrun.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { messageOf } from '../support/message-of.ts';
import { gvaOf, MiB, snapshot, spaOf, world } from '../support/world.ts';

const { Huge } = PageSize;
const it = world();
const { guest, machine, vcpu } = it;
const { hypervisor } = machine;
const wrong = 'x' as never;
const gva = gvaOf(2 * MiB);
const vmsa = { spa: sysPhysAddr(0x1000), gpa: physAddr(0x2000), vmcb: sysPhysAddr(0x3000) };
const at1 = guest.createVcpu({ vmpl: 1 });
const user = guest.createVcpu();
user.cpl = 3;
const registers = { rax: gva as bigint, rcx: 0n, rdx: 0n, rflags: 2n };
const running = guest.createVcpu();
running.resume(createVmsa(), { ...vmsa, spa: spaOf(it, 4 * MiB) });
const fake = { vmpl: 0, cpl: 0, is64Bit: true, guest, translate() {} };
const other = { nested: guest.nested } as never;
const real = guest.createVcpu({ registers: INIT_REGISTERS });
const state = (): unknown => [vcpu.controlRegisters, vcpu.cpl, vcpu.vmsa, snapshot(machine.rmp)];
const before = state();

const ROWS: readonly (readonly [message: string, call: () => unknown])[] = [
  // options of a processor
  [
    'options cannot be "x": pass an object with the options vmpl, tlb, nestedTlb, registers, csL, vmplSss, onPageFault, vmsa [INVALID_ARGUMENT]',
    () => guest.createVcpu(wrong),
  ],
  [
    'VMPL cannot be 4: pass one of 0, 1, 2, 3 [INVALID_ARGUMENT]',
    () => guest.createVcpu({ vmpl: 4 as never }),
  ],
  ['VMPL cannot be "x": pass one of 0, 1, 2, 3 [INVALID_ARGUMENT]', () => guest.createVcpu({ vmpl: wrong })],
  [
    'tlb cannot be "x": pass an object with the methods flushPage, flushAll [INVALID_ARGUMENT]',
    () => guest.createVcpu({ tlb: wrong }),
  ],
  [
    'tlb cannot be a value of type object: pass an object with the methods flushPage, flushAll [INVALID_ARGUMENT]',
    () => guest.createVcpu({ tlb: { flushAll() {} } as never }),
  ],
  [
    'tlb cannot be a value of type object: pass an object with the methods flushPage, flushAll [INVALID_ARGUMENT]',
    () => guest.createVcpu({ tlb: { flushPage() {} } as never }),
  ],
  [
    'nestedTlb cannot be "x": pass a NestedTlb [INVALID_ARGUMENT]',
    () => guest.createVcpu({ nestedTlb: wrong }),
  ],
  ['csL cannot be "x": pass a boolean [INVALID_ARGUMENT]', () => guest.createVcpu({ csL: wrong })],
  ['vmplSss cannot be "x": pass a boolean [INVALID_ARGUMENT]', () => guest.createVcpu({ vmplSss: wrong })],
  [
    'onPageFault cannot be "x": pass a function [INVALID_ARGUMENT]',
    () => guest.createVcpu({ onPageFault: wrong }),
  ],
  [
    'registers cannot be "x": pass an object with the options cr0, cr3, cr4, efer, rflags, pkru, pkrs [INVALID_ARGUMENT]',
    () => guest.createVcpu({ registers: wrong }),
  ],
  [
    'a name in registers cannot be "cr2": pass only options that exist: cr0, cr3, cr4, efer, rflags, pkru, pkrs [INVALID_ARGUMENT]',
    () => guest.createVcpu({ registers: { cr2: 1n } as never }),
  ],
  [
    'cr4 cannot be the number 1 (as a bigint: 1n): pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => guest.createVcpu({ registers: { cr4: 1 as never } }),
  ],
  [
    'cr0 cannot be -0x1: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => guest.createVcpu({ registers: { cr0: -1n } }),
  ],
  [
    'efer cannot be 0x10000000000000000: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => guest.createVcpu({ registers: { efer: 1n << 64n } }),
  ],
  [
    'the registers cannot be "cr0 0x80010011, cr3 0x0, cr4 0x0, efer 0…": pass a state without paging, or one of long mode, that a processor can have [INVALID_ARGUMENT]',
    () => guest.createVcpu({ registers: { cr4: 0n } }),
  ],
  [
    'the registers cannot be "cr0 0x80010011, cr3 0x10000000000000, cr…": pass a state without paging, or one of long mode, that a processor can have [INVALID_ARGUMENT]',
    () => guest.createVcpu({ registers: { cr3: 1n << 52n } }),
  ],
  [
    'the VMSA cannot be "x": pass an object with spa, gpa and vmcb [INVALID_ARGUMENT]',
    () => guest.createVcpu({ vmsa: wrong }),
  ],
  [
    'the VMSA cannot be 5: pass an object with spa, gpa and vmcb [INVALID_ARGUMENT]',
    () => guest.createVcpu({ vmsa: 5 as never }),
  ],
  [
    'the VMSA cannot be null: pass an object with spa, gpa and vmcb [INVALID_ARGUMENT]',
    () => guest.createVcpu({ vmsa: null as never }),
  ],
  [
    'a name in the VMSA cannot be "size": pass only options that exist: spa, gpa, vmcb, avicBackingPage [INVALID_ARGUMENT]',
    () => guest.createVcpu({ vmsa: { ...vmsa, size: 1 } as never }),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => guest.createVcpu({ vmsa: { ...vmsa, spa: wrong } }),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => guest.createVcpu({ vmsa: { ...vmsa, gpa: wrong } }),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => guest.createVcpu({ vmsa: { ...vmsa, vmcb: wrong } }),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => guest.createVcpu({ vmsa: { ...vmsa, avicBackingPage: wrong } }),
  ],
  // guests, processors and machines
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => requireGuest(wrong),
  ],
  [
    'the guest cannot be undefined: pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => requireGuest(undefined as never),
  ],
  [
    'the guest cannot be a value of type object: pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => requireGuest(other),
  ],
  [
    'the guest cannot be a value of type object: pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => requireGuest({ enterVmpl() {} } as never),
  ],
  [
    'the processor cannot be "x": pass an object with the methods leave [INVALID_ARGUMENT]',
    () => requireVcpu(wrong),
  ],
  [
    'the processor cannot be a value of type object: pass an object with the methods leave [INVALID_ARGUMENT]',
    () => requireVcpu({ vmpl: 0 } as never),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => requirePlace(wrong, physAddr(0)),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => requirePlace(guest, wrong),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => requirePages(wrong),
  ],
  [
    'the address of a page cannot be 0x1001: pass a multiple of 4096 as a bigint [INVALID_ARGUMENT]',
    () => requirePages(physAddr(0), physAddr(0x1001)),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => requireProcessor(wrong, 0, 0),
  ],
  ['the APIC ID cannot be 0.5: pass an integer [INVALID_ARGUMENT]', () => requireProcessor(guest, 0.5, 0)],
  ['the VMPL cannot be "x": pass an integer [INVALID_ARGUMENT]', () => requireProcessor(guest, 0, wrong)],
  ['the machine cannot be "x": pass an SnpMachine [INVALID_ARGUMENT]', () => requireMachine(wrong)],
  [
    'the machine cannot be a value of type object: pass an SnpMachine [INVALID_ARGUMENT]',
    () => requireMachine({ rmp: machine.rmp } as never),
  ],
  [
    'the machine cannot be a value of type object: pass an SnpMachine [INVALID_ARGUMENT]',
    () => requireMachine({ memory: machine.memory } as never),
  ],
  // registers
  [
    'the name of a register cannot be "cr2": pass cr0, cr3, cr4, efer, rflags, pkru, pkrs [INVALID_ARGUMENT]',
    () => vcpu.load('cr2' as never, 0n),
  ],
  [
    'the name of a register cannot be 5: pass cr0, cr3, cr4, efer, rflags, pkru, pkrs [INVALID_ARGUMENT]',
    () => vcpu.load(5 as never, 0n),
  ],
  [
    'the value of cr0 cannot be 0x10000000000000000: pass a bigint of at most 64 bits [INVALID_ARGUMENT]',
    () => vcpu.load('cr0', 1n << 64n),
  ],
  [
    'the value of cr4 cannot be "x": pass a bigint of at most 64 bits [INVALID_ARGUMENT]',
    () => vcpu.load('cr4', wrong),
  ],
  [
    'the value of pkru cannot be 0x100000000: pass a bigint of at most 32 bits [INVALID_ARGUMENT]',
    () => vcpu.load('pkru', 1n << 32n),
  ],
  [
    'the value of pkrs cannot be 0x100000000: pass a bigint of at most 32 bits [INVALID_ARGUMENT]',
    () => vcpu.load('pkrs', 1n << 32n),
  ],
  [
    'the value of rflags cannot be 0x10000000000000000: pass a bigint of at most 64 bits [INVALID_ARGUMENT]',
    () => vcpu.load('rflags', 1n << 64n),
  ],
  [
    'the value of rflags cannot be 0x20000: set no bit that is reserved, and not VM [INVALID_ARGUMENT]',
    () => vcpu.load('rflags', 1n << 17n),
  ],
  [
    'the value of rflags cannot be 0x400000: set no bit that is reserved, and not VM [INVALID_ARGUMENT]',
    () => vcpu.load('rflags', 1n << 22n),
  ],
  [
    'the value of rflags cannot be 0x8: set no bit that is reserved, and not VM [INVALID_ARGUMENT]',
    () => vcpu.load('rflags', 8n),
  ],
  [
    'the value of efer cannot be 0x10000000000000000: pass a bigint of at most 64 bits [INVALID_ARGUMENT]',
    () => vcpu.load('efer', 1n << 64n),
  ],
  ['#GP(0): EFER has bits that the processor does not have [GP]', () => vcpu.load('efer', 1n << 40n)],
  ['#GP(0): CR3 has bits above the physical width [GP]', () => vcpu.load('cr3', 1n << 52n)],
  [
    'the value of cr0 cannot be 0x100000000: pass a bigint of at most 32 bits [INVALID_ARGUMENT]',
    () => real.load('cr0', 1n << 32n),
  ],
  [
    'the value of cr0 cannot be 0x80010011: set EFER.LME first: the model has no 32-bit and no PAE tables [INVALID_ARGUMENT]',
    () => real.load('cr0', START_REGISTERS.cr0),
  ],
  [
    'the value of rflags cannot be 0x100000000: set no bit that is reserved, and not VM [INVALID_ARGUMENT]',
    () => real.load('rflags', 1n << 32n),
  ],
  ['cpl cannot be 4: pass 0, 1, 2 or 3 [INVALID_CPU_STATE]', () => (vcpu.cpl = 4)],
  ['cpl cannot be "x": pass 0, 1, 2 or 3 [INVALID_CPU_STATE]', () => (vcpu.cpl = wrong)],
  // instructions
  ['the byte cannot be 256: pass an integer from 0 to 255 [INVALID_ARGUMENT]', () => vcpu.exchange(gva, 256)],
  ['the byte cannot be -1: pass an integer from 0 to 255 [INVALID_ARGUMENT]', () => vcpu.exchange(gva, -1)],
  [
    'the byte cannot be "x": pass an integer from 0 to 255 [INVALID_ARGUMENT]',
    () => vcpu.exchange(gva, wrong),
  ],
  [
    'the page size cannot be 8192: pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => vcpu.pvalidate(gva, 8192 as never, true),
  ],
  [
    'the page size cannot be "x": pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => vcpu.pvalidate(gva, wrong, true),
  ],
  [
    'whether to validate cannot be "x": pass a boolean [INVALID_ARGUMENT]',
    () => vcpu.pvalidate(gva, Huge, wrong),
  ],
  [
    'whether to validate cannot be undefined: pass a boolean [INVALID_ARGUMENT]',
    () => vcpu.pvalidate(gva, Huge, undefined as never),
  ],
  ['#GP(0): PVALIDATE at VMPL1 [GP]', () => at1.pvalidate(gva, Huge, true)],
  ['#GP(0): PVALIDATE at CPL 3 [GP]', () => user.pvalidate(gva, Huge, true)],
  [
    'the page size cannot be 8192: pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => vcpu.rmpadjust(gva, 8192 as never, { vmpl: 1, permissions: 0 }),
  ],
  [
    'the VMPL cannot be 256: pass an integer from 0 to 255 [INVALID_ARGUMENT]',
    () => vcpu.rmpadjust(gva, Huge, { vmpl: 256, permissions: 0 }),
  ],
  [
    'the VMPL cannot be -1: pass an integer from 0 to 255 [INVALID_ARGUMENT]',
    () => vcpu.rmpadjust(gva, Huge, { vmpl: -1, permissions: 0 }),
  ],
  [
    'the VMPL cannot be 0.5: pass an integer from 0 to 255 [INVALID_ARGUMENT]',
    () => vcpu.rmpadjust(gva, Huge, { vmpl: 0.5, permissions: 0 }),
  ],
  [
    'the permissions cannot be 256: pass an integer from 0 to 255 [INVALID_ARGUMENT]',
    () => vcpu.rmpadjust(gva, Huge, { vmpl: 1, permissions: 256 }),
  ],
  [
    'the permissions cannot be -1: pass an integer from 0 to 255 [INVALID_ARGUMENT]',
    () => vcpu.rmpadjust(gva, Huge, { vmpl: 1, permissions: -1 }),
  ],
  [
    'the permissions cannot be "x": pass an integer from 0 to 255 [INVALID_ARGUMENT]',
    () => vcpu.rmpadjust(gva, Huge, { vmpl: 1, permissions: wrong }),
  ],
  [
    'the VMSA bit cannot be "x": pass a boolean [INVALID_ARGUMENT]',
    () => vcpu.rmpadjust(gva, Huge, { vmpl: 1, permissions: 0, vmsa: wrong }),
  ],
  ['#GP(0): RMPADJUST at CPL 3 [GP]', () => user.rmpadjust(gva, Huge, { vmpl: 1, permissions: 0 })],
  ['#UD: RMPADJUST does not exist here [UD]', () => real.rmpadjust(gva, Huge, { vmpl: 1, permissions: 0 })],
  [
    'the VMPL cannot be 256: pass an integer from 0 to 255 [INVALID_ARGUMENT]',
    () => vcpu.rmpquery(gva, 256 as never),
  ],
  [
    'the VMPL cannot be -1: pass an integer from 0 to 255 [INVALID_ARGUMENT]',
    () => vcpu.rmpquery(gva, -1 as never),
  ],
  [
    'the VMPL cannot be "x": pass an integer from 0 to 255 [INVALID_ARGUMENT]',
    () => vcpu.rmpquery(gva, wrong),
  ],
  ['#GP(0): RMPQUERY at CPL 3 [GP]', () => user.rmpquery(gva, 1)],
  ['#UD: RMPQUERY does not exist here [UD]', () => real.rmpquery(gva, 1)],
  ['#GP(0): RMPQUERY at CPL 3 [GP]', () => executeInGuest(user, 'RMPQUERY', registers)],
  [
    '#UD: RMPQUERY does not exist here [UD]',
    () => executeInGuest(vcpu, 'RMPQUERY', registers, { snp: false }),
  ],
  [
    '#UD: RMPADJUST does not exist here [UD]',
    () => executeInGuest(vcpu, 'RMPADJUST', registers, { bits: 32 }),
  ],
  ['#GP(0): PSMASH at CPL 3 [GP]', () => executeInHost(hypervisor, 'PSMASH', registers, { cpl: 3 })],
  [
    '#UD: PSMASH does not exist here [UD]',
    () => executeInHost(hypervisor, 'PSMASH', registers, { bits: 32 }),
  ],
  ['#UD: PVALIDATE does not exist here [UD]', () => executeInHost(hypervisor, 'PVALIDATE', registers)],
  // instructions as functions
  [
    'the guest cannot be undefined: pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => pvalidate(wrong, gva, Huge, true),
  ],
  [
    'the processor cannot be a value of type object: pass a Vcpu [INVALID_ARGUMENT]',
    () => pvalidate({ ...fake, translate: 1 } as never, gva, Huge, true),
  ],
  [
    'the processor cannot be a value of type object: pass a Vcpu [INVALID_ARGUMENT]',
    () => pvalidate({ ...fake, is64Bit: 1 } as never, gva, Huge, true),
  ],
  [
    'the processor cannot be a value of type object: pass a Vcpu [INVALID_ARGUMENT]',
    () => pvalidate({ ...fake, cpl: 0.5 } as never, gva, Huge, true),
  ],
  [
    'the processor cannot be a value of type object: pass a Vcpu [INVALID_ARGUMENT]',
    () => pvalidate({ ...fake, vmpl: wrong } as never, gva, Huge, true),
  ],
  [
    'the guest cannot be "x": pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => pvalidate({ ...fake, guest: wrong } as never, gva, Huge, true),
  ],
  [
    'the page size cannot be "x": pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => pvalidate(vcpu, gva, wrong, true),
  ],
  [
    'the guest cannot be undefined: pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => rmpadjust(wrong, gva, Huge, { vmpl: 1, permissions: 0 }),
  ],
  [
    'the page size cannot be "x": pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => rmpadjust(vcpu, gva, wrong, { vmpl: 1, permissions: 0 }),
  ],
  [
    'the guest cannot be undefined: pass a guest that launch has returned [INVALID_ARGUMENT]',
    () => rmpquery(wrong, gva, 1),
  ],
  [
    'the processor cannot be "x": pass an object with the methods pvalidate, rmpadjust, rmpquery [INVALID_ARGUMENT]',
    () => executeInGuest(wrong, 'RMPQUERY', registers),
  ],
  [
    'the processor cannot be a value of type object: pass an object with the methods pvalidate, rmpadjust, rmpquery [INVALID_ARGUMENT]',
    () => executeInGuest({ pvalidate() {}, rmpadjust() {} } as never, 'RMPQUERY', registers),
  ],
  [
    'the processor cannot be a value of type object: pass a Vcpu [INVALID_ARGUMENT]',
    () => executeInGuest({ pvalidate() {}, rmpadjust() {}, rmpquery() {} } as never, 'RMPQUERY', registers),
  ],
  [
    'the instruction cannot be 5: pass one of RMPUPDATE, PSMASH, RMPREAD, PVALIDATE, RMPADJUST, RMPQUERY [INVALID_ARGUMENT]',
    () => executeInGuest(vcpu, 5 as never, registers),
  ],
  [
    'rax cannot be undefined: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => executeInGuest(vcpu, 'RMPQUERY', wrong),
  ],
  [
    'rax cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => executeInGuest(vcpu, 'RMPQUERY', { ...registers, rax: wrong }),
  ],
  [
    'rcx cannot be -0x1: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => executeInGuest(vcpu, 'RMPQUERY', { ...registers, rcx: -1n }),
  ],
  [
    'rdx cannot be 0x10000000000000000: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => executeInGuest(vcpu, 'RMPQUERY', { ...registers, rdx: 1n << 64n }),
  ],
  [
    'rflags cannot be undefined: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => executeInGuest(vcpu, 'RMPQUERY', { ...registers, rflags: undefined as never }),
  ],
  [
    'bits cannot be 16: pass one of 32, 64 [INVALID_ARGUMENT]',
    () => executeInGuest(vcpu, 'RMPQUERY', registers, { bits: 16 as never }),
  ],
  [
    'snp cannot be "x": pass a boolean [INVALID_ARGUMENT]',
    () => executeInGuest(vcpu, 'RMPQUERY', registers, { snp: wrong }),
  ],
  [
    'the host cannot be "x": pass an object with the methods rmpupdate, psmash, rmpread, read, write [INVALID_ARGUMENT]',
    () => executeInHost(wrong, 'PSMASH', registers),
  ],
  [
    'the host cannot be a value of type object: pass an object with the methods rmpupdate, psmash, rmpread, read, write [INVALID_ARGUMENT]',
    () => executeInHost({ rmpupdate() {}, psmash() {} } as never, 'PSMASH', registers),
  ],
  [
    'the instruction cannot be 5: pass one of RMPUPDATE, PSMASH, RMPREAD, PVALIDATE, RMPADJUST, RMPQUERY [INVALID_ARGUMENT]',
    () => executeInHost(hypervisor, 5 as never, registers),
  ],
  [
    'cpl cannot be 4: pass an integer from 0 to 3 [INVALID_ARGUMENT]',
    () => executeInHost(hypervisor, 'PSMASH', registers, { cpl: 4 }),
  ],
  [
    'rax cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => executeInHost(hypervisor, 'PSMASH', { ...registers, rax: wrong }),
  ],
  ['the bytes cannot be "x": pass a Uint8Array [INVALID_ARGUMENT]', () => rmpInstructionOf(wrong)],
  // VMRUN
  ['the machine cannot be "x": pass an SnpMachine [INVALID_ARGUMENT]', () => vmrun(wrong, vmsa, guest)],
  [
    'the VMSA cannot be "x": pass an object with spa, gpa and vmcb [INVALID_ARGUMENT]',
    () => vmrun(machine, wrong, guest),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => vmrun(machine, { ...vmsa, spa: wrong }, guest),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => vmrun(machine, { ...vmsa, gpa: wrong }, guest),
  ],
  ['the owner cannot be "x": pass a Guest [INVALID_ARGUMENT]', () => vmrun(machine, vmsa, wrong)],
  [
    'the owner cannot be a value of type object: pass a Guest [INVALID_ARGUMENT]',
    () => vmrun(machine, vmsa, { key: wrong, asid: 1, paging: guest.paging } as never),
  ],
  [
    'the owner cannot be a value of type object: pass a Guest [INVALID_ARGUMENT]',
    () => vmrun(machine, vmsa, { key: 1, asid: wrong, paging: guest.paging } as never),
  ],
  [
    'the owner cannot be a value of type object: pass a Guest [INVALID_ARGUMENT]',
    () => vmrun(machine, vmsa, { key: 1, asid: 1, paging: {} } as never),
  ],
  ['the machine cannot be "x": pass an SnpMachine [INVALID_ARGUMENT]', () => vmexit(wrong, vmsa)],
  [
    'the VMSA cannot be "x": pass an object with spa, gpa and vmcb [INVALID_ARGUMENT]',
    () => vmexit(machine, wrong),
  ],
  [
    'the type of the event cannot be undefined: pass one of rmpupdate, psmash, pvalidate, rmpadjust, vmgexit, vmrun, npf, flush [INVALID_ARGUMENT]',
    () => machine.trace(wrong),
  ],
  [
    'the type of the event cannot be "x": pass one of rmpupdate, psmash, pvalidate, rmpadjust, vmgexit, vmrun, npf, flush [INVALID_ARGUMENT]',
    () => machine.trace({ type: 'x' } as never),
  ],
  [
    'spa cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => machine.trace({ type: 'psmash', spa: wrong, result: 0 }),
  ],
  [
    'result cannot be 99: pass one of 0, 1, 2, 3, 4, 6, 7 [INVALID_ARGUMENT]',
    () => machine.trace({ type: 'psmash', spa: 0n, result: 99 } as never),
  ],
  [
    'the page size cannot be 5: pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () =>
      machine.trace({
        type: 'pvalidate',
        gva: 0n,
        pageSize: 5,
        validate: true,
        result: 0,
        unchanged: true,
      } as never),
  ],
  [
    'state cannot be "x": pass an object with the options assigned, pageSize, immutable, gpa, asid [INVALID_ARGUMENT]',
    () => machine.trace({ type: 'rmpupdate', spa: 0n, state: wrong, result: 0 }),
  ],
  // accesses
  ['the length cannot be -1: pass an integer from 0 on [INVALID_ARGUMENT]', () => vcpu.read(gva, -1)],
  ['the length cannot be 0.5: pass an integer from 0 on [INVALID_ARGUMENT]', () => vcpu.read(gva, 0.5)],
  [
    'the length cannot be 9007199254740991: pass the length of an array that can be made [INVALID_ARGUMENT]',
    () => vcpu.read(gva, 2 ** 53 - 1),
  ],
  ['the bytes cannot be "x": pass a Uint8Array [INVALID_ARGUMENT]', () => vcpu.write(gva, wrong)],
  ['the length cannot be -1: pass an integer from 0 on [INVALID_ARGUMENT]', () => vcpu.clear(gva, -1)],
  [
    'exitCode cannot be "x": pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => running.leave(wrong),
  ],
  [
    'exitCode cannot be 0x10000000000000000: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => running.leave(1n << 64n),
  ],
  [
    'exitInfo1 cannot be -0x1: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => running.leave(0n, -1n),
  ],
  [
    'exitInfo2 cannot be 0x10000000000000000: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => running.leave(0n, 0n, 1n << 64n),
  ],
  ['#PF at 0x0000000000000001, error code 0x0 [PF]', () => vcpu.read(1n as never, 1)],
  ['#GP(0): 0x8000000000000000 is not a canonical address [GP]', () => vcpu.read((1n << 63n) as never, 1)],
  ['#GP(0): "x" is not a canonical address [GP]', () => vcpu.read(wrong, 1)],
  ['#PF at 0x00007ffffffff000, error code 0x0 [PF]', () => vcpu.read(0x7fff_ffff_f000n as never, 0x1001)],
  ['#PF at 0xffff800004000000, error code 0x0 [PF]', () => vcpu.read(gvaOf(64 * MiB), 1)],
  ['#PF at 0xffff800004000000, error code 0x2 [PF]', () => vcpu.write(gvaOf(64 * MiB), Uint8Array.of(1))],
  ['#PF at 0xffff800004000000, error code 0x2 [PF]', () => vcpu.clear(gvaOf(64 * MiB), 1)],
  [
    '#UD: an access to a shadow stack does not exist here [UD]',
    () => vcpu.read(gva, 1, { shadowStack: 'current' }),
  ],
  ['#GP(0): 0x100000000 is not an address of 32 bits [GP]', () => real.read((1n << 32n) as never, 1)],
  ['#GP(0): 0xfffff000 is not an address of 32 bits [GP]', () => real.read(0xffff_f000n as never, 0x1001)],
  ['a VMSA cannot be "x": pass 4096 bytes [INVALID_ARGUMENT]', () => vcpu.resume(wrong, vmsa)],
  [
    'the length of a VMSA cannot be 8: pass 4096 bytes [INVALID_ARGUMENT]',
    () => vcpu.resume(new Uint8Array(8), vmsa),
  ],
  [
    'the VMSA cannot be "x": pass an object with spa, gpa and vmcb [INVALID_ARGUMENT]',
    () => vcpu.resume(createVmsa(), wrong),
  ],
  // images of a VMSA
  ['vmpl cannot be 4: pass an unsigned integer of 2 bits [INVALID_MESSAGE]', () => createVmsa({ vmpl: 4 })],
  [
    'vmpl cannot be "x": pass an unsigned integer of 2 bits [INVALID_MESSAGE]',
    () => createVmsa({ vmpl: wrong }),
  ],
  [
    'virtualTom cannot be 0x1000: pass a multiple of 2 MiB [INVALID_MESSAGE]',
    () => createVmsa({ virtualTom: 0x1000n }),
  ],
  ['csL cannot be "x": pass a boolean [INVALID_MESSAGE]', () => createVmsa({ csL: wrong })],
  [
    'rip cannot be 0x10000000000000000: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => createVmsa({ rip: 1n << 64n }),
  ],
  [
    'rsp cannot be -0x1: pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => createVmsa({ rsp: -1n }),
  ],
  [
    'sevFeatures cannot be "x": pass an unsigned integer of 64 bits [INVALID_MESSAGE]',
    () => createVmsa({ sevFeatures: wrong }),
  ],
];

test.each(ROWS)('%s', (message, call) => {
  expect(messageOf(call)).toBe(message);
});

test('no refusal has changed the processor or the RMP', () => {
  for (const [, call] of ROWS) messageOf(call);
  expect(state()).toEqual(before);
});
