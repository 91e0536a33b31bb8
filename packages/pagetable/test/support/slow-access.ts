import type { CpuState } from '../../src/entry/cpu-state.ts';
import type { PagingConfig } from '../../src/entry/paging-config.ts';
import type { AccessKind } from '../../src/walk/access.ts';

/** The result of an access, in the words of the vectors, and the level at which it ended. */
export type SlowAccess =
  | { t: 'ok'; pa: bigint; size: bigint; shared: boolean; level: number; set: Map<bigint, bigint> }
  | { t: 'pf'; err: number; level: number; linear: bigint }
  | { t: 'gp' }
  | { t: 'bus' };

/** Reads the 8 bytes at a physical address; `undefined` if there is no memory. */
export type Read64 = (paddr: bigint) => bigint | undefined;

const bit = (value: bigint, position: bigint | number): boolean => ((value >> BigInt(position)) & 1n) === 1n;

/**
 * A memory management unit in bigints, written from the manuals to be read. It shares no code with the package. It changes
 * nothing: `set` has the entries that the access would change, with their new values.
 */
export function slowAccess(
  read: Read64,
  root: bigint,
  config: PagingConfig,
  pointer: bigint,
  kind: AccessKind,
  cpu: CpuState,
  { implicit = false, shadowStack }: { implicit?: boolean; shadowStack?: 'current' | 'user' } = {},
): SlowAccess {
  if (!cpu.paging) {
    return { t: 'ok', pa: pointer, size: 4096n, shared: false, level: 0, set: new Map<bigint, bigint>() };
  }
  const vaddr =
    kind === 'fetch' || implicit || shadowStack !== undefined ? pointer : slowMask(pointer, config, cpu);
  if (vaddr === undefined) return { t: 'gp' };
  // Bits 63:47, with 5 levels 63:56, are all equal.
  const width = config.levels === 5 ? 57n : 48n;
  const top = vaddr >> (width - 1n);
  if (top !== 0n && top !== (1n << (65n - width)) - 1n) return { t: 'gp' };

  const isUser = (cpu.cpl === 3 && !implicit) || shadowStack === 'user';
  let access = 0;
  if (kind === 'write') access |= 2;
  if (isUser) access |= 4;
  if (shadowStack !== undefined) access |= 64;
  if (kind === 'fetch' && (config.noExecute || cpu.smep)) access |= 16;

  const { encryption } = config;
  const encryptionBit = encryption === undefined ? 0n : 1n << BigInt(encryption.bit);
  const path: bigint[] = [];
  let table = root;
  let user = true;
  let writable = true;
  let noExecute = false;
  for (let level = config.levels - 1; ; level -= 1) {
    const shift = 12n + 9n * BigInt(level);
    const paddr = table + 8n * ((vaddr >> shift) & 511n);
    const entry = read(paddr);
    if (entry === undefined) return { t: 'bus' };
    if (!bit(entry, 0)) return { t: 'pf', err: access, level, linear: vaddr };
    if (slowReserved(entry, level, config) !== 0n)
      return { t: 'pf', err: access | 1 | 8, level, linear: vaddr };
    path.push(paddr);
    user &&= bit(entry, 2);
    const writableAbove = writable;
    writable &&= bit(entry, 1);
    noExecute ||= bit(entry, 63);
    const address = entry & 0xf_ffff_ffff_f000n & ~encryptionBit;
    const isLeaf = level === 0 || ((level === 1 || level === 2) && bit(entry, 7));
    if (!isLeaf) {
      table = address;
      continue;
    }

    // All tables above are writable, the page is read-only and dirty, and its mode is that of the access.
    const isShadowPage = writableAbove && !bit(entry, 1) && bit(entry, 6);
    const denied =
      shadowStack === undefined
        ? slowDenied(kind, isUser, implicit, { user, writable, noExecute }, cpu)
        : !isShadowPage || user !== isUser;
    const byKey = slowKeyDenied(kind, isUser, { user }, (entry >> 59n) & 15n, cpu);
    if (denied || byKey) return { t: 'pf', err: access | 1 | (byKey ? 32 : 0), level, linear: vaddr };

    // One entry after another, as in memory: an entry that was used twice has its first update already.
    const set = new Map<bigint, bigint>();
    for (const used of path) {
      const before = set.get(used) ?? (read(used) as bigint);
      const isThisLeaf = used === paddr;
      const after = before | 0x20n | (isThisLeaf && kind === 'write' ? 0x40n : 0n);
      if (after !== before) set.set(used, after);
    }
    const size = 1n << shift;
    const pa = (address - (address % size)) | (vaddr % size);
    let shared = false;
    if (encryption?.mode === 'c-bit') shared = (entry & encryptionBit) === 0n;
    if (encryption?.mode === 'vtom') shared = (entry & 0xf_ffff_ffff_f000n) >= encryptionBit;
    return { t: 'ok', pa, size, shared, level, set };
  }
}

