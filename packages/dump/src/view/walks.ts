import { type PhysAddr, pageTableIndex, type VirtAddr } from '@svsm/address';
import { decodeEntry, isPageTableError, readPhys64, reservedBits } from '@svsm/pagetable';
import type { DumpView } from './dump-view.ts';
import { requireView } from './dump-view.ts';
import { namedBits, protectionKey } from './entry-bits.ts';
import { dumpRecord } from './listing.ts';
import type { DumpRecord, EndRecord, StepRecord, WalkRecord } from './record.ts';
import { isFault, requireAddresses, translationOf } from './translation.ts';

/**
 * The walk for each address, level by level, as far as it goes. A corrupted entry is shown like any other.
 *
 * @throws DumpError as {@link listTranslations}
 */
export function* listWalks(
  view: DumpView,
  addresses: Iterable<bigint>,
): Generator<DumpRecord | WalkRecord | EndRecord, undefined, undefined> {
  requireView('view', view);
  requireAddresses(addresses);
  yield dumpRecord(view);
  let count = 0;
  let faults = 0;
  for (const vaddr of addresses) {
    const result = translationOf(view, vaddr);
    const steps = result.obstacle === 'not-canonical' ? [] : stepsOf(view, vaddr as VirtAddr);
    count += 1;
    if (isFault(result.obstacle)) faults += 1;
    yield { type: 'walk', vaddr, steps, result };
  }
  yield { type: 'end', what: 'addresses', count, bytes: null, faults };
}

/** The entries from the root down to the page, to an entry that is not present or corrupted, or to a table outside memory. */
function stepsOf({ table, memory, config }: DumpView, vaddr: VirtAddr): StepRecord[] {
  const steps: StepRecord[] = [];
  let at = table.root as PhysAddr;
  for (let level = config.levels - 1; level >= 0; level -= 1) {
    const index = pageTableIndex(vaddr, level);
    const entryAddress = (at + BigInt(8 * index)) as PhysAddr;
    let raw: bigint;
    try {
      raw = readPhys64(memory, entryAddress);
    } catch (error) {
      if (isPageTableError(error, 'BUS_ERROR')) break;
      throw error;
    }
    const { present, leaf, address, flags } = decodeEntry(raw, level, config);
    const reserved = reservedBits(raw, level, config);
    const shape = { level, leaf };
    const encryption = config.encryption;
    const encrypted = encryption && {
      [encryption.mode === 'vtom' ? 'vTOM' : 'C']: ((raw >> BigInt(encryption.bit)) & 1n) === 1n,
    };
    steps.push({
      level,
      table: at,
      index,
      entryAddress,
      entry: raw,
      present,
      leaf: present && leaf,
      address: present ? address : null,
      bits: present ? { ...namedBits(flags, shape), ...encrypted } : { P: false },
      protectionKey: present ? protectionKey(flags, shape) : null,
      reserved,
    });
    if (!present || leaf || reserved !== 0n) break;
    at = address;
  }
  return steps;
}
