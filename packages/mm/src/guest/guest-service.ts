import type { PhysAddr } from '@svsm/address';
import { showInConsoles } from '@svsm/address';
import type { SvsmRegisters, SvsmState, Vcpu } from '@svsm/sev-snp';
import type { PerCpu } from '../cpu/per-cpu.ts';
import type { Processors } from '../cpu/processors.ts';
import {
  readArgument,
  requireInstance,
  requireOptionalFunction,
  requireOptions,
} from '../formats/arguments.ts';
import { MmError } from '../formats/mm-error.ts';
import type { MmTrace } from '../formats/mm-event.ts';
import { type GuestWindowOptions, requireWindow } from './guest-window.ts';
import { ServingCpu } from './serving-cpu.ts';

/** Options of a {@link GuestService}. */
export interface GuestServiceOptions {
  /** The windows of the processors. */
  readonly window?: GuestWindowOptions;
  readonly trace?: MmTrace | undefined;
}

/** How a processor of the guest calls. */
export interface CallerOptions {
  /** The processor of the SVSM that serves it. The first one if not given. */
  readonly cpu?: PerCpu | number;
  /** The page of its VMSA, as for `SvsmCore.register`. */
  readonly vmsa?: PhysAddr;
}

/**
 * The service of an SVSM to its guest: the core protocol, on every processor, with one record. A call is served on the processor of
 * the SVSM that has the APIC ID of the caller, through that processor's window.
 */
export class GuestService implements Disposable {
  static {
    showInConsoles(this, 'GuestService', ({ state }) => ({ state }));
  }

  /** The records that all processors share. */
  readonly state: SvsmState;
  readonly #processors: Processors;
  readonly #options: GuestServiceOptions;
  readonly #cpus: Map<PerCpu, ServingCpu> = new Map();
  readonly #servers: WeakMap<Vcpu, PerCpu> = new WeakMap();

  /** @throws MmError `INVALID_ARGUMENT` */
  constructor(state: SvsmState, processors: Processors, options: GuestServiceOptions = {}) {
    requireInstance('the state', state, 'SvsmState');
    requireInstance('the processors', processors, 'Processors');
    requireOptions('options', options, ['window', 'trace']);
    if (options.window !== undefined) requireWindow(options.window);
    requireOptionalFunction('trace', options.trace);
    this.state = state;
    this.#processors = processors;
    this.#options = options;
  }

  /**
   * A processor of the SVSM as it serves the guest. The first call takes addresses for its window.
   *
   * @param cpu - a processor, or its APIC ID; the current one if not given
   * @throws MmError `INVALID_ARGUMENT`, `NO_SUCH_CPU`, `NO_CURRENT_CPU`; `NO_VIRTUAL_RANGE` if its temporary ranges have no room
   */
  on(cpu: PerCpu | number = this.#processors.thisCpu()): ServingCpu {
    const found = this.#processors.get(typeof cpu === 'number' ? cpu : apicIdOf(cpu));
    let server = this.#cpus.get(found);
    if (server === undefined) {
      server = new ServingCpu(this.state, found, this.#options.window ?? {});
      this.#cpus.set(found, server);
    }
    return server;
  }

  /**
   * Lets a processor of the guest call, through the calling area at `caa`. Processors that CREATE_VCPU has made need no
   * registration.
   *
   * @throws MmError `INVALID_ARGUMENT`, `NO_SUCH_CPU`, `NO_CURRENT_CPU`, `NO_VIRTUAL_RANGE`; SnpError as `SvsmCore.register`
   */
  register(caller: Vcpu, caa: PhysAddr, options: CallerOptions = {}): void {
    requireInstance('the caller', caller, 'Vcpu');
    requireOptions('options', options, ['cpu', 'vmsa']);
    const { cpu = this.#first, vmsa } = options;
    const server = this.on(cpu);
    server.core.register(caller, caa, vmsa);
    this.#servers.set(caller, server.cpu);
  }

  /**
   * Enters the SVSM for a processor of the guest, as the hypervisor does. Without a pending call, nothing happens. Whatever the
   * guest has passed, it ends with a result.
   *
   * @returns whether a call was processed
   * @throws MmError `INVALID_ARGUMENT`, `NO_CURRENT_CPU`, `NO_VIRTUAL_RANGE`; the errors of `trace`
   */
  enter(caller: Vcpu): boolean {
    requireInstance('the caller', caller, 'Vcpu');
    return this.#serve(caller, (server) => {
      const call = Number(BigInt.asUintN(32, caller.registers.rax));
      const isProcessed = server.core.enter(caller);
      if (isProcessed) this.#report(call, caller.registers.rax);
      return isProcessed;
    });
  }

  /**
   * Processes a call whose arguments are in `registers`. Results replace them.
   *
   * @returns the result, which is in RAX too
   * @throws MmError `INVALID_ARGUMENT`, `NO_CURRENT_CPU`, `NO_VIRTUAL_RANGE`; SnpError as `SvsmCore.call`
   */
  call(caller: Vcpu, registers: SvsmRegisters): number {
    requireInstance('the caller', caller, 'Vcpu');
    return this.#serve(caller, (server) => {
      const rax = readArgument('the registers', registers, 'pass an object with rax', () => registers.rax);
      server.core.call(caller, registers);
      this.#report(Number(BigInt.asUintN(32, rax)), registers.rax);
      return Number(registers.rax);
    });
  }

  /** Gives the addresses of all windows back. */
  [Symbol.dispose](): void {
    for (const [cpu, server] of this.#cpus) {
      server[Symbol.dispose]();
      this.#cpus.delete(cpu);
    }
  }

  #serve<T>(caller: Vcpu, action: (server: ServingCpu) => T): T {
    const server = this.on(this.#serverOf(caller));
    return this.#processors.on(server.cpu, () => action(server));
  }

  /** The processor that serves a caller: by its registration, by the APIC ID of its VMSA, or the first one. */
  #serverOf(caller: Vcpu): PerCpu {
    const registered = this.#servers.get(caller);
    if (registered !== undefined) return registered;
    const gpa = caller.vmsa?.gpa;
    const created = gpa === undefined ? undefined : this.state.vcpus.find(({ vmsa }) => vmsa === gpa);
    const found = this.#processors.list.find(({ apicId }) => apicId === created?.apicId) ?? this.#first;
    if (created !== undefined) this.#servers.set(caller, found);
    return found;
  }

  get #first(): PerCpu {
    const [first] = this.#processors.list;
    if (first === undefined) throw new MmError('NO_CURRENT_CPU', {});
    return first;
  }

  #report(call: number, result: bigint): void {
    this.#options.trace?.({ type: 'call', call, result: Number(result) });
  }
}

/** @throws MmError `INVALID_ARGUMENT` */
function apicIdOf(cpu: PerCpu): number {
  requireInstance('the processor', cpu, 'PerCpu', 'a PerCpu, or an APIC ID');
  return cpu.apicId;
}
