import { type LiteralTable, under } from './literal.ts';

/** Exit codes of the processor, and the bits of a nested page fault. */
export const EXITS: LiteralTable = {
  source:
    'AMD64 APM vol. 2, §15.25.6, §15.36.10, appendix C; Linux uapi/asm/svm.h, asm/kvm_host.h `PFERR_*`; OpenVMM ' +
    '`SevExitCode`, `SevNpfInfo`; COCONUT-SVSM cpuarch/src/vmsa.rs `GuestVMExit`',
  literals: [
    ...under('VmExit', [
      ['Halt', 0x78n, 'SVM_EXIT_HLT'],
      ['NestedPageFault', 0x400n, 'SVM_EXIT_NPF'],
      ['Vmgexit', 0x403n, 'SVM_EXIT_VMGEXIT'],
      ['PageNotValidated', 0x404n, 'PAGE_NOT_VALIDATED'],
      ['NotRestartable', 0x406n, 'NOT_RESTARTABLE'],
      ['Invalid', -1n, 'VMEXIT_INVALID, SVM_EXIT_ERR'],
      ['Busy', -2n, 'VMEXIT_BUSY'],
      ['IdleRequired', -3n, 'IDLE_REQUIRED'],
      ['InvalidPmc', -4n, 'INVALID_PMC'],
    ]),
    ['VMEXIT_NPF', 0x400, 'SVM_EXIT_NPF'],
    ['PAGE_NOT_VALIDATED', 0x404, 'PAGE_NOT_VALIDATED'],
    ...under('NpfInfo', [
      ['Present', 1n << 0n, 'PFERR_PRESENT_MASK'],
      ['Write', 1n << 1n, 'PFERR_WRITE_MASK'],
      ['User', 1n << 2n, 'PFERR_USER_MASK'],
      ['Reserved', 1n << 3n, 'PFERR_RSVD_MASK'],
      ['Fetch', 1n << 4n, 'PFERR_FETCH_MASK'],
      ['ShadowStack', 1n << 6n, 'shadow_stack'],
      ['Rmp', 1n << 31n, 'PFERR_GUEST_RMP_MASK'],
      ['FinalAddress', 1n << 32n, 'PFERR_GUEST_FINAL_MASK'],
      ['GuestTable', 1n << 33n, 'PFERR_GUEST_PAGE_MASK'],
      ['Encrypted', 1n << 34n, 'PFERR_GUEST_ENC_MASK'],
      ['SizeMismatch', 1n << 35n, 'PFERR_GUEST_SIZEM_MASK'],
      ['Vmpl', 1n << 36n, 'PFERR_GUEST_VMPL_MASK'],
      ['SupervisorShadowStack', 1n << 37n, 'npt_supervisor_shadow_stack'],
      ['NotRestartable', 1n << 63n, 'not_restartable'],
    ]),
  ],
};
