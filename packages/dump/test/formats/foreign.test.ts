/** A file of another kind is refused by name, with what to do, and never taken for a raw image. */
import { PAGE_SIZE } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { sparseFile, tableOf } from '../support/core-file.ts';
import { runHere, temporary } from '../support/support.ts';

const MAGICS: readonly (readonly [magic: string, name: RegExp, advice: RegExp])[] = [
  ['\x28\xb5\x2f\xfd', /compressed with zstd/, /unpack it first: zstd -d/],
  ['\xfd7zXZ\0', /compressed with xz/, /xz -d/],
  ['BZh9', /compressed with bzip2/, /bzip2 -d/],
  ['\x04\x22\x4d\x18', /compressed with lz4/, /lz4 -d/],
  ['\x02\x21\x4c\x18', /compressed with lz4/, /lz4 -d/],
  ['\x89LZO\0\r\n\x1a\n', /compressed with lzop/, /lzop -d/],
  ['\xff\x06\0\0sNaPpY', /compressed with snappy/, /snzip/],
  ['\x1f\x9d\x90', /compressed with compress/, /gzip -d/],
  ["7z\xbc\xaf'\x1c", /7-Zip/, /7z x/],
  ['PK\x03\x04', /zip archive/, /unzip/],
  ['DISKDUMP', /diskdump/, /makedumpfile -E/],
  ['QFI\xfb\0\0\0\x03', /qcow2/, /not a memory dump/],
  ['LibvirtQemudSave', /virsh save/, /virsh dump --memory-only/],
  ['LibvirtQemudPart', /virsh save/, /virsh dump --memory-only/],
  ['QEVM\0\0\0\x03', /saved state of QEMU/, /dump-guest-memory/],
  ['PAGEDU64', /Windows/, /from outside/],
  ['PAGEDUMP', /Windows/, /from outside/],
  ['\xd0\xbe\xd2\xbe', /VMware/, /vmss2core/],
  ['\xd2\xbe\xd2\xbe', /VMware/, /vmss2core/],
  ['\x7fVirtualBox SavedState V2.0', /VirtualBox/, /dumpvmcore/],
  ['LinuxGuestRecord', /Xen/, /kdump/],
  ['Xen saved domain, xl format\n', /Xen/, /kdump/],
  ['KDMV', /VMDK/, /a disk/],
  ['vhdxfile', /VHDX/, /a disk/],
];
const fileOf = (magic: string): Buffer =>
  Buffer.concat([Buffer.from(magic, 'latin1'), Buffer.alloc(2 * PAGE_SIZE)]);

test.each(MAGICS)('%j', async (magic, name, advice) => {
  const path = temporary('foreign', fileOf(magic));
  for (const args of [[path], [path, '--cr3', '1000'], ['info', path]]) {
    const run = runHere(args);
    await expect(run).rejects.toThrow(/^\S+: it looks like an? [^\n]*, which is not supported: [^\n]+$/);
    await expect(run).rejects.toThrow(name);
    await expect(run).rejects.toThrow(advice);
  }
  // With --raw, the user knows better.
  expect((await runHere([path, '--cr3', '1000', '--raw'])).status).toBe(4);
});

describe('memory of VMware', () => {
  test('is a raw image with a hole, whose CR3 roots finds', async () => {
    const split = 0xc000_0000;
    const at = (address: bigint) => tableOf({ 0: address | 0x67n, 511: address | 0x63n });
    // The first table is below the hole, the others are from 4 GiB on.
    const tables = [0x1_0000_1000n, 0x1_0000_2000n].map(at);
    const path = temporary(
      'guest.vmem',
      sparseFile(split + 0x10_0000, [
        [0x5000, at(0x1_0000_0000n)],
        [split, Buffer.concat(tables)],
        [split + 0x2000, tableOf({ 0: 0x1_0000_4067n })],
      ]),
    );
    const { status, stdout } = await runHere(['roots', path, '--levels', '4']);
    expect(status).toBe(0);
    expect(stdout).toContain('split below 4 GiB at 0xc0000000');
    expect(stdout).toContain('0x0000000000005000 4 levels');
    expect((await runHere([path, '--cr3', '5000'])).status).toBe(0);
    await expect(runHere([path])).rejects.toThrow("pass --cr3, which 'svsm-dump roots' finds");
  });

  test('among the saved state is refused by its name', async () => {
    for (const name of ['guest.vmss', 'guest.VMSN']) {
      const path = temporary(name, fileOf(''));
      await expect(runHere([path, '--cr3', '1000'])).rejects.toThrow(/VMware.*vmss2core.*pass --raw/);
      expect((await runHere([path, '--cr3', '1000', '--raw'])).status).toBe(4);
    }
  });
});
