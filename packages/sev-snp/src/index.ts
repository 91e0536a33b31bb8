/**
 * AMD SEV-SNP in software: the reverse map table, the instructions on it, and a machine in which a guest and a
 * hypervisor share memory, or do not.
 *
 * @packageDocumentation
 */

export * from './cpu/index.ts';
export * from './firmware/index.ts';
export * from './formats/index.ts';
export * from './guest/index.ts';
export * from './host/index.ts';
export * from './memory/index.ts';
export * from './rmp/index.ts';
export * from './svsm/index.ts';
