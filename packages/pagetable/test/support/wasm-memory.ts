// Every runtime that the packages support has WebAssembly; TypeScript declares it only in the library of the DOM.
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

/** A WebAssembly memory of one page, 64 KiB. */
export function wasmMemory(shared = false): WasmMemory {
  return new WebAssembly.Memory(shared ? { initial: 1, maximum: 1, shared } : { initial: 1 });
}
