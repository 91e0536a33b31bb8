/** Calls of every operation with hostile arguments, in a machine whose hypervisor lies. */
import { Buffer } from 'node:buffer';
import { PAGE_SIZE, PageSize, physAddr } from '@svsm/address';
import { physRegion, virtRegion } from '@svsm/memory-region';
import { pvalidate, rmpadjust, rmpquery } from '../../src/cpu/guest-instructions.ts';
import { Vcpu } from '../../src/cpu/vcpu.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import type { Firmware } from '../../src/firmware/firmware.ts';
import type { SwapOptions } from '../../src/firmware/page-swap.ts';
import { GhcbPage } from '../../src/formats/ghcb-page.ts';
import * as formats from '../../src/formats/index.ts';
import { decodeSvsmListEntry, decodeSvsmListHeader } from '../../src/formats/svsm-protocol.ts';
import * as ap from '../../src/guest/ap-creation.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { Guest } from '../../src/guest/guest.ts';
import { hypervisorFeatures, requireFeatures } from '../../src/guest/hypervisor-features.ts';
import { registerGhcb, requestGhcbMsr, requestPageState } from '../../src/guest/msr-protocol.ts';
import { requestPageStates } from '../../src/guest/page-state-change.ts';
import * as visibility from '../../src/guest/page-visibility.ts';
import {
  acceptRegion,
  makeRegionPrivate,
  makeRegionShared,
  releaseRegion,
  settleRegion,
} from '../../src/guest/region-visibility.ts';
import * as svsm from '../../src/guest/svsm-call.ts';
import { ValidatedPages } from '../../src/guest/validated-pages.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { processPageStateChange } from '../../src/host/page-state-service.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import { EncryptedMemory } from '../../src/memory/encrypted-memory.ts';
import { GuestRegions } from '../../src/memory/guest-regions.ts';
import { rmpupdate } from '../../src/rmp/host-instructions.ts';
import { HYPERVISOR_ENTRY, Rmp } from '../../src/rmp/rmp.ts';
import { permanentMap } from '../../src/svsm/guest-page-access.ts';
import { SvsmState } from '../../src/svsm/svsm-state.ts';
import * as igvm from './images.ts';
import { ovmfImage } from './images.ts';
import type { Operation } from './provocations.ts';
import { type SvsmWorld, svsmWorld } from './svsm-world.ts';
import { gvaOf, MiB, rmpOf, WHOLE } from './world.ts';
import { WRONG_TYPES } from './wrong-types.ts';

/** A number from 0 to `end` - 1. */
export type Random = (end: number) => number;

const BIGINTS: readonly bigint[] = [
  ...[-1n, 0n, 1n, 7n, 0xfffn, 0x1000n, 0x1001n, 0x2000n, 0x5000n, 0x20_0000n, 0x20_1000n, 0x40_0008n],
  ...[1n << 31n, 1n << 47n, 1n << 48n, (1n << 52n) - 4096n, 1n << 52n, (1n << 64n) - 4096n, 1n << 64n],
  1n << 80n,
];

const NUMBERS: readonly number[] = [
  ...[Number.NaN, -1, -0, 0.5, 0, 1, 2, 3, 4, 7, 16, 63, 64, 65, 253, 254, 255, 256, 511, 4095, 4096],
  ...[0x20_0000, 2 ** 31, 2 ** 32, 2 ** 53, Number.POSITIVE_INFINITY],
];

const OTHERS: readonly unknown[] = [
  ...[undefined, null, '', 'rax', 'features', true, false, {}, [], [1, 2, 3], Symbol.iterator, () => 0],
  ...[0, 1, 5, 8, 16, 48, 64, 4095, 4096, 8192].map((length) => new Uint8Array(length).fill(0xa5)),
];

/** A value of any type. */
function any(random: Random): never {
  const pool: readonly unknown[] = [BIGINTS, NUMBERS, OTHERS][random(3)]!;
  return pool[random(pool.length)] as never;
}

/** Mostly a bigint, in or out of range. */
function big(random: Random): never {
  return random(8) === 0 ? any(random) : (BIGINTS[random(BIGINTS.length)] as never);
}

/** Mostly a number, in or out of range. */
function num(random: Random): never {
  return random(8) === 0 ? any(random) : (NUMBERS[random(NUMBERS.length)] as never);
}

type Fields = Readonly<Record<string, (random: Random) => unknown>>;

/** An object with these fields. Now and then one is missing, or has a value of any type. */
function object(random: Random, fields: Fields): never {
  if (random(16) === 0) return any(random);
  const present = Object.entries(fields).filter(() => random(12) !== 0);
  return Object.fromEntries(present.map(([name, value]) => [name, value(random)])) as never;
}

/** Bytes, mostly of this length. */
function bytes(random: Random, length: number): Uint8Array {
  const actual = random(4) === 0 ? random(length + 2) : length;
  return Uint8Array.from({ length: actual }, () => random(256) & random(256));
}

/** Mostly an entry of the RMP, whose ASID may have no place. */
function entry(random: Random): never {
  return (
    random(4) === 0 ? any(random) : { ...HYPERVISOR_ENTRY, asid: random(2) === 0 ? 1 : num(random) }
  ) as never;
}

