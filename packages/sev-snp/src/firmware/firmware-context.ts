import { GuestState } from '../formats/guest-state.ts';
import type { SecretsPage } from '../formats/secrets-page.ts';
import type { SwapRecord } from '../formats/swap-record.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import type { EncryptedMemory, MemoryKey } from '../memory/encrypted-memory.ts';
import { LaunchLog } from './launch-log.ts';
import { keyFrom } from './page-seal.ts';

/** A guest with an ASID, as processors and the memory controller know it. Only the firmware changes it. */
export interface ActiveGuest {
  /** Its context page. */
  readonly context: SysPhysAddr;
  readonly asid: number;
  /**
   * The key of its memory. `undefined` unless the guest is in state RUNNING: before SNP_LAUNCH_FINISH and after
   * SNP_DECOMMISSION its ASID is marked as invalid, and no processor runs it.
   */
  readonly key: MemoryKey | undefined;
}

/** The content of a context page. It never leaves the firmware. */
export class FirmwareContext {
  readonly page: SysPhysAddr;
  /** The key of the guest's memory. */
  readonly key: MemoryKey;
  /** The key that seals swapped-out pages. */
  readonly offlineKey: MemoryKey;
  /** The keys of VMPL0 to VMPL3 for messages to the firmware. They are a model, and keep no secrets. */
  readonly vmpcks: SecretsPage['vmpcks'];
  /** The pages that SNP_LAUNCH_UPDATE has added. */
  readonly launched: LaunchLog = new LaunchLog();
  /** `undefined` after SNP_DECOMMISSION. */
  state: GuestState | undefined = GuestState.Init;
  /** The guest with its ASID, after SNP_ACTIVATE. */
  active: ActiveGuest | undefined;
  /** The root record: for one page that is swapped out without a metadata page. */
  root: SwapRecord | undefined;
  /** The vector of the next page that is sealed. Each is used once. */
  nextIv = 0n;

  constructor(page: SysPhysAddr, memory: EncryptedMemory) {
    this.page = page;
    this.key = memory.createKey();
    this.offlineKey = memory.createKey();
    const vmpck = (vmpl: number): Uint8Array => keyFrom(this.offlineKey, vmpl);
    this.vmpcks = [vmpck(0), vmpck(1), vmpck(2), vmpck(3)];
  }

  /** Binds an ASID to the guest. */
  activate(asid: number): void {
    const runningKey = (): MemoryKey | undefined =>
      this.state === GuestState.Running ? this.key : undefined;
    this.active = Object.freeze({
      context: this.page,
      asid,
      get key() {
        return runningKey();
      },
    });
  }
}
