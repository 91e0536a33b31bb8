/** The picture of the README shows what the packages do. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { drawPicture, PICTURE } from '../../run/picture.ts';

test('the picture is what the packages draw', () => {
  const advice = 'look at the new picture: node tools/run/picture.ts';
  expect(readFileSync(PICTURE, 'utf8') === drawPicture(), advice).toBe(true);
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
