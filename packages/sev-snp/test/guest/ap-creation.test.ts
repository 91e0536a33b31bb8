import { physAddr, virtAddr } from '@svsm/address';
import { virtRegion } from '@svsm/memory-region';
import { PteFlags, PtePreset, pagingMode, Tlb } from '@svsm/pagetable';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { ControlBit } from '../../src/cpu/vcpu-registers.ts';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { CPU_SIGNATURES } from '../../src/formats/cpu-signature.ts';
import { LaunchPageType } from '../../src/formats/launch-digest.ts';
import { createResetVmsa } from '../../src/formats/reset-vmsa.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import {
  ApRequest,
  decodeApCreation,
  encodeApCreation,
  makeVmsa,
  requestAp,
  unmakeVmsa,
} from '../../src/guest/ap-creation.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { makePageShared, releasePage } from '../../src/guest/page-visibility.ts';
import { makeRegionShared } from '../../src/guest/region-visibility.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import { bytesOf, codeOf, gvaOf, MiB, spaOf, textOf, thrownBy, type World, world } from '../support/world.ts';

const { Cr0Pe, Cr0Pg, Cr4Pae, EferLma, EferLme, EferNxe } = ControlBit;

function bytesEqual(bytes: Uint8Array, text: string): boolean {
  return textOf(bytes) === text;
}

const VMSA = 4 * MiB + 0x1000;
const creation = { request: ApRequest.Create, apicId: 1, vmpl: 0, vmsa: physAddr(VMSA), sevFeatures: 1n };

describe('the request', () => {
  // GHCB exit 0x8000_0013
  test('has 32 bits of APIC id, 4 of VMPL and 16 of the request; then the VMSA and its features', () => {
    expect(encodeApCreation({ ...creation, vmpl: 2, apicId: 0xabcd })).toEqual({
      info1: 0xabcd_0002_0001n,
      info2: BigInt(VMSA),
      rax: 1n,
    });
  });

  test('is decoded as it was encoded; other values are undefined', () => {
    const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(u64, u64, u64, (info1, info2, rax) => {
        const decoded = decodeApCreation(info1 & 0xffff_ffff_000f_0003n, info2 & 0xf_ffff_ffff_f000n, rax);
        if (decoded === undefined) expect(info1 & 3n).toBe(3n);
        else if (decoded.vmpl < 4)
          expect(encodeApCreation(decoded).info1).toBe(info1 & 0xffff_ffff_000f_0003n);
        decodeApCreation(info1, info2, rax);
      }),
    );
    expect(decodeApCreation(3n, 0n, 1n)).toBeUndefined();
    expect(decodeApCreation(0x10_0001n, 0n, 1n)).toBeUndefined();
    expect(decodeApCreation(1n, 5n, 1n)).toBeUndefined();
  });

  // GHCB exit 0x8000_0013
  test.each<[string, object]>([
    ['request', { request: 3 }],
    ['apicId', { apicId: 2 ** 32 }],
    ['vmpl', { vmpl: 4 }],
    ['vmsa', { vmsa: 0x1001n }],
    ['sevFeatures', { sevFeatures: -1n }],
    ['sevFeatures', { sevFeatures: 5 }],
    ['sevFeatures', { sevFeatures: 1n << 64n }],
    ['sevFeatures', { sevFeatures: undefined }],
  ])('with a %s that does not fit is refused', (field, change) => {
    expect(thrownBy(() => encodeApCreation({ ...creation, ...change } as never))?.details).toMatchObject({
      field,
    });
  });
});

function ready(): { it: World; ghcb: Ghcb } {
  const it = world();
  return { it, ghcb: Ghcb.create(it.vcpu, it.table, gvaOf(6 * MiB)) };
}

