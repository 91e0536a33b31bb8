/* The init of a guest with 4 million small pages: 15 GiB of addresses that read the zero page, and 512 MiB of its own memory. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>
int main(void) {
  unsigned long zero = 15UL << 30, own = 512UL << 20;
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
