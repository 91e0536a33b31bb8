/** Calls between privilege levels: a caller uses an SVSM only for what the caller may do itself. */
import { PAGE_SIZE, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { SvsmCall, SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { vmsaImage } from '../support/svsm-steps.ts';
import {
  CAA,
  call,
  entryOf,
  pvalidateList,
  type SvsmWorld,
  svsmWorld,
  writeList,
} from '../support/svsm-world.ts';
import { codeOf, gvaOf, MiB, spaOf } from '../support/world.ts';

const { Success, InvalidAddress, PvalidateUnchanged } = SvsmResult;
/** A page that only VMPL1 may use, with a secret, and an ordinary page. */
const SECRET = 6 * MiB + 0x1000;
const FREE = 6 * MiB + 0x2000;

interface Levels extends SvsmWorld {
  readonly vmpl1: Vcpu;
}

function levels(isSplit = true): Levels {
  const it = svsmWorld();
  const { vcpu } = it;
  if (isSplit) it.machine.hypervisor.splitPage(it.guest, physAddr(6 * MiB));
  const vmpl1 = it.guest.createVcpu({ vmpl: 1 });
  vmpl1.loadCr3(it.guestCpu.cr3);
  vmpl1.write(gvaOf(SECRET), vmsaImage());
  if (isSplit) vcpu.rmpadjust(gvaOf(SECRET), PAGE_SIZE, { vmpl: 2, permissions: 0 });
  it.svsm.register(vmpl1, physAddr(4 * MiB + 0x8000));
  return { ...it, vmpl1 };
}

const masks = (it: SvsmWorld, gpa: number) => it.machine.rmp.entry(spaOf(it, gpa))!.vmplMasks.slice(1);

// S12
test('REMAP_CA does not write to an old area that VMPL1 has taken from the caller', () => {
  const it = levels();
  expect(call(it, SvsmCall.RemapCa, { rcx: BigInt(FREE) })).toBe(Success);
  it.vmpl1.write(gvaOf(FREE), Uint8Array.of(7));
  expect(it.vmpl1.rmpadjust(gvaOf(FREE), PAGE_SIZE, { vmpl: 2, permissions: 0 })).toBe(0);
  expect(call(it, SvsmCall.RemapCa, { rcx: BigInt(CAA) })).toBe(InvalidAddress);
  expect(it.vmpl1.read(gvaOf(FREE), 1)).toEqual(Uint8Array.of(7));
});

// S12, A14
test.each<[string, (it: Levels) => number | [number, number]]>([
  ['rescind it', (it) => pvalidateList(it, [entryOf(SECRET, { validate: false })])],
  ['have it cleared and opened', (it) => pvalidateList(it, [entryOf(SECRET, { ignoreUnchanged: true })])],
  [
    'deposit it',
    (it) => {
      writeList(it, [entryOf(SECRET, { validate: false })]);
      return call(it, SvsmCall.DepositMem, { rcx: BigInt(CAA + 8) });
    },
  ],
  ['make it a VMSA', (it) => call(it, SvsmCall.CreateVcpu, { rcx: BigInt(SECRET), rdx: BigInt(FREE) })],
  [
    'make it the calling area of a VMSA',
    (it) => {
      it.guestCpu.write(gvaOf(FREE), vmsaImage());
      return call(it, SvsmCall.CreateVcpu, { rcx: BigInt(FREE), rdx: BigInt(SECRET) });
    },
  ],
  ['make it a calling area', (it) => call(it, SvsmCall.RemapCa, { rcx: BigInt(SECRET) })],
  ['have deposits written to it', (it) => call(it, SvsmCall.WithdrawMem, { rcx: BigInt(SECRET) })],
  [
    'have it read as a list',
    (it) => {
      it.vmpl1.write(gvaOf(SECRET), Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 8, 0x20, 0x60));
      return call(it, SvsmCall.Pvalidate, { rcx: BigInt(SECRET) });
    },
  ],
])('a caller at VMPL2 cannot %s, if only VMPL1 may use a page', (_, attack) => {
  const it = levels();
  const before = () => [masks(it, SECRET), masks(it, FREE), it.state.validated.size, it.state.vcpus];
  const [old, content] = [before(), it.vmpl1.read(gvaOf(SECRET), PAGE_SIZE)];
  expect([attack(it)].flat()[0]).toBe(InvalidAddress);
  expect(before()).toEqual(old);
  if (!_.includes('list')) expect(it.vmpl1.read(gvaOf(SECRET), PAGE_SIZE)).toEqual(content);
  expect(codeOf(() => it.guestCpu.read(gvaOf(SECRET), 1))).toBe('NPF');
});

// S12
test('a page with read access alone is not rescinded for the caller', () => {
  const it = levels();
  it.vcpu.rmpadjust(gvaOf(SECRET), PAGE_SIZE, { vmpl: 2, permissions: 1 });
  expect(pvalidateList(it, [entryOf(SECRET, { validate: false })])).toEqual([InvalidAddress, 0]);
  expect(masks(it, SECRET)).toEqual([0xf, 1, 0]);
});

describe('a page of VMPL1', () => {
  const rescind = (it: Levels, gpa = SECRET, size = 0): number => {
    const area = 4 * MiB + 0x8000;
    writeList(it, [entryOf(gpa, { validate: false, size })], area + 8);
    return call(it, SvsmCall.Pvalidate, { rcx: BigInt(area + 8) }, it.vmpl1);
  };

  // S12
  test('that VMPL1 has rescinded is validated for VMPL1, and not for VMPL2', () => {
    const it = levels();
    expect(rescind(it)).toBe(Success);
    expect(pvalidateList(it, [entryOf(SECRET)])).toEqual([InvalidAddress, 0]);
    expect(pvalidateList(it, [entryOf(SECRET, { ignoreUnchanged: true })])).toEqual([InvalidAddress, 0]);
    writeList(it, [entryOf(SECRET)], 4 * MiB + 0x8008);
    expect(call(it, SvsmCall.Pvalidate, { rcx: BigInt(4 * MiB + 0x8008) }, it.vmpl1)).toBe(Success);
    expect(masks(it, SECRET)).toEqual([0xf, 0, 0]);
  });

  // S12, SVSM call 5
  test('that VMPL1 has deposited is withdrawn by VMPL1, and not by VMPL2', () => {
    const it = levels();
    const area = 4 * MiB + 0x8000;
    writeList(it, [entryOf(SECRET, { validate: false })], area + 8);
    expect(call(it, SvsmCall.DepositMem, { rcx: BigInt(area + 8) }, it.vmpl1)).toBe(Success);
    const withdrawn = (vcpu: Vcpu, at: number): [number, number] => [
      call(it, SvsmCall.WithdrawMem, { rcx: BigInt(at + 8) }, vcpu),
      it.vcpu.read(gvaOf(at + 8), 1)[0]!,
    ];
    expect(withdrawn(it.guestCpu, CAA)).toEqual([Success, 0]);
    expect(withdrawn(it.vmpl1, area)).toEqual([Success, 1]);
    expect(masks(it, SECRET)).toEqual([0xf, 0, 0]);
  });

  // S12, SVSM call 3
  test('in which VMPL1 has a VMSA created is VMPL1’s again, even if VMPL2 deletes the VMSA', () => {
    const it = levels();
    const registers = { rcx: BigInt(SECRET), rdx: BigInt(FREE), r8: 3n };
    expect(call(it, SvsmCall.CreateVcpu, registers, it.vmpl1)).toBe(Success);
    expect(call(it, SvsmCall.DeleteVcpu, { rcx: BigInt(SECRET) })).toBe(Success);
    expect(masks(it, SECRET)).toEqual([0xf, 0, 0]);
  });
});

describe('rights that VMPL1 has taken from VMPL2, and left to VMPL3', () => {
  const PAGES = [PAGE_SIZE, 2 * MiB] as const;
  const AREA3 = 4 * MiB + 0x9000;

  /** A caller at VMPL3 too, on whose page of 4 KiB, or of 2 MiB, VMPL2 has no rights. */
  function closed(
    size: number,
  ): Levels & { readonly vmpl3: Vcpu; readonly page: number; readonly huge: number } {
    const it = levels(size === PAGE_SIZE);
    const page = size === PAGE_SIZE ? SECRET : 6 * MiB;
    const pages = [
      [4 * MiB, 2 * MiB],
      [page, size],
    ] as const;
    for (const [gpa, bytes] of pages) {
      it.vcpu.rmpadjust(gvaOf(gpa), bytes as 4096, { vmpl: 1, permissions: 0xf });
      it.vcpu.rmpadjust(gvaOf(gpa), bytes as 4096, { vmpl: 3, permissions: 0xf });
    }
    it.vmpl1.rmpadjust(gvaOf(page), size as 4096, { vmpl: 2, permissions: 0 });
    const vmpl3 = it.guest.createVcpu({ vmpl: 3 });
    vmpl3.loadCr3(it.guestCpu.cr3);
    it.svsm.register(vmpl3, physAddr(AREA3));
    return { ...it, vmpl3, page, huge: size === PAGE_SIZE ? 0 : 1 };
  }

  const listOf = (it: ReturnType<typeof closed>, caller: Vcpu, id: number, validate: boolean): number => {
    writeList(it, [entryOf(it.page, { validate, size: it.huge })], AREA3 + 8);
    return call(it, id, { rcx: BigInt(AREA3 + 8) }, caller);
  };

  // S12
  test.each(PAGES)('stay taken when VMPL3 rescinds and validates %i bytes', (size) => {
    const it = closed(size);
    expect(masks(it, it.page)).toEqual([0xf, 0, 0xf]);
    expect(listOf(it, it.vmpl3, SvsmCall.Pvalidate, false)).toBe(Success);
    expect(listOf(it, it.guestCpu, SvsmCall.Pvalidate, true)).toBe(InvalidAddress);
    expect(listOf(it, it.vmpl3, SvsmCall.Pvalidate, true)).toBe(Success);
    expect(masks(it, it.page)).toEqual([0xf, 0, 0xf]);
    // The masks are what counts the next time.
    expect(listOf(it, it.vmpl1, SvsmCall.Pvalidate, false)).toBe(Success);
    expect(listOf(it, it.guestCpu, SvsmCall.Pvalidate, true)).toBe(InvalidAddress);
    expect(listOf(it, it.vmpl1, SvsmCall.Pvalidate, true)).toBe(Success);
    expect(masks(it, it.page)).toEqual([0xf, 0, 0]);
  });

  // S12, SVSM call 4, SVSM call 5
  test('stay taken when VMPL3 deposits the page and withdraws it', () => {
    const it = closed(PAGE_SIZE);
    expect(listOf(it, it.vmpl3, SvsmCall.DepositMem, false)).toBe(Success);
    const withdraw = (caller: Vcpu): number => {
      expect(call(it, SvsmCall.WithdrawMem, { rcx: BigInt(AREA3 + 8) }, caller)).toBe(Success);
      return it.vcpu.read(gvaOf(AREA3 + 8), 1)[0]!;
    };
    expect(withdraw(it.guestCpu)).toBe(0);
    expect(withdraw(it.vmpl3)).toBe(1);
    expect(masks(it, it.page)).toEqual([0xf, 0, 0xf]);
  });
});

describe('a registered calling area', () => {
  // S12
  test.each([0, 1])('is INVALID_ADDRESS for PVALIDATE both ways, size %i', (size) => {
    const it = svsmWorld();
    for (const validate of [true, false]) {
      for (const ignoreUnchanged of [true, false]) {
        const entry = entryOf(CAA, { size, validate, ignoreUnchanged });
        expect(pvalidateList(it, [entry])).toEqual([InvalidAddress, 0]);
      }
    }
  });

  // SVSM call 0
  test('moves in the one record of its processor: the old page is free, the new one is not', () => {
    const it = svsmWorld();
    it.machine.hypervisor.splitPage(it.guest, physAddr(6 * MiB));
    it.guestCpu.write(gvaOf(SECRET), vmsaImage());
    expect(call(it, SvsmCall.CreateVcpu, { rcx: BigInt(SECRET), rdx: BigInt(FREE) })).toBe(Success);
    const vmsa = {
      gpa: physAddr(SECRET),
      spa: spaOf(it, SECRET),
      vmcb: it.machine.hypervisor.allocatePage(),
    };
    const made = it.guest.createVcpu({ vmpl: 2, vmsa });
    const next = FREE + 0x1000;
    expect(call(it, SvsmCall.RemapCa, { rcx: BigInt(next) }, made)).toBe(Success);
    expect(it.state.vcpus.map(({ caa }) => caa)).toEqual([BigInt(next)]);
    expect(pvalidateList(it, [entryOf(next, { validate: false })])).toEqual([InvalidAddress, 0]);
    expect(pvalidateList(it, [entryOf(FREE, { validate: false })])).toEqual([Success, 1]);
    expect(call(it, SvsmCall.DeleteVcpu, { rcx: BigInt(SECRET) })).toBe(Success);
    expect(pvalidateList(it, [entryOf(next, { validate: false })])).toEqual([Success, 1]);
  });

  // SVSM call 0
  test('is cleared in its first 8 bytes by REMAP_CA, and no further', () => {
    const it = svsmWorld();
    it.guestCpu.write(gvaOf(FREE), new Uint8Array(16).fill(0xff));
    expect(call(it, SvsmCall.RemapCa, { rcx: BigInt(FREE) })).toBe(Success);
    expect([...it.guestCpu.read(gvaOf(FREE), 16)]).toEqual([...Array(8).fill(0), ...Array(8).fill(0xff)]);
  });
});

describe('a VMSA that is registered', () => {
  const register = (it: SvsmWorld, caa: number, vmsa?: number): Vcpu => {
    const vcpu = it.guest.createVcpu({ vmpl: 2 });
    it.svsm.register(vcpu, physAddr(caa), vmsa === undefined ? undefined : physAddr(vmsa));
    return vcpu;
  };

  // S5, A14
  test('is the SVSM’s own page from then on, as one of CREATE_VCPU', () => {
    const it = svsmWorld();
    it.machine.hypervisor.splitPage(it.guest, physAddr(6 * MiB));
    it.guestCpu.write(gvaOf(SECRET), vmsaImage());
    register(it, FREE, SECRET);
    expect(it.machine.rmp.entry(spaOf(it, SECRET))).toMatchObject({ vmsa: true, vmplMasks: [0x1f, 0, 0, 0] });
    expect(codeOf(() => it.guestCpu.write(gvaOf(SECRET), Uint8Array.of(0)))).toBe('NPF');
    expect(pvalidateList(it, [entryOf(SECRET, { validate: false })])).toEqual([InvalidAddress, 0]);
    expect(call(it, SvsmCall.DeleteVcpu, { rcx: BigInt(SECRET) })).toBe(SvsmResult.InvalidParameter);
    expect(codeOf(() => register(it, FREE + 0x1000, SECRET))).toBe('INVALID_ARGUMENT');
  });

  // A14
  test.each<[string, (it: SvsmWorld) => unknown]>([
    ['a calling area of another processor', (it) => register(it, CAA)],
    ['a calling area in the SVSM’s memory', (it) => register(it, 0x1000)],
    ['a misaligned calling area', (it) => register(it, FREE + 8)],
    ['a VMSA in a calling area', (it) => register(it, FREE, CAA)],
    ['a VMSA outside memory', (it) => register(it, FREE, 64 * MiB)],
    ['the same page twice', (it) => register(it, FREE, FREE)],
    [
      'a VMSA that is deposited, so that a call can withdraw it',
      (it) => {
        writeList(it, [entryOf(SECRET, { validate: false })]);
        call(it, SvsmCall.DepositMem, { rcx: BigInt(CAA + 8) });
        register(it, FREE, SECRET);
      },
    ],
    [
      'a VMSA of another processor',
      (it) => [register(it, FREE, 0x1000), register(it, FREE + 0x1000, 0x1000)],
    ],
    ['another VMSA for a processor', (it) => it.svsm.register(it.guestCpu, physAddr(FREE), physAddr(SECRET))],
    [
      'a VMSA that is not validated',
      (it) => {
        pvalidateList(it, [entryOf(SECRET, { validate: false })]);
        register(it, FREE, SECRET);
      },
    ],
  ])('is refused with %s, and nothing has changed', (_, action) => {
    const it = svsmWorld();
    expect(codeOf(() => action(it))).toBe('INVALID_ARGUMENT');
    expect(
      pvalidateList(it, [entryOf(FREE, { validate: false, ignoreUnchanged: true })])[0] === Success ||
        _.includes('of another processor'),
    ).toBe(true);
  });
});

// S9
test.each([0, 1])('a page that is validated already is PVALIDATE_UNCHANGED, size %i', (size) => {
  expect(pvalidateList(svsmWorld(), [entryOf(6 * MiB, { size })])).toEqual([PvalidateUnchanged, 0]);
});

// SVSM call 2
test('a VMSA of a level that does not exist is INVALID_PARAMETER', () => {
  const it = svsmWorld();
  it.guestCpu.write(gvaOf(SECRET), vmsaImage(4n));
  const result = call(it, SvsmCall.CreateVcpu, { rcx: BigInt(SECRET), rdx: BigInt(FREE) });
  expect(result).toBe(SvsmResult.InvalidParameter);
});
