import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { PAGE_SIZE, PageSize, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { CPU_SIGNATURES, type CpuModel } from '../../src/formats/cpu-signature.ts';
import { encodeCpuidPage } from '../../src/formats/cpuid-page.ts';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import { decodeIgvmFile } from '../../src/formats/igvm-file.ts';
import { igvmLaunchPages } from '../../src/formats/igvm-launch.ts';
import { hashKernel } from '../../src/formats/kernel-hashes.ts';
import {
  type LaunchPage,
  LaunchPageType,
  type Sha384,
  VMSA_LAUNCH_GPA,
} from '../../src/formats/launch-digest.ts';
import { launchDigestOf, launchPageSize } from '../../src/formats/launch-pages.ts';
import { decodeOvmfImage } from '../../src/formats/ovmf-image.ts';
import { ovmfLaunchPages, svsmLaunchPages } from '../../src/formats/ovmf-launch.ts';
import type { Vmm } from '../../src/formats/reset-vmsa.ts';
import { decodeSecretsPage } from '../../src/formats/secrets-page.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { writeVmsa } from '../../src/formats/vmsa.ts';
import type { Guest } from '../../src/guest/guest.ts';
import { requestPageState } from '../../src/guest/msr-protocol.ts';
import type { LaunchMemory, LaunchOptions } from '../../src/host/launch-options.ts';
import { SnpMachine } from '../../src/host/snp-machine.ts';
import * as make from '../support/images.ts';
import { bytesOf, codeOf, MiB, snapshot, thrownBy } from '../support/world.ts';

const { Normal, Vmsa, Zero, Unmeasured, Secrets, Cpuid } = LaunchPageType;
const GiB = 1024 * MiB;
const sha = (name: string) => (bytes: Uint8Array) => Uint8Array.from(createHash(name).update(bytes).digest());
const sha384: Sha384 = sha('sha384');
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const part = (start: number, size: number, validated: boolean): LaunchMemory => ({
  region: physRegion(physAddr(start), size),
  validated,
});
const below4GiB = [part(0, 4 * GiB, false)];

interface Launched {
  readonly machine: SnpMachine;
  readonly guest: Guest;
}

function launch(options: LaunchOptions, machine = new SnpMachine({ memorySize: 256 * MiB })): Launched {
  return { machine, guest: machine.hypervisor.launch(options) };
}

const digestOf = async ({ machine, guest }: Launched): Promise<string> =>
  hex(await machine.firmware.launchDigest(guest.context, sha384));

/** The private content at an address, as the guest sees it. */
function contentOf({ machine, guest }: Launched, gpa: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const count = Math.min(length - at, PAGE_SIZE - ((gpa + at) % PAGE_SIZE));
    const { spa } = guest.nested.lookup(physAddr(gpa + at)) as { spa: SysPhysAddr };
    bytes.set(machine.memory.read(spa, count, guest.key), at);
    at += count;
  }
  return bytes;
}

interface Case {
  readonly vcpus: number;
  readonly cpu: CpuModel;
  readonly digest: string;
}
const fixtures = JSON.parse(
  readFileSync(new URL('../fixtures/image-digests.json', import.meta.url), 'utf8'),
) as {
  readonly ovmf: readonly (Case & {
    readonly spec: make.OvmfSpec;
    readonly vmm: Vmm;
    readonly features: number;
    readonly kernel?: { readonly kernel: string; readonly initrd?: string; readonly append?: string };
  })[];
  readonly svsm: readonly (Case & {
    readonly firmware: make.OvmfSpec;
    readonly svsm: make.OvmfSpec;
    readonly variablesSize: number;
  })[];
};

