import { PageSize, physAddr } from '@svsm/address';
import { expect, test } from 'vitest';
import { launchUpdate } from '../../src/firmware/firmware.ts';
import { LaunchPageType } from '../../src/formats/launch-digest.ts';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { EncryptedMemory, NO_KEY } from '../../src/memory/encrypted-memory.ts';
import { rmpupdate } from '../../src/rmp/host-instructions.ts';
import { bytesOf, codeOf, MiB, rmpOf, snapshot, thrownBy } from '../support/world.ts';

const spa = sysPhysAddr(2 * MiB);
const last = sysPhysAddr(4 * MiB - 4);

// L3
test.each([PageSize.Regular, PageSize.Huge])('encrypts a page of %i bytes in place, once', (pageSize) => {
  const rmp = rmpOf();
  const memory = new EncryptedMemory(8 * MiB);
  const key = memory.createKey();
  memory.write(spa, bytesOf('code'), NO_KEY);
  memory.write(last, bytesOf('data'), NO_KEY);
  rmpupdate(rmp, spa, { assigned: true, immutable: true, asid: 1, gpa: physAddr(0), pageSize });
  launchUpdate(rmp, memory, spa, key);
  expect(memory.read(spa, 4, key)).toEqual(bytesOf('code'));
  expect(memory.read(spa, 4, NO_KEY)).not.toEqual(bytesOf('code'));
  const isPart = pageSize === PageSize.Huge;
  expect(memory.read(last, 4, isPart ? key : NO_KEY)).toEqual(bytesOf('data'));
  expect(rmp.rawEntry(spa)).toMatchObject({
    validated: true,
    immutable: false,
    pageSize,
    vmplMasks: [0x1f, 0, 0, 0],
  });
  expect(codeOf(() => launchUpdate(rmp, memory, spa, key))).toBe('FIRMWARE_REFUSED');
});

// L2
test('refuses a page that the RMP does not cover', () => {
  expect(codeOf(() => launchUpdate(rmpOf(), new EncryptedMemory(MiB), sysPhysAddr(64 * MiB), 1))).toBe(
    'FIRMWARE_REFUSED',
  );
});

// L3, L1
test.each([
  LaunchPageType.Normal,
  LaunchPageType.Unmeasured,
  LaunchPageType.Zero,
  LaunchPageType.Vmsa,
] as const)(
  'a page of type %i gets the content and the VMSA bit of its type, and the given permissions',
  (type) => {
    const rmp = rmpOf();
    const memory = new EncryptedMemory(8 * MiB);
    const key = memory.createKey();
    memory.write(spa, bytesOf('data'), NO_KEY);
    rmpupdate(rmp, spa, { assigned: true, immutable: true, asid: 1, gpa: physAddr(0) });
    launchUpdate(rmp, memory, spa, key, { type, permissions: [1, 2, 3] });
    expect(memory.read(spa, 4, key)).toEqual(
      type === LaunchPageType.Zero ? new Uint8Array(4) : bytesOf('data'),
    );
    expect(rmp.rawEntry(spa)).toMatchObject({
      vmsa: type === LaunchPageType.Vmsa,
      vmplMasks: [0x1f, 1, 2, 3],
    });
  },
);

// L2
test.each<[string, Parameters<typeof launchUpdate>[4], string]>([
  ['a VMSA of 2 MiB', { type: LaunchPageType.Vmsa }, 'INVALID_PAGE_SIZE'],
  ['secrets of 2 MiB', { type: LaunchPageType.Secrets }, 'INVALID_PAGE_SIZE'],
  ['an unknown type', { type: 0 as never }, 'INVALID_PARAM'],
  ['a mask of nine bits', { permissions: [0, 0, 256] }, 'INVALID_PARAM'],
])('refuses %s, and changes nothing', (_, options, status) => {
  const rmp = rmpOf();
  const memory = new EncryptedMemory(8 * MiB);
  const pageSize = PageSize.Huge;
  rmpupdate(rmp, spa, { assigned: true, immutable: true, asid: 1, gpa: physAddr(0), pageSize });
  const before = snapshot(rmp);
  const refused = thrownBy(() => launchUpdate(rmp, memory, spa, memory.createKey(), options));
  expect(refused).toMatchObject({ code: 'FIRMWARE_REFUSED', details: { status } });
  expect(snapshot(rmp)).toBe(before);
});
