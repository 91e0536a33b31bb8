import { encodeModule, F64, type Func, I32, op } from './wasm-encoder.ts';

/** The initial and the maximum size of the module's memory, in pages of 64 KiB. */
export const MEMORY = { min: 2, max: 64 } as const;
/** The place of the CRC-32 table, which is the module's own data. */
export const TABLE = { at: 0x400, length: 1024 } as const;
/**
 * The first byte that does not belong to the module. It is above the data and a stack of 32 KiB, as compilers lay them out, and
 * not a multiple of the page size.
 */
export const HEAP_BASE = 0x8810;

const MALLOC = 0;
const FREE = 1;

/** `(block (loop (br_if 1 condition) body… (br 0)))`: repeats the body until the condition is not 0. */
const until = (condition: readonly number[], ...body: readonly (readonly number[])[]): number[] => [
  ...op.block,
  ...op.loop,
  ...condition,
  ...op.brIf(1),
  ...body.flat(),
  ...op.br(0),
  ...op.end,
  ...op.end,
];

/**
 * The functions of this module:
 *
 * ```wat
 * (module
 *   (import "env" "malloc" (func $malloc (param $size i32) (result i32)))
 *   (import "env" "free" (func $free (param $at i32)))
 *   (memory (export "memory") 2 64)
 *   (global (export "__heap_base") i32 (i32.const 0x8810))
 *   (data (i32.const 0x400) "…the table of CRC-32…")
 *
 *   ;; The sum of $length numbers of 64 bits from $at on.
 *   (func (export "sum") (param $at i32) (param $length i32) (result f64)
 *     (local $total f64) (local $end i32)
 *     (local.set $end (i32.add (local.get $at) (i32.shl (local.get $length) (i32.const 3))))
 *     (block (loop
 *       (br_if 1 (i32.eq (local.get $at) (local.get $end)))
 *       (local.set $total (f64.add (local.get $total) (f64.load (local.get $at))))
 *       (local.set $at (i32.add (local.get $at) (i32.const 8)))
 *       (br 0)))
 *     (local.get $total))
 *
 *   ;; Reverses a list and returns its new head. A node is the address of the next one, or 0, and a value.
 *   (func (export "reverse") (param $head i32) (result i32)
 *     (local $previous i32) (local $next i32)
 *     (block (loop
 *       (br_if 1 (i32.eqz (local.get $head)))
 *       (local.set $next (i32.load (local.get $head)))
 *       (i32.store (local.get $head) (local.get $previous))
 *       (local.set $previous (local.get $head))
 *       (local.set $head (local.get $next))
 *       (br 0)))
 *     (local.get $previous))
 *
 *   ;; Allocates a list with the values 1 to $n.
 *   (func (export "range") (param $n i32) (result i32)
 *     (local $head i32) (local $node i32)
 *     (block (loop
 *       (br_if 1 (i32.eqz (local.get $n)))
 *       (local.set $node (call $malloc (i32.const 8)))
 *       (i32.store (local.get $node) (local.get $head))
 *       (i32.store offset=4 (local.get $node) (local.get $n))
 *       (local.set $head (local.get $node))
 *       (local.set $n (i32.sub (local.get $n) (i32.const 1)))
 *       (br 0)))
 *     (local.get $head))
 *
 *   ;; Frees the nodes of a list.
 *   (func (export "drop") (param $head i32)
 *     (local $next i32)
 *     (block (loop
 *       (br_if 1 (i32.eqz (local.get $head)))
 *       (local.set $next (i32.load (local.get $head)))
 *       (call $free (local.get $head))
 *       (local.set $head (local.get $next))
 *       (br 0))))
 *
 *   ;; Allocates $size bytes. Returns 0 if there is no memory.
 *   (func (export "make") (param $size i32) (result i32)
 *     (call $malloc (local.get $size)))
 *
 *   ;; A bug: frees the same object twice.
 *   (func (export "free_twice") (param $size i32)
 *     (local $at i32)
 *     (call $free (local.tee $at (call $malloc (local.get $size))))
 *     (call $free (local.get $at)))
 *
 *   ;; The CRC-32 of $length bytes from $at on, computed with the table.
 *   (func (export "crc32") (param $at i32) (param $length i32) (result i32)
 *     (local $crc i32) (local $end i32)
 *     (local.set $crc (i32.const -1))
 *     (local.set $end (i32.add (local.get $at) (local.get $length)))
 *     (block (loop
 *       (br_if 1 (i32.eq (local.get $at) (local.get $end)))
 *       (local.set $crc (i32.xor
 *         (i32.shr_u (local.get $crc) (i32.const 8))
 *         (i32.load offset=0x400 (i32.shl
 *           (i32.and (i32.xor (local.get $crc) (i32.load8_u (local.get $at))) (i32.const 255))
 *           (i32.const 2)))))
 *       (local.set $at (i32.add (local.get $at) (i32.const 1)))
 *       (br 0)))
 *     (i32.xor (local.get $crc) (i32.const -1))))
 * ```
 */
