/** The states and the mismatches of mappings, compared with what the machine of @svsm/sev-snp does at an access. */
import { PAGE_SIZE, PageSize, physAddr, virtAddr } from '@svsm/address';
import { isSnpFault, pageStateOf, type SysPhysAddr } from '@svsm/sev-snp';
import { describe, expect, test } from 'vitest';
import type { Mismatch } from '../../src/backing/backing.ts';
import { openNested } from '../../src/backing/nested-dump.ts';
import { openRmp, openSavedRmp } from '../../src/backing/rmp-table.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { checkTables } from '../../src/view/check.ts';
import type { DumpView } from '../../src/view/dump-view.ts';
import { listLeaves, listRuns } from '../../src/view/listing.ts';
import { summarize } from '../../src/view/summary.ts';
import { openView } from '../../src/view/view.ts';
import {
  BASE,
  dumpOfFrames,
  FLAT_RMP,
  MEMORY,
  rmpBytes,
  SEGMENTED_RMP,
  SnpHost,
} from '../support/snp-host.ts';

const ENCRYPTION = { mode: 'c-bit', bit: 51 } as const;
const SHARED = 0x1000;
/** Guest-physical pages, each with a defect, and what an access to it is. */
const DEFECTS: readonly (readonly [gpa: number, Mismatch, (host: SnpHost) => void])[] = [
  [0x2000, 'private-unvalidated', (host) => host.change(0x2000, { validated: false })],
  [
    0x3000,
    'private-hypervisor-page',
    (host) => host.change(0x3000, { assigned: false, asid: 0, validated: false, gpa: physAddr(0) }),
  ],
  [0x5000, 'private-immutable', (host) => host.change(0x5000, { immutable: true })],
  [0x7000, 'shared-assigned-page', (host) => host.table.setShared4k(virtAddr(BASE + 0x7000n))],
];
/** Those that only a nested page table shows. */
const NESTED_DEFECTS: typeof DEFECTS = [
  [0x9000, 'private-other-address', (host) => host.change(0x9000, { gpa: physAddr(0x50_0000) })],
  [0xb000, 'private-foreign-page', (host) => host.change(0xb000, { asid: 7 })],
  [0x20_0000, 'private-page-size', (host) => host.guest.nested.split4k(physAddr(0x20_0000))],
  [0xd000, 'not-backed', (host) => host.guest.nested.unmap(physAddr(0xd000))],
];

function world(defects: typeof DEFECTS): SnpHost {
  const host = new SnpHost();
  host.split(0);
  // A page that is shared as it should be.
  host.change(SHARED, { assigned: false, asid: 0, validated: false, gpa: physAddr(0) });
  host.table.setShared4k(virtAddr(BASE + BigInt(SHARED)));
  for (const [, , make] of defects) make(host);
  return host;
}

const cr3Of = (host: SnpHost): bigint => host.table.root;

/** The dump of the guest, beside the saved RMP. */
function guestView(host: SnpHost): DumpView {
  const rmp = openSavedRmp(bytesSource(rmpBytes(host.rmp)));
  return openView(host.guestDump(), { cr3: cr3Of(host), encryption: ENCRYPTION, rmp, asid: host.guest.asid });
}

/** The guest in the dump of its host, with one of the RMPs in its memory. */
function nestedView(host: SnpHost, place: Parameters<typeof openRmp>[1]): DumpView {
  const { root, frames } = host.npt();
  const dump = host.hostDump(frames);
  const rmp = openRmp((frame, bytes) => dump.readFrame(frame, bytes), place);
  const guest = openNested(dump, { format: 'npt', pointer: root });
  return openView(guest, { cr3: cr3Of(host), encryption: ENCRYPTION, rmp, asid: host.guest.asid });
}
const flat = { base: FLAT_RMP, end: FLAT_RMP + BigInt(0x4000 + (16 * MEMORY) / PAGE_SIZE) };
const segmented = { base: SEGMENTED_RMP, segmentShift: 30 };

/** The mismatches by guest-physical page of 4 KiB. */
function mismatches(view: DumpView): Map<number, string> {
  const found = new Map<number, string>();
  for (const record of listRuns(view)) {
    if (record.type !== 'run') continue;
    for (let at = 0n; at < record.size; at += 4096n) {
      found.set(Number(record.paddr + at), String(record.backing?.mismatches));
    }
  }
  return found;
}

