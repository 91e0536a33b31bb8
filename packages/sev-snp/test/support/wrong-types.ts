/** For operations that check the types of their arguments: a call with any value in the place of one argument. */
import { physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import type { ERRORS_OF } from '../../src/formats/error-codes.ts';
import * as formats from '../../src/formats/index.ts';
import type { HostileWorld } from './hostile-calls.ts';

type Call = (value: never, it: () => HostileWorld) => unknown;

const ghcb = formats.GhcbPage.over();

const CALLS = {
  decodeGhcbMsr: (value) => formats.decodeGhcbMsr(value),
  decodeIgvmFile: (value) => formats.decodeIgvmFile(value),
  decodeOvmfImage: (value) => formats.decodeOvmfImage(value),
  decodeRmpEntry: (value) => formats.decodeRmpEntry({ low: 0n, high: value }),
  flatRmpCoverage: (value) => formats.flatRmpCoverage(value),
  flatRmpEntryAddress: (value) => formats.flatRmpEntryAddress(formats.sysPhysAddr(0), value),
  ghcbValidBit: (value) => formats.ghcbValidBit(value),
  GhcbPage: (value) => new formats.GhcbPage(value),
  'GhcbPage.get': (value) => ghcb.get(value),
  'GhcbPage.isValid': (value) => ghcb.isValid(value),
  'GhcbPage.set': (value) => ghcb.set(value, 0n),
  'Hypervisor.vmgexit': (value, it) => it().host.vmgexit(it().it.guest, value),
  'Vcpu.vmgexit': (value, it) => {
    const { vcpu } = it().it;
    vcpu.ghcbMsr = value;
    vcpu.vmgexit();
  },
  hashKernel: (value) => formats.hashKernel(value, (bytes) => bytes),
  igvmExpectedDigest: (value) => formats.igvmExpectedDigest(value),
  launchPageSize: (value) => formats.launchPageSize(value),
  pscEntriesOf: (value) => formats.pscEntriesOf(physRegion(physAddr(0), 4096), value),
  rmpResultName: (value) => formats.rmpResultName(value),
  webCryptoSha384: (value) => formats.webCryptoSha384(value),
} satisfies Partial<Readonly<Record<keyof typeof ERRORS_OF, Call>>>;

export const WRONG_TYPES: Readonly<Record<keyof typeof CALLS, Call>> = CALLS;
