/** Every refusal of an argument by the SVSM: its whole message, and nothing changes. */
import { PageSize, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { permanentMap } from '../../src/svsm/guest-page-access.ts';
import type { SvsmStateOptions } from '../../src/svsm/svsm-options.ts';
import { SvsmState } from '../../src/svsm/svsm-state.ts';
import { messageOf } from '../support/message-of.ts';
import { stateOf } from '../support/svsm-steps.ts';
import { CAA, svsmWorld } from '../support/svsm-world.ts';
import { MiB, WHOLE } from '../support/world.ts';

const it = svsmWorld();
const { guest, guestCpu, svsm, vcpu } = it;
const { memory } = svsm;
const { Huge, Regular } = PageSize;
const wrong = 'x' as never;
const own = [physRegion(physAddr(0), 2 * MiB)];
const made = (options: object): SvsmState =>
  new SvsmState({ memory: guest.memory, own, ...options } as SvsmStateOptions);
const protocol = { versions: { min: 1, max: 2 }, call: () => ({ result: 0 }) };
const withProtocol = (id: unknown, fields: object = {}): SvsmState =>
  made({ protocols: new Map([[id, { ...protocol, ...fields }]]) });
const gpa = BigInt(6 * MiB);
const other = guest.createVcpu({ vmpl: 2 });
const before = stateOf(it);

const ROWS: readonly (readonly [message: string, call: () => unknown])[] = [
  // options
  [
    'options cannot be "x": pass an object with the options memory, own, validated, sevFeatures, vtom, protocols, entriesPerCall, isRunning [INVALID_ARGUMENT]',
    () => new SvsmState(wrong),
  ],
  [
    'a name in options cannot be "size": pass only options that exist: memory, own, validated, sevFeatures, vtom, protocols, entriesPerCall, isRunning [INVALID_ARGUMENT]',
    () => made({ size: 1 }),
  ],
  [
    'guest memory cannot be "x": pass a region of guest-physical addresses, or several [INVALID_ARGUMENT]',
    () => made({ memory: wrong }),
  ],
  [
    'guest memory cannot be "[0x0000000000000008-0x0000000000001008)": pass whole pages of 4096 bytes [INVALID_ARGUMENT]',
    () => made({ memory: physRegion(physAddr(8), 4096) }),
  ],
  ['own cannot be "x": pass an array or another iterable [INVALID_ARGUMENT]', () => made({ own: wrong })],
  ['the region must be of kind physical, not "x" [KIND_MISMATCH]', () => made({ own: [wrong] })],
  [
    'validated cannot be "x": pass an array or another iterable [INVALID_ARGUMENT]',
    () => made({ validated: wrong }),
  ],
  [
    'the pages of a record cannot be "[0x0000000004000000-0x0000000004001000)": pass whole pages within {[0x0000000000000000-0x0000000000800000)} [INVALID_ARGUMENT]',
    () => made({ validated: [physRegion(physAddr(64 * MiB), 4096)] }),
  ],
  [
    'sevFeatures cannot be "x": pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => made({ sevFeatures: wrong }),
  ],
  [
    'sevFeatures cannot be -0x1: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => made({ sevFeatures: -1n }),
  ],
  [
    'vtom cannot be "x": pass an object with the options min, max [INVALID_ARGUMENT]',
    () => made({ vtom: wrong }),
  ],
  [
    'max cannot be undefined: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => made({ vtom: { min: 0n } }),
  ],
  [
    'min cannot be 0x8: pass a multiple of 2 MiB [INVALID_ARGUMENT]',
    () => made({ vtom: { min: 8n, max: 0n } }),
  ],
  [
    'max cannot be 0x10000000000000000: pass an unsigned bigint of 64 bits [INVALID_ARGUMENT]',
    () => made({ vtom: { min: 0n, max: 1n << 64n } }),
  ],
  [
    'a name in vtom cannot be "size": pass only options that exist: min, max [INVALID_ARGUMENT]',
    () => made({ vtom: { min: 0n, max: 0n, size: 1 } }),
  ],
  [
    'protocols cannot be "x": pass an object with the methods get, entries [INVALID_ARGUMENT]',
    () => made({ protocols: wrong }),
  ],
  [
    'protocols cannot be a value of type object: pass an object with the methods get, entries [INVALID_ARGUMENT]',
    () => made({ protocols: { get() {} } }),
  ],
  [
    'entriesPerCall cannot be "x": pass an integer from 0 on, or Infinity [INVALID_ARGUMENT]',
    () => made({ entriesPerCall: wrong }),
  ],
  [
    'entriesPerCall cannot be -1: pass an integer from 0 on, or Infinity [INVALID_ARGUMENT]',
    () => made({ entriesPerCall: -1 }),
  ],
  [
    'entriesPerCall cannot be 0.5: pass an integer from 0 on, or Infinity [INVALID_ARGUMENT]',
    () => made({ entriesPerCall: 0.5 }),
  ],
  ['isRunning cannot be "x": pass a function [INVALID_ARGUMENT]', () => made({ isRunning: wrong })],
  [
    'protocols cannot be a value of type object: pass a Map from numbers of 32 bits except 0 to protocols with versions of 32 bits and a call [INVALID_ARGUMENT]',
    () => withProtocol(0),
  ],
  [
    'protocols cannot be a value of type object: pass a Map from numbers of 32 bits except 0 to protocols with versions of 32 bits and a call [INVALID_ARGUMENT]',
    () => withProtocol(-1),
  ],
  [
    'protocols cannot be a value of type object: pass a Map from numbers of 32 bits except 0 to protocols with versions of 32 bits and a call [INVALID_ARGUMENT]',
    () => withProtocol(0.5),
  ],
  [
    'protocols cannot be a value of type object: pass a Map from numbers of 32 bits except 0 to protocols with versions of 32 bits and a call [INVALID_ARGUMENT]',
    () => withProtocol(2 ** 32),
  ],
  [
    'protocols cannot be a value of type object: pass a Map from numbers of 32 bits except 0 to protocols with versions of 32 bits and a call [INVALID_ARGUMENT]',
    () => withProtocol(wrong),
  ],
  [
    'protocols cannot be a value of type object: pass a Map from numbers of 32 bits except 0 to protocols with versions of 32 bits and a call [INVALID_ARGUMENT]',
    () => withProtocol(1, { versions: { min: 2, max: 1 } }),
  ],
  [
    'protocols cannot be a value of type object: pass a Map from numbers of 32 bits except 0 to protocols with versions of 32 bits and a call [INVALID_ARGUMENT]',
    () => withProtocol(1, { versions: { min: -1, max: 1 } }),
  ],
  [
    'protocols cannot be a value of type object: pass a Map from numbers of 32 bits except 0 to protocols with versions of 32 bits and a call [INVALID_ARGUMENT]',
    () => withProtocol(1, { versions: { min: 1, max: 2 ** 32 } }),
  ],
  [
    'protocols cannot be a value of type object: pass a Map from numbers of 32 bits except 0 to protocols with versions of 32 bits and a call [INVALID_ARGUMENT]',
    () => withProtocol(1, { versions: undefined }),
  ],
  [
    'protocols cannot be a value of type object: pass a Map from numbers of 32 bits except 0 to protocols with versions of 32 bits and a call [INVALID_ARGUMENT]',
    () => withProtocol(1, { call: undefined }),
  ],
  // processors
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => it.state.on(wrong, WHOLE)],
  [
    'the VMPL of the SVSM cannot be 2: pass a processor at VMPL0 [INVALID_ARGUMENT]',
    () => it.state.on(guestCpu, WHOLE),
  ],
  ['the access to pages cannot be "x": pass a function [INVALID_ARGUMENT]', () => it.state.on(vcpu, wrong)],
  [
    'the map cannot be "x": pass a function from a guest-physical to a virtual address [INVALID_ARGUMENT]',
    () => permanentMap(wrong),
  ],
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => svsm.register(wrong, physAddr(CAA))],
  [
    'the calling area cannot be "x": pass the address of a page of the guest without another use [INVALID_ARGUMENT]',
    () => svsm.register(other, wrong),
  ],
  [
    'the calling area cannot be 0x400008: pass the address of a page of the guest without another use [INVALID_ARGUMENT]',
    () => svsm.register(other, physAddr(CAA + 8)),
  ],
  [
    'the calling area cannot be 0x400000: pass the address of a page of the guest without another use [INVALID_ARGUMENT]',
    () => svsm.register(other, physAddr(CAA)),
  ],
  [
    'the calling area cannot be 0x0: pass the address of a page of the guest without another use [INVALID_ARGUMENT]',
    () => svsm.register(other, physAddr(0)),
  ],
  [
    'the VMSA cannot be "x": pass the address of a page of the guest without another use [INVALID_ARGUMENT]',
    () => svsm.register(other, physAddr(6 * MiB), wrong),
  ],
  [
    'the VMSA cannot be 0x8: pass the address of a page of the guest without another use [INVALID_ARGUMENT]',
    () => svsm.register(other, physAddr(6 * MiB), physAddr(8)),
  ],
  [
    'the VMSA cannot be 0x600000: pass the address of a page of the guest without another use [INVALID_ARGUMENT]',
    () => svsm.register(other, physAddr(6 * MiB), physAddr(6 * MiB)),
  ],
  [
    'the VMSA cannot be 0x4000000: pass the address of a page of the guest without another use [INVALID_ARGUMENT]',
    () => svsm.register(other, physAddr(6 * MiB), physAddr(64 * MiB)),
  ],
  [
    'the VMSA of a processor cannot be 0x1000: pass the address of the VMSA of the first registration, outside of calls [INVALID_ARGUMENT]',
    () => svsm.register(guestCpu, physAddr(6 * MiB), physAddr(0x1000)),
  ],
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => svsm.enter(wrong)],
  [
    'the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]',
    () => svsm.call(wrong, { rax: 0n, rcx: 0n, rdx: 0n, r8: 0n, r9: 0n }),
  ],
  [
    'registers cannot be "x": pass an object with the options rax, rcx, rdx, r8, r9 [INVALID_ARGUMENT]',
    () => svsm.call(guestCpu, wrong),
  ],
  ['the processor cannot be "x": pass a Vcpu [INVALID_ARGUMENT]', () => svsm.callingArea(wrong)],
  // memory
  [
    'the guest-physical address cannot be "x": pass a bigint of 64 bits [INVALID_ARGUMENT]',
    () => memory.read(wrong, 1),
  ],
  [
    'the guest-physical address cannot be the number 5 (as a bigint: 5n): pass a bigint of 64 bits [INVALID_ARGUMENT]',
    () => memory.read(5 as never, 1),
  ],
  [
    'the guest-physical address cannot be -0x1: pass a bigint of 64 bits [INVALID_ARGUMENT]',
    () => memory.read(-1n, 1),
  ],
  [
    'the guest-physical address cannot be 0x10000000000000000: pass a bigint of 64 bits [INVALID_ARGUMENT]',
    () => memory.read(1n << 64n, 1),
  ],
  ['the length cannot be -1: pass a number of bytes [INVALID_ARGUMENT]', () => memory.read(gpa, -1)],
  ['the length cannot be 0.5: pass a number of bytes [INVALID_ARGUMENT]', () => memory.read(gpa, 0.5)],
  ['the length cannot be "x": pass a number of bytes [INVALID_ARGUMENT]', () => memory.read(gpa, wrong)],
  ['VMPL cannot be 4: pass 0 to 3 [INVALID_ARGUMENT]', () => memory.read(gpa, 1, 4 as never)],
  ['VMPL cannot be -1: pass 0 to 3 [INVALID_ARGUMENT]', () => memory.read(gpa, 1, -1 as never)],
  ['VMPL cannot be 0.5: pass 0 to 3 [INVALID_ARGUMENT]', () => memory.read(gpa, 1, 0.5 as never)],
  ['VMPL cannot be "x": pass 0 to 3 [INVALID_ARGUMENT]', () => memory.read(gpa, 1, wrong)],
  [
    'the guest-physical address cannot be "x": pass a bigint of 64 bits [INVALID_ARGUMENT]',
    () => memory.write(wrong, new Uint8Array(1)),
  ],
  ['the bytes cannot be "x": pass a Uint8Array [INVALID_ARGUMENT]', () => memory.write(gpa, wrong)],
  [
    'VMPL cannot be 4: pass 0 to 3 [INVALID_ARGUMENT]',
    () => memory.write(gpa, new Uint8Array(1), 4 as never),
  ],
  [
    'the guest-physical address cannot be "x": pass a bigint of 64 bits [INVALID_ARGUMENT]',
    () => memory.validate(wrong, Huge, 2),
  ],
  [
    'the page size cannot be 5: pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => memory.validate(gpa, 5 as never, 2),
  ],
  ['VMPL cannot be 4: pass 0 to 3 [INVALID_ARGUMENT]', () => memory.validate(gpa, Huge, 4 as never)],
  [
    'the guest-physical address cannot be "x": pass a bigint of 64 bits [INVALID_ARGUMENT]',
    () => memory.rescind(wrong, Huge),
  ],
  ['the page size cannot be "x": pass 4096 or 2097152 [INVALID_ARGUMENT]', () => memory.rescind(gpa, wrong)],
  [
    'the guest-physical address cannot be "x": pass a bigint of 64 bits [INVALID_ARGUMENT]',
    () => memory.grant(wrong, Huge, 2),
  ],
  ['the page size cannot be "x": pass 4096 or 2097152 [INVALID_ARGUMENT]', () => memory.grant(gpa, wrong, 2)],
  ['VMPL cannot be "x": pass 0 to 3 [INVALID_ARGUMENT]', () => memory.grant(gpa, Huge, wrong)],
  [
    'the guest-physical address cannot be "x": pass a bigint of 64 bits [INVALID_ARGUMENT]',
    () => memory.revoke(wrong, Huge),
  ],
  ['the page size cannot be "x": pass 4096 or 2097152 [INVALID_ARGUMENT]', () => memory.revoke(gpa, wrong)],
  [
    'the guest-physical address cannot be "x": pass a bigint of 64 bits [INVALID_ARGUMENT]',
    () => memory.clear(wrong, Regular),
  ],
  ['the page size cannot be "x": pass 4096 or 2097152 [INVALID_ARGUMENT]', () => memory.clear(gpa, wrong)],
];

test.each(ROWS)('%s', (message, call) => {
  expect(messageOf(call)).toBe(message);
});

test('no refusal has changed the SVSM, the guest or the RMP', () => {
  for (const [, call] of ROWS) messageOf(call);
  expect(stateOf(it)).toEqual(before);
});