// L10
describe('the digest of a launched guest is that of sev-snp-measure', () => {
  test.each(fixtures.ovmf.map((one, k) => [k, one] as const))('for OVMF image %i', async (_, one) => {
    const { spec, vcpus, vmm, cpu, features, kernel } = one;
    const bytes = (text: string | undefined) => (text === undefined ? undefined : Buffer.from(text));
    const image = decodeOvmfImage(make.ovmfImage(spec));
    const pages = ovmfLaunchPages({
      image,
      vcpus,
      vmm,
      cpuSignature: CPU_SIGNATURES[cpu],
      sevFeatures: BigInt(features),
      kernelHashes:
        kernel &&
        (await hashKernel(
          {
            kernel: Buffer.from(kernel.kernel),
            initrd: bytes(kernel.initrd),
            commandLine: bytes(kernel.append),
          },
          sha('sha256'),
        )),
    });
    const it = launch({ memory: below4GiB, pages });
    expect(await digestOf(it)).toBe(one.digest);
    expect(contentOf(it, 4 * GiB - image.bytes.length, image.bytes.length)).toEqual(image.bytes);
    for (let apicId = 0; apicId < vcpus; apicId += 1)
      expect(it.machine.hypervisor.vmsaOf(it.guest, apicId)?.gpa).toBe(VMSA_LAUNCH_GPA);
    expect(it.machine.hypervisor.vmsaOf(it.guest, vcpus)).toBeUndefined();
  });

  test.each(fixtures.svsm.map((one, k) => [k, one] as const))('for SVSM binary %i', async (_, one) => {
    const pages = svsmLaunchPages({
      svsm: decodeOvmfImage(make.ovmfImage(one.svsm)),
      firmware: decodeOvmfImage(make.ovmfImage(one.firmware)),
      variablesSize: one.variablesSize,
      vcpus: one.vcpus,
      cpuSignature: CPU_SIGNATURES[one.cpu],
    });
    for (const pageSize of [PageSize.Regular, PageSize.Huge] as const)
      expect(await digestOf(launch({ memory: below4GiB, pages, pageSize }))).toBe(one.digest);
  });
});

// L15
test('an IGVM file is launched as its digest says, with VMSAs in memory or not', async () => {
  const vmsa = createVmsa({ vmpl: 2 });
  writeVmsa(vmsa, 'sevFeatures', 1n);
  const data = Buffer.concat([new Uint8Array(4096).fill(1), vmsa]);
  const page = (start: number, spec: make.PageSpec) => make.page(start, { mask: 2, ...spec });
  const image = make.igvmFile(
    (start) => [
      make.platform(2, 2),
      page(start, { gpa: 0x1000, data: 0 }),
      make.area(7, 0x3000),
      page(start, { gpa: 0x3000, flags: 2, data: 0 }),
      page(start, { gpa: 0x4000, type: 1 }),
      page(start, { gpa: 0x5000, type: 2 }),
      make.context(0x6000n, start + 4096, 0, 2),
      make.insert(0xa000, 7, 2),
      page(start, { gpa: 0x20_0000, flags: 1 }),
    ],
    data,
  );
  const pages = igvmLaunchPages({ file: decodeIgvmFile(image), vcpus: 3, cpuSignature: 0x80_0f12 });
  const it = launch({ memory: [part(0, 8 * MiB, false)], pages });
  expect(await digestOf(it)).toBe(hex(await launchDigestOf(pages, sha384)));
  const { hypervisor } = it.machine;
  expect(hypervisor.vmsaOf(it.guest, 0, 2)).toMatchObject({
    gpa: 0x6000n,
    spa: it.guest.nested.lookup(physAddr(0x6000))?.spa,
  });
  expect([1, 2, 3].map((apicId) => hypervisor.vmsaOf(it.guest, apicId)?.gpa)).toEqual([
    VMSA_LAUNCH_GPA,
    VMSA_LAUNCH_GPA,
    undefined,
  ]);
  expect(contentOf(it, 0x3000, 2)).toEqual(Uint8Array.of(1, 1));
});

