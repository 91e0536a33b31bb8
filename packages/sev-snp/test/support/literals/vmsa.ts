import { type LiteralTable, under } from './literal.ts';

/** The control bits in the save area of a processor. */
export const VMSA: LiteralTable = {
  source:
    'AMD64 APM vol. 2, §3.1, §14.1.3, appendix B table B-4; Linux arch/x86/include/asm/svm.h `struct ' +
    'sev_es_save_area`; COCONUT-SVSM cpuarch/src/vmsa.rs; OpenVMM `SevVmsa`, `SevFeatures`',
  literals: [
    ...under('SevFeature', [
      ['SnpActive', 1n << 0n, 'SVM_SEV_FEAT_SNP_ACTIVE'],
      ['VirtualTom', 1n << 1n, 'vtom'],
      ['ReflectVc', 1n << 2n, 'reflect_vc'],
      ['RestrictedInjection', 1n << 3n, 'SVM_SEV_FEAT_RESTRICTED_INJECTION'],
      ['AlternateInjection', 1n << 4n, 'SVM_SEV_FEAT_ALTERNATE_INJECTION'],
      ['DebugVirtualization', 1n << 5n, 'SVM_SEV_FEAT_DEBUG_SWAP'],
      ['VmplSss', 1n << 8n, 'vmpl_isss'],
    ]),
    ['CS_LONG', 1n << 9n, 'SVM_SELECTOR_L_SHIFT 9'],
    ['EFER_SVME', 1n << 12n, '_EFER_SVME 12'],
    ['VMSA_LAUNCH_GPA', 0xffff_ffff_f000n, 'sev-snp-measure gctx.py VMSA_GPA'],
    ...under('ControlBit', [
      ['Cr0Pe', 1n << 0n, 'X86_CR0_PE_BIT 0'],
      ['Cr0Et', 1n << 4n, 'X86_CR0_ET_BIT 4'],
      ['Cr0Wp', 1n << 16n, 'X86_CR0_WP_BIT 16'],
      ['Cr0Pg', 1n << 31n, 'X86_CR0_PG_BIT 31'],
      ['Cr4Pae', 1n << 5n, 'X86_CR4_PAE_BIT 5'],
      ['Cr4Pge', 1n << 7n, 'X86_CR4_PGE_BIT 7'],
      ['Cr4La57', 1n << 12n, 'X86_CR4_LA57_BIT 12'],
      ['Cr4Pcide', 1n << 17n, 'X86_CR4_PCIDE_BIT 17'],
      ['Cr4Smep', 1n << 20n, 'X86_CR4_SMEP_BIT 20'],
      ['Cr4Smap', 1n << 21n, 'X86_CR4_SMAP_BIT 21'],
      ['Cr4Pke', 1n << 22n, 'X86_CR4_PKE_BIT 22'],
      ['Cr4Cet', 1n << 23n, 'X86_CR4_CET_BIT 23'],
      ['Cr4Pks', 1n << 24n, 'Intel SDM vol. 3A, §2.5: CR4.PKS, bit 24'],
      ['EferLme', 1n << 8n, '_EFER_LME 8'],
      ['EferLma', 1n << 10n, '_EFER_LMA 10'],
      ['EferNxe', 1n << 11n, '_EFER_NX 11'],
      ['EferSvme', 1n << 12n, '_EFER_SVME 12'],
      ['EferUaie', 1n << 20n, 'AMD64 APM vol. 2, §3.1.7: EFER.UAIE, bit 20'],
      ['RflagsAc', 1n << 18n, 'X86_EFLAGS_AC_BIT 18'],
    ]),
    ...under('START_REGISTERS', [
      ['cr0', 0x8001_0011n, 'PE, ET, WP, PG'],
      ['cr3', 0n, "the model's own"],
      ['cr4', 0xa0n, 'PAE, PGE'],
      ['efer', 0x1d00n, 'LME, LMA, NXE, SVME'],
      ['rflags', 2n, 'X86_EFLAGS_FIXED_BIT 1'],
      ['pkru', 0n, "the model's own"],
      ['pkrs', 0n, "the model's own"],
    ]),
    ...under('INIT_REGISTERS', [
      ['cr0', 0x6000_0010n, 'table 14-1: CD, NW, ET'],
      ['cr3', 0n, 'table 14-1'],
      ['cr4', 0n, 'table 14-1'],
      ['efer', 0x1000n, 'table 14-1, and SVME'],
      ['rflags', 2n, 'table 14-1'],
      ['pkru', 0n, 'table 14-1'],
      ['pkrs', 0n, 'table 14-1'],
    ]),
  ],
};
