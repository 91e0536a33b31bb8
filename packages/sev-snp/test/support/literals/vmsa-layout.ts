import { type LiteralTable, under } from './literal.ts';

/** Runs of fields without a gap: the offset of the first, the size of each, and `name:name in the source`. */
const RUNS: readonly (readonly [offset: number, size: number, names: string])[] = [
  [0x0a0, 8, 'pl0Ssp:pl0_ssp pl1Ssp:pl1_ssp pl2Ssp:pl2_ssp pl3Ssp:pl3_ssp uCet:u_cet'],
  [0x0ca, 1, 'vmpl:vmpl cpl:cpl'],
  [0x0d0, 8, 'efer:efer'],
  [0x140, 8, 'xss:xss cr4:cr4 cr3:cr3 cr0:cr0 dr7:dr7 dr6:dr6 rflags:rflags rip:rip'],
  [0x180, 8, 'dr0:dr0 dr1:dr1 dr2:dr2 dr3:dr3'],
  [0x1a0, 8, 'dr0Mask:dr0_addr_mask dr1Mask:dr1_addr_mask dr2Mask:dr2_addr_mask dr3Mask:dr3_addr_mask'],
  [0x1d8, 8, 'rsp:rsp sCet:s_cet ssp:ssp interruptSspTable:isst_addr rax:rax'],
  [0x200, 8, 'star:star lstar:lstar cstar:cstar sfmask:sfmask kernelGsBase:kernel_gs_base'],
  [0x228, 8, 'sysenterCs:sysenter_cs sysenterEsp:sysenter_esp sysenterEip:sysenter_eip cr2:cr2'],
  [0x268, 8, 'pat:g_pat debugControl:dbgctl branchFrom:br_from branchTo:br_to'],
  [0x288, 8, 'lastExceptionFrom:last_excp_from lastExceptionTo:last_excp_to'],
  [0x2e0, 8, 'specCtrl:spec_ctrl'],
  [0x2e8, 4, 'pkru:pkru tscAux:tsc_aux'],
  [0x2f0, 8, 'tscScale:tsc_scale tscOffset:tsc_offset registerProtectionNonce:reg_prot_nonce'],
  [0x308, 8, 'rcx:rcx rdx:rdx rbx:rbx'],
  [0x328, 8, 'rbp:rbp rsi:rsi rdi:rdi'],
  [0x340, 8, 'r8:r8 r9:r9 r10:r10 r11:r11 r12:r12 r13:r13 r14:r14 r15:r15'],
  [0x390, 8, 'exitInfo1:guest_exit_info_1 exitInfo2:guest_exit_info_2 exitIntInfo:guest_exit_int_info'],
  [0x3a8, 8, 'nextRip:guest_nrip sevFeatures:sev_features vintrCtrl:vintr_ctrl exitCode:guest_exit_code'],
  [0x3c8, 8, 'virtualTom:virtual_tom tlbId:tlb_id pcpuId:pcpu_id eventInjection:event_inj xcr0:xcr0'],
  [0x400, 8, 'x87DataPointer:x87_dp'],
  [0x408, 4, 'mxcsr:mxcsr'],
  [0x40c, 2, 'x87Tag:x87_ftw x87Status:x87_fsw x87Control:x87_fcw x87Opcode:x87_fop'],
  [0x414, 2, 'x87DataSegment:x87_ds x87CodeSegment:x87_cs'],
  [0x418, 8, 'x87InstructionPointer:x87_rip'],
  [0x770, 8, 'lbrSelect:lbr_select ibsFetchControl:ibs_fetch_ctl ibsFetchAddress:ibs_fetch_linear_addr'],
  [0x788, 8, 'ibsOpControl:ibs_op_ctl ibsOpRip:ibs_op_rip ibsOpData:ibs_op_data'],
  [0x7a0, 8, 'ibsOpData2:ibs_op_data2 ibsOpData3:ibs_op_data3 ibsDataAddress:ibs_dc_linear_addr'],
  [0x7b8, 8, 'ibsBranchTarget:ibs_br_target ibsFetchControlExtended:ibs_fetch_extd_ctl'],
];

const SEGMENTS = ['es', 'cs', 'ss', 'ds', 'fs', 'gs', 'gdtr', 'ldtr', 'idtr', 'tr'];

/** The fields of the save area of a processor. */
export const VMSA_LAYOUT: LiteralTable = {
  source:
    'AMD64 APM vol. 2, appendix B table B-4; Linux arch/x86/include/asm/svm.h `struct sev_es_save_area`; ' +
    'COCONUT-SVSM cpuarch/src/vmsa.rs; Microsoft IGVM snp_defs.rs for SPEC_CTRL',
  literals: [
    ...under('VMSA_FIELDS', [
      ...SEGMENTS.flatMap((segment, k) => [
        [`${segment}Selector`, [16 * k, 2], `${segment}.selector`] as const,
        [`${segment}Attributes`, [16 * k + 2, 2], `${segment}.attrib`] as const,
        [`${segment}Limit`, [16 * k + 4, 4], `${segment}.limit`] as const,
        [`${segment}Base`, [16 * k + 8, 8], `${segment}.base`] as const,
      ]),
      ...RUNS.flatMap(([offset, size, names]) =>
        names.split(' ').map((pair, k) => {
          const [name = '', inSource = ''] = pair.split(':');
          return [name, [offset + k * size, size], inSource] as const;
        }),
      ),
    ]),
    ...under('VMSA_AREAS', [
      ['x87Registers', [0x420, 80], 'fpreg_x87'],
      ['xmmRegisters', [0x470, 256], 'fpreg_xmm'],
      ['ymmHighRegisters', [0x570, 256], 'fpreg_ymm'],
      ['branchRecords', [0x670, 256], 'lbr_stack_from_to'],
    ]),
  ],
};
