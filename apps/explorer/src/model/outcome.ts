import { isMmError } from '@svsm/mm';
import { isPageTableError } from '@svsm/pagetable';
import {
  type Accessor,
  isSnpError,
  isSnpFault,
  NpfInfo,
  RMP_CHECKS,
  type RmpAccessKind,
  type RmpCheck,
} from '@svsm/sev-snp';
import type { Outcome } from './step.ts';

/** The outcome of a step that threw. Rethrows what is not a fault of the machine or a refusal of the software: a bug. */
export function outcomeOf(error: unknown): Outcome {
  if (isSnpFault(error, 'NPF')) {
    const { exitInfo1, check } = error.details;
    const isPrivate = (exitInfo1 & NpfInfo.Encrypted) !== 0n;
    const kind = (exitInfo1 & NpfInfo.Write) !== 0n ? 'write' : 'read';
    const row = placeOf(isPrivate ? 'snp-guest-private' : 'snp-guest-shared', kind, check);
    return { kind: 'fault', text: error.message, check: row };
  }
  if (isSnpFault(error, 'HOST_PF'))
    return { kind: 'fault', text: error.message, check: placeOf('host', 'write', error.details.check) };
  if (isSnpFault(error, 'VC_NOT_VALIDATED'))
    return {
      kind: 'fault',
      text: error.message,
      check: placeOf('snp-guest-private', 'read', 'validated', ''),
    };
  if (isSnpFault(error)) return { kind: 'fault', text: error.message };
  if (isSnpError(error) || isMmError(error) || isPageTableError(error))
    return { kind: 'refused', text: error.message, check: `the software, with ${error.code}` };
  throw error;
}

const WHO: Readonly<Record<Accessor, string>> = {
  host: 'host',
  'non-snp-guest': 'guest without SNP',
  'snp-guest-private': 'SNP guest, private access',
  'snp-guest-shared': 'SNP guest, shared access',
};

/** The place of a check among those that an access has to pass (AMD64 APM vol. 2, table 15-39). */
function placeOf(accessor: Accessor, kind: RmpAccessKind, check: string, name = `, ${kind}`): string {
  const checks = RMP_CHECKS[accessor][kind] ?? [];
  const place = checks.indexOf(check as RmpCheck);
  if (check.startsWith('nested-')) return `the nested page table, before the RMP: ${check.slice(7)}`;
  if (place < 0) return `a check of the instruction: ${check}`;
  return `AMD64 APM vol. 2, table 15-39, ${WHO[accessor]}${name}: check ${place + 1} of ${checks.length}, ${check}`;
}
