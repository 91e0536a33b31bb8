import type { Options } from 'tsup';
import { writeDeclarations } from './tools/run/declarations.ts';
import { pureConstants } from './tools/run/pure-constants.ts';

/**
 * Makes top-level declarations `const` again, as they are in the source: the bundler turns them into `var`, and then an
 * engine reads each anew, where it could have built its value into the code. No module has a top-level `let`.
 *
 * Marks the values of constants as free of side effects, for the bundlers of users.
 *
 * Removes imports for side effects, which no module has: the bundler keeps them between chunks, and other bundlers warn.
 */
const chunks = {
  name: 'chunks',
  renderChunk: (code: string): { code: string } => ({
    code: pureConstants(code.replace(/^var /gm, 'const ').replace(/^import '\.[^']*';$/gm, '')),
  }),
};

/** Maps name the sources, which are in the tarball, and do not repeat them. */
function leaveSourcesOut(options: { sourcesContent?: boolean }): void {
  options.sourcesContent = false;
}

/** How every package is built: one ES module, its map, and declarations with theirs; siblings stay imports. */
export const library: Options = {
  entry: ['src/index.ts'],
  format: 'esm',
  target: 'es2022',
  platform: 'neutral',
  sourcemap: true,
  esbuildOptions: leaveSourcesOut,
  treeshake: true,
  minify: false,
  clean: true,
  silent: true,
  plugins: [chunks],
  onSuccess: async () => writeDeclarations(),
};
