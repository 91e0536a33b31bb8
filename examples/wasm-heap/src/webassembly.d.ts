/** What of WebAssembly's JavaScript interface this example uses: the types of Node do not have it. */
// biome-ignore lint/style/noNamespace: that is what it is in the language.
declare namespace WebAssembly {
  class Memory {
    constructor(descriptor: { readonly initial: number; readonly maximum?: number });
    /** Another one after each `grow`, which detaches the one before. */
    readonly buffer: ArrayBuffer;
    /** Adds pages of 64 KiB; returns how many there were. */
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
