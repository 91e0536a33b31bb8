/** The guides, in the order in which they are offered. A test compares the list with the files. */

export interface Guide {
  /** The name of the file in `content/guide`, without `.md`. */
  readonly name: string;
  readonly title: string;
  /** One sentence for lists of guides. */
  readonly summary: string;
}

export const GUIDES: readonly Guide[] = [
  {
    name: 'share-four-pages',
    title: 'Share four pages',
    summary:
      'The question on the mailing list, and its answer: allocate four contiguous pages and share them with the hypervisor.',
  },
  {
    name: 'addresses-and-regions',
    title: 'Addresses and regions in ten minutes',
    summary:
      'Addresses as types, arithmetic that reports overflow, regions that iterate over their pages, sets and maps of regions.',
  },
  {
    name: 'choose-an-order',
    title: 'Choose an order',
    summary:
      'How many pages an allocation of a given size takes, what it wastes, and when a run of pages is better.',
  },
  {
    name: 'allocate-in-your-memory',
    title: 'An allocator over your own memory',
    summary:
      'A page allocator and a heap in the memory of a WebAssembly module, and an allocator that several workers share.',
  },
  {
    name: 'read-a-memory-dump',
    title: 'Page tables of a memory dump',
    summary:
      'Open the page tables in a dump from CR3, walk an address entry by entry, and list what is mapped.',
  },
  {
    name: 'write-an-svsm',
    title: 'Write an SVSM',
    summary:
      'Boot the memory management of an SVSM in a guest, map memory for a time, share pages, and serve calls of the guest.',
  },
  {
    name: 'attack-a-guest',
    title: 'Attack a guest',
    summary: 'Let a hostile hypervisor replay, remap and lie, and see which check stops each attack.',
  },
  {
    name: 'errors',
    title: 'Handle errors',
    summary: 'Coded errors: how a program tells them apart, and what they promise.',
  },
];
