/** What `--help` prints. */
export const HELP = `Usage: npm run -s dump-walk -- [COMMAND] FILE... [OPTIONS]

The page tables in a dump of x86-64: what is mapped where, with which rights.

Commands:
  runs FILE               runs of pages that follow one another (the default)
  leaves FILE             page by page, with the bits of each leaf
  translate FILE [ADDR...]  what addresses are mapped to; from standard input if
                          none is given
  walk FILE ADDR...       the walk for an address, level by level, bit by bit
  compare OLD NEW         what was mapped, unmapped, remapped, or changed
  summary FILE            totals by page size and rights, and warnings
  info FILE               format, registers of each CPU, memory in the file

Files, told apart by how they begin, also gzipped, or through a pipe:
  ELF core                of QEMU's dump-guest-memory, with or without -p
  PTFRAME1                page tables alone
  SPARSE01                one of the others, thinned
  anything else           a raw image of memory, if --cr3 is given

Options:
  --json                  JSON Lines: one object a line
  --qemu                  leaves as QEMU's 'info tlb', runs as its 'info mem'
  --within START-END      only these virtual addresses; END is exclusive
                          (or START+SIZE)
  --all                   list even what aliased tables make absurdly long
  --cpu N                 the CR3 of this CPU, counted from 0 (default 0)
  --cr3 VALUE             this CR3 instead; compare takes --cr3 and --cpu twice:
                          for OLD, then for NEW
  --cr4 VALUE             this CR4 instead (LA57, PGE)
  --levels 4|5            levels of tables, whatever CR4 says
  --physical-bits N       MAXPHYADDR, 32 to 52 (default: of the file, else 52)
  --no-nx                 EFER.NXE is 0: bit 63 of an entry is reserved
  --vendor amd|intel      amd: bit 8 of a PML4E or PML5E is reserved
                          (default intel: ignored)
  --c-bit N               pages with bit N are private, without it shared
  --vtom N                addresses from 2^N on are shared, below it private
  --raw                   the file is a raw image, whatever it begins with
  --ram START-END@OFFSET  what a raw image holds from byte OFFSET on; repeat it
                          for each range. If not given: all of it from 0 on
  --help                  print this

Addresses and sizes are hexadecimal, with or without 0x; N is decimal.

Exit codes:
  0  done
  1  done: the dumps differ, or an address is not mapped
  2  wrong use
  3  a file cannot be opened, or is not what it should be
  4  done, but tables were corrupted or outside memory: each place was reported
  70 a mistake of dump-walk itself
`;
