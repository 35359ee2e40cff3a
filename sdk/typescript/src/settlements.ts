import { isFinal } from './errors.js';
import type { ProblemError } from './errors.js';
import type { Settings } from './options.js';
import type { UsageEvent } from './recorder.js';
import type { Reservation, Settlement } from './reservation.js';
import { backoff } from './transport.js';

/** What was used of a reservation, and is not settled yet. */
export interface Unsettled {
  organization: string;
  meter: string;
  reservation: string;
  settlement: Settlement;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
/** Where usage goes whose reservation had lapsed before it could be committed. */
const LAPSED = '@metergate/client#lapsed';
/** The type of an event that counts as the commit of a reservation on this meter would, whatever the meter's own type is. */
const OF_COMMIT = 'metergate:commit/';
/** How long one attempt may take in milliseconds: nobody waits for it. */
const PATIENCE_MS = 10_000;
/** What says that nothing is held any more, so that what was used can only be recorded. */
const GONE = new Set(['reservation-lapsed', 'reservation-released', 'not-found']);

/** Commits and releases in the background, however long the server is away. */
export class Settlements {
  readonly #record: (event: UsageEvent) => void;
  readonly #settings: Settings;
  readonly #open = new Map<Promise<void>, Unsettled | undefined>();
  #closed = false;

  /** `record` takes the usage of reservations that are gone. */
  constructor(record: (event: UsageEvent) => void, settings: Settings) {
    this.#record = record;
    this.#settings = settings;
  }

  /** Commits what was used. */
  commit(reservation: Reservation, settlement: Settlement): Promise<void> {
    const { organization, meter, id } = reservation.decision;
    const what = { organization, meter, reservation: id ?? '', settlement };
    return this.#run(this.#commit(reservation, what, new Date()), what);
  }

  /** Gives all of it back; what cannot be given back lapses by itself. */
  release(reservation: Reservation): Promise<void> {
    const released = reservation.release(PATIENCE_MS).then(
      () => {},
      () => {},
    );
    return this.#run(released, undefined);
  }

  /** Finds out what became of reservations whose answer was lost, and gives them back before they would lapse. */
  abandon(find: (timeoutMs: number) => Promise<Reservation[]>, ttlSeconds: number): void {
    const ends = performance.now() + ttlSeconds * 1_000;
    // What is over needs nothing more.
    const giveBack = (one: Reservation): Promise<unknown> => one.release(PATIENCE_MS).catch((error) => (isFinal(error) ? undefined : Promise.reject(error)));
    const giveAllBack = async (): Promise<void> => {
      for (let tried = 0; performance.now() < ends && !(this.#closed && tried > 0); tried++) {
        try {
          const found = (await find(PATIENCE_MS)).filter(({ allowed }) => allowed);
          await Promise.all(found.map(giveBack));
          return;
        } catch (error) {
          if (isFinal(error)) return;
          await new Promise((resolve) => setTimeout(resolve, backoff(tried, FIRST_PAUSE_MS, LONGEST_PAUSE_MS)).unref());
        }
      }
    };
    void this.#run(giveAllBack(), undefined);
  }

  /** Waits for all that is open now. */
  async settled(): Promise<void> {
    await Promise.all(this.#open.keys());
  }

  /** What is open, which is not tried again. What is begun from now on is tried once. */
  close(): Unsettled[] {
    this.#closed = true;
    return [...this.#open.values()].filter((one) => one !== undefined);
  }

  #run(work: Promise<void>, what: Unsettled | undefined): Promise<void> {
    const done = work.finally(() => this.#open.delete(done));
    this.#open.set(done, what);
    return done;
  }

  async #commit(reservation: Reservation, what: Unsettled, time: Date): Promise<void> {
    const isLate = this.#closed;
    for (let tried = 0; !this.#closed || tried === 0; tried++) {
      try {
        await reservation.commit(what.settlement, PATIENCE_MS);
        return;
      } catch (error) {
        if (isFinal(error)) return this.#gone(error, what, time);
        this.#settings.onError(error as Error);
        if (isLate) return this.#settings.onDropped([what], `not settled after closing: ${(error as Error).message}`);
        await new Promise((resolve) => setTimeout(resolve, backoff(tried, FIRST_PAUSE_MS, LONGEST_PAUSE_MS)).unref());
      }
    }
  }

  /** It cannot be settled. What was used must not be lost, and what was settled otherwise must not count twice. */
  #gone(error: ProblemError, what: Unsettled, time: Date): void {
    const { organization, meter, reservation, settlement } = what;
    const { calls, ...used } = settlement;
    // An event that has calls in its data counts as so many.
    const said = calls === undefined ? {} : { properties: { ...used.properties, calls } };
    if (GONE.has(error.code)) this.#record({ organization, meter: OF_COMMIT + meter, id: reservation, source: LAPSED, time, ...used, ...said });
    else if (error.code !== 'reservation-committed') this.#settings.onDropped([what], error.message);
  }
}
