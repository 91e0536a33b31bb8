/** Makes the reference of the API from the docstrings of the packages, as Markdown. */
import {
  Application,
  type DeclarationReflection,
  type ProjectReflection,
  ReflectionKind,
  type TypeDocOptions,
} from 'typedoc';
import type { PluginOptions } from 'typedoc-plugin-markdown';
import { PACKAGES, ROOT } from '../packages.ts';
import { type EntryPoint, entryPoints } from './entry-points.ts';

export interface Reference {
  /** Messages about exports without a docstring, and links that lead nowhere. Empty if all is well. */
  readonly problems: readonly string[];
  /** Writes the pages to the folder `api` below `root`. */
  write(root: string): Promise<void>;
  /** The page of an exported name, or of a member: `PageTable.map4k`. `undefined` if it has none. */
  linkOf(name: string, from: string): string | undefined;
}

/** Reads the sources. This takes some 10 s. */
export async function readReference(entries: readonly EntryPoint[] = entryPoints()): Promise<Reference> {
  const problems: string[] = [];
  const app = await Application.bootstrapWithPlugins({
    ...CONTENT,
    ...LOOKS,
    entryPoints: entries.map(({ source }) => ROOT + source),
  });
  app.logger = Object.assign(app.logger, {
    log(message: string, level: number) {
      if (level >= WARN && !isDescribedElsewhere(message)) problems.push(message);
    },
  });
  const project = await app.convert();
  if (project === undefined) throw new Error(`TypeDoc cannot read the sources: ${problems.join('\n')}`);
  const modules = modulesOf(project, entries);
  app.validate(project);
  return {
    problems,
    async write(root) {
      app.options.setValue('docsRoot', root);
      app.options.setValue('out', `${root}/api`);
      await app.generateOutputs(project);
    },
    linkOf: (name, from) => linkIn(modules, name, from),
  };
}

/**
 * Whether TypeDoc misses a docstring that is there: that of a setter is its getter's, and that of a method in the type of a property is the
 * property's.
 */
function isDescribedElsewhere(message: string): boolean {
  return /(\(SetSignature\)|\.__type\.\S+ \((?:CallSignature|Property)\)), .* does not have any documentation/.test(
    message,
  );
}

/** TypeDoc's level of warnings. */
const WARN = 2;

const CONTENT = {
  tsconfig: `${ROOT}apps/site/tsconfig.reference.json`,
  basePath: ROOT,
  readme: 'none',
  // The compiler has checked the sources already.
  skipErrorChecking: true,
  excludePrivate: true,
  excludeInternal: true,
  excludeExternals: true,
  validation: {
    notExported: true,
    invalidLink: true,
    invalidPath: true,
    notDocumented: true,
    unusedMergeModuleWith: true,
  },
  // By default only the package of the root is judged.
  packagesRequiringDocumentation: [...PACKAGES.map((name) => `@svsm/${name}`), '@svsm/site'],
  // Members of interfaces have names that often say all. Those of `details` are described with their code.
  requiredToBeDocumented: ['Class', 'Interface', 'TypeAlias', 'Function', 'Variable', 'Method', 'Accessor'],
  sourceLinkTemplate: 'https://github.com/svsm-js/svsm/blob/main/{path}#L{line}',
  sort: ['source-order'],
} satisfies TypeDocOptions;

const LOOKS = {
  plugin: ['typedoc-plugin-markdown', 'typedoc-vitepress-theme'],
  router: 'member',
  membersWithOwnFile: ['Class'],
  pageTitleTemplates: { index: 'API', module: '@svsm/{name}', member: '{name}' },
  hideBreadcrumbs: true,
  hidePageHeader: true,
  useCodeBlocks: true,
  indexFormat: 'table',
  parametersFormat: 'table',
  interfacePropertiesFormat: 'table',
  classPropertiesFormat: 'table',
  typeAliasPropertiesFormat: 'table',
  typeDeclarationFormat: 'table',
  tableColumnSettings: { hideSources: true, hideModifiers: true, hideInherited: true },
  sidebar: { autoConfiguration: false },
} satisfies Partial<TypeDocOptions & PluginOptions> & Record<string, unknown>;

/** Names the modules by their paths, in the order of the entries, and returns them. */
function modulesOf(
  project: ProjectReflection,
  entries: readonly EntryPoint[],
): Map<string, DeclarationReflection> {
  const modules = project.getChildrenByKind(ReflectionKind.Module);
  const found = entries.map(({ source, path }) => {
    const module = modules.find((module) =>
      module.sources?.some(({ fullFileName }) => fullFileName === ROOT + source),
    );
    if (module === undefined) throw new Error(`TypeDoc made no module of ${source}`);
    module.name = path;
    return [path, module] as const;
  });
  project.children?.sort((a, b) => order(entries, a.name) - order(entries, b.name));
  return new Map(found);
}

function order(entries: readonly EntryPoint[], path: string): number {
  return entries.findIndex((entry) => entry.path === path);
}

function linkIn(
  modules: ReadonlyMap<string, DeclarationReflection>,
  name: string,
  from: string,
): string | undefined {
  const [owner = '', member] = name.split('.');
  for (const [path, module] of modules) {
    if (path.split('/')[0] !== from) continue;
    const found = module.children?.find((child) => child.name === owner);
    if (found === undefined) continue;
    if (!found.kindOf(ReflectionKind.Class))
      return member ? undefined : `/api/${path}/#${owner.toLowerCase()}`;
    const page = `/api/${path}/classes/${owner}`;
    if (member === undefined) return page;
    const kind = found.children?.find((child) => child.name === member)?.kind;
    return kind === ReflectionKind.Method || kind === ReflectionKind.Accessor
      ? `${page}#${member.toLowerCase()}`
      : undefined;
  }
  return undefined;
}
