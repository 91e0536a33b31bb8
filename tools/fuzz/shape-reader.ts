/** TypeScript types as {@link Shape}s. */
import ts from 'typescript';
import type { Key, Shape } from './shape.ts';

const MAX_DEPTH = 5;

export class ShapeReader {
  readonly #checker: ts.TypeChecker;

  constructor(checker: ts.TypeChecker) {
    this.#checker = checker;
  }

  /** The shape of a type. Below five levels of properties, everything is allowed. */
  read(type: ts.Type, depth = 0): Shape {
    const simple = this.#simple(type, depth);
    if (simple !== undefined) return simple;
    const name = nameOf(type);
    if (type.isIntersection()) {
      const base = type.types.map((member) => this.#simple(member, depth)?.is);
      if (base.includes('bigint')) return { is: 'named', name: name ?? 'Address', base: 'bigint' };
      if (base.includes('number')) return { is: 'named', name: name ?? 'number', base: 'number' };
    }
    return this.#object(type, name, depth);
  }

  parameter(symbol: ts.Symbol): Key {
    const declaration = symbol.valueDeclaration as ts.ParameterDeclaration | undefined;
    const optional = declaration?.questionToken !== undefined || declaration?.initializer !== undefined;
    const type = this.#checker.getTypeOfSymbol(symbol);
    const name = symbol.name.startsWith('__') ? 'options' : symbol.name;
    return { name, optional, shape: this.read(optional ? type.getNonNullableType() : type) };
  }

  /** Whether an object of this type has methods. A property that holds a function is none. */
  hasMethods(type: ts.Type): boolean {
    return this.#checker.getPropertiesOfType(type).some(({ flags }) => (flags & ts.SymbolFlags.Method) !== 0);
  }

  #simple(type: ts.Type, depth: number): Shape | undefined {
    const { flags } = type;
    const has = (flag: ts.TypeFlags): boolean => (flags & flag) !== 0;
    if (has(ts.TypeFlags.Any | ts.TypeFlags.Unknown | ts.TypeFlags.NonPrimitive)) return { is: 'unknown' };
    if (has(ts.TypeFlags.Undefined | ts.TypeFlags.Void)) return { is: 'undefined' };
    if (has(ts.TypeFlags.Null)) return { is: 'null' };
    if (has(ts.TypeFlags.Boolean)) return { is: 'boolean' };
    if (type.isUnion()) return { is: 'union', of: type.types.map((member) => this.read(member, depth)) };
    if (type.isStringLiteral() || type.isNumberLiteral()) return { is: 'literal', value: type.value };
    if (has(ts.TypeFlags.BooleanLiteral)) {
      return { is: 'literal', value: this.#checker.typeToString(type) === 'true' };
    }
    if (has(ts.TypeFlags.BigIntLiteral)) {
      return { is: 'literal', value: BigInt(this.#checker.typeToString(type).replace('n', '')) };
    }
    if (has(ts.TypeFlags.BigIntLike)) return { is: 'bigint' };
    if (has(ts.TypeFlags.NumberLike)) return { is: 'number' };
    if (has(ts.TypeFlags.StringLike)) return { is: 'string' };
    if (has(ts.TypeFlags.ESSymbolLike)) return { is: 'symbol' };
    // `NoInfer<A>`
    if (has(ts.TypeFlags.Substitution)) return this.read((type as ts.SubstitutionType).baseType, depth);
    if (has(ts.TypeFlags.TypeParameter | ts.TypeFlags.IndexedAccess | ts.TypeFlags.Conditional)) {
      const constraint = this.#checker.getBaseConstraintOfType(type);
      return constraint === undefined || constraint === type
        ? { is: 'unknown' }
        : this.read(constraint, depth);
    }
    return depth > MAX_DEPTH ? { is: 'unknown' } : undefined;
  }

  #object(type: ts.Type, name: string | undefined, depth: number): Shape {
    const list = this.#list(type, depth);
    if (list !== undefined) return list;
    if (type.getConstructSignatures().length > 0) {
      return { is: 'named', name: name ?? 'constructor', base: 'object' };
    }
    if (type.getCallSignatures().length > 0) return { is: 'function', name };
    const symbol = type.getSymbol();
    const isClass = symbol !== undefined && (symbol.flags & ts.SymbolFlags.Class) !== 0;
    const isForeign = symbol?.declarations?.some((d) => isLibrary(d.getSourceFile())) === true;
    const isMapped = (type.flags & ts.TypeFlags.Object) !== 0 && symbol?.name === '__type';
    if (name !== undefined && (isClass || (isForeign && !isMapped) || this.hasMethods(type))) {
      return { is: 'named', name, base: 'object' };
    }
    const keys = this.#checker.getPropertiesOfType(type).map((property) => {
      const optional = (property.flags & ts.SymbolFlags.Optional) !== 0;
      return {
        name: property.name,
        optional,
        shape: this.read(this.#checker.getTypeOfSymbol(property), depth + 1),
      };
    });
    return { is: 'object', name, keys };
  }

  #list(type: ts.Type, depth: number): Shape | undefined {
    const name = type.getSymbol()?.name;
    const isArray = this.#checker.isArrayLikeType(type) && !isTypedArray(name);
    const isIterable = name === 'Iterable' || name === 'ReadonlySet' || name === 'Set';
    if (!isArray && !isIterable) return undefined;
    const types = this.#checker.getTypeArguments(type as ts.TypeReference);
    const isTuple = this.#checker.isTupleType(type);
    const hasRest = isTuple && (type as ts.TupleTypeReference).target.hasRestElement;
    const of: Shape =
      isTuple && types.length > 1
        ? { is: 'union', of: types.map((element) => this.read(element, depth + 1)) }
        : types[0] === undefined
          ? { is: 'unknown' }
          : this.read(types[0], depth + 1);
    return { is: 'list', of, array: isArray, length: isTuple && !hasRest ? types.length : undefined };
  }
}

function nameOf(type: ts.Type): string | undefined {
  const name = (type.aliasSymbol ?? type.getSymbol())?.name;
  const written = name === '__type' || name === '__object' ? undefined : name;
  // `Partial<CpuState>` is not a `CpuState`.
  return written === 'Partial' || written === 'Omit' || written === 'Pick' || written === 'Readonly'
    ? undefined
    : written;
}

function isTypedArray(name: string | undefined): boolean {
  return name?.endsWith('Array') === true && name !== 'Array' && name !== 'ReadonlyArray';
}

function isLibrary(file: ts.SourceFile): boolean {
  return file.fileName.includes('/typescript/lib/');
}
