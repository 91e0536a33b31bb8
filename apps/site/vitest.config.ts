import { mergeConfig, type ViteUserConfigFnObject } from 'vitest/config';
import { tests } from '../../vitest.base.ts';

/** `vitest run --mode site` runs the tests of the built site, which need some minutes. */
const config: ViteUserConfigFnObject = (env) =>
  mergeConfig(tests(env), env.mode === 'site' ? { test: { include: ['test/**/*.site.ts'] } } : {});

export default config;