const PROCESSOR: Fields = { cpuSignature: num, sevFeatures: big };
const HASHES: Fields = {
  kernel: (random) => bytes(random, 32),
  initrd: (random) => bytes(random, 32),
  commandLine: (random) => bytes(random, 32),
};

function vmm(random: Random): never {
  return random(8) === 0 ? any(random) : (['qemu', 'ec2', 'gce', 'xen'][random(4)] as never);
}

/** Mostly an OVMF image with a few changed bytes at its end, or sections of any size. */
function hostileOvmf(random: Random): Uint8Array {
  const word = (): number => [0, 1, 0x1000, 0x2000, 0x1234, 0xffff_f000][random(6)]!;
  const sections = Array.from({ length: random(4) }, () => [word(), word(), random(18)] as const);
  const image = ovmfImage({ sections, apResetEip: word(), hashes: [word(), word()], svsmEntry: word() });
  for (let k = random(3); k > 0; k -= 1) image[image.length - 1 - random(200)] = random(256);
  return image;
}

function ovmfOf(random: Random): never {
  const sections = [[0x1000 * random(4), 0x1000, 16]] as const;
  const hashes = [random(0x2000), random(512)] as const;
  return formats.decodeOvmfImage(
    ovmfImage({ sections, hashes, apResetEip: random(2), svsmEntry: random(99) }),
  ) as never;
}

/** An IGVM file with pages, areas, insertions and contexts of any kind. */
function igvmBytes(random: Random): Uint8Array {
  const gpa = (): bigint => BIGINTS[random(BIGINTS.length)]! & 0xf_ffff_ffff_f000n;
  return igvm.igvmFile(
    (data) => [
      igvm.platform(1, 2),
      ...Array.from(
        { length: random(6) },
        () =>
          [
            igvm.page(data, { gpa: gpa(), flags: random(8), type: random(5), data: random(3) * 2048 }),
            igvm.area(random(3), 4096 * random(3)),
            igvm.insert(Number(gpa() % 0x1_0000_0000n), random(3)),
            igvm.context(gpa(), data * random(2), random(3)),
            igvm.idBlock(Buffer.alloc(48)),
          ][random(5)]!,
      ),
    ],
    new Uint8Array(8192),
  );
}

function hostileIgvm(random: Random): Uint8Array {
  const file = igvmBytes(random);
  for (let k = random(3); k > 0; k -= 1) file[random(100)] = random(256);
  return random(2) === 0 ? igvm.withChecksum(file) : file;
}

function igvmOf(random: Random): never {
  if (random(8) === 0) return object(random, { version: num, headers: any });
  try {
    return formats.decodeIgvmFile(igvmBytes(random)) as never;
  } catch {
    return { version: 1, headers: [] } as never;
  }
}

/** A machine with a guest, an SVSM and a GHCB, whose hypervisor lies. */
export class HostileWorld {
  readonly it: SvsmWorld;
  readonly ghcb: Ghcb;
  readonly host: HostileHypervisor;
  /** Context pages of other guests, in state INIT at first. */
  readonly contexts: readonly formats.SysPhysAddr[];

  constructor(random: Random) {
    this.it = svsmWorld(
      {},
      { hypervisor: (machine) => new HostileHypervisor(machine), memorySize: 16 * MiB },
    );
    const { vcpu, table, machine } = this.it;
    this.host = machine.hypervisor as HostileHypervisor;
    this.ghcb = Ghcb.create(vcpu, table, gvaOf(0x5000));
    this.contexts = [this.host.givePageToFirmware(), this.host.givePageToFirmware()];
    for (const page of this.contexts) machine.firmware.guestContextCreate(page);
    if (random(8) === 0) this.#exhaust();
    if (random(2) === 0) this.#lie(random);
  }

  #exhaust(): void {
    try {
      for (;;) this.host.allocatePage();
    } catch {
      // The memory of the host is used up.
    }
  }

  #lie(random: Random): void {
    const sometimes = (): boolean => random(3) === 0;
    this.host.answers = {
      msr: () => (sometimes() ? [0x013n, 0x015n, 0x1_0000_0015n, 0x017n, 0x081n, 0n][random(6)] : undefined),
      page: () => (sometimes() ? { info1: BigInt(random(3)), info2: BigInt(random(3)) } : undefined),
      afterPage: (page) => {
        if (sometimes()) page.writeBuffer(random(8), bytes(random, 8));
      },
      pageState: () => (sometimes() ? random(2) : undefined),
      fault: () => (sometimes() ? random(2) === 0 : undefined),
    };
  }

  /** Options without a record, or with one in which all pages or none are validated. */
  record(random: Random): visibility.VisibilityOptions {
    const { memory } = this.it.guest;
    const kind = random(3);
    return kind === 0 ? {} : { validated: new ValidatedPages(memory, kind === 1 ? memory : []) };
  }

  /** Mostly an address that the guest has mapped. */
  gva(random: Random): never {
    if (random(6) === 0) return big(random);
    return gvaOf(
      [0, 0x5000, 0x6000, 0x6001, 2 * MiB, 6 * MiB, 6 * MiB + 0x1000, 64 * MiB][random(8)]!,
    ) as never;
  }

  gpa(random: Random): never {
    if (random(6) === 0) return big(random);
    return physAddr(
      [0, 0x5000, 0x6001, 2 * MiB, 4 * MiB, 6 * MiB, 6 * MiB + 0x1000, 64 * MiB][random(8)]!,
    ) as never;
  }

  /** Mostly a page of system memory. */
  spa(random: Random): never {
    return random(6) === 0 ? big(random) : (BigInt(random(4096) * PAGE_SIZE) as never);
  }

  area(random: Random): never {
    const { area } = this.it;
    return (random(8) === 0 ? { gva: this.gva(random), gpa: this.gpa(random) } : area) as never;
  }
}

