import { globSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import {
  encodePageInfo,
  LaunchDigest,
  LaunchPageType,
  type Sha384,
  VMSA_LAUNCH_GPA,
  webCryptoSha384,
} from '../../src/formats/launch-digest.ts';
import { codeOf, thrownBy } from '../support/world.ts';

interface Launch {
  readonly name: string;
  readonly digest: string;
  /** The digest after a firmware image. Its pages are not listed then. */
  readonly snp_ovmf_hash_str?: string;
  readonly updates: readonly { type: LaunchPageType; gpa: string; contents: string; ld: string }[];
}

// `npm run test:vectors -- FOLDER` brings other launches.
const folder = process.env['SVSM_VECTORS'] ?? fileURLToPath(new URL('../fixtures', import.meta.url));
const cases = globSync('launch-digest*.json', { cwd: folder }).flatMap(
  (file) => (JSON.parse(readFileSync(resolve(folder, file), 'utf8')) as { cases: readonly Launch[] }).cases,
);
const sha384 = webCryptoSha384(crypto.subtle);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const unhex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
const ZEROS = new Uint8Array(48);

describe.each(cases)('the launch $name', ({ updates, digest, snp_ovmf_hash_str: start }) => {
  const from = start === undefined ? ZEROS : unhex(start);

  // L4, L5, L6
  test('has the known digest after each page and at its end', async () => {
    let ld: Uint8Array = from;
    for (const { type, gpa, contents, ld: expected } of updates) {
      const info = { digest: ld, contents: unhex(contents), type, gpa: physAddr(BigInt(gpa)) };
      ld = await sha384(encodePageInfo(info));
      expect(hex(ld), gpa).toBe(expected);
      const isMeasured = type === LaunchPageType.Normal || type === LaunchPageType.Vmsa;
      if (!isMeasured) expect(unhex(contents)).toEqual(ZEROS);
      if (type === LaunchPageType.Vmsa) expect(BigInt(gpa)).toBe(VMSA_LAUNCH_GPA);
    }
    expect(hex(ld)).toBe(digest);
  });

  // Only the digests of the contents are known, so the hash returns them.
  // L5
  test('is computed from the pages', async () => {
    const contents: Uint8Array[] = [];
    const known: Sha384 = (bytes) => (bytes.length === 4096 ? contents.shift()! : sha384(bytes));
    const launch = new LaunchDigest(known, from);
    for (const update of updates) {
      const { type, gpa } = update;
      const isMeasured = type === LaunchPageType.Normal || type === LaunchPageType.Vmsa;
      if (isMeasured) contents.push(unhex(update.contents));
      await launch.update({ type, gpa: physAddr(BigInt(gpa)), bytes: new Uint8Array(4096).fill(1) });
      expect(hex(launch.value)).toBe(update.ld);
    }
    expect(contents).toEqual([]);
    expect(hex(launch.value)).toBe(digest);
  });
});

// Computed from the definition with another program.
const CHAIN: readonly [LaunchPageType, bigint, string][] = [
  [1, 0n, '9d13634b6014bb21cf059b2dc694e7bff01a8a7137041100cd2b695f3d10fb687267b97808b27f8f471d943bc6f53a20'],
  [
    3,
    0x1000n,
    '3bb77aec4f0d90c147b6b7884b6bd5741994d2575305f89639c95186690d949261186702ef51f2fa7c0dd4c90f03ebfd',
  ],
  [
    4,
    0x2000n,
    '2904df3d88c1174e011bf113d78e2e6a25a8d43cbe047460257dc617210d9dbad410737337d3abcb02c82f3fff625df4',
  ],
  [
    5,
    0x3000n,
    'be5cbd2d68b9649eaa74bf51925b7722aeafd3df80590e24a91e6007453a529685fdbfde9c5ec0e2cd0def6f0e65f220',
  ],
  [
    6,
    0x4000n,
    '43af46e6b20bf630da0dbc6392e51fee9dfa805945d2411f0ed748bd44e3601c016e737b423dc8af9fd91b48bc8c5cca',
  ],
  [
    2,
    VMSA_LAUNCH_GPA,
    'f6741910fc3349f40b1f443300a3ca65c5046c5405db1dc42b13ae3d5cd36382e55114593fd48a9d80da790dbabd7b9d',
  ],
];

// L9
test('a chain of all types has the known digests', async () => {
  const launch = new LaunchDigest(sha384);
  const values = await Promise.all(
    CHAIN.map(([type, gpa]) => launch.update({ type, gpa: physAddr(gpa), bytes: new Uint8Array(4096) })),
  );
  expect(values.map(hex)).toEqual(CHAIN.map(([, , ld]) => ld));
});

// L4
test('PAGE_INFO has the documented bytes', () => {
  const info = encodePageInfo({
    digest: ZEROS.slice().fill(0xaa),
    contents: ZEROS.slice().fill(0xbb),
    type: LaunchPageType.Vmsa,
    gpa: physAddr(0x1234_5000),
    permissions: [1, 2, 3],
    imi: true,
  });
  expect(hex(info)).toBe(`${'aa'.repeat(48)}${'bb'.repeat(48)}70000201000102030050341200000000`);
});

// L5, A18
describe('the digest depends on', () => {
  const page = { type: LaunchPageType.Normal, gpa: physAddr(0x1000), bytes: new Uint8Array(4096) };
  const digestOf = async (...pages: Parameters<LaunchDigest['update']>[0][]): Promise<string> => {
    const launch = new LaunchDigest(sha384);
    for (const page of pages) await launch.update(page);
    return hex(launch.value);
  };
  const byte = (at: number) => new Uint8Array(4096).fill(1, at, at + 1);

  test.each<[string, object]>([
    ['the address', { gpa: physAddr(0x2000) }],
    ['each byte', { bytes: byte(4095) }],
    ['the type', { type: LaunchPageType.Zero }],
    ['the permissions', { permissions: [0, 0, 1] }],
    ['the level of a permission', { permissions: [0, 1, 0] }],
    ['the migration image', { imi: true }],
  ])('%s', async (_, change) => {
    expect(await digestOf({ ...page, ...change })).not.toBe(await digestOf(page));
  });

  test('the order of pages', async () => {
    const other = { ...page, gpa: physAddr(0x2000) };
    expect(await digestOf(page, other)).not.toBe(await digestOf(other, page));
    const both = new Uint8Array(8192);
    expect(await digestOf({ ...page, bytes: both })).toBe(await digestOf(page, other));
  });

  // A26
  test.each([LaunchPageType.Zero, LaunchPageType.Unmeasured, LaunchPageType.Secrets, LaunchPageType.Cpuid])(
    'not on the bytes of type %i',
    async (type) => {
      expect(await digestOf({ ...page, type, bytes: byte(7) })).toBe(await digestOf({ ...page, type }));
    },
  );

  test('not on the bytes of a VMSA that the firmware fills in', async () => {
    const vmsa = { type: LaunchPageType.Vmsa, gpa: VMSA_LAUNCH_GPA };
    const zero = await digestOf({ ...vmsa, bytes: new Uint8Array(4096) });
    for (const at of [0x2f0, 0x2ff]) expect(await digestOf({ ...vmsa, bytes: byte(at) })).toBe(zero);
    for (const at of [0x2ef, 0x300]) expect(await digestOf({ ...vmsa, bytes: byte(at) })).not.toBe(zero);
  });

  test('the bytes at the time of the call', async () => {
    const bytes = new Uint8Array(4096);
    const launch = new LaunchDigest(sha384);
    const done = launch.update({ ...page, bytes });
    bytes.fill(1);
    expect(hex(await done)).toBe(await digestOf(page));
  });
});

describe('refuses', () => {
  const launch = new LaunchDigest(sha384);
  test.each<[string, Partial<Parameters<LaunchDigest['update']>[0]>]>([
    ['a measured page without bytes', {}],
    ['a part of a page', { bytes: new Uint8Array(4095) }],
    ['zero bytes', { bytes: new Uint8Array(0) }],
    ['two VMSAs at once', { type: LaunchPageType.Vmsa, bytes: new Uint8Array(8192) }],
    ['an unknown type', { type: 7 as never, bytes: new Uint8Array(4096) }],
    ['an address within a page', { gpa: physAddr(8), bytes: new Uint8Array(4096) }],
  ])('%s', (_, page) => {
    const update = (): unknown => launch.update({ type: LaunchPageType.Normal, gpa: physAddr(0), ...page });
    expect(codeOf(update)).toBe('INVALID_ARGUMENT');
    expect(launch.value).toEqual(ZEROS);
  });

  test('a start that is not 48 bytes long', () => {
    expect(codeOf(() => new LaunchDigest(sha384, new Uint8Array(32)))).toBe('INVALID_ARGUMENT');
  });

  test('a hash that returns another number of bytes', async () => {
    const broken = new LaunchDigest(() => new Uint8Array(32));
    const failed = broken.update({ ...CHAIN_PAGE, bytes: new Uint8Array(4096) });
    await expect(failed).rejects.toThrow('INVALID_ARGUMENT');
    expect(broken.value).toEqual(ZEROS);
    expect(
      thrownBy(() => encodePageInfo({ ...CHAIN_PAGE, digest: ZEROS, contents: new Uint8Array(47) }))?.code,
    ).toBe('INVALID_ARGUMENT');
  });
});

const CHAIN_PAGE = { type: LaunchPageType.Normal, gpa: physAddr(0) };
