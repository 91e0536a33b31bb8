/**
 * The software in a guest: GHCB requests, page states, visibility of pages, calls to the SVSM.
 *
 * @packageDocumentation
 */

export {
  type ApCreation,
  ApRequest,
  decodeApCreation,
  encodeApCreation,
  makeVmsa,
  requestAp,
  unmakeVmsa,
} from './ap-creation.ts';
export { Ghcb, type GhcbCall, type GhcbResult } from './ghcb.ts';
export { Guest, type GuestOptions, type VcpuFactory, type VcpuRequest } from './guest.ts';
export { hypervisorFeatures, requireFeatures } from './hypervisor-features.ts';
export { registerGhcb, requestGhcbMsr, requestPageState } from './msr-protocol.ts';
export { PSC_MAX_IDLE_EXITS, requestPageStates } from './page-state-change.ts';
export type {
  PageValidator,
  PrivatePage,
  ValidationFailure,
  ValidationProgress,
} from './page-validation.ts';
export {
  acceptPage,
  makePagePrivate,
  makePageShared,
  releasePage,
  type VisibilityOptions,
} from './page-visibility.ts';
export { type PageInUse, type UseOfPage, useOfPages } from './pages-in-use.ts';
export type { RegionState } from './region-state.ts';
export {
  acceptRegion,
  makeRegionPrivate,
  makeRegionShared,
  releaseRegion,
  settleRegion,
} from './region-visibility.ts';
export {
  type CallingArea,
  callSvsm,
  configureSvsmVtom,
  createVcpuBySvsm,
  deleteVcpuBySvsm,
  depositToSvsm,
  pvalidateBySvsm,
  querySvsmProtocol,
  querySvsmVtom,
  remapCallingArea,
  requestSvsm,
  SVSM_MAX_ATTEMPTS,
  type VtomSettings,
  withdrawFromSvsm,
} from './svsm-call.ts';
export { svsmValidator } from './svsm-validator.ts';
export { pageRegion, ValidatedPages } from './validated-pages.ts';
