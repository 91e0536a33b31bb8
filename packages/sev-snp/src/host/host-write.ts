import { PAGE_SIZE, PageSize, type PhysAddr } from '@svsm/address';
import { PageFaultCode, type PhysMemory } from '@svsm/pagetable';
import type { SnpPlatform } from '../cpu/platform.ts';
import { requireOneOf } from '../formats/arguments.ts';
import { copyOfBytes } from '../formats/byte-fields.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { NO_KEY } from '../memory/encrypted-memory.ts';
import type { Rmp } from '../rmp/rmp.ts';
import { failedAccessCheck } from '../rmp/rmp-check.ts';
import { SnpFault } from '../rmp/snp-fault.ts';

/** System memory as the host accesses it: see `Hypervisor.memory`. */
export function hostView(machine: SnpPlatform): PhysMemory {
  const plain = machine.memory.view(NO_KEY);
  return {
    get epoch() {
      return plain.epoch;
    },
    words: (frame, write) => {
      const spa = (BigInt(frame) * BigInt(PAGE_SIZE)) as SysPhysAddr;
      if (write) requireHostWrite(machine.rmp, spa, PageSize.Regular);
      const words = plain.words(frame, write);
      // The array of a page of its own is the page itself. Through that of another page, nobody could be kept from writing.
      return !write && machine.rmp.isAssigned(frame) ? words.slice() : words;
    },
    wordOffset: () => 0,
  };
}

/** Writes system memory as the host: see `Hypervisor.write`, also for its errors. */
export function hostWrite(
  { rmp, memory }: SnpPlatform,
  spa: SysPhysAddr,
  bytes: Uint8Array,
  mappedWith: PageSize,
): void {
  SysPhys.assertIsAddress(spa);
  const copy = copyOfBytes(bytes, 'the bytes');
  requireOneOf('mappedWith', mappedWith, Object.values(PageSize));
  const end = spa + BigInt(copy.length);
  for (let at: bigint = spa & -BigInt(PAGE_SIZE); at < end; at += BigInt(PAGE_SIZE)) {
    requireHostWrite(rmp, at as SysPhysAddr, mappedWith);
  }
  memory.write(spa, copy, NO_KEY);
}

/** The check of the host's own writes: AMD64 APM vol. 2, §15.36.10. @throws SnpFault `HOST_PF` */
function requireHostWrite(rmp: Rmp, spa: SysPhysAddr, translationSize: PageSize): void {
  const check = failedAccessCheck(rmp, {
    accessor: 'host',
    kind: 'write',
    spa,
    translationSize,
    gpa: 0n as PhysAddr,
    asid: 0,
    vmpl: 0,
    cpl: 0,
  });
  if (check === undefined) return;
  const { Present, Write, Rmp: RmpBit } = PageFaultCode;
  throw new SnpFault('HOST_PF', { errorCode: Present + Write + RmpBit, spa, check });
}
