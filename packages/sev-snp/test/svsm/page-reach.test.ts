/** How a processor of an SVSM reaches a page: mapped once for a step, or held for several. */
import { PageSize, virtAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { executeReported } from '../../src/cpu/executed.ts';
import type { MachineEvent } from '../../src/cpu/machine-event.ts';
import type { Vcpu } from '../../src/cpu/vcpu.ts';
import { instruction, PageReach, pageSizeOf } from '../../src/svsm/page-reach.ts';
import { messageOf } from '../support/message-of.ts';
import { gvaOf, MiB, unresolvedFault } from '../support/world.ts';

/** A reach that notes each mapping: `gpa` lies at `gvaOf(gpa)`. */
function reach() {
  const maps: string[] = [];
  const it = new PageReach((gpa, size, use) => {
    maps.push(`${gpa.toString(16)}+${size.toString(16)}`);
    return use(gvaOf(Number(gpa)));
  });
  return { it, maps };
}

/** The message of the error that `act` throws: `toThrow` takes a thrown `undefined` for any message. */
function failureOf(act: () => unknown): string {
  try {
    act();
    return 'no error';
  } catch (error) {
    return error instanceof Error ? error.message : `no Error but ${error}`;
  }
}

describe('at', () => {
  test('maps the page, and passes the address of the byte', () => {
    const { it, maps } = reach();
    expect(it.at(0x5008n, PageSize.Regular, (gva) => gva)).toBe(gvaOf(0x5008));
    expect(it.at(0x20_5008n, PageSize.Huge, (gva) => gva)).toBe(gvaOf(0x20_5008));
    expect(maps).toEqual(['5000+1000', '200000+200000']);
  });

  test('a value of a step may be undefined', () => {
    expect(reach().it.at(0n, PageSize.Regular, () => undefined)).toBeUndefined();
  });

  test('a fault of a step, or of the mapping, is a refusal; another error is not', () => {
    const { it } = reach();
    expect(failureOf(() => it.at(0n, PageSize.Regular, unresolvedFault))).toContain('SVSM result 0x80000003');
    expect(
      failureOf(() =>
        it.at(0n, PageSize.Regular, () => {
          throw new Error('other');
        }),
      ),
    ).toContain('other');
    const hidden = new PageReach(unresolvedFault);
    expect(failureOf(() => hidden.at(0n, PageSize.Regular, () => 1))).toContain('SVSM result 0x80000003');
    const broken = new PageReach(() => {
      throw new Error('no window');
    });
    expect(failureOf(() => broken.at(0n, PageSize.Regular, () => 1))).toContain('no window');
  });

  test('an error that comes after the step, from unmapping, is thrown on; after a failed step that failure counts', () => {
    const it = new PageReach((_, __, use) => {
      try {
        return use(virtAddr(0));
      } finally {
        unresolvedFault();
      }
    });
    expect(failureOf(() => it.at(0n, PageSize.Regular, () => 1))).toContain('#VMEXIT(NPF)');
    expect(
      failureOf(() =>
        it.at(0n, PageSize.Regular, () => {
          throw new Error('first');
        }),
      ),
    ).toContain('first');
  });

  test('an access that swallows the failure of a step does not hide it', () => {
    const it = new PageReach((_, __, use) => {
      try {
        return use(virtAddr(0));
      } catch {
        return undefined as never;
      }
    });
    expect(failureOf(() => it.at(0n, PageSize.Regular, unresolvedFault))).toContain('SVSM result 0x80000003');
  });

  test.each<[string, ConstructorParameters<typeof PageReach>[0]]>([
    ['never', () => undefined as never],
    [
      'again',
      (_, __, use) => {
        use(virtAddr(0));
        return use(virtAddr(0));
      },
    ],
  ])('an access that calls `use` %s is refused', (value, access) => {
    const it = new PageReach(access);
    expect(messageOf(() => it.at(0n, PageSize.Regular, () => 1))).toBe(
      `the access to a page, which called \`use\` cannot be "${value}": call \`use\` once before it returns [INVALID_ARGUMENT]`,
    );
  });

  test('a step that failed is not run again', () => {
    let runs = 0;
    const it = new PageReach((_, __, use) => {
      try {
        return use(virtAddr(0));
      } catch {
        return use(virtAddr(0));
      }
    });
    const step = () => {
      runs += 1;
      return unresolvedFault();
    };
    expect(failureOf(() => it.at(0n, PageSize.Regular, step))).toContain('0x80000003');
    expect(runs).toBe(1);
  });
});

describe('holding', () => {
  test('steps on a held page, or a part of it, need no other mapping', () => {
    const { it, maps } = reach();
    const found = it.holding(0x20_5000n, PageSize.Huge, () => [
      it.at(0x20_0000n, PageSize.Regular, (gva) => gva),
      it.at(0x3f_f008n, PageSize.Regular, (gva) => gva),
      it.at(0x20_0000n, PageSize.Huge, (gva) => gva),
      it.holding(0x20_1000n, PageSize.Regular, () => 'nested'),
    ]);
    expect(found).toEqual([gvaOf(2 * MiB), gvaOf(0x3f_f008), gvaOf(2 * MiB), 'nested']);
    expect(maps).toEqual(['200000+200000']);
  });

  test('pages before it, after it, and larger ones are mapped; afterwards it is too', () => {
    const { it, maps } = reach();
    const at = (gpa: bigint, size: 4096 | 0x20_0000) => it.at(gpa, size, (gva) => gva);
    it.holding(0x20_1000n, PageSize.Regular, () => {
      at(0x20_0000n, PageSize.Regular);
      at(0x20_2000n, PageSize.Regular);
      at(0x20_1000n, PageSize.Huge);
      at(0x20_1fffn, PageSize.Regular);
    });
    at(0x20_1000n, PageSize.Regular);
    expect(maps).toEqual(['201000+1000', '200000+1000', '202000+1000', '200000+200000', '201000+1000']);
  });

  test('is over when the steps throw', () => {
    const { it, maps } = reach();
    expect(failureOf(() => it.holding(0n, PageSize.Regular, unresolvedFault))).toContain('#VMEXIT(NPF)');
    it.at(0n, PageSize.Regular, () => 1);
    expect(maps).toEqual(['0+1000', '0+1000']);
  });
});

describe('an instruction', () => {
  const vcpu = {} as Vcpu;

  test('reports its answer, and returns it', () => {
    const answers: number[] = [];
    expect(
      instruction(
        vcpu,
        () => 7,
        (answer) => void answers.push(answer),
      ),
    ).toBe(7);
    expect(answers).toEqual([7]);
  });

  test('that has not been executed reports nothing', () => {
    const answers: unknown[] = [];
    const { it } = reach();
    expect(
      failureOf(() =>
        it.at(0n, PageSize.Regular, () =>
          instruction(vcpu, unresolvedFault, (answer) => answers.push(answer)),
        ),
      ),
    ).toContain('SVSM result 0x80000003');
    expect(answers).toEqual([]);
  });
});

test('an error of `trace` after an instruction is not a fault of the step, even if it looks like one', () => {
  const cpu = { guest: { machine: { trace: unresolvedFault } } };
  const answers: number[] = [];
  const { it } = reach();
  const step = () =>
    it.at(0n, PageSize.Regular, () =>
      instruction(
        cpu as unknown as Vcpu,
        () =>
          executeReported(
            cpu,
            () => 7,
            () => ({}) as MachineEvent,
          ),
        (answer) => void answers.push(answer),
      ),
    );
  expect(failureOf(step)).toContain('#VMEXIT(NPF)');
  expect(answers).toEqual([7]);
});

test('up to 4096 bytes lie in a page of 4 KiB', () => {
  expect([1, 4096, 4097].map(pageSizeOf)).toEqual([PageSize.Regular, PageSize.Regular, PageSize.Huge]);
});
