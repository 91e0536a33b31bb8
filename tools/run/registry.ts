/** A registry of npm packages on this machine: Verdaccio, empty at first, that asks no other registry. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { get as httpGet } from 'node:http';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

/** A running registry. It stops with `stop`, and when this process ends. */
export class Registry {
  readonly url: string;
  readonly #folder: string;
  readonly #port: number;
  #process: ChildProcess | undefined;

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.#port = port;
    this.url = `http://127.0.0.1:${port}/`;
    process.once('exit', () => this.#process?.kill('SIGKILL'));
  }

  /**
   * Starts one with its storage in `folder`, on a free port that only this machine reaches.
   *
   * @param locked - names of packages that nobody may publish
   */
  static async start(folder: string, locked: readonly string[] = []): Promise<Registry> {
    const registry = new Registry(folder, await freePort());
    await registry.restart(locked);
    return registry;
  }

  /**
   * The environment in which npm uses it for `@svsm`, and its own registry for all other packages. A file says so: shells do not pass on
   * variables with such names.
   */
  get environment(): NodeJS.ProcessEnv {
    const config = join(this.#folder, 'npmrc');
    const others = execFileSync('npm', ['config', 'get', 'registry'], { encoding: 'utf8' }).trim();
    const token = `//127.0.0.1:${this.#port}/:_authToken=nobody`;
    writeFileSync(config, [`registry=${others}`, `@svsm:registry=${this.url}`, token, ''].join('\n'));
    return { ...process.env, npm_config_globalconfig: config };
  }

  /** Starts it again, with the same storage. */
  async restart(locked: readonly string[] = []): Promise<void> {
    await this.stop();
    mkdirSync(this.#folder, { recursive: true });
    const config = join(this.#folder, 'config.yaml');
    const anybody = { access: '$all', publish: '$all', unpublish: '$all' };
    const rules = locked.map((name) => [name, { ...anybody, publish: 'nobody' }] as const);
    // JSON is YAML.
    writeFileSync(
      config,
      JSON.stringify({
        storage: join(this.#folder, 'storage'),
        auth: { htpasswd: { file: join(this.#folder, 'htpasswd'), max_users: -1 } },
        packages: { ...Object.fromEntries(rules), '@svsm/*': anybody },
        web: { enable: false },
        log: { type: 'file', path: join(this.#folder, 'log'), level: 'info' },
        max_body_size: '50mb',
      }),
    );
    const manifest = fileURLToPath(import.meta.resolve('verdaccio/package.json'));
    const bin = join(dirname(manifest), 'bin/verdaccio');
    const child = spawn(process.execPath, [bin, '--config', config, '--listen', `127.0.0.1:${this.#port}`], {
      stdio: 'ignore',
    });
    this.#process = child;
    for (let waited = 0; !(await this.#answers()); waited += 200) {
      if (child.exitCode !== null) throw new Error(`Verdaccio ends with ${child.exitCode}`);
      if (waited > 60_000) throw new Error('Verdaccio does not answer');
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  async stop(): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill();
    await ended;
  }

  /** All that it says about a package; `undefined` if it does not have it. */
  async document(name: string): Promise<RegistryDocument | undefined> {
    const answer = await get(`${this.url}${name.replace('/', '%2f')}`);
    return answer.status === 404 ? undefined : (JSON.parse(answer.body.toString()) as RegistryDocument);
  }

  async #answers(): Promise<boolean> {
    try {
      return (await get(`${this.url}-/ping`)).status === 200;
    } catch {
      return false;
    }
  }
}

/** The fields of a package's document that are read here. */
export interface RegistryDocument {
  readonly 'dist-tags': Readonly<Record<string, string>>;
  readonly versions: Readonly<Record<string, RegistryVersion>>;
}

/** One version of a package, as a registry shows it. */
interface RegistryVersion {
  readonly license: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly dist: { readonly tarball: string };
}

/** Each on a connection of its own: one that is kept open is dead after a long command of this process. */
export function get(url: string): Promise<{ status: number; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const request = httpGet(url, { agent: false }, async (answer) => {
      const body = Buffer.concat(await answer.toArray());
      resolve({ status: answer.statusCode ?? 0, body });
    });
    request.once('error', reject);
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