/** Whether the guest can write the page of a guest-physical address through its mapping. */
function canWrite(host: SnpHost, gpa: number): boolean {
  try {
    host.vcpu.write(virtAddr(BASE + BigInt(gpa)), new Uint8Array(8));
    return true;
  } catch (error) {
    if (isSnpFault(error)) return false;
    throw error;
  }
}

describe('mismatches of a guest', () => {
  test('are those of the pages that it cannot use, by a dump of the guest and a saved RMP', () => {
    const host = world(DEFECTS);
    const found = mismatches(guestView(host));
    for (const [gpa, mismatch] of DEFECTS) expect([gpa, found.get(gpa)]).toEqual([gpa, mismatch]);
    const wrong = new Set(DEFECTS.map(([gpa]) => gpa));
    for (const [gpa, text] of found) if (!wrong.has(gpa)) expect([gpa, text]).toEqual([gpa, '']);
  });

  test.each([
    ['flat', flat],
    ['segmented', segmented],
  ] as const)(
    'are the same through the nested page table, with a %s RMP in the memory of the host',
    (_, place) => {
      const all = [...DEFECTS, ...NESTED_DEFECTS];
      const host = world(all);
      const found = mismatches(nestedView(host, place));
      for (const [gpa, mismatch] of all) expect([gpa, found.get(gpa)]).toEqual([gpa, mismatch]);
    },
  );

  test('are there exactly if the machine refuses a write', () => {
    const host = world([...DEFECTS, ...NESTED_DEFECTS]);
    const found = mismatches(nestedView(host, flat));
    host.machine.hypervisor.handleNestedPageFault = () => false;
    for (let gpa = 0; gpa < 0x40_0000; gpa += PAGE_SIZE) {
      expect([gpa, canWrite(host, gpa)]).toEqual([gpa, found.get(gpa) === '']);
    }
  });

  test('in a listing stand beside the state of each page, which is that of the machine', () => {
    const host = world(DEFECTS);
    for (const view of [guestView(host), nestedView(host, segmented)]) {
      let pages = 0;
      for (const record of listLeaves(view)) {
        if (record.type !== 'leaf') continue;
        for (const { offset, size, rmp, spa } of record.backings ?? []) {
          for (let at = 0n; at < size; at += 4096n) {
            pages += 1;
            const place = host.spaOf(Number(record.paddr + offset + at));
            if (rmp === null) expect(host.rmp.entry(place)?.asid).toBe(0);
            else {
              expect(rmp.state).toBe(pageStateOf(host.rmp.entry(place)));
              expect((spa ?? -1n) + at).toBe(place as bigint);
            }
          }
        }
      }
      expect(pages).toBe(2048);
    }
  });

  test('are findings of check, and warnings of summary', () => {
    const host = world(DEFECTS);
    const view = guestView(host);
    const findings = [...checkTables(view)].flatMap((record) =>
      record.type === 'finding' && DEFECTS.some(([, mismatch]) => mismatch === record.finding)
        ? [[Number(record.paddr), record.finding]]
        : [],
    );
    expect(findings).toEqual(DEFECTS.map(([gpa, mismatch]) => [gpa, mismatch]));
    const summary = [...summarize(view)].find((record) => record.type === 'summary');
    for (const [gpa, mismatch] of DEFECTS) {
      expect(summary?.warnings).toContainEqual(
        expect.objectContaining({
          warning: mismatch,
          bytes: 4096n,
          examples: [expect.objectContaining({ start: BASE + BigInt(gpa) })],
        }),
      );
    }
  });

  test('can be listed alone', () => {
    const host = world(DEFECTS);
    const filter = { mismatched: true };
    const runs = [...listRuns(guestView(host), { filter })].filter((record) => record.type === 'run');
    expect(runs.map(({ paddr }) => Number(paddr))).toEqual(DEFECTS.map(([gpa]) => gpa));
    const leaves = [...listLeaves(guestView(host), { filter })].filter((record) => record.type === 'leaf');
    expect(leaves).toHaveLength(DEFECTS.length);
    const plain = openView(host.guestDump(), { cr3: cr3Of(host), encryption: ENCRYPTION });
    expect([...listRuns(plain, { filter })].filter((record) => record.type === 'run')).toEqual([]);
  });

  test('name a VMPL with fewer rights than the mapping', () => {
    const host = world([]);
    host.change(0x3000, { vmplMasks: [0xf, 0x1, 0, 0] });
    const rmp = openSavedRmp(bytesSource(rmpBytes(host.rmp)));
    const options = { cr3: cr3Of(host), encryption: ENCRYPTION, rmp, asid: host.guest.asid };
    const at = (vmpl: number) => mismatches(openView(host.guestDump(), { ...options, vmpl })).get(0x3000);
    expect([at(0), at(1), at(2)]).toEqual(['', 'private-vmpl', 'private-vmpl']);
  });

  test('name a page table that is not private', () => {
    const host = world([]);
    const table = Number(host.table.root);
    host.split(table);
    host.change(table, { validated: false });
    const findings = [...checkTables(guestView(host))].filter(
      (record) => record.type === 'finding' && record.finding === 'table-not-private',
    );
    expect(findings).toMatchObject([{ paddr: BigInt(table) }]);
  });

  test('name two pages with one address', () => {
    const host = world([]);
    host.change(0x3000, { gpa: physAddr(0x4000) });
    const found = mismatches(guestView(host));
    expect(found.get(0x4000)).toBe('ambiguous-address');
    expect(found.get(0x3000)).toBe('private-hypervisor-page');
  });
});

