/** The command on a guest beside the RMP of its host, and on a guest inside of the dump of its host. */
import { gzipSync } from 'node:zlib';
import { PAGE_SIZE, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { openSavedRmp } from '../../src/backing/rmp-table.ts';
import { TextReport } from '../../src/command/text-report.ts';
import type { Dump } from '../../src/formats/dump.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { compareDumps } from '../../src/view/comparison.ts';
import { openView } from '../../src/view/view.ts';
import { sparseFile } from '../support/core-file.ts';
import { BASE, FLAT_RMP, GUEST, MEMORY, rmpBytes, SEGMENTED_RMP, SnpHost } from '../support/snp-host.ts';
import { runHere, temporary } from '../support/support.ts';

const host = new SnpHost();
host.split(0);
host.change(0x2000, { validated: false });
host.change(0x3000, { assigned: false, asid: 0, validated: false, gpa: physAddr(0) });
const { root, frames } = host.npt();
const CR3 = host.table.root.toString(16);
const ASID = String(host.guest.asid);

/** A raw image of the memory of a dump up to `size`, without its zeros. */
function image(name: string, dump: Dump, size: number): string {
  const pieces: [number, Uint8Array][] = [];
  for (let frame = 0; frame < size / PAGE_SIZE; frame += 1) {
    const bytes = new Uint8Array(PAGE_SIZE);
    if (dump.readFrame(frame, bytes) && bytes.some((byte) => byte !== 0))
      pieces.push([frame * PAGE_SIZE, bytes]);
  }
  return temporary(name, gzipSync(sparseFile(size, pieces)));
}
const guestFile = image('guest.raw', host.guestDump(), GUEST);
const hostFile = image('host.raw', host.hostDump(frames), 0x810_0000);
const rmpFile = temporary('host.rmp', gzipSync(rmpBytes(host.rmp)));
const END = (FLAT_RMP + BigInt(0x4000 + (16 * MEMORY) / PAGE_SIZE)).toString(16);
const flat = ['--rmp', `${FLAT_RMP.toString(16)}-${END}`];
const segmented = ['--rmp', `${SEGMENTED_RMP.toString(16)}/30`];
const guest = ['--cr3', CR3, '--c-bit', '51', '--asid', ASID];
const nested = ['--nested', `npt:${root.toString(16)}`];
const page = (gpa: bigint): string => `0x${(BASE + gpa).toString(16)}`;

/** The bytes of the segmented table from its base on. */
const segmentsFile = image(
  'segments.rmp',
  {
    ...host.hostDump(),
    readFrame: (frame, bytes) => host.hostDump().readFrame(frame + Number(SEGMENTED_RMP) / PAGE_SIZE, bytes),
  },
  0x50_0000,
);

describe.each([
  ['a saved RMP', [guestFile, '--rmp-file', rmpFile]],
  ['a saved segmented RMP', [guestFile, '--rmp-file', segmentsFile, ...segmented]],
  ['the RMP in the dump of the host', [guestFile, '--rmp-file', hostFile, ...flat]],
  ['the flat RMP, in the dump of the host', [hostFile, ...nested, ...flat]],
  ['the segmented RMP, in the dump of the host', [hostFile, ...nested, ...segmented]],
])('a guest beside %s', (_, files) => {
  test('lists the state of each page, and what is wrong', async () => {
    const { status, stdout, stderr } = await runHere(['runs', ...files, ...guest, '--mismatches']);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const lines = stdout.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    expect(lines).toEqual([
      expect.stringMatching(
        new RegExp(
          `^${page(0x2000n)} .* private \\| .* GUEST-INVALID  4K +${ASID} 0x0{12}2000 .*! private-unvalidated$`,
        ),
      ),
      expect.stringMatching(new RegExp(`^${page(0x3000n)} .* private \\| .* ! private-hypervisor-page$`)),
    ]);
    expect(stdout).toMatch(/^# start .* \| system .* nested .* state .* page asid guest address$/m);
  });

  test('has findings, with exit code 1', async () => {
    const { status, stdout } = await runHere(['check', ...files, ...guest]);
    expect(status).toBe(1);
    expect(stdout).toContain(`private-unvalidated ${page(0x2000n)}`);
  });

  test('walks and translates to the state of the page', async () => {
    const walk = await runHere([
      'walk',
      ...files.slice(0, 1),
      (BASE + 0x2123n).toString(16),
      ...files.slice(1),
      ...guest,
    ]);
    expect(walk.stdout).toMatch(/^ {2}below: .* GUEST-INVALID .* ! private-unvalidated$/m);
    const json = await runHere([
      'translate',
      files[0]!,
      (BASE + 0x1000n).toString(16),
      ...files.slice(1),
      ...guest,
      '--json',
    ]);
    const record = JSON.parse(json.stdout.split('\n')[1]!);
    expect(record.backing).toMatchObject({
      mismatches: [],
      rmp: { state: 'GUEST-VALID', asid: Number(ASID), gpa: '0x0000000000001000' },
    });
  });
});

test('find and search show the state of the page', async () => {
  const options = ['--rmp-file', rmpFile, ...guest];
  const find = await runHere(['find', guestFile, '2123', ...options]);
  expect(find.stdout).toMatch(/^# virtual .* in \| system .* guest address$/m);
  expect(find.stdout).toMatch(
    new RegExp(`^${page(0x2123n)} .* CR3 0x${CR3} \\| .* GUEST-INVALID .* ! private-unvalidated$`, 'm'),
  );
  const search = await runHere(['search', guestFile, '0000', '--physical', '2000+2', ...options]);
  expect(search.stdout).toMatch(new RegExp(`^${page(0x2000n)} .* ! private-unvalidated$`, 'm'));
  const without = await runHere(['find', guestFile, '2123', ...guest.slice(0, 4)]);
  expect(without.stdout).not.toContain('|');
});

test('compare lists pages with another RMP entry', () => {
  const sound = new SnpHost();
  sound.split(0);
  const viewOf = ({ guestDump, rmp }: Pick<SnpHost, 'guestDump' | 'rmp'>) =>
    openView(guestDump(), {
      cr3: BigInt(`0x${CR3}`),
      encryption: { mode: 'c-bit', bit: 51 },
      rmp: openSavedRmp(bytesSource(rmpBytes(rmp))),
      asid: Number(ASID),
    });
  const before = viewOf({ guestDump: () => host.guestDump(), rmp: sound.rmp });
  const after = viewOf({ guestDump: () => host.guestDump(), rmp: host.rmp });
  const changes = [...compareDumps(before, after)].filter((record) => record.type === 'change');
  expect(changes).toMatchObject([
    {
      start: BASE + 0x2000n,
      size: 4096n,
      change: 'backing',
      before: { backing: { rmp: { validated: true } } },
    },
    { start: BASE + 0x3000n, size: 4096n, change: 'backing', after: { backing: { rmp: null } } },
  ]);
  expect(new TextReport().render(changes[0]!)).toMatch(
    / ~ below .* \| .* GUEST-VALID .* → .* \| .* GUEST-INVALID .* ! private-unvalidated$/,
  );
  expect([...compareDumps(after, after)].at(-1)).toMatchObject({ count: 0 });
});

test('rmp lists the table by itself', async () => {
  const { stdout } = await runHere(['rmp', hostFile, ...segmented, '--asid', ASID]);
  expect(stdout).toMatch(/segmented RMP at 0x3000000;/);
  expect(stdout).toMatch(/^# start .* state +page asid guest address$/m);
  expect(stdout).toMatch(new RegExp(`GUEST-INVALID  4K +${ASID} 0x0000000000002000`));
  const all = await runHere(['rmp', guestFile, '--rmp-file', rmpFile]);
  expect(all.stdout).toContain('CONTEXT');
  expect(all.stdout).toContain('HYPERVISOR');
});

test('the page tables of a guest are found in the dump of its host', async () => {
  const { stdout } = await runHere(['roots', hostFile, ...nested, '--c-bit', '51']);
  expect(stdout).toContain(`NPT of 4 levels at 0x${root.toString(16)}`);
  expect(stdout).toContain(`0x${CR3.padStart(16, '0')} `);
});

test('an RMP that is not there is refused', async () => {
  await expect(runHere([guestFile, ...guest, '--rmp', '4000000-4100000'])).rejects.toThrow(
    /where the RMP should be/,
  );
  await expect(
    runHere([guestFile, ...guest, '--rmp-file', temporary('short.rmp', Buffer.alloc(100))]),
  ).rejects.toThrow(/short\.rmp: it has 100 bytes/);
  await expect(runHere([guestFile, '--cr3', CR3, '--asid', '1', '--rmp-file', rmpFile])).rejects.toThrow(
    /needs the C-bit/,
  );
});
