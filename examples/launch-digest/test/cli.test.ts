/** The command line, run as a process. */
import { Buffer } from 'node:buffer';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { sampleImage } from '../src/sample-image.ts';
import { igvmFile } from './igvm-file.ts';
import { svsmBinary } from './svsm-binary.ts';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const folder = mkdtempSync(join(tmpdir(), 'launch-digest-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
}

function run(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr };
}

const OVMF = file('sample.fd', sampleImage());
const SVSM = file('svsm.bin', svsmBinary());
const KERNEL = file('kernel', 'k\n');
const VARS = file('vars.fd', new Uint8Array(8192));
const IGVM = file('sample.igvm', igvmFile());
const MISSING = join(folder, 'missing');

describe('the digest', () => {
  test('of the sample image is printed without arguments', () => {
    const digest =
      '073003e3ccf33044971e27f3f8af14e9c6fe99b21c13129075113336fe9bcb72a94de2a45a1dbefa7861878c80e0ebc4';
    expect(run()).toEqual({ status: 0, stdout: `${digest}\n`, stderr: '' });
  });

  // sev-snp-measure 0.0.13, for the sample image.
  test.each<[args: string[], digest: string]>([
    [
      ['--vcpus', '4', '--vcpu-type', 'EPYC-Milan'],
      'dd28db38bfc4052a7bd81eea2426c4d1a13c9714ea5e67a90ba9fc50af72ac5aba06caad2791ee484879425b9f098f01',
    ],
    [
      ['--vcpus', '4', '--vcpu-sig', '0xa00f11', '--vmm', 'ec2'],
      '2d4d3a7f4b46b44825c9d082e94cf9039014ed4e1a28d49571eaf56f5808ddee1c6fda4b1f581f624b29b81ff434f066',
    ],
    [
      ['--vcpus', '0x4', '--vmm', 'gce'],
      'bcb978a9f9fa0bb961c2ebdd265a5a42d4e4d0d4556a861dc5861c7b019e864e459c1746a65be3ecb107dab79916e155',
    ],
    [
      ['--guest-features', '0x21', '--kernel', KERNEL, '--append', 'console=ttyS0'],
      '957e1b0a96db76f18ec07c3466893cc9cb1cf272cc83b1d3a36be402c2e0f1f2c4ecc216af649031300af1a183b72f96',
    ],
  ])('with %j is that of sev-snp-measure', (args, digest) => {
    expect(run('--ovmf', OVMF, ...args)).toEqual({ status: 0, stdout: `${digest}\n`, stderr: '' });
  });

  test('of an SVSM is the same with the file of the variables and with its size', () => {
    const svsm = ['--ovmf', OVMF, '--svsm', SVSM, '--vcpus', '2'];
    const bySize = run(...svsm, '--vars-size', '8192');
    expect([bySize.status, bySize.stdout.length]).toEqual([0, 97]);
    expect(run(...svsm, '--vars-file', VARS)).toEqual(bySize);
    expect(run(...svsm, '--vars-size', '4096').stdout).not.toBe(bySize.stdout);
  });

  test('of an IGVM file depends on the loader, and on processors that the file does not have', () => {
    const normal = run('--igvm', IGVM);
    expect([normal.status, normal.stderr]).toEqual([0, '']);
    const others = [
      ['--zero-pages', 'zero'],
      ['--vmsas', 'in-order'],
      ['--vcpus', '2'],
    ].map((args) => run('--igvm', IGVM, ...args).stdout);
    expect(new Set([normal.stdout, ...others]).size).toBe(4);
    expect(run('--igvm', IGVM, '--vcpus', '1').stdout).toBe(normal.stdout);
  });

  test('that the ID block expects is compared', () => {
    const own = Buffer.from(run('--igvm', IGVM).stdout.trim(), 'hex');
    const signed = run('--igvm', file('signed.igvm', igvmFile(own)));
    expect([signed.status, signed.stderr]).toEqual([0, '']);
    const forged = run('--igvm', file('forged.igvm', igvmFile(Buffer.alloc(48, 0xab))));
    expect([forged.status, forged.stdout]).toEqual([1, signed.stdout]);
    expect(forged.stderr).toContain(`its ID block expects ${'ab'.repeat(48)}`);
  });
});