describe('mismatches of a host', () => {
  /** A host whose page table maps all memory with pages of one size. */
  function hostView(host: SnpHost, isLarge: boolean): DumpView {
    const frames = new Map<number, Uint8Array>();
    const table = (frame: number, entries: bigint[]): void => {
      const bytes = new BigUint64Array(512);
      bytes.set(entries);
      frames.set(frame, new Uint8Array(bytes.buffer));
    };
    const regions = Array.from({ length: MEMORY / PageSize.Huge }, (_, i) => i);
    table(0x9000, [0x900_1067n]);
    table(0x9001, [0x900_2067n]);
    table(
      0x9002,
      regions.map((i) =>
        isLarge ? BigInt(i * PageSize.Huge) | 0xe7n : BigInt((0x9003 + i) * PAGE_SIZE) | 0x67n,
      ),
    );
    for (const i of regions) {
      table(
        0x9003 + i,
        Array.from({ length: 512 }, (_, k) => BigInt(i * PageSize.Huge + k * PAGE_SIZE) | 0x67n),
      );
    }
    const rmp = openSavedRmp(bytesSource(rmpBytes(host.rmp)));
    return openView(
      dumpOfFrames((frame) => frames.get(frame) ?? new Uint8Array(PAGE_SIZE)),
      { cr3: 0x900_0000n, rmp },
    );
  }

  test.each([true, false])(
    'are there exactly if the machine refuses a write (large pages: %s)',
    (isLarge) => {
      const host = world(DEFECTS);
      const found = mismatches(hostView(host, isLarge));
      const size = isLarge ? PageSize.Huge : PageSize.Regular;
      for (let spa = 0; spa < MEMORY; spa += PAGE_SIZE) {
        const write = (): void =>
          host.machine.hypervisor.write(BigInt(spa) as SysPhysAddr, new Uint8Array(8), size);
        let isRefused = false;
        try {
          write();
        } catch {
          isRefused = true;
        }
        expect([spa, isRefused]).toEqual([spa, found.get(spa) !== '']);
      }
      expect(new Set(found.values())).toEqual(
        new Set(['', 'host-writes-assigned-page', ...(isLarge ? ['host-large-page'] : [])]),
      );
    },
  );
});

test('a comparison needs the memory encryption of the guest, and an ASID that exists', () => {
  const host = world([]);
  const rmp = openSavedRmp(bytesSource(rmpBytes(host.rmp)));
  const open = (options: object) => () => openView(host.guestDump(), { cr3: cr3Of(host), rmp, ...options });
  expect(open({ asid: 1 })).toThrow('needs the C-bit of the guest');
  expect(open({ asid: 1023, encryption: ENCRYPTION })).toThrow('INVALID_ARGUMENT');
  expect(open({ asid: 1, vmpl: 4, encryption: ENCRYPTION })).toThrow('INVALID_ARGUMENT');
});
