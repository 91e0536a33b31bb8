import { HypervisorFeature } from '@svsm/sev-snp';
import { expect, test } from 'vitest';
import { demandFeatures } from '../../src/boot/required-features.ts';
import { isMmError } from '../../src/formats/mm-error.ts';
import { launch } from '../support/world.ts';

test('returns all features, or names those that are missing and the step', () => {
  const vcpu = launch().guest.createVcpu();
  const offered = demandFeatures(vcpu, HypervisorFeature.Snp);
  expect(offered & HypervisorFeature.MultiVmpl).not.toBe(0n);
  try {
    demandFeatures(vcpu, HypervisorFeature.Snp | HypervisorFeature.RestrictedInjection);
    expect.unreachable();
  } catch (error) {
    if (!isMmError(error, 'MISSING_FEATURE')) throw error;
    expect(error.details).toEqual({
      step: 'features',
      required: HypervisorFeature.Snp | HypervisorFeature.RestrictedInjection,
      offered,
      missing: ['RestrictedInjection'],
    });
  }
});
