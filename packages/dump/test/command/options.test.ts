import { describe, expect, test } from 'vitest';
import { UsageError } from '../../src/command/problem.ts';
import { parseOptions } from '../support/parse-options.ts';

describe('wrong usage', () => {
  test.each<[string, RegExp]>([
    ['', /^runs needs a file: see --help$/],
    ['compare old', /compare needs two files/],
    ['runs dump more', /runs does not take the argument "more"/],
    ['walk dump', /walk needs an address/],
    ['walk dump xyz', /address: "xyz" is not a hexadecimal number of at most 64 bits/],
    ['walk dump 10000000000000000', /at most 64 bits/],
    ['walk dump _', /is not a hexadecimal number/],
    ['walk dump 1000 --qemu', /--qemu is for runs, leaves, not for walk/],
    [
      'info dump --within 0-1000',
      /--within is for runs, leaves, summary, compare, search, check, not for info/,
    ],
    ['compare dump dump --rights w', /--rights is for runs, leaves, summary, search, check, not for compare/],
    ['dump --rights rw', /--rights: "rw" is not made of u, w and x, with \+ or - between them/],
    ['dump --rights w-w', /--rights: "w-w" asks for w and against it/],
    ['dump --page-size 3m', /--page-size: "3m" is not 4k, 2m or 1g/],
    ['dump --memory mine', /--memory: "mine" is neither shared nor private/],
    ['dump --physical 1', /--physical: "1" is neither START-END nor START\+SIZE/],
    ['dump --all-roots', /--all-roots is for find, not for runs/],
    ['find dump', /find needs an address/],
    ['dump --qemu --json', /pass either --qemu or --json/],
    ['dump --levels 3', /--levels: "3" is not a decimal number from 4 to 5/],
    ['dump --levels', /argument missing/],
    ['dump --physical-bits 53', /--physical-bits: "53" is not a decimal number from 32 to 52/],
    ['dump --physical-bits 0x28', /--physical-bits: "0x28" is not a decimal number/],
    ['dump --vendor via', /--vendor: "via" is neither amd nor intel/],
    ['dump --c-bit 12', /--c-bit: "12" is not a decimal number from 32 to 51/],
    ['dump --c-bit 51 --vtom 46', /pass either --c-bit or --vtom/],
    ['dump --cr3 hello', /--cr3: "hello" is not a hexadecimal number/],
    ['dump --cpu -1', /argument is ambiguous/],
    ['dump --cpu 0 --cpu 1', /--cpu is given 2 times, for one file/],
    ['dump --within 1000', /--within: "1000" is neither START-END nor START\+SIZE/],
    ['dump --within 2000-1000', /the end must be above the start/],
    ['dump --within 1000-1fff', /multiples of 0x1000, and the end is exclusive/],
    ['dump --within fffffffffffff000+2000', /at most 2\^64/],
    ['rmp dump', /rmp needs --rmp or --rmp-file/],
    ['dump --asid 1', /--asid and --vmpl need --rmp or --rmp-file/],
    ['dump --mismatches', /--mismatches needs --rmp, --rmp-file or --nested/],
    ['dump --rmp 1000', /--rmp: "1000" is neither START-END nor START\+SIZE/],
    ['dump --rmp 1001-100000', /BASE must be a multiple of 0x1000/],
    ['dump --rmp 1000-5000', /END must be more than 0x4000 above BASE/],
    ['dump --rmp 1000/29', /--rmp: "29" is not a decimal number from 30 to 51/],
    ['dump --rmp 1/2/3', /give BASE-END or BASE\/SHIFT/],
    ['dump --rmp-file x --asid 1023', /--asid: "1023" is not a decimal number from 1 to 1022/],
    ['dump --rmp-file x --vmpl 4', /--vmpl: "4" is not a decimal number from 0 to 3/],
    [
      'read dump 0 10 --rmp-file x',
      /--rmp-file is for runs, leaves, translate, walk, find, compare, search, summary, check, rmp, not for read/,
    ],
    ['dump --nested 1000', /--nested: "1000" is not npt:NCR3, npt5:NCR3 or ept:EPTP/],
    ['dump --nested npt:x', /--nested: "x" is not a hexadecimal number/],
    ['compare a b --nested npt:0', /--nested is not for compare/],
    ['dump --nested-c-bit 47', /--nested-c-bit needs --nested/],
    ['dump --region stack', /--region: "stack" is not one of user, ldt, direct-map/],
    ['dump --region text --within 0-1000', /pass either --region or --within/],
    ['dump --ram 0-1000', /give START-END@OFFSET/],
    ['dump --ram 0-20000000000000@0', /addresses and offsets end at 2\^52/],
  ])('%j is refused with one line', (line, message) => {
    const parse = (): unknown => parseOptions(line.split(' ').filter((word) => word !== ''));
    expect(parse).toThrow(UsageError);
    expect(parse).toThrow(message);
  });
});

describe('a command line', () => {
  const parse = (line: string) => parseOptions(line.split(' '));

  test('without a command lists runs', () => {
    expect(parse('dump')).toMatchObject({ command: 'runs', files: ['dump'], json: false, within: undefined });
    expect(parse('runs runs')).toMatchObject({ command: 'runs', files: ['runs'] });
  });

  test('with --help has no other effect', () => {
    expect(parse('runs --help --json')).toBeUndefined();
  });

  test('makes a filter of rights, size, memory and physical range', () => {
    expect(parse('dump')?.filter).toBeUndefined();
    expect(parse('dump --rights w+x')?.filter).toEqual({ writable: true, executable: true });
    expect(parse('dump --rights=-x+u')?.filter).toEqual({ executable: false, user: true });
    expect(parse('dump --page-size 2M --memory private --physical 1000+2000')?.filter).toEqual({
      pageSize: 2 ** 21,
      shared: false,
      physical: { start: 0x1000n, end: 0x3000n },
    });
  });

  test('accepts hexadecimal numbers with or without 0x, and ranges up to 2^64', () => {
    expect(parse('translate dump ffff_8000_0000_0000 0X1f')?.addresses).toEqual([
      0xffff_8000_0000_0000n,
      0x1fn,
    ]);
    const top = { start: 0xffff_ffff_ffff_f000n, end: 1n << 64n };
    expect(parse('dump --within fffffffffffff000-10000000000000000')?.within).toEqual(top);
    expect(parse('dump --within 0xfffffffffffff000+1000')?.within).toEqual(top);
    expect(parse('dump --ram 100000000-1c0000000@c0000000')?.ram).toEqual([
      { paddr: 2 ** 32, size: 0xc000_0000, offset: 0xc000_0000 },
    ]);
  });

  test('sets a CR3 for each of two dumps, or the same for both', () => {
    const both = parse('compare old new --cr3 1000 --cpu 1 --cpu 2 --no-nx')?.views;
    expect(both).toMatchObject([
      { cr3: 0x1000n, cpu: 1, noNx: true },
      { cr3: 0x1000n, cpu: 2, noNx: true },
    ]);
  });
});
