/** Something that is held, and can be given back. */
export interface Holding {
  organization: string;
  /** Whether nothing has been used of it. */
  isIdle(): boolean;
  giveBack(): void;
}

/** Reservations that one client holds for one organization at once: it may have many meters, and the server has room for so many. */
const MOST_OF_ONE = 32;
/** Reservations that one client holds at once. */
const MOST_IN_ALL = 10_000;
/** How many of the oldest are looked at for one that is idle. */
const LOOKED_AT = 64;

/** Bounds what one client holds: where there is too much, the oldest that is idle is given back, or nothing more is held. */
export class HoldBudget {
  readonly #all = new Set<Holding>();
  readonly #of = new Map<string, Set<Holding>>();

  /** Whether one more may be held for the organization. */
  hasRoom(organization: string): boolean {
    const own = this.#of.get(organization);
    return (own === undefined || own.size < MOST_OF_ONE || freed(own)) && (this.#all.size < MOST_IN_ALL || freed(this.#all));
  }

  /** Something is held from now on. */
  add(holding: Holding): void {
    this.#all.add(holding);
    let own = this.#of.get(holding.organization);
    if (own === undefined) this.#of.set(holding.organization, (own = new Set()));
    own.add(holding);
  }

  /** It is held no more. */
  remove(holding: Holding): void {
    this.#all.delete(holding);
    const own = this.#of.get(holding.organization);
    if (own?.delete(holding) && own.size === 0) this.#of.delete(holding.organization);
  }
}

/** Gives back the oldest that is idle; false where none is. */
function freed(held: ReadonlySet<Holding>): boolean {
  let looked = 0;
  for (const one of held) {
    if (looked++ >= LOOKED_AT) return false;
    if (!one.isIdle()) continue;
    one.giveBack();
    return true;
  }
  return false;
}
