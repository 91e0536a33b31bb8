/**
 * The hypervisor, honest or hostile, and the machine that it owns.
 *
 * @packageDocumentation
 */

export type { CpuidRequest, CpuidResult } from './cpuid-service.ts';
export type { GhcbAnswer, GhcbRequest } from './ghcb-service.ts';
export type { HostileAnswers } from './hostile-answers.ts';
export { HostileHypervisor } from './hostile-hypervisor.ts';
export { Hypervisor } from './hypervisor.ts';
export type { LaunchImage, LaunchMemory, LaunchOptions } from './launch-options.ts';
export { type ChangePage, PscResult, processPageStateChange } from './page-state-service.ts';
export { SnpMachine, type SnpMachineOptions } from './snp-machine.ts';
