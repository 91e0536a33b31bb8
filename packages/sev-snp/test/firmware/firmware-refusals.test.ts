import { PAGE_SIZE, PageSize, pageNumber, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { PageState } from '../../src/formats/page-state.ts';
import type { RmpEntry } from '../../src/formats/rmp-entry.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { NO_KEY } from '../../src/memory/encrypted-memory.ts';
import { HYPERVISOR_ENTRY } from '../../src/rmp/rmp.ts';
import {
  FirmwareScene,
  GUEST_COMMANDS,
  OTHER,
  PAGE_COMMANDS,
  RECORDS,
  SEALED,
  statusOf,
} from '../support/firmware-runs.ts';
import { MiB, thrownBy } from '../support/world.ts';

const { Huge, Regular } = PageSize;
/** A page that the RMP does not cover, and that is not at a multiple of 2 MiB. */
const OUTSIDE = sysPhysAddr(4 * MiB + 0x1000);

/** Changes the entry of a page, whatever it was. */
function change({ machine: { rmp } }: FirmwareScene, spa: SysPhysAddr, fields: Partial<RmpEntry>): void {
  rmp.setRawEntry(spa, { ...rmp.rawEntry(spa)!, ...fields });
}

/** A RUNNING guest with a page, another page to move to or to swap out, and a page for sealed bytes. */
function prepared(page: PageState = PageState.PreSwap, other: PageState = PageState.PreGuest): FirmwareScene {
  const scene = new FirmwareScene('RUNNING', page);
  scene.set(OTHER, other);
  scene.set(SEALED, PageState.Firmware);
  scene.set(RECORDS, PageState.Metadata);
  return scene;
}

/** A scene whose other page is swapped out. */
function swappedOut(): FirmwareScene {
  const scene = prepared(PageState.PreGuest);
  scene.swapOut(PageState.PreSwap);
  return scene;
}

test.each(Object.keys({ ...GUEST_COMMANDS, ...PAGE_COMMANDS }))(
  'a refusal of %s names the command',
  (name) => {
    const scene = new FirmwareScene('none', PageState.Default);
    const run = { ...GUEST_COMMANDS, ...PAGE_COMMANDS }[name]!(scene);
    expect(thrownBy(run)?.details).toMatchObject({ command: name.replace(/[, ].*/, '') });
  },
);

// T6
describe('each page of a command has its size in the RMP', () => {
  type Pages = readonly SysPhysAddr[];
  type Case = readonly [string, () => FirmwareScene, (scene: FirmwareScene) => void];
  const swapOut: Case = [
    'SNP_SWAP_OUT',
    prepared,
    ({ firmware, context, spa }) =>
      firmware.swapOut(context, { source: spa, destination: SEALED, pageSize: Huge }),
  ];
  const swapIn: Case = [
    'SNP_SWAP_IN',
    swappedOut,
    ({ firmware, context, spa }) => firmware.swapIn(context, { source: SEALED, destination: spa }),
  ];
  const move: Case = [
    'SNP_PAGE_MOVE',
    prepared,
    ({ firmware, context, spa }) => firmware.pageMove(context, { source: spa, destination: OTHER }),
  ];
  // The page that the RMP has with 2 MiB, and the page that is refused.
  test.each<readonly [...Case, (scene: FirmwareScene) => Pages]>([
    [...swapOut, ({ spa }) => [spa, SEALED]],
    [...swapOut, ({ spa }) => [SEALED, spa]],
    [...swapIn, () => [SEALED, SEALED]],
    [...swapIn, ({ spa }) => [spa, spa]],
    [...move, ({ spa }) => [spa, spa]],
    [...move, () => [OTHER, OTHER]],
  ])('%s', (_, make, run, pages) => {
    const scene = make();
    const [changed, refused] = pages(scene);
    change(scene, changed!, { pageSize: Huge });
    const before = scene.state();
    const details = { status: 'INVALID_PAGE_SIZE', spa: refused };
    expect(thrownBy(() => run(scene))).toMatchObject({ code: 'FIRMWARE_REFUSED', details });
    expect(scene.state()).toBe(before);
  });

  test('a page that the RMP does not cover has a size of a page, at a multiple of it', () => {
    const scene = swappedOut();
    const { firmware, context, spa } = scene;
    const swapIn = (pageSize: number) => () =>
      firmware.swapIn(context, { source: OUTSIDE, destination: spa, pageSize: pageSize as typeof Regular });
    for (const [pageSize, status] of [
      [0x2000, 'INVALID_PAGE_SIZE'],
      [PageSize.Giant, 'INVALID_PAGE_SIZE'],
      [Huge, 'INVALID_ADDRESS'],
    ] as const) {
      expect(thrownBy(swapIn(pageSize))?.details).toMatchObject({ status, spa: OUTSIDE });
    }
  });
});

// T3, T8
test.each<[string, SysPhysAddr, number]>([
  ['an index of -1', RECORDS, -1],
  ['half an index', RECORDS, 0.5],
  ['the index 64', RECORDS, 64],
  ['the destination', SEALED, 0],
])('%s is not the place of a record', (_, page, index) => {
  const scene = prepared();
  const { firmware, context, spa } = scene;
  const before = scene.state();
  const swap = { source: spa, destination: SEALED, record: { page, index } };
  expect(thrownBy(() => firmware.swapOut(context, swap))?.details).toMatchObject({ status: 'INVALID_PARAM' });
  expect(scene.state()).toBe(before);
});

// T9
test('a page of another guest does not move', () => {
  const scene = prepared();
  const { firmware, context, spa } = scene;
  change(scene, spa, { asid: 2 });
  const before = scene.state();
  const error = thrownBy(() => firmware.pageMove(context, { source: spa, destination: OTHER }));
  expect(error?.details).toMatchObject({ status: 'INVALID_PAGE_OWNER', spa });
  expect(scene.state()).toBe(before);
});

// T6
describe('the masks of SNP_LAUNCH_UPDATE', () => {
  const launch = (permissions: readonly number[]) => {
    const scene = new FirmwareScene('LAUNCH, ASID', PageState.PreGuest);
    const { firmware, context, spa, machine } = scene;
    const error = thrownBy(() => firmware.launchUpdate(context, spa, { permissions: permissions as never }));
    return { error, entry: machine.rmp.rawEntry(spa) };
  };

  test.each([[[-1, 0, 0]], [[0, 0.5, 0]], [[0, 0, 0x100]], [[0, 0]], [[0, 0, 0, 0]], [['1', 0, 0]]])(
    '%o are refused',
    (permissions) => {
      const { error, entry } = launch(permissions as never);
      expect(error?.details).toMatchObject({ command: 'SNP_LAUNCH_UPDATE', status: 'INVALID_PARAM' });
      expect(entry).toMatchObject({ validated: false, immutable: true });
    },
  );

  test('have 8 bits each, and the page is the guest’s, open and valid', () => {
    const { error, entry } = launch([0xff, 0, 0x80]);
    expect(error).toBeUndefined();
    expect(entry).toMatchObject({ validated: true, immutable: false, lock: false, vmsa: false });
    expect(entry?.vmplMasks.slice(1)).toEqual([0xff, 0, 0x80]);
  });
});

test('pages of the firmware are locked; a page that has moved is not', () => {
  const scene = prepared();
  const { machine, firmware, context, spa } = scene;
  const entry = (page: SysPhysAddr) => machine.rmp.rawEntry(page);
  scene.set(SEALED, PageState.Firmware);
  firmware.metadataInit(context, SEALED);
  expect([entry(context), entry(SEALED)]).toMatchObject([
    { lock: true, immutable: true },
    { lock: true, immutable: true },
  ]);
  change(scene, spa, { lock: true });
  change(scene, OTHER, { lock: true });
  firmware.pageMove(context, { source: spa, destination: OTHER });
  expect([entry(spa), entry(OTHER)]).toMatchObject([
    { lock: false, immutable: false },
    { lock: false, immutable: false },
  ]);
});

// R13
test.each([
  ['maintained', -1],
  ['unmaintained', 0],
] as const)('a fixed page leaves the count of a region that is %s', (subpageCount, change) => {
  const assumptions = { subpageCount };
  const { hypervisor, firmware, rmp } = new SnpMachine({ memorySize: 6 * MiB, assumptions });
  hypervisor.givePageToFirmware();
  const page = hypervisor.givePageToFirmware();
  const first = sysPhysAddr(page - (page % BigInt(2 * MiB)));
  expect(page).not.toBe(first);
  const before = rmp.rawEntry(first)!.subpageCount;
  firmware.pageSetHvFixed(page);
  expect(rmp.rawEntry(first)!.subpageCount - before).toBe(change);
});

// T2
test('a page of records that is reclaimed has no address', () => {
  const { machine, firmware } = prepared();
  firmware.pageReclaim(RECORDS);
  expect(machine.rmp.rawEntry(RECORDS)).toMatchObject({ gpa: 0n, immutable: false, lock: false });
});

test('an error that reading the operands throws is the cause of the refusal', () => {
  const { firmware, context, spa } = prepared();
  const cause = new Error('no operands');
  const operands = {
    get source(): SysPhysAddr {
      throw cause;
    },
    destination: spa,
  };
  const causeOf = (run: () => void): unknown => (thrownBy(run) as Error | undefined)?.cause;
  expect(statusOf(() => firmware.pageMove(context, operands))).toBe('INVALID_PARAM');
  expect(causeOf(() => firmware.pageMove(context, operands))).toBe(cause);
  expect(causeOf(() => firmware.pageMove(spa, { source: spa, destination: OTHER }))).toBeUndefined();
});

test('a command ends the arrays of its own pages, and no other', () => {
  const scene = prepared();
  const { machine, firmware, context, spa } = scene;
  const neighbours = [spa, SEALED].map((page) => pageNumber(page) + 1);
  for (const frame of neighbours) scene.set(sysPhysAddr(frame * PAGE_SIZE), PageState.Hypervisor);
  const arrays = neighbours.map((frame) => machine.memory.words(frame, NO_KEY, true));
  firmware.swapOut(context, { source: spa, destination: SEALED });
  for (const [k, words] of arrays.entries()) words[0] = 0x1234 + k;
  for (const [k, frame] of neighbours.entries()) {
    expect(machine.memory.words(frame, NO_KEY, false)[0]).toBe(0x1234 + k);
  }
});

describe('SNP_PAGE_UNSMASH', () => {
  const FIRST = sysPhysAddr(2 * MiB);
  const pages = () => {
    const machine = new SnpMachine({ memorySize: 6 * MiB, rmpCovers: 4 * MiB });
    for (let k = 0; k < 512; k += 1) {
      const gpa = physAddr(k * PAGE_SIZE);
      const entry = { ...HYPERVISOR_ENTRY, assigned: true, immutable: true, asid: 1, gpa };
      machine.rmp.setRawEntry(sysPhysAddr(2 * MiB + k * PAGE_SIZE), entry);
    }
    return machine;
  };

  test('makes one page of 512', () => {
    const machine = pages();
    machine.firmware.pageUnsmash(FIRST);
    expect(machine.rmp.rawEntry(FIRST)).toMatchObject({ pageSize: Huge, asid: 1, immutable: true });
  });

  test.each<[string, Partial<RmpEntry>]>([
    ['is 2 MiB already', { pageSize: Huge }],
    ['is not assigned', { assigned: false }],
    ['is mutable', { immutable: false }],
    ['belongs to another guest', { asid: 2 }],
    ['is valid', { validated: true }],
    ['is a VMSA', { vmsa: true }],
    ['has another address', { gpa: physAddr(0) }],
    ['has other masks', { vmplMasks: [0, 1, 0, 0] }],
  ])('is refused if one of them %s', (_, fields) => {
    for (const k of [1, 255, 511]) {
      const machine = pages();
      const spa = sysPhysAddr(2 * MiB + k * PAGE_SIZE);
      machine.rmp.setRawEntry(spa, { ...machine.rmp.rawEntry(spa)!, ...fields });
      const error = thrownBy(() => machine.firmware.pageUnsmash(FIRST));
      expect(error?.details).toMatchObject({ status: 'INVALID_PAGE_STATE', spa });
      expect(machine.rmp.rawEntry(FIRST)?.pageSize).toBe(Regular);
    }
  });

  test('is refused for pages of the firmware', () => {
    const machine = pages();
    for (let k = 0; k < 512; k += 1) {
      const spa = sysPhysAddr(2 * MiB + k * PAGE_SIZE);
      machine.rmp.setRawEntry(spa, { ...machine.rmp.rawEntry(spa)!, asid: 0 });
    }
    const error = thrownBy(() => machine.firmware.pageUnsmash(FIRST));
    const command = 'SNP_PAGE_UNSMASH';
    expect(error?.details).toMatchObject({ command, status: 'INVALID_PAGE_STATE', spa: FIRST });
  });
});

describe('a number for an address', () => {
  test.each([
    [
      'guestStatus',
      'SNP_GUEST_STATUS is refused: INVALID_PARAM: the number 4096 (as a bigint: 4096n) is not an address',
    ],
    [
      'activate',
      'SNP_ACTIVATE is refused: INVALID_PARAM: the number 4096 (as a bigint: 4096n) is not an address',
    ],
  ] as const)('%s says that it is a number', (name, message) => {
    const { firmware } = prepared();
    const error = thrownBy(() => firmware[name](4096 as never, 1));
    expect(error?.message).toBe(`${message} [FIRMWARE_REFUSED]`);
  });

  test('so do the 64 bits of a record', () => {
    const { firmware, context, spa } = prepared();
    const options = { source: spa, destination: SEALED, softwareData: 1 as never };
    expect(thrownBy(() => firmware.swapOut(context, options))?.message).toBe(
      'SNP_SWAP_OUT is refused: INVALID_PARAM: the number 1 (as a bigint: 1n) is not a bigint of 64 bits [FIRMWARE_REFUSED]',
    );
  });
});
