/*
 * The init of a guest with many small pages: of 16 GiB, 15 GiB of addresses that read the zero page, and 512 MiB of its own
 * memory. The kernel passes the number of GiB in the environment.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>
int main(void) {
  unsigned long gib = strtoul(getenv("gib"), 0, 10);
  unsigned long zero = (gib - 1) << 30, own = gib << 25;
  int m = open("/qemu_fw_cfg.ko", O_RDONLY);
  /* With it, QEMU writes VMCOREINFO into the dump. */
  printf("module %ld\n", syscall(SYS_finit_module, m, "", 0));
  mount("proc", "/proc", "proc", 0, "");
  char *z = mmap(0, zero, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  madvise(z, zero, MADV_NOHUGEPAGE);
  madvise(z, zero, 22 /* MADV_POPULATE_READ */);
  char *o = mmap(0, own, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(o, own, MADV_NOHUGEPAGE);
  for (unsigned long i = 0; i < own; i += 4096) o[i] = i >> 12;
  printf("READY %p %p\n", z, o);
  fflush(stdout);
  for (;;) __asm__ volatile("pause");
}
