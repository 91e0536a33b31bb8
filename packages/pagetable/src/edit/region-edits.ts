import type { TableSpace } from '../walk/table-space.ts';
import { ChangeEdit } from './change-edit.ts';
import { MapEdit } from './map-edit.ts';
import { UnmapEdit } from './unmap-edit.ts';

/**
 * The edits of regions for one page table or part, one of each kind. They are made at their first use and stay: once a garbage
 * collection or two have found no object of a class, an engine throws the code away that it has made for the class.
 */
export class RegionEdits {
  readonly #space: TableSpace;
  readonly #freesEmpty: boolean;
  #map: MapEdit | undefined;
  #unmap: UnmapEdit | undefined;
  #change: ChangeEdit | undefined;

  /** @param freesEmpty - whether tables that lose their last entry are given back */
  constructor(space: TableSpace, freesEmpty: boolean) {
    this.#space = space;
    this.#freesEmpty = freesEmpty;
  }

  get map(): MapEdit {
    this.#map ??= new MapEdit(this.#space);
    return this.#map;
  }

  get unmap(): UnmapEdit {
    this.#unmap ??= new UnmapEdit(this.#space, this.#freesEmpty);
    return this.#unmap;
  }

  get change(): ChangeEdit {
    this.#change ??= new ChangeEdit(this.#space);
    return this.#change;
  }
}