describe('a second processor', () => {
  // GHCB exit 0x8000_0013
  test('runs a VMSA that the guest has made, with its own page table and TLB', () => {
    const { it, ghcb } = ready();
    const started: Vcpu[] = [];
    it.guest.onStart((ap) => {
      started.push(ap);
      ap.write(gvaOf(2 * MiB), bytesOf('second'));
    });
    it.vcpu.write(gvaOf(2 * MiB), bytesOf('first!'));
    it.vcpu.pvalidate(gvaOf(VMSA), 0x1000, true); // has the hypervisor split the page
    makeVmsa(it.vcpu, gvaOf(VMSA), createVmsa({ control: { cr3: it.table.cr3 } }));
    requestAp(ghcb, creation);
    it.machine.hypervisor.run(it.guest, 1);
    expect(started.map(({ vmpl, cr3 }) => [vmpl, cr3])).toEqual([[0, it.table.cr3]]);
    expect(it.vcpu.read(gvaOf(2 * MiB), 6)).toEqual(bytesOf('second'));
    expect(started[0]).not.toBe(it.vcpu);

    requestAp(ghcb, { ...creation, request: ApRequest.Destroy });
    expect(codeOf(() => it.machine.hypervisor.run(it.guest, 1))).toBe('INVALID_ARGUMENT');
    unmakeVmsa(it.vcpu, gvaOf(VMSA));
  });

  // P82
  test.each([
    ['of QEMU', 'qemu'],
    ['of EC2', 'ec2'],
    ['of GCE', 'gce'],
  ] as const)('starts a processor in real mode, with the VMSA %s, which goes to long mode', (_, vmm) => {
    const { it, ghcb } = ready();
    it.table.map2m(virtAddr(2 * MiB), physAddr(2 * MiB), PtePreset.Data - PteFlags.NoExecute);
    it.vcpu.write(gvaOf(2 * MiB), bytesOf('private'));
    it.vcpu.pvalidate(gvaOf(VMSA), 0x1000, true);
    const eip = 2 * MiB;
    makeVmsa(it.vcpu, gvaOf(VMSA), createResetVmsa({ vmm, eip, cpuSignature: CPU_SIGNATURES['EPYC-Milan'] }));
    requestAp(ghcb, creation);
    const low = virtAddr(2 * MiB);
    const seen: unknown[] = [];
    it.guest.onCreateVcpu((request) => it.guest.createVcpu({ ...request, tlb: new Tlb() }));
    it.guest.onStart((ap) => {
      const look = (mode: string, at = low): void => {
        const { cr0, efer } = ap.controlRegisters;
        const paging = pagingMode({ ...ap.controlRegisters, csL: ap.csL });
        // The first instruction, and the state of the register machine, in each mode.
        seen.push([
          mode,
          bytesEqual(ap.read(at, 7), 'private'),
          bytesEqual(ap.fetch(at, 7), 'private'),
          paging,
        ]);
        expect((efer & EferLma) !== 0n).toBe((cr0 & Cr0Pg) !== 0n);
      };
      const { cr0, cr4, efer } = ap.controlRegisters;
      look('real');
      ap.load('cr0', cr0 | Cr0Pe);
      look('protected');
      ap.load('cr4', cr4 | Cr4Pae);
      ap.load('cr3', it.table.root);
      ap.load('efer', efer | EferLme | EferNxe);
      look('before paging');
      ap.load('cr0', cr0 | Cr0Pe | Cr0Pg);
      look('compatibility');
      ap.csL = true;
      look('64-bit', gvaOf(2 * MiB));
      ap.write(gvaOf(2 * MiB), bytesOf('written'));
    });
    it.machine.hypervisor.run(it.guest, 1);
    expect(seen).toEqual([
      ['real', true, true, 'none'],
      ['protected', true, true, 'none'],
      ['before paging', true, true, 'none'],
      ['compatibility', true, true, '4-level'],
      ['64-bit', true, true, '4-level'],
    ]);
    expect(it.vcpu.read(gvaOf(2 * MiB), 7)).toEqual(bytesOf('written'));
  });

  // GHCB exit 0x8000_0013
  test('waits for an INIT if the request asks for it', () => {
    const { it, ghcb } = ready();
    const host = it.machine.hypervisor;
    it.vcpu.pvalidate(gvaOf(VMSA), 0x1000, true);
    makeVmsa(it.vcpu, gvaOf(VMSA), createVmsa());
    requestAp(ghcb, { ...creation, request: ApRequest.CreateOnInit });
    expect(host.vmsaOf(it.guest, 1)).toBeUndefined();
    host.init(it.guest, 1);
    expect(host.vmsaOf(it.guest, 1)).toMatchObject({ gpa: BigInt(VMSA) });
  });

  // A16
  test('a page that is not a VMSA, or not any more, is not run', () => {
    const { it, ghcb } = ready();
    it.vcpu.write(gvaOf(VMSA), createVmsa());
    requestAp(ghcb, creation);
    expect(thrownBy(() => it.machine.hypervisor.run(it.guest, 1))).toMatchObject({ code: 'VMRUN' });
    it.vcpu.pvalidate(gvaOf(VMSA), 0x1000, true);
    makeVmsa(it.vcpu, gvaOf(VMSA), createVmsa());
    it.machine.hypervisor.run(it.guest, 1);
    unmakeVmsa(it.vcpu, gvaOf(VMSA));
    expect(codeOf(() => it.machine.hypervisor.run(it.guest, 1))).toBe('VMRUN');
  });

  // A16
  test('a VMSA is not shared before unmakeVmsa, because a rescinded one can still run', () => {
    const { it, ghcb } = ready();
    const [page, region] = [gvaOf(VMSA), virtRegion(gvaOf(VMSA - 0x1000), 0x3000)];
    it.vcpu.pvalidate(page, 0x1000, true);
    makeVmsa(it.vcpu, page, createVmsa());
    for (const share of [
      () => makePageShared(it.vcpu, it.table, page),
      () => releasePage(it.vcpu, it.table, page),
      () => makeRegionShared(ghcb, it.table, region),
    ]) {
      expect(thrownBy(share)).toMatchObject({
        code: 'PAGE_IN_USE',
        details: { gpa: BigInt(VMSA), use: 'VMSA' },
      });
    }
    expect(it.machine.rmp.entry(spaOf(it, VMSA))).toMatchObject({ vmsa: true, validated: true });
    unmakeVmsa(it.vcpu, page);
    makeRegionShared(ghcb, it.table, region);
    expect(it.table.lookup(page)?.shared).toBe(true);

    const other = ready();
    other.it.vcpu.pvalidate(page, 0x1000, true);
    makeVmsa(other.it.vcpu, page, createVmsa());
    other.it.vcpu.pvalidate(page, 0x1000, false);
    requestAp(other.ghcb, creation);
    expect(() => other.it.machine.hypervisor.run(other.it.guest, 1)).not.toThrow();
  });

  // R25, G5
  test.each<[string, Partial<typeof creation>]>([
    ['at a multiple of 2 MiB', { vmsa: physAddr(4 * MiB) }],
    ['outside the guest', { vmsa: physAddr(64 * MiB + 0x1000) }],
    ['without SNP', { sevFeatures: 2n }],
  ])('the hypervisor refuses a VMSA %s', (_, change) => {
    const { ghcb } = ready();
    expect(thrownBy(() => requestAp(ghcb, { ...creation, ...change }))).toMatchObject({
      code: 'VMGEXIT_FAILED',
      details: { info1: 2n, info2: 5n },
    });
  });

  // G4, G5
  test('the hypervisor refuses to destroy a VMSA that does not exist, and a request without RAX', () => {
    const { ghcb } = ready();
    expect(codeOf(() => requestAp(ghcb, { ...creation, request: ApRequest.Destroy }))).toBe('VMGEXIT_FAILED');
    for (const request of [ApRequest.Create, ApRequest.CreateOnInit]) {
      const { info1, info2 } = encodeApCreation({ ...creation, request });
      expect(thrownBy(() => ghcb.vmgexit({ exitCode: 0x8000_0013n, info1, info2 }))?.details).toMatchObject({
        info2: 4n,
      });
    }
  });

  // GHCB exit 0x8000_0013
  test('destroys a VMSA without RAX and without its address', () => {
    const { it, ghcb } = ready();
    const { hypervisor } = it.machine;
    requestAp(ghcb, creation);
    expect(hypervisor.vmsaOf(it.guest, creation.apicId)).toBeDefined();
    const { info1 } = encodeApCreation({ ...creation, request: ApRequest.Destroy });
    ghcb.vmgexit({ exitCode: 0x8000_0013n, info1, info2: 0x1234n });
    expect(hypervisor.vmsaOf(it.guest, creation.apicId)).toBeUndefined();
    requestAp(ghcb, creation);
    requestAp(ghcb, { ...creation, request: ApRequest.Destroy });
    expect([hypervisor.vmsaOf(it.guest, creation.apicId), ghcb.page.isValid('rax')]).toEqual([
      undefined,
      false,
    ]);
  });

  // A9, I14
  test('makeVmsa takes the rights of all other levels, and returns them if it fails', () => {
    const { it } = ready();
    it.vcpu.pvalidate(gvaOf(VMSA), 0x1000, true);
    for (const vmpl of [1, 2, 3]) it.vcpu.rmpadjust(gvaOf(VMSA), 0x1000, { vmpl, permissions: 0xf });
    const masks = () => it.machine.rmp.entry(spaOf(it, VMSA))!.vmplMasks.slice(1);
    const write = it.vcpu.write.bind(it.vcpu);
    it.vcpu.write = () => {
      throw new Error('a callback');
    };
    expect(() => makeVmsa(it.vcpu, gvaOf(VMSA), createVmsa())).toThrow('a callback');
    expect(masks()).toEqual([0xf, 0xf, 0xf]);
    it.vcpu.write = (gva, bytes) => {
      // Nobody else can write to the page any more when the image is written.
      expect(masks()).toEqual([0, 0, 0]);
      write(gva, bytes);
    };
    makeVmsa(it.vcpu, gvaOf(VMSA), createVmsa());
    expect(masks()).toEqual([0, 0, 0]);
    it.vcpu.write = write;
    unmakeVmsa(it.vcpu, gvaOf(VMSA));
    expect(masks()).toEqual([0, 0, 0]);
  });

  // R25
  test('makeVmsa refuses a multiple of 2 MiB by its guest-physical address, whatever its virtual one is', () => {
    const { it } = ready();
    const alias = virtAddr(0xffff_9000_0000_0000n);
    it.table.map4k(alias, physAddr(VMSA), PtePreset.Data);
    const other = virtAddr(alias + 0x1000n);
    it.table.map4k(other, physAddr(4 * MiB), PtePreset.Data);
    it.vcpu.pvalidate(gvaOf(VMSA), 0x1000, true);
    makeVmsa(it.vcpu, alias, createVmsa());
    expect(it.machine.rmp.entry(spaOf(it, VMSA))?.vmsa).toBe(true);
    expect(codeOf(() => makeVmsa(it.vcpu, other, createVmsa()))).toBe('INVALID_ARGUMENT');
  });

  // R25, I14
  test.each([0x10, 0xff0, 0x1001])(
    'makeVmsa refuses an address that is misaligned by 0x%x, and writes nothing',
    (offset) => {
      const { it } = ready();
      for (const page of [VMSA, 4 * MiB]) {
        expect(
          codeOf(() => makeVmsa(it.vcpu, virtAddr(gvaOf(page) + BigInt(offset % 0x1000)), createVmsa())),
        ).toBe('INVALID_ARGUMENT');
        expect(it.machine.rmp.entry(spaOf(it, page))?.vmsa).toBe(false);
        expect(it.vcpu.read(gvaOf(page), 0x2000)).toEqual(new Uint8Array(0x2000));
      }
    },
  );

  // I14
  test('makeVmsa refuses a page that cannot be a VMSA, and reports the result of RMPADJUST', () => {
    const { it } = ready();
    expect(codeOf(() => makeVmsa(it.vcpu, gvaOf(4 * MiB), createVmsa()))).toBe('INVALID_ARGUMENT');
    expect(codeOf(() => makeVmsa(it.vcpu, gvaOf(VMSA), new Uint8Array(8)))).toBe('INVALID_ARGUMENT');
    const above = it.guest.createVcpu({ vmpl: 1 });
    above.loadCr3(it.table.cr3);
    it.vcpu.pvalidate(gvaOf(VMSA), 0x1000, true);
    for (let gpa = 0; gpa < 8 * MiB; gpa += 2 * MiB) {
      if (gpa === 4 * MiB || gpa === 6 * MiB) continue;
      it.vcpu.rmpadjust(gvaOf(gpa), 0x20_0000, { vmpl: 1, permissions: 0xf });
    }
    it.vcpu.rmpadjust(gvaOf(VMSA), 0x1000, { vmpl: 1, permissions: 0xf });
    // At VMPL1 the false success becomes an error: for that the request names VMPL1.
    expect(thrownBy(() => makeVmsa(above, gvaOf(VMSA), createVmsa()))).toMatchObject({
      code: 'RMPADJUST_FAILED',
      details: { result: 2 },
    });
  });

  // A16
  test('a VMSA of the launch is not shared before unmakeVmsa', () => {
    const page = { type: LaunchPageType.Vmsa, gpa: physAddr(VMSA), bytes: createVmsa() };
    const it = world({}, { pages: [page] });
    const share = () => makePageShared(it.vcpu, it.table, gvaOf(VMSA));
    expect(codeOf(share)).toBe('PAGE_IN_USE');
    unmakeVmsa(it.vcpu, gvaOf(VMSA));
    share();
    expect(it.table.lookup(gvaOf(VMSA))?.shared).toBe(true);
  });

  test('makeVmsa refuses a page that is a VMSA already, and changes nothing', () => {
    const { it } = ready();
    makeVmsa(it.vcpu, gvaOf(VMSA), createVmsa());
    const before = it.vcpu.read(gvaOf(VMSA), 0x1000);
    expect(codeOf(() => makeVmsa(it.vcpu, gvaOf(VMSA), new Uint8Array(0x1000).fill(7)))).toBe('PAGE_IN_USE');
    expect(it.vcpu.read(gvaOf(VMSA), 0x1000)).toEqual(before);
  });

  // A16
  test('a page that the hypervisor hides at the end of a makeVmsa that fails is treated as a VMSA', () => {
    let adjusted = 0;
    let last = (): void => {};
    const it = world({
      hypervisor: (machine) => new HostileHypervisor(machine),
      trace: ({ type }) => {
        if (type === 'rmpadjust' && ++adjusted === 4) last();
      },
    });
    const host = it.machine.hypervisor as HostileHypervisor;
    const gpa = physAddr(VMSA);
    host.splitPage(it.guest, gpa);
    let spa: SysPhysAddr | undefined;
    last = () => {
      spa = host.hide(it.guest, gpa);
      throw new Error('a callback');
    };
    expect(() => makeVmsa(it.vcpu, gvaOf(VMSA), createVmsa())).toThrow('a callback');
    host.remap(it.guest, gpa, spa!);
    expect(it.machine.rmp.entry(spa!)?.vmsa).toBe(true);
    expect(codeOf(() => makePageShared(it.vcpu, it.table, gvaOf(VMSA)))).toBe('PAGE_IN_USE');
    unmakeVmsa(it.vcpu, gvaOf(VMSA));
    expect(it.machine.rmp.entry(spa!)?.vmsa).toBe(false);
    makePageShared(it.vcpu, it.table, gvaOf(VMSA));
  });

  test('unmakeVmsa is refused while the VMSA runs, so no exit writes into the page afterwards', () => {
    const { it, ghcb } = ready();
    makeVmsa(it.vcpu, gvaOf(VMSA), createVmsa());
    requestAp(ghcb, creation);
    const codes: unknown[] = [];
    it.guest.onStart((ap) => {
      requestAp(ghcb, { ...creation, request: ApRequest.Destroy });
      ap.registers.rax = 0x4141n;
      codes.push(codeOf(() => unmakeVmsa(it.vcpu, gvaOf(VMSA))));
    });
    it.machine.hypervisor.run(it.guest, 1);
    expect(codes).toEqual(['PAGE_IN_USE']);
    expect(it.machine.rmp.entry(spaOf(it, VMSA))?.vmsa).toBe(true);
    unmakeVmsa(it.vcpu, gvaOf(VMSA));
    it.vcpu.clear(gvaOf(VMSA), 0x1000);
    expect(it.vcpu.read(gvaOf(VMSA), 0x1000)).toEqual(new Uint8Array(0x1000));
  });
});
