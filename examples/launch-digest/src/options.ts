import { parseArgs } from 'node:util';
import { CPU_SIGNATURES, type Vmm } from '@svsm/sev-snp';
import { UsageError } from './problem.ts';

/** The parsed command line. */
export interface Options {
  readonly ovmf: string | undefined;
  readonly svsm: string | undefined;
  readonly igvm: string | undefined;
  readonly vcpus: number | undefined;
  readonly cpuSignature: number;
  readonly vmm: Vmm;
  readonly sevFeatures: bigint;
  readonly kernel: string | undefined;
  readonly initrd: string | undefined;
  readonly append: string | undefined;
  readonly varsSize: number | undefined;
  readonly varsFile: string | undefined;
  readonly zeroPages: 'normal' | 'zero';
  readonly vmsas: 'in-order' | 'last';
  readonly pages: boolean;
  readonly json: boolean;
}

/** Options that make sense for one kind of launch only. */
const ONLY_FOR = {
  ovmf: ['vmm', 'kernel', 'initrd', 'append'],
  svsm: ['vars-size', 'vars-file'],
  igvm: ['zero-pages', 'vmsas'],
} as const;

/**
 * Parses the command line. Returns `undefined` if it asks for help.
 *
 * @throws UsageError
 */
export function parseOptions(args: readonly string[]): Options | undefined {
  const values = parse(args);
  if (values.help === true) return undefined;
  requireFitting(values);
  const { ovmf, svsm, igvm, kernel, initrd, append } = values;
  const size = values['vars-size'];
  return {
    ...{ ovmf, svsm, igvm, kernel, initrd, append },
    vcpus: values.vcpus === undefined ? undefined : Number(numberOf('vcpus', values.vcpus, 1n, 4096n)),
    cpuSignature: signatureOf(values),
    vmm: oneOf('vmm', values.vmm ?? 'qemu', ['qemu', 'ec2', 'gce']),
    sevFeatures: numberOf('guest-features', values['guest-features'] ?? '1', 0n, (1n << 64n) - 1n),
    varsSize: size === undefined ? undefined : Number(numberOf('vars-size', size, 0n, (1n << 32n) - 1n)),
    varsFile: values['vars-file'],
    zeroPages: oneOf('zero-pages', values['zero-pages'] ?? 'normal', ['normal', 'zero']),
    vmsas: oneOf('vmsas', values.vmsas ?? 'last', ['in-order', 'last']),
    pages: values.pages ?? false,
    json: values.json ?? false,
  };
}

type Values = ReturnType<typeof parse>;

function parse(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ovmf: { type: 'string' },
        svsm: { type: 'string' },
        igvm: { type: 'string' },
        vcpus: { type: 'string' },
        'vcpu-type': { type: 'string' },
        'vcpu-sig': { type: 'string' },
        vmm: { type: 'string' },
        'guest-features': { type: 'string' },
        kernel: { type: 'string' },
        initrd: { type: 'string' },
        append: { type: 'string' },
        'vars-size': { type: 'string' },
        'vars-file': { type: 'string' },
        'zero-pages': { type: 'string' },
        vmsas: { type: 'string' },
        pages: { type: 'boolean' },
        json: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    });
    return values;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code?.startsWith('ERR_PARSE_ARGS') !== true) throw error;
    throw new UsageError(message.split('\n')[0], { cause: error });
  }
}

function requireFitting(values: Values): void {
  const kind = values.igvm !== undefined ? 'igvm' : values.svsm !== undefined ? 'svsm' : 'ovmf';
  if (kind === 'igvm' && (values.ovmf !== undefined || values.svsm !== undefined))
    throw new UsageError('pass either --igvm, or --ovmf with or without --svsm');
  if (kind === 'svsm' && values.ovmf === undefined) throw new UsageError('--svsm needs --ovmf: see --help');
  for (const [only, names] of Object.entries(ONLY_FOR))
    for (const name of names)
      if (values[name] !== undefined && only !== kind)
        throw new UsageError(`--${name} does not go with --${kind}: see --help`);
  if (kind === 'igvm' && values['guest-features'] !== undefined)
    throw new UsageError('--guest-features does not go with --igvm: its VMSA has the features');
  const hasSize = values['vars-size'] !== undefined;
  if (kind === 'svsm' && hasSize === (values['vars-file'] !== undefined))
    throw new UsageError('--svsm needs --vars-size or --vars-file');
  if (values.kernel === undefined && (values.initrd !== undefined || values.append !== undefined))
    throw new UsageError('--initrd and --append need --kernel');
  if (values['vcpu-type'] !== undefined && values['vcpu-sig'] !== undefined)
    throw new UsageError('pass either --vcpu-type or --vcpu-sig');
}

function signatureOf(values: Values): number {
  const signature = values['vcpu-sig'];
  if (signature !== undefined) return Number(numberOf('vcpu-sig', signature, 0n, (1n << 32n) - 1n));
  const models = Object.keys(CPU_SIGNATURES) as (keyof typeof CPU_SIGNATURES)[];
  return CPU_SIGNATURES[oneOf('vcpu-type', values['vcpu-type'] ?? 'EPYC-v4', models)];
}

function oneOf<Choice extends string>(name: string, text: string, choices: readonly Choice[]): Choice {
  const choice = choices.find((one) => one === text);
  if (choice === undefined)
    throw new UsageError(`--${name}: ${JSON.stringify(text)} is not one of ${choices.join(', ')}`);
  return choice;
}

function numberOf(name: string, text: string, least: bigint, most: bigint): bigint {
  const value = /^(?:0x[0-9a-f]{1,16}|\d{1,20})$/i.test(text) ? BigInt(text) : -1n;
  if (value >= least && value <= most) return value;
  throw new UsageError(`--${name}: ${JSON.stringify(text)} is not a number from ${least} to ${most}`);
}
