/**
 * The processors of an SVSM: page tables, temporary mappings, ranges of virtual addresses, and flushes.
 *
 * @packageDocumentation
 */

export { type MapGuardOptions, MappingGuard, type MappingSpace } from './mapping-guard.ts';
export { PageUses } from './page-uses.ts';
export { PerCpu, type PerCpuParts } from './per-cpu.ts';
export { Processors } from './processors.ts';
export { type FlushCounts, type FlushTarget, ShootDown, type ShootDownOptions } from './shoot-down.ts';
export { VirtualRange, type VirtualRangeOptions } from './virtual-range.ts';
