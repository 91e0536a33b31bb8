import type { PhysAddr } from '@svsm/address';
import type { PhysPage } from '@svsm/memory-region';
import type { Vcpu } from '../cpu/vcpu.ts';
import { requireOneOf } from '../formats/arguments.ts';
import {
  decodeGhcbMsr,
  encodeGhcbMsr,
  GHCB_MSR_TYPES,
  type GhcbMsrMessage,
  PAGE_OPERATIONS,
  type PageOperation,
} from '../formats/ghcb-msr.ts';
import { addressOf } from '../formats/page-address.ts';
import { SnpError } from '../formats/snp-error.ts';

import { requireProcessor } from './argument-checks.ts';
import { changingPage } from './pages-in-use.ts';

type Message<Type extends GhcbMsrMessage['type']> = Extract<GhcbMsrMessage, { readonly type: Type }>;

/**
 * Makes a request through the GHCB MSR and returns the answer, which has the type `answer`. The content of the answer
 * can be a lie of the hypervisor. O(1).
 *
 * @param answer - the type of the answer that belongs to the request
 * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type, `INVALID_MESSAGE` if a field of the request does not fit,
 *   `INVALID_RESPONSE` if another answer came or a bit is set that must be 0, or if the hypervisor does not know the request;
 *   `UNSUPPORTED_VMGEXIT`, `TERMINATED`, `OUT_OF_MEMORY`
 */
export function requestGhcbMsr<Type extends GhcbMsrMessage['type']>(
  vcpu: Vcpu,
  request: GhcbMsrMessage,
  answer: Type,
): Message<Type> {
  requireProcessor(vcpu);
  const value = encodeGhcbMsr(request);
  requireOneOf('the type of the answer', answer, GHCB_MSR_TYPES);
  vcpu.ghcbMsr = value;
  vcpu.vmgexit();
  // The MSR is read once: the hypervisor can change it at any exit.
  const response = vcpu.ghcbMsr;
  const message = decodeGhcbMsr(response);
  if (message.type === answer) return message as Message<Type>;
  const problem = `it is not a ${answer} message, or has bits set that must be 0`;
  throw new SnpError('INVALID_RESPONSE', { request: value, response, problem });
}

/**
 * Asks the hypervisor to change the state of one 4 KiB page. A reported success proves nothing: a page is private only
 * once PVALIDATE has reported a change.
 *
 * @param page - its address, a multiple of 4096, or a cursor
 * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type or the operation does not exist, `INVALID_MESSAGE` if
 *   the address does not fit, `PAGE_IN_USE` if a processor uses the page: nothing is requested; `INVALID_RESPONSE`,
 *   `PAGE_STATE_REFUSED`
 */
export function requestPageState(vcpu: Vcpu, page: PhysPage, operation: PageOperation): void {
  const gpa = addressOf(page);
  requireProcessor(vcpu);
  requireOneOf('the operation', operation, PAGE_OPERATIONS);
  encodeGhcbMsr({ type: 'page-state-request', gpa, operation });
  changingPage(vcpu.guest, gpa, () => changePageState(vcpu, gpa, operation));
}

/** {@link requestPageState} of a page that changes already. */
export function changePageState(vcpu: Vcpu, gpa: PhysAddr, operation: PageOperation): void {
  const { error } = requestGhcbMsr(vcpu, { type: 'page-state-request', gpa, operation }, 'page-state');
  if (error !== 0) throw new SnpError('PAGE_STATE_REFUSED', { gpa, error });
}

/**
 * Registers the GHCB of `vcpu` with the hypervisor. An SNP guest has to do this before it uses the GHCB.
 *
 * @param gpa - the address of a shared page: a multiple of 4096
 * @throws SnpError `INVALID_ARGUMENT` if an argument has the wrong type, `INVALID_MESSAGE` if the address is not a multiple of
 *   4096, `INVALID_RESPONSE` if the hypervisor refuses it or repeats another one
 */
export function registerGhcb(vcpu: Vcpu, gpa: PhysAddr): void {
  const request: GhcbMsrMessage = { type: 'register-ghcb-request', gpa };
  const answer = requestGhcbMsr(vcpu, request, 'register-ghcb');
  if (answer.gpa === gpa) return;
  const problem = answer.gpa === undefined ? 'it refuses' : 'it repeats another address';
  throw new SnpError('INVALID_RESPONSE', {
    request: encodeGhcbMsr(request),
    response: encodeGhcbMsr(answer),
    problem,
  });
}
