import { type Literal, type LiteralTable, type LiteralValue, under } from './literal.ts';

/** Each assumption with its rules, the reason why it is open, and its choices, the default first. */
const ASSUMED: readonly (readonly [
  name: string,
  rule: string,
  why: string,
  choices: readonly LiteralValue[],
])[] = [
  ['exceptionOrder', 'I2', 'unverified', ['UD-first', 'GP-first']],
  ['resultFlags', 'I1', 'unverified', ['of-EAX', 'ZF-alone']],
  ['pvalidateAboveVmpl0', 'V5, PVALIDATE preconditions', 'unverified', ['GP', 'FAIL_PERMISSION']],
  ['carryOnFailure', 'I10', 'unverified', ['clear', 'set']],
  ['lowAddressBits', 'I3', 'unverified', ['ignored', 'FAIL_INPUT']],
  ['operandAccess', 'PVALIDATE step 2', 'unverified', ['read', 'write']],
  ['sharedOperand', 'PVALIDATE step 2', 'unverified', ['not-owned', 'as-private']],
  ['guestSizeMatters', 'I13', 'unverified', [false, true]],
  ['defaultMasks', 'V2', 'disagreement', ['RMPUPDATE', 'PVALIDATE']],
  ['resetMaskOfVmpl0', 'V2', 'unverified', [31, 15]],
  ['inUseTest', 'RMPUPDATE step 4', 'unverified', ['before-entry', 'first', 'last']],
  ['alignedPageBlocksHuge', 'I6', 'unverified', [true, false]],
  ['rmpupdateReset', 'I4', 'disagreement', ['compare', 'always']],
  ['smallUpdateInHuge', 'RMPUPDATE step 6', 'disagreement', ['FAIL_OVERLAP', 'allowed']],
  ['psmashBadPage', 'PSMASH step 3', 'disagreement', ['FAIL_BADADDR', 'FAIL_OVERLAP']],
  ['psmashImmutable', 'PSMASH step 4', 'unverified', ['bad-page', 'FAIL_PERMISSION']],
  ['subpageCount', 'R13', 'unverified', ['maintained', 'unmaintained']],
  ['sourceVmsa', 'T8, T9', 'unverified', ['cleared', 'kept']],
  ['rmpqueryLevels', 'RMPQUERY step 1', 'disagreement', ['own-and-lower', 'lower', 'any']],
  ['rmpqueryNeedsValidated', 'RMPQUERY step 3', 'unverified', [true, false]],
  ['rmpadjustReservedBits', 'RMPADJUST step 1', 'unverified', ['FAIL_INPUT', 'ignored']],
  ['rmpadjustVmplRange', 'RMPADJUST step 1', 'unverified', ['FAIL_INPUT', 'FAIL_PERMISSION']],
  ['inUseErratum', 'R25', 'unverified', [true, false]],
  ['hostTableReads', 'R2', 'disagreement', ['checked', 'unchecked']],
  ['exitInfo2', 'R26', 'unverified', ['byte', 'page']],
  ['cr2OnCrossing', 'P18', 'unverified', ['faulting-page', 'first-byte']],
  ['reservedFaultPresent', 'P19', 'disagreement', [true, false]],
  ['accessedOnFault', 'P25', 'disagreement', ['none', 'upper-entries']],
  ['eferLmaWrites', 'P50', 'disagreement', ['ignored', 'checked']],
  ['topLevelBit8', 'P8', 'disagreement', ['reserved', 'ignored']],
  ['runVmplError', 'GHCB MSR 0x017', 'unverified', [1, 4294967295]],
  ['pageInfoMasks', 'L4', 'disagreement', ['vmpl1-first', 'vmpl3-first']],
  ['rmpSegSizeUnit', 'R8', 'disagreement', ['byte', 'MiB']],
  ['svsmVtomMinimum', 'SVSM call 7', 'disagreement', ['RDX', 'RCX']],
  ['svsmVmsaLevels', 'SVSM call 2', 'disagreement', ['own-and-lower', 'own']],
  ['svsmCallPending', 'S2', 'disagreement', ['processed', 'INVALID_FORMAT']],
  ['svsmSecondVmsa', 'SVSM call 2', 'unverified', ['accepted', 'refused']],
];

/** The constants that no document of AMD has: they are the model's own. */
export const MODEL: LiteralTable = {
  source: 'docs/hardware.md',
  literals: [
    ['NO_KEY', 0, 'no encryption'],
    ['PAGES_PER_REGION', 512, '2 MiB in 4 KiB pages'],
    ...['first', 'others'].flatMap((entries) =>
      ['low', 'high', 'masks', 'upper', 'frame'].map(
        (field): Literal => [`UNTOUCHED.${entries}.${field}`, 0, 'R4: hypervisor-owned'],
      ),
    ),
    ...['firstVersion', 'otherVersion', 'version'].map(
      (field): Literal => [`UNTOUCHED.${field}`, 0, 'no change'],
    ),
    ...ASSUMED.flatMap(([name, rule, why, choices]): Literal[] => [
      ...under(`ASSUMPTIONS.${name}`, [
        ['rule', rule, rule],
        ['why', why, rule],
        ['choices', choices, rule],
      ]),
      [`DEFAULT_ASSUMPTIONS.${name}`, choices[0]!, rule],
    ]),
  ],
};
