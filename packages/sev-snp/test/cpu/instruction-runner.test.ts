import { PageSize, physAddr, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { bytesOf, codeOf, gvaOf, MiB, world } from '../support/world.ts';

/** An address that nothing is mapped at. */
const UNMAPPED = virtAddr(0xffff_9000_0000_0000n);

// P18
describe.each(['faulting-page', 'first-byte'] as const)(
  'CR2, if a crossing loads it with the %s,',
  (cr2OnCrossing) => {
    const made = () => world({ assumptions: { cr2OnCrossing } });

    test('gets the address of a page that is not validated', () => {
      const { vcpu, table } = made();
      const page = gvaOf(4 * MiB);
      table.split4k(page);
      vcpu.pvalidate(page, PageSize.Regular, false);
      expect(codeOf(() => vcpu.read(virtAddr(page + 8n), 1))).toBe('VC_NOT_VALIDATED');
      expect(vcpu.cr2).toBe(page + 8n);
    });

    test('stays as it is after any other fault', () => {
      const { vcpu, guest } = made();
      expect(codeOf(() => vcpu.read(UNMAPPED, 1))).toBe('PF');
      const options = { shadowStack: 'current' } as const;
      expect(codeOf(() => vcpu.write(gvaOf(0), bytesOf('x'), options))).toBe('UD');
      guest.nested.unmap(physAddr(2 * MiB));
      expect(codeOf(() => vcpu.read(gvaOf(2 * MiB), 1))).toBe('NPF');
      expect(codeOf(() => vcpu.read((1n << 62n) as never, 1))).toBe('GP');
      expect(vcpu.cr2).toBe(UNMAPPED);
    });
  },
);
