import { Vcpu } from '../cpu/vcpu.ts';
import { isInstance, refuseArgument, requireUint64 } from '../formats/arguments.ts';
import { HypervisorFeature } from '../formats/ghcb-msr.ts';
import { GhcbExit } from '../formats/ghcb-page.ts';
import { SnpError } from '../formats/snp-error.ts';
import { Ghcb } from './ghcb.ts';
import { requestGhcbMsr } from './msr-protocol.ts';

/**
 * The features that the hypervisor announces: an OR of `HypervisorFeature`. It can lie.
 *
 * @param by - the GHCB to ask through, or a processor, which asks through the GHCB MSR. Only the MSR works before a GHCB is
 *   registered
 * @throws SnpError `INVALID_ARGUMENT`, `VMGEXIT_FAILED`, `RELEASED_GHCB`, `INVALID_RESPONSE`; SnpFault
 */
export function hypervisorFeatures(by: Ghcb | Vcpu): bigint {
  if (isInstance(by, Ghcb)) return by.vmgexit({ exitCode: GhcbExit.HypervisorFeatures });
  if (!isInstance(by, Vcpu)) return refuseArgument('the GHCB', by, 'pass a Ghcb, or a Vcpu');
  return requestGhcbMsr(by, { type: 'features-request' }, 'features').features;
}

/**
 * Requires features of the hypervisor. Returns all that it announces.
 *
 * @param required - an OR of `HypervisorFeature`
 * @throws SnpError `INVALID_ARGUMENT`, `MISSING_FEATURE` with the names of those that it lacks, else as {@link hypervisorFeatures}; SnpFault
 *
 * @example
 * ```ts
 * import { HypervisorFeature, requireFeatures, SnpMachine } from '@svsm/sev-snp';
 *
 * const { hypervisor } = new SnpMachine({ memorySize: 64 << 20 });
 * const vcpu = hypervisor.launch({ size: 16 << 20 }).createVcpu();
 * const features = requireFeatures(vcpu, HypervisorFeature.Snp | HypervisorFeature.MultiVmpl);
 * console.log(features.toString(2)); // => 100011
 * ```
 */
export function requireFeatures(by: Ghcb | Vcpu, required: bigint): bigint {
  requireUint64('the features', required);
  const offered = hypervisorFeatures(by);
  const missing = required & ~offered;
  if (missing === 0n) return offered;
  throw new SnpError('MISSING_FEATURE', { required, offered, missing: namesOf(missing) });
}

/** The names of features; of a bit without a name its number. */
function namesOf(features: bigint): readonly string[] {
  const names = Object.entries(HypervisorFeature);
  const bits = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit)).filter((bit) => features & bit);
  return bits.map(
    (bit) => names.find(([, value]) => value === bit)?.[0] ?? `bit ${bit.toString(2).length - 1}`,
  );
}
