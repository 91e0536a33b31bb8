import { mergeConfig, type ViteUserConfigFnObject } from 'vitest/config';
import { tests } from '../../vitest.base.ts';

/** Each test file has a process, and so a folder for its temporary files. */
const config: ViteUserConfigFnObject = (env) => mergeConfig(tests(env), { test: { isolate: true } });

export default config;
