import { type LiteralTable, under } from './literal.ts';

/** Firmware images and processors at reset. */
export const IMAGES: LiteralTable = {
  source:
    'EDK2 OvmfPkg/ResetVector/X64/OvmfSevMetadata.nasm.inc, Ia16/ResetVectorVtf0.nasm.inc; Microsoft igvm_defs; QEMU ' +
    'target/i386/cpu.c `builtin_x86_defs`, target/i386/sev.c; sev-snp-measure',
  literals: [
    ...under('OvmfSectionType', [
      ['SecMem', 0x1, 'OVMF_SECTION_TYPE_SNP_SEC_MEM'],
      ['Secrets', 0x2, 'OVMF_SECTION_TYPE_SNP_SECRETS'],
      ['Cpuid', 0x3, 'OVMF_SECTION_TYPE_CPUID'],
      ['SvsmCaa', 0x4, 'OVMF_SECTION_TYPE_SVSM_CAA'],
      ['KernelHashes', 0x10, 'OVMF_SECTION_TYPE_KERNEL_HASHES'],
    ]),
    ...under('OvmfGuid', [
      ['Footer', '96b582de-1fb2-45f7-baea-a366c55a082d', 'GUID (table footer)'],
      ['SevMetadata', 'dc886566-984a-4798-a75e-5585a7bf67cc', 'OvmfSevMetadataOffsetStart'],
      ['SevHashes', '7255371f-3a3b-4b04-927b-1da6efa8d454', 'GUID (SEV FW config hash block)'],
      ['SevEsReset', '00f771de-1a7e-4fcb-890e-68c77e2fb44e', 'GUID (SEV-ES reset block)'],
      ['Svsm', 'a789a612-0597-4c4b-a49f-cbb1fe9d1ddd', 'SVSM_INFO_GUID'],
    ]),
    ...under('IgvmPlatform', [
      ['Native', 0, 'NATIVE'],
      ['VsmIsolation', 1, 'VSM_ISOLATION'],
      ['SevSnp', 2, 'SEV_SNP'],
      ['Tdx', 3, 'TDX'],
      ['Sev', 4, 'SEV'],
      ['SevEs', 5, 'SEV_ES'],
    ]),
    ...under(
      'CPU_SIGNATURES',
      (
        [
          [0x80_0f12, 'EPYC EPYC-v1 EPYC-v2 EPYC-IBPB EPYC-v3 EPYC-v4'],
          [0x83_0f10, 'EPYC-Rome EPYC-Rome-v1 EPYC-Rome-v2 EPYC-Rome-v3'],
          [0xa0_0f11, 'EPYC-Milan EPYC-Milan-v1 EPYC-Milan-v2'],
          [0xa1_0f10, 'EPYC-Genoa EPYC-Genoa-v1'],
          [0xb0_0f00, 'EPYC-Turin'],
        ] as const
      ).flatMap(([signature, models]) =>
        models.split(' ').map((model) => [model, signature, `${model}: family, model, stepping`] as const),
      ),
    ),
    ['KERNEL_HASHES_SIZE', 176, 'sizeof(PaddedSevHashTable)'],
  ],
};
