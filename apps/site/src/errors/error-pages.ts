/** Makes the pages of the errors: one for each package, with an anchor for each code. */
import { readFileSync } from 'node:fs';
import { PACKAGES, type PackageName, ROOT } from '../packages.ts';
import { type ErrorClass, type ErrorEntry, errorClassesOf } from './error-sources.ts';

/** Returns the page of the reference that documents a name, such as `PageTable.map4k`, or `undefined`. */
export type LinkOf = (name: string, from: PackageName) => string | undefined;

/** Longer lists of operations are folded. */
const FEW = 16;

/** The pages, by their path below `errors`, as Markdown. */
export async function errorPages(linkOf: LinkOf = () => undefined): Promise<Map<string, string>> {
  const classes: ErrorClass[] = [];
  for (const name of PACKAGES) classes.push(...(await errorClassesOf(name)));
  const pages = new Map<string, string>([['index.md', overview(classes)]]);
  for (const name of PACKAGES) {
    const own = classes.filter((errorClass) => errorClass.package === name);
    pages.set(`${name}.md`, page(name, own, linkOf));
  }
  return pages;
}

function errorPath({ package: name }: ErrorClass, { code }: ErrorEntry): string {
  return `/errors/${name}#${anchorOf(code)}`;
}

/** The anchor of a code in the page of its package, in the form that VitePress gives to every link: `double-free`. */
function anchorOf(code: string): string {
  return code.toLowerCase().replaceAll('_', '-');
}

function overview(classes: readonly ErrorClass[]): string {
  const count = classes.reduce((sum, { entries }) => sum + entries.length, 0);
  const lists = classes.map((errorClass) => {
    const links = errorClass.entries.map((entry) => `[\`${entry.code}\`](${errorPath(errorClass, entry)})`);
    return `## ${errorClass.name} {#${errorClass.name.toLowerCase()}}\n\nFrom \`@svsm/${errorClass.package}\`.\n\n${links.join(' · ')}\n`;
  });
  return `---
title: Errors
description: The ${count} codes of errors, with what they mean, how they come, and what to do.
outline: 2
---

# Errors

[Handling errors](/guide/errors) shows how a program tells them apart. The address of an entry is the package and the code in small letters:
\`errors/address#non-canonical\`. The first word of a code has the same meaning in all packages:

${vocabulary()}

${lists.join('\n')}`;
}

/** The table of first words in the decision about codes. */
function vocabulary(): string {
  const decision = readFileSync(`${ROOT}docs/decisions/0015-words-of-error-codes.md`, 'utf8');
  return decision.match(/^\|.*\n(?:\|.*\n)+/m)?.[0].trimEnd() ?? '';
}

function page(name: PackageName, classes: readonly ErrorClass[], linkOf: LinkOf): string {
  const sections = classes.flatMap((errorClass) => [
    ...(classes.length > 1 ? [`## ${errorClass.name} {#${errorClass.name.toLowerCase()}}\n`] : []),
    ...errorClass.entries.map((entry) =>
      section(errorClass, entry, classes.length > 1 ? '###' : '##', linkOf),
    ),
  ]);
  const names = classes.map((errorClass) => `\`${errorClass.name}\``).join(' and ');
  return `---
title: Errors of @svsm/${name}
description: The codes of ${names.replaceAll('`', '')}, with what they mean, how they come, and what to do.
outline: [2, 3]
---

# Errors of @svsm/${name}

The codes of ${names}. [All errors](/errors/)

${sections.join('\n')}`;
}

function section({ package: name }: ErrorClass, entry: ErrorEntry, level: string, linkOf: LinkOf): string {
  const { operations } = entry;
  const few = operations.length <= FEW;
  const list = throwers(name, operations, linkOf);
  const rows = [
    ['When', entry.when],
    ['What to do', entry.action],
    ...(entry.message === '‹…›' ? [] : [['Message', escapeHtml(entry.message)]]),
    ['`details`', entry.details === '{}' ? 'empty' : `\`${entry.details}\``],
    ...(few && operations.length > 0 ? [['Thrown by', list]] : []),
  ];
  const below = few ? '' : `\n::: details Thrown by ${operations.length} operations\n${list}\n:::\n`;
  return `${level} \`${entry.code}\` {#${anchorOf(entry.code)}}

${entry.meaning}

${rows.map(([title, text]) => `- **${title}:** ${text}`).join('\n')}
${below}`;
}

/** Operations, with the methods of a class after its name. */
function throwers(name: PackageName, operations: readonly string[], linkOf: LinkOf): string {
  const groups = new Map<string, string[]>();
  for (const operation of operations) {
    const dot = operation.indexOf('.');
    const owner = dot < 0 ? '' : operation.slice(0, dot);
    groups.set(owner, [...(groups.get(owner) ?? []), operation]);
  }
  const link = (operation: string, label: string): string => {
    const target = linkOf(operation.replace(/^new /, ''), name);
    return target === undefined ? `\`${label}\`` : `[\`${label}\`](${target})`;
  };
  return [...groups]
    .map(([owner, members]) => {
      const labels = members.map((member) => link(member, owner ? member.slice(owner.length + 1) : member));
      return owner === '' ? labels.join(', ') : `\`${owner}\`: ${labels.join(', ')}`;
    })
    .join('; ');
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('{{', '&#123;&#123;')
    .replaceAll(/[*_`[\]]/g, '\\$&');
}
