/** The text of `--help`. */
export const HELP = `Usage: svsm-dump [COMMAND] FILE... [OPTIONS]

Walks the page tables in a memory dump of an x86-64 machine.

Commands:
  runs FILE               list contiguous mappings, by address (the default)
  leaves FILE             list each page, with the bits of its entry
  translate FILE [ADDR...]  translate addresses; reads them from standard
                          input if none is given
  walk FILE ADDR...       show the walk for an address, level by level
  find FILE PADDR...      show all virtual addresses of physical ones, also
                          inside large pages; with --all-roots, of all
                          processes
  compare OLD NEW         list what was mapped, unmapped, remapped or changed
  read FILE ADDR LENGTH   print bytes at virtual addresses
  search FILE PATTERN     find bytes in mapped memory, by virtual address:
                          deadbeef, or text:WORDS
  check FILE              list what a sound system does not have: writable and
                          executable pages, kernel pages of user mode, aliases
                          of page tables, code and tables in shared memory
  summary FILE            print totals by page size and rights, and warnings
  roots FILE              find all top tables (CR3) by their content, with a
                          score; of a raw image too, without --cr3
  info FILE               show format, registers of each CPU, memory in the file

Files are recognized by their first bytes. They may be gzipped, or a pipe:
  ELF core                of QEMU's dump-guest-memory, with or without -p;
                          of a kernel: /proc/vmcore, makedumpfile -E
  kdump-compressed        of makedumpfile (also flattened, -F), and of
                          dump-guest-memory -z, -l, -s
  LiME, AVML              images without registers: see roots
  PTFRAME1                page tables only
  SPARSE01                one of the others, without its zeros
  any other               a raw memory image; needs --cr3. Known files of
                          other kinds are refused by name

Options:
  --json                  print JSON Lines: one object a line
  --qemu                  print leaves as QEMU's 'info tlb', runs as its
                          'info mem'
  --format hex|strings|raw  how read prints bytes (default: hex)
  --within START-END      list only these virtual addresses; END is exclusive.
                          Or START+SIZE
  --rights R              list only pages with these rights: w+x (writable and
                          executable), u-w (user, not writable); --rights=-x
  --page-size 4k|2m|1g    list only pages of this size
  --memory shared|private list only pages that are shared, or private
  --physical START-END    list only pages in this physical memory, or parts
                          of runs; or START+SIZE
  --all                   list even what aliased tables make extremely long
  --all-roots             find looks in all top tables that 'roots' finds
  --cpu N                 use the CR3 of this CPU, counted from 0 (default 0)
  --cr3 VALUE             use this CR3. compare takes --cr3 and --cpu twice:
                          for OLD, then for NEW
  --cr4 VALUE             use this CR4 (LA57, PGE)
  --levels 4|5            levels of the tables, whatever CR4 says
  --physical-bits N       MAXPHYADDR, 32 to 52 (default: of the file, else 52)
  --no-nx                 EFER.NXE is 0: bit 63 of an entry is reserved
  --vendor amd|intel      amd: bit 8 of a PML4E or PML5E is reserved
                          (default intel: ignored)
  --c-bit N               pages with bit N set are private, others shared
  --vtom N                addresses from 2^N on are shared, those below private
  --raw                   read the file as a raw image, whatever it begins with
  --ram START-END@OFFSET  memory that a raw image has from byte OFFSET on;
                          repeat it for each range (default: all, from 0 on,
                          with the hole below 4 GiB that fits the tables)
  --completion SHELL      print a script that completes commands and options
                          in bash, zsh or fish
  --version               print the version
  --help                  print this help

Addresses and sizes are hexadecimal, with or without 0x; N is decimal.

Exit codes:
  0  success
  1  success; the dumps differ, check found something, an address is not
     mapped, or nothing that was asked for is mapped or found
  2  wrong usage
  3  a file cannot be opened, or has a wrong format
  4  success, but page tables are corrupted, outside memory, empty, or do not
     look like page tables; each place is reported
  70 a bug in svsm-dump
`;
