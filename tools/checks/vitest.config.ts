import { mergeConfig, type ViteUserConfigFnObject } from 'vitest/config';
import { tests } from '../../vitest.base.ts';

const config: ViteUserConfigFnObject = (env) =>
  mergeConfig(tests(env), { test: { globalSetup: './consumer.ts' } });

export default config;