/** Random pages, one after the other with gaps, between 2 and 14 MiB. */
const randomPages = fc
  .array(
    fc.record({
      type: fc.constantFrom(Normal, Normal, Zero, Unmeasured, Secrets, Cpuid, Vmsa),
      gap: fc.constantFrom(0, 0, PAGE_SIZE, 3 * PAGE_SIZE, MiB),
      count: fc.constantFrom(1, 1, 2, 3, 512),
      fill: fc.constantFrom(0, 0, 7),
      permissions: fc.constantFrom([0, 0, 0] as const, [1, 2, 3] as const, [0xf, 0xff, 0] as const),
      hasBytes: fc.boolean(),
      imi: fc.boolean(),
    }),
    { maxLength: 6 },
  )
  .map((specs) => {
    let at = 2 * MiB;
    return specs.map(({ type, gap, count, fill, permissions, hasBytes, imi }): LaunchPage => {
      if (type === Vmsa) return { type, gpa: VMSA_LAUNCH_GPA, bytes: createVmsa(), permissions, imi };
      const isSmall = type === Secrets || type === Cpuid;
      const size = isSmall ? PAGE_SIZE : count * PAGE_SIZE;
      const gpa = physAddr(at + gap);
      at += gap + size;
      if (type === Normal || (type === Unmeasured && hasBytes))
        return { type, gpa, bytes: new Uint8Array(size).fill(fill), permissions, imi };
      return { type, gpa, size, permissions, imi };
    });
  });

// L1, L3, L5
test('whatever the pages and the map, the digest is that of the pages in their order, then of the rest', async () => {
  await fc.assert(
    fc.asyncProperty(randomPages, fc.boolean(), fc.boolean(), async (pages, isSmall, validated) => {
      const memory = [part(0, MiB, validated), part(2 * MiB, 12 * MiB, false)];
      const pageSize = isSmall ? PageSize.Regular : PageSize.Huge;
      const vmsa = createVmsa({ vmpl: 1 });
      const it = launch({ memory, pages, pageSize, vmsas: [vmsa] });
      const rest = validated ? [{ type: Normal, gpa: physAddr(0), bytes: new Uint8Array(MiB) }] : [];
      const all: LaunchPage[] = [...pages, ...rest, { type: Vmsa, gpa: VMSA_LAUNCH_GPA, bytes: vmsa }];
      expect(await digestOf(it)).toBe(hex(await launchDigestOf(all, sha384)));
      const mapped = new Set(rest.length > 0 ? Array.from({ length: MiB / PAGE_SIZE }, (_, k) => k) : []);
      for (const page of pages) {
        if (page.type === Vmsa) continue;
        const { gpa, type, bytes, permissions } = page;
        for (let at = 0; at < launchPageSize(page); at += PAGE_SIZE) {
          mapped.add((Number(gpa) + at) / PAGE_SIZE);
          const { spa } = it.guest.nested.lookup((gpa + BigInt(at)) as PhysAddr)!;
          expect(it.machine.rmp.entry(spa)).toMatchObject({
            validated: true,
            immutable: false,
            vmsa: false,
            vmplMasks: [it.machine.rmp.entry(spa)!.vmplMasks[0], ...permissions!],
          });
          if (type === Secrets) continue;
          const fill = type === Zero || bytes === undefined ? 0 : bytes[0];
          expect(contentOf(it, Number(gpa) + at, 8)).toEqual(new Uint8Array(8).fill(fill!));
        }
      }
      for (let page = 0; page < (14 * MiB) / PAGE_SIZE; page += 1)
        expect(it.guest.nested.lookup(physAddr(page * PAGE_SIZE)) !== undefined).toBe(mapped.has(page));
    }),
    { numRuns: 15 },
  );
});

