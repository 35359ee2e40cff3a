import type { Completion, Decision, Metergate, Quantity, Reservation } from '@metergate/client';

/** How a request was decided. */
export type How =
  /** By a round trip, recorded under its id. */
  | 'recorded'
  /** From quantity that is held. */
  | 'held'
  /** An estimate is reserved. */
  | 'reserved';

/** What a request consumes: `req.metergate`. */
export class QuotaContext {
  /** By `performance.now()`. */
  readonly started = performance.now();
  /** The answer; absent where Metergate could not be asked. */
  decision: Decision | Reservation['decision'] | undefined;
  /** Whether a policy decided. */
  degraded = false;
  #reservations: Reservation[] | undefined;
  #settlement: { quantity: Quantity; properties?: Readonly<Record<string, unknown>> } | undefined;
  #finished = false;

  constructor(
    readonly client: Metergate,
    readonly organization: string,
    readonly meter: string,
    /** What was asked for: of an estimate, that. */
    readonly quantity: Quantity,
    /** The decision's name. */
    public id: string,
    /** How it was decided. */
    public how: How,
  ) {}

  /**
   * Says what was truly used where an estimate was reserved: it is committed when the response has ended. What is never
   * said is given back.
   */
  used(quantity: Quantity, properties?: Readonly<Record<string, unknown>>): void {
    this.#settlement = properties === undefined ? { quantity } : { quantity, properties };
  }

  /**
   * Reserves so much of another meter for this request. Commit it; what is not settled when the response has ended is given
   * back.
   */
  async reserve(meter: string, quantity: Quantity, ttlSeconds = 300): Promise<Reservation> {
    const reservation = await this.client.reserve({ organization: this.organization, meter, quantity, ttlSeconds });
    if (reservation.allowed) this.keep(reservation);
    return reservation;
  }

  /** Takes care of a reservation until the response has ended. */
  keep(reservation: Reservation): void {
    if (this.#finished) void this.client.settlements.release(reservation);
    else (this.#reservations ??= []).push(reservation);
  }

  /** The response has ended. Only the first call counts. */
  finish(said?: { durationMs: number; status: number }): void {
    if (this.#finished) return;
    this.#finished = true;
    if (this.#reservations !== undefined) this.#settle(said);
    if (this.how === 'reserved') {
      if (this.degraded && this.#settlement !== undefined) this.#recordEstimated(this.#settlement, said);
    } else if (said !== undefined && !this.degraded) {
      this.#complete(said);
    }
  }

  /** The first is the estimate's, where there is one. */
  #settle(said: { durationMs: number; status: number } | undefined): void {
    const settlement = this.#settlement;
    const isEstimate = this.how === 'reserved' && !this.degraded;
    for (const [index, reservation] of (this.#reservations ?? []).entries()) {
      if (reservation.isSettled) continue;
      if (isEstimate && index === 0 && settlement !== undefined) {
        void this.client.settlements.commit(reservation, { ...settlement, ...said });
      } else if (reservation.settlement !== undefined) {
        // The handler's own commit has not come through, or not yet: again, it counts once.
        void this.client.settlements.commit(reservation, reservation.settlement);
      } else {
        void this.client.settlements.release(reservation);
      }
    }
  }

  /** What was used under an estimate that could not be reserved. */
  #recordEstimated(settlement: { quantity: Quantity }, said: { durationMs: number; status: number } | undefined): void {
    const { organization, meter, id } = this;
    this.client.record({ organization, meter, id, source: '@metergate/express', ...settlement, ...said });
  }

  #complete(said: { durationMs: number; status: number }): void {
    const { organization, meter, id } = this;
    if (this.how === 'held') {
      // It counts nothing: it is counted where what is held is committed. Only its duration and status are told.
      this.client.record({ organization, meter, quantity: 0, source: '@metergate/express', ...said });
    } else {
      const completion: Completion = { organization, meter, id, ...said };
      this.client.complete(completion);
    }
  }
}
