import { randomUUID } from 'node:crypto';

import type { components, operations } from './generated/api.js';
import { Bundle } from './bundle.js';
import { decision, finite } from './decision.js';
import type { Decision, DecisionRequest } from './decision.js';
import { UnreachableError } from './errors.js';
import { Holds } from './hold.js';
import type { Ended, HoldOptions } from './hold.js';
import { HoldBudget } from './hold-budget.js';
import { inTime } from './in-time.js';
import { settings } from './options.js';
import type { MetergateOptions, Settings } from './options.js';
import { Recorder } from './recorder.js';
import type { RecorderStats } from './queue.js';
import type { Completion, UsageEvent } from './recorder.js';
import { Reservation, byCall } from './reservation.js';
import type { ReservationRequest } from './reservation.js';
import { Settlements } from './settlements.js';
import { unwatch, watch } from './shutdown.js';
import { Transport } from './transport.js';
import type { Call } from './transport.js';

type Schemas = components['schemas'];
/** What can be asked of reports. */
export type UsageQuery = NonNullable<operations['query_usage']['parameters']['query']>;

/** How one call is made. */
export interface CallOptions {
  /** The longest time in milliseconds; else the client's. */
  timeoutMs?: number;
  /** Within how many milliseconds it may be repeated, where that is safe; else all of the time. */
  repeatForMs?: number;
  /** Ends the call early. */
  signal?: AbortSignal;
}

/** How long closing may take without a word, in milliseconds. */
const CLOSING_MS = 5_000;
/** What events have at least, where settling took all of the time. */
const LAST_MS = 1;

/** A client of a Metergate server. */
export class Metergate {
  /** What it was set up with. */
  readonly settings: Settings;
  /** Calls that this client has no method for. */
  readonly transport: Transport;
  /** Reservations that are settled in the background. */
  readonly settlements: Settlements;
  readonly #recorder: Recorder;
  readonly #holds = new Set<Holds>();
  readonly #budget = new HoldBudget();
  readonly #bundle = new Bundle(this);
  #watched = false;

  /** @throws {TypeError} an option or variable is not what it can be */
  constructor(options: MetergateOptions = {}) {
    this.settings = settings(options);
    this.transport = new Transport(this.settings);
    this.#recorder = new Recorder(this.settings, this.transport);
    this.settlements = new Settlements((event) => this.record(event), this.settings);
  }

  /** May the organization use so much now? If so it is recorded, durably, when the answer arrives. */
  async consume(request: DecisionRequest, options: CallOptions = {}): Promise<Decision> {
    const repeatable = request.id !== undefined;
    return decision(await this.transport.call({ ...post('/v1/consume?status=native', finite(request), options), repeatable, refusals: true }));
  }

  /** The same answer with nothing recorded. */
  async check(request: DecisionRequest, options: CallOptions = {}): Promise<Decision> {
    return decision(await this.transport.call({ ...post('/v1/check?status=native', finite(request), options), repeatable: true, refusals: true }));
  }

  /** Up to 1,000 decisions at once, each for itself, in their order. An element that is not valid is a problem in its place. */
  async consumeMany(requests: readonly DecisionRequest[], options: CallOptions = {}): Promise<(Schemas['DecisionBody'] | Schemas['Problem'])[]> {
    const repeatable = requests.every((request) => request.id !== undefined);
    const { data } = await this.transport.json<{ data: Schemas['DecisionBody'][] }>({ ...post('/v1/consume', requests.map(finite), options), repeatable });
    return data;
  }

  /** Holds quantity whose true amount is known later. See {@link Reservation.allowed} for whether it is held. */
  async reserve(request: ReservationRequest, options: CallOptions = {}): Promise<Reservation> {
    this.#watch();
    // Under a key, so that a lost answer does not leave quantity held that nobody knows of.
    const headers = { 'idempotency-key': randomUUID() };
    const call = { ...post('/v1/reservations', finite(request), options), headers, repeatable: true };
    const asked = async (given: Call): Promise<Reservation> => new Reservation(byCall(this.transport), await this.transport.json(given));
    try {
      return await asked(call);
    } catch (error) {
      // Under its key it is the first one's answer.
      const { signal: _, ...again } = call;
      const find = async (timeoutMs: number): Promise<Reservation[]> => [await asked({ ...again, timeoutMs })];
      if (error instanceof UnreachableError && error.outcomeUnknown) this.settlements.abandon(find, request.ttlSeconds);
      throw error;
    }
  }

