import { PAGE_SIZE, type PhysAddr, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { HostileHypervisor, isSnpError, pageStateOf, SnpMachine } from '@svsm/sev-snp';
import { describe, expect, test } from 'vitest';
import { Svsm } from '../../src/boot/svsm.ts';
import { isMmError } from '../../src/formats/mm-error.ts';
import { MIB, mib } from '../support/world.ts';

/** A guest whose launch has validated the image, 1 MiB of the heap, and one more in the middle of it. */
function launchPartly() {
  const machine = new SnpMachine({ memorySize: 96 * MIB, hypervisor: (it) => new HostileHypervisor(it) });
  const hypervisor = machine.hypervisor as HostileHypervisor;
  const guest = hypervisor.launch({
    memory: [
      { region: mib(0, 3), validated: true },
      { region: mib(3, 5), validated: false },
      { region: mib(8, 1), validated: true },
      { region: mib(9, 23), validated: false },
    ],
  });
  const options = {
    guest,
    memory: [[mib(0, 32), 'guest']],
    own: mib(0, 16),
    validated: [mib(8, 1), mib(0, 3)],
  } as const;
  const stateOf = (gpa: PhysAddr) => {
    const nested = guest.nested.lookup(gpa);
    return nested === undefined ? undefined : pageStateOf(machine.rmp.entry(nested.spa));
  };
  return { machine, hypervisor, guest, options, stateOf };
}

test('the boot validates the rest of the heap, and nothing else', () => {
  const { options, stateOf } = launchPartly();
  using svsm = Svsm.boot(options);
  expect([3, 8, 15].map((at) => stateOf(mib(at, 1).start))).toEqual(Array(3).fill('GUEST-VALID'));
  expect([16, 31].map((at) => stateOf(mib(at, 1).start))).toEqual([undefined, undefined]);
  expect(svsm.validated.size).toBe(BigInt(16 * MIB - PAGE_SIZE));
  const last = svsm.physToVirt(physAddr(16 * MIB - 8));
  svsm.thisCpu().vcpu.write(last, Uint8Array.of(1));
});

test('the first page tables need validated memory', () => {
  const { options } = launchPartly();
  try {
    Svsm.boot({ ...options, validated: [mib(0, 2), physRegion(physAddr(2 * MIB), 2 * PAGE_SIZE)] });
    expect.unreachable();
  } catch (error) {
    if (!isMmError(error, 'BOOT_FAILED')) throw error;
    expect(error.details).toEqual({ step: 'kernel-mapping', undone: true });
    expect(String(error.cause)).toMatch(/OUT_OF_MEMORY/);
  }
});

describe('if the hypervisor refuses', () => {
  test('what was validated is rescinded, and the same boot works once it agrees', () => {
    const { options, hypervisor, stateOf } = launchPartly();
    let requests = 0;
    hypervisor.answers = { page: () => (requests++ === 1 ? { info1: 0n, info2: 1n } : undefined) };
    try {
      Svsm.boot(options);
      expect.unreachable();
    } catch (error) {
      if (!isMmError(error, 'BOOT_FAILED')) throw error;
      expect(error.details).toEqual({ step: 'heap', undone: true });
      expect(isSnpError(error.cause, 'REGION_CHANGE_FAILED')).toBe(true);
    }
    expect(requests).toBe(2);
    expect(stateOf(mib(3, 1).start)).not.toBe('GUEST-VALID');
    hypervisor.answers = {};
    using svsm = Svsm.boot(options);
    expect(svsm.validated.has(mib(15, 1).start)).toBe(true);
  });
});
