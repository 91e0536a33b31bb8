import { type Explorable, type Explored, type Extent, explore } from './explore.ts';
import { PagesMachine } from './tiny-pages.ts';
import { SvsmMachine, type SvsmOptions } from './tiny-svsm.ts';
import { TlbsMachine } from './tiny-tlbs.ts';
import { UnbackedMachine } from './tiny-unbacked.ts';

/** A small machine, and how far it is explored. */
export interface Small extends Extent {
  readonly name: string;
  readonly make: () => Explorable<unknown>;
  /** Things that have to happen in it. */
  readonly includes: readonly string[];
}

const USES = ['read', 'fault', 'shared use', 'shared fault', 'changed'];
const REFUSALS = [
  'ALREADY_VALIDATED',
  'NOT_VALIDATED',
  'PAGE_STATE_REFUSED',
  'PVALIDATE_UNCHANGED',
  'NPF',
].map((code) => `refused: ${code}`);

const UNACCEPTED = [
  ...['read', 'write', 'backed', 'validated', 'rescinded', 'changed'],
  ...['fault at a read', 'fault at a read without validation', 'fault at a read of the hole'],
  ...['fault at a write', 'fault at a write without validation', 'fault at a write of the hole'],
  ...['shared write of the hole', 'fault at a shared write of the hole'],
  ...['ALREADY_VALIDATED', 'NOT_VALIDATED', 'PVALIDATE_UNCHANGED', 'NPF', 'INVALID_ARGUMENT'].map(
    (code) => `refused: ${code}`,
  ),
  ...['give f0 as the hole', 'map the hole to f0', 'map u0 to f0', 'hide u0', 'take f0', 'smash refused'],
];

const BUSY = 'call 1: 80000007';

/** `all`: the calls name the page of the SVSM and calling areas, too. `hidden`: the host hides the page that they name. */
function svsm(
  levels: SvsmOptions['levels'],
  pages: 'free' | 'all' | 'hidden' | 'two',
  ...calls: SvsmOptions['calls']
): SvsmMachine {
  const names = pages === 'all' ? 'all' : 'free';
  return new SvsmMachine({ levels, pages: pages === 'two' ? 2 : 1, calls, names, hides: pages === 'hidden' });
}

/** The machines that each run of the tests explores. */
export const SMALL_MACHINES: readonly Small[] = [
  {
    name: 'one page of a guest, one of another guest, and one of the host',
    make: () => new PagesMachine({ addresses: 1, spares: 1, foreign: true, replay: false }),
    depth: 0,
    includes: [...USES, ...REFUSALS],
  },
  {
    name: 'a page, two frames, and old ciphertext',
    make: () => new PagesMachine({ addresses: 1, spares: 1 }),
    depth: 0,
    includes: [...USES, ...REFUSALS, 'capture f0', 'replay'],
  },
  {
    name: 'a page, two frames, and one act of the host inside each call',
    make: () => new PagesMachine({ addresses: 1, spares: 1, replay: false }),
    depth: 1,
    includes: [...USES, ...REFUSALS],
  },
  {
    name: 'a page, two frames, and a firmware that launches, moves and reclaims pages',
    make: () => new PagesMachine({ addresses: 1, spares: 1, replay: false, firmware: true }),
    depth: 0,
    includes: [...USES, ...REFUSALS, 'lock f1 as a0', 'reclaim f1', 'move f0 to f1'],
  },
  {
    name: 'a read from a shared page into a private one, and two acts of the host inside it',
    make: () => new PagesMachine({ addresses: 1, spares: 1, replay: false, calls: ['border'] }),
    depth: 2,
    includes: ['read across', 'fault'],
  },
  {
    name: 'a hole and a page of unaccepted memory, a frame, and one act of the host inside each call',
    make: () => new UnbackedMachine({ launched: 0, unaccepted: 1, spares: 0 }),
    depth: 1,
    includes: UNACCEPTED,
  },
  {
    name: 'a nested TLB that two levels and another guest share',
    make: () => new TlbsMachine({ levels: 2, others: true }),
    depth: 0,
    includes: ['read at VMPL0', 'read at VMPL1', 'write at VMPL1', 'fault', 'flush', 'rescind', 'validate'],
  },
  {
    name: 'an SVSM whose two callers validate pages and make processors, and one call inside another',
    make: () => svsm([2, 2], 'free', 'pvalidate', 'vcpus'),
    depth: 1,
    includes: ['call 1: 0', 'call 2: 0', 'call 3: 0', BUSY],
  },
  {
    name: 'an SVSM with callers at two levels, which validate and deposit any page',
    make: () => svsm([1, 2], 'all', 'pvalidate', 'memory'),
    depth: 0,
    includes: ['call 1: 0', 'call 4: 0', 'call 5: 0', 'call 1: 80000003', 'call 4: 80000003'],
  },
  {
    name: 'an SVSM with callers at two levels, which make processors and move calling areas, and one call inside another',
    make: () => svsm([1, 2], 'free', 'vcpus', 'remap'),
    depth: 1,
    includes: ['call 0: 0', 'call 2: 0', 'call 3: 0', 'call 2: 80000005'],
  },
];

