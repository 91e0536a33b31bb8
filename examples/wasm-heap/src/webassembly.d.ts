/** The part of WebAssembly's JavaScript interface that this example uses. The types of Node do not have it. */
// biome-ignore lint/style/noNamespace: WebAssembly is a namespace in the language.
declare namespace WebAssembly {
  class Memory {
    constructor(descriptor: { readonly initial: number; readonly maximum?: number });
    /** A new buffer after each `grow`, which detaches the old one. */
    readonly buffer: ArrayBuffer;
    /** Adds pages of 64 KiB. Returns the old number of pages. */
    grow(pages: number): number;
  }
  class Module {
    constructor(bytes: Uint8Array<ArrayBuffer>);
  }
  class Instance {
    constructor(module: Module, imports: Readonly<Record<string, object>>);
    readonly exports: object;
  }
}
