import type { Options } from 'tsup';

/**
 * Makes top-level declarations `const` again, as they are in the source: the bundler turns them into `var`, and then an
 * engine reads each anew, where it could have built its value into the code. No module has a top-level `let`.
 *
 * Removes imports for side effects, which no module has: the bundler keeps them between chunks, and other bundlers warn.
 */
const chunks = {
  name: 'chunks',
  renderChunk: (code: string): { code: string } => ({
    code: code.replace(/^var /gm, 'const ').replace(/^import '\.[^']*';$/gm, ''),
  }),
};

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
  plugins: [chunks],
};