type Call = (random: Random, world: () => HostileWorld) => unknown;

const size = (random: Random): never =>
  (random(4) === 0 ? any(random) : [PageSize.Regular, PageSize.Huge][random(2)]) as never;

const onPage =
  (operation: typeof visibility.makePageShared): Call =>
  (random, world) => {
    const it = world();
    const { vcpu, table } = it.it;
    return operation(vcpu, table, it.gva(random), it.record(random));
  };

const onRegion =
  (operation: typeof makeRegionShared): Call =>
  (random, world) => {
    const it = world();
    const region = virtRegion(
      gvaOf(random(8) * MiB + random(3) * 0x800),
      random(4) * MiB + random(3) * 0x800,
    );
    return operation(it.ghcb, it.it.table, region, it.record(random));
  };

/** Mostly the context page of a guest in some state. */
function context(random: Random, it: HostileWorld): never {
  const { firmware } = it.it.machine;
  if (random(4) === 0) return it.spa(random);
  const page = it.it.guest.context;
  const other = it.contexts[random(it.contexts.length)] ?? page;
  if (random(2) === 0) return other as never;
  try {
    firmware.launchStart(other);
    firmware.activate(other, random(4));
    firmware.launchFinish(other);
  } catch {
    // It is in another state already.
  }
  return page as never;
}

const onFirmware =
  (command: (firmware: Firmware, context: never, page: never, random: Random) => unknown): Call =>
  (random, world) => {
    const it = world();
    const page = it.spa(random);
    // Some pages are in a state that the command needs.
    const pageSize = random(2) === 0 ? PageSize.Regular : PageSize.Huge;
    if (random(2) === 0)
      it.host.rmpupdate(page, { assigned: true, immutable: true, pageSize, asid: random(3) });
    return command(it.it.machine.firmware, context(random, it), page, random);
  };

const onSwap =
  (command: (firmware: Firmware, context: never, options: SwapOptions) => unknown): Call =>
  (random, world) => {
    const it = world();
    const place = { page: it.spa(random), index: any(random) };
    const [source, destination] = [it.spa(random), it.spa(random)];
    it.host.rmpupdate(source, { assigned: true, immutable: true, asid: 1, gpa: physAddr(0x5000) });
    it.host.rmpupdate(destination, { assigned: true, immutable: true, asid: random(2) });
    return command(it.it.machine.firmware, context(random, it), {
      source: random(8) === 0 ? destination : source,
      destination,
      pageSize: random(2) === 0 ? PageSize.Regular : size(random),
      ...(random(2) === 0 ? { record: place as never } : {}),
    });
  };

const onSvsm =
  (call: (it: HostileWorld, random: Random) => unknown): Call =>
  (random, world) => {
    const it = world();
    return call(it, random);
  };

const flag = (random: Random): never => (random(8) === 0 ? any(random) : random(2) === 0) as never;

/** A list of pages to launch. */
const launchPages = (random: Random): never =>
  Array.from({ length: random(3) }, () =>
    object(random, {
      type: num,
      gpa: (it) => (random(2) === 0 ? big(it) : physAddr(random(4) * PAGE_SIZE)),
      bytes: (it) => (random(2) === 0 ? undefined : bytes(it, PAGE_SIZE)),
      permissions: (it) => (random(2) === 0 ? [0, 0, 0] : any(it)),
      imi: flag,
    }),
  ) as never;

const region = (random: Random): never => physRegion(physAddr(random(6) * 0x800), random(6) * 0x800) as never;

const ghcbOver = (random: Random): GhcbPage =>
  GhcbPage.over(Uint8Array.from({ length: PAGE_SIZE }, () => random(256)));

function noWorld(): never {
  throw new Error('the call says that it needs no machine');
}

/** The calls of `WRONG_TYPES`, which most operations that only check types have. */
const TYPED = Object.fromEntries(
  Object.entries(WRONG_TYPES).map(([operation, call]): [string, Call] => [
    operation,
    // The number of parameters tells whether the call needs a machine.
    call.length > 1 ? (random, world) => call(any(random), world) : (random) => call(any(random), noWorld),
  ]),
) as Readonly<Record<keyof typeof WRONG_TYPES, Call>>;

/** A request in the GHCB. */
function ghcbCall(random: Random): never {
  const codes = [0x72, 0x7c, 0x8000_0010, 0x8000_0013, 0x8000_0018, 0x8000_fffd, 0x8000_fffe];
  const fields = object(random, { info1: big, info2: big, scratch: big }) as object;
  const registers = object(random, { rax: big, rcx: big, cpl: big, rxx: () => undefined });
  const exitCode = random(4) === 0 ? big(random) : BigInt(codes[random(codes.length)]!);
  return { ...fields, registers: random(2) === 0 ? registers : undefined, exitCode } as never;
}

