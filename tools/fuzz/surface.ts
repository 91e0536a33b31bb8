/** The exports of a package, read from its built declarations with the TypeScript compiler. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import type { Key } from './shape.ts';
import { ShapeReader } from './shape-reader.ts';

/** Something that a user of a package can call, construct, read or assign. */
export interface Callable {
  /** Its name in reports: `PageTable.map4k`, `new Tlb`, `virtAddr`, `set Vcpu.cpl`. */
  readonly id: string;
  /** The module that exports it: `@svsm/sev-snp/rmp`. */
  readonly module: string;
  readonly kind: 'function' | 'construct' | 'method' | 'getter' | 'setter';
  /** The name of the export: a function, a class, or an object of functions. For a method of an interface, the type. */
  readonly owner: string;
  /** Where the receiver of a member comes from: the export itself, or a maker of the type. */
  readonly receiver: 'export' | 'maker';
  /** The name of the member, `[Symbol.dispose]` for a symbol; '' for a function or constructor. */
  readonly member: string;
  readonly params: readonly Key[];
  /** Whether it answers whether a value has a type: it answers `false` for any other value. */
  readonly isPredicate: boolean;
}

/** A package as it is built: the name, and the declaration file of each entry point. */
export interface Entry {
  readonly module: string;
  readonly types: string;
}

/** The entry points that `exports` of a manifest names. */
export function entriesOf(folder: string): Entry[] {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const exported = Object.entries<{ types?: string }>(manifest.exports);
  return exported.flatMap(([path, { types }]) =>
    types === undefined ? [] : [{ module: path.replace(/^\./, manifest.name), types: join(folder, types) }],
  );
}

/** Everything that the entry points export and that can be called. An export of several entry points is read once. */
export function readSurface(entries: readonly Entry[]): Callable[] {
  const program = ts.createProgram(
    entries.map(({ types }) => types),
    {
      strict: true,
      exactOptionalPropertyTypes: true,
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      lib: ['lib.es2025.d.ts', 'lib.esnext.disposable.d.ts'],
      types: [],
    },
  );
  const reader = new SurfaceReader(program.getTypeChecker());
  for (const { module, types } of entries)
    reader.readModule(module, program.getSourceFile(types) as ts.SourceFile);
  return reader.callables;
}

class SurfaceReader {
  readonly callables: Callable[] = [];
  readonly #checker: ts.TypeChecker;
  readonly #shapes: ShapeReader;
  readonly #seen = new Set<ts.Symbol>();

  constructor(checker: ts.TypeChecker) {
    this.#checker = checker;
    this.#shapes = new ShapeReader(checker);
  }

  readModule(module: string, file: ts.SourceFile): void {
    const symbol = this.#checker.getSymbolAtLocation(file);
    if (symbol === undefined) throw new Error(`${file.fileName} is not a module`);
    for (const exported of this.#checker.getExportsOfModule(symbol)) {
      const isAlias = (exported.flags & ts.SymbolFlags.Alias) !== 0;
      const target = isAlias ? this.#checker.getAliasedSymbol(exported) : exported;
      if (this.#seen.has(target)) continue;
      this.#seen.add(target);
      this.#readExport(module, exported.name, target);
    }
  }

  #readExport(module: string, name: string, symbol: ts.Symbol): void {
    const { flags } = symbol;
    if ((flags & ts.SymbolFlags.Class) !== 0) {
      this.#readClass(module, name, symbol);
    } else if ((flags & ts.SymbolFlags.Value) !== 0) {
      const type = this.#checker.getTypeOfSymbol(symbol);
      this.#addCalls(type.getCallSignatures(), { module, kind: 'function', owner: name, id: name });
      if ((flags & ts.SymbolFlags.Variable) !== 0) this.#readMembers(module, name, type, name, 'export');
    } else if ((flags & ts.SymbolFlags.Interface) !== 0) {
      // Objects with methods that the package makes, or that callers implement: the makers know which.
      const type = this.#checker.getDeclaredTypeOfSymbol(symbol);
      if (this.#shapes.hasMethods(type)) this.#readMembers(module, name, type, name, 'maker');
    }
  }

  #readClass(module: string, name: string, symbol: ts.Symbol): void {
    const statics = this.#checker.getTypeOfSymbol(symbol);
    const isAbstract = hasModifier(symbol, ts.ModifierFlags.Abstract);
    for (const signature of isAbstract ? [] : statics.getConstructSignatures()) {
      const declared = signature.declaration;
      if (declared !== undefined && isHidden(declared)) continue;
      this.#addCalls([signature], { module, kind: 'construct', owner: name, id: `new ${name}` });
    }
    this.#readMembers(module, name, statics, name, 'export');
    if (isAbstract) return;
    this.#readMembers(module, name, this.#checker.getDeclaredTypeOfSymbol(symbol), name, 'maker');
  }

