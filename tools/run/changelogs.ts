/**
 * `npm run version-packages` ends with this: it sorts the newest version of each changelog into "Changed", "Added" and "Fixed",
 * in this order, and links each entry to its commit. A changeset that begins with `Changed:` is one after which users must act.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './turbo.ts';

const COMMITS = 'https://github.com/svsm-js/svsm/commit/';
/** The headings, in their order. */
const HEADINGS = ['Changed', 'Added', 'Fixed', 'Dependencies'] as const;
type Heading = (typeof HEADINGS)[number];

/** A changelog as changesets has written it, with its newest version sorted. A version that is sorted stays as it is. */
export function sortedChangelog(text: string): string {
  const [, before, version, after] =
    /^([\s\S]*?\n## [^\n]*\n)([\s\S]*?)((?:\n## [\s\S]*)?)$/.exec(text) ?? [];
  if (before === undefined || version === undefined || !/^### (Major|Minor|Patch) Changes$/m.test(version)) {
    return text;
  }
  const entries = new Map<Heading, string[]>(HEADINGS.map((heading) => [heading, []]));
  for (const part of version.split(/^### /m).slice(1)) {
    const isPatch = part.startsWith('Patch');
    for (const entry of part.split(/^(?=- )/m).slice(1)) {
      const { heading, line } = sorted(entry.trimEnd().replaceAll(/^[ \t]+$/gm, ''), isPatch);
      // Changesets writes a line for each commit that changed a dependency, and their versions below the last one.
      if (line !== '') entries.get(heading)!.push(line);
    }
  }
  const filled = [...entries].filter(([, lines]) => lines.length > 0);
  const sections = filled.map(([heading, lines]) => `\n### ${heading}\n\n${lines.join('\n')}\n`);
  return `${before}${sections.join('')}${after}`;
}

function sorted(entry: string, isPatch: boolean): { heading: Heading; line: string } {
  if (/^- Updated dependencies\b/.test(entry)) {
    const line = entry.replaceAll(/^- .*\n?/gm, '').replaceAll(/^ +- /gm, '- ');
    return { heading: 'Dependencies', line };
  }
  const [, hash, marker, body = ''] = /^- (?:([\da-f]{7,}): )?(Changed: )?([\s\S]*)$/.exec(entry) ?? [];
  const link = hash === undefined ? '' : ` ([${hash}](${COMMITS}${hash}))`;
  // Of a text with several paragraphs, the first one gets the link.
  const [first = '', ...others] = body.split('\n\n');
  const line = `- ${[`${first}${link}`, ...others].join('\n\n')}`;
  if (marker !== undefined) return { heading: 'Changed', line };
  return { heading: isPatch ? 'Fixed' : 'Added', line };
}

if (import.meta.main) {
  for (const file of globSync('packages/*/CHANGELOG.md', { cwd: ROOT })) {
    const path = join(ROOT, file);
    writeFileSync(path, sortedChangelog(readFileSync(path, 'utf8')));
  }
}
