/** Turns the TypeScript of an example into a module that a browser can import. */
import { init, parse } from 'es-module-lexer';
import { transform } from 'sucrase';

/** A program cannot run. The message is one sentence for the reader of the page. */
export class CompileError extends Error {}

/**
 * Removes the types, without checking them, and replaces the names of modules by addresses.
 *
 * @param modules - the address of each module that can be imported, by its name
 * @throws CompileError for a syntax error, and for an import of another module
 */
export async function compile(source: string, modules: ReadonlyMap<string, string>): Promise<string> {
  const code = withoutTypes(source);
  await init;
  const [imports] = parse(code);
  let [result, end] = ['', 0];
  for (const { n: name, s: start, e: after, d: dynamic } of imports) {
    if (dynamic === -2) continue; // import.meta
    if (name === undefined) throw new CompileError('write the name of an imported module as a string');
    const address = modules.get(name);
    if (address === undefined) {
      throw new CompileError(`cannot import '${name}': this page has ${[...modules.keys()].join(', ')}`);
    }
    // The place of a dynamic import has its quotes; that of a static one lies between them.
    result += code.slice(end, start) + (dynamic >= 0 ? JSON.stringify(address) : address);
    end = after;
  }
  return result + code.slice(end);
}

function withoutTypes(source: string): string {
  try {
    return transform(source, { transforms: ['typescript'], disableESTransforms: true }).code;
  } catch (error) {
    throw new CompileError((error as Error).message, { cause: error });
  }
}
