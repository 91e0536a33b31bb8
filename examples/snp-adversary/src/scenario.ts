import { isSnpError, isSnpFault, type SnpErrorCode, SvsmResult } from '@svsm/sev-snp';
import { type Moment, Stage, type StageOptions } from './stage.ts';

/** An attack of a hypervisor, and what must become of it. */
export interface Scenario {
  /** Its row in the table of attacks on page state, and which of several. */
  readonly id: string;
  /** By which it is asked for. */
  readonly name: string;
  /** What the hypervisor does, in a few words. */
  readonly attack: string;
  /** What stops it. */
  readonly stoppedBy: string;
  /** What the guest sees of that. */
  readonly guestSees: string;
  /** What the guest's software must do for it to be stopped; without it, hardware alone does. */
  readonly duty?: string;
  /** What the hypervisor gets from a guest that does not. */
  readonly otherwise?: string;
  /** How the stage is set, if `careful` or not. */
  readonly options?: (careful: boolean) => StageOptions;
  /**
   * The attack, up to what it is for. What is thrown has stopped it; what it returns is what came of it: what it got, or
   * why that is nothing.
   */
  readonly play: (stage: Stage, careful: boolean) => Ending | string | Promise<Ending | string>;
}

/** How an attack ended, where nothing was thrown. */
export interface Ending {
  readonly stoppedBy: string;
  readonly guestSees: string;
}

/** What came of an attack. */
export interface Outcome {
  /** What the hypervisor got; `undefined` if it was stopped. */
  readonly got: string | undefined;
  readonly stoppedBy: string | undefined;
  readonly guestSees: string | undefined;
  readonly moments: readonly Moment[];
}

/** Runs an attack on a guest that does its part, or on one that does not. */
export async function run({ play, options }: Scenario, careful = true): Promise<Outcome> {
  const stage = new Stage(options?.(careful));
  const { moments } = stage;
  try {
    const ending = await play(stage, careful);
    if (typeof ending === 'string')
      return { got: ending, stoppedBy: undefined, guestSees: undefined, moments };
    return { got: undefined, ...ending, moments };
  } catch (error) {
    const ending = endingOf(error);
    stage.tell((error as Error).message);
    return { got: undefined, ...ending, moments };
  }
}

/** What a fault or refusal says of who stopped it, and how. Anything else is a bug. */
function endingOf(error: unknown): Ending {
  if (isSnpFault(error, 'NPF'))
    return { stoppedBy: `RMP ${error.details.check}`, guestSees: '#NPF, stopped' };
  if (isSnpFault(error, 'HOST_PF')) return { stoppedBy: `RMP ${error.details.check}`, guestSees: 'nothing' };
  if (isSnpFault(error, 'VC_NOT_VALIDATED')) return { stoppedBy: 'RMP validated', guestSees: '#VC 0x404' };
  if (isSnpError(error, 'SVSM_REFUSED')) {
    const names = Object.entries(SvsmResult).find(([, result]) => result === error.details.result);
    return { stoppedBy: 'SVSM', guestSees: names?.[0] ?? error.code };
  }
  if (isSnpError(error)) return { stoppedBy: STOPS[error.code] ?? 'guest', guestSees: error.code };
  throw error;
}

/** What of a guest's software each of its refusals comes from. */
const STOPS: Partial<Record<SnpErrorCode, string>> = {
  ALREADY_VALIDATED: 'record',
  NOT_VALIDATED: 'record',
  PVALIDATE_UNCHANGED: 'PVALIDATE carry',
  PAGE_STATE_REFUSED: 'answer: error',
  INVALID_RESPONSE: 'answer: type, fields',
  VMGEXIT_FAILED: 'answer: exit info 1',
  PSC_REFUSED: 'answer: exit info 2',
  INVALID_PSC_RESPONSE: 'answer: header',
  SVSM_NOT_RUN: 'CALL_PENDING',
  FIRMWARE_REFUSED: 'firmware',
};
