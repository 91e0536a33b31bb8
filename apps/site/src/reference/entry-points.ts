import { documentedDoorsOf, PACKAGES } from '../packages.ts';

/** A module of the reference: its source and its name. */
export interface EntryPoint {
  /** The path of the module's source, from the root of the repository. */
  readonly source: string;
  /** The path of its page below `api`: `sev-snp/rmp`. */
  readonly path: string;
}

/** The modules of all packages. */
export function entryPoints(): EntryPoint[] {
  return PACKAGES.flatMap(documentedDoorsOf).map(({ package: name, room }) => ({
    source: `packages/${name}/src/${room ? `${room}/` : ''}index.ts`,
    path: room ? `${name}/${room}` : name,
  }));
}
