import { defineConfig } from 'vitest/config';
import { tests } from '../../vitest.base.ts';

/** The files that run another test file with windows. They set how all worlds of their process reach pages, so each has a process. */
const WINDOWS = 'test/**/*.windows.*';

export default defineConfig((env) => {
  const { include = [], ...test } = tests(env).test ?? {};
  const windows = include.map((glob) => glob.replace('*.', '*.windows*.'));
  return {
    test: {
      ...test,
      projects: [
        { extends: true, test: { name: 'whole', include, exclude: [WINDOWS] } },
        { extends: true, test: { name: 'windows', include: windows, isolate: true } },
      ],
    },
  };
});
