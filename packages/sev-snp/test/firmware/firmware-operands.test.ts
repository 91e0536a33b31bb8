import { PAGE_SIZE, PageSize, pageNumber, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { Firmware } from '../../src/firmware/firmware.ts';
import { PageState } from '../../src/formats/page-state.ts';
import { type SysPhysAddr, sysPhysAddr, sysPhysRegion } from '../../src/formats/sys-phys-addr.ts';
import { EncryptedMemory, NO_KEY } from '../../src/memory/encrypted-memory.ts';
import { rmpupdate } from '../../src/rmp/host-instructions.ts';
import { HYPERVISOR_ENTRY, Rmp } from '../../src/rmp/rmp.ts';
import {
  FirmwareScene,
  GUEST_COMMANDS,
  type GuestCase,
  OTHER,
  PAGE_COMMANDS,
  PAGES,
  RECORDS,
  SEALED,
  statusOf,
} from '../support/firmware-runs.ts';
import { bytesOf, gvaOf, MiB, spaOf, world } from '../support/world.ts';

const untyped = (value: unknown): never => value as never;
const RECORD = { page: RECORDS, index: 1 };

/** A guest in LAUNCH or RUNNING, a PRE-SWAP or PRE-GUEST page, and fit pages for the other operands. */
function prepared(guest: GuestCase, page: PageState): FirmwareScene {
  const scene = new FirmwareScene(guest, page);
  scene.set(OTHER, PageState.PreGuest);
  scene.set(SEALED, PageState.Firmware);
  scene.set(RECORDS, PageState.Metadata);
  return scene;
}

type Wrap = <Operands extends object>(operands: Operands) => Operands;

/** The commands with an object of operands. */
const WITH_OPERANDS: Readonly<Record<string, (scene: FirmwareScene, wrap: Wrap) => void>> = {
  SNP_LAUNCH_UPDATE: ({ firmware, context, spa }, wrap) =>
    firmware.launchUpdate(
      context,
      spa,
      wrap({ pageSize: PageSize.Regular, type: 1 as const, permissions: [1, 2, 3] as const }),
    ),
  SNP_SWAP_OUT: ({ firmware, context, spa }, wrap) =>
    firmware.swapOut(
      context,
      wrap({ source: spa, destination: SEALED, record: RECORD, softwareData: 7n, pageSize: 4096 as const }),
    ),
  SNP_SWAP_IN: ({ firmware, context, spa }, wrap) =>
    firmware.swapIn(context, wrap({ source: SEALED, destination: spa, record: RECORD })),
  SNP_PAGE_MOVE: ({ firmware, context, spa }, wrap) =>
    firmware.pageMove(context, wrap({ source: spa, destination: OTHER, pageSize: PageSize.Regular })),
};

/** The commands that one of these calls while its operands are read. */
const INNER: Readonly<Record<string, (scene: FirmwareScene) => () => unknown>> = {
  ...GUEST_COMMANDS,
  SNP_PAGE_RECLAIM:
    ({ firmware, spa }) =>
    () =>
      firmware.pageReclaim(spa),
  ...Object.fromEntries(
    Object.entries(WITH_OPERANDS).map(([name, run]) => [
      `another ${name}`,
      (scene: FirmwareScene) => () => run(scene, (operands) => operands),
    ]),
  ),
};

/** An object of which each read of a field calls `onRead` with the name, also in the objects that it leads to. */
function watched<Target extends object>(target: Target, onRead: (name: string) => void, path = ''): Target {
  return new Proxy(target, {
    get(it, name, receiver) {
      onRead(`${path}${String(name)}`);
      const value: unknown = Reflect.get(it, name, receiver);
      const isObject = typeof value === 'object' && value !== null;
      return isObject ? watched(value, onRead, `${path}${String(name)}.`) : value;
    },
  });
}

describe.each(Object.keys(WITH_OPERANDS))('the operands of %s', (outer) => {
  const run = WITH_OPERANDS[outer]!;
  const scenes = (['LAUNCH, ASID', 'RUNNING'] as const).flatMap((guest) =>
    ([PageState.PreGuest, PageState.PreSwap] as const).map((page) => [guest, page] as const),
  );

  function scene([guest, page]: (typeof scenes)[number]): FirmwareScene {
    const made = prepared(guest, page);
    if (outer !== 'SNP_SWAP_IN') return made;
    made.firmware.swapOut(made.context, { source: made.spa, destination: SEALED, record: RECORD });
    return made;
  }

  test('are read once each', () => {
    const reads: string[] = [];
    const it = scene(['RUNNING', PageState.PreSwap]);
    statusOf(() => run(it, (operands) => watched(operands, (name) => reads.push(name))));
    expect(reads.length).toBeGreaterThan(2);
    expect(reads.length).toBe(new Set(reads).size);
  });

  test.each(Object.keys(INNER))('that call %s when they are read: as if it had come first', (inner) => {
    for (const choice of scenes) {
      for (const when of [1, 2, 3, 4, 5, 6, 7]) {
        const [nested, serial] = [scene(choice), scene(choice)];
        let reads = 0;
        let innerStatus = '';
        const onRead = () => {
          reads += 1;
          if (reads === when) innerStatus = statusOf(INNER[inner]!(nested));
        };
        const outerStatus = statusOf(() => run(nested, (operands) => watched(operands, onRead)));
        if (reads < when) continue;
        const first = statusOf(INNER[inner]!(serial));
        const second = statusOf(() => run(serial, (operands) => operands));
        expect([innerStatus, outerStatus, nested.state()]).toEqual([first, second, serial.state()]);
      }
    }
  });

  test('that cannot be read are refused, and nothing changes', () => {
    const unreadable = new Proxy({}, { get: raise });
    const it = scene(['RUNNING', PageState.PreSwap]);
    const before = it.state();
    for (const operands of [null, 5, 'text', unreadable]) {
      expect(statusOf(() => run(it, () => untyped(operands)))).toBe('INVALID_PARAM');
    }
    expect(it.state()).toBe(before);
  });
});

function raise(): never {
  throw new Error('not readable');
}

// T5
test('an iterator of masks cannot finish the launch under SNP_LAUNCH_UPDATE', () => {
  const it = prepared('LAUNCH, ASID', PageState.PreGuest);
  const permissions = [0, 0, 0];
  permissions[Symbol.iterator] = function* () {
    it.firmware.launchFinish(it.context);
    yield 0x1ff;
    return undefined;
  };
  it.firmware.launchUpdate(it.context, it.spa, { permissions: untyped(permissions) });
  expect(it.firmware.guestStatus(it.context).state).toBe('LAUNCH');
  expect(it.machine.rmp.rawEntry(it.spa)?.vmplMasks.slice(1)).toEqual([0, 0, 0]);
});

// T8
test.each([-1n, 1n << 64n, 5, Number.NaN, null, '7'])(
  'SNP_SWAP_OUT with %s as data of the hypervisor is refused, and the page stays',
  (softwareData) => {
    for (const record of [undefined, RECORD]) {
      const it = prepared('RUNNING', PageState.PreSwap);
      const before = it.state();
      const operands = { source: it.spa, destination: SEALED, record, softwareData };
      expect(statusOf(() => it.firmware.swapOut(it.context, untyped(operands)))).toBe('INVALID_PARAM');
      expect(it.state()).toBe(before);
    }
  },
);

describe('a page beyond the end of memory', () => {
  const beyond = sysPhysAddr(1n << 40n);

  test.each<[string, (scene: FirmwareScene) => unknown]>([
    ['guestContextCreate', ({ firmware }) => firmware.guestContextCreate(beyond)],
    ['launchStart', ({ firmware }) => firmware.launchStart(beyond)],
    ['activate', ({ firmware }) => firmware.activate(beyond, 2)],
    ['launchUpdate', ({ firmware, context }) => firmware.launchUpdate(context, beyond)],
    ['launchFinish', ({ firmware }) => firmware.launchFinish(beyond)],
    ['decommission', ({ firmware }) => firmware.decommission(beyond)],
    ['guestStatus', ({ firmware }) => firmware.guestStatus(beyond)],
    ['pageReclaim', ({ firmware }) => firmware.pageReclaim(beyond)],
    ['pageSetHvFixed', ({ firmware }) => firmware.pageSetHvFixed(beyond)],
    ['pageUnsmash', ({ firmware }) => firmware.pageUnsmash(beyond)],
    ['metadataInit', ({ firmware, context }) => firmware.metadataInit(context, beyond)],
    ['swapOut to it', (it) => it.firmware.swapOut(it.context, { source: it.spa, destination: beyond })],
    ['swapOut of it', (it) => it.firmware.swapOut(it.context, { source: beyond, destination: SEALED })],
    ['swapIn from it', (it) => it.firmware.swapIn(it.context, { source: beyond, destination: OTHER })],
    ['pageMove to it', (it) => it.firmware.pageMove(it.context, { source: it.spa, destination: beyond })],
    [
      'swapOut with its records',
      (it) =>
        it.firmware.swapOut(it.context, {
          source: it.spa,
          destination: SEALED,
          record: { page: beyond, index: 0 },
        }),
    ],
  ])('is refused by %s with INVALID_ADDRESS, and nothing changes', (_, action) => {
    const it = prepared('RUNNING', PageState.PreSwap);
    const before = it.state();
    expect(statusOf(() => action(it))).toBe('INVALID_ADDRESS');
    expect(it.state()).toBe(before);
  });

  test('is refused as a part of a page of 2 MiB too', () => {
    const at = sysPhysAddr(2 * MiB);
    const huge = { pageSize: PageSize.Huge };
    const memory = new EncryptedMemory(2 * MiB + 2 * PAGE_SIZE);
    const firmwareOver = (covered: number): [Firmware, Rmp] => {
      const rmp = new Rmp(sysPhysRegion(sysPhysAddr(0), covered));
      return [new Firmware({ rmp, memory }, 9), rmp];
    };
    const [covering, rmp] = firmwareOver(4 * MiB);
    rmp.setRawEntry(at, { ...HYPERVISOR_ENTRY, ...huge, assigned: true, immutable: true, asid: 1 });
    expect(statusOf(() => covering.pageReclaim(at, PageSize.Huge))).toBe('INVALID_ADDRESS');
    const [firmware, small] = firmwareOver(2 * MiB);
    const context = sysPhysAddr(0x1000);
    rmpupdate(small, context, { assigned: true, immutable: true });
    firmware.guestContextCreate(context);
    const swap = () => firmware.swapOut(context, { source: at, destination: context, ...huge });
    expect(statusOf(swap)).toBe('INVALID_ADDRESS');
  });
});

describe('an array of a page that someone holds', () => {
  test.each(Object.keys(PAGE_COMMANDS))('ends when %s changes the state of the page', (name) => {
    let changes = 0;
    for (const page of PAGES) {
      for (const guest of ['INIT', 'LAUNCH, ASID', 'RUNNING'] as const) {
        const it = new FirmwareScene(guest, page);
        const command = PAGE_COMMANDS[name]!(it);
        const { memory, rmp } = it.machine;
        const held = memory.words(pageNumber(it.spa), NO_KEY, true);
        const before = rmp.rawEntry(it.spa);
        statusOf(command);
        if (JSON.stringify(fields(before)) === JSON.stringify(fields(rmp.rawEntry(it.spa)))) continue;
        changes += 1;
        const content = memory.read(it.spa, PAGE_SIZE, NO_KEY);
        held.fill(0xdead_beef);
        expect(memory.read(it.spa, PAGE_SIZE, NO_KEY)).toEqual(content);
      }
    }
    if (!name.endsWith('destination') && !name.endsWith('page of records'))
      expect(changes).toBeGreaterThan(0);
  });

  // T8, T10
  test('cannot forge a swap record, whichever RMPUPDATE gave the page of records to the firmware', () => {
    const it = world({}, { pageSize: PageSize.Regular });
    const { firmware, hypervisor: host, rmp } = it.machine;
    const { context, asid } = it.guest;
    const records = host.allocatePage();
    const held = host.memory.words(pageNumber(records), true);
    rmpupdate(rmp, records, { assigned: true, immutable: true });
    firmware.metadataInit(context, records);
    it.vcpu.write(gvaOf(0x5000), bytesOf('old'));
    const source = spaOf(it, 0x5000);
    const preSwap = { assigned: true, immutable: true, asid, gpa: physAddr(0x5000) };
    host.rmpupdate(source, preSwap);
    const destination = host.givePageToFirmware();
    const record = { page: records, index: 0 };
    firmware.swapOut(context, { source, destination, record });
    expect(held.every((word) => word === 0)).toBe(true);
    const saved = host.read(records, 64);
    firmware.swapIn(context, { source: destination, destination: source, record });
    held.set(new Uint32Array(saved.buffer), 0);
    const again = host.allocatePage();
    host.rmpupdate(again, preSwap);
    const replay = () => firmware.swapIn(context, { source: destination, destination: again, record });
    expect(statusOf(replay)).toBe('INVALID_MDATA_ENTRY');
  });

  test('ends when SNP_PAGE_UNSMASH joins its page, and when a sealed page is written to it', () => {
    const it = prepared('RUNNING', PageState.PreSwap);
    const { memory, rmp } = it.machine;
    const sealed = memory.words(pageNumber(SEALED), NO_KEY, true);
    it.firmware.swapOut(it.context, { source: it.spa, destination: SEALED });
    sealed.fill(1);
    it.set(it.spa, PageState.PreGuest);
    it.firmware.swapIn(it.context, { source: SEALED, destination: it.spa });
    const part = (k: number): SysPhysAddr => sysPhysAddr(0x20_0000 + k * PAGE_SIZE);
    const entry = rmp.rawEntry(it.spa)!;
    for (let k = 0; k < 512; k += 1) rmp.setRawEntry(part(k), { ...entry, gpa: physAddr(k * PAGE_SIZE) });
    const held = memory.words(pageNumber(part(511)), NO_KEY, true);
    it.firmware.pageUnsmash(part(0));
    held.fill(1);
    expect(memory.read(part(511), 1, NO_KEY)[0]).toBe(0);
  });
});

/** The fields of an entry that JSON can have. */
function fields(entry: object | undefined): unknown {
  return entry && Object.entries(entry).map(([name, value]) => [name, String(value)]);
}
