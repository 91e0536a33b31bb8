/** A kind of file that is recognized, but not opened. */
export interface Foreign {
  /** The bytes with which it begins, one character a byte. */
  readonly magic: string;
  readonly name: string;
  /** A sentence that says how to get a file that can be opened. */
  readonly advice: string;
}

const PACKED = (program: string): string => `unpack it first: ${program}`;
const MAKEDUMPFILE =
  'convert it with makedumpfile -E VMCORE DUMP, or make an ELF dump (in QEMU, without -z, -l, -s)';
const LIBVIRT = "make a core file instead: 'virsh dump --memory-only --format=elf DOMAIN FILE'";
const VMWARE =
  "convert it together with its .vmem file: 'vmss2core -N6 FILE.vmss FILE.vmem' makes a core file";

/** The longest magic begins within this many bytes. */
export const FOREIGN_SIZE = 32;

/** Files that are refused by name. An error that names one is better than a guess. */
const FOREIGN: readonly Foreign[] = [
  { magic: '\x28\xb5\x2f\xfd', name: 'a file compressed with zstd', advice: PACKED('zstd -d') },
  { magic: '\xfd7zXZ\0', name: 'a file compressed with xz', advice: PACKED('xz -d') },
  { magic: 'BZh', name: 'a file compressed with bzip2', advice: PACKED('bzip2 -d') },
  { magic: '\x04\x22\x4d\x18', name: 'a file compressed with lz4', advice: PACKED('lz4 -d') },
  { magic: '\x02\x21\x4c\x18', name: 'a file compressed with lz4 (legacy)', advice: PACKED('lz4 -d') },
  { magic: '\x89LZO\0\r\n\x1a\n', name: 'a file compressed with lzop', advice: PACKED('lzop -d') },
  { magic: '\xff\x06\0\0sNaPpY', name: 'a file compressed with snappy', advice: PACKED('snzip -d') },
  { magic: '\x1f\x9d', name: 'a file compressed with compress', advice: PACKED('gzip -d') },
  { magic: "7z\xbc\xaf'\x1c", name: 'a 7-Zip archive', advice: PACKED('7z x') },
  { magic: 'PK\x03\x04', name: 'a zip archive', advice: PACKED('unzip') },
  { magic: 'DISKDUMP', name: 'a diskdump', advice: MAKEDUMPFILE },
  {
    magic: 'QFI\xfb',
    name: 'a qcow2 disk image',
    advice: 'it has disks and saved states, not a memory dump',
  },
  { magic: 'LibvirtQemudSave', name: "a domain saved by 'virsh save'", advice: LIBVIRT },
  { magic: 'LibvirtQemudPart', name: "a domain partly saved by 'virsh save'", advice: LIBVIRT },
  {
    magic: 'QEVM',
    name: 'a saved state of QEMU',
    advice: "load it, then run 'dump-guest-memory FILE' in the monitor",
  },
  {
    magic: 'PAGEDU64',
    name: 'a crash dump of Windows',
    advice: 'it is of another layout; make a dump from outside',
  },
  {
    magic: 'PAGEDUMP',
    name: 'a crash dump of Windows',
    advice: 'it is of another layout; make a dump from outside',
  },
  ...['\xd0\xbe\xd2\xbe', '\xd1\xba\xd1\xba', '\xd2\xbe\xd2\xbe', '\xd3\xbe\xd3\xbe'].map((magic) => ({
    magic,
    name: 'a saved state of VMware',
    advice: VMWARE,
  })),
  {
    magic: '\x7fVirtualBox SavedState',
    name: 'a saved state of VirtualBox',
    advice: "make a core file instead: 'VBoxManage debugvm VM dumpvmcore --filename FILE'",
  },
  {
    magic: 'LinuxGuestRecord',
    name: 'a saved Xen guest',
    advice: 'make a core file inside of the guest, with kdump',
  },
  {
    magic: 'Xen saved domain',
    name: 'a saved Xen guest',
    advice: 'make a core file inside of the guest, with kdump',
  },
  { magic: 'KDMV', name: 'a VMDK disk image', advice: 'it has a disk, not a memory dump' },
  { magic: 'vhdxfile', name: 'a VHDX disk image', advice: 'it has a disk, not a memory dump' },
];

/** The kind of a file that begins with `start`, if it is recognized but not supported. */
export function foreignOf(start: string): Foreign | undefined {
  return FOREIGN.find(({ magic }) => start.startsWith(magic));
}

/** Why a file with this name is not taken for a raw image unless it is said to be one, if there is a reason. */
export function refusedByName(path: string): string | undefined {
  if (!/\.(vmss|vmsn)$/i.test(path)) return undefined;
  return `its name is that of a saved state of VMware, which has no memory or has it among other things: ${VMWARE}; or pass --raw`;
}