export const HOSTILE_CALLS: Readonly<Record<Operation, Call>> = {
  ...TYPED,
  pageStateOf: (random) => formats.pageStateOf(entry(random)),
  'Rmp.masksOnceValidated': (random) => rmpOf().masksOnceValidated(entry(random)),
  decodeCpuidPage: (random) => formats.decodeCpuidPage(bytes(random, PAGE_SIZE)),
  decodeIgvmFile: (random) => formats.decodeIgvmFile(hostileIgvm(random)),
  decodeOvmfImage: (random) => formats.decodeOvmfImage(hostileOvmf(random)),
  decodePscHeader: (random) => formats.decodePscHeader(bytes(random, 8)),
  decodePscEntry: (random) => formats.decodePscEntry(bytes(random, 8)),
  decodeRmpState: (random) => formats.decodeRmpState(bytes(random, 16)),
  decodeSecretsPage: (random) => formats.decodeSecretsPage(bytes(random, PAGE_SIZE)),
  decodeSvsmListHeader: (random) => decodeSvsmListHeader(bytes(random, 8)),
  decodeSvsmListEntry: (random) => decodeSvsmListEntry(bytes(random, 8)),
  decodeSwapRecord: (random) => formats.decodeSwapRecord(bytes(random, 64)),
  readVmsa: (random) => formats.readVmsa(bytes(random, PAGE_SIZE), random(8) === 0 ? any(random) : 'rip'),
  segmentedRmpEntryAddress: (random) =>
    formats.segmentedRmpEntryAddress(big(random), {
      base: big(random),
      segmentShift: num(random),
      segments: num(random),
      unit: random(2) === 0 ? 'MiB' : 'byte',
      read: () => big(random),
    }),
  'GhcbPage.over': (random) => GhcbPage.over(random(2) === 0 ? bytes(random, PAGE_SIZE) : any(random)),
  'GhcbPage.readBuffer': (random) => ghcbOver(random).readBuffer(num(random), num(random)),

  encodeSecretsPage: (random) =>
    formats.encodeSecretsPage(
      object(random, {
        version: num,
        imi: flag,
        familyModelStepping: num,
        vmpcks: (it) =>
          random(4) === 0 ? any(it) : Array.from({ length: 3 + random(2) }, () => bytes(it, 32)),
        vmsaTweakBitmap: (it) => bytes(it, 64),
        svsm: (it) => (random(2) === 0 ? undefined : any(it)),
        tscFactor: num,
      }),
    ),
  announceSvsm: (random) =>
    formats.announceSvsm(
      bytes(random, PAGE_SIZE),
      object(random, { base: big, size: big, callingArea: big, maxVersion: num, guestVmpl: num }),
    ),
  cpuSignature: (random) => formats.cpuSignature(num(random), num(random), num(random)),
  createResetVmsa: (random) => formats.createResetVmsa(object(random, { ...PROCESSOR, vmm, eip: num })),
  createSvsmResetVmsa: (random) => formats.createSvsmResetVmsa(object(random, { ...PROCESSOR, eip: num })),
  createVmsa: (random) =>
    createVmsa(
      object(random, { vmpl: num, control: any, rip: big, rsp: big, sevFeatures: big, virtualTom: big }),
    ),
  encodeApCreation: (random) =>
    ap.encodeApCreation(
      object(random, { request: num, apicId: num, vmpl: num, vmsa: big, sevFeatures: big }),
    ),
  encodeCpuidPage: (random) =>
    formats.encodeCpuidPage(
      Array.from({ length: [0, 0, 1, 64, 65, 66][random(6)]! }, () =>
        object(random, { eaxIn: num, xcr0: big, xss: big }),
      ),
    ),
  encodeGhcbMsr: (random) => {
    const types = [
      'ghcb',
      'cpuid',
      'page-state-request',
      'register-ghcb',
      'terminate',
      'unknown',
      any(random),
    ];
    const fields = { gpa: big, value: num, register: num, operation: num, reasonSet: num, reason: num };
    return formats.encodeGhcbMsr({
      ...(object(random, fields) as object),
      type: types[random(7)],
    } as never);
  },
  encodeKernelHashes: (random) => formats.encodeKernelHashes(object(random, HASHES)),
  encodePageInfo: (random) =>
    formats.encodePageInfo(
      object(random, { digest: any, contents: any, type: num, gpa: big, permissions: any, imi: any }),
    ),
  encodePscEntry: (random) =>
    formats.encodePscEntry(
      object(random, { gpa: big, operation: num, pageSize: num, donePages: num, reserved: num }),
    ),
  encodePscHeader: (random) =>
    formats.encodePscHeader(object(random, { current: num, end: num, reserved: num })),
  encodeRmpEntry: (random) => formats.encodeRmpEntry(object(random, { asid: num, gpa: big, vmplMasks: any })),
  encodeRmpState: (random) =>
    formats.encodeRmpState(object(random, { gpa: big, assigned: any, pageSize: num, asid: num })),
  encodeSvsmListEntry: (random) =>
    formats.encodeSvsmListEntry(object(random, { gpa: big, size: num, validate: any, reserved: num })),
  encodeSvsmListHeader: (random) => formats.encodeSvsmListHeader(object(random, { count: num, next: num })),
  encodeSwapRecord: (random) =>
    formats.encodeSwapRecord(
      object(random, { softwareData: big, iv: big, tag: any, pageSize: num, gpa: big }),
    ),
  writeVmsa: (random) =>
    formats.writeVmsa(bytes(random, PAGE_SIZE), random(8) === 0 ? any(random) : 'cpl', big(random)),
  'GhcbPage.set': (random) => ghcbOver(random).set(random(8) === 0 ? any(random) : 'usage', big(random)),
  writeGhcbRegisters: (random) =>
    formats.writeGhcbRegisters(ghcbOver(random), object(random, { rax: big, cpl: big })),
  'GhcbPage.writeBuffer': (random) => ghcbOver(random).writeBuffer(num(random), bytes(random, 64)),
  LaunchDigest: (random) => new formats.LaunchDigest((from) => from, any(random)),
  'LaunchDigest.update': (random) =>
    new formats.LaunchDigest(() => new Uint8Array(48)).update(
      object(random, { type: num, gpa: big, bytes: any, permissions: any }),
    ),

  igvmExpectedDigest: (random) => formats.igvmExpectedDigest(igvmOf(random)),
  igvmLaunchPages: (random) =>
    formats.igvmLaunchPages(
      object(random, { ...PROCESSOR, file: igvmOf, zeroPages: any, vmsas: any, vcpus: num }),
    ),
  launchDigestOf: (random) => {
    const page = object(random, { type: num, gpa: big, bytes: any, size: num, permissions: any });
    return formats.launchDigestOf(
      [page],
      () => new Uint8Array(48),
      random(4) === 0 ? any(random) : undefined,
    );
  },
  ovmfLaunchPages: (random) =>
    formats.ovmfLaunchPages(
      object(random, {
        ...PROCESSOR,
        image: ovmfOf,
        vmm,
        vcpus: num,
        kernelHashes: (r) => object(r, HASHES),
      }),
    ),
  svsmLaunchPages: (random) =>
    formats.svsmLaunchPages(
      object(random, { ...PROCESSOR, svsm: ovmfOf, firmware: ovmfOf, variablesSize: num, vcpus: num }),
    ),

  assumptionsOf: (random) =>
    formats.assumptionsOf(object(random, { inUseTest: any, rule: any, resetMaskOfVmpl0: num })),
  Rmp: (random) => {
    const start = formats.sysPhysAddr(random(6) * MiB);
    const assumptions = object(random, { hostTableReads: any, other: any });
    return new Rmp(formats.sysPhysRegion(start, random(6) * MiB), random(2) === 0 ? {} : { assumptions });
  },
  'Rmp.setRawEntry': (random) => rmpOf(random(2) * 2 + 2).setRawEntry(big(random), entry(random)),
  'Rmp.setRegion': (random) => rmpOf().setRegion(big(random), HYPERVISOR_ENTRY, entry(random)),
  'Rmp.setRegionWords': (random) => {
    const words = (): Uint32Array => (random(3) > 0 ? new Uint32Array(random(6)) : any(random));
    rmpOf().setRegionWords(num(random), words(), words());
  },
  'Rmp.writeWords': (random) =>
    rmpOf().writeWords(num(random), random(2) === 0 ? new Uint32Array(random(6)) : any(random)),
  EncryptedMemory: (random) => new EncryptedMemory(random(2) === 0 ? num(random) : big(random), any(random)),
  'Firmware.guestContextCreate': onFirmware((it, _, page) => it.guestContextCreate(page)),
  'Firmware.launchStart': onFirmware((it, context) => it.launchStart(context)),
  'Firmware.activate': onFirmware((it, context, _, random) =>
    it.activate(context, random(2) === 0 ? random(4) : any(random)),
  ),
  'Firmware.launchUpdate': onFirmware((it, context, page, random) =>
    it.launchUpdate(
      context,
      page,
      random(2) === 0 ? {} : object(random, { type: num, permissions: any, pageSize: size }),
    ),
  ),
  'Firmware.launchDigest': onFirmware((it, context) => it.launchDigest(context, () => new Uint8Array(48))),
  'Firmware.launchFinish': onFirmware((it, context) => it.launchFinish(context)),
  'Firmware.decommission': onFirmware((it, context) => it.decommission(context)),
  'Firmware.dfFlush': onFirmware((it, context, _, random) => {
    if (random(2) === 0) it.decommission(context);
    if (random(2) === 0) it.wbinvd();
    it.dfFlush();
  }),
  'Firmware.guestStatus': onFirmware((it, context) => it.guestStatus(context)),
  'Firmware.pageReclaim': onFirmware((it, _, page, random) => it.pageReclaim(page, size(random))),
  'Firmware.pageSetHvFixed': onFirmware((it, _, page) => it.pageSetHvFixed(page)),
  'Firmware.pageUnsmash': onFirmware((it, _, page) => it.pageUnsmash(page)),
  'Firmware.metadataInit': onFirmware((it, context, page) => it.metadataInit(context, page)),
  'Firmware.swapOut': onSwap((it, context, options) => it.swapOut(context, options)),
  'Firmware.swapIn': onSwap((it, context, options) => it.swapIn(context, options)),
  'Firmware.pageMove': onSwap((it, context, options) => it.pageMove(context, options)),

  Vcpu: (random, world) => new Vcpu(world().it.guest, { vmpl: any(random) }),
  'Vcpu.leave': (random, world) => {
    const { it } = world();
    const vmsa = { spa: formats.sysPhysAddr(0), gpa: physAddr(0), vmcb: formats.sysPhysAddr(0) };
    const vcpu = it.guest.createVcpu();
    if (random(4) !== 0) vcpu.resume(createVmsa(), vmsa);
    vcpu.leave(big(random), big(random), big(random));
  },
  'Vcpu.load': (random, world) =>
    world().it.vcpu.load(
      (['cr0', 'cr3', 'cr4', 'efer', 'pkru', any(random)] as const)[random(6)]!,
      any(random),
    ),
  'Vcpu.loadCr3': (random, world) => world().it.vcpu.loadCr3(big(random)),
  'Vcpu.resume': (random, world) => {
    const it = world();
    it.it.vcpu.resume(bytes(random, PAGE_SIZE), {
      spa: it.spa(random),
      gpa: physAddr(0),
      vmcb: it.spa(random),
    });
  },
  'Vcpu.vmgexit': (random, world) => {
    const { it, ghcb } = world();
    it.vcpu.ghcbMsr = [big(random), ghcb.gpa, BigInt(random(0x1010))][random(3)] as bigint;
    if (random(2) === 0)
      ghcb.page.set('exitCode', 0x8000_0000n + BigInt([0x10, 0x13, 0x18, 0xfffe][random(4)]!));
    for (const field of ['exitInfo1', 'exitInfo2', 'scratch', 'rax'] as const) {
      if (random(4) !== 0) ghcb.page.set(field, BigInt(random(4) * 0x1000 + random(3)));
    }
    it.vcpu.vmgexit();
  },
  Guest: (random, world) => {
    const it = world();
    const { guest, machine } = it.it;
    return new Guest(machine, { nested: guest.nested, memory: guest.memory, context: context(random, it) });
  },
  pvalidate: (random, world) => pvalidate(world().it.vcpu, gvaOf(0x5000), num(random), true),
  rmpadjust: (random, world) =>
    rmpadjust(world().it.vcpu, gvaOf(0x5000), num(random), { vmpl: num(random), permissions: num(random) }),
  rmpquery: (random, world) => rmpquery(world().it.vcpu, gvaOf(0x5000), num(random)),
  rmpupdate: (random) =>
    rmpupdate(rmpOf(), formats.sysPhysAddr(0x20_0000), { assigned: true, pageSize: num(random) }),
  'Vcpu.pvalidate': (random, world) => world().it.vcpu.pvalidate(gvaOf(0x5000), num(random), true),
  'Vcpu.rmpadjust': (random, world) =>
    world().it.vcpu.rmpadjust(gvaOf(0x5000), num(random), { vmpl: num(random), permissions: num(random) }),
  'Vcpu.exchange': (random, world) => world().it.vcpu.exchange(gvaOf(0x5000), num(random)),
  'Vcpu.compareExchange': (random, world) =>
    world().it.vcpu.compareExchange(gvaOf(0x5000), any(random), any(random)),
  'Vcpu.rmpquery': (random, world) => world().it.vcpu.rmpquery(gvaOf(0x5000), num(random)),
  'Guest.createVcpu': (random, world) =>
    world().it.guest.createVcpu(object(random, { vmpl: num, registers: any })),

  requestGhcbMsr: (random, world) => {
    const { it } = world();
    const requests = [
      'features-request',
      'terminate',
      'page-state-request',
      'run-vmpl-request',
      'ghcb',
      'unknown',
    ];
    const request = {
      ...(object(random, { gpa: big, operation: num, vmpl: num, value: any }) as object),
      type: requests[random(6)],
    };
    return requestGhcbMsr(
      it.vcpu,
      request as never,
      (['features', 'page-state', any(random)] as const)[random(3)]!,
    );
  },
  registerGhcb: (random, world) => {
    const it = world();
    return registerGhcb(it.it.vcpu, it.gpa(random));
  },
  requestPageState: (random, world) => {
    const it = world();
    return requestPageState(it.it.vcpu, it.gpa(random), random(2) === 0 ? 2 : any(random));
  },
  requestPageStates: (random, world) => {
    const it = world();
    const entry = (): never =>
      ({
        gpa: it.gpa(random),
        operation: random(4) === 0 ? any(random) : 1 + random(2),
        pageSize: size(random),
        donePages: random(4) === 0 ? any(random) : 0,
        reserved: random(8) === 0 ? any(random) : 0,
      }) as never;
    const entries = Array.from({ length: random(4) }, entry);
    return requestPageStates(it.ghcb, entries, random(2) === 0 ? 253 : any(random));
  },
  'Ghcb.create': onPage(Ghcb.create),
  'Ghcb.vmgexit': (random, world) => {
    const { ghcb } = world();
    return ghcb.vmgexit(ghcbCall(random));
  },
  hypervisorFeatures: (random, world) => hypervisorFeatures(random(2) === 0 ? world().ghcb : world().it.vcpu),
  requireFeatures: (random, world) =>
    requireFeatures(random(2) === 0 ? world().ghcb : world().it.vcpu, BigInt(random(64))),
  'Ghcb.exchange': (random, world) => {
    const { ghcb } = world();
    return ghcb.exchange(ghcbCall(random));
  },
  'Ghcb.release': (random, world) => {
    const it = world();
    const { vcpu, table } = it.it;
    const gva = random(2) === 0 ? gvaOf(6 * MiB + 0x2000) : it.gva(random);
    const ghcb = random(4) === 0 ? it.ghcb : Ghcb.create(vcpu, table, gva);
    return ghcb.release(table, it.record(random));
  },
  makePageShared: onPage(visibility.makePageShared),
  makePagePrivate: onPage(visibility.makePagePrivate),
  releasePage: onPage(visibility.releasePage),
  acceptPage: onPage(visibility.acceptPage),
  makeRegionShared: onRegion(makeRegionShared),
  makeRegionPrivate: onRegion(makeRegionPrivate),
  releaseRegion: onRegion(releaseRegion),
  acceptRegion: onRegion(acceptRegion),
  settleRegion: (random, world) =>
    onRegion((ghcb, table, region, options) => {
      const lists = { private: [], shared: [], lost: [], validated: random(2) === 0 ? [region] : [] };
      const list = (['private', 'shared', 'lost'] as const)[random(3)]!;
      const extra = random(4) === 0 ? [region, region] : [region];
      settleRegion(ghcb, table, { ...lists, [list]: extra }, random(2) === 0 ? 'private' : 'shared', options);
    })(random, world),
  GuestRegions: (random) =>
    new GuestRegions(random(2) === 0 ? any(random) : [region(random), region(random)]),
  ValidatedPages: (random) => new ValidatedPages(region(random), [region(random)]),
  'ValidatedPages.requireNone': (random) => record(random).requireNone(region(random)),
  'ValidatedPages.requireAll': (random) => record(random).requireAll(region(random)),
  'ValidatedPages.add': (random) => record(random).add(region(random)),
  'ValidatedPages.remove': (random) => record(random).remove(region(random)),
  makeVmsa: (random, world) => {
    const it = world();
    const { vcpu, guestCpu } = it.it;
    return ap.makeVmsa(random(2) === 0 ? vcpu : guestCpu, it.gva(random), bytes(random, PAGE_SIZE));
  },
  unmakeVmsa: (random, world) => {
    const it = world();
    return ap.unmakeVmsa(random(2) === 0 ? it.it.vcpu : it.it.guestCpu, it.gva(random));
  },
  requestAp: (random, world) => {
    const { ghcb } = world();
    const known = {
      request: random(3),
      apicId: random(9),
      vmpl: random(4),
      vmsa: physAddr(0x6000),
      sevFeatures: 1n,
    };
    const hostile = object(random, {
      request: num,
      apicId: num,
      vmpl: num,
      vmsa: big,
      sevFeatures: big,
    }) as object;
    return ap.requestAp(ghcb, (random(2) === 0 ? known : { ...known, ...hostile }) as never);
  },
  callSvsm: onSvsm((it, random) =>
    svsm.callSvsm(it.it.guestCpu, it.area(random), object(random, { rax: big, rcx: big, rdx: big, r8: big })),
  ),
  requestSvsm: onSvsm((it, random) =>
    svsm.requestSvsm(
      it.it.guestCpu,
      it.area(random),
      random(9) as never,
      object(random, { rcx: big, rdx: big, r8: big, r9: big }),
    ),
  ),
  pvalidateBySvsm: onSvsm((it, random) => {
    const entry = (): object => ({
      gpa: it.gpa(random),
      size: random(4),
      validate: random(2) === 0,
      reserved: random(3),
    });
    return svsm.pvalidateBySvsm(
      it.it.guestCpu,
      it.area(random),
      Array.from({ length: random(4) }, entry) as never,
    );
  }),
  depositToSvsm: onSvsm((it, random) => {
    const entry = (): object => ({ gpa: it.gpa(random), size: random(3) });
    return svsm.depositToSvsm(
      it.it.guestCpu,
      it.area(random),
      Array.from({ length: random(4) }, entry) as never,
    );
  }),
  withdrawFromSvsm: onSvsm((it, random) => svsm.withdrawFromSvsm(it.it.guestCpu, it.area(random))),
  createVcpuBySvsm: onSvsm((it, random) =>
    svsm.createVcpuBySvsm(it.it.guestCpu, it.area(random), {
      vmsa: it.gpa(random),
      caa: it.gpa(random),
      apicId: random(4) === 0 ? any(random) : 1,
    }),
  ),
  deleteVcpuBySvsm: onSvsm((it, random) =>
    svsm.deleteVcpuBySvsm(it.it.guestCpu, it.area(random), it.gpa(random)),
  ),
  remapCallingArea: onSvsm((it, random) =>
    svsm.remapCallingArea(it.it.guestCpu, it.area(random), { gva: it.gva(random), gpa: it.gpa(random) }),
  ),
  querySvsmProtocol: onSvsm((it, random) =>
    svsm.querySvsmProtocol(it.it.guestCpu, it.area(random), num(random), num(random)),
  ),
  querySvsmVtom: onSvsm((it, random) => svsm.querySvsmVtom(it.it.guestCpu, it.area(random))),
  configureSvsmVtom: onSvsm((it, random) =>
    svsm.configureSvsmVtom(
      it.it.guestCpu,
      it.area(random),
      object(random, { virtualTom: big, cr3: big, rip: big, rsp: big }),
    ),
  ),

  permanentMap: (random) => permanentMap(any(random)),
  SvsmState: (random) =>
    new SvsmState({ memory: region(random), own: [region(random)], validated: [region(random)] }),
  'SvsmState.on': (random, world) => {
    const { it } = world();
    it.state.on(it.guest.createVcpu({ vmpl: random(4) as never }), WHOLE);
  },
  'SvsmMemory.validate': (random, world) =>
    world().it.svsm.memory.validate(big(random), size(random), num(random)),
  'SvsmMemory.rescind': (random, world) => world().it.svsm.memory.rescind(big(random), size(random)),
  'SvsmMemory.grant': (random, world) => world().it.svsm.memory.grant(big(random), size(random), num(random)),
  'SvsmMemory.revoke': (random, world) => world().it.svsm.memory.revoke(big(random), size(random)),
  'SvsmMemory.clear': (random, world) => world().it.svsm.memory.clear(big(random), size(random)),
  'SvsmMemory.read': (random, world) => world().it.svsm.memory.read(big(random), num(random), num(random)),
  'SvsmMemory.write': (random, world) => world().it.svsm.memory.write(big(random), any(random), num(random)),
  'SvsmCore.register': (random, world) => {
    const { it, gpa } = { it: world().it, gpa: () => world().gpa(random) };
    it.svsm.register(it.guest.createVcpu({ vmpl: 2 }), gpa(), random(2) === 0 ? undefined : gpa());
  },
  SnpMachine: (random) =>
    new SnpMachine(
      object(random, {
        memorySize: num,
        rmpCovers: num,
        cBit: num,
        addressReduction: num,
        seed: num,
        assumptions: any,
      }),
    ),
  'Hypervisor.givePageToFirmware': (_, world) => world().host.givePageToFirmware(),
  'Hypervisor.allocatePage': (_, world) => world().host.allocatePage(),
  'Hypervisor.launch': (random, world) => {
    const { host } = world();
    const fields = {
      pageSize: size,
      levels: num,
      virtualTom: big,
      vmsas: any,
      image: any,
      pages: launchPages,
    };
    const options = random(2) === 0 ? {} : (object(random, fields) as object);
    if (random(2) === 0) return host.launch({ ...options, size: random(2) === 0 ? any(random) : 2 * MiB });
    const memory = Array.from({ length: random(3) }, () => object(random, { region, validated: flag }));
    return host.launch({ ...options, memory: random(8) === 0 ? any(random) : memory });
  },
  'Hypervisor.rmpupdate': (random, world) =>
    world().it.machine.hypervisor.rmpupdate(formats.sysPhysAddr(0x20_0000), {
      assigned: true,
      pageSize: num(random),
      asid: num(random),
      gpa: big(random),
    }),
  'Hypervisor.write': (random, world) =>
    world().host.write(big(random), random(2) === 0 ? any(random) : bytes(random, 64)),
  'Hypervisor.run': (random, world) => {
    const { host, it } = world();
    return host.run(it.guest, any(random), any(random));
  },
  'Hypervisor.init': (random, world) => {
    const { host, it } = world();
    return host.init(it.guest, any(random));
  },
  'Hypervisor.vmgexit': (random, world) => {
    const { host, it, ghcb } = world();
    const request = [big(random), ghcb.gpa, BigInt(random(0x1010))][random(3)] as bigint;
    return host.vmgexit(it.guest, request, random(2) === 0 ? it.vcpu : undefined);
  },
  'Hypervisor.answerGhcb': (random, world) => {
    const { host, it } = world();
    const exitCode = 0x8000_0000n + BigInt([0x10, 0x13, 0x18, 0xfffd, 0xfffe][random(5)]!);
    const fields = object(random, { gpa: big, info1: big, info2: big, scratch: big }) as object;
    const registers = object(random, { rax: big, rcx: big }) as object;
    return host.answerGhcb(it.guest, { ...fields, registers, exitCode } as never, ghcbOver(random), it.vcpu);
  },
  'HostileHypervisor.replay': (random, world) => {
    const it = world();
    return it.host.replay(it.it.guest, it.gpa(random), any(random));
  },
  'HostileHypervisor.substitute': (random, world) => {
    const it = world();
    return it.host.substitute(it.it.guest, it.gpa(random), random(2) === 0 ? it.spa(random) : undefined);
  },
  'HostileHypervisor.unsmash': (random, world) => {
    const it = world();
    const { guest } = it.it;
    for (let k = random(3); k > 0; k -= 1) {
      it.host.rmpupdate(it.spa(random), { assigned: true, gpa: it.gpa(random), asid: random(2) });
    }
    return it.host.unsmash(guest, it.gpa(random));
  },
  'HostileHypervisor.aliasDram': (random, world) => {
    const it = world();
    return it.host.aliasDram(big(random), random(2) === 0 ? big(random) : undefined);
  },
  'HostileHypervisor.tamperRmp': (random, world) =>
    world().host.tamperRmp(big(random), object(random, { asid: num, assigned: any, validated: any })),
  processPageStateChange: (random) =>
    processPageStateChange(ghcbOver(random), num(random), () => random(2), random(4)),
};

function record(random: Random): ValidatedPages {
  return new ValidatedPages(physRegion(physAddr(0), 4 * PAGE_SIZE), [
    physRegion(physAddr(random(2) * PAGE_SIZE), PAGE_SIZE),
  ]);
}
