"""Lists the leaves of a page table of 4 levels with drgn, which reads the tables by physical address: leaves_drgn.py DUMP CR3."""
import struct
import sys

from drgn import Program

ADDRESS = 0x000FFFFFFFFFF000
program = Program()
program.set_core_dump(sys.argv[1])


def walk(table, level, start):
    for i, entry in enumerate(struct.unpack("<512Q", program.read(table, 4096, physical=True))):
        if not entry & 1:
            continue
        virtual = start | i << (12 + 9 * level)
        if level == 3 and i >= 256:
            virtual |= 0xFFFF << 48
        if level == 0 or (level <= 2 and entry & 0x80):
            page = entry & ADDRESS & ~((1 << (12 + 9 * level)) - 1)
            sys.stdout.write("%016x: %016x\n" % (virtual, page))
        else:
            walk(entry & ADDRESS, level - 1, virtual)


walk(int(sys.argv[2], 16) & ADDRESS, 3, 0)
