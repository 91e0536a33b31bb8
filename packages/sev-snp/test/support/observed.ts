/** The observations of assumptions: one value for each choice, in the order of the choices. */
import { PageSize } from '@svsm/address';
import type { Assumptions } from '../../src/formats/assumptions.ts';
import { RmpResult } from '../../src/formats/rmp-result.ts';
import { SvsmResult } from '../../src/formats/svsm-protocol.ts';
import { gvaOf, MiB } from './world.ts';

const { SUCCESS, FAIL_INPUT, FAIL_PERMISSION, FAIL_INUSE, FAIL_OVERLAP, FAIL_SIZEMISMATCH, FAIL_BADADDR } =
  RmpResult;
const { Success, InvalidParameter, InvalidFormat } = SvsmResult;
const PAGE = gvaOf(2 * MiB + 0x1000);
const QUERIED = { result: SUCCESS, permissions: 0, vmsa: false, pageSize: PageSize.Huge };
const reserved = (errorCode: number) => ['PF', { errorCode, gva: PAGE }];
const UNWRITABLE = ['PF', { errorCode: 0x3, gva: gvaOf(64 * MiB) }];

/** A fault is its code and some of its details. */
export const OBSERVED: Record<keyof Assumptions, readonly unknown[]> = {
  exceptionOrder: [
    ['UD', { instruction: 'RMPQUERY' }],
    ['GP', { errorCode: 0 }],
  ],
  resultFlags: [0x45n, 0x41n],
  pvalidateAboveVmpl0: [['GP', { errorCode: 0 }], { result: FAIL_PERMISSION, unchanged: false }],
  carryOnFailure: [
    { result: FAIL_INPUT, unchanged: false },
    { result: FAIL_INPUT, unchanged: true },
  ],
  lowAddressBits: [
    [SUCCESS, SUCCESS, { result: SUCCESS }],
    [FAIL_INPUT, FAIL_INPUT, { result: FAIL_INPUT }],
  ],
  operandAccess: [QUERIED, UNWRITABLE],
  sharedOperand: [['NPF', { exitInfo1: 0x1_8000_0005n, gva: PAGE, check: 'guest-owned' }], QUERIED],
  guestSizeMatters: [{ result: SUCCESS }, { result: FAIL_SIZEMISMATCH }],
  defaultMasks: [
    [0x1f, 0, 0, 0],
    [0, 0, 0, 0],
  ],
  resetMaskOfVmpl0: [
    [0x1f, 0, 0, 0],
    [0xf, 0, 0, 0],
  ],
  inUseTest: [
    [FAIL_INPUT, FAIL_INUSE],
    [FAIL_INUSE, FAIL_INUSE],
    [FAIL_INPUT, FAIL_PERMISSION],
  ],
  alignedPageBlocksHuge: [FAIL_OVERLAP, SUCCESS],
  rmpupdateReset: [true, false],
  smallUpdateInHuge: [FAIL_OVERLAP, SUCCESS],
  psmashBadPage: [FAIL_BADADDR, FAIL_OVERLAP],
  psmashImmutable: [FAIL_BADADDR, FAIL_PERMISSION],
  subpageCount: [
    [1, 511],
    [0, 0],
  ],
  sourceVmsa: [['VMRUN', { exitCode: -1n }], 0],
  rmpqueryLevels: [
    [FAIL_PERMISSION, SUCCESS, SUCCESS],
    [FAIL_PERMISSION, FAIL_PERMISSION, SUCCESS],
    [SUCCESS, SUCCESS, SUCCESS],
  ],
  rmpqueryNeedsValidated: [['VC_NOT_VALIDATED', { errorCode: 0x404, gva: PAGE }], QUERIED],
  rmpadjustReservedBits: [FAIL_INPUT, SUCCESS],
  rmpadjustVmplRange: [FAIL_INPUT, FAIL_PERMISSION],
  inUseErratum: [['HOST_PF', { errorCode: 0x8000_0003, check: 'hypervisor-owned' }], undefined],
  hostTableReads: ['hypervisor-owned', undefined],
  exitInfo2: [
    ['NPF', { gpa: 0x20_1005n, gva: gvaOf(0x20_1005), check: 'guest-owned' }],
    ['NPF', { gpa: 0x20_1000n, gva: gvaOf(0x20_1005), check: 'guest-owned' }],
  ],
  cr2OnCrossing: [gvaOf(8 * MiB), gvaOf(8 * MiB - 4)],
  reservedFaultPresent: [
    [reserved(0xb), UNWRITABLE],
    [reserved(0xa), UNWRITABLE],
  ],
  accessedOnFault: [
    [0, 0, 0],
    [0x20, 0x20, 0],
  ],
  eferLmaWrites: [undefined, ['GP', { errorCode: 0 }]],
  topLevelBit8: [reserved(0x9), Uint8Array.of(0)],
  runVmplError: [1, 0xffff_ffff],
  pageInfoMasks: ['0,1,2,3', '3,2,1,0'],
  rmpSegSizeUnit: [0x1_0000_0000n, 0x1_0040_0000n],
  svsmVtomMinimum: [
    [0x1_5002n, 0x100_0000_0000n],
    [0x100_0001_5002n, 0n],
  ],
  svsmVmsaLevels: [Success, InvalidParameter],
  svsmCallPending: [
    [true, BigInt(Success)],
    [true, BigInt(InvalidFormat)],
  ],
  svsmSecondVmsa: [
    [Success, Success, Success, Success, InvalidParameter],
    [Success, InvalidParameter, Success, Success, InvalidParameter],
  ],
};
