import {
  isBytes,
  itemsOf,
  refuseArgument,
  requireBits,
  requireChoice,
  requireInteger,
  requireMethods,
  requireOptional,
} from '../source/arguments.ts';
import { requireSource } from '../source/source.ts';
import type { Dump, DumpCpu } from './dump.ts';

const EXPECTED = 'pass a dump, such as that of openDump';
const REGISTERS = ['cr0', 'cr2', 'cr4', 'efer', 'rip', 'rsp'] as const;
const FRAME = 4096;
/** The frames below 2^52. */
const LAST_FRAME = 2 ** 40 - 1;

/** @throws DumpError `INVALID_ARGUMENT` if `value` does not have what a dump has */
export function requireDump(what: string, value: Dump): void {
  requireMethods(what, value, ['readFrame', 'offsetOf'], EXPECTED);
  const { name, kind, source, cpus, memory, notices, kernel, levels, physicalBits } = value;
  if (typeof name !== 'string' || typeof kind !== 'string') refuseArgument(what, value, EXPECTED);
  requireSource(`the source of ${what}`, source);
  for (const cpu of itemsOf(`the processors of ${what}`, cpus, 'pass an array'))
    requireCpu(what, cpu as DumpCpu);
  if (memory !== undefined && typeof memory[Symbol.iterator] !== 'function')
    refuseArgument(`the memory of ${what}`, memory, 'pass an array or another iterable');
  if (notices !== undefined) requireMethods(`the notices of ${what}`, notices, ['add', 'take', 'quietly']);
  if (kernel?.cr3 !== undefined) requireBits(`CR3 of the kernel of ${what}`, kernel.cr3, 64);
  if (kernel?.cBit !== undefined) requireInteger(`the C-bit of the kernel of ${what}`, kernel.cBit, 32, 51);
  requireChoice(`the levels of ${what}`, levels, [4, 5]);
  requireChoice(`the levels of the kernel of ${what}`, kernel?.levels, [4, 5]);
  if (physicalBits !== undefined) requireInteger(`the physical bits of ${what}`, physicalBits, 32, 52);
  for (const flag of ['giantPages', 'isRaw', 'isLayoutOpen'] as const)
    requireOptional(`${flag} of ${what}`, value[flag], 'boolean');
}

function requireCpu(what: string, cpu: DumpCpu): void {
  const place = `of a processor of ${what}`;
  requireBits(`cr3 ${place}`, cpu?.cr3, 64);
  for (const name of REGISTERS) if (cpu[name] !== undefined) requireBits(`${name} ${place}`, cpu[name], 64);
}

/** Checks the arguments of `readFrame`. @throws DumpError `INVALID_ARGUMENT` */
export function requireFrame(frame: number, bytes: Uint8Array): void {
  requireInteger('frame', frame, 0, LAST_FRAME);
  if (!isBytes(bytes) || bytes.length !== FRAME)
    refuseArgument('bytes', bytes, `pass a Uint8Array of ${FRAME} bytes`);
}

/** Checks the argument of `offsetOf`. @throws DumpError `INVALID_ARGUMENT` */
export function requirePaddr(paddr: bigint): void {
  requireBits('paddr', paddr, 52);
}
