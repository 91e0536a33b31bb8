import { PAGE_SIZE, PageSize, type PhysAddr, physAddr, virtAddr } from '@svsm/address';
import { isPageTableError, type MappedPage, PageTable, PteFlags, PtePreset, Tlb } from '@svsm/pagetable';
import { describe, expect, test } from 'vitest';
import {
  cachedPage,
  hasThrown,
  ownerOf,
  requireIdle,
  type TranslationCache,
} from '../../src/cpu/translation-cache.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { ControlBit } from '../../src/cpu/vcpu-registers.ts';
import { VmplPermission } from '../../src/formats/vmpl.ts';
import type { Guest } from '../../src/guest/guest.ts';
import { isSnpFault } from '../../src/rmp/snp-fault.ts';
import { bytesOf, gvaOf, MiB, mapAll, tableFrames, textOf, world } from '../support/world.ts';

/** A virtual address that every guest maps to a page of its own. */
const GVA = virtAddr(0x40_0000_0000n);

function framesFrom(at: number): ReturnType<typeof tableFrames> {
  const frames = tableFrames();
  const allocateFrame = (): PhysAddr => physAddr(frames.allocateFrame() + BigInt(at - MiB));
  return { allocateFrame, freeFrame() {} };
}

/** A page table of the guest, with frames from `at` on, that maps {@link GVA} to `gpa`, and the text there. */
function mapped(vcpu: Vcpu, guest: Guest, at: number, gpa: number, text: string): PageTable {
  const table = PageTable.create({ memory: vcpu.memory, frames: framesFrom(at), config: guest.paging });
  table.map4k(GVA, physAddr(gpa), PtePreset.Data | PteFlags.Global);
  vcpu.loadCr3(table.cr3);
  vcpu.write(GVA, bytesOf(text));
  return table;
}

const textAt = (vcpu: Vcpu): string => textOf(vcpu.read(GVA, 3));

