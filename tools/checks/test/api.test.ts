/** The public declarations are those that each package records in `api.d.ts`: a change shows in the diff of a commit. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { apiOf, differences, RECORD } from '../../run/api.ts';
import { PACKAGES } from '../workspace.ts';

const { folder, problem } = inject('consumer');

test.each(PACKAGES.map((p) => [p.name, p] as const))('packages/%s/api.d.ts', (_name, workspace) => {
  if (problem) throw new Error(`packing failed: ${problem}`);
  const file = join(workspace.folder, RECORD);
  const recorded = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const built = apiOf(join(folder, 'node_modules', workspace.manifest.name));
  const changes = differences(recorded, built).join('\n');
  const advice =
    'The declarations differ from the record. If that is right, run npm run api, and npm run changeset (minor)';
  expect(recorded, `${advice}:\n${changes}\n`).toBe(built);
});

const FILES = {
  'package.json': JSON.stringify({
    name: '@svsm/sample',
    exports: {
      '.': { types: './dist/index.d.ts' },
      './room': { types: './dist/room/index.d.ts' },
      './package.json': './package.json',
    },
  }),
  'dist/index.d.ts': `/** About it. */
export * from './room/index.js';
export { twice as double, type Inner as Public } from './maths.js';
export type { Bytes } from '@svsm/address';
`,
  'dist/room/index.d.ts': `export type { Box } from './box.js';`,
  'dist/room/box.d.ts': `import { type Bytes, PAGE_SIZE } from '@svsm/address';
import type { Inner } from '../maths.js';
/** A box. */
export declare class Box {
  /** Its size. */
  readonly size: Bytes; // in bytes
  inner(): Inner;
}
`,
  'dist/maths.d.ts': `interface Hidden { a: 1 }
export interface Inner extends Hidden {}
export declare function twice(value: number): number;
export declare function twice(value: bigint): bigint;
`,
};

describe('the record', () => {
  const home = join(folder, 'sample');
  for (const [file, text] of Object.entries(FILES)) {
    mkdirSync(dirname(join(home, file)), { recursive: true });
    writeFileSync(join(home, file), text);
  }
  const record = apiOf(home);

  test('has every declaration that is reached, its entry points, and no comments of it', () => {
    expect(
      record,
    ).toBe(`// The public declarations of @svsm/sample: npm run api records them. Above each is its entry point.

import type { Bytes, PAGE_SIZE } from '@svsm/address';

// .
export { twice as double };

// . (type only)
export { Bytes } from '@svsm/address';

// . (type only)
export { Inner as Public };

// . (type only), ./room (type only)
export declare class Box {
    readonly size: Bytes;
    inner(): Inner;
}

// not exported
interface Hidden {
    a: 1;
}

// .
export interface Inner extends Hidden {
}

// .
export declare function twice(value: number): number;
export declare function twice(value: bigint): bigint;
`);
  });

  test('differs by the lines of the declarations that changed', () => {
    expect(differences(record, record)).toEqual([]);
    const other = record
      .replace('inner(): Inner;', 'inner(): Inner | undefined;')
      .replace('// . (type only), ./room (type only)', '// ./room');
    expect(differences(record, other)).toEqual([
      '  class Box',
      '- // . (type only), ./room (type only)',
      '-     inner(): Inner;',
      '+ // ./room',
      '+     inner(): Inner | undefined;',
    ]);
    const overloads = [
      'export declare function twice(value: number): number;',
      'export declare function twice(value: bigint): bigint;',
    ];
    const swapped = record.replace(overloads.join('\n'), overloads.reverse().join('\n'));
    expect(differences(record, swapped)).toEqual(['  function twice', '  (another order)']);
    expect(differences('', record)).toContain('+ export declare function twice(value: number): number;');
  });
});