describe('the output', () => {
  test('of --pages is in the README', () => {
    const { stdout } = run('--pages');
    expect(README).toContain(stdout.trimEnd());
  });

  test('of --json has the digest and the pages', () => {
    const { stdout } = run('--json', '--vcpus', '2');
    const { digest, expected, pages } = JSON.parse(stdout) as Record<string, unknown[]>;
    expect([digest, expected]).toEqual([run('--vcpus', '2').stdout.trim(), null]);
    expect(pages!.at(-1)).toEqual({
      type: 'VMSA',
      gpa: '0xfffffffff000',
      size: 8192,
      permissions: [0, 0, 0],
      measured: true,
    });
  });

  test('of --help has every option of the README, in 80 columns', () => {
    const { status, stdout } = run('--help');
    expect(status).toBe(0);
    const options = [...README.matchAll(/`(--[a-z-]+)/g)].map(([, option]) => option!);
    expect(options.filter((option) => !stdout.includes(option))).toEqual([]);
    expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([]);
  });
});

describe('wrong usage prints one line', () => {
  test.each<{ args: string[] }>(
    [
      ['--frobnicate'],
      ['--igvm', IGVM, '--ovmf', OVMF],
      ['--svsm', SVSM],
      ['--ovmf', OVMF, '--svsm', SVSM],
      ['--ovmf', OVMF, '--svsm', SVSM, '--vars-size', '4096', '--vars-file', VARS],
      ['--ovmf', OVMF, '--svsm', SVSM, '--vars-size', '4096', '--vmm', 'gce'],
      ['--igvm', IGVM, '--kernel', KERNEL],
      ['--igvm', IGVM, '--guest-features', '1'],
      ['--zero-pages', 'zero'],
      ['--append', 'quiet'],
      ['--vcpus', '0'],
      ['--vcpus', '4097'],
      ['--vcpus', 'four'],
      ['--vmm', 'xen'],
      ['--vcpu-type', 'Opteron'],
      ['--vcpu-type', 'EPYC', '--vcpu-sig', '1'],
      ['--vcpu-sig', '0x100000000'],
      ['--guest-features', '0x10000000000000000'],
    ].map((args) => ({ args })),
  )('for $args', ({ args }) => {
    const { status, stdout, stderr } = run(...args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^launch-digest: .*\n$/);
  });
});

describe('a bad file prints one line', () => {
  const broken = Uint8Array.from(sampleImage());
  broken[0x1c48] = 5;
  const path = file('broken.fd', broken);

  test('with its field, offset, value and expectation, as the README has it', () => {
    const { status, stdout, stderr } = run('--ovmf', path);
    expect([status, stdout]).toEqual([3, '']);
    expect(README).toContain(stderr.replace(path, 'broken.fd').trimEnd());
  });

  test.each<[what: string, args: string[]]>([
    ['a file that does not exist', ['--ovmf', MISSING]],
    ['an IGVM file that is an OVMF image', ['--igvm', OVMF]],
    ['an OVMF image that is an IGVM file', ['--ovmf', IGVM]],
    ['an SVSM without an entry', ['--ovmf', OVMF, '--svsm', OVMF, '--vars-size', '0']],
    ['variables that do not exist', ['--ovmf', OVMF, '--svsm', SVSM, '--vars-file', MISSING]],
    ['a kernel for an image without a section', ['--ovmf', SVSM, '--kernel', KERNEL]],
  ])('for %s', (_, args) => {
    const { status, stdout, stderr } = run(...args);
    expect([status, stdout]).toEqual([3, '']);
    expect(stderr).toMatch(/^launch-digest: .*\n$/);
  });
});
