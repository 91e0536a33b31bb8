import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, type PhysAddr, pageNumber, physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Firmware } from '../../src/firmware/firmware.ts';
import { type LaunchPage, LaunchPageType } from '../../src/formats/launch-digest.ts';
import { launchDigestOf } from '../../src/formats/launch-pages.ts';
import { decodeSecretsPage } from '../../src/formats/secrets-page.ts';
import { type SysPhysAddr, sysPhysAddr, sysPhysRegion } from '../../src/formats/sys-phys-addr.ts';
import { EncryptedMemory, NO_KEY } from '../../src/memory/encrypted-memory.ts';
import { rmpupdate } from '../../src/rmp/host-instructions.ts';
import { Rmp } from '../../src/rmp/rmp.ts';
import { statusOf } from '../support/firmware-runs.ts';
import { MiB, snapshot, thrownBy } from '../support/world.ts';

const { Normal, Vmsa, Zero, Unmeasured, Secrets, Cpuid } = LaunchPageType;
const CONTEXT = sysPhysAddr(0);
const sha384 = (bytes: Uint8Array): Uint8Array =>
  Uint8Array.from(createHash('sha384').update(bytes).digest());

/** Pages of 4 KiB from 2 MiB on, and of 2 MiB from 4 MiB on. */
const SMALL = 2 * MiB;
const LARGE = 4 * MiB;

const launch = (isLarge: boolean) =>
  fc.record({
    isLarge: fc.constant(isLarge),
    type: fc.constantFrom(Normal, Normal, Vmsa, Zero, Unmeasured, Secrets, Cpuid),
    count: fc.integer({ min: 1, max: isLarge ? 2 : 3 }),
    permissions: fc.constantFrom(undefined, [1, 2, 3] as const, [0xff, 0, 7] as const),
    imi: fc.constantFrom(undefined, true),
    /** For each page, its distance in the guest from the one before, and whether the host has written it. */
    pages: fc.array(fc.record({ skip: fc.constantFrom(0, 0, 3), written: fc.boolean() }), {
      minLength: 3,
      maxLength: 3,
    }),
    isCpuidBad: fc.boolean(),
  });

function guestInLaunch() {
  const [rmp, memory] = [new Rmp(sysPhysRegion(sysPhysAddr(0), 16 * MiB)), new EncryptedMemory(16 * MiB, 5)];
  const firmware = new Firmware({ rmp, memory }, 4);
  rmpupdate(rmp, CONTEXT, { assigned: true, immutable: true });
  firmware.guestContextCreate(CONTEXT);
  firmware.launchStart(CONTEXT);
  firmware.activate(CONTEXT, 1);
  return { rmp, memory, firmware };
}

