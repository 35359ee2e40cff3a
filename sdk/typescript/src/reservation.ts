import type { components } from './generated/api.js';
import type { CallsBody } from './calls.js';
import { finite } from './decision.js';
import type { Quantity, Reason } from './decision.js';
import { parsed } from './transport.js';
import type { Transport } from './transport.js';

export type Body = components['schemas']['ReservationBody'];

/** What can be done with what is held. */
export type Action = 'commit' | 'extend' | 'release';
/** Does something with what is held; the answer. */
export type Act = (id: string, action: Action, said: object, timeoutMs: number | undefined) => Promise<Body>;

/** By a call of its own. */
export function byCall(transport: Transport): Act {
  return async (id, action, said, timeoutMs) => {
    const path = `/v1/reservations/${encodeURIComponent(id)}/${action}`;
    // One reservation ends once: the key makes a repetition get the first one's answer.
    const headers = action === 'extend' ? {} : { headers: { 'idempotency-key': `${action}-${id}` } };
    const call = { method: 'POST', path, body: JSON.stringify(said), repeatable: true } as const;
    return parsed<Body>(await transport.call({ ...call, ...headers, ...(timeoutMs ? { timeoutMs } : {}) }));
  };
}

/** What is to be held. */
export interface ReservationRequest {
  /** Whose: id or key. */
  organization: string;
  /** The meter's key; of one that adds up. */
  meter: string;
  /** How much; 1 without one. */
  quantity?: Quantity;
  /** Seconds until it lapses by itself, 1 to 86,400. */
  ttlSeconds: number;
  /** Dimensions, and what else is to be remembered. */
  properties?: Readonly<Record<string, unknown>>;
}

/** What was used in the end. */
export interface Settlement {
  /** The true quantity, less or more than what is held. */
  quantity: Quantity;
  durationMs?: number;
  status?: number;
  /** Instead of both, where several calls used it: how many, and how they went. */
  calls?: CallsBody;
  properties?: Readonly<Record<string, unknown>>;
}

/** Quantity that is held, or the refusal to hold it. */
export class Reservation {
  /** The decision, with the limits as they are after it. */
  readonly decision: Body;
  /** Whether it is committed or released. */
  isSettled = false;
  /** With what it was to be committed, as far as that was said. */
  settlement: Settlement | undefined;
  readonly #act: Act;

  /** `act` does what is to be done with it. */
  constructor(act: Act, decision: Body) {
    this.#act = act;
    this.decision = decision;
  }

  /** Whether it is held. */
  get allowed(): boolean {
    return this.decision.allowed;
  }

  /** Why not. */
  get reason(): Reason | null {
    return (this.decision.reason ?? null) as Reason | null;
  }

  /** Its id; `null` where it was refused. */
  get id(): string | null {
    return this.decision.id ?? null;
  }

  /** Holds on for so many seconds from now, and no shorter than before. */
  extend(ttlSeconds: number, timeoutMs?: number): Promise<Reservation> {
    return this.#on('extend', { ttlSeconds }, timeoutMs);
  }

  /** Records what was used and gives back the rest. Repeated with the same quantity it counts once. */
  async commit(settlement: Settlement, timeoutMs?: number): Promise<Reservation> {
    finite(settlement);
    this.settlement ??= settlement;
    return this.#on('commit', settlement, timeoutMs);
  }

  /** Gives back all of it. */
  release(timeoutMs?: number): Promise<Reservation> {
    return this.#on('release', {}, timeoutMs);
  }

  async #on(action: Action, said: object, timeoutMs: number | undefined): Promise<Reservation> {
    if (this.id === null) throw new TypeError(`nothing is held: the reservation was refused (${this.reason})`);
    const answer = await this.#act(this.id, action, said, timeoutMs);
    this.isSettled ||= action !== 'extend';
    return new Reservation(this.#act, answer);
  }
}
