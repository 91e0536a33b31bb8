/**
 * An address: at run time a `bigint`, to the compiler a `bigint` with the name of its kind. The brand is a string-keyed
 * property that exists only in types, so two installed copies of this package agree on it, and arithmetic (`a + 1n`)
 * drops it.
 *
 * `Address` without a name is an address of any kind. A package that defines a kind gives its type a name:
 * `type SysPhysAddr = Address<'sys-phys'>`, together with `defineAddressKind<SysPhysAddr>(…)`.
 */
export type Address<Name extends string = string> = bigint & { readonly '__address:@svsm': Name };

/** A canonical virtual address, as the 64-bit value that registers hold: `0xffff_8000_0000_0000n`. */
export type VirtAddr = Address<'virt'>;

/** A physical address below 2^52; inside a guest, a guest-physical one. It never carries an encryption bit. */
export type PhysAddr = Address<'phys'>;

/** A count of bytes. A `number` must be a safe integer. */
export type Bytes = number | bigint;
