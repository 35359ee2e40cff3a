import { randomBytes } from 'node:crypto';

import type { NextFunction, Request, Response } from 'express';
import { Metergate, MetergateError, ProblemError, rateHeadersOf } from '@metergate/client';
import type { Decision, DecisionRequest, HoldOptions, Holds, LocalDecision, Quantity } from '@metergate/client';

import { nobody, policyNames, rate, refused, unavailable } from './answers.js';
import { QuotaContext } from './context.js';
import { sendRate } from './head.js';
import { Away, isUndecided, Policies } from './policy.js';
import type { Policy } from './policy.js';
import { contextOf, keep, read } from './responses.js';

/** A request as Express has it, which `metergate` is added to. */
export type QuotaRequest = Request & { metergate?: QuotaContext };
/** A middleware, of Express 4 and 5 alike. */
export type Middleware<R extends QuotaRequest> = (request: R, response: Response, next: NextFunction) => void;
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
  /** The decision's name where the caller gives one: a request that is sent again then counts once. Such are asked, not held. */
  id?: (request: R) => string | undefined;
  /** Requests that use nothing. */
  skip?: (request: R) => boolean;
  /** Answers a refusal in your own way; the rate headers are set. */
  onRefused?: (request: R, response: Response, decision: Decision) => void;
}

