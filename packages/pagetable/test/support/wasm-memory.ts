// Every runtime that the packages run in has it; TypeScript's own library has it with the DOM alone.
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    Memory: new (descriptor: { initial: number; maximum?: number; shared?: boolean }) => WasmMemory;
  };
};

/** Linear memory of WebAssembly. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

/** One page of it: 64 KiB. */
export function wasmMemory(shared = false): WasmMemory {
  return new WebAssembly.Memory(shared ? { initial: 1, maximum: 1, shared } : { initial: 1 });
}
