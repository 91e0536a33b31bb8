import { isMmError } from '@svsm/mm';
import { isSnpError, isSnpFault, type SnpErrorCode, SvsmResult } from '@svsm/sev-snp';
import { type Moment, Stage, type StageOptions } from './stage.ts';

/** An attack of a hypervisor, and its expected result. */
export interface Scenario {
  /** Its row in the table of attacks on page state. Several scenarios may have the same one. */
  readonly id: string;
  /** The name for `--scenario`. */
  readonly name: string;
  /** The action of the hypervisor, in a few words. */
  readonly attack: string;
  /** The check that stops it. */
  readonly stoppedBy: string;
  /** The error or fault that the guest sees. */
  readonly guestSees: string;
  /** The duty of the guest's software; `undefined` if hardware stops the attack without help. */
  readonly duty?: string;
  /** The result for the hypervisor if the guest neglects its duty. */
  readonly otherwise?: string;
  /** For an attack that hardware lets through: it succeeds, as in reality. */
  readonly letThrough?: LetThrough;
  /** The options of the stage, for a careful guest or a careless one. */
  readonly options?: (careful: boolean) => StageOptions;
  /**
   * Runs the attack. An error or fault that it throws has stopped it. It returns the text that the hypervisor got, or an
   * {@link Ending} if the attack was stopped without an error.
   */
  readonly play: (stage: Stage, careful: boolean) => Ending | string | Promise<Ending | string>;
}

/** An attack that hardware lets through. `docs/hardware.md` has the papers. */
export interface LetThrough {
  /** The result for the hypervisor. */
  readonly gets: string;
  /** The precondition. */
  readonly needs: string;
  /** The countermeasure, outside of the checks of SEV-SNP. */
  readonly mitigatedBy: string;
}

/** The `stoppedBy` of an attack that hardware lets through. */
export const NOTHING = 'nothing, as in reality';

/** The end of an attack that was stopped. */
export interface Ending {
  readonly stoppedBy: string;
  readonly guestSees: string;
}

/** The result of an attack. */
export interface Outcome {
  /** The text that the hypervisor got; `undefined` if the attack was stopped. */
  readonly got: string | undefined;
  readonly stoppedBy: string | undefined;
  readonly guestSees: string | undefined;
  readonly moments: readonly Moment[];
}

/**
 * Runs an attack on a careful guest, which does its duty, or on a careless one.
 *
 * @param onStage - called with the stage before the attack begins
 * @param onMoment - called after each moment
 */
export async function run(
  { play, options }: Scenario,
  careful = true,
  onMoment?: StageOptions['onMoment'],
  onStage: (stage: Stage) => void = () => {},
): Promise<Outcome> {
  const stage = new Stage({ ...options?.(careful), onMoment });
  onStage(stage);
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

/** The check that stopped an attack, from the fault or error that it threw. Any other error is a bug. */
function endingOf(error: unknown): Ending {
  if (isSnpFault(error, 'NPF'))
    return { stoppedBy: `RMP ${error.details.check}`, guestSees: '#NPF, stopped' };
  if (isSnpFault(error, 'HOST_PF')) return { stoppedBy: `RMP ${error.details.check}`, guestSees: 'nothing' };
  if (isSnpFault(error, 'VC_NOT_VALIDATED')) return { stoppedBy: 'RMP validated', guestSees: '#VC 0x404' };
  if (isSnpError(error, 'SVSM_REFUSED')) {
    const names = Object.entries(SvsmResult).find(([, result]) => result === error.details.result);
    return { stoppedBy: 'SVSM', guestSees: names?.[0] ?? error.code };
  }
  if (isMmError(error))
    return { stoppedBy: error.code === 'VISIBILITY_FAILED' ? 'rollback' : 'record', guestSees: error.code };
  if (isSnpError(error)) return { stoppedBy: STOPS[error.code] ?? 'guest', guestSees: error.code };
  throw error;
}

/** The part of the guest's software that throws each code. */
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
  PAGE_IN_USE: 'pages in use',
  FIRMWARE_REFUSED: 'firmware',
};