/** Within how many milliseconds a question is repeated while Metergate is away: a request waits no longer for its policy. */
const REPEAT_FOR_MS = 250;
/** Meters that quantity is held of, where the request says which. */
const MOST_METERS = 64;
/** How often, in milliseconds, one of them is let go that nobody uses. */
const LOOK_MS = 100;
/** Meters whose policies are known by name. */
const MOST_POLICIES = 1_000;

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
      if (typeof organization === 'object') organization.then((one) => quota.decide(request, response, next, one)).catch(next);
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
  readonly #away = new Away();
  readonly #holds = new Map<string, Holds>();
  /** By `performance.now()`: from then on it is looked again for a meter that is idle. */
  #lookAt = 0;
  /** The last `RateLimit-Policy` of each meter. */
  readonly #policyOf = new Map<string, string>();
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

  decide(request: R, response: Response, next: NextFunction, organization: string | undefined): void {
    if (!organization) return nobody(response, 'no-organization', 'The request names no organization whose quota it could use.');
    const options = this.#options;
    const meter = of(options.meter ?? 'api_calls', request);
    const asked = of(options.estimate ?? options.quantity ?? 1, request);
    const given = options.id?.(request);
    const holds = options.hold && given === undefined ? this.#holdsOf(meter) : undefined;
    const local = holds?.local(organization, Number(asked));
    const name = local !== undefined ? '' : (given ?? `${this.#prefix}-${(this.#number++).toString(36)}`);
    const how = options.estimate !== undefined ? 'reserved' : holds !== undefined ? 'held' : 'recorded';
    const context = new QuotaContext(this.#client, organization, meter, asked, name, how, contextOf(response));
    context.holds = holds;
    keep(request, response, context);
    if (local !== undefined) return this.#local(response, next, context, local);
    const since = this.#away.since();
    if (since !== undefined) return this.#failed(request, response, next, context, since);
    this.#ask(request, context)
      .then(
        (decision) => {
          this.#away.answered();
          this.#decided(request, response, next, context, decision);
        },
        (error: unknown) => this.#failed(request, response, next, context, this.#away.failed(error)),
      )
      .catch(next);
  }

  #local(response: Response, next: NextFunction, context: QuotaContext, decision: LocalDecision): void {
    context.decision = decision;
    sendRate(response, context, decision);
    next();
  }

  async #ask(request: R, context: QuotaContext): Promise<Decision> {
    const { organization, quantity, id, how, holds } = context;
    if (holds !== undefined) return holds.take(organization, Number(quantity), id);
    if (how === 'reserved') return this.#reserve(request, context);
    return this.#client.consume(this.#request(request, context), { repeatForMs: REPEAT_FOR_MS });
  }

  #request(request: R, { organization, meter, quantity, id }: QuotaContext): DecisionRequest & { id: string } {
    const properties = this.#options.properties?.(request);
    return properties === undefined ? { organization, meter, quantity, id } : { organization, meter, quantity, id, properties };
  }

  async #reserve(request: R, context: QuotaContext): Promise<Decision> {
    const { id: _, ...asked } = this.#request(request, context);
    const options = { repeatForMs: REPEAT_FOR_MS };
    const reservation = await this.#client.reserve({ ...asked, ttlSeconds: this.#options.ttlSeconds ?? 300 }, options);
    const { decision, allowed, reason } = reservation;
    const headers = rateHeadersOf(decision.limits, context.meter);
    if (allowed) {
      context.keep(reservation);
      return { ...decision, reason: null, status: 200, headers };
    }
    // Why, with the status that the limit says and a problem to pass on.
    const decided = await this.#client.check(asked, options);
    return decided.allowed ? { ...decision, reason, status: 429, headers } : decided;
  }

  /** Nothing where too many meters are held already: what a request names is bounded so. */
  #holdsOf(meter: string): Holds | undefined {
    let holds = this.#holds.get(meter);
    if (holds !== undefined || !this.#hasRoom()) return holds;
    holds = this.#client.hold({ repeatForMs: REPEAT_FOR_MS, ...(typeof this.#options.hold === 'object' ? this.#options.hold : {}), meter });
    this.#holds.set(meter, holds);
    return holds;
  }

  #hasRoom(): boolean {
    if (this.#holds.size < MOST_METERS) return true;
    const now = performance.now();
    if (now < this.#lookAt) return false;
    this.#lookAt = now + LOOK_MS;
    for (const [meter, holds] of this.#holds) {
      if (!holds.isIdle()) continue;
      this.#holds.delete(meter);
      void holds.close();
      return true;
    }
    return false;
  }

  #decided(request: R, response: Response, next: NextFunction, context: QuotaContext, decision: Decision): void {
    context.decision = decision;
    this.#remember(context.meter, decision.headers['ratelimit-policy']);
    // What could not be decided from what is held was recorded by itself.
    if (context.how === 'held' && decision.id != null) [context.how, context.id] = ['recorded', decision.id];
    if (context.how === 'reserved' && decision.allowed && !this.#awaitEnd(response, context)) return;
    // Somebody else has answered meanwhile, such as a time limit of the application's.
    if (response.headersSent) return decision.allowed ? next() : undefined;
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

  #remember(meter: string, policy: string | undefined): void {
    if (policy === undefined || this.#policyOf.get(meter) === policy) return;
    if (this.#policyOf.size < MOST_POLICIES || this.#policyOf.has(meter)) this.#policyOf.set(meter, policy);
  }

  #failed(request: R, response: Response, next: NextFunction, context: QuotaContext, error: unknown): void {
    if (response.headersSent) return;
    if (error instanceof ProblemError && error.code === 'unknown-organization') return nobody(response, error.code, error.detail);
    // A wrong key or an unknown meter is the application's own mistake: it must be seen, not passed over.
    if (!isUndecided(error)) return next(error);
    const { organization, meter, quantity } = context;
    if (!this.#policies.allows(organization, meter, Number(quantity))) {
      return unavailable(response, policyNames(this.#policyOf.get(meter) ?? ''));
    }
    context.degraded = true;
    response.setHeader('X-Quota-Degraded', 'true');
    if (error instanceof MetergateError && error.askedAs !== undefined) context.id = error.askedAs;
    if (context.how !== 'reserved') context.passed(this.#request(request, context));
    // What is passed by policy is caught up on once it is known how it went.
    const isAwaited = this.#awaitEnd(response, context);
    if (isAwaited || context.how !== 'reserved') next();
  }

  /** Settles an estimate, or catches up, when the response has ended, also without `usageMeter`. False where its caller has left already. */
  #awaitEnd(response: Response, context: QuotaContext): boolean {
    if (response.closed) context.finish({}, true);
    // After `usageMeter`'s own listener, which says how it ended.
    else response.once('close', () => queueMicrotask(() => context.finish({}, response.writableFinished)));
    return !response.closed;
  }
}

function of<R, T extends string | number>(value: Of<R, T>, request: R): T {
  return typeof value === 'function' ? value(request) : value;
}

function from<R extends QuotaRequest>(source: QuotaOptions<R>['organization']): (request: R) => string | undefined | Promise<string | undefined> {
  if (typeof source === 'function') return source;
  if ('header' in source) {
    const name = source.header.toLowerCase();
    return (request) => {
      const value = read(request, 'headers')[name];
      return typeof value === 'object' ? value[0] : value;
    };
  }
  const { session } = source;
  return (request) => {
    const value = (request as { session?: Record<string, unknown> }).session?.[session];
    return typeof value === 'string' ? value : undefined;
  };
}
