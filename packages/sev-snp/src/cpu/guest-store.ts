import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, pageNumber, type VirtAddr } from '@svsm/address';
import type { AccessKind } from '@svsm/pagetable';
import { requireInteger } from '../formats/arguments.ts';
import { bytesOfInteger, integerOf } from '../formats/byte-fields.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import { NO_KEY } from '../memory/encrypted-memory.ts';
import { isOnePiece, piecesOf, startOfAccess } from './access-pieces.ts';
import {
  type AccessedPlace,
  accessedPage,
  guestPhysAccess,
  recheckRmp,
  shadowStackMode,
} from './guest-access.ts';
import type { GuestByte, GuestMmu } from './guest-mmu.ts';
import type { NestedTlb } from './nested-tlb.ts';
import type { GuestContext } from './platform.ts';
import type { DataAccessOptions } from './vcpu-options.ts';

/** The parts of a processor that an access goes through. */
export interface AccessPath {
  readonly guest: GuestContext;
  readonly mmu: GuestMmu;
  readonly nestedTlb: NestedTlb | undefined;
  /** Throws if the processor does not run any more. */
  readonly requireRunning: () => void;
  /** Called before bytes of a shared page are read. */
  readonly beforeShared: (spa: SysPhysAddr, count: number) => void;
}

/** The place of a piece of an access, and the size of the guest's page. */
interface PieceTarget extends AccessedPlace {
  readonly guestSize: PageSize;
  /** Whether it stands for 2 MiB. */
  readonly isLarge: boolean;
}

/** A place that is written: `count` bytes from offset `start` of the access on. */
interface StoreTarget extends AccessedPlace {
  readonly start: number;
  readonly count: number;
}

/** The place of a piece, which the access may use now. @throws SnpFault */
export function targetOf(
  path: AccessPath,
  gva: VirtAddr,
  kind: AccessKind,
  options: DataAccessOptions,
): PieceTarget {
  return targetAt(path, path.mmu.translate(gva, kind, options), gva, kind, options);
}

/** {@link targetOf}, with the guest's own half of the translation. */
function targetAt(
  { guest, mmu, nestedTlb }: AccessPath,
  { gpa, isPrivate, page }: GuestByte,
  gva: VirtAddr,
  kind: AccessKind,
  options: DataAccessOptions,
): PieceTarget {
  const shadowStack = shadowStackMode(options.shadowStack, mmu.cpl);
  const access = guestPhysAccess(mmu, gpa, gva, kind, isPrivate, shadowStack);
  const nested = accessedPage(guest, access, nestedTlb);
  const key = isPrivate ? guest.key : NO_KEY;
  return { access, nested, spa: nested.spa, key, guestSize: page.size, isLarge: false };
}

/**
 * The places that an access writes, checked: one for each 4 KiB page or, with `large`, for each 2 MiB that guest and host map
 * as one page. One check decides for such a page, because its RMP entry has 2 MiB too.
 *
 * @throws SnpFault; PageTableError `BUS_ERROR`
 */
function storeTargets(
  path: AccessPath,
  gva: VirtAddr,
  length: number,
  options: DataAccessOptions,
  large: boolean,
): readonly StoreTarget[] {
  const { memory } = path.guest.machine;
  const targets: StoreTarget[] = [];
  if (length > 0 && length <= PAGE_SIZE) {
    const linear = startOfAccess(path.mmu, gva, length, 'write', options);
    if (isOnePiece(linear, length)) {
      // Memory refuses a page that it does not have before it changes a byte.
      return [storeTarget(targetOf(path, linear, 'write', options), 0, length)];
    }
  }
  const pieces = piecesOf(path.mmu, gva, length, 'write', options);
  for (let next = pieces.next(); next.done !== true; ) {
    const { at, start, count } = next.value;
    const mayBeLarge = large && at % BigInt(PAGE_SIZE_2M) === 0n && length - start >= PAGE_SIZE_2M;
    const target = mayBeLarge ? largeTargetOf(path, at, options) : targetOf(path, at, 'write', options);
    const taken = target.isLarge ? PAGE_SIZE_2M : count;
    targets.push(storeTarget(target, start, taken));
    next = pieces.next(taken);
  }
  for (const { spa, count } of targets) memory.requirePages(pageNumber(spa), Math.ceil(count / PAGE_SIZE));
  return targets;
}

