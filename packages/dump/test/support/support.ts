import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { physAddr } from '@svsm/address';
import { type PhysMemory, readPhys } from '@svsm/pagetable';
import { afterAll } from 'vitest';
import { execute } from '../../src/command/command.ts';
import type { Dump } from '../../src/formats/dump.ts';
import type { OpenDumpOptions } from '../../src/formats/open-dump.ts';
import { openDumpFile } from '../../src/node/open-dump-file.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import type { DumpView } from '../../src/view/dump-view.ts';
import { openView, type ViewOptions } from '../../src/view/view.ts';
import { parseOptions } from './parse-options.ts';

const MAIN = fileURLToPath(new URL('../../src/command/main.ts', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'svsm-dump-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The path of a fixture. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
}

/** The unpacked text of a fixture. */
export function fixtureText(name: string): string {
  return gunzipSync(readFileSync(fixture(name))).toString('utf8');
}

/** Writes a file that is removed after the tests. Returns its path. */
export function temporary(name: string, bytes: Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

/** Runs the command line in a process. */
export function run(args: readonly string[], input = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: 'utf8',
    env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: undefined },
    input,
    maxBuffer: 2 ** 28,
  });
  return { status, stdout, stderr };
}

/** Like {@link run}, but in this process, which is many times faster. Errors are thrown. */
export async function runHere(args: readonly string[], input = '') {
  let [stdout, stderr] = ['', ''];
  const status = await execute(parseOptions(args)!, {
    onProgress() {},
    lines: () => createInterface({ input: Readable.from([input]) }),
    print(lines) {
      stdout += `${lines}\n`;
      return false;
    },
    write(bytes) {
      stdout += Buffer.from(bytes).toString('latin1');
      return false;
    },
    flush: () => Promise.resolve(),
    complain(line) {
      stderr += `svsm-dump: ${line}\n`;
    },
  });
  return { status, stdout, stderr };
}

/** Opens a dump as the command line does. */
export function open(path: string, options: OpenDumpOptions = {}): Promise<Dump> {
  return openDumpFile(path, options);
}

/** Opens the page table of a dump, as the command line does without options. */
export function view(dump: Dump, options: ViewOptions = {}): DumpView {
  return openView({ ...dump, name: 'test' }, options);
}

/** A dump of the memory of a test, from address 0 to `size`. */
export function dumpOf(memory: PhysMemory, size: number): Dump {
  return {
    name: 'test',
    kind: 'test',
    source: bytesSource(new Uint8Array(0)),
    cpus: [],
    readFrame(frame, bytes) {
      if ((frame + 1) * 4096 > size) return false;
      bytes.set(readPhys(memory, physAddr(frame * 4096), 4096));
      return true;
    },
    offsetOf: () => undefined,
  };
}
