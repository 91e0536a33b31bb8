/** The exports and the findings that the fuzzer leaves out, each with the reason. Nothing else is left out. */
import type { Callable } from './surface.ts';
import type { Finding, Verdict } from './verdict.ts';

/** Exports that are not called. */
const EXPORTS: readonly { readonly id: RegExp; readonly reason: string }[] = [
  {
    id: /^new \w+(Error|Fault)$/,
    reason: 'The packages make their errors themselves, with details of the types that the messages expect.',
  },
  {
    id: /^new (Backing|IndexedPages|NestedPaging|Notices|OwnedBlock|PageCache|PagedMapping|ServingCpu|SvsmCore|SvsmMemory)$/,
    reason:
      'An allocator, an `SvsmState`, a `GuestService` or `mappings` makes them: the constructor takes a private part, or is not exported.',
  },
  {
    id: /^\w+(Error|Fault)\.toJSON$/,
    reason: 'It takes no arguments, and shows an error that the packages have made.',
  },
  {
    id: /^showInConsoles$/,
    reason: 'It runs while a class is defined, with a class and functions that the compiler has seen.',
  },
  {
    id: /^Vcpu\.onPageFault$/,
    reason: 'It is a function of the user, which the package calls.',
  },
  {
    id: /^(Hostile)?Hypervisor\.cpuid$/,
    reason: 'It answers nothing, whatever it gets: a subclass implements it.',
  },
  {
    id: /^SvsmProtocolCall\.(read|write)$/,
    reason:
      'It exists only while an SVSM calls a protocol: the SVSM catches its errors, which end that call with a result.',
  },
  {
    id: /^MemoryRegion\.unchecked$/,
    reason:
      'It makes a region without checks: its docstring leaves the result for a wrong argument unspecified.',
  },
];

/** Verdicts that are right. */
const VERDICTS: readonly {
  readonly verdict: Verdict;
  readonly id: RegExp;
  readonly label: RegExp;
  readonly reason: string;
}[] = [
  {
    verdict: 'silent',
    id: /^MemoryRegion\.equals$/,
    label: /^other/,
    reason: 'A value that is not a region equals none.',
  },
  {
    verdict: 'silent',
    id: /^SharedPageAllocator\.(create|attach)$/,
    label: /^options\.lockTimeout = (Infinity|0\.5)$/,
    reason: 'A time in milliseconds may be a fraction, and infinite.',
  },
  {
    verdict: 'silent',
    id: /^new SlabCache$/,
    label: /^options\.keepEmpty = Infinity$/,
    reason: 'All empty pages are kept.',
  },
  {
    verdict: 'silent',
    id: /^describeValue$/,
    label: /^expected/,
    reason: 'It never throws: the messages of errors are made with it.',
  },
  {
    verdict: 'raw-control',
    id: /^jsonValue$/,
    label: /^value/,
    reason: 'A text stays as it is: JSON escapes it.',
  },
  {
    verdict: 'silent',
    id: /^new Tlb$/,
    label: /^options\.fullFlushThreshold = (Infinity|0\.5)$/,
    reason: 'The threshold is compared with a number of pages: infinite is the default.',
  },
  {
    verdict: 'silent',
    id: /^encodeEntry$/,
    label: /^fields has the unknown key/,
    reason: 'A decoded entry is encoded again: it has more fields.',
  },
  {
    verdict: 'silent',
    id: /^encodeGhcbMsr$/,
    label: /^message\.operation = -?0$/,
    reason: 'Any operation that fits is encoded: a hostile guest requests it.',
  },
  {
    verdict: 'silent',
    id: /^encodePageInfo$/,
    label: /^info\.type = -?0$/,
    reason: 'Any type that fits is encoded: the firmware refuses those that it does not know.',
  },
  {
    verdict: 'silent',
    id: /^(set (Hostile)?Hypervisor\.pageStatesPerExit|processPageStateChange|new SvsmState)$/,
    label: /^(pageStatesPerExit|limit|options\.entriesPerCall) = Infinity$/,
    reason: 'All entries are processed.',
  },
  {
    verdict: 'silent',
    id: /^(ovmf|svsm)LaunchPages$/,
    label:
      /^launch\.(image|svsm|firmware)\.(table|apResetEip|hashesArea)|^launch\.firmware\.(sections|svsmEntry)/,
    reason: 'The image comes from `decodeOvmfImage`: what this launch does not need of it is not looked at.',
  },
  {
    verdict: 'silent',
    id: /^PageSource\.allocate$/,
    label: /^alignment = 1n$/,
    reason: 'The number of bytes may be a bigint, as everywhere else in the package.',
  },
  {
    verdict: 'silent',
    id: /^Vmr\.handlePageFault$/,
    label: /^state\.\w+ (= undefined|is missing)/,
    reason: 'A field that is not given has its default, as for `cpuState`.',
  },
  {
    verdict: 'silent',
    id: /^MappingGuard\.create$/,
    label: /^space has the unknown key/,
    reason: 'A `PerCpu` is such a space, and has other members.',
  },
  {
    verdict: 'bare',
    id: /^Vmr\.insert$/,
    label: /^mapping\.frames returns/,
    reason: 'An error of the iterable that a mapping returns goes on to the caller.',
  },
  {
    verdict: 'silent',
    id: /^Vmr\.handlePageFault$/,
    label: /^state = /,
    reason: 'A state has defaults, as for `cpuState`.',
  },
  {
    verdict: 'bare',
    id: /^MappingGuard\.create$/,
    label: /^space\.mapper\.unmapRegion = /,
    reason: 'A method of `space.mapper` runs apart from its object, which is an error of the caller.',
  },
];

/** Whether an export is left out. */
export function isExcluded({ id }: Callable): boolean {
  return EXPORTS.some((exclusion) => exclusion.id.test(id));
}

/** Whether a finding is right as it is. */
export function isAllowed({ verdict, id, label }: Finding): boolean {
  return VERDICTS.some(
    (allowed) => allowed.verdict === verdict && allowed.id.test(id) && allowed.label.test(label),
  );
}

/** The exclusions of exports that match none: what they named is gone. */
export function unusedExclusions(callables: readonly Callable[]): string[] {
  return EXPORTS.filter(({ id }) => !callables.some((callable) => id.test(callable.id))).map(({ id }) =>
    String(id),
  );
}
