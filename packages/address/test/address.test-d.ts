/** Compiled, never run: what the compiler must accept, and what it must refuse. */
import {
  type Address,
  type AddressKind,
  alignDown,
  assertIsPhysAddr,
  assertIsVirtAddr,
  type Bytes,
  defineAddressKind,
  distance,
  formatAddress,
  isPhysAddr,
  isVirtAddr,
  PAGE_SIZE,
  PageSize,
  Phys,
  type PhysAddr,
  pageNumber,
  pageTableIndex,
  physAddr,
  type tryVirtAddr,
  Virt,
  Virt57,
  type VirtAddr,
  virtAddr,
} from '../src/index.ts';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function check<_ extends true>(): void {}

declare const virt: VirtAddr;
declare const phys: PhysAddr;
declare const unknown: unknown;
declare function takesVirt(address: VirtAddr): void;
declare function takesPhys(address: PhysAddr): void;
declare function takesAny(address: Address): void;
declare function takesBigint(value: bigint): void;

// The two kinds cannot be mixed, and no value becomes an address by itself.
takesVirt(virt);
takesPhys(phys);
// @ts-expect-error a physical address is not a virtual one
takesVirt(phys);
// @ts-expect-error a virtual address is not a physical one
takesPhys(virt);
// @ts-expect-error a plain bigint has not been checked
takesVirt(0x1000n);
// @ts-expect-error a plain bigint has not been checked
takesPhys(0x1000n);
// @ts-expect-error a plain bigint is not an address of any kind
takesAny(0x1000n);
// @ts-expect-error a number is not an address
takesVirt(0x1000);
// @ts-expect-error a number is not an address
takesPhys(0x1000);
// @ts-expect-error text has to be parsed first
takesVirt('0x1000');

// An address is a bigint wherever a bigint is wanted, and an address of some kind.
takesBigint(virt);
takesAny(virt);
takesAny(phys);
takesVirt(virtAddr(0x1000));
takesVirt(virtAddr(0x1000n));
takesPhys(physAddr(0x1000));
// @ts-expect-error an address of any kind need not be virtual
takesVirt(virt as Address);

// Arithmetic with operators loses the brand; the kind's methods keep it.
check<Equal<typeof sum, bigint>>();
const sum = virt + 1n;
// @ts-expect-error a sum need not be an address: Virt.add checks it
takesVirt(virt + 1n);
// @ts-expect-error a masked address has lost its brand: alignDown keeps it
takesVirt(virt & ~0xfffn);
// @ts-expect-error a bigint and a number do not add
virt + 1;
takesVirt(Virt.add(virt, 1));
takesVirt(Virt57.add(virt, 1n));
takesVirt(alignDown(virt, PAGE_SIZE));
takesPhys(alignDown(phys, PageSize.Huge));
// @ts-expect-error the result may be undefined
takesVirt(Virt.checkedAdd(virt, 1));
// @ts-expect-error Virt adds to virtual addresses
Virt.add(phys, 1);
// @ts-expect-error Phys yields physical addresses
takesVirt(Phys.address(0));
// @ts-expect-error a byte count is not text
Virt.add(virt, '1');
check<Equal<ReturnType<typeof Virt.checkedAdd>, VirtAddr | undefined>>();
check<Equal<ReturnType<typeof tryVirtAddr>, VirtAddr | undefined>>();
check<Equal<Bytes, number | bigint>>();

// Functions for any kind take both, but two addresses must be of one kind.
formatAddress(virt);
formatAddress(2n ** 64n);
check<Equal<ReturnType<typeof pageNumber>, number>>();
pageNumber(phys);
distance(virt, virt);
// @ts-expect-error there is no distance between a virtual and a physical address
distance(virt, phys);
// @ts-expect-error there is no distance in the other direction either
distance(phys, virt);
pageTableIndex(virt, 3);
// @ts-expect-error only virtual addresses index page tables
pageTableIndex(phys, 3);

// Guards narrow, from unknown and from bigint.
if (isVirtAddr(unknown)) takesVirt(unknown);
if (isPhysAddr(sum)) takesPhys(sum);
if (Virt.isAddress(unknown)) takesVirt(unknown);
// @ts-expect-error a guard for physical addresses does not narrow to a virtual one
if (isPhysAddr(unknown)) takesVirt(unknown);

// Assertions narrow what follows.
export function asserted(first: unknown, second: unknown, third: unknown): void {
  // @ts-expect-error nothing has been asserted yet
  takesVirt(first);
  assertIsVirtAddr(first);
  takesVirt(first);
  assertIsPhysAddr(second);
  takesPhys(second);
  // @ts-expect-error it was asserted to be physical
  takesVirt(second);
  Virt57.assertIsAddress(third);
  takesVirt(third);
}

// A third kind, defined as another package does, is kept apart from both.
type SysPhysAddr = Address<'sys-phys'>;
const SysPhys: AddressKind<SysPhysAddr> = defineAddressKind({
  name: 'system-physical',
  bits: 52,
  signExtended: false,
});
const spa: SysPhysAddr = SysPhys.address(0x1000);
takesAny(spa);
// @ts-expect-error a system-physical address is not a guest-physical one
takesPhys(spa);
// @ts-expect-error a guest-physical address is not a system-physical one
SysPhys.add(phys, 1);
takesKind(SysPhys);
takesKind(Virt);
declare function takesKind(kind: AddressKind<Address>): void;

// The key of the brand is a string, so another installed copy of the package has the same types. These are its types.
type VirtAddrOfACopy = bigint & { readonly '__address:@svsm': 'virt' };
type PhysAddrOfACopy = bigint & { readonly '__address:@svsm': 'phys' };
declare const virtOfACopy: VirtAddrOfACopy;
declare const physOfACopy: PhysAddrOfACopy;
takesVirt(virtOfACopy);
takesPhys(physOfACopy);
virt satisfies VirtAddrOfACopy;
phys satisfies PhysAddrOfACopy;
// @ts-expect-error a physical address of another copy is not a virtual one either
takesVirt(physOfACopy);

// Page sizes are the three literals.
check<Equal<PageSize, 0x1000 | 0x20_0000 | 0x4000_0000>>();
4096 satisfies PageSize;
// @ts-expect-error 8 KiB is not a page size of x86-64
8192 satisfies PageSize;
// @ts-expect-error page sizes are constants
PageSize.Regular = 0x20_0000;
// @ts-expect-error a kind is immutable
Virt.end = 0n;
