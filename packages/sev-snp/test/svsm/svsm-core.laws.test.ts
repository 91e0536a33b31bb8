import { PAGE_SIZE, physAddr, type VirtAddr } from '@svsm/address';
import { pageAddress, physRegion } from '@svsm/memory-region';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { CAA, call, OWN_END, svsmWorld } from '../support/svsm-world.ts';
import { gvaOf, MiB, spaOf } from '../support/world.ts';

// Addresses at every edge: of the SVSM's memory, of the guest's, of all memory, and outside.
const EDGES = [
  0,
  0x1000,
  OWN_END - 0x1000,
  OWN_END,
  CAA,
  CAA + 0x1000,
  6 * MiB,
  6 * MiB + 0x1000,
  8 * MiB - 0x1000,
  8 * MiB,
];
const address = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...EDGES).map(BigInt) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
);
const entry = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.tuple(address, fc.constantFrom(0n, 4n, 8n, 12n, 1n, 5n, 2n, 0x10n)).map(([a, f]) => a | f),
  },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) },
);
const request = fc.record({
  id: fc.integer({ min: 0, max: 8 }),
  list: fc.array(entry, { maxLength: 5 }),
  count: fc.option(fc.integer({ min: 0, max: 0xffff }), { nil: undefined }),
  next: fc.constantFrom(0, 0, 0, 1, 600),
  at: fc.oneof(
    { weight: 5, arbitrary: fc.constantFrom(CAA + 8, CAA + 0xfe8, 6 * MiB).map(BigInt) },
    { weight: 1, arbitrary: address },
  ),
  rdx: address,
});

/** The address that a processor maps `gva` to; -1 if it maps none. */
function gpaOf(vcpu: Vcpu, gva: VirtAddr): number {
  try {
    return Number(vcpu.translate(gva).gpa);
  } catch {
    return -1;
  }
}

// S6, S8, S9, A14
test('whatever a guest asks, the SVSM answers, protects its own memory, and validates only pages of the guest', () => {
  fc.assert(
    fc.property(fc.array(request, { maxLength: 12 }), (requests) => {
      const it = svsmWorld({ entriesPerCall: 3 });
      const secret = Uint8Array.of(1, 2, 3, 4);
      it.vcpu.write(gvaOf(0x8000), secret);
      const own = physRegion(physAddr(0), OWN_END);
      const reads = new Set<number>();
      const { vcpu } = it;
      const read = vcpu.read.bind(vcpu);
      let page = -1;
      vcpu.read = (gva, length) => {
        const gpa = gpaOf(vcpu, pageAddress(gva));
        // A read stays inside the page in which the list begins, or is of a whole page: a VMSA.
        if (page >= 0 && length < PAGE_SIZE)
          expect(gpa >= page && gpa + length <= page + PAGE_SIZE).toBe(true);
        if (length === 8) {
          expect(reads.has(gpa), 'read twice').toBe(false);
          reads.add(gpa);
        }
        return read(gva, length);
      };
      for (const { id, list, count, next, at, rdx } of requests) {
        const header = BigInt(count ?? list.length) | (BigInt(next) << 16n);
        const bytes = new Uint8Array(
          BigUint64Array.from([header, ...list].map((w) => BigInt.asUintN(64, w))).buffer,
        );
        try {
          it.guestCpu.write(gvaOf(Number(at)), bytes);
        } catch {
          // The page is not the guest's: the SVSM reads what lies there.
        }
        reads.clear();
        page = at < BigInt(8 * MiB) ? Number(at) - (Number(at) % PAGE_SIZE) : -1;
        const result = call(it, id, { rcx: at, rdx });
        const isKnown = Object.values(SvsmResult).includes(result as never) || result >>> 4 === 0x800_0100;
        expect(isKnown, result.toString(16)).toBe(true);
        page = -1;
        expect(it.state.validated.firstMissingIn(own)).toBe(undefined);
        expect(read(gvaOf(0x8000), 4)).toEqual(secret);
      }
      // Record and RMP agree, and other levels have no access to pages of the SVSM or to a VMSA.
      const vmsas = it.state.vcpus.map(({ vmsa }) => Number(vmsa));
      for (const gpa of [...EDGES.slice(0, -1), ...vmsas]) {
        const found = it.machine.rmp.entry(spaOf(it, gpa))!;
        expect(found.validated).toBe(it.state.validated.has(physAddr(gpa)));
        const isOwn = gpa < OWN_END || vmsas.includes(gpa);
        if (isOwn) expect(found.vmplMasks.slice(1)).toEqual([0, 0, 0]);
        expect(found.vmsa).toBe(vmsas.includes(gpa));
      }
    }),
  );
});
