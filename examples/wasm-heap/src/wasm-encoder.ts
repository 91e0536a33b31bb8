/** The part of the WebAssembly binary format (core specification 1.0, chapter 5) that a small module needs. */

/** Value types, §5.3.1. */
export const I32 = 0x7f;
export const F64 = 0x7c;

/** Instructions, §5.4, as bytes. Blocks have no result; the operand of a branch is the number of enclosing blocks to skip. */
export const op = {
  block: [0x02, 0x40],
  loop: [0x03, 0x40],
  end: [0x0b],
  br: (depth: number): number[] => [0x0c, ...unsigned(depth)],
  brIf: (depth: number): number[] => [0x0d, ...unsigned(depth)],
  call: (func: number): number[] => [0x10, ...unsigned(func)],
  get: (local: number): number[] => [0x20, ...unsigned(local)],
  set: (local: number): number[] => [0x21, ...unsigned(local)],
  tee: (local: number): number[] => [0x22, ...unsigned(local)],
  const: (value: number): number[] => [0x41, ...signed(value)],
  // Loads and stores have the binary logarithm of the expected alignment, then an offset.
  load: (offset: number): number[] => [0x28, 2, ...unsigned(offset)],
  load8: (offset: number): number[] => [0x2d, 0, ...unsigned(offset)],
  loadF64: (offset: number): number[] => [0x2b, 3, ...unsigned(offset)],
  store: (offset: number): number[] => [0x36, 2, ...unsigned(offset)],
  eqz: [0x45],
  eq: [0x46],
  add: [0x6a],
  sub: [0x6b],
  and: [0x71],
  xor: [0x73],
  shl: [0x74],
  shrU: [0x76],
  addF64: [0xa0],
};

/** The type of a function. */
interface FuncType {
  readonly params: readonly number[];
  readonly results: readonly number[];
}

/** An exported function. */
export interface Func extends FuncType {
  readonly name: string;
  /** The types of its locals after the parameters. Locals start as zero. */
  readonly locals: readonly number[];
  readonly body: readonly (readonly number[])[];
}

/** A module with one memory in pages of 64 KiB, which it exports as `memory`. */
export interface Module {
  /** Functions of the host. They have the first numbers. */
  readonly imports: readonly (FuncType & { readonly module: string; readonly name: string })[];
  readonly memory: { readonly min: number; readonly max: number };
  /** Exported constants of type i32. */
  readonly globals: readonly { readonly name: string; readonly value: number }[];
  readonly funcs: readonly Func[];
  readonly data: readonly { readonly at: number; readonly bytes: Uint8Array }[];
}

/** `"\0asm"` and the version, 1. */
const PREAMBLE = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];

/** The module as bytes, §5.5. */
export function encodeModule({ imports, memory, globals, funcs, data }: Module): Uint8Array<ArrayBuffer> {
  const types = [...imports, ...funcs];
  return Uint8Array.from([
    ...PREAMBLE,
    ...section(
      1,
      types.map(({ params, results }) => [0x60, ...vector(params), ...vector(results)]),
    ),
    ...section(
      2,
      imports.map(({ module, name }, index) => [...text(module), ...text(name), 0x00, ...unsigned(index)]),
    ),
    ...section(
      3,
      funcs.map((_, index) => unsigned(imports.length + index)),
    ),
    ...section(5, [[0x01, ...unsigned(memory.min), ...unsigned(memory.max)]]),
    ...section(
      6,
      globals.map(({ value }) => [I32, 0x00, ...op.const(value), ...op.end]),
    ),
    ...section(7, [
      [...text('memory'), 0x02, 0],
      ...globals.map(({ name }, index) => [...text(name), 0x03, ...unsigned(index)]),
      ...funcs.map(({ name }, index) => [...text(name), 0x00, ...unsigned(imports.length + index)]),
    ]),
    ...section(10, funcs.map(code)),
    ...section(
      11,
      data.map(({ at, bytes }) => [0x00, ...op.const(at), ...op.end, ...vector([...bytes])]),
    ),
  ]);
}

function section(id: number, entries: readonly (readonly number[])[]): number[] {
  return [id, ...vector([...unsigned(entries.length), ...entries.flat()])];
}

function code({ locals, body }: Func): number[] {
  const groups = locals.map((type) => [1, type]);
  return vector([...unsigned(groups.length), ...groups.flat(), ...body.flat(), ...op.end]);
}

/** Bytes, preceded by their number. */
function vector(bytes: readonly number[]): number[] {
  return [...unsigned(bytes.length), ...bytes];
}

function text(name: string): number[] {
  return vector([...new TextEncoder().encode(name)]);
}

/** LEB128, §5.2.2: seven bits a byte, the lowest first. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  return value >= -0x40 && value < 0x40 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}
