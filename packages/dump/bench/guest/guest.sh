#!/bin/sh
# Makes the dumps of a guest of 16 GiB, or another size, and compares svsm-dump with QEMU, drgn and crash on them:
#
#   sh guest.sh FOLDER [GIB]
#
# GIB is 2 or more. It needs Debian's qemu-system-x86, crash and python3-drgn, gcc, time, two and a half times GIB of disk, and in
# FOLDER the unpacked linux-image-cloud-amd64 (dpkg -x) and, for crash, the vmlinux of its -dbg package as FOLDER/vmlinux.
set -e
gib=${2:-16}
here=$(cd "$(dirname "$0")" && pwd)
dump="node $here/../../dist/command/main.js"
cd "$1"
rm -f serial.log

gcc -O1 -static -o init "$here/init.c"
module=$(find . -name 'qemu_fw_cfg.ko*' -not -path '*/debug/*')
case $module in *.xz) xz -dc "$module" > module.ko ;; *) cp "$module" module.ko ;; esac
python3 "$here/initrd.py" init module.ko | gzip > initrd.gz
qemu-system-x86_64 -accel tcg,thread=single -cpu max,la57=off -m "${gib}G" -smp 1 -machine pc -display none -net none \
  -kernel "$(find . -name 'vmlinuz-*')" -initrd initrd.gz -device vmcoreinfo \
  -append 'console=ttyS0 panic=-1 loglevel=5 pti=on transparent_hugepage=never gib='"$gib" \
  -serial file:serial.log -monitor unix:monitor,server,nowait &
qemu=$!
trap 'kill $qemu 2> /dev/null || true' EXIT
until grep -qs READY serial.log; do
  kill -0 $qemu || exit 1
  sleep 2
done
monitor() { python3 "$here/monitor.py" monitor "$@"; }
monitor stop 'info registers' > registers.txt
monitor 'dump-guest-memory -z guest.kdump' 'dump-guest-memory guest.core' > /dev/null
monitor 'info tlb' | tr -d '\r' | grep -a '^[0-9a-f]\{16\}: ' > tlb.txt
monitor quit > /dev/null || true
cr3=$(sed -n 's/.*CR3=\([0-9a-f]*\).*/\1/p' registers.txt)
kernel=$(printf %x $((0x$cr3 & ~0x1000)))

# Every leaf, as QEMU lists it.
for file in guest.core guest.kdump; do
  /usr/bin/time $dump leaves $file --qemu | grep -v '^#' | cmp - tlb.txt && echo "$file: as info tlb"
done

# The same addresses by a script of drgn.
/usr/bin/time python3 "$here/leaves_drgn.py" guest.core "$cr3" > drgn.txt
cut -c1-34 tlb.txt | cmp - drgn.txt && echo 'drgn: the same pages'

# Translations of 10,000 addresses of the direct map by crash.
first=$($dump runs guest.core --cr3 "$kernel" --region direct-map | grep -m 1 -o '^0x[0-9a-f]*')
python3 -c "
import random
random.seed(1)
for _ in range(10000): print('%x' % ($first + random.randrange(0x100000, 0x80000000)))" > addresses.txt
/usr/bin/time $dump translate guest.core --cr3 "$kernel" < addresses.txt | grep '^0x' | awk '{print substr($1, 3), substr($2, 3)}' |
  sed 's/ 0*/ /' > translated.txt
(sed 's/^/vtop -k /' addresses.txt; echo quit) > vtop.txt
/usr/bin/time crash -s vmlinux guest.core < vtop.txt > crash.txt 2> crash.log || true
grep -A1 '^VIRTUAL' crash.txt | grep -v '^VIRTUAL\|^--' | awk '{print $1, $2}' | cmp - translated.txt && echo 'crash: the same translations'

/usr/bin/time $dump find guest.core 1000123 --cr3 "$kernel"
/usr/bin/time $dump find guest.core 1000123 --all-roots
/usr/bin/time $dump roots guest.core | tail -1
