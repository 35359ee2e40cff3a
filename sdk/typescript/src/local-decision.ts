import type { Calls } from './calls.js';
import type { Decision } from './decision.js';
import type { HeaderTarget, LocalHeaders } from './local-headers.js';
import type { Reservation } from './reservation.js';

/** Quantity that is held now. */
export interface Held {
  reservation: Reservation;
  headers: LocalHeaders;
  left: number;
  used: number;
  /** Decisions that were made from it. */
  calls: number;
  /** Below this the next is asked for. */
  low: number;
  /** By `performance.now()`: from then on nothing is decided from it. */
  until: number;
  timer: NodeJS.Timeout | undefined;
  /** It is settled, and bounds nothing any more. */
  ended: () => void;
}

/** One organization. */
export interface Tenant {
  readonly organization: string;
  held: Held | undefined;
  /** What is on its way; its error where it does not come. */
  next: Promise<Error | undefined> | undefined;
  /** Of that what nobody waits for yet. */
  unpromised: number;
  /** The rate headers of the last answer. */
  headers: Decision['headers'];
  /** How calls went that were decided from what is held; told when it is settled. */
  readonly calls: Calls;
  /** Used since `since`, to know how much to hold; and how often it was asked. */
  recent: number;
  asked: number;
  since: number;
  /** What one process may hold at most, as the limits stood last; nothing while they are not known. */
  share: number;
  refusal: { decision: Decision; quantity: number; until: number } | undefined;
}

const NO_LIMITS: Decision['limits'] = [];

/** An allowed decision from what is held. Its headers are made when they are asked for. */
export class LocalDecision implements Decision {
  readonly allowed = true;
  readonly reason = null;
  readonly status = 200;
  readonly id = null;
  readonly overage = 0;
  readonly limits = NO_LIMITS;
  readonly organization: string;
  readonly #tenant: Tenant;
  readonly #headers: LocalHeaders;
  readonly #left: number;

  constructor(tenant: Tenant, readonly meter: string, readonly quantity: number, held: Held) {
    this.organization = tenant.organization;
    this.#tenant = tenant;
    this.#headers = held.headers;
    this.#left = held.left;
  }

  get headers(): Readonly<Record<string, string>> {
    return this.#headers.with(this.#left);
  }

  /** Sets the rate headers on a response: cheaper than by `headers`. */
  setHeaders(response: HeaderTarget): void {
    this.#headers.set(response, this.#left);
  }

  /** The rate headers as lines of a head, each with its end: for who writes it whole, which is cheaper still. */
  headerLines(): string {
    return this.#headers.lines(this.#left);
  }

  /** Notes how the call went; whose it was. */
  tell(durationMs: number | undefined, status: number | undefined): Tenant {
    this.#tenant.calls.add(durationMs, status);
    return this.#tenant;
  }
}
