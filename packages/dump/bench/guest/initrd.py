"""Writes an initrd (cpio, newc) with init and qemu_fw_cfg.ko to standard output: initrd.py INIT MODULE."""
import sys


def entry(name, data, mode, inode, device=(0, 0)):
    text = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(text), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + text
    head += b"\0" * (-len(head) % 4)
    return head + data + b"\0" * (-len(data) % 4)


init, module = (open(path, "rb").read() for path in sys.argv[1:3])
sys.stdout.buffer.write(
    entry("proc", b"", 0o40755, 1)
    + entry("dev", b"", 0o40755, 2)
    + entry("dev/console", b"", 0o20600, 3, (5, 1))
    + entry("init", init, 0o100755, 4)
    + entry("qemu_fw_cfg.ko", module, 0o100644, 5)
    + entry("TRAILER!!!", b"", 0, 0)
)
