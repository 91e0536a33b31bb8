/** `npm pack` and `npm publish` of a package begin with this: it builds the package, and those that it imports. */
import process from 'node:process';
import { turbo } from './turbo.ts';

process.exitCode = turbo(['run', 'build', `--filter=${process.env['npm_package_name']}...`], { quiet: true });
