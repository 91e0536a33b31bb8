/** A copy of the repository's last commit, in which releases can be tried. */
import { execFileSync, type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './turbo.ts';

export class ScratchClone {
  readonly folder: string;
  readonly #environment: NodeJS.ProcessEnv;

  /**
   * @param folder - where it will be
   * @param environment - of all commands
   */
  constructor(folder: string, environment: NodeJS.ProcessEnv) {
    this.folder = folder;
    const [name, email] = ['a release test', 'release-test@svsm.invalid'];
    this.#environment = {
      ...environment,
      GIT_AUTHOR_NAME: name,
      GIT_AUTHOR_EMAIL: email,
      GIT_COMMITTER_NAME: name,
      GIT_COMMITTER_EMAIL: email,
    };
    this.#takeFiles();
    this.#linkModules();
  }

  /** The files of the last commit, in a history of their own: changesets cannot read that of a shallow clone. */
  #takeFiles(): void {
    execFileSync('git', ['clone', '--quiet', '--depth=1', `file://${ROOT}`, this.folder]);
    rmSync(join(this.folder, '.git'), { recursive: true });
    this.must('git', 'init', '--quiet', '--initial-branch=main');
    this.must('git', 'add', '--all', '--force');
    this.must('git', 'commit', '--quiet', '--no-verify', '--message=The repository');
  }

  /** The installed packages are those of the repository, except its own. */
  #linkModules(): void {
    const [modules, own] = [join(this.folder, 'node_modules'), join(this.folder, 'node_modules/@svsm')];
    mkdirSync(own, { recursive: true });
    for (const name of readdirSync(join(ROOT, 'node_modules'))) {
      if (name !== '@svsm') symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
    }
    for (const parent of ['packages', 'tools', 'examples', 'apps']) {
      for (const name of readdirSync(join(this.folder, parent))) {
        const manifest = this.json(`${parent}/${name}/package.json`);
        const [, short] = (manifest?.['name'] as string | undefined)?.split('/') ?? [];
        if (short !== undefined) symlinkSync(join(this.folder, parent, name), join(own, short));
      }
    }
  }

  run(command: string, ...args: string[]): SpawnSyncReturns<string> {
    const { folder: cwd } = this;
    return spawnSync(command, args, { cwd, env: this.#environment, encoding: 'utf8', maxBuffer: 1 << 28 });
  }

  /** Runs a command that must succeed. */
  must(command: string, ...args: string[]): string {
    const { status, stdout, stderr } = this.run(command, ...args);
    if (status !== 0)
      throw new Error(`${command} ${args.join(' ')} exits with ${status}:\n${stdout}\n${stderr}`);
    return stdout;
  }

  commit(subject: string): void {
    this.must('git', 'add', '--all');
    this.must('git', 'commit', '--quiet', '--no-verify', `--message=${subject}`);
  }

  read(file: string): string {
    return readFileSync(join(this.folder, file), 'utf8');
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.folder, file), text);
  }

  /** A file of JSON; `undefined` if it does not exist. */
  json(file: string): Record<string, unknown> | undefined {
    try {
      return JSON.parse(this.read(file));
    } catch {
      return undefined;
    }
  }
}