/** The reserved bits that are set in a present entry (Intel SDM vol. 3A, tables 4-14 to 4-19; AMD: bit 8 at the top). */
function slowReserved(entry: bigint, level: number, config: PagingConfig): bigint {
  const found = (from: number, to: number): bigint => {
    let bits = 0n;
    for (let i = from; i <= to; i += 1) if (bit(entry, i)) bits |= 1n << BigInt(i);
    return bits;
  };
  let reserved = found(config.physicalBits, 51);
  if (config.encryption !== undefined) reserved &= ~(1n << BigInt(config.encryption.bit));
  if (!config.noExecute) reserved |= found(63, 63);
  if (level >= 3) {
    reserved |= found(7, 7);
    if (config.vendor === 'amd') reserved |= found(8, 8);
  } else if (level === 2 && bit(entry, 7)) {
    reserved |= config.giantPages ? found(13, 29) : found(7, 7);
  } else if (level === 1 && bit(entry, 7)) {
    reserved |= found(13, 20);
  }
  return reserved;
}

/** Whether U/S, R/W and NX of all levels deny the access (§4.6.1). */
function slowDenied(
  kind: AccessKind,
  isUser: boolean,
  implicit: boolean,
  page: { user: boolean; writable: boolean; noExecute: boolean },
  cpu: CpuState,
): boolean {
  if (isUser) {
    if (!page.user) return true;
    if (kind === 'write') return !page.writable;
    return kind === 'fetch' && page.noExecute;
  }
  if (kind === 'fetch') return page.noExecute || (page.user && cpu.smep);
  if (page.user && cpu.smap && (implicit || !cpu.ac)) return true;
  return kind === 'write' && !page.writable && cpu.wp;
}

/** Whether a protection key denies the access (§4.6.2). */
function slowKeyDenied(
  kind: AccessKind,
  isUser: boolean,
  page: { user: boolean },
  key: bigint,
  cpu: CpuState,
): boolean {
  if (kind === 'fetch' || (isUser && !page.user)) return false;
  const register = page.user ? cpu.pkru : cpu.pkrs;
  if (register === undefined) return false;
  if (bit(BigInt(register), 2n * key)) return true;
  return kind === 'write' && bit(BigInt(register), 2n * key + 1n) && (isUser || cpu.wp);
}

/** The linear address of a pointer with metadata, bit by bit (Intel SDM vol. 3A, §4.4; AMD64 APM vol. 2, §5.10). */
function slowMask(pointer: bigint, config: PagingConfig, cpu: CpuState): bigint | undefined {
  const copy = (from: number, first: number, last: number): bigint => {
    let linear = pointer;
    for (let i = first; i <= last; i += 1) {
      linear = bit(pointer, from) ? linear | (1n << BigInt(i)) : linear & ~(1n << BigInt(i));
    }
    return linear;
  };
  if (cpu.uai) return copy(56, 57, 63);
  let width: number | undefined;
  if (!bit(pointer, 63)) width = cpu.lamUser;
  else if (cpu.lamSupervisor) width = config.levels === 4 ? 48 : 57;
  if (width === undefined) return pointer;
  return bit(pointer, 63) === bit(pointer, width - 1) ? copy(width - 1, width, 62) : undefined;
}