  /** Holds quantity of a meter ahead of its use, to decide without a round trip. */
  hold(options: HoldOptions): Holds {
    const holds = new Holds(this, options, this.#budget, this.#bundle, () => this.#holds.delete(holds));
    this.#holds.add(holds);
    this.#watch();
    return holds;
  }

  /** Records usage in the background. Never throws for what happens to it, and never waits. */
  record(event: UsageEvent): void {
    this.#watch();
    if (this.settings.enabled) this.#recorder.add(event);
  }

  /** Says in the background how long something took that is recorded, and how it ended. Counts nothing. */
  complete(said: Completion): void {
    this.#watch();
    if (this.settings.enabled) this.#recorder.addCompletion(said);
  }

  /**
   * Catches up in the background on a decision that was acted upon without an answer, such as one allowed by your own policy
   * while the server was away: it counts once, also where the server had recorded it and only the answer was lost. The request is the
   * one that was asked; how it `ended` is told after it (a `complete` may come before it).
   */
  recordUnanswered(request: DecisionRequest & { id: string }, ended?: Ended): void {
    this.#watch();
    if (this.settings.enabled) this.#recorder.addUnanswered(request, ended);
  }

  /** Settles what is held and sends what waits now. False where some of it still waits after `timeoutMs`. */
  async flush(timeoutMs = CLOSING_MS): Promise<boolean> {
    const until = performance.now() + timeoutMs;
    const settling = inTime(Promise.all([...[...this.#holds].map((holds) => holds.settle()), this.settlements.settled()]), timeoutMs);
    this.#bundle.now();
    const [isSettled] = await Promise.all([settling, this.#recorder.flush(timeoutMs)]);
    // What had lapsed has become events meanwhile.
    return (await this.#recorder.flush(until - performance.now())) && isSettled;
  }

  /** Sends what waits and ends: what cannot be sent in time is dropped and counted. */
  async close(timeoutMs = CLOSING_MS): Promise<void> {
    const until = performance.now() + timeoutMs;
    this.#bundle.atOnce();
    const settling = inTime(Promise.all([...[...this.#holds].map((holds) => holds.close()), this.settlements.settled()]), timeoutMs);
    await Promise.all([settling, this.#recorder.flush(timeoutMs)]);
    const unsettled = this.settlements.close();
    if (unsettled.length > 0) this.settings.onDropped(unsettled, `not settled within ${timeoutMs} ms of closing`);
    await this.#recorder.close(Math.max(LAST_MS, Math.round(until - performance.now())));
    unwatch(this);
    this.transport.close();
  }

  /** What became of what was recorded in the background. */
  stats(): RecorderStats {
    return this.#recorder.stats();
  }

  /** What an organization used in its present period, and what is left. */
  usage(organization: string, options: CallOptions = {}): Promise<Schemas['Standing']> {
    return this.transport.json(get(`/v1/organizations/${encodeURIComponent(organization)}/usage`, options));
  }

  /** Usage by organization, meter, time and dimension. */
  report(query: UsageQuery, options: CallOptions = {}): Promise<Schemas['Paged_UsageRow']> {
    const pairs = Object.entries(query).flatMap(([name, value]) => [value].flat().map((one): [string, string] => [name, String(one)]));
    return this.transport.json(get(`/v1/usage?${new URLSearchParams(pairs)}`, options));
  }

  /** What an organization's plan lets it do: features, and limits with their use. */
  entitlements(organization: string, options: CallOptions = {}): Promise<Schemas['Entitlements']> {
    return this.transport.json(get(`/v1/organizations/${encodeURIComponent(organization)}/entitlements`, options));
  }

  /** A link into the customer portal, for one organization. Needs a key with the scope `admin`. */
  portalLink(organization: string, link: Schemas['NewPortalBody'] = {}, options: CallOptions = {}): Promise<Schemas['PortalBody']> {
    return this.transport.json(post(`/v1/organizations/${encodeURIComponent(organization)}/portal-sessions`, link, options));
  }

  /** What is recorded is worth the wait at the end of the process, from the first event on. */
  #watch(): void {
    if (this.#watched) return;
    this.#watched = true;
    watch(this, this.settings.handleSigterm);
  }
}

function post(path: string, body: unknown, options: CallOptions) {
  return { method: 'POST', path, body: JSON.stringify(body), ...options } as const;
}

function get(path: string, options: CallOptions) {
  return { method: 'GET', path, repeatable: true, ...options } as const;
}
