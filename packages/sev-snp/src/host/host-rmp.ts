import { PAGE_SIZE, PageSize, pageNumber } from '@svsm/address';
import type { SnpPlatform } from '../cpu/platform.ts';
import { RmpResult } from '../formats/rmp-result.ts';
import { SnpError } from '../formats/snp-error.ts';
import { SysPhys, type SysPhysAddr } from '../formats/sys-phys-addr.ts';
import {
  type RmpState,
  rmpupdatePages,
  stateOperand,
  updateEntry,
  wholeState,
} from '../rmp/host-instructions.ts';

/** RMPUPDATE of a machine: see `Hypervisor.rmpupdate`. @throws SnpError `INVALID_ARGUMENT`; AddressError `INVALID_ADDRESS` */
export function updateRmp(machine: SnpPlatform, spa: SysPhysAddr, newState: RmpState): RmpResult {
  const { assigned, pageSize, immutable, gpa, asid } = stateOperand(newState);
  const { rmp, memory } = machine;
  const state = { assigned, pageSize, immutable, gpa, asid } as RmpState;
  SysPhys.assertIsAddress(spa);
  const wanted = wholeState(state);
  const result = updateEntry(rmp, spa, wanted);
  if (result === RmpResult.SUCCESS) {
    const frames = wanted.pageSize / PAGE_SIZE;
    const frame = pageNumber(spa);
    memory.revoke(frame - (frame % frames), frames);
  }
  machine.trace({ type: 'rmpupdate', spa, state, result });
  return result;
}

/** {@link updateRmp} of consecutive pages: see `Hypervisor.rmpupdatePages`. @throws as {@link updateRmp} */
export function updateRmpPages(
  machine: SnpPlatform,
  spa: SysPhysAddr,
  count: number,
  asked: RmpState,
): RmpResult {
  SysPhys.assertIsAddress(spa);
  if (!Number.isSafeInteger(count) || count < 1) {
    const expected = 'pass a positive integer';
    throw new SnpError('INVALID_ARGUMENT', { what: 'the number of pages', value: count, expected });
  }
  const { rmp, memory } = machine;
  const { assigned, pageSize = PageSize.Regular, immutable, gpa, asid } = stateOperand(asked);
  const state = { assigned, pageSize, immutable, gpa, asid } as RmpState;
  const { result, done } = rmpupdatePages(rmp, spa, count, state);
  const first = pageNumber((spa & -BigInt(pageSize)) as SysPhysAddr);
  const type = 'rmpupdate';
  if (done > 0) {
    memory.revoke(first, (done * pageSize) / PAGE_SIZE);
    machine.trace({ type, spa, state, result: RmpResult.SUCCESS, count: done });
  }
  if (done < count) {
    const at = spa + BigInt(done) * BigInt(pageSize);
    machine.trace({ type, spa: at, state, result });
  }
  return result;
}