/** Larger ones. */
export const LARGER_MACHINES: readonly Small[] = [
  {
    name: 'two pages, two frames',
    make: () => new PagesMachine({ addresses: 2, spares: 0, replay: false }),
    depth: 0,
    includes: [...USES, ...REFUSALS],
  },
  {
    name: 'two pages, two frames, and one act of the host inside each call',
    make: () => new PagesMachine({ addresses: 2, spares: 0, replay: false }),
    depth: 1,
    includes: [...USES, ...REFUSALS],
  },
  {
    name: 'a page, two frames, and two acts of the host inside each call',
    make: () => new PagesMachine({ addresses: 1, spares: 1, replay: false }),
    depth: 2,
    includes: [...USES, ...REFUSALS],
  },
  {
    name: 'a hole and a page of unaccepted memory, two frames, and one act of the host inside each call',
    make: () => new UnbackedMachine({ launched: 0, unaccepted: 1, spares: 1 }),
    depth: 1,
    includes: UNACCEPTED,
  },
  {
    name: 'a hole and a page of unaccepted memory, a frame, and two acts of the host inside each call',
    make: () => new UnbackedMachine({ launched: 0, unaccepted: 1, spares: 0 }),
    depth: 2,
    includes: UNACCEPTED,
  },
  {
    name: 'three levels on two processors, another guest on the first, and one act of the host inside each call',
    make: () => new TlbsMachine({ levels: 3, others: true }),
    depth: 1,
    includes: ['read at VMPL2', 'write at VMPL2', 'fault', 'flush', 'rescind', 'validate'],
  },
  {
    name: 'a page, two frames, old ciphertext, and one act of the host inside each call',
    make: () => new PagesMachine({ addresses: 1, spares: 1 }),
    depth: 1,
    includes: [...USES, ...REFUSALS, 'capture f0', 'replay'],
  },
  {
    name: 'an SVSM with callers at one level, every call, a host that hides the page, and one act inside each call',
    make: () => svsm([2, 2], 'hidden', 'pvalidate', 'vcpus', 'memory', 'remap'),
    depth: 1,
    includes: ['call 0: 0', 'call 1: 0', 'call 2: 0', 'call 3: 0', 'call 4: 0', 'call 5: 0', BUSY],
  },
  {
    name: 'an SVSM with callers at two levels, which validate and deposit, and one call inside another',
    make: () => svsm([1, 2], 'free', 'pvalidate', 'memory'),
    depth: 1,
    includes: ['call 1: 0', 'call 4: 0', 'call 5: 0'],
  },
  {
    name: 'an SVSM with callers at two levels, and every call about any page',
    make: () => svsm([1, 2], 'all', 'pvalidate', 'vcpus', 'memory', 'remap'),
    depth: 0,
    includes: ['call 0: 0', 'call 1: 0', 'call 2: 0', 'call 3: 0', 'call 4: 0', 'call 5: 0'],
  },
  {
    name: 'an SVSM with callers at one level, two pages, processors, deposits and calling areas',
    make: () => svsm([2, 2], 'two', 'vcpus', 'memory', 'remap'),
    depth: 0,
    includes: ['call 0: 0', 'call 2: 0', 'call 3: 0', 'call 4: 0', 'call 5: 0'],
  },
];

/** Explores a machine, and prints how much of it there is. */
export function exploreSmall({ name, make, ...extent }: Small): Explored {
  const start = performance.now();
  const explored = explore(make(), extent);
  const { states, transitions } = explored;
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${name}: ${states} states, ${transitions} transitions in ${seconds} s`);
  return explored;
}
