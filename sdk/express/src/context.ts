import type { Decision, DecisionRequest, Ended, Holds, LocalDecision, Metergate, Quantity, Reservation, Settlement } from '@metergate/client';
import type { Response } from 'express';

import { contextOf, read } from './responses.js';

/** The status of a response that its caller did not wait for. */
const CLOSED_BY_CALLER = 499;

/** How a request was decided: by a round trip, recorded under its id; from quantity that is held; by reserving an estimate. */
export type How = 'recorded' | 'held' | 'reserved';

/** What is known of requests that are not simply allowed. */
interface More {
  estimate?: Reservation | undefined;
  others?: Reservation[];
  settlement?: Settlement | undefined;
  unanswered?: DecisionRequest & { id: string };
}

/** What a request consumes: `req.metergate`. */
export class QuotaContext {
  /** By `performance.now()`. */
  readonly started = performance.now();
  /** The answer; absent where Metergate could not be asked. */
  decision: Decision | undefined;
  /** Whether a policy decided. */
  degraded = false;
  /** By what it was decided, from quantity that is held. */
  holds: Holds | undefined;
  /** Its rate headers are added to the head of the response. */
  head: LocalDecision | undefined;
  /** The first decision of the request, which knows of its response what follows. */
  readonly first: QuotaContext;
  /** Whether the response tells of itself how it ends. */
  isTold = false;
  /** The meter that counts errors, where the response is told about; false where none does. */
  errors: string | false | undefined;
  /** Whether its caller has got all of it, as far as it told so. */
  isWhole = false;
  isClosed = false;
  #isMetered = false;
  /** What few requests have. */
  #more: More | undefined;
  #ended: Ended | undefined;

  constructor(
    readonly client: Metergate,
    readonly organization: string,
    readonly meter: string,
    /** What was asked for: of an estimate, that. */
    readonly quantity: Quantity,
    /** The decision's name; empty where it was made from quantity that is held, of which no single one is recorded. */
    public id: string,
    /** How it was decided. */
    public how: How,
    /** What an earlier `tenantQuota` decided of the same request. */
    readonly before: QuotaContext | undefined,
  ) {
    this.first = before === undefined ? this : before.first;
  }

  /**
   * Says what was truly used where an estimate was reserved: it is committed when the response has ended, or now where it has.
   * What is never said is given back; where the caller has left, it is waited for until the reservation lapses.
   */
  used(quantity: Quantity, properties?: Readonly<Record<string, unknown>>): void {
    if (typeof quantity === 'number' && !Number.isFinite(quantity)) throw new TypeError(`used: ${quantity} is not a number`);
    (this.#more ??= {}).settlement = properties === undefined ? { quantity } : { quantity, properties };
    if (this.#ended !== undefined) this.#settle(this.#ended);
  }

  /**
   * Reserves so much of another meter for this request. Commit it; what is not committed when the response has ended is given
   * back.
   */
  async reserve(meter: string, quantity: Quantity, ttlSeconds = 300): Promise<Reservation> {
    const reservation = await this.client.reserve({ organization: this.organization, meter, quantity, ttlSeconds });
    if (!reservation.allowed) return reservation;
    if (this.#ended !== undefined) void this.client.settlements.release(reservation);
    else ((this.#more ??= {}).others ??= []).push(reservation);
    return reservation;
  }

  /** The reservation of the estimate. */
  keep(reservation: Reservation): void {
    (this.#more ??= {}).estimate = reservation;
  }

  /** What was passed by policy, to be asked when Metergate is back and it is known how it went. */
  passed(unanswered: DecisionRequest & { id: string }): void {
    (this.#more ??= {}).unanswered = unanswered;
  }

  /** The response tells that all of it is on its way. */
  finished(): void {
    this.isWhole = true;
  }

  /** The response tells that it is over. */
  closed(response: Response): void {
    if (!this.isTold) return;
    this.isClosed = true;
    if (this.errors !== undefined) this.record(response, this.isWhole, this.errors);
  }

  /** Records how the response ended: once for each decision of its request, however often it is told. An error is counted by `errors`. */
  record(response: Response, isWhole: boolean, errors: string | false): void {
    const status = isWhole ? read(response, 'statusCode') : CLOSED_BY_CALLER;
    const now = performance.now();
    for (let context = contextOf(response); context !== undefined; context = context.before) {
      context.finish({ durationMs: Math.round(now - context.started), status }, isWhole);
    }
    if (this.#isMetered) return;
    this.#isMetered = true;
    if (errors === false || status < 500) return;
    const { client, organization } = this;
    client.record({ organization, meter: errors, source: '@metergate/express', status, durationMs: Math.round(now - this.started) });
  }

  /** The response has ended, whole or since its caller left. How it ended is said where it is to be recorded. */
  finish(ended: Ended, isWhole: boolean): void {
    if (this.#ended !== undefined) return;
    this.#ended = ended;
    const more = this.#more;
    for (const other of more?.others ?? []) this.#giveBack(other);
    if (this.how === 'reserved') this.#finishEstimate(ended, isWhole);
    else if (more?.unanswered !== undefined) this.client.recordUnanswered(more.unanswered, ended);
    else if (!this.degraded && ended.status !== undefined) this.#complete(ended);
  }

  #finishEstimate(ended: Ended, isWhole: boolean): void {
    if (this.#more?.settlement !== undefined) this.#settle(ended);
    // A handler whose caller has left may work on, and what it uses counts: `used` may still come.
    else if (isWhole && this.#more?.estimate !== undefined) void this.client.settlements.release(this.#more.estimate);
  }

  #settle(ended: Ended): void {
    const more = this.#more;
    if (more?.settlement === undefined) return;
    const { estimate: reservation, settlement } = more;
    more.estimate = more.settlement = undefined;
    if (reservation !== undefined) {
      void this.client.settlements.commit(reservation, { ...settlement, ...ended });
    } else if (this.degraded) {
      const { organization, meter, id } = this;
      this.client.record({ organization, meter, id, source: '@metergate/express', ...settlement, ...ended });
    }
  }

  #giveBack(reservation: Reservation): void {
    if (reservation.isSettled) return;
    // The handler's own commit has not come through, or not yet: again, it counts once.
    if (reservation.settlement !== undefined) void this.client.settlements.commit(reservation, reservation.settlement);
    else void this.client.settlements.release(reservation);
  }

  #complete(ended: Ended): void {
    const { organization, meter, id, decision } = this;
    // What was held is counted where it is settled, and with it how its calls went.
    if (this.holds !== undefined && decision !== undefined) this.holds.ended(decision, ended);
    else this.client.complete({ organization, meter, id, ...ended });
  }
}
