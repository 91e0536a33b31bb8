import { expect, test } from 'vitest';
import { encodeGhcbMsr, HypervisorFeature } from '../../src/formats/ghcb-msr.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { hypervisorFeatures, requireFeatures } from '../../src/guest/hypervisor-features.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { gvaOf, MiB, thrownBy, world } from '../support/world.ts';

const { Snp, ApCreation, ApicIdList, MultiVmpl } = HypervisorFeature;

// G1, G16
test('features are asked for through the MSR or a GHCB, and those that are there are not missed', () => {
  const it = world();
  const ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(6 * MiB + 0x1000));
  for (const by of [it.vcpu, ghcb]) {
    expect(hypervisorFeatures(by)).toBe(Snp | ApCreation | MultiVmpl);
    expect(requireFeatures(by, Snp | MultiVmpl)).toBe(0x23n);
    expect(requireFeatures(by, 0n)).toBe(0x23n);
  }
});

// G16
test('a feature that is demanded and not there is an error that names it', () => {
  const it = world();
  const ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(6 * MiB + 0x1000));
  const required = Snp | ApicIdList | (1n << 63n);
  for (const by of [it.vcpu, ghcb]) {
    const error = thrownBy(() => requireFeatures(by, required));
    expect(error).toMatchObject({
      code: 'MISSING_FEATURE',
      details: { required, offered: 0x23n, missing: ['ApicIdList', 'bit 63'] },
    });
    expect(error?.message).toContain('does not announce ApicIdList, bit 63: its features are 0x23');
  }
});

// G16
test('a hypervisor that announces nothing', () => {
  class Poor extends Hypervisor {
    override vmgexit(): bigint {
      return encodeGhcbMsr({ type: 'features', features: 0n });
    }
  }
  const { vcpu } = world({ hypervisor: (machine) => new Poor(machine) });
  const { details } = thrownBy(() => requireFeatures(vcpu, Snp | ApCreation)) ?? {};
  expect(details?.['missing']).toEqual(['Snp', 'ApCreation']);
});
