import { describe, expect, test } from 'vitest';
import { PageState } from '../../src/formats/page-state.ts';
import {
  FirmwareScene,
  GUEST_COMMANDS,
  GUESTS,
  guestOutcome,
  PAGE_COMMANDS,
  PAGES,
  pageOutcome,
  statusOf,
} from '../support/firmware-runs.ts';

// Typed out from docs/hardware.md, rules T5, T6 and L2 and the table of transitions: for a page that is not a context
// page, and a guest in the states INIT, LAUNCH, LAUNCH with an ASID, and RUNNING. `SUCCESS` keeps the state.
type Row = readonly [none: string, init: string, launch: string, active: string, running: string];

const GUEST = 'INVALID_GUEST';
const GUEST_STATE = 'INVALID_GUEST_STATE';
const PAGE_STATE = 'INVALID_PAGE_STATE';

const ON_GUESTS: Readonly<Record<keyof typeof GUEST_COMMANDS, Row>> = {
  SNP_LAUNCH_START: [GUEST, '→ LAUNCH', GUEST_STATE, GUEST_STATE, GUEST_STATE],
  SNP_ACTIVATE: [GUEST, GUEST_STATE, '→ LAUNCH, ASID', 'ACTIVE', 'ACTIVE'],
  SNP_LAUNCH_FINISH: [GUEST, GUEST_STATE, 'INACTIVE', '→ RUNNING', GUEST_STATE],
  SNP_DECOMMISSION: [GUEST, '→ none', '→ none', '→ none', '→ none'],
  SNP_GUEST_STATUS: [GUEST, 'SUCCESS', 'SUCCESS', 'SUCCESS', 'SUCCESS'],
};

const always = (outcome: string): Row => [outcome, outcome, outcome, outcome, outcome];
/** For an active guest, in state LAUNCH or RUNNING. */
const active = (outcome: string): Row => [GUEST, GUEST_STATE, 'INACTIVE', outcome, outcome];
/** The page is checked before the guest's state. */
const pageFirst: Row = [GUEST, PAGE_STATE, PAGE_STATE, PAGE_STATE, PAGE_STATE];

/** The outcomes by page state; those of all other page states. */
type Rows = Readonly<{ [State in PageState]?: Row }> & { readonly others: Row };

const ON_PAGES: Readonly<Record<keyof typeof PAGE_COMMANDS, Rows>> = {
  SNP_GCTX_CREATE: { FIRMWARE: always('→ CONTEXT'), others: always(PAGE_STATE) },
  SNP_PAGE_RECLAIM: {
    'PRE-GUEST': always('→ GUEST-INVALID'),
    'PRE-SWAP': always('→ GUEST-VALID'),
    FIRMWARE: always('→ RECLAIM'),
    METADATA: always('→ RECLAIM'),
    HYPERVISOR: always('SUCCESS'),
    RECLAIM: always('SUCCESS'),
    'GUEST-INVALID': always('SUCCESS'),
    'GUEST-VALID': always('SUCCESS'),
    others: always(PAGE_STATE),
  },
  SNP_PAGE_SET_STATE: { FIRMWARE: always('→ HV-FIXED'), others: always(PAGE_STATE) },
  SNP_LAUNCH_UPDATE: {
    'PRE-GUEST': [GUEST, GUEST_STATE, 'INACTIVE', '→ GUEST-VALID', GUEST_STATE],
    others: pageFirst,
  },
  SNP_MD_INIT: {
    FIRMWARE: [GUEST, GUEST_STATE, '→ METADATA', '→ METADATA', '→ METADATA'],
    others: pageFirst,
  },
  'SNP_SWAP_OUT, source': {
    'PRE-SWAP': active('→ PRE-GUEST'),
    'PRE-GUEST': active('SUCCESS'),
    METADATA: active('→ FIRMWARE'),
    others: active(PAGE_STATE),
  },
  'SNP_SWAP_OUT, destination': {
    FIRMWARE: active('SUCCESS'),
    DEFAULT: active('SUCCESS'),
    others: active(PAGE_STATE),
  },
  'SNP_SWAP_OUT, page of records': { METADATA: active('SUCCESS'), others: pageFirst },
  'SNP_SWAP_IN, destination': { 'PRE-GUEST': active('→ PRE-SWAP'), others: active(PAGE_STATE) },
  'SNP_SWAP_IN of a page of records, destination': {
    FIRMWARE: active('→ METADATA'),
    others: active(PAGE_STATE),
  },
  'SNP_PAGE_MOVE, source': {
    'PRE-SWAP': active('→ GUEST-INVALID'),
    'PRE-GUEST': active('→ GUEST-INVALID'),
    others: active(PAGE_STATE),
  },
  'SNP_PAGE_MOVE of a page of records, source': {
    METADATA: active('→ FIRMWARE'),
    others: active(PAGE_STATE),
  },
  'SNP_PAGE_MOVE, destination': { 'PRE-GUEST': active('→ GUEST-VALID'), others: active(PAGE_STATE) },
  'SNP_PAGE_MOVE of a page of records, destination': {
    FIRMWARE: active('→ METADATA'),
    others: active(PAGE_STATE),
  },
};

// T5
test.each(Object.entries(GUEST_COMMANDS))('%s, for a guest in every state', (name, run) => {
  expect(GUESTS.map((guest) => guestOutcome(run, guest))).toEqual(ON_GUESTS[name]);
});

// T5, T1, T2, L2, T8, T9
describe.each(Object.entries(PAGE_COMMANDS))('%s, for a guest in every state', (name, run) => {
  test.each(PAGES)('and a page in state %s', (page) => {
    const rows = ON_PAGES[name]!;
    const outcomes = GUESTS.map((guest) => pageOutcome(run, guest, page));
    expect(outcomes).toEqual(rows[page] ?? rows.others);
  });
});

// T6
test.each(Object.entries({ ...GUEST_COMMANDS, ...PAGE_COMMANDS }))(
  '%s changes nothing if it is refused',
  (name, run) => {
    let refused = 0;
    for (const guest of GUESTS) {
      for (const page of name in PAGE_COMMANDS ? PAGES : [PageState.Hypervisor]) {
        const scene = new FirmwareScene(guest, page);
        const command = run(scene);
        const before = scene.state();
        if (statusOf(command) === 'SUCCESS') continue;
        refused += 1;
        expect(scene.state() === before, `${guest}, ${page}`).toBe(true);
      }
    }
    expect(refused).toBeGreaterThan(0);
  },
);
