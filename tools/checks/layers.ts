/** The packages and, within the large ones, the rooms: the purpose of each, and the imports that it may have. */

/** A package. */
export interface Layer {
  /** The packages that it may import. Their rows are above this one. */
  readonly imports: readonly string[];
  /** The folders of `src`, lowest first. A package without rooms keeps its files in `src` itself. */
  readonly rooms?: Readonly<Record<string, Room>>;
}

/** A folder of `src`. Its tests are in the folder of the same name in `test`. */
interface Room {
  /** The content of the room, in one line. DESIGN.md of the package repeats it. */
  readonly charter: string;
  /** The rooms of the same package that it may import. Their rows are above this one. */
  readonly imports: readonly string[];
  /** The room uses the modules of Node. The package's main entry point does not export it. */
  readonly platform?: 'node';
}

/** Lowest first: an import only goes to a row above. Every package and every room has one row, and every row has a folder. */
export const LAYERS: Readonly<Record<string, Layer>> = {
  address: { imports: [] },
  'memory-region': { imports: ['address'] },
  'buddy-alloc': {
    imports: ['address', 'memory-region'],
    rooms: {
      pages: { charter: 'values about pages and blocks, and the errors', imports: [] },
      tree: { charter: 'the buddy algorithm, in page numbers', imports: ['pages'] },
      allocator: {
        charter: 'the allocator of pages: blocks, runs, regions, owners',
        imports: ['pages', 'tree'],
      },
      objects: { charter: 'objects smaller than a page', imports: ['pages', 'allocator'] },
      shared: { charter: 'the allocator in a SharedArrayBuffer', imports: ['pages'] },
    },
  },
  pagetable: {
    imports: ['address', 'memory-region'],
    rooms: {
      entry: { charter: 'one entry, one address, one configuration: the meaning of each bit', imports: [] },
      memory: {
        charter: 'where tables are stored, who owns the frames, loops over one table',
        imports: ['entry'],
      },
      walk: {
        charter: 'reading tables: to one entry, over all leaves, as the MMU, through a TLB',
        imports: ['entry', 'memory'],
      },
      edit: {
        charter: 'changing entries: one page by the cursor, a region in two passes',
        imports: ['entry', 'memory', 'walk'],
      },
      table: {
        charter: 'the objects that users hold: page tables, parts, ownership',
        imports: ['entry', 'memory', 'walk', 'edit'],
      },
    },
  },
  'sev-snp': {
    imports: ['address', 'memory-region', 'pagetable'],
    rooms: {
      formats: {
        charter: 'bytes and bits that cross a boundary: values, encoders, decoders; no state, no machine',
        imports: [],
      },
      memory: {
        charter:
          'DRAM behind keys, nested page tables, free frames, the memory of guests, ranges that are alike',
        imports: ['formats'],
      },
      rmp: {
        charter: "the table, the check of each access, and the host's instructions on it",
        imports: ['formats', 'memory'],
      },
      firmware: {
        charter:
          'what the secure processor does: contexts of guests and their keys, ASIDs, launch, reclaim, swap',
        imports: ['formats', 'rmp', 'memory'],
      },
      cpu: {
        charter: "a guest's processor: registers, two walks, checks, VMRUN, and the instructions of a guest",
        imports: ['formats', 'rmp', 'memory', 'firmware'],
      },
      guest: {
        charter: 'the software in a guest: GHCB requests, page states, visibility, calls to the SVSM',
        imports: ['formats', 'rmp', 'memory', 'firmware', 'cpu'],
      },
      svsm: {
        charter: 'the SVSM that answers calls of the core protocol',
        imports: ['formats', 'rmp', 'memory', 'cpu', 'guest'],
      },
      host: {
        charter: 'the hypervisor, honest or hostile, and the machine that it owns',
        imports: ['formats', 'rmp', 'memory', 'firmware', 'cpu', 'guest'],
      },
    },
  },
  dump: {
    imports: ['address', 'memory-region', 'pagetable', 'sev-snp'],
    rooms: {
      source: { charter: 'bytes that are read by position, the errors, notices and progress', imports: [] },
      formats: {
        charter: 'file formats: from bytes to physical memory and registers',
        imports: ['source'],
      },
      backing: {
        charter: 'what lies below physical memory: nested page tables, and the RMP',
        imports: ['source', 'formats'],
      },
      view: {
        charter: 'the page tables of a dump: listings, walks, totals and comparisons, as records',
        imports: ['source', 'formats', 'backing'],
      },
      node: {
        charter: 'dumps in files: by position, from pipes, compressed',
        imports: ['source', 'formats'],
        platform: 'node',
      },
      command: {
        charter: 'the command svsm-dump: options, output formats, the terminal',
        imports: ['source', 'formats', 'backing', 'view', 'node'],
        platform: 'node',
      },
    },
  },
  mm: {
    imports: ['address', 'memory-region', 'buddy-alloc', 'pagetable', 'sev-snp'],
    rooms: {
      formats: { charter: 'the errors, the events, and the names of the steps', imports: [] },
      layout: {
        charter: 'what lies where: virtual addresses, the direct map, guest-physical memory',
        imports: ['formats'],
      },
      cpu: {
        charter: 'processors: ranges of addresses, mappings for a time, flushes',
        imports: ['formats', 'layout'],
      },
      visibility: {
        charter: 'which pages the hypervisor sees: sharing pages, taking them back, lost pages',
        imports: ['formats', 'layout', 'cpu'],
      },
      vm: {
        charter: 'virtual memory regions: mappings at addresses, and their page faults',
        imports: ['formats'],
      },
      guest: {
        charter: 'the guest: its memory, used for a moment, and the calls that it makes',
        imports: ['formats', 'cpu'],
      },
      boot: {
        charter: 'the boot, step by step, and the SVSM, which composes all',
        imports: ['formats', 'layout', 'cpu', 'visibility', 'guest'],
      },
    },
  },
};

/** Folders of `test` that are not rooms: helpers, recorded data, and tests of the package as a whole. */
export const TEST_FOLDERS: readonly string[] = ['support', 'fixtures', 'package'];

/** The maximum number of lines of a file in `src`: beyond some 400 lines it holds a second noun. */
export const MAX_LINES = 450;
