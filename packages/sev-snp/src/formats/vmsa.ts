import { PAGE_SIZE } from '@svsm/address';
import { refuseArgument } from './arguments.ts';
import { bytesOfInteger, integerOf, requireBits, requireFit, requireLength } from './byte-fields.ts';

/**
 * The fields of a VMSA: offset and size in bytes (AMD64 APM vol. 2, appendix B, table B-4). The attributes of a segment
 * are bits 55:52 and 47:40 of its descriptor, side by side in 12 bits. {@link VMSA_AREAS} has what is wider than 8 bytes.
 */
export const VMSA_FIELDS = {
  esSelector: [0x000, 2],
  esAttributes: [0x002, 2],
  esLimit: [0x004, 4],
  esBase: [0x008, 8],
  csSelector: [0x010, 2],
  csAttributes: [0x012, 2],
  csLimit: [0x014, 4],
  csBase: [0x018, 8],
  ssSelector: [0x020, 2],
  ssAttributes: [0x022, 2],
  ssLimit: [0x024, 4],
  ssBase: [0x028, 8],
  dsSelector: [0x030, 2],
  dsAttributes: [0x032, 2],
  dsLimit: [0x034, 4],
  dsBase: [0x038, 8],
  fsSelector: [0x040, 2],
  fsAttributes: [0x042, 2],
  fsLimit: [0x044, 4],
  fsBase: [0x048, 8],
  gsSelector: [0x050, 2],
  gsAttributes: [0x052, 2],
  gsLimit: [0x054, 4],
  gsBase: [0x058, 8],
  gdtrSelector: [0x060, 2],
  gdtrAttributes: [0x062, 2],
  gdtrLimit: [0x064, 4],
  gdtrBase: [0x068, 8],
  ldtrSelector: [0x070, 2],
  ldtrAttributes: [0x072, 2],
  ldtrLimit: [0x074, 4],
  ldtrBase: [0x078, 8],
  idtrSelector: [0x080, 2],
  idtrAttributes: [0x082, 2],
  idtrLimit: [0x084, 4],
  idtrBase: [0x088, 8],
  trSelector: [0x090, 2],
  trAttributes: [0x092, 2],
  trLimit: [0x094, 4],
  trBase: [0x098, 8],
  pl0Ssp: [0x0a0, 8],
  pl1Ssp: [0x0a8, 8],
  pl2Ssp: [0x0b0, 8],
  pl3Ssp: [0x0b8, 8],
  uCet: [0x0c0, 8],
  vmpl: [0x0ca, 1],
  cpl: [0x0cb, 1],
  efer: [0x0d0, 8],
  xss: [0x140, 8],
  cr4: [0x148, 8],
  cr3: [0x150, 8],
  cr0: [0x158, 8],
  dr7: [0x160, 8],
  dr6: [0x168, 8],
  rflags: [0x170, 8],
  rip: [0x178, 8],
  dr0: [0x180, 8],
  dr1: [0x188, 8],
  dr2: [0x190, 8],
  dr3: [0x198, 8],
  dr0Mask: [0x1a0, 8],
  dr1Mask: [0x1a8, 8],
  dr2Mask: [0x1b0, 8],
  dr3Mask: [0x1b8, 8],
  rsp: [0x1d8, 8],
  sCet: [0x1e0, 8],
  ssp: [0x1e8, 8],
  interruptSspTable: [0x1f0, 8],
  rax: [0x1f8, 8],
  star: [0x200, 8],
  lstar: [0x208, 8],
  cstar: [0x210, 8],
  sfmask: [0x218, 8],
  kernelGsBase: [0x220, 8],
  sysenterCs: [0x228, 8],
  sysenterEsp: [0x230, 8],
  sysenterEip: [0x238, 8],
  cr2: [0x240, 8],
  pat: [0x268, 8],
  debugControl: [0x270, 8],
  branchFrom: [0x278, 8],
  branchTo: [0x280, 8],
  lastExceptionFrom: [0x288, 8],
  lastExceptionTo: [0x290, 8],
  specCtrl: [0x2e0, 8],
  pkru: [0x2e8, 4],
  tscAux: [0x2ec, 4],
  tscScale: [0x2f0, 8],
  tscOffset: [0x2f8, 8],
  registerProtectionNonce: [0x300, 8],
  rcx: [0x308, 8],
  rdx: [0x310, 8],
  rbx: [0x318, 8],
  rbp: [0x328, 8],
  rsi: [0x330, 8],
  rdi: [0x338, 8],
  r8: [0x340, 8],
  r9: [0x348, 8],
  r10: [0x350, 8],
  r11: [0x358, 8],
  r12: [0x360, 8],
  r13: [0x368, 8],
  r14: [0x370, 8],
  r15: [0x378, 8],
  exitInfo1: [0x390, 8],
  exitInfo2: [0x398, 8],
  exitIntInfo: [0x3a0, 8],
  nextRip: [0x3a8, 8],
  sevFeatures: [0x3b0, 8],
  vintrCtrl: [0x3b8, 8],
  exitCode: [0x3c0, 8],
  virtualTom: [0x3c8, 8],
  tlbId: [0x3d0, 8],
  pcpuId: [0x3d8, 8],
  eventInjection: [0x3e0, 8],
  xcr0: [0x3e8, 8],
  x87DataPointer: [0x400, 8],
  mxcsr: [0x408, 4],
  x87Tag: [0x40c, 2],
  x87Status: [0x40e, 2],
  x87Control: [0x410, 2],
  x87Opcode: [0x412, 2],
  x87DataSegment: [0x414, 2],
  x87CodeSegment: [0x416, 2],
  x87InstructionPointer: [0x418, 8],
  lbrSelect: [0x770, 8],
  ibsFetchControl: [0x778, 8],
  ibsFetchAddress: [0x780, 8],
  ibsOpControl: [0x788, 8],
  ibsOpRip: [0x790, 8],
  ibsOpData: [0x798, 8],
  ibsOpData2: [0x7a0, 8],
  ibsOpData3: [0x7a8, 8],
  ibsDataAddress: [0x7b0, 8],
  ibsBranchTarget: [0x7b8, 8],
  ibsFetchControlExtended: [0x7c0, 8],
} as const;

