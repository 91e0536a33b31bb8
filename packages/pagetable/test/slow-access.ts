import type { PhysAddr } from '@svsm/address';
import type { AccessKind } from '../src/access.ts';
import type { CpuState } from '../src/cpu-state.ts';
import type { PagingConfig } from '../src/paging-config.ts';
import { type PhysMemory, readPhys64 } from '../src/phys-memory.ts';

/** What an access gives, in the words of the vectors; accessed and dirty bits left out. */
export type SlowAccess = { t: 'ok'; pa: bigint } | { t: 'pf'; err: number } | { t: 'gp' };

const bit = (value: bigint, position: bigint | number): boolean => ((value >> BigInt(position)) & 1n) === 1n;

/** A memory management unit written for reading, all in bigint, which shares nothing with the package's own. */
export function slowAccess(
  memory: PhysMemory,
  root: bigint,
  config: PagingConfig,
  vaddr: bigint,
  kind: AccessKind,
  cpu: CpuState,
): SlowAccess {
  const width = config.levels === 5 ? 57 : 48;
  if (BigInt.asUintN(64, BigInt.asIntN(width, vaddr)) !== vaddr) return { t: 'gp' };
  const isUser = cpu.cpl === 3;
  const base =
    (kind === 'write' ? 2 : 0) |
    (isUser ? 4 : 0) |
    (kind === 'fetch' && (config.noExecute || cpu.smep) ? 16 : 0);
  const encryption = config.encryption === undefined ? 0n : 1n << BigInt(config.encryption.bit);
  const beyond = ((1n << 52n) - (1n << BigInt(config.physicalBits))) & ~encryption;

  let table = root;
  let user = true;
  let writable = true;
  let noExecute = false;
  for (let level = config.levels - 1; ; level -= 1) {
    const shift = 12n + 9n * BigInt(level);
    const entry = readPhys64(memory, (table + 8n * ((vaddr >> shift) & 511n)) as PhysAddr);
    if (!bit(entry, 0)) return { t: 'pf', err: base };
    let reserved = beyond;
    if (!config.noExecute) reserved |= 1n << 63n;
    if (level >= 3) reserved |= config.vendor === 'amd' ? 0x180n : 0x80n;
    const ps = level > 0 && level < 3 && bit(entry, 7);
    if (ps && level === 2) reserved |= config.giantPages ? 0x3fff_e000n : 0x80n;
    if (ps && level === 1) reserved |= 0x1f_e000n;
    if ((entry & reserved) !== 0n) return { t: 'pf', err: base | 1 | 8 };
    user &&= bit(entry, 2);
    writable &&= bit(entry, 1);
    noExecute ||= bit(entry, 63);
    const address = entry & 0xf_ffff_ffff_f000n & ~encryption;
    if (level > 0 && !ps) {
      table = address;
      continue;
    }

    let denied = false;
    let keyDenied = false;
    if (kind === 'fetch') {
      denied = noExecute || (isUser ? !user : user && cpu.smep);
    } else {
      if (isUser && !user) denied = true;
      if (!isUser && user && cpu.smap && !cpu.ac) denied = true;
      const respects = isUser || cpu.wp;
      if (kind === 'write' && !writable && respects) denied = true;
      const keys = BigInt((user ? cpu.pkru : cpu.pkrs) ?? 0);
      const key = (entry >> 59n) & 15n;
      if (bit(keys, 2n * key)) keyDenied = true;
      if (bit(keys, 2n * key + 1n) && kind === 'write' && respects) keyDenied = true;
    }
    if (denied || keyDenied) return { t: 'pf', err: base | 1 | (keyDenied ? 32 : 0) };
    const size = 1n << shift;
    return { t: 'ok', pa: (address & -size) | (vaddr & (size - 1n)) };
  }
}
