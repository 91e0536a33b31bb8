import { type LiteralTable, under } from './literal.ts';

/** The core protocol of the SVSM. */
export const SVSM: LiteralTable = {
  source:
    'AMD 58019, §4 to §6.8; Linux arch/x86/include/asm/sev.h `SVSM_*`; COCONUT-SVSM kernel/src/protocols',
  literals: [
    ...under('SvsmCall', [
      ['RemapCa', 0, 'SVSM_CORE_REMAP_CA'],
      ['Pvalidate', 1, 'SVSM_CORE_PVALIDATE'],
      ['CreateVcpu', 2, 'SVSM_CORE_CREATE_VCPU'],
      ['DeleteVcpu', 3, 'SVSM_CORE_DELETE_VCPU'],
      ['DepositMem', 4, 'SVSM_CORE_DEPOSIT_MEM'],
      ['WithdrawMem', 5, 'SVSM_CORE_WITHDRAW_MEM'],
      ['QueryProtocol', 6, 'SVSM_CORE_QUERY_PROTOCOL'],
      ['ConfigureVtom', 7, 'SVSM_CORE_CONFIGURE_VTOM'],
    ]),
    ...under('SvsmResult', [
      ['Success', 0, 'SVSM_SUCCESS'],
      ['Incomplete', 0x8000_0000, 'SVSM_ERR_INCOMPLETE'],
      ['UnsupportedProtocol', 0x8000_0001, 'SVSM_ERR_UNSUPPORTED_PROTOCOL'],
      ['UnsupportedCall', 0x8000_0002, 'SVSM_ERR_UNSUPPORTED_CALL'],
      ['InvalidAddress', 0x8000_0003, 'SVSM_ERR_INVALID_ADDRESS'],
      ['InvalidFormat', 0x8000_0004, 'SVSM_ERR_INVALID_FORMAT'],
      ['InvalidParameter', 0x8000_0005, 'SVSM_ERR_INVALID_PARAMETER'],
      ['InvalidRequest', 0x8000_0006, 'SVSM_ERR_INVALID_REQUEST'],
      ['Busy', 0x8000_0007, 'SVSM_ERR_BUSY'],
      ['InstructionFailed', 0x8000_1000, 'SVSM_PVALIDATE_FAIL_SIZEMISMATCH 0x80001006, less its code 6'],
      ['PvalidateUnchanged', 0x8000_1010, '58019, table 7: FAIL_NOUPDATE'],
    ]),
    ['SVSM_LIST_ENTRY_SIZE', 8, 'sizeof(struct svsm_pvalidate_entry)'],
    ['SVSM_CALL_BUFFER', 8, 'offsetof(struct svsm_ca, svsm_buffer)'],
    ['SVSM_LIST_MAX', 510, 'SVSM_PVALIDATE_MAX_COUNT: (4096 - 8 - 8) / 8'],
    ['SVSM_MAX_ATTEMPTS', 1024, "the model's own limit"],
  ],
};
