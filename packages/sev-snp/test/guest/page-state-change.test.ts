import { PAGE_SIZE, physAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import { describe, expect, test } from 'vitest';
import { PageOperation } from '../../src/formats/ghcb-msr.ts';
import { GhcbPage } from '../../src/formats/ghcb-page.ts';
import {
  decodePscHeader,
  encodePscHeader,
  type PscEntry,
  type PscHeader,
  pscEntriesOf,
} from '../../src/formats/page-state-list.ts';
import { Ghcb } from '../../src/guest/ghcb.ts';
import { PSC_MAX_IDLE_EXITS, requestPageStates } from '../../src/guest/page-state-change.ts';
import type { GhcbAnswer } from '../../src/host/ghcb-service.ts';
import { Hypervisor } from '../../src/host/hypervisor.ts';
import { codeOf, gvaOf, MiB, thrownBy, world } from '../support/world.ts';

/** A hypervisor that does nothing. It gives the answers of a script, one at each exit, and repeats the last. */
class Scripted extends Hypervisor {
  script: ((header: PscHeader) => Partial<PscHeader> & { info2?: bigint })[] = [];
  headers: PscHeader[] = [];
  override answerGhcb(...[, , page]: Parameters<Hypervisor['answerGhcb']>): GhcbAnswer {
    const header = decodePscHeader(page.readBuffer(0, 8));
    this.headers.push(header);
    const step = this.script.length > 1 ? this.script.shift() : this.script[0];
    const { info2 = 0n, ...fields } = step!(header);
    page.writeBuffer(0, encodePscHeader({ ...header, ...fields }));
    return { info1: 0n, info2 };
  }
}

function scripted(...script: Scripted['script']): { ghcb: Ghcb; host: Scripted } {
  const it = world({ hypervisor: (machine) => new Scripted(machine) });
  const ghcb = Ghcb.create(it.vcpu, it.table, gvaOf(6 * MiB));
  const host = it.machine.hypervisor as Scripted;
  host.script = script;
  return { ghcb, host };
}

const done = ({ end }: PscHeader) => ({ current: end + 1 });
const pages = (count: number): PscEntry[] => [
  ...pscEntriesOf(physRegion(physAddr(0x1000), count * PAGE_SIZE), PageOperation.Shared),
];

// G7, GHCB exit 0x8000_0010
test('a list has at most 253 entries', () => {
  const { ghcb, host } = scripted(done);
  expect(requestPageStates(ghcb, pages(507))).toBe(3);
  expect(host.headers.map(({ end }) => end)).toEqual([252, 252, 0]);
  expect(requestPageStates(ghcb, pages(130), 64)).toBe(3);
  expect(requestPageStates(ghcb, [])).toBe(0);
  for (const size of [0, 254, 1.5]) {
    expect(codeOf(() => requestPageStates(ghcb, pages(1), size))).toBe('INVALID_ARGUMENT');
  }
});

// G9
test('a list that is half done is requested again, from its cur_entry on', () => {
  const { ghcb, host } = scripted(
    () => ({ current: 2 }),
    () => ({}),
    done,
  );
  expect(requestPageStates(ghcb, pages(5))).toBe(3);
  expect(host.headers.map(({ current }) => current)).toEqual([0, 2, 2]);
});

describe('refuses', () => {
  // G9, A11
  test.each<[string, Scripted['script'], string]>([
    ['progress backwards', [() => ({ current: 3 }), () => ({ current: 2 })], 'cur_entry'],
    ['progress past the end', [() => ({ current: 6 })], 'cur_entry'],
    ['progress far past the end', [() => ({ current: 0xffff })], 'cur_entry'],
    ['an end that has moved', [() => ({ current: 5, end: 5 })], 'end_entry'],
    ['an end that was cut', [() => ({ current: 1, end: 0 })], 'end_entry'],
    ['reserved bits', [() => ({ current: 5, reserved: 1 })], 'reserved'],
    ['reserved bits together with an error', [() => ({ reserved: 1, info2: 1n })], 'reserved'],
  ])('%s', (_, script, field) => {
    const { ghcb } = scripted(...script);
    expect(thrownBy(() => requestPageStates(ghcb, pages(5)))).toMatchObject({
      code: 'INVALID_PSC_RESPONSE',
      details: { field },
    });
  });

  // G8
  test('an error, even if it comes with a finished list', () => {
    const { ghcb } = scripted(() => ({ current: 2, info2: 0x100_0000_0000n }));
    expect(thrownBy(() => requestPageStates(ghcb, pages(5)))).toMatchObject({
      code: 'PSC_REFUSED',
      details: { gpa: 0x3000n, entry: 2, info2: 0x100_0000_0000n },
    });
    const late = scripted(() => ({ current: 5, info2: 1n }));
    expect(thrownBy(() => requestPageStates(late.ghcb, pages(5)))?.details).toMatchObject({ entry: 4 });
  });

  // G9
  test('a list without progress', () => {
    const { ghcb, host } = scripted(() => ({}));
    expect(codeOf(() => requestPageStates(ghcb, pages(5)))).toBe('INVALID_PSC_RESPONSE');
    expect(host.headers.length).toBe(PSC_MAX_IDLE_EXITS);
  });
});

// A12, G4
test('the answer is read once, so a hypervisor that changes it afterwards gains nothing', () => {
  const { ghcb } = scripted(() => ({ current: 3 }), done);
  const reads: number[] = [];
  // After each read of the header, another processor of the hypervisor overwrites it.
  const page = new GhcbPage({
    read: (offset, length) => {
      const bytes = ghcb.vcpu.read((ghcb.gva + BigInt(offset)) as never, length);
      if (offset >= 0x800) {
        reads.push(offset);
        ghcb.vcpu.write((ghcb.gva + 0x800n) as never, encodePscHeader({ current: 1, end: 4, reserved: 9 }));
      }
      return bytes;
    },
    write: (offset, bytes) => ghcb.vcpu.write((ghcb.gva + BigInt(offset)) as never, bytes),
  });
  const raced = Object.assign(Object.create(Ghcb.prototype) as Ghcb, { ...ghcb, page });
  const host = ghcb.vcpu.guest.machine.hypervisor as Scripted;
  // The guest must use what it has read, not what the race has left in the header.
  host.script = [() => ({ current: 3, reserved: 0 }), () => ({ current: 5, reserved: 0 })];
  expect(requestPageStates(raced, pages(5))).toBe(2);
  expect(reads).toEqual([0x800, 0x800]);
});
