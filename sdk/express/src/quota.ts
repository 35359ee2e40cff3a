import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';

import { Metergate, ProblemError } from '@metergate/client';
import type { Decision, DecisionRequest, HoldOptions, Holds, Quantity } from '@metergate/client';

import { nobody, rate, refused, unavailable } from './answers.js';
import { QuotaContext } from './context.js';
import { isUndecided, Policies } from './policy.js';
import type { Policy } from './policy.js';

/** A request as Express has it, as far as it matters here. */
export type QuotaRequest = IncomingMessage & { metergate?: QuotaContext };
/** A middleware, of Express 4 and 5 alike. */
export type Middleware<R extends QuotaRequest> = (request: R, response: ServerResponse, next: (error?: unknown) => void) => void;
type Of<R, T> = T | ((request: R) => T);

/** What a request is decided by. */
export interface QuotaOptions<R extends QuotaRequest = QuotaRequest> {
  /** The client; without one, one that the environment sets up, shared by all middleware. */
  client?: Metergate;
  /** Whose quota: by a function, a header that your own proxy or authentication sets, or a property of `req.session`. */
  organization: ((request: R) => string | undefined | Promise<string | undefined>) | { header: string } | { session: string };
  /** The meter's key; `api_calls`. */
  meter?: Of<R, string>;
  /** How much a request uses; 1. */
  quantity?: Of<R, Quantity>;
  /** Instead of `quantity`: how much it may use at most, or likely. It is reserved; `req.metergate.used(…)` says what it was. */
  estimate?: Of<R, Quantity>;
  /** Seconds that an estimate is reserved for; 300. */
  ttlSeconds?: number;
  /** Dimensions of what is used. */
  properties?: (request: R) => Readonly<Record<string, unknown>>;
  /** Decides from quantity that is held ahead, without a round trip. `properties` of a request then do not count. */
  hold?: boolean | Omit<HoldOptions, 'meter'>;
  /** What happens when Metergate cannot be asked, for all meters or each; `deny`. */
  policy?: Policy | Readonly<Record<string, Policy>>;
  /** The decision's name where the caller gives one: a request that is sent again then counts once. */
  id?: (request: R) => string | undefined;
  /** Requests that use nothing. */
  skip?: (request: R) => boolean;
  /** Answers a refusal in your own way; the rate headers are set. */
  onRefused?: (request: R, response: ServerResponse, decision: Decision) => void;
}

let shared: Metergate | undefined;

/** The client that the environment sets up. */
export function sharedClient(): Metergate {
  return (shared ??= new Metergate());
}

/** Asks before each request whether its organization may, and answers itself where not: 429, 402 or 403. */
export function tenantQuota<R extends QuotaRequest = QuotaRequest>(options: QuotaOptions<R>): Middleware<R> {
  const quota = new Quota(options);
  return (request, response, next) => {
    try {
      if (options.skip?.(request)) return next();
      const organization = quota.organization(request);
      if (organization instanceof Promise) organization.then((one) => quota.decide(request, response, next, one)).catch(next);
      else quota.decide(request, response, next, organization);
    } catch (error) {
      next(error);
    }
  };
}

class Quota<R extends QuotaRequest> {
  readonly #options: QuotaOptions<R>;
  readonly #client: Metergate;
  readonly #policies: Policies;
  readonly #holds = new Map<string, Holds>();
  readonly organization: (request: R) => string | undefined | Promise<string | undefined>;
  /** Names of decisions: unique to this process and counted, which is cheaper than one of random bytes each. */
  readonly #prefix = randomBytes(9).toString('base64url');
  #number = 0;

  constructor(options: QuotaOptions<R>) {
    if (options.estimate !== undefined && options.hold) throw new TypeError('an estimate is reserved for its request: leave out hold');
    this.#options = options;
    this.#client = options.client ?? sharedClient();
    this.#policies = new Policies(options.policy);
    this.organization = from(options.organization);
  }

