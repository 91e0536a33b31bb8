/** The text of `--help`. */
export const HELP = `Usage: npm run -s launch-digest -- [OPTIONS]

Computes the launch measurement of an SEV-SNP guest, as its attestation report
has it. Without a file, it measures a small image that it makes itself.

Image, one of:
  --ovmf FILE             a firmware image: OVMF.fd or OVMF_CODE.fd
  --ovmf FILE --svsm FILE an SVSM binary below the firmware; needs
                          --vars-size or --vars-file
  --igvm FILE             an IGVM file

Launch:
  --vcpus N               the number of processors, 1 to 4096 (default 1; with
                          --igvm: only those of the file)
  --vcpu-type MODEL       the processor of QEMU (default EPYC-v4)
  --vcpu-sig VALUE        EAX of CPUID function 1, in place of a model
  --vmm qemu|ec2|gce      the software that launches it (default qemu)
  --guest-features VALUE  SEV_FEATURES (default 0x1); 0x21 with debug swap, the
                          default of Linux 6.6 to 6.7
  --kernel FILE           a kernel that QEMU boots directly, with
  --initrd FILE           its initrd, and
  --append TEXT           its command line
  --vars-size BYTES       the size of OVMF_VARS.fd, below the firmware
  --vars-file FILE        OVMF_VARS.fd itself, for its size
  --zero-pages normal|zero  how the loader of an IGVM file adds pages without
                          data (default normal; newer QEMU and Vanadium: zero)
  --vmsas in-order|last   when it adds VMSAs (default last, as KVM does)

Output:
  --pages                 list the pages before the digest
  --json                  print one JSON object
  --help                  print this help

Values are decimal, or hexadecimal with 0x.

Exit codes:
  0  success
  1  success; the ID block of the IGVM file expects another digest
  2  wrong usage
  3  a file cannot be read, or is malformed
  70 a bug in launch-digest
`;
