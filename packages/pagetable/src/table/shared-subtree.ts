import type { CallGuard } from '../memory/call-guard.ts';

/** A page table that shares a subtree, from the view of {@link SharedSubtree}. */
export interface Sharer {
  readonly guard: CallGuard;
  /** Indexes of root entries whose tables have another owner. */
  readonly foreign: Set<number>;
  /** Indexes of root entries whose table is not freed when it is empty. */
  readonly kept: Set<number>;
  /** The subtrees that it shares, by the index of their root entry. */
  readonly shares: Map<number, SharedSubtree>;
}

/**
 * The tables below one root entry that several page tables share, since one is a clone of another. Its first member owns them:
 * when that one is destroyed, the next one does. So the page tables can be destroyed in any order.
 */
export class SharedSubtree {
  readonly #index: number;
  readonly #members: Set<Sharer> = new Set();

  constructor(index: number, first: Sharer) {
    this.#index = index;
    this.join(first);
  }

  join(member: Sharer): void {
    if (this.#members.size > 0 && !this.#members.has(member)) member.foreign.add(this.#index);
    this.#members.add(member);
    // An empty table stays: the other root entries lead to it too.
    member.kept.add(this.#index);
    member.shares.set(this.#index, this);
    this.#linkGuards();
  }

  leave(member: Sharer): void {
    this.#members.delete(member);
    const [owner] = this.#members;
    member.shares.delete(this.#index);
    owner?.foreign.delete(this.#index);
    if (owner !== undefined && this.#members.size === 1) {
      owner.kept.delete(this.#index);
      owner.shares.delete(this.#index);
    }
    linkGuards(member);
    this.#linkGuards();
  }

  /** Whether another page table than `member` has it too. */
  isSharedBy(member: Sharer): boolean {
    return this.#members.size > (this.#members.has(member) ? 1 : 0);
  }

  /** The guards of all members. */
  get guards(): CallGuard[] {
    return [...this.#members].map(({ guard }) => guard);
  }

  #linkGuards(): void {
    for (const member of this.#members) linkGuards(member);
  }
}

/** Makes the page tables that share a subtree with `member` busy while one of its callbacks runs. */
export function linkGuards({ guard, shares }: Sharer): void {
  const guards = new Set([...shares.values()].flatMap((subtree) => subtree.guards));
  guards.delete(guard);
  guard.others = [...guards];
}