  decide(request: R, response: ServerResponse, next: (error?: unknown) => void, organization: string | undefined): void {
    if (!organization) return nobody(response, 'no-organization', 'The request names no organization whose quota it could use.');
    const { meter, quantity, estimate, hold, id } = this.#options;
    const asked = of(estimate ?? quantity ?? 1, request);
    const name = id?.(request) ?? `${this.#prefix}-${(this.#number++).toString(36)}`;
    const how = estimate !== undefined ? 'reserved' : hold ? 'held' : 'recorded';
    const context = new QuotaContext(this.#client, organization, of(meter ?? 'api_calls', request), asked, name, how);
    request.metergate = context;
    const go = (decision: Decision): void => this.#decided(request, response, next, context, decision);
    const taken = this.#ask(request, response, context);
    if (taken instanceof Promise) taken.then(go).catch((error: unknown) => this.#failed(request, response, next, context, error));
    else go(taken);
  }

  #ask(request: R, response: ServerResponse, context: QuotaContext): Decision | Promise<Decision> {
    const { organization, meter, quantity, id, how } = context;
    if (how === 'held') return this.#holdsOf(meter).take(organization, Number(quantity), id);
    if (how === 'reserved') return this.#reserve(request, response, context);
    return this.#client.consume(this.#request(request, context));
  }

  #request(request: R, { organization, meter, quantity, id }: QuotaContext): DecisionRequest & { id: string } {
    const properties = this.#options.properties?.(request);
    return properties === undefined ? { organization, meter, quantity, id } : { organization, meter, quantity, id, properties };
  }

  async #reserve(request: R, response: ServerResponse, context: QuotaContext): Promise<Decision> {
    const { id: _, ...asked } = this.#request(request, context);
    const reservation = await this.#client.reserve({ ...asked, ttlSeconds: this.#options.ttlSeconds ?? 300 });
    if (!reservation.allowed) {
      // Why, with what a caller is to be told, as if it were used at once.
      const { id: _id, ...check } = this.#request(request, context);
      const decided = await this.#client.check(check);
      if (!decided.allowed) return decided;
      return { ...reservation.decision, reason: reservation.reason, status: 429, headers: decided.headers };
    }
    response.once('close', () => context.finish());
    context.keep(reservation);
    return { ...reservation.decision, reason: null, status: 200, headers: {} };
  }

  #holdsOf(meter: string): Holds {
    let holds = this.#holds.get(meter);
    if (holds === undefined) {
      holds = this.#client.hold({ ...(typeof this.#options.hold === 'object' ? this.#options.hold : {}), meter });
      this.#holds.set(meter, holds);
    }
    return holds;
  }

  #decided(request: R, response: ServerResponse, next: (error?: unknown) => void, context: QuotaContext, decision: Decision): void {
    context.decision = decision;
    // What could not be decided from what is held was recorded by itself.
    if (context.how === 'held' && decision.id != null) [context.how, context.id] = ['recorded', decision.id];
    if (decision.degraded) response.setHeader('X-Quota-Degraded', 'true');
    if (decision.allowed) {
      rate(response, decision.headers);
      return next();
    }
    if (this.#options.onRefused === undefined) return refused(response, decision);
    rate(response, decision.headers);
    response.statusCode = decision.status;
    this.#options.onRefused(request, response, decision);
  }

  #failed(request: R, response: ServerResponse, next: (error?: unknown) => void, context: QuotaContext, error: unknown): void {
    if (error instanceof ProblemError && error.code === 'unknown-organization') return nobody(response, error.code, error.detail);
    // A wrong key or an unknown meter is the application's own mistake: it must be seen, not passed over.
    if (!isUndecided(error)) return next(error);
    const { organization, meter, quantity } = context;
    if (!this.#policies.allows(organization, meter, Number(quantity))) return unavailable(response);
    context.degraded = true;
    response.setHeader('X-Quota-Degraded', 'true');
    if (context.how === 'reserved') response.once('close', () => context.finish());
    else this.#client.recordUnanswered(this.#request(request, context));
    next();
  }
}

function of<R, T extends string | number>(value: Of<R, T>, request: R): T {
  return typeof value === 'function' ? value(request) : value;
}

function from<R extends QuotaRequest>(source: QuotaOptions<R>['organization']): (request: R) => string | undefined | Promise<string | undefined> {
  if (typeof source === 'function') return source;
  if ('header' in source) {
    const name = source.header.toLowerCase();
    return (request) => [request.headers[name]].flat()[0];
  }
  const { session } = source;
  return (request) => {
    const value = (request as { session?: Record<string, unknown> }).session?.[session];
    return typeof value === 'string' ? value : undefined;
  };
}
