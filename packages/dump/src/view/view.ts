import { type PhysAddr, pageNumber, physAddr } from '@svsm/address';
import {
  createPhysMemory,
  isPageTableError,
  type MemoryEncryption,
  PageTable,
  type PagingConfig,
  type PhysMemory,
  pagingConfig,
  pagingConfigFromRegisters,
} from '@svsm/pagetable';
import { Backing, MAX_ASID } from '../backing/backing.ts';
import type { NestedDump } from '../backing/nested-dump.ts';
import type { RmpTable } from '../backing/rmp-table.ts';
import type { Dump, DumpCpu } from '../formats/dump.ts';
import { requireDump } from '../formats/require-dump.ts';
import { requireBits, requireInteger, requireOptional, requireOptions } from '../source/arguments.ts';
import { DumpError, inFile } from '../source/dump-error.ts';
import { Notices } from '../source/notices.ts';
import { type DumpView, soundView } from './dump-view.ts';
import { examine, hintFor } from './examine.ts';

/** The page table of a dump to open, and facts about the processor that the dump may not have. */
export interface ViewOptions {
  /** The index of the processor whose CR3 and CR4 count. 0 by default. */
  readonly cpu?: number | undefined;
  readonly cr3?: bigint | undefined;
  readonly cr4?: bigint | undefined;
  /** Whatever CR4 says. */
  readonly levels?: 4 | 5 | undefined;
  /** MAXPHYADDR, 32 to 52. Default: of the file, else 52. */
  readonly physicalBits?: number | undefined;
  /** The bit of an entry that says whether a page is private or shared. Default: the C-bit in VMCOREINFO, else none. */
  readonly encryption?: MemoryEncryption | undefined;
  /** EFER.NXE is 0, whatever the dump says. */
  readonly noNx?: boolean | undefined;
  /** `'amd'`: bit 8 of a PML4E or PML5E is reserved. Default `'intel'`: ignored. */
  readonly vendor?: 'amd' | 'intel' | undefined;
  /** The RMP of the machine. Listings show the state of each page, and compare it with the mappings. */
  readonly rmp?: RmpTable | undefined;
  /** With `rmp`: the dump is of the guest with this ASID, 1 to 1022. Default: of the host, unless it is of a guest in a host's dump. */
  readonly asid?: number | undefined;
  /** With `rmp`: the VMPL at which the guest runs, 0 to 3. Default: the rights of the VMPL are not compared. */
  readonly vmpl?: number | undefined;
}

/** 32 MiB, enough for the tables of 16 GiB in 4 KiB pages. */
const CACHED_FRAMES = 8192;
const ADDRESS_BITS = 0xf_ffff_ffff_f000n;
const CR0_PG = 31n;
const CR4_PAE = 5n;

/**
 * Opens the page table at CR3 of a dump, and looks at a sample of the tables. Problems are in `notices`. It reads a few hundred
 * frames.
 *
 * @throws DumpError `NO_SUCH_CPU`, `NOT_LONG_MODE`, `NO_ROOT`, `NO_MEMORY`, `OUTSIDE_LIMITS`, {@link translationOf};
 *   `INVALID_ARGUMENT` also if a guest's mappings are to be compared with an RMP without knowing its memory encryption
 * @throws PageTableError for options that are out of range
 */
export function openView(dump: Dump, options: ViewOptions = {}): DumpView {
  requireDump('dump', dump);
  requireViewOptions(options);
  return inFile(dump.name, () => soundView(open(dump, options)));
}

const OPTIONS = [
  'cpu',
  'cr3',
  'cr4',
  'levels',
  'physicalBits',
  'encryption',
  'noNx',
  'vendor',
  'rmp',
  'asid',
  'vmpl',
] as const;

/** The other options are checked where they are used. @throws DumpError `INVALID_ARGUMENT` */
function requireViewOptions(options: ViewOptions): void {
  requireOptions('options', options, OPTIONS);
  const { cpu, cr3, cr4, noNx, asid, vmpl } = options;
  if (cpu !== undefined) requireInteger('cpu', cpu, 0, Number.MAX_SAFE_INTEGER);
  if (cr3 !== undefined) requireBits('cr3', cr3, 64);
  if (cr4 !== undefined) requireBits('cr4', cr4, 64);
  requireOptional('noNx', noNx, 'boolean');
  if (asid !== undefined) requireInteger('asid', asid, 1, MAX_ASID);
  if (vmpl !== undefined) requireInteger('vmpl', vmpl, 0, 3);
}

