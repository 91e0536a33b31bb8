/** The programs that strangers' projects run: the first example of the README, and that of each package. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { type Fence, fencesOf } from '../checks/fences.ts';
import { PACKAGES } from '../checks/workspace.ts';
import { ROOT } from './turbo.ts';

export interface Program {
  /** `pr131`, or the name of a package. */
  readonly name: string;
  readonly code: string;
  /** The lines that it prints. */
  readonly prints: readonly string[];
  /** The packages that its README says to install. */
  readonly installs: readonly string[];
}

export const PROGRAMS: readonly Program[] = [
  programOf('pr131', 'README.md'),
  ...PACKAGES.map(({ name }) => programOf(name, `packages/${name}/README.md`)),
];

function programOf(name: string, document: string): Program {
  const example = fencesOf(document).find(({ info }) => info === 'ts') as Fence;
  const line = /npm install ((?:@svsm\/[\w-]+ ?)+)/.exec(readFileSync(join(ROOT, document), 'utf8'));
  const installs = line?.[1]?.trim().split(' ') ?? PACKAGES.map(({ manifest }) => manifest.name);
  return { name, code: example.code, prints: example.prints, installs };
}

/** The files of a project in JavaScript: `main` prints {@link REPORT}, or what is wrong. */
export function filesIn(format: 'esm' | 'cjs'): Record<string, string> {
  const extension = format === 'esm' ? 'js' : 'cjs';
  const module = format === 'esm' ? ts.ModuleKind.ES2022 : ts.ModuleKind.CommonJS;
  const compilerOptions: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    module,
    verbatimModuleSyntax: false,
  };
  const compiled = (code: string): string => ts.transpileModule(code, { compilerOptions }).outputText;
  const files = Object.fromEntries(
    PROGRAMS.map(({ name, code }) => [`${name}.${extension}`, compiled(collecting(code, extension))]),
  );
  const show = readFileSync(join(ROOT, 'apps/site/src/editor/inspect.ts'), 'utf8');
  return {
    ...files,
    [`show.${extension}`]: compiled(show),
    [`main.${extension}`]: compiled(mainOf(extension)),
  };
}

/** The last line that a project prints if all is right. */
export const REPORT = `${PROGRAMS.length} of ${PROGRAMS.length} programs print what they say`;

/** The example, with its lines in an export: consoles differ. */
function collecting(code: string, extension: string): string {
  const imports = [...code.matchAll(/^import [^;]*;\n/gm)].at(-1)!;
  const end = imports.index + imports[0].length;
  return `import { formatLine } from './show.${extension}';
${code.slice(0, end)}
export const lines: string[] = [];
const console = { log: (...values: unknown[]) => void lines.push(formatLine(values)) };
${code.slice(end)}`;
}

function mainOf(extension: string): string {
  const names = PROGRAMS.map(({ name }) => ({ name, id: name.replaceAll('-', '_') }));
  return `${names.map(({ name, id }) => `import * as ${id} from './${name}.${extension}';`).join('\n')}
const expected: Record<string, unknown> = ${JSON.stringify(Object.fromEntries(PROGRAMS.map(({ name, prints }) => [name, prints])))};
const printed: Record<string, unknown> = { ${names.map(({ name, id }) => `'${name}': ${id}.lines`).join(', ')} };
const names = Object.keys(expected);
const wrong = names.filter((name) => JSON.stringify(printed[name]) !== JSON.stringify(expected[name]));
export const report: string = [
  ...wrong.map((name) => name + ' prints ' + JSON.stringify(printed[name]) + ', not ' + JSON.stringify(expected[name])),
  names.length - wrong.length + ' of ' + names.length + ' programs print what they say',
].join('\\n');
console.log(report);
`;
}
