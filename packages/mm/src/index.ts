/**
 * The memory management of an SVSM, composed of an allocator, page tables and the SEV-SNP layer: boot, layout, processors
 * with their page tables, and mappings that are released.
 *
 * @packageDocumentation
 */

export * from './boot/index.ts';
export * from './cpu/index.ts';
export * from './formats/index.ts';
export * from './guest/index.ts';
export * from './layout/index.ts';
export * from './visibility/index.ts';
export * from './vm/index.ts';
