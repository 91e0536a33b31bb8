import { type Address, type AddressKind, defineAddressKind, PAGE_SIZE } from '@svsm/address';
import { ByteMemory, HeapAllocator, isBuddyError, PageAllocator } from '@svsm/buddy-alloc';
import { MemoryRegion } from '@svsm/memory-region';
import { type Exports, instantiate, MEMORY } from './module.ts';

/** An address in a module's memory. */
export type WasmAddr = Address<'wasm32'>;
export const Wasm: AddressKind<WasmAddr> = defineAddressKind({
  name: 'wasm32',
  bits: 32,
  signExtended: false,
});

/** The size of a page of WebAssembly memory, in bytes: the unit in which it grows. */
export const WASM_PAGE = 0x1_0000;

/** A module with a heap above its own data. */
export interface World {
  readonly exports: Exports;
  readonly memory: ByteMemory<WasmAddr>;
  readonly allocator: PageAllocator<WasmAddr>;
  readonly heap: HeapAllocator<WasmAddr>;
  /** The objects that the module has allocated and not freed: the requested bytes, by address. */
  readonly owed: ReadonlyMap<WasmAddr, number>;
  /** The number of pages of each growth of the memory. */
  readonly grown: readonly number[];
  /** Allocates for the host. Unlike `malloc` of the module, it throws if there is no memory. */
  allocate(size: number, align?: number): WasmAddr;
}

/** Makes the module, and a heap of all pages above `__heap_base`. */
export function createWorld(): World {
  const owed = new Map<WasmAddr, number>();
  const grown: number[] = [];
  // The module calls these later, when the heap exists.
  const exports = instantiate({
    malloc: (size) => {
      try {
        const address = allocate(size >>> 0);
        owed.set(address, size >>> 0);
        return Number(address);
      } catch (error) {
        // The module does not expect an exception: without memory, it gets the address 0.
        if (isBuddyError(error, 'OUT_OF_MEMORY')) return 0;
        throw error;
      }
    },
    free: (at) => {
      const address = Wasm.address(at >>> 0);
      heap.free(address);
      owed.delete(address);
    },
  });

  const source = exports.memory;
  // `ByteMemory` reads `source.buffer` each time, since growth replaces the buffer.
  const memory = new ByteMemory(Wasm, source, Wasm.address(0));
  const base = Wasm.alignUp(Wasm.address(exports.__heap_base.value), PAGE_SIZE);
  const upTo = (end: number) => MemoryRegion.fromAddresses(Wasm, base, BigInt(end));
  const allocator = new PageAllocator(upTo(memory.byteLength), {
    memory,
    space: upTo(MEMORY.max * WASM_PAGE),
  });
  const heap = new HeapAllocator(allocator, { memory });

  const allocate = (size: number, align = 16): WasmAddr => {
    try {
      return heap.allocate(size, align);
    } catch (error) {
      if (!isBuddyError(error, 'OUT_OF_MEMORY') || !grow(size)) throw error;
      return heap.allocate(size, align);
    }
  };
  /** Grows the memory by at least `size` bytes. Returns whether its maximum allowed that. */
  const grow = (size: number): boolean => {
    const pages = Math.max(1, Math.ceil(size / WASM_PAGE));
    const end = memory.byteLength;
    if (end / WASM_PAGE + pages > MEMORY.max) return false;
    source.grow(pages);
    grown.push(pages);
    allocator.addRegion(new MemoryRegion(Wasm, Wasm.address(end), pages * WASM_PAGE));
    return true;
  };
  return { exports, memory, allocator, heap, owed, grown, allocate };
}
