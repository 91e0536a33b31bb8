/** Writes the texts of the site for programs: each page as Markdown beside it, `llms.txt` and `llms-full.txt`. */
import { cpSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { GUIDES } from '../src/guides.ts';
import { PACKAGES, readSource } from '../src/packages.ts';

/** The address of the site, for texts that are read elsewhere. */
const SITE = 'https://svsm-js.github.io/svsm';

/** Writes the texts of the pages in `content` to `folder`. */
export function writeTexts(content: string, folder: string): void {
  for (const file of globSync('{guide,errors,api}/**/*.md', { cwd: content })) {
    if (file === 'guide/index.md') continue;
    mkdirSync(dirname(`${folder}/${file}`), { recursive: true });
    cpSync(`${content}/${file}`, `${folder}/${file}`);
  }
  writeFileSync(`${folder}/llms.txt`, contents());
  writeFileSync(`${folder}/llms-full.txt`, fullText(content));
}

/** The table of contents, in the form that llmstxt.org describes. */
export function contents(): string {
  const link = (title: string, path: string, text: string): string =>
    `- [${title}](${SITE}/${path}): ${text}`;
  return `# @svsm

> The memory stack of a Secure VM Service Module (SVSM) in TypeScript, as small packages: typed addresses, memory regions, a buddy
> allocator, x86-64 page tables with a C-bit, and AMD SEV-SNP (RMP, instructions, GHCB, SVSM protocol) in software.

All text of these pages is in [llms-full.txt](${SITE}/llms-full.txt).

## Guides

${GUIDES.map(({ name, title, summary }) => link(title, `guide/${name}.md`, summary)).join('\n')}

## Packages

${PACKAGES.map((name) => link(`@svsm/${name}`, `api/${pageOf(name)}.md`, descriptionOf(name))).join('\n')}

## Errors

${PACKAGES.map((name) => link(`Errors of @svsm/${name}`, `errors/${name}.md`, 'each code, what it means and what to do')).join('\n')}
`;
}

function fullText(content: string): string {
  const guides = GUIDES.map(({ name }) =>
    withoutFrontmatter(readFileSync(`${content}/guide/${name}.md`, 'utf8')),
  );
  const readmes = PACKAGES.map((name) => readSource(name, 'README.md'));
  const errors = PACKAGES.map((name) =>
    withoutFrontmatter(readFileSync(`${content}/errors/${name}.md`, 'utf8')),
  );
  return `${[...guides, ...readmes, ...errors].map((text) => text.trim()).join('\n\n---\n\n')}\n`;
}

/** The first page of the reference of a package. */
function pageOf(name: string): string {
  return { mm: 'mm/boot/index', 'sev-snp': 'sev-snp/formats/index' }[name] ?? `${name}/index`;
}

function descriptionOf(name: (typeof PACKAGES)[number]): string {
  const { description }: { description: string } = JSON.parse(readSource(name, 'package.json'));
  return description;
}

function withoutFrontmatter(text: string): string {
  return text.replace(/^---\n[\s\S]*?\n---\n/, '');
}
