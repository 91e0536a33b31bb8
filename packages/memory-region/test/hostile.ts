/** Bad input for every operation of the package, and a way to call each by its name. */
import {
  type Address,
  type AddressKind,
  defineAddressKind,
  PageSize,
  Phys,
  physAddr,
  Virt,
  virtAddr,
} from '@svsm/address';
import fc from 'fast-check';
import { ERRORS_OF } from '../src/error-codes.ts';
import * as regions from '../src/index.ts';
import { END_64, END_PHYS, HIGH_START, LOW_END } from './support.ts';

const { MemoryRegion, physRegion, RegionMap, RegionSet, virtRegion } = regions;

export type Operation = keyof typeof ERRORS_OF;
export const OPERATIONS = Object.keys(ERRORS_OF) as Operation[];

type Call = (...args: unknown[]) => unknown;

const Small: AddressKind<Address> = defineAddressKind({ name: 'small', bits: 12, signExtended: false });
const KINDS: readonly unknown[] = [Virt, Phys, Small];

const page = (start: bigint) => virtRegion(virtAddr(start), 0x1000);

/** A proxy whose properties cannot be read: every access throws a TypeError. */
export const REVOKED: object = (() => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
})();

/** The objects whose methods are called. Each call has new ones, because some methods change them. */
export const SUBJECTS: Readonly<Record<string, () => readonly unknown[]>> = {
  MemoryRegion: () => [
    page(0x1000n),
    page(LOW_END - 0x1000n),
    virtRegion(virtAddr(0x1800), 1),
    virtRegion(virtAddr(0), 0),
    new MemoryRegion(Small, Small.address(0xfff), 1),
  ],
  PageCursor: () => [offPage(), onPage(), endedCursor(), virtRegion(virtAddr(0), 0).cursor(PageSize.Regular)],
  RegionSet: () => [new RegionSet(Virt), new RegionSet(Virt, [page(0x1000n), page(HIGH_START)])],
  RegionMap: () => [new RegionMap(Virt), new RegionMap(Virt, entries(page(0x1000n), page(HIGH_START)))],
};

const offPage = () => page(0x1000n).cursor(PageSize.Regular);
const onPage = () => offPage().goTo(0);
function endedCursor() {
  const cursor = onPage();
  cursor.return();
  return cursor;
}

/** Good and bad arguments of all operations. */
export const ARGUMENTS: readonly unknown[] = [
  ...[undefined, null, true, '', '4096', Symbol('4096'), {}, [], () => true, new Error('no')],
  ...[0, -0, 1, 4096, 0x20_0000, 0x4000_0000, 8192, -1, 0.5, NaN, Infinity, 2 ** 53],
  ...[0n, 1n, 0x1000n, 0x1800n, 0x2000n, -1n, 2n ** 80n],
  // The edges of the kinds, and past them.
  ...[LOW_END - 1n, LOW_END, HIGH_START - 1n, HIGH_START, END_64 - 1n, END_64, END_PHYS - 1n, END_PHYS],
  ...KINDS,
  ...someRegions(),
  ...[{ offset: 0x1000n }, { offset: 0.5 }, { maxPageSize: 0x1000 }, { maxPageSize: 5 }, { ofset: 0 }],
  // Values with the right kind that are not regions or sets, and others that nothing can be read from.
  { kind: Virt },
  { kind: Virt, start: 0n, end: 5n, size: 4n },
  { kind: Virt, start: LOW_END, end: LOW_END + 1n, size: 1n },
  { kind: Virt, regionCount: 1 },
  { kind: Virt, regionCount: 1, [Symbol.iterator]: () => [5].values() },
  { kind: REVOKED, start: 0n, end: 4n, size: 4n },
  ...[REVOKED, [REVOKED], new Proxy(page(0x1000n), {}), Object.create(page(0x1000n))],
  ...[[[page(0x1000n)]], [[page(0x1000n), 1, 2]], [{}], [undefined]],
  // As another installed copy would make it.
  { kind: Virt, start: 0x1000n, end: 0x2000n, size: 0x1000n },
  ...someRegions().map((region) => [region]),
  ...someRegions().map((region) => entries(region)),
  [page(0x1000n), page(0x3000n)],
  [page(0x3000n), page(0x1000n)],
  entries(page(0x1000n), page(0x3000n)),
  entries(page(0x3000n), page(0x1000n)),
  entries(page(0x1000n), page(0x1000n)),
  new RegionSet(Virt, [page(0x3000n)]),
  new RegionSet(Phys),
  new RegionMap(Virt, entries(page(0x1000n))),
  new RegionMap(Phys),
  ...[offPage(), onPage(), endedCursor(), { low: 0x1000, high: 0 }, { low: 0.5, high: 0 }],
];

function someRegions(): readonly unknown[] {
  return [
    page(0x1000n),
    page(0x1800n),
    page(0x3000n),
    page(HIGH_START),
    virtRegion(virtAddr(0x1000), 0),
    physRegion(physAddr(0x1000), 0x1000),
  ];
}

function entries(...held: unknown[]): (readonly [never, number])[] {
  return held.map((region, index) => [region as never, index] as const);
}

/** One argument: one of {@link ARGUMENTS}, or anything. */
export const argument: fc.Arbitrary<unknown> = fc.oneof(
  // fast-check reads properties of its values, which a revoked proxy refuses. Lists of arguments have it.
  fc
    .constantFrom(...ARGUMENTS.filter((value) => value !== REVOKED).map((value) => () => value))
    .map((value) => value()),
  fc.bigInt(0n, END_64),
  fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, withTypedArray: true }),
);

/** The operation as functions: one, or one for each subject if it is a method. */
export function callsOf(operation: Operation): readonly Call[] {
  const [owner, name] = operation.split('.') as [string, string | undefined];
  const exported = regions as unknown as Record<string, Call & Record<string, Call>>;
  const target = exported[owner];
  if (name === undefined) return [target!];
  if (name === 'constructor') return [(...args) => Reflect.construct(target!, args)];
  if (target !== undefined && Object.hasOwn(target, name)) return [(...args) => target[name]!(...args)];
  return SUBJECTS[owner]!().map((_, index) => (...args) => {
    const subject = SUBJECTS[owner]!()[index] as Record<string, Call>;
    return subject[name]!(...args);
  });
}

/** All lists of {@link ARGUMENTS} that are as long as the operation needs; the first is a kind if it takes one. */
export function* argumentLists(operation: Operation): Generator<readonly unknown[]> {
  const [owner, name] = operation.split('.');
  const takesKind =
    name === 'constructor' || (owner === 'MemoryRegion' && Object.hasOwn(MemoryRegion, name ?? ''));
  const isMethod = name !== undefined && !takesKind;
  for (const kind of takesKind ? KINDS : [undefined]) {
    for (const first of ARGUMENTS) {
      for (const second of isMethod ? [1] : ARGUMENTS)
        yield takesKind ? [kind, first, second] : [first, second];
    }
  }
}

/** The error of a call, or `undefined`. A result that is iterated over is read to its end, or for some steps. */
export function errorOf(call: Call, args: readonly unknown[]): unknown {
  try {
    const result = call(...args);
    if (isIterator(result)) for (let step = 0; step < 20 && result.next().done !== true; step += 1);
    return undefined;
  } catch (error) {
    return error;
  }
}

function isIterator(value: unknown): value is Iterator<unknown> {
  return (
    typeof value === 'object' && value !== null && typeof (value as Iterator<unknown>).next === 'function'
  );
}
