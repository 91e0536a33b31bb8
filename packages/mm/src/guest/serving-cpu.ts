import { showInConsoles } from '@svsm/address';
import type { SvsmCore, SvsmMemory, SvsmState } from '@svsm/sev-snp';
import type { PerCpu } from '../cpu/per-cpu.ts';
import { GuestWindow, type GuestWindowOptions } from './guest-window.ts';

/** A processor of the SVSM as it serves the guest: through its window, with the state that all processors share. */
export class ServingCpu implements Disposable {
  static {
    showInConsoles(this, 'ServingCpu', ({ cpu, core }) => ({ cpu, core }));
  }

  readonly cpu: PerCpu;
  readonly window: GuestWindow;
  /** Its side of the core protocol. */
  readonly core: SvsmCore;

  constructor(state: SvsmState, cpu: PerCpu, options: GuestWindowOptions) {
    this.cpu = cpu;
    this.window = new GuestWindow(cpu, options);
    this.core = state.on(cpu.vcpu, this.window.access);
  }

  /** The guest's memory, outside of calls. */
  get memory(): SvsmMemory {
    return this.core.memory;
  }

  /** Gives the addresses of the window back. */
  [Symbol.dispose](): void {
    this.window[Symbol.dispose]();
  }
}
