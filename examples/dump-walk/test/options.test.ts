import { describe, expect, test } from 'vitest';
import { parseOptions } from '../src/options.ts';
import { UsageError } from '../src/problem.ts';

describe('wrong use', () => {
  test.each<[string, RegExp]>([
    ['', /^runs needs a file; --help tells more$/],
    ['compare old', /compare needs two files/],
    ['runs dump more', /runs has no use for "more"/],
    ['walk dump', /walk needs an address/],
    ['walk dump xyz', /an address cannot be "xyz": give it in hexadecimal, 64 bits at most/],
    ['walk dump 10000000000000000', /64 bits at most/],
    ['walk dump _', /give it in hexadecimal/],
    ['walk dump 1000 --qemu', /--qemu is for runs, leaves, not for walk/],
    ['info dump --within 0-1000', /--within is for runs, leaves, summary, compare, not for info/],
    ['dump --qemu --json', /choose either --qemu or --json/],
    ['dump --levels 3', /--levels cannot be "3": 4 to 5/],
    ['dump --levels', /argument missing/],
    ['dump --physical-bits 53', /--physical-bits cannot be "53": 32 to 52, in decimal/],
    ['dump --physical-bits 0x28', /--physical-bits cannot be "0x28"/],
    ['dump --vendor via', /--vendor cannot be "via": amd or intel/],
    ['dump --c-bit 12', /--c-bit cannot be "12": 32 to 51/],
    ['dump --c-bit 51 --vtom 46', /choose either --c-bit or --vtom/],
    ['dump --cr3 hello', /--cr3 cannot be "hello"/],
    ['dump --cpu -1', /argument is ambiguous/],
    ['dump --cpu 0 --cpu 1', /--cpu is given 2 times, for one file/],
    ['dump --within 1000', /--within cannot be "1000": give START-END or START\+SIZE/],
    ['dump --within 2000-1000', /it ends before it begins/],
    ['dump --within 1000-1fff', /multiples of 4096, and the end is exclusive/],
    ['dump --within fffffffffffff000+2000', /it ends before it begins/],
    ['dump --ram 0-1000', /give START-END@OFFSET/],
    ['dump --ram 0-20000000000000@0', /no memory is that large/],
  ])('%j is refused in one line', (line, message) => {
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

  test('with --help asks for nothing else', () => {
    expect(parse('runs --help --json')).toBeUndefined();
  });

  test('takes numbers in hexadecimal, with or without 0x, and ranges to the very end', () => {
    expect(parse('translate dump ffff_8000_0000_0000 0X1f')?.addresses).toEqual([
      0xffff_8000_0000_0000n,
      0x1fn,
    ]);
    const top = { start: 0xffff_ffff_ffff_f000n, end: 1n << 64n };
    expect(parse('dump --within fffffffffffff000-10000000000000000')?.within).toEqual(top);
    expect(parse('dump --within 0xfffffffffffff000+1000')?.within).toEqual(top);
    expect(parse('dump --ram 100000000-1c0000000@c0000000')?.ram).toEqual([
      { paddr: 2 ** 32, size: 0xc000_0000, offset: 0xc000_0000, name: '--ram 100000000-1c0000000@c0000000' },
    ]);
  });

  test('gives each of two dumps its own CR3, or both the same', () => {
    const both = parse('compare old new --cr3 1000 --cpu 1 --cpu 2 --no-nx')?.views;
    expect(both).toMatchObject([
      { cr3: 0x1000n, cpu: 1, noNx: true },
      { cr3: 0x1000n, cpu: 2, noNx: true },
    ]);
  });
});