const FUNCS: readonly Func[] = [
  {
    name: 'sum',
    params: [I32, I32],
    results: [F64],
    locals: [F64, I32],
    body: [
      [...op.get(0), ...op.get(1), ...op.const(3), ...op.shl, ...op.add, ...op.set(3)],
      until(
        [...op.get(0), ...op.get(3), ...op.eq],
        [...op.get(2), ...op.get(0), ...op.loadF64(0), ...op.addF64, ...op.set(2)],
        [...op.get(0), ...op.const(8), ...op.add, ...op.set(0)],
      ),
      op.get(2),
    ],
  },
  {
    name: 'reverse',
    params: [I32],
    results: [I32],
    locals: [I32, I32],
    body: [
      until(
        [...op.get(0), ...op.eqz],
        [...op.get(0), ...op.load(0), ...op.set(2)],
        [...op.get(0), ...op.get(1), ...op.store(0)],
        [...op.get(0), ...op.set(1)],
        [...op.get(2), ...op.set(0)],
      ),
      op.get(1),
    ],
  },
  {
    name: 'range',
    params: [I32],
    results: [I32],
    locals: [I32, I32],
    body: [
      until(
        [...op.get(0), ...op.eqz],
        [...op.const(8), ...op.call(MALLOC), ...op.set(2)],
        [...op.get(2), ...op.get(1), ...op.store(0)],
        [...op.get(2), ...op.get(0), ...op.store(4)],
        [...op.get(2), ...op.set(1)],
        [...op.get(0), ...op.const(1), ...op.sub, ...op.set(0)],
      ),
      op.get(1),
    ],
  },
  {
    name: 'drop',
    params: [I32],
    results: [],
    locals: [I32],
    body: [
      until(
        [...op.get(0), ...op.eqz],
        [...op.get(0), ...op.load(0), ...op.set(1)],
        [...op.get(0), ...op.call(FREE)],
        [...op.get(1), ...op.set(0)],
      ),
    ],
  },
  {
    name: 'make',
    params: [I32],
    results: [I32],
    locals: [],
    body: [[...op.get(0), ...op.call(MALLOC)]],
  },
  {
    name: 'free_twice',
    params: [I32],
    results: [],
    locals: [I32],
    body: [
      [...op.get(0), ...op.call(MALLOC), ...op.tee(1), ...op.call(FREE)],
      [...op.get(1), ...op.call(FREE)],
    ],
  },
  {
    name: 'crc32',
    params: [I32, I32],
    results: [I32],
    locals: [I32, I32],
    body: [
      [...op.const(-1), ...op.set(2)],
      [...op.get(0), ...op.get(1), ...op.add, ...op.set(3)],
      until(
        [...op.get(0), ...op.get(3), ...op.eq],
        [...op.get(2), ...op.const(8), ...op.shrU],
        [...op.get(2), ...op.get(0), ...op.load8(0), ...op.xor, ...op.const(255), ...op.and],
        [...op.const(2), ...op.shl, ...op.load(TABLE.at), ...op.xor, ...op.set(2)],
        [...op.get(0), ...op.const(1), ...op.add, ...op.set(0)],
      ),
      [...op.get(2), ...op.const(-1), ...op.xor],
    ],
  },
];

/** The exports of the module. Addresses are signed numbers there. */
export interface Exports {
  readonly memory: WebAssembly.Memory;
  readonly __heap_base: { readonly value: number };
  sum(at: number, length: number): number;
  reverse(head: number): number;
  range(n: number): number;
  drop(head: number): void;
  make(size: number): number;
  free_twice(size: number): void;
  crc32(at: number, length: number): number;
}

/** The imports of the module. */
export interface Imports {
  malloc(size: number): number;
  free(at: number): void;
}

/** Makes an instance of the module that allocates with `imports`. */
export function instantiate(imports: Imports): Exports {
  const bytes = encodeModule({
    imports: [
      { module: 'env', name: 'malloc', params: [I32], results: [I32] },
      { module: 'env', name: 'free', params: [I32], results: [] },
    ],
    memory: MEMORY,
    globals: [{ name: '__heap_base', value: HEAP_BASE }],
    funcs: FUNCS,
    data: [{ at: TABLE.at, bytes: new Uint8Array(crcTable().buffer) }],
  });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { ...imports } });
  return exports as unknown as Exports;
}

/** The remainders of all bytes by the reversed polynomial of IEEE 802.3. Little-endian, as the module reads them. */
function crcTable(): Uint32Array<ArrayBuffer> {
  const table = new Uint32Array(256);
  const view = new DataView(table.buffer);
  for (let byte = 0; byte < 256; byte += 1) {
    let rest = byte;
    for (let bit = 0; bit < 8; bit += 1) rest = (rest >>> 1) ^ (rest & 1 ? 0xedb8_8320 : 0);
    view.setUint32(4 * byte, rest, true);
  }
  return table;
}
