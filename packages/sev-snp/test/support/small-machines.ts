import { type Explorable, type Explored, type Extent, explore } from './explore.ts';
import { PagesMachine } from './tiny-pages.ts';
import { TlbsMachine } from './tiny-tlbs.ts';

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
    name: 'a nested TLB that two levels and another guest share',
    make: () => new TlbsMachine({ levels: 2, others: true }),
    depth: 0,
    includes: ['read at VMPL0', 'read at VMPL1', 'write at VMPL1', 'fault', 'flush', 'rescind', 'validate'],
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
