import { fileURLToPath } from 'node:url';
import { defineConfig, type ViteUserConfigFnObject } from 'vitest/config';

/**
 * How every workspace is tested. `vitest run` runs `test/*.test.ts`; `vitest run --mode deep` runs the laws alone with
 * many more cases, and `test/*.deep.ts`, which are too long for every day. `FC_NUM_RUNS` sets the number of cases, and
 * `FC_SEED` the seed: that of every day is always the same, since turbo keeps the result; a deep run has one of its own.
 */
export const tests: ViteUserConfigFnObject = defineConfig(({ mode }) => {
  const deep = mode === 'deep';
  return {
    test: {
      include: deep ? ['test/**/*.laws.test.ts', 'test/**/*.deep.ts'] : ['test/**/*.test.ts'],
      passWithNoTests: deep,
      // Test files of a package share one world of modules: loading them anew for each file takes a third of the time. A
      // test puts back what it changes outside of its own objects.
      isolate: deep,
      // A machine that is shared may stand still for seconds: only what hangs runs out of this.
      testTimeout: deep ? 3_600_000 : 180_000,
      env: {
        FC_NUM_RUNS: process.env['FC_NUM_RUNS'] ?? (deep ? '10000' : '100'),
        // Commands that tests start: Node strips the types of a source once, and not at each start.
        NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/node', import.meta.url)),
        FC_SEED: process.env['FC_SEED'] ?? (deep ? String(Date.now() % 2 ** 31) : '131'),
      },
      setupFiles: [fileURLToPath(new URL('vitest.setup.ts', import.meta.url))],
      // `npm test` counts from the JSON file; turbo restores it together with a cached result.
      reporters: deep ? ['default'] : ['default', ['json', { outputFile: 'test-results/vitest.json' }]],
      coverage: { include: ['src/**'], reporter: ['text'] },
    },
  };
});