describe('pages of a launch', () => {
  const low = part(0, 4 * MiB, false);

  // L7
  test('of type SECRETS get the keys of the guest, which the host does not know', () => {
    const pages = [0x1000, 0x5000].map((gpa) => ({ type: Secrets, gpa: physAddr(gpa) }));
    const machine = new SnpMachine({ memorySize: 32 * MiB });
    const [a, b] = [launch({ memory: [low], pages }, machine), launch({ memory: [low], pages }, machine)];
    const first = decodeSecretsPage(contentOf(a, 0x1000, PAGE_SIZE));
    expect(first).toMatchObject({ version: 3, imi: false, svsm: undefined, tscFactor: 200 });
    expect(contentOf(a, 0x5000, PAGE_SIZE)).toEqual(contentOf(a, 0x1000, PAGE_SIZE));
    const keys = [...first.vmpcks, ...decodeSecretsPage(contentOf(b, 0x1000, PAGE_SIZE)).vmpcks].map(hex);
    expect(new Set(keys).size).toBe(8);
    const seen = hex(machine.hypervisor.read(a.guest.nested.lookup(physAddr(0x1000))!.spa, PAGE_SIZE));
    for (const key of keys) expect(seen).not.toContain(key);
  });

  // L8
  test('of type CPUID have the table of the hypervisor, if the firmware accepts it', () => {
    const entry = { eaxIn: 1, ecxIn: 0, xcr0: 0n, xss: 0n, eax: 0xa1_0f11, ebx: 0, ecx: 0, edx: 0 };
    const table = encodeCpuidPage([entry, { ...entry, eaxIn: 0x4000_0000 }]);
    const at = (bytes: Uint8Array): LaunchOptions => ({
      memory: [low],
      pages: [{ type: Cpuid, gpa: physAddr(0x1000), bytes }],
    });
    const it = launch(at(table));
    expect(contentOf(it, 0x1000, PAGE_SIZE)).toEqual(table);
    const changed = (offset: number, value: number): Uint8Array => {
      const bytes = table.slice();
      bytes[offset] = value;
      return bytes;
    };
    for (const bytes of [changed(0, 65), changed(4, 1), changed(15, 1), changed(0x10 + 0x2f, 1)]) {
      expect(thrownBy(() => launch(at(bytes)))).toMatchObject({
        code: 'FIRMWARE_REFUSED',
        details: { status: 'INVALID_PARAM', state: 'PRE-GUEST' },
      });
    }
    // A function of a hypervisor is not checked, and neither is what follows the last entry.
    for (const bytes of [changed(0x40 + 0x2f, 1), changed(0x70 + 0x2f, 1)]) launch(at(bytes));
  });

  test('of type VMSA are processors with the next APIC ids, at their levels, and run', () => {
    const [a, b, c] = [0, 1, 2].map((vmpl) => createVmsa({ vmpl: vmpl as 0 }));
    const pages: LaunchPage[] = [
      { type: Vmsa, gpa: physAddr(0x3000), bytes: a! },
      { type: Normal, gpa: physAddr(0x1000), bytes: new Uint8Array(PAGE_SIZE) },
      { type: Vmsa, gpa: physAddr(64 * MiB), bytes: b! },
    ];
    const { machine, guest } = launch({ memory: [low], pages, vmsas: [c!] });
    const started: number[] = [];
    guest.onStart((vcpu) => started.push(vcpu.vmpl));
    for (const [apicId, vmpl] of [0, 1, 2].entries()) machine.hypervisor.run(guest, apicId, vmpl);
    expect(started).toEqual([0, 1, 2]);
    expect(guest.nested.lookup(physAddr(0x3000))?.spa).toBe(machine.hypervisor.vmsaOf(guest, 0)?.spa);
    expect(machine.rmp.entry(machine.hypervisor.vmsaOf(guest, 1, 1)!.spa)).toMatchObject({
      vmsa: true,
      gpa: BigInt(64 * MiB),
    });
    expect(guest.nested.lookup(physAddr(64 * MiB))).toBeUndefined();
    const take = (): void => requestPageState(guest.createVcpu(), physAddr(0x3000), PageOperation.Shared);
    expect(thrownBy(take)).toMatchObject({ code: 'PAGE_IN_USE', details: { use: 'VMSA' } });
  });

  test('at the last page below 2^48 do not meet the VMSAs there', () => {
    const top = 2 ** 48 - 4 * MiB;
    const last = { type: Normal, gpa: VMSA_LAUNCH_GPA, bytes: new Uint8Array(PAGE_SIZE).fill(3) };
    const it = launch({ memory: [part(top, 4 * MiB, false)], pages: [last], vmsas: [createVmsa()] });
    expect(contentOf(it, 2 ** 48 - PAGE_SIZE, 1)).toEqual(Uint8Array.of(3));
    expect(it.machine.hypervisor.vmsaOf(it.guest, 0)?.gpa).toBe(VMSA_LAUNCH_GPA);
  });

  test('come before the rest of validated memory, which has the image', () => {
    const it = launch({
      memory: [part(0, 4 * MiB, true)],
      pages: [{ type: Unmeasured, gpa: physAddr(MiB), bytes: new Uint8Array(PAGE_SIZE).fill(9) }],
      image: [{ gpa: physAddr(MiB - 4), bytes: bytesOf('rest') }],
    });
    expect(contentOf(it, MiB - 4, 6)).toEqual(Uint8Array.of(...bytesOf('rest'), 9, 9));
    expect(contentOf(it, MiB + PAGE_SIZE, 1)).toEqual(Uint8Array.of(0));
  });

  test('are zeros in frames that had another use before', async () => {
    const machine = new SnpMachine({ memorySize: 32 * MiB });
    const { hypervisor } = machine;
    const first = launch({ memory: [part(0, PAGE_SIZE, true), part(GiB, 2 * MiB, false)] }, machine);
    hypervisor.changePageState(first.guest, physAddr(GiB), 1);
    // The nested page table gives back two tables, with the words of their entries.
    first.guest.nested.unmap(physAddr(GiB));
    const second = launch({ memory: [part(0, 16 * PAGE_SIZE, true)] }, machine);
    expect(contentOf(second, 0, 16 * PAGE_SIZE)).toEqual(new Uint8Array(16 * PAGE_SIZE));
    const page = { type: Normal, gpa: physAddr(0), bytes: new Uint8Array(16 * PAGE_SIZE) };
    expect(await digestOf(second)).toBe(hex(await launchDigestOf([page], sha384)));
  });

  const normal = { type: Normal, gpa: physAddr(0x1000), bytes: new Uint8Array(PAGE_SIZE) };
  test.each<[string, LaunchOptions['pages'] | unknown, string]>([
    ['that are not a list', 5, 'INVALID_ARGUMENT'],
    ['that are not pages', [undefined], 'INVALID_ARGUMENT'],
    ['of another type', [{ ...normal, type: 7 }], 'INVALID_ARGUMENT'],
    ['without bytes', [{ type: Normal, gpa: physAddr(0) }], 'INVALID_ARGUMENT'],
    ['with a part of a page', [{ ...normal, bytes: new Uint8Array(100) }], 'INVALID_ARGUMENT'],
    [
      'at an address that is not a multiple of 4096',
      [{ ...normal, gpa: physAddr(0x1800) }],
      'INVALID_ARGUMENT',
    ],
    ['outside of memory', [{ ...normal, gpa: physAddr(4 * MiB) }], 'INVALID_ARGUMENT'],
    [
      'partly outside of memory',
      [{ type: Zero, gpa: physAddr(4 * MiB - PAGE_SIZE), size: 2 * PAGE_SIZE }],
      'INVALID_ARGUMENT',
    ],
    ['twice', [normal, { ...normal, type: Cpuid }], 'INVALID_ARGUMENT'],
    [
      'across a VMSA in memory',
      [
        { type: Zero, gpa: physAddr(0), size: 0x4000 },
        { type: Vmsa, gpa: physAddr(0x3000), bytes: createVmsa() },
      ],
      'INVALID_ARGUMENT',
    ],
    ['beyond 2^48', [{ type: Vmsa, gpa: physAddr(2n ** 48n), bytes: createVmsa() }], 'INVALID_ARGUMENT'],
    ['of 8 KiB with secrets', [{ type: Secrets, gpa: physAddr(0), size: 0x2000 }], 'INVALID_ARGUMENT'],
    ['with masks of 9 bits', [{ ...normal, permissions: [0, 0x100, 0] }], 'INVALID_MESSAGE'],
    ['with two masks', [{ ...normal, permissions: [0, 0] }], 'INVALID_MESSAGE'],
    ['with another imi', [{ ...normal, imi: 1 }], 'INVALID_MESSAGE'],
  ])('%s are refused, and nothing is launched', (_, pages, code) => {
    const machine = new SnpMachine({ memorySize: 32 * MiB });
    const before = snapshot(machine.rmp);
    expect(codeOf(() => launch({ memory: [low], pages: pages as never }, machine))).toBe(code);
    expect(
      codeOf(() => launch({ memory: [low], image: [{ gpa: physAddr(0), bytes: bytesOf('a') }] }, machine)),
    ).toBe('INVALID_ARGUMENT');
    expect(snapshot(machine.rmp)).toBe(before);
    expect(launch({ memory: [low], pages: [normal] }, machine).guest.asid).toBe(1);
  });

  test('beyond 2^48 are refused by their address, and what is not a list with its cause', () => {
    const beyond = [{ type: Vmsa, gpa: physAddr(2n ** 48n), bytes: createVmsa() }];
    const refused = thrownBy(() => launch({ memory: [low], pages: beyond }));
    expect(refused).toMatchObject({
      details: { what: 'the address of a page', value: 2n ** 48n, expected: 'pages end below 2^48' },
    });
    expect(refused).not.toHaveProperty('cause');
    expect(thrownBy(() => launch({ memory: [low], pages: 5 as never }))).toMatchObject({
      details: { what: 'pages', value: 5 },
      cause: { message: 'not a list' },
    });
  });

  // By hand: 1536 pages, the root, the context, and the tables below the root. The first 4 MiB have two tables of 4 KiB pages
  // and one table for each level above; the 2 MiB at 2^40 have one table for each level.
  test.each([
    [PageSize.Regular, 4, 1536 + 2 + 4 + 3],
    [PageSize.Huge, 4, 1536 + 2 + 2 + 2],
    [PageSize.Regular, 5, 1536 + 2 + 5 + 4],
    [PageSize.Huge, 5, 1536 + 2 + 3 + 3],
  ] as const)('in units of %i bytes and %i nested levels need %i pages', (pageSize, nestedLevels, pages) => {
    const memory = [part(0, 4 * MiB, true), part(2 ** 40, 2 * MiB, true)];
    const { hypervisor } = new SnpMachine({ memorySize: 4 * MiB });
    const refused = thrownBy(() => hypervisor.launch({ memory, pageSize, nestedLevels }));
    expect(refused?.details['needed']).toBe(BigInt(pages * PAGE_SIZE));
  });

  test('need a machine with memory for all of them, counted before the launch', () => {
    const options: LaunchOptions = {
      memory: [part(0, 4 * MiB, false), part(GiB, 4 * MiB, true), part(2 ** 40, 2 * MiB, false)],
      pages: [
        normal,
        { type: Zero, gpa: physAddr(2 ** 40), size: 5 * PAGE_SIZE },
        { type: Vmsa, gpa: VMSA_LAUNCH_GPA, bytes: createVmsa() },
      ],
      vmsas: [createVmsa(), createVmsa()],
    };
    const { hypervisor } = new SnpMachine({ memorySize: 8 * MiB });
    let free = 0;
    while (codeOf(() => hypervisor.allocatePage()) === undefined) free += 1;
    for (const pageSize of [PageSize.Regular, PageSize.Huge] as const) {
      const refused = thrownBy(() =>
        launch({ ...options, pageSize }, new SnpMachine({ memorySize: 4 * MiB })),
      );
      expect(refused?.code).toBe('OUT_OF_MEMORY');
      const needed = Number(refused?.details['needed']) / PAGE_SIZE;
      for (const isEnough of [true, false]) {
        const machine = new SnpMachine({ memorySize: 8 * MiB });
        for (let left = isEnough ? needed : needed - 1; left < free; left += 1)
          machine.hypervisor.allocatePage();
        const before = snapshot(machine.rmp);
        expect(codeOf(() => launch({ ...options, pageSize }, machine))).toBe(
          isEnough ? undefined : 'OUT_OF_MEMORY',
        );
        expect(snapshot(machine.rmp) === before).toBe(!isEnough);
      }
    }
  });
});
