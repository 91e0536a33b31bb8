import { PAGE_SIZE_2M } from '@svsm/address';
import { VMPL_COUNT } from '../formats/vmpl.ts';
import { EFER_SVME, readVmsa, SevFeature } from '../formats/vmsa.ts';
import { ControlBit, guestFeatures, heldRegisters, isFlags } from './vcpu-registers.ts';
import { stateOfVmsa, type VcpuState } from './vcpu-state.ts';

/** The features of SEV_FEATURES that have an effect in the model. */
const MODELLED: bigint = SevFeature.SnpActive | SevFeature.VirtualTom | SevFeature.VmplSss;

/** The bit D of the attributes of a code segment. */
const CS_DEFAULT_32 = 0x400n;
/** Shadow stacks have bits 1:0 of S_CET and U_CET. The others are reserved: AMD has no indirect branch tracking. */
const CET_BITS = 3n;
/** The memory types of a byte of PAT: UC, WC, WT, WP, WB and UC- (AMD64 APM vol. 2, table 7-9). */
const PAT_TYPES: ReadonlySet<number> = /* @__PURE__ */ new Set([0, 1, 4, 5, 6, 7]);

/** The widths that depend on machine and guest: the position of the C-bit, and the bits of an address. */
interface Widths {
  readonly cBit: number;
  readonly physicalBits: number;
}

type Check = (state: VcpuState, image: Uint8Array, widths: Widths) => boolean;

const isLong = ({ control: { cr0, efer } }: VcpuState): boolean =>
  (efer & ControlBit.EferLme) !== 0n && (cr0 & ControlBit.Cr0Pg) !== 0n;

/**
 * The conditions that the state in a VMSA must meet: "Canonicalization and Consistency Checks" of AMD64 APM vol. 2, §15.5.1,
 * as far as they are about the state; G_PAT: §15.25.4; the VMPL and SEV_FEATURES: §15.36. The registers cover CR0.NW
 * without CD, bits that must be 0 in CR0, CR3, CR4 and EFER, long mode without PAE or protection, and CR4.CET without
 * CR0.WP. The model also refuses 32-bit and PAE paging, paging in real mode, virtual-8086 mode, injected events and virtual
 * interrupts, and features without an effect.
 */
const CHECKS: Readonly<Record<string, Check>> = {
  'EFER.SVME is 1': ({ control: { efer } }) => (efer & EFER_SVME) !== 0n,
  'DR6[63:32] are 0': (_, image) => readVmsa(image, 'dr6') >> 32n === 0n,
  'DR7[63:32] are 0': (_, image) => readVmsa(image, 'dr7') >> 32n === 0n,
  'CS.L and CS.D are not both 1 in long mode': (state, image) =>
    !(isLong(state) && state.csL && (readVmsa(image, 'csAttributes') & CS_DEFAULT_32) !== 0n),
  'reserved bits of S_CET are 0': (_, image) => (readVmsa(image, 'sCet') & ~CET_BITS) === 0n,
  'reserved bits of U_CET are 0': (_, image) => (readVmsa(image, 'uCet') & ~CET_BITS) === 0n,
  'each byte of PAT is a memory type': (_, image) => {
    const pat = readVmsa(image, 'pat');
    return Array.from({ length: 8 }, (_, k) => Number((pat >> BigInt(8 * k)) & 0xffn)).every((type) =>
      PAT_TYPES.has(type),
    );
  },
  'SNP is active': (_, image) => (readVmsa(image, 'sevFeatures') & SevFeature.SnpActive) !== 0n,
  'the features are modelled': (_, image) => (readVmsa(image, 'sevFeatures') & ~MODELLED) === 0n,
  'the VMPL exists': (_, image) => readVmsa(image, 'vmpl') < VMPL_COUNT,
  'the CPL exists': ({ cpl }) => cpl <= 3,
  'no bit of RFLAGS is reserved, and VM is clear': ({ control: { rflags } }) => isFlags(rflags),
  'no event is injected': (_, image) => readVmsa(image, 'eventInjection') === 0n,
  'no virtual interrupt waits': (_, image) => readVmsa(image, 'vintrCtrl') === 0n,
  'XCR0[0] is 1': (_, image) => (readVmsa(image, 'xcr0') & 1n) === 1n,
  'VIRTUAL_TOM is a multiple of 2 MiB': ({ virtualTom = 0n }) => virtualTom % BigInt(PAGE_SIZE_2M) === 0n,
  'the registers are those of a processor': ({ control, csL, virtualTom }, _, { cBit, physicalBits }) => {
    // With VIRTUAL_TOM the C-bit is reserved, and it is the first bit above an address.
    const features =
      virtualTom === undefined ? guestFeatures(physicalBits, cBit) : guestFeatures(cBit, undefined);
    return heldRegisters(control, csL, features) !== undefined;
  },
};

/** The first condition that the state in a VMSA does not meet; `undefined` if VMRUN accepts it. O(1). */
export function failedVmsaCheck(image: Uint8Array, cBit: number, physicalBits: number): string | undefined {
  const widths = { cBit, physicalBits };
  const state = stateOfVmsa(image, 0n);
  return Object.keys(CHECKS).find((name) => CHECKS[name]?.(state, image, widths) !== true);
}
