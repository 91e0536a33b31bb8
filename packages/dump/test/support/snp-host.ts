import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import {
  createPhysMemory,
  type FrameAllocator,
  PageTable,
  PteFlags,
  PtePreset,
  readPhys,
} from '@svsm/pagetable';
import {
  encodeRmpEntry,
  type Guest,
  type Rmp,
  type RmpEntry,
  SnpMachine,
  type SysPhysAddr,
  sysPhysAddr,
  type Vcpu,
} from '@svsm/sev-snp';
import type { Dump } from '../../src/formats/dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';

export const MEMORY = 32 << 20;
export const GUEST = 8 << 20;
/** Guest virtual addresses from here on are mapped to guest-physical ones from 0 on, in 4 KiB pages up to 4 MiB. */
export const BASE = 0xffff_8000_0000_0000n;
export const FLAT_RMP = 0x200_0000n;
export const SEGMENTED_RMP = 0x300_0000n;
const NESTED_TABLES = 0x800_0000;
const C_BIT = 51;

/** Memory by frames. */
export type Frames = Map<number, Uint8Array>;

/** A machine with a guest, whose page table maps all of its memory as private. */
export class SnpHost {
  readonly machine: SnpMachine = new SnpMachine({ memorySize: MEMORY, cBit: C_BIT });
  readonly guest: Guest = this.machine.hypervisor.launch({ size: GUEST });
  readonly vcpu: Vcpu = this.guest.createVcpu({});
  readonly table: PageTable;

  constructor() {
    let frame = 0x60_0000;
    const frames: FrameAllocator = {
      allocateFrame() {
        frame += PAGE_SIZE;
        return physAddr(frame);
      },
      freeFrame() {},
    };
    this.table = PageTable.create({ memory: this.vcpu.memory, frames, config: this.guest.paging });
    for (let gpa = 0; gpa < GUEST / 2; gpa += PAGE_SIZE) {
      this.table.map4k(virtAddr(BASE + BigInt(gpa)), physAddr(gpa), PtePreset.Data);
    }
    for (let gpa = GUEST / 2; gpa < GUEST; gpa += PageSize.Huge) {
      this.table.map2m(virtAddr(BASE + BigInt(gpa)), physAddr(gpa), PtePreset.Data);
    }
    this.vcpu.loadCr3(this.table.cr3);
  }

  get rmp(): Rmp {
    return this.machine.rmp;
  }

  /** The page of system memory of a guest-physical address. */
  spaOf(gpa: number): SysPhysAddr {
    return this.guest.nested.lookup(physAddr(gpa))!.spa;
  }

  /** Changes the entry of a page of 4 KiB, as whoever can write the table can. */
  change(gpa: number, fields: Partial<RmpEntry>): void {
    const spa = this.spaOf(gpa);
    this.rmp.setRawEntry(spa, { ...this.rmp.entry(spa)!, ...fields });
  }

  /** Splits the 2 MiB page of an address in the nested page table and in the RMP. */
  split(gpa: number): void {
    this.machine.hypervisor.splitPage(this.guest, physAddr(gpa));
  }

  /** The memory of the guest by its own addresses, as a dump that was made in the guest has it. */
  guestDump(): Dump {
    return dumpOfFrames((frame) =>
      frame < GUEST / PAGE_SIZE
        ? readPhys(this.machineView(), physAddr(this.spaOf(frame * PAGE_SIZE)), PAGE_SIZE)
        : undefined,
    );
  }

  /** System memory, with the pages of the guest decrypted, with both kinds of RMP, and with tables of `extra`. */
  hostDump(extra: Frames = new Map()): Dump {
    const tables = new Map([
      ...flatRmp(this.rmp, FLAT_RMP),
      ...segmentedRmp(this.rmp, SEGMENTED_RMP),
      ...extra,
    ]);
    return dumpOfFrames(
      (frame) =>
        tables.get(frame) ??
        (frame < MEMORY / PAGE_SIZE
          ? readPhys(this.machineView(), physAddr(frame * PAGE_SIZE), PAGE_SIZE)
          : undefined),
    );
  }