test.each([
  ['4 KiB', false, 25],
  ['2 MiB', true, 6],
] as const)(
  'SNP_LAUNCH_UPDATE of pages of %s gives the guest what the host has written, and the digest measures it',
  async (_, isLarge, numRuns) => {
    await fc.assert(
      fc.asyncProperty(fc.array(launch(isLarge), { maxLength: isLarge ? 2 : 4 }), async (launches) => {
        const { rmp, memory, firmware } = guestInLaunch();
        const measured: LaunchPage[] = [];
        const launched: { spa: SysPhysAddr; type: LaunchPageType; content: Uint8Array }[] = [];
        const held: Uint32Array[] = [];
        const next = { small: SMALL, large: LARGE, gpa: 0x4000_0000 };
        for (const { isLarge, type, count, permissions, imi, pages, isCpuidBad } of launches) {
          const pageSize = isLarge ? PageSize.Huge : PageSize.Regular;
          const first = sysPhysAddr(isLarge ? next.large : next.small);
          const written: LaunchPage[] = [];
          for (let k = 0; k < count; k += 1) {
            const page = pages[k]!;
            const spa = sysPhysAddr(first + BigInt(k * pageSize));
            next.gpa += page.skip * pageSize;
            if (isLarge) next.gpa = Math.ceil(next.gpa / PAGE_SIZE_2M) * PAGE_SIZE_2M;
            const gpa = physAddr(next.gpa);
            next.gpa += pageSize;
            expect(rmpupdate(rmp, spa, { assigned: true, immutable: true, asid: 1, gpa, pageSize })).toBe(0);
            for (let part = 0; part < pageSize / PAGE_SIZE; part += 1) {
              const frame = pageNumber(spa) + part;
              const isWritten = page.written && part % 100 < 2;
              const content = new Uint8Array(PAGE_SIZE);
              if (isWritten) content.fill((frame % 255) + 1, type === Cpuid && !isCpuidBad ? 0x1000 : 4);
              // Frames that nobody has written are zeros, and measured as such.
              if (isWritten) {
                memory.writeFrame(frame, 0, content, NO_KEY);
                if (part === 0) held.push(memory.words(frame, NO_KEY, true));
              }
              launched.push({ spa: sysPhysAddr(frame * PAGE_SIZE), type, content });
              const isMeasured = type === Normal || type === Vmsa;
              const own = {
                type,
                gpa: (gpa + BigInt(part * PAGE_SIZE)) as PhysAddr,
                ...(isMeasured ? { bytes: content } : {}),
              };
              written.push({ ...own, permissions: permissions ?? [0, 0, 0], imi: imi ?? false });
            }
          }
          const isSmallType = type === Vmsa || type === Secrets || type === Cpuid;
          const isBad = type === Cpuid && isCpuidBad && pages.slice(0, count).some((page) => page.written);
          const options = {
            type,
            count,
            pageSize,
            ...(permissions === undefined ? {} : { permissions }),
            ...(imi === undefined ? {} : { imi }),
          };
          const refusal = isLarge && isSmallType ? 'INVALID_PAGE_SIZE' : isBad ? 'INVALID_PARAM' : 'SUCCESS';
          const state = (): string =>
            refusal === 'SUCCESS'
              ? ''
              : snapshot(rmp) + memory.readFrame(pageNumber(first), 0, PAGE_SIZE, NO_KEY).join();
          const before = state();
          const status = statusOf(() => firmware.launchUpdate(CONTEXT, first, options));
          expect(status).toBe(refusal);
          if (refusal !== 'SUCCESS') {
            expect(state()).toBe(before);
            launched.length -= written.length;
          } else {
            measured.push(...written);
            for (let k = 0; k < count; k += 1) {
              const entry = rmp.rawEntry(sysPhysAddr(first + BigInt(k * pageSize)));
              const [, ...masks] = entry!.vmplMasks;
              expect(masks).toEqual(permissions ?? [0, 0, 0]);
              expect(entry).toMatchObject({
                validated: true,
                immutable: false,
                lock: false,
                vmsa: type === Vmsa,
                pageSize,
              });
            }
          }
          if (isLarge) next.large += count * pageSize;
          else next.small += count * pageSize;
          if (next.large > 14 * MiB - 4 * MiB) next.large = 14 * MiB;
          if (next.large === 14 * MiB) break;
        }
        const digest = await firmware.launchDigest(CONTEXT, sha384);
        expect(digest).toEqual(await launchDigestOf(measured, sha384));
        for (const words of held) words.fill(0x4141_4141);
        firmware.launchFinish(CONTEXT);
        const key = firmware.activeGuest(CONTEXT)!.key!;
        for (const { spa, type, content } of launched) {
          const found = memory.read(spa, PAGE_SIZE, key);
          if (type === Secrets) expect(decodeSecretsPage(found).version).toBe(3);
          else expect(Buffer.compare(found, type === Zero ? new Uint8Array(PAGE_SIZE) : content)).toBe(0);
        }
      }),
      { numRuns },
    );
  },
);

test.each<[string, object]>([
  ['no pages', { count: 0 }],
  ['a negative number of pages', { count: -1 }],
  ['half a page', { count: 0.5 }],
  ['masks of another number', { permissions: [1, 2] }],
  ['four masks', { permissions: [1, 2, 3, 4] }],
  ['a mask of 9 bits', { permissions: [1, 2, 256] }],
  ['a negative mask', { permissions: [-1, 2, 3] }],
  ['half a mask', { permissions: [1, 0.5, 3] }],
  ['a flag that is not a boolean', { imi: 1 }],
  ['masks that are not a list', { permissions: { 0: 1, 1: 2, 2: 3 } }],
  ['a type that does not exist', { type: 7 }],
  ['a misspelt operand', { counts: 1 }],
])('SNP_LAUNCH_UPDATE refuses %s, and changes nothing', async (_, options) => {
  const { rmp, memory, firmware } = guestInLaunch();
  const spa = sysPhysAddr(SMALL);
  rmpupdate(rmp, spa, { assigned: true, immutable: true, asid: 1, gpa: physAddr(0) });
  const before = snapshot(rmp);
  expect(statusOf(() => firmware.launchUpdate(CONTEXT, spa, options as never))).toBe('INVALID_PARAM');
  expect(snapshot(rmp)).toBe(before);
  expect(memory.readFrame(pageNumber(spa), 0, 8, NO_KEY)).toEqual(new Uint8Array(8));
  expect(await firmware.launchDigest(CONTEXT, sha384)).toEqual(new Uint8Array(48));
});

