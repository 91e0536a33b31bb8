/**
 * Writes the declarations of the package in whose folder it runs: a `.d.ts` for each source that an entry point of package.json
 * reaches, with what is reached of it, and a map of each, so that an editor goes from a name to `src`.
 *
 * Nothing is checked here: that is the task `types`.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { DeclarationFile, reachedText } from './reached-declarations.ts';

interface Manifest {
  exports: Record<string, string | { types: string }>;
}

/** The field of a source map that is changed here. */
interface SourceMap {
  readonly mappings?: string;
}

export function writeDeclarations(): void {
  const { exports }: Manifest = JSON.parse(readFileSync('package.json', 'utf8'));
  const doors = Object.values(exports).filter((target) => typeof target === 'object');
  const entries = doors.map(({ types }) => types.replace(/^\.\/dist\/(.*)\.d\.ts$/, 'src/$1.ts'));
  const program = ts.createProgram(entries, compilerOptions());
  const maps = new Map<string, SourceMap>();
  const emit = (source: string): DeclarationFile => {
    const { text, map } = declarationOf(program, source);
    maps.set(source, map);
    return new DeclarationFile(source, text);
  };
  for (const [source, text] of reachedText(entries, emit)) {
    const target = source.replace(/^src(.*)\.ts$/, 'dist$1.d.ts');
    const { mappings = '', ...map } = maps.get(source) ?? {};
    const sources = [relative(dirname(target), source)];
    // Consumers need not know which library has this symbol. The new line moves the map by one line.
    const library = text.includes('[Symbol.dispose]') ? '/// <reference lib="esnext.disposable" />\n' : '';
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, library + structural(text));
    writeFileSync(
      `${target}.map`,
      JSON.stringify({ ...map, sources, mappings: (library ? ';' : '') + mappings }),
    );
  }
}

/** Those of the repository. The rooms for Node have its types. */
function compilerOptions(): ts.CompilerOptions {
  const base = fileURLToPath(new URL('../../tsconfig.base.json', import.meta.url));
  const { config } = ts.readConfigFile(base, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, dirname(base));
  return {
    ...options,
    types: ['node'],
    noCheck: true,
    noEmit: false,
    emitDeclarationOnly: true,
    declarationMap: true,
    outDir: resolve('dist'),
    rootDir: resolve('src'),
  };
}

function declarationOf(program: ts.Program, source: string): { text: string; map: SourceMap } {
  const written: { text: string; map: SourceMap } = { text: '', map: {} };
  program.emit(program.getSourceFile(source), (file, text) => {
    if (file.endsWith('.map')) written.map = JSON.parse(text);
    else written.text = text;
  });
  return written;
}

/**
 * Leaves out `#private`, which the compiler writes for private fields: it makes a class differ from the same class of another
 * installed version. The line stays, because the map counts lines. An import of `./x.ts` becomes one of `./x.js`.
 */
function structural(text: string): string {
  return text
    .replace(/^ +#private;$/gm, '')
    .replace(/((?:from|import) ?\(?["']\.{1,2}\/[^"']*)\.ts(?=["'])/g, '$1.js');
}