/**
 * The areas of a VMSA that are wider than a field: offset and size in bytes (AMD64 APM vol. 2, appendix B, table B-4).
 * `vmsa.subarray(offset, offset + size)` is the area.
 */
export const VMSA_AREAS = {
  /** ST(0) to ST(7), 10 bytes each. */
  x87Registers: [0x420, 80],
  /** XMM0 to XMM15, 16 bytes each. */
  xmmRegisters: [0x470, 256],
  /** The high halves of YMM0 to YMM15, 16 bytes each. */
  ymmHighRegisters: [0x570, 256],
  /** 16 records of the last branches, with two addresses each. */
  branchRecords: [0x670, 256],
} as const;

/** The name of a field of a VMSA. */
export type VmsaField = keyof typeof VMSA_FIELDS;

/** Bits of SEV_FEATURES (AMD64 APM vol. 2, appendix B, table B-4). */
export const SevFeature = {
  SnpActive: 0x1n,
  VirtualTom: 0x2n,
  ReflectVc: 0x4n,
  RestrictedInjection: 0x8n,
  AlternateInjection: 0x10n,
  DebugVirtualization: 0x20n,
  /** VMPL SSS: supervisor shadow stacks need their bit in the mask (AMD64 APM vol. 2, §15.36.7). */
  VmplSss: 0x100n,
} as const;

/** The bit L of the attributes of a code segment in a VMSA: 64-bit mode while EFER.LMA is 1 (AMD64 APM vol. 2, appendix B). */
export const CS_LONG = 0x200n;

/** EFER.SVME. A VMSA in which it is clear cannot be run (AMD64 APM vol. 2, §15.4). */
export const EFER_SVME = 0x1000n;

/**
 * The value of a field of a VMSA. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if `vmsa` is not 4096 bytes long, or the field does not exist
 *
 * @example
 * ```ts
 * import { readVmsa, writeVmsa } from '@svsm/sev-snp/formats';
 *
 * const vmsa = new Uint8Array(4096);
 * writeVmsa(vmsa, 'rip', 0xfff0n);
 * console.log(readVmsa(vmsa, 'rip'), vmsa[0x178]); // => 65520n 240
 * ```
 */
export function readVmsa(vmsa: Uint8Array, field: VmsaField): bigint {
  const [offset, size] = placeOf(field);
  requireLength(vmsa, PAGE_SIZE, 'a VMSA');
  return integerOf(vmsa.subarray(offset, offset + size));
}

/**
 * Sets a field of a VMSA. O(1).
 *
 * @throws SnpError `INVALID_ARGUMENT` if `vmsa` is not 4096 bytes long, or the field does not exist; `INVALID_MESSAGE` if the
 *   value does not fit, or a CPL is more than 3
 */
export function writeVmsa(vmsa: Uint8Array, field: VmsaField, value: bigint): void {
  const [offset, size] = placeOf(field);
  requireLength(vmsa, PAGE_SIZE, 'a VMSA');
  requireFit(field, value, size);
  if (field === 'cpl') requireBits(field, Number(value), 2);
  vmsa.set(bytesOfInteger(value, size), offset);
}

function placeOf(field: VmsaField): (typeof VMSA_FIELDS)[VmsaField] {
  if (typeof field === 'string' && Object.hasOwn(VMSA_FIELDS, field)) return VMSA_FIELDS[field];
  return refuseArgument('the field of a VMSA', field, 'pass a name of VMSA_FIELDS');
}