describe('processors that are given the same TLB', () => {
  // P28
  test('of two guests translate by their own page tables, global pages too', () => {
    const tlb = new Tlb();
    const it = world();
    const other = it.machine.hypervisor.launch({ size: 8 * MiB });
    const cpus = [it.guest, other].map((guest, k) => {
      const vcpu = guest.createVcpu({ tlb });
      mapped(vcpu, guest, 3 * MiB, 2 * MiB + k * PAGE_SIZE, k === 0 ? 'one' : 'two');
      return vcpu;
    }) as [Vcpu, Vcpu];
    for (let k = 0; k < 2; k += 1) expect(cpus.map(textAt)).toEqual(['one', 'two']);
    const written = cpus.map(({ memory }, k) => memory.words(2 * (MiB / PAGE_SIZE) + k, false)[0]);
    expect(written.map((word) => textOf(Uint8Array.from([word! & 0xff])))).toEqual(['o', 't']);
  });

  // P28, V1
  test('of two levels translate by their own page tables', () => {
    const tlb = new Tlb();
    const { guest, vcpu } = world({}, {}, { tlb });
    mapped(vcpu, guest, 3 * MiB, 2 * MiB, 'one');
    for (const gpa of [4 * MiB, 6 * MiB]) {
      const open = { vmpl: 2, permissions: VmplPermission.Rwx };
      const admin = guest.createVcpu();
      mapAll(guest, admin, undefined, framesFrom(MiB + gpa / 16));
      expect(admin.rmpadjust(gvaOf(gpa), PageSize.Huge, open)).toBe(0);
    }
    const os = guest.createVcpu({ vmpl: 2, tlb });
    mapped(os, guest, 4 * MiB, 6 * MiB, 'two');
    for (let k = 0; k < 2; k += 1) expect([vcpu, os].map(textAt)).toEqual(['one', 'two']);
  });

  // P5, P32
  test('each find their own PCID and global pages again', () => {
    const tlb = new Tlb();
    const it = world();
    const other = it.machine.hypervisor.launch({ size: 8 * MiB });
    const first = it.guest.createVcpu({ tlb });
    const second = other.createVcpu({ tlb });
    mapped(first, it.guest, 3 * MiB, 2 * MiB, 'one');
    first.load('cr4', first.controlRegisters.cr4 | ControlBit.Cr4Pcide);
    first.load('cr3', first.cr3 | 5n);
    mapped(second, other, 3 * MiB, 2 * MiB + PAGE_SIZE, 'two');
    second.load('cr4', second.controlRegisters.cr4 & ~ControlBit.Cr4Pge);
    expect([textAt(first), textAt(second), textAt(first)]).toEqual(['one', 'two', 'one']);
    expect(tlb.lookup(GVA)).toBeDefined();
    // The load keeps the entries of PCID 5, which is that of the first processor again.
    first.load('cr3', first.cr3 | (1n << 63n));
    expect(tlb.lookup(GVA)).toBeDefined();
  });

  // P5, P32
  test('each set the modes of the TLB at their first access, and at each load of CR4', () => {
    const { guest, table } = world();
    const tlb = new Tlb();
    const modes: Record<string, boolean> = {};
    const cache: TranslationCache = Object.assign(tlb, {
      setGlobalPages: (isOn: boolean) => Object.assign(modes, { isOn }),
      setPcids: (hasPcids: boolean) => Object.assign(modes, { hasPcids }),
    });
    const cpus = [true, false].map((isOn) => {
      const vcpu = guest.createVcpu({ tlb: cache });
      vcpu.loadCr3(table.cr3);
      const { cr4 } = vcpu.controlRegisters;
      const { Cr4Pge, Cr4Pcide } = ControlBit;
      vcpu.load('cr4', isOn ? cr4 | Cr4Pge | Cr4Pcide : cr4 & ~(Cr4Pge | Cr4Pcide));
      return vcpu;
    }) as [Vcpu, Vcpu];
    for (const isOn of [true, false, true]) {
      cpus[isOn ? 0 : 1].read(gvaOf(2 * MiB), 1);
      expect(modes).toEqual({ isOn, hasPcids: isOn });
    }
    cpus[0].load('cr4', cpus[0].controlRegisters.cr4 & ~ControlBit.Cr4Pge);
    expect(modes).toEqual({ isOn: false, hasPcids: true });
    cpus[0].load('cr4', cpus[0].controlRegisters.cr4 | ControlBit.Cr4Pge);
    expect(modes).toEqual({ isOn: true, hasPcids: true });
  });

  test.each([true, false])('may have a cache without modes, or none: %s', (hasCache) => {
    const { guest, table } = world();
    let flushes = 0;
    const drop = (): void => {
      flushes += 1;
    };
    const tlb = { lookup: () => undefined, insert: () => {}, flushPage: () => {}, flushAll: drop };
    const vcpu = guest.createVcpu(hasCache ? { tlb } : {});
    vcpu.loadCr3(table.cr3);
    const { Cr4Pge, Cr4Pcide } = ControlBit;
    for (const bits of [Cr4Pge, Cr4Pcide, 0n, Cr4Pge | Cr4Pcide]) {
      vcpu.load('cr4', (vcpu.controlRegisters.cr4 & ~(Cr4Pge | Cr4Pcide)) | bits);
      expect(vcpu.read(gvaOf(2 * MiB), 1)).toHaveLength(1);
    }
    // A load of CR3 that keeps the translations of its PCID flushes nothing.
    const before = flushes;
    vcpu.load('cr3', vcpu.cr3 | (1n << 63n));
    expect(flushes).toBe(before);
    vcpu.load('cr3', vcpu.cr3);
    expect(flushes - before).toBe(hasCache ? 1 : 0);
  });

  test('a processor that is alone keeps what the TLB held before its first access', () => {
    const tlb = new Tlb();
    const { guest, table } = world();
    const page = table.lookup(gvaOf(2 * MiB));
    if (page === undefined) throw new Error('not mapped');
    tlb.insert(gvaOf(2 * MiB), page);
    const vcpu = guest.createVcpu({ tlb });
    expect(vcpu.read(gvaOf(2 * MiB), 1)).toHaveLength(1);
  });
});

