import { PageSize, physAddr } from '@svsm/address';
import { VMRUN_CHECKS } from '../../src/cpu/vmrun.ts';
import { NpfInfo } from '../../src/formats/exit-info.ts';
import type { PageState } from '../../src/formats/page-state.ts';
import type { RmpResult } from '../../src/formats/rmp-result.ts';
import { rmpResultName } from '../../src/formats/rmp-result-name.ts';
import { type SysPhysAddr, sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { psmash, rmpread, rmpupdate } from '../../src/rmp/host-instructions.ts';
import { RMP_CHECKS } from '../../src/rmp/rmp-check.ts';
import { isSnpFault } from '../../src/rmp/snp-fault.ts';
import {
  ALONE_COMMANDS,
  GUEST_COMMANDS,
  GUESTS,
  guestOutcome,
  PAGE_COMMANDS,
  PAGES,
  pageOutcome,
} from './firmware-runs.ts';
import { gvaOf, MiB, spaOf, type World, world } from './world.ts';

// The content of TABLES.md, from running code.

interface Case {
  readonly instruction: string;
  /** The operand and the situation. */
  readonly when: string;
  readonly run: (it: World) => unknown;
}

const page = 4 * MiB;
const { Regular, Huge } = PageSize;

/** A page of the guest in a 2 MiB page. */
const whole = (it: World): SysPhysAddr => spaOf(it, page);
/** The address of a 2 MiB region of the guest, split into 4 KiB pages. */
function split(it: World): number {
  it.machine.hypervisor.splitPage(it.guest, physAddr(6 * MiB));
  return 6 * MiB;
}
/** A page of the hypervisor. */
function free(it: World): SysPhysAddr {
  return it.machine.hypervisor.allocatePage();
}

const CASES: readonly Case[] = [
  ...cases('RMPUPDATE', {
    'a page of the hypervisor': (it) => rmpupdate(it.machine.rmp, free(it), { assigned: true, asid: 1 }),
    '2 MiB at a multiple of 4 KiB': (it) =>
      rmpupdate(it.machine.rmp, sysPhysAddr(0x1000), { assigned: true, asid: 1, pageSize: Huge }),
    'executed by a guest': (it) => rmpupdate(it.machine.rmp, free(it), { assigned: true }, 1),
    'an immutable page': (it) => {
      const at = free(it);
      rmpupdate(it.machine.rmp, at, { assigned: true, immutable: true });
      return rmpupdate(it.machine.rmp, at, { assigned: false });
    },
    'a page in use': (it) => {
      it.machine.rmp.setInUse(whole(it), true);
      return rmpupdate(it.machine.rmp, whole(it), { assigned: false });
    },
    '4 KiB inside a 2 MiB page': (it) => rmpupdate(it.machine.rmp, whole(it), { assigned: false }),
    '2 MiB with assigned 4 KiB pages': (it) => {
      const at = spaOf(it, split(it));
      return rmpupdate(it.machine.rmp, at, { assigned: true, asid: 1, pageSize: Huge });
    },
  }),
  ...cases('PSMASH', {
    'a 2 MiB page': (it) => psmash(it.machine.rmp, whole(it)),
    'an address that is not a multiple of 2 MiB': (it) => psmash(it.machine.rmp, sysPhysAddr(0x1000)),
    'executed by a guest': (it) => psmash(it.machine.rmp, whole(it), 1),
    'a page in use': (it) => {
      it.machine.rmp.setInUse(whole(it), true);
      return psmash(it.machine.rmp, whole(it));
    },
    'a page that is split already': (it) => psmash(it.machine.rmp, spaOf(it, split(it))),
  }),
  ...cases('RMPREAD', {
    'a page in the RMP': (it) => rmpread(it.machine.rmp, whole(it)).result,
    'a page outside of the RMP': (it) => rmpread(it.machine.rmp, sysPhysAddr(64 * MiB)).result,
    'executed by a guest': (it) => rmpread(it.machine.rmp, whole(it), 1).result,
  }),
  ...cases('PVALIDATE', {
    'a page whose validation changes': (it) => it.vcpu.pvalidate(gvaOf(page), Huge, false),
    'a page in the requested state already': (it) => it.vcpu.pvalidate(gvaOf(page), Huge, true),
    '2 MiB at a multiple of 4 KiB': (it) => it.vcpu.pvalidate(gvaOf(page + 0x1000), Huge, true),
    '2 MiB, with 4 KiB in the RMP': (it) => it.vcpu.pvalidate(gvaOf(split(it)), Huge, true),
    '4 KiB, with 2 MiB in the RMP': (it) => stubborn(it).vcpu.pvalidate(gvaOf(page), Regular, false),
    'a page that is not assigned': (it) => {
      const gpa = split(it);
      rmpupdate(it.machine.rmp, spaOf(it, gpa), { assigned: false });
      return it.vcpu.pvalidate(gvaOf(gpa), Regular, true);
    },
    'above VMPL0': (it) => it.guest.createVcpu({ vmpl: 1 }).pvalidate(gvaOf(page), Huge, true),
    'above CPL 0': (it) => {
      it.vcpu.cpl = 3;
      return it.vcpu.pvalidate(gvaOf(page), Huge, true);
    },
  }),
  ...cases('RMPADJUST', {
    'a less privileged level': (it) => it.vcpu.rmpadjust(gvaOf(page), Huge, { vmpl: 1, permissions: 3 }),
    'a level that does not exist': (it) => it.vcpu.rmpadjust(gvaOf(page), Huge, { vmpl: 4, permissions: 3 }),
    'its own level': (it) => it.vcpu.rmpadjust(gvaOf(page), Huge, { vmpl: 0, permissions: 3 }),
    '2 MiB, with 4 KiB in the RMP': (it) =>
      it.vcpu.rmpadjust(gvaOf(split(it)), Huge, { vmpl: 1, permissions: 3 }),
    '4 KiB, with 2 MiB in the RMP': (it) =>
      stubborn(it).vcpu.rmpadjust(gvaOf(page), Regular, { vmpl: 1, permissions: 3 }),
    'a page that is not validated': (it) => {
      it.vcpu.pvalidate(gvaOf(page), Huge, false);
      return it.vcpu.rmpadjust(gvaOf(page), Huge, { vmpl: 1, permissions: 3 });
    },
  }),
  ...cases('RMPQUERY', {
    'a less privileged level': (it) => it.vcpu.rmpquery(gvaOf(page), 1).result,
    'a more privileged level': (it) => it.guest.createVcpu({ vmpl: 1 }).rmpquery(gvaOf(page), 0).result,
  }),
];

function cases(instruction: string, of: Record<string, Case['run']>): Case[] {
  return Object.entries(of).map(([when, run]) => ({ instruction, when, run }));
}

/** Makes the hypervisor resolve no nested page fault, so that the fault shows. */
function stubborn(it: World): World {
  it.machine.hypervisor.handleNestedPageFault = () => false;
  return it;
}

/** The end of an instruction: its result, or its fault. */
function endOf(run: Case['run']): string {
  try {
    const answer = run(world({ memorySize: 32 * MiB }));
    if (typeof answer === 'number') return codeName(answer);
    const { result, unchanged } = answer as { result: RmpResult; unchanged: boolean };
    return `${codeName(result)}, carry ${unchanged ? 1 : 0}`;
  } catch (fault) {
    if (isSnpFault(fault, 'GP')) return '#GP(0)';
    if (isSnpFault(fault, 'VC_NOT_VALIDATED')) return '#VC 0x404';
    if (!isSnpFault(fault, 'NPF')) throw fault;
    const sizem = (fault.details.exitInfo1 & NpfInfo.SizeMismatch) !== 0n;
    return `#NPF, RMP${sizem ? ' and SIZEM' : ''}`;
  }
}

function codeName(result: number): string {
  return `${result} ${rmpResultName(result as RmpResult)}`;
}

/** The commands of the firmware on guests, a line for each. */
function guestCommands(): string[] {
  return Object.entries(GUEST_COMMANDS).map(([name, run]) => {
    const outcomes = GUESTS.map((guest) => guestOutcome(run, guest));
    return `| ${[name, ...outcomes].join(' | ')} |`;
  });
}

/**
 * The commands of the firmware on pages that name a guest, or that do not: a line for page states with the same outcomes.
 */
function pageCommands(namesGuest: boolean): string[] {
  const commands = Object.entries(PAGE_COMMANDS).filter(([name]) => namesGuest !== name in ALONE_COMMANDS);
  return commands.flatMap(([name, run]) => {
    const guests = namesGuest ? GUESTS : (['none'] as const);
    const lines = new Map<string, PageState[]>();
    for (const page of PAGES) {
      const line = guests.map((guest) => pageOutcome(run, guest, page)).join(' | ');
      lines.set(line, [...(lines.get(line) ?? []), page]);
    }
    // The last line is that of most states.
    const sorted = [...lines].sort(([, a], [, b]) => a.length - b.length);
    return sorted.map(([line, pages], i) => {
      const isRest = i === sorted.length - 1 && pages.length > 4;
      return `| ${name} | ${isRest ? 'all others' : pages.join(', ')} | ${line} |`;
    });
  });
}

/** The document. */
export function tables(): string {
  const codes = CASES.map(({ instruction, when, run }) => `| ${instruction} | ${when} | ${endOf(run)} |`);
  const checks = Object.entries(RMP_CHECKS).flatMap(([accessor, kinds]) =>
    Object.entries(kinds).map(
      ([kind, list]) => `| ${accessor} | ${kind} | ${list!.length === 0 ? 'none' : list!.join(', ')} |`,
    ),
  );
  const vmrun = Object.entries(VMRUN_CHECKS).map(
    ([of, { checks: list, failure }]) => `| ${of} | ${list.join(', ')} | ${failure} |`,
  );
  return `# Tables of @svsm/sev-snp

\`test/package/tables.test.ts\` generates this file from running code, and fails if it is out of date. To update it, run
\`npx vitest run tables --update\`. The attacks are in the README of \`examples/snp-adversary\`.

## Results of instructions

Each line runs on a guest with pages of 2 MiB and 4 KiB, under a hypervisor that does not resolve nested page faults.

| Instruction | Operand or situation | Result |
|---|---|---|
${codes.join('\n')}

## Commands of the firmware

For a page that is not a context page (\`none\`), and for a guest in each state (T5 of \`docs/hardware.md\`): the new state
after the arrow, SUCCESS without a new state, or the status of the refusal. \`LAUNCH, ASID\` is LAUNCH after SNP_ACTIVATE.
\`test/firmware/firmware-states.test.ts\` compares these outcomes with a table that was typed from the specification.

| Command | none | INIT | LAUNCH | LAUNCH, ASID | RUNNING |
|---|---|---|---|---|---|
${guestCommands().join('\n')}

SNP_ACTIVATE gets a free ASID here. Of other ASIDs, the first of these holds: out of range INVALID_ASID, pages assigned to it
INVALID_CONFIG, another guest's ASID_OWNED, used and not flushed DF_FLUSH_REQUIRED.

These commands name no guest:

| Command | Page | Result |
|---|---|---|
${pageCommands(false).join('\n')}

The page of a command belongs to the guest of the command. The other pages of the command are in a fit state. A page of another
guest is INVALID_PAGE_OWNER in the place of success.

| Command | Page | none | INIT | LAUNCH | LAUNCH, ASID | RUNNING |
|---|---|---|---|---|---|---|
${pageCommands(true).join('\n')}

## RMP checks of accesses

In the order of priority (AMD64 APM vol. 2, table 15-39). \`test/rmp/rmp-check.test.ts\` makes each check fail alone, and
together with all later ones.

| Accessor | Access | Checks |
|---|---|---|
${checks.join('\n')}

## RMP checks of VMRUN and related operations

AMD64 APM vol. 2, table 15-41.

| Page | Checks | Failure |
|---|---|---|
${vmrun.join('\n')}
`;
}