  /** System memory as the guest's key decrypts it. */
  private machineView() {
    const { memory } = this.machine;
    const { key } = this.guest;
    return createPhysMemory({
      readFrame(frame, bytes) {
        bytes.set(memory.read(sysPhysAddr(frame * PAGE_SIZE), PAGE_SIZE, key));
        return true;
      },
    });
  }

  /** The nested page table of the guest, written anew by `@svsm/pagetable`: its root and its frames. */
  npt(): { root: bigint; frames: Frames } {
    const memory = createPhysMemory({ regions: [physRegion(physAddr(NESTED_TABLES), 1 << 20)] });
    const used: PhysAddr[] = [];
    const frames: FrameAllocator = {
      allocateFrame() {
        const frame = physAddr(NESTED_TABLES + used.length * PAGE_SIZE);
        used.push(frame);
        return frame;
      },
      freeFrame() {},
    };
    const table = PageTable.create({ memory, frames });
    for (let gpa = 0; gpa < GUEST; ) {
      const { spa, size } = this.guest.nested.lookup(physAddr(gpa)) ?? { spa: undefined, size: PAGE_SIZE };
      const map = size === PageSize.Huge ? table.map2m.bind(table) : table.map4k.bind(table);
      if (spa !== undefined) map(virtAddr(gpa), physAddr(spa), PtePreset.Data | PteFlags.User);
      gpa += size;
    }
    return {
      root: table.root,
      frames: new Map(used.map((frame) => [Number(frame) / PAGE_SIZE, readPhys(memory, frame, PAGE_SIZE)])),
    };
  }
}

/** The bytes of a flat table from RMP_BASE on, as Zen 3 and Zen 4 have it in memory. */
export function rmpBytes(rmp: Rmp, pages: number = MEMORY / PAGE_SIZE): Buffer {
  const bytes = Buffer.alloc(0x4000 + 16 * pages);
  for (let page = 0; page < pages; page += 1) {
    const entry = rmp.rawEntry(sysPhysAddr(page * PAGE_SIZE));
    if (entry === undefined) continue;
    const { low, high } = encodeRmpEntry(entry);
    bytes.writeBigUInt64LE(low, 0x4000 + 16 * page);
    bytes.writeBigUInt64LE(high, 0x4008 + 16 * page);
  }
  return bytes;
}

/** A flat table in memory. */
export function flatRmp(rmp: Rmp, base: bigint): Frames {
  return framesOf(rmpBytes(rmp), base);
}

/** A segmented table in memory, with segments of 1 GiB: the first one has entries. */
export function segmentedRmp(rmp: Rmp, base: bigint): Frames {
  const head = Buffer.alloc(0x5000);
  const entries = base + 0x10_0000n;
  head.writeBigUInt64LE(entries | 1n, 0x4000);
  const bytes = Buffer.alloc(4 << 20);
  rmpBytes(rmp).copy(bytes, 0, 0x4000);
  return new Map([...framesOf(head, base), ...framesOf(bytes, entries)]);
}

function framesOf(bytes: Buffer, base: bigint): Frames {
  const frames: Frames = new Map();
  for (let at = 0; at < bytes.length; at += PAGE_SIZE) {
    const frame = new Uint8Array(PAGE_SIZE);
    frame.set(bytes.subarray(at, at + PAGE_SIZE));
    frames.set((Number(base) + at) / PAGE_SIZE, frame);
  }
  return frames;
}

export function dumpOfFrames(read: (frame: number) => Uint8Array | undefined): Dump {
  return {
    name: 'test',
    kind: 'test',
    source: bytesSource(new Uint8Array(0)),
    cpus: [],
    readFrame(frame, bytes) {
      const found = read(frame);
      if (found !== undefined) bytes.set(found);
      return found !== undefined;
    },
    offsetOf: () => undefined,
  };
}