function storeTarget({ access, nested, spa, key }: AccessedPlace, start: number, count: number): StoreTarget {
  return { access, nested, spa, key, start, count };
}

/** The target at the start of 2 MiB: large if it stands for all of it. */
function largeTargetOf(path: AccessPath, gva: VirtAddr, options: DataAccessOptions): PieceTarget {
  const { guest, mmu, nestedTlb } = path;
  const { vmpl } = mmu;
  const byte = mmu.translate(gva, 'write', options);
  // Each 4 KiB page that a TLB holds has a verdict of its own, which can be stale.
  const isHeld = nestedTlb?.holdsPartOf(guest, vmpl, byte.gpa) === true;
  const target = targetAt(path, byte, gva, 'write', options);
  const isAligned = target.spa % BigInt(PAGE_SIZE_2M) === 0n;
  const isHuge = target.guestSize !== PageSize.Regular && target.nested.size !== PageSize.Regular;
  if (isHeld || !isAligned || !isHuge) return target;
  nestedTlb?.widen(guest, vmpl, target.access.gpa);
  return { ...target, isLarge: true };
}

/** Writes bytes. If one place cannot be written, nothing is. @throws SnpFault; PageTableError `BUS_ERROR` */
export function storeBytes(
  path: AccessPath,
  gva: VirtAddr,
  bytes: Uint8Array,
  options: DataAccessOptions,
): void {
  const { memory } = path.guest.machine;
  for (const { spa, key, start, count } of checkedTargets(path, gva, bytes.length, options, false)) {
    memory.write(spa, bytes.subarray(start, start + count), key);
  }
}

/**
 * Reads bytes of one page, and writes others in their place. All checks come before both, so nothing else runs between them.
 *
 * @param next - the bytes to write, by those that were there
 * @returns the bytes that were there
 * @throws SnpFault; PageTableError `BUS_ERROR`
 */
export function exchangeBytes(
  path: AccessPath,
  gva: VirtAddr,
  length: number,
  next: (before: Uint8Array) => Uint8Array,
): Uint8Array {
  const { memory } = path.guest.machine;
  const target = targetOf(path, gva, 'write', {});
  const { spa, key } = target;
  if (key === NO_KEY) {
    path.beforeShared(spa, length);
    recheckRmp(path.guest, target);
  }
  const before = memory.read(spa, length, key);
  memory.write(spa, next(before), key);
  return before;
}

/** Writes 8 bytes if `expected` was there, as {@link exchangeBytes}. Returns what was there. */
export function exchangeQword(path: AccessPath, gva: VirtAddr, expected: bigint, value: bigint): bigint {
  const next = (before: Uint8Array): Uint8Array =>
    integerOf(before) === expected ? bytesOfInteger(value, 8) : before;
  return integerOf(exchangeBytes(path, gva, 8, next));
}

/** Writes zeros, as {@link storeBytes}. @throws SnpError `INVALID_ARGUMENT` if `length` is not an integer from 0 on */
export function storeZeros(
  path: AccessPath,
  gva: VirtAddr,
  length: number,
  options: DataAccessOptions,
): void {
  requireInteger('the length', length, 0);
  const { memory } = path.guest.machine;
  for (const { spa, key, count } of checkedTargets(path, gva, length, options, true)) {
    if (count % PAGE_SIZE === 0) memory.clear(pageNumber(spa), key, count / PAGE_SIZE);
    else memory.write(spa, new Uint8Array(count), key);
  }
}

/** The places of a write. Nothing else runs between their checks and the bytes: no hook, no exit and no fault. */
function checkedTargets(
  path: AccessPath,
  gva: VirtAddr,
  length: number,
  options: DataAccessOptions,
  large: boolean,
): readonly StoreTarget[] {
  const targets = storeTargets(path, gva, length, options, large);
  if (targets.length < 2) return targets;
  // A walk runs code of the hypervisor, which can change a page that was checked before.
  path.requireRunning();
  for (const target of targets) recheckRmp(path.guest, target);
  return targets;
}
