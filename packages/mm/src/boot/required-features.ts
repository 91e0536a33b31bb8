import { isSnpError, requireFeatures, type Vcpu } from '@svsm/sev-snp';
import { MmError } from '../formats/mm-error.ts';

/**
 * The step `features`: demands features of the hypervisor through the GHCB MSR, before anything else has happened. Returns all
 * that it announces. It can lie.
 *
 * @param required - an OR of `HypervisorFeature`
 * @throws MmError `MISSING_FEATURE` with the names of those that it lacks; SnpError as `requireFeatures`
 */
export function demandFeatures(vcpu: Vcpu, required: bigint): bigint {
  try {
    return requireFeatures(vcpu, required);
  } catch (cause) {
    if (!isSnpError(cause, 'MISSING_FEATURE')) throw cause;
    throw new MmError('MISSING_FEATURE', { step: 'features', ...cause.details }, { cause });
  }
}
