import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { addressSpaceLayout, COCONUT_LAYOUT } from '../../src/layout/address-space-layout.ts';
import { renderLayout } from '../../src/layout/layout-picture.ts';

test('DESIGN.md has the picture of the layout', () => {
  const design = readFileSync(new URL('../../DESIGN.md', import.meta.url), 'utf8');
  expect(design).toContain(`\`\`\`text\n${renderLayout(COCONUT_LAYOUT)}\n\`\`\``);
});

test('the picture is sorted by address, highest first within slots, and shows each part once', () => {
  const lines = renderLayout(addressSpaceLayout({ levels: 5, slots: { shared: 400 } })).split('\n');
  expect(lines.filter((line) => line.includes('heap'))).toHaveLength(1);
  const addresses = lines.filter((line) => line.includes('slot')).map((line) => BigInt(line.slice(0, 18)));
  expect(addresses).toEqual([...addresses].sort((a, b) => (a < b ? 1 : -1)));
});
