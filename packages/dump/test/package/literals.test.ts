/** Each format as bytes that are typed out from its source, without the writers and the constants of this package. */
import { deflateSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { NestedPaging } from '../../src/backing/nested-paging.ts';
import { openSavedRmp } from '../../src/backing/rmp-table.ts';
import { openDump } from '../../src/formats/open-dump.ts';
import { NODE_CODECS } from '../../src/node/node-codecs.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { bytesOf, lowestFirst, placed } from '../support/literals.ts';

const PAGE = Buffer.alloc(4096, 0x5a);
const open = (...parts: Uint8Array[]) => openDump(bytesSource(Buffer.concat(parts)), { codecs: NODE_CODECS });
const frameOf = (dump: ReturnType<typeof open>, frame: number): Buffer | undefined => {
  const bytes = Buffer.alloc(4096);
  return dump.readFrame(frame, bytes) ? bytes : undefined;
};

describe('an ELF core', () => {
  /** System V gABI, chapters 4 and 5: Elf64_Ehdr, and two Elf64_Phdr. */
  const headers = (notes: number, vaddr: string): Buffer =>
    bytesOf([
      ['7f454c46', 'EI_MAG0 to EI_MAG3: 0x7f ELF'],
      ['02010100 0000000000000000', 'ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_NONE, padding'],
      ['0400 3e00 01000000', 'e_type ET_CORE, e_machine EM_X86_64, e_version'],
      ['0000000000000000 4000000000000000 0000000000000000', 'e_entry, e_phoff 64, e_shoff'],
      ['00000000 4000 3800 0200', 'e_flags, e_ehsize 64, e_phentsize 56, e_phnum 2'],
      ['0000 0000 0000', 'e_shentsize, e_shnum, e_shstrndx'],
      ['04000000 00000000 b000000000000000', 'p_type PT_NOTE, p_flags, p_offset 176'],
      ['0000000000000000 0000000000000000', 'p_vaddr, p_paddr'],
      [`${lowestFirst(notes)} ${lowestFirst(notes)} 0000000000000000`, 'p_filesz, p_memsz, p_align'],
      [`01000000 00000000 ${lowestFirst(176 + notes)}`, 'p_type PT_LOAD, p_flags, p_offset'],
      [`${vaddr} 0000030201000000`, 'p_vaddr, p_paddr 0x1_0203_0000'],
      ['0010000000000000 0020000000000000 0000000000000000', 'p_filesz 0x1000, p_memsz 0x2000, p_align'],
    ]);

  test('of QEMU: target/i386/arch_dump.c, QEMUCPUState', () => {
    const state = placed(440, [
      [0, '01000000 b8010000', 'version 1, size 440'],
      [56, '5600000000000000', 'rsp, after rax, rbx, rcx, rdx, rsi, rdi'],
      [136, '3601000000000000', 'rip, after rbp and r8 to r15'],
      [152, '33000000', 'cs.selector, after rflags'],
      [392, '3300058000000000', 'cr[0], after ten segments of 24 bytes'],
      [408, '0804000000000000', 'cr[2]'],
      [416, '1804000200000000', 'cr[3]'],
      [424, 'f00e750000000000', 'cr[4]'],
    ]);
    const name = bytesOf([
      ['05000000 b8010000 00000000', 'n_namesz 5, n_descsz 440, n_type 0'],
      ['51454d5500 000000', '"QEMU" and its end, padded to 4 bytes'],
    ]);
    const dump = open(headers(460, '0000030201000000'), name, state, PAGE);
    expect(dump.cpus).toEqual([
      { rsp: 0x56n, rip: 0x136n, cpl: 3, cr0: 0x8005_0033n, cr2: 0x408n, cr3: 0x200_0418n, cr4: 0x75_0ef0n },
    ]);
    expect([...dump.memory!]).toEqual([
      { start: 0x1_0203_0000n, end: 0x1_0203_1000n, offset: 176 + 460, isZero: false },
    ]);
    expect(frameOf(dump, 0x10_2030)).toEqual(PAGE);
    expect(frameOf(dump, 0x10_2031)).toBeUndefined();
  });

  test('of Linux: VMCOREINFO, kernel/crash_core.c', () => {
    const text = Buffer.from(
      'OSRELEASE=6.1.0\nSYMBOL(swapper_pg_dir)=ffffffff82610000\nNUMBER(phys_base)=-1048576\n' +
        'NUMBER(pgtable_l5_enabled)=1\nNUMBER(sme_mask)=2251799813685248\nKERNELOFFSET=1a000000\n',
      'latin1',
    );
    const note = bytesOf([
      [`0b000000 ${lowestFirst(text.length, 4)} 00000000`, 'n_namesz 11, n_descsz, n_type 0'],
      ['564d434f5245494e464f 00 00', '"VMCOREINFO" and its end, padded to 4 bytes'],
    ]);
    const end = Buffer.alloc((4 - (text.length % 4)) % 4);
    const size = note.length + text.length + end.length;
    const dump = open(headers(size, '000003028188ffff'), note, text, end, PAGE);
    expect(dump.kernel).toEqual({
      release: '6.1.0',
      cr3: 0x251_0000n,
      levels: 5,
      cBit: 51,
      kernelOffset: 0x1a00_0000n,
      directMap: 0xffff_8880_0000_0000n,
    });
    expect(frameOf(dump, 0x10_2030)).toEqual(PAGE);
    expect(frameOf(dump, 0x10_2031)).toEqual(Buffer.alloc(4096));
  });
});

describe('a kdump-compressed dump: makedumpfile, diskdump_mod.h', () => {
  const packed = deflateSync(PAGE);
  const size = lowestFirst(packed.length, 4);
  /** struct disk_dump_header, on x86-64. */
  const header = placed(4096, [
    [0, '4b44554d50202020', 'signature KDUMP and three spaces'],
    [8, '06000000', 'header_version 6'],
    [272, '7838365f3634', 'utsname.machine, the fifth text of 65 bytes from 12 on: x86_64'],
    [424, '01000000', 'status DUMP_DH_COMPRESSED_ZLIB, after utsname, padding and a timeval'],
    [428, '00100000', 'block_size 4096'],
    [432, '01000000', 'sub_hdr_size 1 block'],
    [436, '02000000', 'bitmap_blocks 2'],
    [440, '00000000', 'max_mapnr, obsolete since version 6'],
  ]);
  /** struct kdump_sub_header. */
  const sub = placed(4096, [
    [8, '1f000000', 'dump_level 31, after phys_base'],
    [12, '00000000', 'split'],
    [32, '0018000000000000', 'offset_vmcoreinfo 0x1800, after start_pfn and end_pfn'],
    [40, '1000000000000000', 'size_vmcoreinfo 16'],
    [96, '1000000000000000', 'max_mapnr_64 16, after the places of notes and erased data, and start and end'],
    [0x800, '4f5352454c454153453d362e312e310a', 'OSRELEASE=6.1.1'],
  ]);
  const bitmaps = placed(2 * 4096, [
    [0, 'ff', 'pages 0 to 7 existed'],
    [4096, '24', 'pages 2 and 5 are in the dump'],
  ]);
  /** page_desc_t: offset, size, flags, page_flags. */
  const descriptors = bytesOf([
    [`3040000000000000 ${size} 01000000 0000000000000000`, 'page 2, DUMP_DH_COMPRESSED_ZLIB'],
    [`${lowestFirst(0x4030 + packed.length)} 00100000 00000000 0000000000000000`, 'page 5'],
  ]);
  const raw = Buffer.alloc(4096, 0x77);
  const file = Buffer.concat([header, sub, bitmaps, descriptors, packed, raw]);

  test('has its pages, and the release of its kernel', () => {
    const dump = open(file);
    expect(dump.kind).toBe('kdump-compressed (zlib), dump level 31, Linux 6.1.1');
    expect([1, 2, 5, 6].map((frame) => frameOf(dump, frame))).toEqual([undefined, PAGE, raw, undefined]);
  });

  test.each([
    ['02', 'lzo'],
    ['04', 'snappy'],
    ['20', 'zstd'],
  ])('with the flag 0x%s has pages in %s', (flag, name) => {
    const changed = Buffer.from(file);
    changed.write(flag, 424, 'hex');
    changed.write(flag, 0x4000 + 12, 'hex');
    const dump = open(changed);
    expect(dump.kind).toContain(`(${name})`);
    // The data is that of zlib.
    expect(frameOf(dump, 2)).toBeUndefined();
    expect(dump.notices?.take()[0]?.message).toContain(`not sound ${name} data`);
  });

  test('may be flattened: struct makedumpfile_header, big-endian', () => {
    const flatHeader = placed(4096, [
      [0, '6d616b6564756d7066696c65 00000000', 'signature makedumpfile, 16 bytes'],
      [16, '0000000000000001', 'type TYPE_FLAT_HEADER'],
      [24, '0000000000000001', 'version VERSION_FLAT_HEADER'],
    ]);
    // struct makedumpfile_data_header: offset and buf_size; the last one has -1.
    const end = bytesOf([['ffffffffffffffff ffffffffffffffff', 'END_FLAG_FLAT_HEADER']]);
    const rest = file.subarray(0x4000);
    const sizeOfRest = rest.length.toString(16).padStart(16, '0');
    const second = bytesOf([[`0000000000004000 ${sizeOfRest}`, 'offset, buf_size']]);
    const first = bytesOf([['0000000000000000 0000000000004000', 'offset, buf_size']]);
    const dump = open(flatHeader, second, rest, first, file.subarray(0, 0x4000), end);
    expect([2, 5].map((frame) => frameOf(dump, frame))).toEqual([PAGE, raw]);
  });
});

test('a LiME image: 504ensicsLabs/LiME, lime_mem_range_header', () => {
  const header = bytesOf([
    ['454d694c 01000000', 'magic 0x4c694d45, version 1'],
    ['0000020100000000 ff0f020100000000', 's_addr 0x1020000, e_addr, which is part of the range'],
    ['0000000000000000', 'reserved'],
  ]);
  const dump = open(header, PAGE);
  expect(dump.kind).toBe('LiME image, 1 range');
  expect(frameOf(dump, 0x1020)).toEqual(PAGE);
});

test('an AVML image: microsoft/avml, src/image.rs, and google/snappy, framing_format.txt', () => {
  const header = bytesOf([
    ['41564d4c 02000000', 'magic 0x4c4d5641, version 2'],
    ['0000020100000000 ff1f020100000000', 'the first and the last address'],
    ['0000000000000000', 'padding'],
  ]);
  // format_description.txt: a copy with a distance of 2 bytes has tag (length - 1) << 2 | 2, up to 64 bytes at once.
  const copies = Array.from({ length: 64 }, (_, i) => (i < 63 ? 'fe0100' : 'fa0100')).join('');
  const data = bytesOf([
    ['8020 00 5a', 'the size 4096, a literal'],
    [copies, '63 copies of 64 bytes, one of 63'],
  ]);
  const length = lowestFirst(data.length + 4, 3);
  const stream = bytesOf([
    ['ff 060000 734e61507059', 'the stream identifier'],
    [`00 ${length} 00000000`, 'a compressed chunk, its length and checksum'],
  ]);
  const plain = bytesOf([['01 041000 00000000', 'a chunk of 4096 bytes that is not compressed']]);
  const trailer = bytesOf([['0000000000000000', 'the length of the stream']]);
  const dump = open(header, stream, data, plain, Buffer.alloc(4096, 0x77), trailer);
  expect(dump.kind).toBe('AVML image, 1 range');
  expect(frameOf(dump, 0x1020)).toEqual(PAGE);
  expect(frameOf(dump, 0x1021)).toEqual(Buffer.alloc(4096, 0x77));
});

test('PTFRAME1 and SPARSE01: the README of this package', () => {
  const json = Buffer.from('{"cr3":"0x3000","levels":5}');
  const frames = Buffer.concat([
    bytesOf([['50544652414d4531 1b000000 01000000', '"PTFRAME1", the length of the header, one frame']]),
    json,
    bytesOf([['0030000000000000', 'its address']]),
    PAGE,
  ]);
  const sparse = bytesOf([
    ['5350415253453031', '"SPARSE01"'],
    [`${lowestFirst(frames.length)} 01000000`, 'the size of the file, one piece'],
    [`0000000000000000 ${lowestFirst(frames.length, 4)}`, 'its place and its length'],
  ]);
  for (const dump of [open(frames), open(sparse, frames)]) {
    expect([dump.cpus, dump.levels]).toEqual([[{ cr3: 0x3000n }], 5]);
    expect(frameOf(dump, 3)).toEqual(PAGE);
  }
});

test('an RMP: Linux, arch/x86/virt/svm/sev.c, struct rmpentry', () => {
  const table = placed(0x4000 + 16 * 8, [
    // assigned 1, pagesize 0, immutable 0, gpa from bit 12 on, asid from bit 51 on: 5, validated bit 62.
    [0x4020, '0150000000002840', 'the entry of page 2, after RMPTABLE_CPU_BOOKKEEPING_SZ 0x4000'],
    [0x4030, '0560000000002820', 'page 3: immutable is bit 2, vmsa is bit 61'],
  ]);
  const rmp = openSavedRmp(bytesSource(table));
  expect([1, 2, 3].map((frame) => rmp.runFrom(frame, 1).entry)).toMatchObject([
    { assigned: false },
    { assigned: true, pageSize: 4096, gpa: 0x5000n, asid: 5, validated: true, immutable: false, vmsa: false },
    { assigned: true, pageSize: 4096, gpa: 0x6000n, asid: 5, validated: false, immutable: true, vmsa: true },
  ]);
});

test('EPT: Intel SDM vol. 3C, §29.3.2', () => {
  const memory = placed(3 * 4096, [
    [0x0000, '0710000000000000', 'PML4E 0: read, write, execute; the PDPT at 0x1000'],
    [0x1008, 'b700004000000000', 'PDPTE 1: bit 7, a page of 1 GiB at 0x40000000, write-back'],
    [0x1010, '0720000000000000', 'PDPTE 2: the PD at 0x2000'],
    [0x2008, '8100a00000000000', 'PDE 1: a page of 2 MiB at 0xa00000, read only, uncacheable'],
    [0x2010, '0200000000000000', 'PDE 2: write without read, a misconfiguration'],
  ]);
  // EPTP: write-back is 6 in bits 2:0, and 4 levels are 3 in bits 5:3.
  const ept = new NestedPaging(
    (frame, bytes) => {
      bytes.set(memory.subarray(frame * 4096, frame * 4096 + 4096));
      return frame < 3;
    },
    { format: 'ept', pointer: 0x1en },
  );
  expect(ept.levels).toBe(4);
  expect(ept.translate(0x4_0001)).toMatchObject({ frame: 0x4_0001, pageSize: 2 ** 30, writable: true });
  expect(ept.translate(0x8_0201)).toMatchObject({ frame: 0xa01, pageSize: 2 ** 21, writable: false });
  expect(ept.translate(0x8_0400)).toMatchObject({ obstacle: 'misconfigured' });
});
