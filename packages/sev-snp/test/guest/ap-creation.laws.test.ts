/** makeVmsa of any page, with any rights on it, at any address; each of its steps can fail. */
import { PageSize, physAddr, virtAddr } from '@svsm/address';
import { PtePreset } from '@svsm/pagetable';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import { makeVmsa } from '../../src/guest/ap-creation.ts';
import { onSteps } from '../support/svsm-steps.ts';
import { codeOf, gvaOf, MiB, spaOf, unresolvedFault, world } from '../support/world.ts';

const place = fc.oneof(fc.constant(0), fc.nat(511)).map((index) => index * 0x1000);
const mask = fc.nat(0xf);

// A9, I14, R25
test('makeVmsa leaves no level but VMPL0 a right on a VMSA, or the page as it was', () => {
  fc.assert(
    fc.property(
      place,
      place,
      fc.tuple(mask, mask, mask),
      fc.option(fc.nat(9), { nil: -1 }),
      (at, virtual, masks, failing) => {
        const it = world();
        const gpa = 4 * MiB + at;
        const page = virtAddr(0xffff_9000_0000_0000n + BigInt(virtual));
        it.table.map4k(page, physAddr(gpa), PtePreset.Data);
        it.machine.hypervisor.splitPage(it.guest, physAddr(4 * MiB));
        for (const [k, permissions] of masks.entries())
          it.vcpu.rmpadjust(gvaOf(gpa), PageSize.Regular, { vmpl: k + 1, permissions });
        const entry = () => it.machine.rmp.entry(spaOf(it, gpa))!;
        const content = () => it.machine.memory.read(spaOf(it, gpa), 0x1000, it.guest.key);
        const [before, bytes, image] = [entry(), content(), createVmsa({ vmpl: 1 })];
        let hasFailed = false;
        onSteps(it.vcpu, (step) => {
          if (step !== failing) return undefined;
          hasFailed = true;
          return unresolvedFault();
        });
        const code = codeOf(() => makeVmsa(it.vcpu, page, image));
        const isRefused = at === 0;
        expect(code).toBe(isRefused ? 'INVALID_ARGUMENT' : hasFailed ? 'NPF' : undefined);
        if (code === undefined) {
          expect(entry()).toEqual({ ...before, vmsa: true, vmplMasks: [before.vmplMasks[0], 0, 0, 0] });
          expect(content()).toEqual(image);
        } else expect(entry()).toEqual(before);
        if (isRefused) expect(content()).toEqual(bytes);
      },
    ),
    {
      examples: [
        [0, 0x1000, [1, 2, 3], -1],
        [0x1000, 0, [0xf, 0xf, 0xf], -1],
        [0x1000, 0, [0xf, 7, 3], 8],
      ],
    },
  );
});
