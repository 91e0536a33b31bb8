import { PAGE_SIZE, PageSize, physAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { expect, test } from 'vitest';
import { sysPhysAddr, sysPhysRegion } from '../../src/formats/sys-phys-addr.ts';
import { psmash, rmpread, rmpupdate, rmpupdatePages } from '../../src/rmp/host-instructions.ts';
import { HYPERVISOR_ENTRY, Rmp } from '../../src/rmp/rmp.ts';
import { failedRmpCheck, type RmpAccess } from '../../src/rmp/rmp-check.ts';
import { messageOf } from '../support/message-of.ts';
import { MiB, rmpOf, snapshot } from '../support/world.ts';

const wrong = 'x' as never;
const spa = sysPhysAddr(0);
const outside = sysPhysAddr(64 * MiB);
const rmp = rmpOf();
rmp.setRawEntry(sysPhysAddr(PAGE_SIZE), { ...HYPERVISOR_ENTRY, assigned: true, asid: 3 });
rmp.setInUse(sysPhysAddr(PAGE_SIZE), true);
const before = snapshot(rmp);
const covered = sysPhysRegion(spa, 2 * MiB);
const state = { assigned: true, asid: 1, gpa: physAddr(0) };
const bad = { ...HYPERVISOR_ENTRY, asid: 1024 };
const access: RmpAccess = {
  accessor: 'host',
  kind: 'read',
  translationSize: PageSize.Regular,
  spa,
  gpa: physAddr(0),
  asid: 0,
  vmpl: 0,
  cpl: 0,
};
const check = (change: Partial<Record<keyof RmpAccess, unknown>>): unknown =>
  failedRmpCheck(rmp, { ...access, ...change } as RmpAccess);

const ROWS: readonly (readonly [message: string, call: () => unknown])[] = [
  [
    'an RMP cannot cover [0x0000000000000000-0x0000000000100000): pass whole regions of 2 MiB [INVALID_RMP_RANGE]',
    () => new Rmp(sysPhysRegion(spa, MiB)),
  ],
  [
    'the region must be of kind system-physical, not virtual [KIND_MISMATCH]',
    () => new Rmp(virtRegion(virtAddr(0), 2 * MiB) as never),
  ],
  [
    'a name in the options of an RMP cannot be "assumption": pass only options that exist: assumptions [INVALID_ARGUMENT]',
    () => new Rmp(covered, { assumption: {} } as never),
  ],
  [
    'the assumption inUseTest cannot be "never": pass before-entry or first or last [INVALID_ARGUMENT]',
    () => new Rmp(covered, { assumptions: { inUseTest: 'never' as never } }),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => rmp.covers(wrong),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => rmp.entry(wrong),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => rmp.rawEntry(wrong),
  ],
  [
    'the page number cannot be 0.5: pass an integer [INVALID_ARGUMENT]',
    () => rmp.readWords(0.5, new Uint32Array(4)),
  ],
  [
    'the words of an entry cannot be a value of type object: pass a Uint32Array of at least 4 words [INVALID_ARGUMENT]',
    () => rmp.readWords(0, new Uint32Array(3)),
  ],
  [
    'the words of an entry cannot be a value of type object: pass a Uint32Array of at least 4 words [INVALID_ARGUMENT]',
    () => rmp.readWords(0, [0, 0, 0, 0] as never),
  ],
  [
    'the words of an entry cannot be undefined: pass a Uint32Array of at least 4 words [INVALID_ARGUMENT]',
    () => rmp.readWords(0, undefined as never),
  ],
  [
    'the page number cannot be -1: pass an integer from 0 on [INVALID_ARGUMENT]',
    () => rmp.writeWords(-1, new Uint32Array(4)),
  ],
  [
    'the words of an entry cannot be a value of type object: pass a Uint32Array of at least 4 words [INVALID_ARGUMENT]',
    () => rmp.writeWords(0, new Uint32Array(3)),
  ],
  [
    'the RMP has no entry for 0x0000000004000000 [OUTSIDE_RMP]',
    () => rmp.writeWords(0x4000, new Uint32Array(4)),
  ],
  [
    'the page number cannot be -1: pass an integer from 0 on [INVALID_ARGUMENT]',
    () => rmp.setRegionWords(-1, new Uint32Array(4), new Uint32Array(4)),
  ],
  [
    'the words of an entry cannot be a value of type object: pass a Uint32Array of at least 4 words [INVALID_ARGUMENT]',
    () => rmp.setRegionWords(0, new Uint32Array(3), new Uint32Array(4)),
  ],
  [
    'the words of an entry cannot be undefined: pass a Uint32Array of at least 4 words [INVALID_ARGUMENT]',
    () => rmp.setRegionWords(0, new Uint32Array(4), undefined as never),
  ],
  [
    'the RMP has no entry for 0x0000000004000000 [OUTSIDE_RMP]',
    () => rmp.setRegionWords(0x4000, new Uint32Array(4), new Uint32Array(4)),
  ],
  [
    'the words of an entry cannot be undefined: pass a Uint32Array of at least 4 words [INVALID_ARGUMENT]',
    () => rmp.readRawWords(0, undefined as never),
  ],
  ['the page number cannot be "x": pass an integer [INVALID_ARGUMENT]', () => rmp.isAssigned(wrong)],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => rmp.isRegionUnassigned(wrong),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => rmp.hasSubpages(wrong),
  ],
  [
    'asid cannot be 1024: pass an unsigned integer of 10 bits [INVALID_MESSAGE]',
    () => rmp.masksOnceValidated(bad),
  ],
  ['the ASID cannot be 0.5: pass an integer [INVALID_ARGUMENT]', () => rmp.entriesOf(0.5)],
  [
    'the RMP has no entry for 0x0000000004000000 [OUTSIDE_RMP]',
    () => rmp.setRegion(outside, HYPERVISOR_ENTRY, HYPERVISOR_ENTRY),
  ],
  [
    'asid cannot be 1024: pass an unsigned integer of 10 bits [INVALID_MESSAGE]',
    () => rmp.setRegion(spa, bad, HYPERVISOR_ENTRY),
  ],
  [
    'asid cannot be 1024: pass an unsigned integer of 10 bits [INVALID_MESSAGE]',
    () => rmp.setRegion(spa, HYPERVISOR_ENTRY, bad),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => rmp.setRegion(wrong, HYPERVISOR_ENTRY, HYPERVISOR_ENTRY),
  ],
  [
    'the number of pages cannot be -1: pass an integer from 0 on [INVALID_ARGUMENT]',
    () => rmp.changePages(spa, -1, PageSize.Regular, () => false),
  ],
  [
    'the page size cannot be 1: pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => rmp.changePages(spa, 1, 1 as never, () => false),
  ],
  [
    'change cannot be "x": pass a function [INVALID_ARGUMENT]',
    () => rmp.changePages(spa, 1, PageSize.Regular, wrong),
  ],
  [
    'the RMP has no entry for 0x0000000004000000 [OUTSIDE_RMP]',
    () => rmp.setRawEntry(outside, HYPERVISOR_ENTRY),
  ],
  [
    'asid cannot be 1024: pass an unsigned integer of 10 bits [INVALID_MESSAGE]',
    () => rmp.setRawEntry(spa, bad),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => rmp.setRawEntry(wrong, HYPERVISOR_ENTRY),
  ],
  [
    'the page size cannot be 1073741824: pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => rmp.version(spa, PageSize.Giant as never),
  ],
  [
    'the page number cannot be -1: pass an integer from 0 on [INVALID_ARGUMENT]',
    () => rmp.versionOfPage(-1, true),
  ],
  ['huge cannot be "x": pass a boolean [INVALID_ARGUMENT]', () => rmp.versionOfPage(0, wrong)],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => rmp.setInUse(wrong, true),
  ],
  ['inUse cannot be "x": pass a boolean [INVALID_ARGUMENT]', () => rmp.setInUse(spa, wrong)],
  [
    'the page size cannot be 1073741824: pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => rmp.isInUse(spa, PageSize.Giant as never),
  ],
  // instructions
  [
    'rmp cannot be a value of type object: pass an Rmp [INVALID_ARGUMENT]',
    () => rmpupdate({} as never, spa, state),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => rmpupdate(rmp, wrong, state),
  ],
  [
    'the ASID of the processor cannot be 0.5: pass an integer [INVALID_ARGUMENT]',
    () => rmpupdate(rmp, spa, state, 0.5),
  ],
  [
    'assigned cannot be undefined: pass a boolean [INVALID_ARGUMENT]',
    () => rmpupdate(rmp, spa, undefined as never),
  ],
  [
    'a name in the new state cannot be "lock": pass only options that exist: assigned, pageSize, immutable, gpa, asid [INVALID_ARGUMENT]',
    () => rmpupdate(rmp, spa, { ...state, lock: true } as never),
  ],
  [
    'assigned cannot be "x": pass a boolean [INVALID_ARGUMENT]',
    () => rmpupdate(rmp, spa, { ...state, assigned: wrong }),
  ],
  [
    'immutable cannot be "x": pass a boolean [INVALID_ARGUMENT]',
    () => rmpupdate(rmp, spa, { ...state, immutable: wrong }),
  ],
  [
    'the page size cannot be 1073741824: pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => rmpupdate(rmp, spa, { ...state, pageSize: PageSize.Giant as never }),
  ],
  [
    'the ASID cannot be 0.5: pass an integer [INVALID_ARGUMENT]',
    () => rmpupdate(rmp, spa, { ...state, asid: 0.5 }),
  ],
  [
    'gpa cannot be the number 0 (as a bigint: 0n): pass a guest-physical address [INVALID_ARGUMENT]',
    () => rmpupdate(rmp, spa, { ...state, gpa: 0 as never }),
  ],
  [
    'rmp cannot be a value of type object: pass an Rmp [INVALID_ARGUMENT]',
    () => rmpupdatePages({} as never, spa, 0, state),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => rmpupdatePages(rmp, wrong, 0, state),
  ],
  [
    'the number of pages cannot be 0.5: pass an integer from 0 on [INVALID_ARGUMENT]',
    () => rmpupdatePages(rmp, spa, 0.5, state),
  ],
  [
    'assigned cannot be undefined: pass a boolean [INVALID_ARGUMENT]',
    () => rmpupdatePages(rmp, spa, 0, undefined as never),
  ],
  [
    'the page size cannot be 1073741824: pass 4096 or 2097152 [INVALID_ARGUMENT]',
    () => rmpupdatePages(rmp, spa, 0, { ...state, pageSize: PageSize.Giant as never }),
  ],
  [
    'the ASID cannot be 0.5: pass an integer [INVALID_ARGUMENT]',
    () => rmpupdatePages(rmp, spa, 0, { ...state, asid: 0.5 }),
  ],
  [
    'gpa cannot be the number 0 (as a bigint: 0n): pass a guest-physical address [INVALID_ARGUMENT]',
    () => rmpupdatePages(rmp, spa, 0, { ...state, gpa: 0 as never }),
  ],
  ['rmp cannot be a value of type object: pass an Rmp [INVALID_ARGUMENT]', () => psmash({} as never, spa)],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => psmash(rmp, wrong),
  ],
  [
    'the ASID of the processor cannot be "x": pass an integer [INVALID_ARGUMENT]',
    () => psmash(rmp, spa, wrong),
  ],
  ['rmp cannot be a value of type object: pass an Rmp [INVALID_ARGUMENT]', () => rmpread({} as never, spa)],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => rmpread(rmp, wrong),
  ],
  [
    'the ASID of the processor cannot be "x": pass an integer [INVALID_ARGUMENT]',
    () => rmpread(rmp, spa, wrong),
  ],
  // checks
  [
    'rmp cannot be a value of type object: pass an Rmp [INVALID_ARGUMENT]',
    () => failedRmpCheck({} as never, access),
  ],
  [
    'the access cannot be undefined: pass an object with the options accessor, kind, spa, translationSize, gpa, asid, vmpl, cpl, supervisorShadowStack [INVALID_ARGUMENT]',
    () => failedRmpCheck(rmp, undefined as never),
  ],
  [
    'a name in the access cannot be "level": pass only options that exist: accessor, kind, spa, translationSize, gpa, asid, vmpl, cpl, supervisorShadowStack [INVALID_ARGUMENT]',
    () => check({ level: 0 } as never),
  ],
  [
    'the accessor cannot be "guest": pass one of host, non-snp-guest, snp-guest-private, snp-guest-shared [INVALID_ARGUMENT]',
    () => check({ accessor: 'guest' }),
  ],
  [
    'the kind of an access cannot be "execute": pass one of read, write, fetch, table, table-update [INVALID_ARGUMENT]',
    () => check({ kind: 'execute' }),
  ],
  [
    '"x" is not a system-physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => check({ spa: 'x' }),
  ],
  [
    'the size of a translation cannot be 1: pass one of 4096, 2097152, 1073741824 [INVALID_ARGUMENT]',
    () => check({ translationSize: 1 }),
  ],
  [
    '"x" is not a physical address: pass a bigint or a safe integer [INVALID_ADDRESS]',
    () => check({ gpa: 'x' }),
  ],
  ['the ASID cannot be 0.5: pass an integer [INVALID_ARGUMENT]', () => check({ asid: 0.5 })],
  ['vmpl cannot be 4: pass an integer from 0 to 3 [INVALID_ARGUMENT]', () => check({ vmpl: 4 })],
  ['cpl cannot be -1: pass an integer from 0 to 3 [INVALID_ARGUMENT]', () => check({ cpl: -1 })],
  [
    'supervisorShadowStack cannot be 1: pass a boolean [INVALID_ARGUMENT]',
    () => check({ supervisorShadowStack: 1 }),
  ],
];

test.each(ROWS)('%s', (message, call) => {
  expect(messageOf(call)).toBe(message);
});

test('no refusal has changed the table', () => {
  for (const [, call] of ROWS) messageOf(call);
  expect(snapshot(rmp)).toBe(before);
});