  #readMembers(
    module: string,
    owner: string,
    type: ts.Type,
    idOwner: string,
    receiver: Callable['receiver'],
  ): void {
    for (const property of this.#checker.getPropertiesOfType(type)) {
      const member = memberName(property);
      if (member === undefined || property.declarations?.some(isHidden) === true) continue;
      if (property.declarations?.some((d) => d.getSourceFile().fileName.includes('/typescript/lib/')))
        continue;
      const at = { module, owner, member, receiver };
      const id = `${idOwner}.${member}`;
      if ((property.flags & ts.SymbolFlags.Accessor) !== 0) {
        this.#readAccessor(property, { ...at, id });
        continue;
      }
      const of = this.#checker.getTypeOfSymbol(property);
      const calls = of.getNonNullableType().getCallSignatures();
      if (calls.length > 0) this.#addCalls(calls, { ...at, kind: 'method', id });
      else if (receiver === 'maker' && !isReadonly(property)) this.#addSetter(property, { ...at, id });
    }
  }

  #readAccessor(
    property: ts.Symbol,
    at: Partial<Callable> & Pick<Callable, 'module' | 'owner' | 'id'>,
  ): void {
    if ((property.flags & ts.SymbolFlags.GetAccessor) !== 0) this.#add({ ...at, kind: 'getter' });
    if ((property.flags & ts.SymbolFlags.SetAccessor) !== 0) this.#addSetter(property, at);
  }

  #addSetter(property: ts.Symbol, at: Partial<Callable> & Pick<Callable, 'module' | 'owner' | 'id'>): void {
    const shape = this.#shapes.read(this.#checker.getTypeOfSymbol(property));
    const params = [{ name: property.name, optional: false, shape }];
    this.#add({ ...at, kind: 'setter', id: `set ${at.id}`, params });
  }

  #addCalls(
    signatures: readonly ts.Signature[],
    at: Partial<Callable> & Pick<Callable, 'module' | 'owner' | 'id' | 'kind'>,
  ): void {
    signatures.forEach((signature, overload) => {
      const params = signature.parameters.map((parameter) => this.#shapes.parameter(parameter));
      const predicate = this.#checker.getTypePredicateOfSignature(signature);
      const isPredicate = predicate?.kind === ts.TypePredicateKind.Identifier;
      const id = overload === 0 ? at.id : `${at.id}#${overload + 1}`;
      this.#add({ ...at, id, params, isPredicate });
    });
  }

  #add(callable: Partial<Callable> & Pick<Callable, 'module' | 'owner' | 'id' | 'kind'>): void {
    this.callables.push({ receiver: 'export', member: '', params: [], isPredicate: false, ...callable });
  }
}

/** The name that code writes; `undefined` for a private name and for the prototype of a class. */
function memberName(symbol: ts.Symbol): string | undefined {
  const name = String(symbol.escapedName);
  const known = /^__@(\w+?)@/.exec(name);
  if (known !== null) return `[Symbol.${known[1]}]`;
  return name.startsWith('__#') || name === 'prototype' ? undefined : symbol.name;
}

function isHidden(declaration: ts.Declaration): boolean {
  return (
    (ts.getCombinedModifierFlags(declaration) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) !== 0
  );
}

function isReadonly(symbol: ts.Symbol): boolean {
  return hasModifier(symbol, ts.ModifierFlags.Readonly);
}

function hasModifier(symbol: ts.Symbol, flag: ts.ModifierFlags): boolean {
  return symbol.declarations?.some((d) => (ts.getCombinedModifierFlags(d) & flag) !== 0) === true;
}