function open(dump: Dump, options: ViewOptions): DumpView {
  const index = options.cpu ?? 0;
  const cpu = dump.cpus[index];
  if (cpu === undefined && options.cpu !== undefined) {
    throw new DumpError('NO_SUCH_CPU', { cpu: index, cpus: dump.cpus.length });
  }
  if (cpu !== undefined && options.cr3 === undefined) requireLongMode(index, cpu);
  const cr3 = options.cr3 ?? cpu?.cr3 ?? dump.kernel?.cr3;
  if (cr3 === undefined) throw new DumpError('NO_ROOT', {});
  const cr4 = options.cr4 ?? cpu?.cr4;
  const config = configFor(dump, cpu, cr4, options);
  const memory = createPhysMemory({
    readFrame: (frame, bytes) => dump.readFrame(frame, bytes),
    cachedFrames: CACHED_FRAMES,
  });
  const encryptionBit = config.encryption === undefined ? 0n : 1n << BigInt(config.encryption.bit);
  const root = physAddr(cr3 & ADDRESS_BITS & ~encryptionBit);
  const choice = { dump, cr3, levels: config.levels, encryption: config.encryption };
  const hint = (): string => hintFor(choice, undefined);
  const table = openTable({ root, memory, config, hint });
  const notices = dump.notices ?? new Notices();
  examine(choice, notices);
  const backing = backingFor(dump, config, options);
  return { dump, cpu: index, cr3, cr4, config, memory, table, backing, notices };
}

/** Opens the table at `root`, and reads it. This shows that CR3 points to memory, but not that the memory is a table. */
function openTable(at: {
  readonly root: PhysAddr;
  readonly memory: PhysMemory;
  readonly config: PagingConfig;
  readonly hint: () => string;
}): PageTable {
  const { root, memory, config, hint } = at;
  try {
    const table = PageTable.open(root, { memory, config });
    memory.words(pageNumber(root), false);
    return table;
  } catch (error) {
    if (!isPageTableError(error, 'BUS_ERROR') && !isPageTableError(error, 'INVALID_FRAME')) throw error;
    throw new DumpError('NO_MEMORY', { paddr: root, hint: hint() });
  }
}

function backingFor(dump: Dump, config: PagingConfig, options: ViewOptions): Backing | undefined {
  const { rmp, asid, vmpl } = options;
  const { nested } = dump as Partial<NestedDump>;
  if (rmp === undefined && nested === undefined) return undefined;
  const backing = new Backing({ rmp, nested, asid, vmpl });
  if (rmp !== undefined && backing.isOfGuest && config.encryption === undefined) {
    const expected = 'a comparison with the RMP needs the C-bit of the guest, or its vTOM';
    throw new DumpError('INVALID_ARGUMENT', { what: 'encryption', value: undefined, expected });
  }
  return backing;
}

function configFor(
  dump: Dump,
  cpu: DumpCpu | undefined,
  cr4: bigint | undefined,
  options: ViewOptions,
): PagingConfig {
  const { noNx = false, vendor = 'intel' } = options;
  const { kernel } = dump;
  const noted: MemoryEncryption | undefined =
    kernel?.cBit === undefined ? undefined : { mode: 'c-bit', bit: kernel.cBit };
  const encryption = options.encryption ?? noted;
  const given = {
    physicalBits: options.physicalBits ?? dump.physicalBits ?? 52,
    giantPages: dump.giantPages ?? true,
    encryption,
    vendor,
  };
  const efer = cpu?.efer;
  const found =
    cr4 === undefined
      ? pagingConfig({ ...given, levels: dump.levels ?? kernel?.levels ?? 4 })
      : pagingConfigFromRegisters({ cr4, ...(efer === undefined ? {} : { efer }) }, given);
  return pagingConfig({
    ...found,
    levels: options.levels ?? found.levels,
    noExecute: noNx ? false : found.noExecute,
  });
}

function requireLongMode(cpu: number, { cr0, cr4 }: DumpCpu): void {
  const isOff = (register: bigint | undefined, bit: bigint): boolean =>
    register !== undefined && ((register >> bit) & 1n) === 0n;
  const missing = isOff(cr0, CR0_PG) ? 'CR0.PG' : isOff(cr4, CR4_PAE) ? 'CR4.PAE' : undefined;
  if (missing === undefined) return;
  throw new DumpError('NOT_LONG_MODE', { cpu, register: missing });
}
