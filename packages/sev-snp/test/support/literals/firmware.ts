import { type LiteralTable, under } from './literal.ts';

/** The firmware's ABI: page types of a launch, statuses, states of guests, the CPUID page, swap records. */
export const FIRMWARE: LiteralTable = {
  source:
    'AMD 56860; AMD-ASPFW sev_mcmd.h, sev_guest.h and sev_rmp.h; Linux uapi/linux/psp-sev.h; OpenVMM `SnpPageType`; Linux arch/x86/include/asm/sev.h',
  literals: [
    ...under('LaunchPageType', [
      ['Normal', 1, 'PAGE_TYPE_NORMAL'],
      ['Vmsa', 2, 'PAGE_TYPE_VMSA'],
      ['Zero', 3, 'PAGE_TYPE_ZERO'],
      ['Unmeasured', 4, 'PAGE_TYPE_UNMEASURED'],
      ['Secrets', 5, 'PAGE_TYPE_SECRETS'],
      ['Cpuid', 6, 'PAGE_TYPE_CPUID'],
    ]),
    ...under('FirmwareStatus', [
      ['INVALID_GUEST_STATE', 0x02, 'INVALID_GUEST_STATE'],
      ['INVALID_CONFIG', 0x03, 'INVALID_CONFIG'],
      ['INACTIVE', 0x08, 'INACTIVE'],
      ['INVALID_ADDRESS', 0x09, 'INVALID_ADDRESS'],
      ['BAD_MEASUREMENT', 0x0b, 'BAD_MEASUREMENT'],
      ['ASID_OWNED', 0x0c, 'ASID_OWNED'],
      ['INVALID_ASID', 0x0d, 'INVALID_ASID'],
      ['WBINVD_REQUIRED', 0x0e, 'WBINVD_REQUIRED'],
      ['DF_FLUSH_REQUIRED', 0x0f, 'DFFLUSH_REQUIRED'],
      ['INVALID_GUEST', 0x10, 'INVALID_GUEST'],
      ['ACTIVE', 0x12, 'ACTIVE'],
      ['INVALID_PARAM', 0x16, 'INVALID_PARAM'],
      ['INVALID_PAGE_SIZE', 0x19, 'INVALID_PAGE_SIZE'],
      ['INVALID_PAGE_STATE', 0x1a, 'INVALID_PAGE_STATE'],
      ['INVALID_MDATA_ENTRY', 0x1b, 'INVALID_MDATA_ENTRY'],
      ['INVALID_PAGE_OWNER', 0x1c, 'INVALID_PAGE_OWNER'],
    ]),
    ...under('GuestState', [
      ['Init', 'INIT', 'SNP_GUEST_STATE_INIT'],
      ['Launch', 'LAUNCH', 'SNP_GUEST_STATE_LAUNCH'],
      ['Running', 'RUNNING', 'SNP_GUEST_STATE_RUNNING'],
    ]),
    ['CPUID_MAX_ENTRIES', 64, 'SNP_CPUID_COUNT_MAX'],
    ['SWAP_RECORD_SIZE', 64, 'SNP_METADATA_ENTRY_SIZE'],
    ['SWAP_RECORDS_PER_PAGE', 64, '4096 / 64'],
  ],
};
