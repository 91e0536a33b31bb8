import { formatAddress, type PhysAddr, pageNumber, physAddr } from '@svsm/address';
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
import type { Dump, DumpCpu } from './dump.ts';
import { examine, hintFor } from './examine.ts';
import { Notices } from './notices.ts';
import { DumpError, UsageError } from './problem.ts';

/** The page table of a dump to open, and facts about the processor that the dump may not have. */
export interface ViewOptions {
  readonly cpu: number | undefined;
  readonly cr3: bigint | undefined;
  readonly cr4: bigint | undefined;
  readonly levels: 4 | 5 | undefined;
  readonly physicalBits: number | undefined;
  readonly encryption: MemoryEncryption | undefined;
  /** EFER.NXE is 0, whatever the dump says. */
  readonly noNx: boolean;
  readonly vendor: 'amd' | 'intel';
}

/** One page table of a dump. */
export interface View {
  readonly file: string;
  readonly dump: Dump;
  readonly cpu: number;
  readonly cr3: bigint;
  readonly cr4: bigint | undefined;
  readonly config: PagingConfig;
  readonly memory: PhysMemory;
  readonly table: PageTable;
  /** Problems of the page table, or of the dump. */
  readonly notices: Notices;
}

/** 32 MiB, enough for the tables of 16 GiB in 4 KiB pages. */
const CACHED_FRAMES = 8192;
const ADDRESS_BITS = 0xf_ffff_ffff_f000n;
const CR0_PG = 31n;
const CR4_PAE = 5n;

/**
 * Opens the page table at CR3 of a dump.
 *
 * @throws UsageError, DumpError
 */
export function openView(file: string, dump: Dump, options: ViewOptions): View {
  const index = options.cpu ?? 0;
  const cpu = dump.cpus[index];
  if (cpu === undefined && options.cpu !== undefined) {
    throw new UsageError(`there is no CPU ${index} in ${file}: it has ${dump.cpus.length}, counted from 0`);
  }
  if (cpu !== undefined && options.cr3 === undefined) requireLongMode(file, index, cpu);
  const cr3 = options.cr3 ?? cpu?.cr3 ?? dump.kernel?.cr3;
  if (cr3 === undefined) throw new DumpError(`${file}: it has no CR3: pass --cr3 (and --levels or --cr4)`);
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
  const table = openTable({ file, root, memory, config, hint });
  const notices = dump.notices ?? new Notices();
  examine(choice, notices);
  return { file, dump, cpu: index, cr3, cr4, config, memory, table, notices };
}

/** Opens the table at `root`, and reads it. This shows that CR3 points to memory, but not that the memory is a table. */
function openTable(at: {
  readonly file: string;
  readonly root: PhysAddr;
  readonly memory: PhysMemory;
  readonly config: PagingConfig;
  readonly hint: () => string;
}): PageTable {
  const { file, root, memory, config, hint } = at;
  try {
    const table = PageTable.open(root, { memory, config });
    memory.words(pageNumber(root), false);
    return table;
  } catch (error) {
    if (!isPageTableError(error, 'BUS_ERROR') && !isPageTableError(error, 'INVALID_FRAME')) throw error;
    throw new DumpError(
      `${file}: CR3 points to ${formatAddress(root)}, where the dump has no memory. ${hint()}`,
    );
  }
}

function configFor(
  dump: Dump,
  cpu: DumpCpu | undefined,
  cr4: bigint | undefined,
  options: ViewOptions,
): PagingConfig {
  const { noNx, vendor } = options;
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

function requireLongMode(file: string, index: number, { cr0, cr4 }: DumpCpu): void {
  const isOff = (register: bigint | undefined, bit: bigint): boolean =>
    register !== undefined && ((register >> bit) & 1n) === 0n;
  const missing = isOff(cr0, CR0_PG) ? 'CR0.PG' : isOff(cr4, CR4_PAE) ? 'CR4.PAE' : undefined;
  if (missing === undefined) return;
  throw new DumpError(
    `${file}: CPU ${index} was not in long mode: ${missing} is 0; select another with --cpu`,
  );
}
