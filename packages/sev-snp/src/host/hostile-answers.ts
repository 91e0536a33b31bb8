import type { PhysAddr } from '@svsm/address';
import type { GuestContext } from '../cpu/platform.ts';
import { requireBoolean, requireFunction } from '../formats/arguments.ts';
import type { PageOperation } from '../formats/ghcb-msr.ts';
import type { GhcbPage } from '../formats/ghcb-page.ts';
import { requireOptions } from '../formats/options.ts';
import type { RmpPageSize } from '../formats/rmp-entry.ts';
import type { SysPhysAddr } from '../formats/sys-phys-addr.ts';
import type { GhcbAnswer, GhcbRequest } from './ghcb-service.ts';

/** The behaviour of a hostile hypervisor at an exit, in place of its work. It is honest where nothing is given. */
export interface HostileAnswers {
  /** The answer in the GHCB MSR; `undefined` for the true one. */
  msr?: ((request: bigint, guest: GuestContext) => bigint | undefined) | undefined;
  /** The answer in the GHCB, without serving the request; `undefined` to serve it. */
  page?: ((request: GhcbRequest, page: GhcbPage) => GhcbAnswer | undefined) | undefined;
  /** Changes a GHCB after the answer was written: any field, the valid bitmap, the shared buffer. */
  afterPage?: ((page: GhcbPage, guest: GuestContext) => void) | undefined;
  /** The result of one page state change without making it, 0 for success; `undefined` to make it. */
  pageState?:
    | ((gpa: PhysAddr, operation: PageOperation, pageSize: RmpPageSize) => number | undefined)
    | undefined;
  /** Whether a nested page fault is said to be resolved; `undefined` to handle it. */
  fault?: ((gpa: PhysAddr, exitInfo1: bigint) => boolean | undefined) | undefined;
  /** Whether a requested privilege level is not run, while the answer claims that it was. */
  withhold?: boolean;
  /** Called at each exit before the guest continues: a chance to change memory between check and use. */
  beforeResume?: ((guest: GuestContext) => void) | undefined;
  /** Called right before the guest reads shared memory, as another processor would act: two reads can differ. */
  beforeSharedRead?: ((guest: GuestContext, spa: SysPhysAddr, length: number) => void) | undefined;
}

const ANSWERS: readonly (keyof HostileAnswers)[] = [
  ...(['msr', 'page', 'afterPage', 'pageState', 'fault'] as const),
  ...(['withhold', 'beforeResume', 'beforeSharedRead'] as const),
];

/** Requires lies that exist, each a function, or for `withhold` a boolean. @throws SnpError `INVALID_ARGUMENT` */
export function requireAnswers(answers: HostileAnswers): void {
  requireOptions('answers', answers, ANSWERS);
  const { withhold, ...functions } = answers;
  if (withhold !== undefined) requireBoolean('withhold', withhold);
  for (const [name, answer] of Object.entries(functions))
    if (answer !== undefined) requireFunction(name, answer);
}
