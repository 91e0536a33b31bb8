/**
 * `npm run test:strangers`: projects as users have them, each in a folder of its own, with the packages from a registry on this
 * machine. Each runs the first example of the README and that of each package. It downloads the tools, so it is not part of
 * `npm test`. `npm run test:strangers -- deno bun` makes only the projects whose names contain one of the words.
 *
 * A browser that is not there is skipped, and the matrix says so.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { PACKAGES } from '../checks/workspace.ts';
import { browserVersion, hasBrowser, pageWith, reportOfPage } from './browser-page.ts';
import { Registry } from './registry.ts';
import { filesIn, PROGRAMS, REPORT } from './stranger-programs.ts';
import { turbo } from './turbo.ts';

const run = promisify(execFile);
const OWN: readonly string[] = PACKAGES.map(({ manifest }) => manifest.name);
const CHROMIUM = 'chromium';

/** A project in a folder of its own. */
interface Project {
  readonly name: string;
  /** The packages of npm that are the tools, with their ranges; the first one's version is shown. */
  readonly tools: readonly string[];
  /** Runs the programs. Returns what was printed: the last line must be {@link REPORT}. */
  run(project: Folder): Promise<string>;
  /** Whether it needs the browser. */
  readonly isPage?: boolean;
  /** Whether it installs in its own way. */
  readonly isBare?: boolean;
}

const ESM = filesIn('esm');
const PAGE = pageWith(
  "import('./main.js').then(({ report }) => { document.getElementById('report').textContent = report; });",
);
const SHOW = "import { report } from './main.js';\ndocument.getElementById('report').textContent = report;\n";

const PROJECTS: readonly Project[] = [
  { name: 'Node, ES modules', tools: [], run: (project) => project.write(ESM).node('main.js') },
  { name: 'Node, require()', tools: [], run: (project) => project.write(filesIn('cjs')).node('main.cjs') },
  ...['typescript@5.5', 'typescript@latest'].flatMap((compiler) =>
    (['nodenext', 'bundler'] as const).map((resolver) => ({
      name: `${compiler.replace('@', ' ')}, ${resolver}`,
      tools: [compiler],
      run: (project: Folder) => compiled(project, resolver),
    })),
  ),
  { name: 'pnpm, strict', tools: ['pnpm'], isBare: true, run: strictly },
  {
    name: 'Vite',
    tools: ['vite'],
    isPage: true,
    run: async (project) => {
      project.write(ESM).write({
        'index.html': '<!doctype html><pre id="report"></pre><script type="module" src="/page.js"></script>',
        'page.js': SHOW,
      });
      await project.bin('vite', 'build', '--logLevel=warn');
      return project.page('dist/index.html', 'dist');
    },
  },
  {
    name: 'webpack',
    tools: ['webpack', 'webpack-cli'],
    isPage: true,
    run: async (project) => {
      project.write(ESM).write({ 'page.js': SHOW, 'index.html': pageWith("import './dist/main.js';") });
      await project.bin('webpack', '--mode=production', '--entry=./page.js', '--output-path=dist');
      return project.page('index.html');
    },
  },
  {
    name: 'esbuild',
    tools: ['esbuild'],
    isPage: true,
    run: async (project) => {
      project.write(ESM).write({ 'page.js': SHOW, 'index.html': pageWith("import './dist/page.js';") });
      await project.bin(
        'esbuild',
        'page.js',
        '--bundle',
        '--minify',
        '--format=esm',
        '--outdir=dist',
        '--log-level=warning',
      );
      return project.page('index.html');
    },
  },
  {
    name: 'import map, no bundler',
    tools: [],
    isPage: true,
    run: (project) => {
      const map = `<script type="importmap">${JSON.stringify({ imports: importMap(project) })}</script>`;
      project.write(ESM).write({ 'index.html': PAGE.replace('<pre', `${map}<pre`) });
      return project.page('index.html');
    },
  },
  {
    name: 'Deno',
    tools: ['deno'],
    run: (project) =>
      project.write(ESM).bin('deno', 'run', '--allow-all', '--node-modules-dir=manual', 'main.js'),
  },
  { name: 'Bun', tools: ['bun'], run: (project) => project.write(ESM).bin('bun', 'run', 'main.js') },
  {
    name: 'Vitest',
    tools: ['vitest'],
    run: async (project) => {
      project.write(ESM).write({ 'main.test.js': `import { expect, test } from 'vitest';\n${TEST}` });
      return reported(await project.bin('vitest', 'run'));
    },
  },
  {
    name: 'Jest, ES modules',
    tools: ['jest'],
    run: async (project) => {
      project.write(ESM).write({ 'main.test.js': TEST, 'jest.config.json': '{ "transform": {} }' });
      const env = { NODE_OPTIONS: '--experimental-vm-modules' };
      return reported(await project.with(env).bin('jest', '--ci'));
    },
  },
  {
    name: 'miniflare (workerd)',
    tools: ['miniflare', 'esbuild'],
    run: async (project) => {
      project.write(ESM).write({
        'worker.js':
          "import { report } from './main.js';\nexport default { fetch: () => new Response(report) };\n",
        'serve.js': `import { Miniflare } from 'miniflare';
const worker = new Miniflare({ modules: true, scriptPath: 'dist/worker.js', compatibilityDate: '2026-01-01' });
try {
  console.log(await (await worker.dispatchFetch('http://worker/')).text());
} finally {
  await worker.dispose();
}
`,
      });
      await project.bin(
        'esbuild',
        'worker.js',
        '--bundle',
        '--format=esm',
        '--outdir=dist',
        '--log-level=warning',
      );
      return project.node('serve.js');
    },
  },
];