describe('onStaleUse of the TLB of a processor', () => {
  const thrownCode = (action: () => unknown): unknown => {
    try {
      return action();
    } catch (error) {
      return (error as { code?: unknown }).code;
    }
  };

  const CALLS: readonly ((vcpu: Vcpu) => unknown)[] = [
    (vcpu) => vcpu.read(GVA, 1),
    (vcpu) => vcpu.write(GVA, bytesOf('x')),
    (vcpu) => vcpu.translate(GVA),
    (vcpu) => vcpu.loadCr3(0x5000n),
    (vcpu) => vcpu.load('cr4', vcpu.controlRegisters.cr4 | ControlBit.Cr4Smep),
    (vcpu) => vcpu.invlpg(GVA),
    (vcpu) => vcpu.flushTlb(),
    (vcpu) => {
      vcpu.cpl = 3;
    },
    (vcpu) => {
      vcpu.csL = false;
    },
  ];

  test.each(CALLS.map((call) => [String(call), call] as const))(
    'may not use the processor: %s',
    (_, call) => {
      const codes: unknown[] = [];
      const tlb = new Tlb({
        onStaleUse: () => {
          codes.push(thrownCode(() => call(vcpu)));
          codes.push(thrownCode(() => other.loadCr3(0x5000n)));
        },
      });
      const { guest, vcpu } = world({}, {}, { tlb });
      const other = guest.createVcpu({ tlb });
      const table = mapped(vcpu, guest, 3 * MiB, 2 * MiB, 'one');
      tlb.needsFlush(GVA, PAGE_SIZE, 'a test');
      const before = [vcpu.controlRegisters, other.controlRegisters, vcpu.cpl, vcpu.csL];
      expect(textAt(vcpu)).toBe('one');
      expect(codes.slice(0, 2)).toEqual(['BUSY', 'BUSY']);
      expect([vcpu.controlRegisters, other.controlRegisters, vcpu.cpl, vcpu.csL]).toEqual(before);
      expect(vcpu.cr3).toBe(table.cr3);
    },
  );

  test('that throws ends the access with its error', () => {
    const error = new Error('stale');
    const tlb = new Tlb({
      onStaleUse: () => {
        throw error;
      },
    });
    const { guest, vcpu } = world({}, {}, { tlb });
    mapped(vcpu, guest, 3 * MiB, 2 * MiB, 'one');
    tlb.needsFlush(GVA, PAGE_SIZE, 'a test');
    expect(() => vcpu.write(GVA, bytesOf('two'))).toThrow(error);
    vcpu.invlpg(GVA);
    expect(textAt(vcpu)).toBe('one');
  });

  test('that faults at another processor does not make this one fault', () => {
    const it = world();
    const other = it.machine.hypervisor.launch({ size: 8 * MiB }).createVcpu();
    const tlb = new Tlb({ onStaleUse: () => void other.read(GVA, 1) });
    const vcpu = it.guest.createVcpu({ tlb });
    mapped(vcpu, it.guest, 3 * MiB, 2 * MiB, 'one');
    let faults = 0;
    vcpu.onPageFault = () => {
      faults += 1;
      return 'retry';
    };
    tlb.needsFlush(GVA, PAGE_SIZE, 'a test');
    let thrown: unknown;
    try {
      vcpu.read(GVA, 1);
    } catch (error) {
      thrown = error;
    }
    expect([isSnpFault(thrown), faults]).toEqual([true, 0]);
  });
});

describe('the owner of a cache', () => {
  const failing = new Error('a callback');
  const page = { frame: physAddr(0), size: PageSize.Regular } as unknown as MappedPage;

  /** A cache whose lookups do as `lookup` says. */
  function cacheOf(lookup: TranslationCache['lookup']): TranslationCache {
    return { lookup, insert: () => {}, flushPage: () => {}, flushAll: () => {} };
  }

  test('is one object for all who use the cache, and nobody at first', () => {
    const [one, other] = [cacheOf(() => undefined), cacheOf(() => undefined)];
    const owner = ownerOf(one);
    expect(owner).toEqual({ processor: undefined, isInLookup: false, thrown: undefined });
    expect([ownerOf(one) === owner, ownerOf(other) === owner]).toEqual([true, false]);
  });

  test('a lookup returns the page; without a cache there is none', () => {
    const cache = cacheOf(() => ({ page }));
    expect(cachedPage(cache, ownerOf(cache), GVA)).toBe(page);
    expect([
      cachedPage(undefined, ownerOf(cache), GVA),
      cachedPage(cache, undefined, GVA),
      cachedPage(
        cacheOf(() => undefined),
        ownerOf(cache),
        GVA,
      ),
    ]).toEqual([undefined, undefined, undefined]);
  });

  test('is busy in the middle of a lookup, and afterwards not', () => {
    const found: unknown[] = [];
    const cache = cacheOf(() => {
      try {
        requireIdle(ownerOf(cache));
      } catch (error) {
        found.push(isPageTableError(error, 'BUSY') && error.details);
      }
      return undefined;
    });
    cachedPage(cache, ownerOf(cache), GVA);
    expect(found).toEqual([{ during: 'onStaleUse' }]);
    requireIdle(ownerOf(cache));
    requireIdle(undefined);
  });

  test('knows the error of its last lookup that failed, and is not busy then', () => {
    const cache = cacheOf(() => {
      throw failing;
    });
    expect(hasThrown(cache, failing)).toBe(false);
    expect(() => cachedPage(cache, ownerOf(cache), GVA)).toThrow(failing);
    requireIdle(ownerOf(cache));
    const other = cacheOf(() => undefined);
    expect([
      ...[hasThrown(cache, failing), hasThrown(cache, new Error('a callback'))],
      ...[hasThrown(other, failing), hasThrown(other, undefined), hasThrown(undefined, failing)],
    ]).toEqual([true, false, false, false, false]);
    ownerOf(other);
    expect(hasThrown(other, undefined)).toBe(false);
  });
});
