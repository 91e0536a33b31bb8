/** Fuzzes one of the published packages with its makers, without what is excluded. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isAllowed, isExcluded } from './exclusions.ts';
import { fuzz, type Report } from './fuzz.ts';
import type { Slice } from './runner.ts';
import { type Callable, entriesOf, readSurface } from './surface.ts';
import type { Finding, Verdict } from './verdict.ts';
import type { Makers } from './world.ts';

const PACKAGES_FOLDER = fileURLToPath(new URL('../../packages', import.meta.url));

/** The packages, and the part of the calls that a daily run makes: those of the large ones take minutes. */
export const PACKAGES = {
  address: 1,
  'memory-region': 1,
  'buddy-alloc': 1,
  pagetable: 0.15,
  'sev-snp': 0.5,
  mm: 0.1,
  dump: 0.1,
} as const;

export type PackageName = keyof typeof PACKAGES;

/** Everything that a package exports and that can be called, without the methods of objects that callers implement. */
export async function exportsOf(name: PackageName): Promise<Callable[]> {
  const { makers } = (await import(makersOf(name))) as { makers: Makers };
  return readSurface(entriesOf(join(PACKAGES_FOLDER, name))).filter(
    ({ receiver, owner }) => receiver === 'export' || makers.types[owner]?.isCallers !== true,
  );
}

/** Fuzzes a package. The findings that are right as they are do not count. */
export async function fuzzPackage(name: PackageName, slice: Slice): Promise<Report> {
  const callables = (await exportsOf(name)).filter((callable) => !isExcluded(callable));
  const report = await fuzz({ callables, makers: makersOf(name), slice });
  return { ...report, findings: report.findings.filter((finding) => !isAllowed(finding)) };
}

/** The figures of a report, on one line. */
export function figuresOf(name: string, { exports, calls, findings }: Report): string {
  const verdicts: Verdict[] = ['bare', 'silent', 'changed', 'hang', 'raw-control', 'number'];
  const counts = verdicts.map(
    (verdict) => `${findings.filter((found) => found.verdict === verdict).length} ${verdict}`,
  );
  return `${name}: ${exports} exports, ${calls} calls; ${counts.join(', ')}`;
}

/** The findings as lines, those of one place together: what a failed test shows. */
export function linesOf(findings: readonly Finding[]): string[] {
  const places = new Map<string, Finding[]>();
  for (const finding of findings) {
    const place = `${finding.verdict} ${finding.id}(${finding.label.replace(/ (=|is|returns) .*/, '')})`;
    places.set(place, [...(places.get(place) ?? []), finding]);
  }
  return [...places].map(([place, [first, ...others]]) => {
    const more = others.length === 0 ? '' : ` and ${others.length} more`;
    return `${place}: ${first!.label}${more} → ${first!.seen}`;
  });
}

function makersOf(name: PackageName): string {
  return new URL(`makers/${name}.ts`, import.meta.url).href;
}