const TEST = `import { report } from './main.js';
test('the programs print what they say', () => expect(report).toBe(${JSON.stringify(REPORT)}));
`;

const folder = mkdtempSync(join(tmpdir(), 'svsm-strangers-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

/** The folder of a project. */
class Folder {
  readonly path: string;
  readonly #env: NodeJS.ProcessEnv;

  constructor(path: string, env: NodeJS.ProcessEnv) {
    this.path = path;
    this.#env = env;
  }

  with(env: NodeJS.ProcessEnv): Folder {
    return new Folder(this.path, { ...this.#env, ...env });
  }

  inside(name: string): Folder {
    return new Folder(join(this.path, name), this.#env);
  }

  write(files: Readonly<Record<string, string>>): this {
    for (const [file, text] of Object.entries(files)) {
      mkdirSync(dirname(join(this.path, file)), { recursive: true });
      writeFileSync(join(this.path, file), text);
    }
    return this;
  }

  read(file: string): string {
    return readFileSync(join(this.path, file), 'utf8');
  }

  async run(command: string, ...args: string[]): Promise<string> {
    const options = { cwd: this.path, env: this.#env, timeout: 600_000, maxBuffer: 1 << 26 };
    return (await run(command, args, options)).stdout;
  }

  node(...args: string[]): Promise<string> {
    return this.run(process.execPath, ...args);
  }

  bin(command: string, ...args: string[]): Promise<string> {
    return this.run(join(this.path, 'node_modules/.bin', command), ...args);
  }

  page(path: string, root = '.'): Promise<string> {
    return reportOfPage(join(this.path, root), path.replace(`${root}/`, ''));
  }

  version(name: string): string {
    return (JSON.parse(this.read(`node_modules/${name}/package.json`)) as { version: string }).version;
  }
}

/** Compiles the examples as they are written, and runs them. */
async function compiled(project: Folder, resolver: 'nodenext' | 'bundler'): Promise<string> {
  const compilerOptions = {
    ...{
      strict: true,
      skipLibCheck: false,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
    },
    ...{
      target: 'es2022',
      lib: ['es2022', 'dom', 'esnext.disposable'],
      types: [],
      outDir: 'out',
      rootDir: '.',
    },
    ...(resolver === 'nodenext' ? { module: 'nodenext' } : { module: 'esnext', moduleResolution: 'bundler' }),
  };
  project.write({ 'tsconfig.json': JSON.stringify({ compilerOptions, include: ['*.ts'] }) });
  project.write(Object.fromEntries(PROGRAMS.map(({ name, code }) => [`${name}.ts`, code])));
  await project.bin('tsc');
  return runEach((name) => project.node(`out/${name}.js`));
}

/** Installs the packages that each README names, and no others, in a layout in which a package sees only those. */
function strictly(project: Folder): Promise<string> {
  return runEach(async (name, installs) => {
    const one = project.inside(name);
    one.write({
      'package.json': '{ "private": true, "type": "module" }',
      'main.js': filesIn('esm')[`${name}.js`]!,
    });
    one.write({ '.npmrc': project.read('.npmrc'), 'show.js': ESM['show.js']! });
    one.write({
      'print.js': "import { lines } from './main.js';\nfor (const line of lines) console.log(line);\n",
    });
    const pnpm = join(project.path, 'node_modules/.bin/pnpm');
    await one.run(pnpm, 'add', '--ignore-scripts', '--config.minimumReleaseAge=0', ...installs);
    return one.node('print.js');
  });
}

/** Runs each program alone, and compares what it prints. */
async function runEach(
  print: (name: string, installs: readonly string[]) => Promise<string>,
): Promise<string> {
  const wrong: string[] = [];
  for (const { name, prints, installs } of PROGRAMS) {
    const printed = await print(name, installs);
    if (printed.trimEnd() !== prints.join('\n')) wrong.push(`${name} prints ${printed}`);
  }
  return [...wrong, wrong.length === 0 ? REPORT : `${wrong.length} programs are wrong`].join('\n');
}

/** The output of a runner of tests, with the report below: it has succeeded, or it would have exited with an error. */
function reported(printed: string): string {
  return `${printed}\n${REPORT}`;
}

/** Each entry point of the packages, by its name. */
function importMap(project: Folder): Record<string, string> {
  const imports: Record<string, string> = {};
  for (const name of OWN) {
    const { exports } = JSON.parse(project.read(`node_modules/${name}/package.json`)) as {
      exports: Record<string, string | { default: string }>;
    };
    for (const [door, target] of Object.entries(exports)) {
      if (typeof target === 'string') continue;
      imports[name + door.slice(1)] = join('/node_modules', name, target.default);
    }
  }
  return imports;
}

/** Publishes the packages as they are built. */
function publish(registry: Registry): void {
  for (const { folder: cwd } of PACKAGES) {
    const args = ['publish', '--ignore-scripts', '--provenance=false', `--@svsm:registry=${registry.url}`];
    execFileSync('npm', args, { cwd, env: registry.environment, stdio: ['ignore', 'ignore', 'pipe'] });
  }
}

async function install(project: Project, at: Folder, npmrc: string): Promise<void> {
  const allowScripts = Object.fromEntries(['deno', 'bun', 'workerd', 'esbuild'].map((name) => [name, true]));
  at.write({
    'package.json': JSON.stringify({ private: true, type: 'module', allowScripts }),
    '.npmrc': npmrc,
  });
  const packages = [...(project.isBare === true ? [] : OWN), ...project.tools];
  await at.run('npm', 'install', '--silent', '--no-audit', '--no-fund', ...packages);
}

async function main(words: readonly string[]): Promise<void> {
  if (turbo(['run', 'build', '--filter=./packages/*'], { quiet: true }) !== 0)
    throw new Error('the build fails');
  const registry = await Registry.start(join(folder, 'registry'));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  try {
    publish(registry);
    const environment = registry.environment;
    const npmrc = readFileSync(environment['npm_config_globalconfig']!, 'utf8');
    const browser = hasBrowser() ? await browserVersion() : undefined;
    console.log(
      `Node ${process.versions.node}; ${browser === undefined ? 'no Chromium' : `Chromium ${browser}`}`,
    );
    for (const [index, project] of PROJECTS.entries()) {
      if (words.length > 0 && !words.some((word) => project.name.toLowerCase().includes(word))) continue;
      const line = (result: string, note: string): void =>
        console.log(`${result.padEnd(7)}  ${project.name.padEnd(28)} ${note}`.trimEnd());
      if (project.isPage === true && browser === undefined) {
        counts.skipped += 1;
        line('skipped', `${CHROMIUM} is missing`);
        continue;
      }
      const start = Date.now();
      const at = new Folder(join(folder, String(index)), environment);
      try {
        await install(project, at, npmrc);
        const printed = (await project.run(at)).trimEnd();
        const versions = project.tools
          .map((tool) => tool.replace(/(?<=.)@.*/, ''))
          .map((name) => `${name} ${at.version(name)}`);
        if (printed.split('\n').at(-1) !== REPORT) throw new Error(printed);
        counts.passed += 1;
        line('ok', `${versions.join(', ')} (${Math.round((Date.now() - start) / 1000)} s)`);
      } catch (error) {
        counts.failed += 1;
        const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
        line('FAILED', `${(error as Error).message}\n${stdout}${stderr}`);
      }
      rmSync(at.path, { recursive: true, force: true });
    }
  } finally {
    await registry.stop();
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  process.exitCode = counts.failed > 0 || counts.passed === 0 ? 1 : 0;
}

await main(process.argv.slice(2).map((word) => word.toLowerCase()));
