import { type LiteralTable, under } from './literal.ts';

/** The firmware's ABI: page types of a launch, the CPUID page, swap records. */
export const FIRMWARE: LiteralTable = {
  source:
    'AMD 56860; AMD-ASPFW sev_mcmd.h and sev_rmp.h; OpenVMM `SnpPageType`; Linux arch/x86/include/asm/sev.h',
  literals: [
    ...under('LaunchPageType', [
      ['Normal', 1, 'PAGE_TYPE_NORMAL'],
      ['Vmsa', 2, 'PAGE_TYPE_VMSA'],
      ['Zero', 3, 'PAGE_TYPE_ZERO'],
      ['Unmeasured', 4, 'PAGE_TYPE_UNMEASURED'],
      ['Secrets', 5, 'PAGE_TYPE_SECRETS'],
      ['Cpuid', 6, 'PAGE_TYPE_CPUID'],
    ]),
    ['DIGEST_SIZE', 48, 'SHA-384: 384 / 8'],
    ['CPUID_MAX_ENTRIES', 64, 'SNP_CPUID_COUNT_MAX'],
    ['SWAP_RECORD_SIZE', 64, 'SNP_METADATA_ENTRY_SIZE'],
    ['SWAP_RECORDS_PER_PAGE', 64, '4096 / 64'],
  ],
};
