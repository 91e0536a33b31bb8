/** The pictures of READMEs show what the packages do. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { PICTURES, pictureFile } from '../../run/package-pictures.ts';
import { drawPicture, PICTURE } from '../../run/picture.ts';
import { ROOT } from '../workspace.ts';

/** The pictures' address is absolute: npm shows no others. */
const ADDRESS = 'https://raw.githubusercontent.com/svsm-js/svsm/main/docs/pictures';

test('the picture is what the packages draw', () => {
  const advice = 'look at the new picture: node tools/run/picture.ts';
  expect(readFileSync(PICTURE, 'utf8') === drawPicture(), advice).toBe(true);
  expect(readFileSync(join(ROOT, 'README.md'), 'utf8')).toContain(`(${ADDRESS}/four-pages.svg)`);
});

test.each(Object.entries(PICTURES))(
  'the picture of %s is what the packages draw, and its README shows it',
  (name, draw) => {
    const advice = 'look at the new picture: node tools/run/package-pictures.ts';
    expect(readFileSync(pictureFile(name), 'utf8') === draw(), advice).toBe(true);
    const readme = readFileSync(join(ROOT, 'packages', name, 'README.md'), 'utf8');
    expect(readme).toContain(`(${ADDRESS}/${name}.svg)`);
  },
);

test('a shared page is the only entry of the walk without the C-bit', () => {
  expect(PICTURES['pagetable']!().match(/C-bit (set|clear)/g)).toEqual([
    'C-bit set',
    'C-bit set',
    'C-bit set',
    'C-bit clear',
  ]);
});

test('the host reads and writes what the guest does in the shared page alone', () => {
  const rows = PICTURES['sev-snp']!()
    .split('<rect')
    .filter((row) => />0x20\d000</.test(row))
    .map((row) => [...row.matchAll(/>([^<>\n]+)</g)].map(([, cell]) => cell!));
  expect(rows).toHaveLength(9);
  for (const [page, state, , guestReads, hostReads, hostWrites] of rows.slice(3)) {
    const shared = page === '0x203000';
    expect([state, hostReads === guestReads, hostWrites]).toEqual(
      shared ? ['HYPERVISOR', true, 'yes'] : ['GUEST-VALID', false, 'no: HOST_PF'],
    );
  }
});

test('only the kernel without NX has pages that are writable and executable', () => {
  const [withNx, withoutNx] = PICTURES['dump']!().split('case-f');
  expect(withNx).toContain('case-a: a kernel with NX');
  expect(withNx).not.toContain('#d9822b');
  expect(withoutNx).toContain('#d9822b');
});

test('four pages are allocated, shared, and given up by the guest', () => {
  const picture = drawPicture();
  for (const title of [
    'PageAllocator: 0 of 512 pages allocated',
    'PageAllocator: 4 of 512 pages allocated',
    'PageTable: one entry of 2 MiB',
    'PageTable: 512 entries of 4 KiB',
    'Rmp: 512 pages GUEST-VALID, 0 HYPERVISOR',
    'Rmp: 508 pages GUEST-VALID, 4 HYPERVISOR',
  ]) {
    expect(picture).toContain(`>${title}<`);
  }
});
