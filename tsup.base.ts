import type { Options } from 'tsup';

/** How every package is built: one ES module, its declarations and its map; siblings stay imports. */
export const library: Options = {
  entry: ['src/index.ts'],
  format: 'esm',
  target: 'es2022',
  platform: 'neutral',
  dts: true,
  sourcemap: true,
  treeshake: true,
  minify: false,
  clean: true,
  silent: true,
};
