/** How many calls one settlement stands for, and how they went, as it is sent. */
export interface CallsBody {
  count: number;
  /** How many took how long: by milliseconds. */
  durations?: Record<string, number>;
  /** How many ended how: by status. */
  statuses?: Record<string, number>;
}

/** From here on the middle of a bin, in whole milliseconds, stands for its durations. The server has the same bins, so percentiles stay as they are. */
const EXACT_BELOW_MS = 100;
/** Where bins of more than a millisecond begin. */
const FIRST_BIN_MS = 50;
/** The longest duration that there is. */
const LONGEST_MS = 2 ** 32 - 1;
/** Different statuses that are told apart; then only hundreds are. */
const MOST_STATUSES = 80;

/** The shortest of each bin of durations. */
const LOWS: readonly number[] = lows();

function lows(): number[] {
  const found = [];
  for (let low = FIRST_BIN_MS; low <= LONGEST_MS; low += width(low)) found.push(low);
  return found;
}

function width(low: number): number {
  return Math.floor(low / 50) + 1;
}

/** What stands for a duration: itself, or the middle of its bin. */
export function binned(durationMs: number): number {
  const whole = Math.min(LONGEST_MS, Math.max(0, Math.round(durationMs)));
  if (!(whole >= EXACT_BELOW_MS)) return whole || 0;
  let [first, after] = [0, LOWS.length];
  while (after - first > 1) {
    const middle = (first + after) >> 1;
    if ((LOWS[middle] as number) <= whole) first = middle;
    else after = middle;
  }
  const low = LOWS[first] as number;
  return low + ((width(low) - 1) >> 1);
}

/** How calls went that are told together. What a call adds costs no memory of its own. */
export class Calls {
  #durations = new Map<number, number>();
  #statuses = new Map<number, number>();

  /** One more. */
  add(durationMs: number | undefined, status: number | undefined): void {
    if (durationMs !== undefined) {
      const bin = binned(durationMs);
      this.#durations.set(bin, (this.#durations.get(bin) ?? 0) + 1);
    }
    if (status === undefined) return;
    const isKnown = this.#statuses.size < MOST_STATUSES || this.#statuses.has(status);
    const told = isKnown ? status : Math.floor(status / 100) * 100;
    this.#statuses.set(told, (this.#statuses.get(told) ?? 0) + 1);
  }

  get isEmpty(): boolean {
    return this.#durations.size === 0 && this.#statuses.size === 0;
  }

  /** As it is sent, for `count` calls; from now on it is empty. */
  taken(count: number): CallsBody {
    const body: CallsBody = { count };
    if (this.#durations.size > 0) body.durations = Object.fromEntries(this.#durations);
    if (this.#statuses.size > 0) body.statuses = Object.fromEntries(this.#statuses);
    this.#durations = new Map();
    this.#statuses = new Map();
    return body;
  }

  /** What was taken, and could not be told. */
  put({ durations, statuses }: CallsBody): void {
    merge(this.#durations, durations);
    merge(this.#statuses, statuses);
  }
}

function merge(into: Map<number, number>, told: Readonly<Record<string, number>> = {}): void {
  for (const [key, count] of Object.entries(told)) into.set(Number(key), (into.get(Number(key)) ?? 0) + count);
}