test('SNP_LAUNCH_UPDATE neither reads nor writes the page after the last one', () => {
  for (const type of [Cpuid, Secrets] as const) {
    const { rmp, memory, firmware } = guestInLaunch();
    const spa = sysPhysAddr(SMALL);
    rmpupdate(rmp, spa, { assigned: true, immutable: true, asid: 1, gpa: physAddr(0) });
    memory.writeFrame(pageNumber(spa) + 1, 0, new Uint8Array(PAGE_SIZE).fill(0xff), NO_KEY);
    expect(statusOf(() => firmware.launchUpdate(CONTEXT, spa, { type }))).toBe('SUCCESS');
    expect(memory.readFrame(pageNumber(spa) + 1, 0, PAGE_SIZE, NO_KEY)).toEqual(
      new Uint8Array(PAGE_SIZE).fill(0xff),
    );
  }
});

test('SNP_LAUNCH_UPDATE ends arrays of the page that have the key of the guest, too', () => {
  const { rmp, memory, firmware } = guestInLaunch();
  const spa = sysPhysAddr(SMALL);
  rmpupdate(rmp, spa, { assigned: true, immutable: true, asid: 1, gpa: physAddr(0) });
  // The first key of a memory is that of its first guest.
  const words = memory.words(pageNumber(spa), 1, true);
  firmware.launchUpdate(CONTEXT, spa, { type: Zero });
  words.fill(1);
  firmware.launchFinish(CONTEXT);
  expect(firmware.activeGuest(CONTEXT)?.key).toBe(1);
  expect(memory.readFrame(pageNumber(spa), 0, 8, 1)).toEqual(new Uint8Array(8));
});

test('a first page in a wrong state is refused before a range that ends beyond memory', () => {
  const { rmp, firmware } = guestInLaunch();
  const spa = sysPhysAddr(SMALL);
  expect(statusOf(() => firmware.launchUpdate(CONTEXT, spa, { count: 2 ** 20 }))).toBe('INVALID_PAGE_STATE');
  rmpupdate(rmp, spa, { assigned: true, immutable: true, asid: 1, gpa: physAddr(0) });
  expect(statusOf(() => firmware.launchUpdate(CONTEXT, spa, { count: 2 ** 20 }))).toBe('INVALID_ADDRESS');
});

test('a decommissioned guest stays gone, whatever the entry of its page', () => {
  const { rmp, firmware } = guestInLaunch();
  const entry = rmp.rawEntry(CONTEXT)!;
  firmware.decommission(CONTEXT);
  rmp.setRawEntry(CONTEXT, entry);
  expect(statusOf(() => firmware.guestStatus(CONTEXT))).toBe('INVALID_GUEST');
  expect(thrownBy(() => firmware.launchDigest(CONTEXT, sha384))?.details).toMatchObject({
    command: 'the launch digest',
  });
});

test('a firmware needs an RMP, a memory and a number of ASIDs', () => {
  const [rmp, memory] = [new Rmp(sysPhysRegion(sysPhysAddr(0), 2 * MiB)), new EncryptedMemory(2 * MiB)];
  const message = (platform: unknown, lastAsid: unknown = 4): string | undefined =>
    thrownBy(() => new Firmware(platform as never, lastAsid as never))?.message;
  expect(message({ rmp, memory })).toBeUndefined();
  expect([0, 1022].map((last) => message({ rmp, memory }, last))).toEqual([undefined, undefined]);
  expect(message(undefined)).toBe(
    'platform cannot be undefined: pass an object with rmp and memory [INVALID_ARGUMENT]',
  );
  expect(message({ rmp: {}, memory })).toBe(
    'the RMP of the platform cannot be a value of type object: pass an Rmp [INVALID_ARGUMENT]',
  );
  for (const other of [undefined, {}, rmp])
    expect(message({ rmp, memory: other })).toMatch(
      /^the memory of the platform cannot be .*: pass an EncryptedMemory \[INVALID_ARGUMENT\]$/,
    );
  expect(message({ rmp, memory }, 1023)).toBe(
    'lastAsid cannot be 1023: pass an integer from 0 to 1022 [INVALID_ARGUMENT]',
  );
});

test('the errors of operands say what is wrong with them', () => {
  const { firmware } = guestInLaunch();
  const causeOf = (options: unknown): unknown =>
    (
      thrownBy(() => firmware.launchUpdate(CONTEXT, sysPhysAddr(SMALL), options as never)) as {
        cause?: unknown;
      }
    )?.cause;
  expect(causeOf({ counts: 1 })).toEqual(new TypeError('an operand "counts" does not exist'));
  expect(causeOf('x')).toEqual(new TypeError('the operands are not an object'));
  expect(causeOf({ count: 0 })).toBeUndefined();
  expect(() => firmware.activeGuest('x' as never)).toThrow('INVALID_ADDRESS');
});
