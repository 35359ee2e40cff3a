import type { Bundle } from './bundle.js';
import { Calls } from './calls.js';
import type { Metergate } from './client.js';
import type { Decision, DecisionRequest } from './decision.js';
import { MetergateError, UnreachableError } from './errors.js';
import type { HoldBudget } from './hold-budget.js';
import { inTime } from './in-time.js';
import { LateCalls } from './late-calls.js';
import { LocalDecision } from './local-decision.js';
import type { Held, Tenant } from './local-decision.js';
import { LocalHeaders, remaining } from './local-headers.js';
import { whole } from './options.js';

/** How quantity is held ahead of its use. */
export interface HoldOptions {
  /** The meter's key; of one that adds up. */
  meter: string;
  /**
   * For how long in milliseconds quantity is decided from before it is settled: 5,000. A lock, a changed limit, a grant is seen
   * after this at the latest, and a process that is killed loses the record of what it used since then. Close to a limit it is a
   * second at most.
   */
  holdMs?: number;
  /** The most that is held for one organization at once; 10,000. */
  most?: number;
  /** Seconds after which the server lets go what a process that ended left held: 60. */
  ttlSeconds?: number;
  /** For how long in milliseconds a refusal is remembered, so that who is refused costs nothing: 250. */
  refusalMs?: number;
  /** Within how many milliseconds what is asked for, a decision or quantity, is repeated where that is safe; else all of the client's time. */
  repeatForMs?: number;
  /** Dimensions of everything that is used. */
  properties?: Readonly<Record<string, unknown>>;
}

/** The decision within `holdMs` that quantity is held for; those before it are asked for one by one: few are cheaper so. */
const BUSY = 2;
/** The least that is asked for ahead of its use. */
const LEAST = 6;
/** So many times what the rate calls for is held first, unless that is more than such a part of what may be held. */
const FIRST = 4;
/** A rate is told from so many parts of the time that quantity is held for, and from so many milliseconds, at least. */
const SHORTEST = { part: 1 / 25, ms: 20 };
/** Quantity is held for this part of the time at least, by chance, so that what began together does not end together. */
const SOONEST = 0.85;
/** So many milliseconds before its time is over the next is asked for, unless that is a quarter of it, or less than an eighth. */
const AHEAD_MS = 250;
/** What nobody waits for goes to the server within such a part of the time that it is held, and so many milliseconds, together with what others need. */
const WAITS = { part: 1 / 20, ms: 250 };
/** The longest time in milliseconds that quantity is held close to a limit: what is not used is soon back for the others. */
const NEAR_MS = 1_000;
/** Of what is left under the tightest limit, the part that one process holds at most: the rest is for the others. */
const SHARE = 4;

/** Organizations that are known at once; what further ones ask is asked one by one. */
const MOST_TENANTS = 100_000;

/** How long a call took, in milliseconds, and how it ended, such as by an HTTP status. */
export interface Ended {
  durationMs?: number;
  status?: number;
}

/**
 * Decides from quantity that is held, without a round trip, and never beyond a limit: what is held counts as used for
 * everybody else. What cannot be decided so is asked one by one.
 */
export class Holds {
  readonly #client: Metergate;
  readonly #options: Required<Omit<HoldOptions, 'properties' | 'repeatForMs'>> & Pick<HoldOptions, 'properties' | 'repeatForMs'>;
  readonly #tenants = new Map<string, Tenant>();
  readonly #settling = new Set<Promise<void>>();
  readonly #late: LateCalls;
  readonly #budget: HoldBudget;
  readonly #bundle: Bundle;
  readonly #onClosed: () => void;
  #sweepAt = 1_024;
  #closed = false;

  /** `budget` bounds what the client holds in all, by `bundle` it is held; `onClosed` is called at the end. */
  constructor(client: Metergate, options: HoldOptions, budget: HoldBudget, bundle: Bundle, onClosed: () => void) {
    this.#client = client;
    this.#budget = budget;
    this.#bundle = bundle;
    this.#onClosed = onClosed;
    this.#options = {
      ...options,
      holdMs: whole('holdMs', options.holdMs ?? 5_000, 1, 3_600_000),
      most: whole('most', options.most ?? 10_000, 1, Number.MAX_SAFE_INTEGER),
      ttlSeconds: whole('ttlSeconds', options.ttlSeconds ?? 60, 1, 86_400),
      refusalMs: whole('refusalMs', options.refusalMs ?? 250, 0, 60_000),
    };
    if (this.#options.ttlSeconds * 1_000 < 2 * this.#options.holdMs) {
      throw new TypeError('ttlSeconds must be at least twice holdMs, so that what is used is settled before it lapses');
    }
    this.#late = new LateCalls(client, bundle, this.#options);
  }

  /**
   * May the organization use so much now? At once where enough is held.
   *
   * @throws {ProblemError | UnreachableError} as `consume` does, where nothing is held; with `id` it can be asked again
   */
  take(organization: string, quantity = 1, id?: string): Decision | Promise<Decision> {
    const tenant = this.#tenants.get(organization);
    if (tenant === undefined) return this.#first(organization, quantity, id);
    const now = performance.now();
    return this.#local(tenant, quantity, now) ?? this.#remote(tenant, quantity, id, now);
  }

  /** The decision where it can be made from what is held. */
  local(organization: string, quantity = 1): LocalDecision | undefined {
    const tenant = this.#tenants.get(organization);
    return tenant === undefined ? undefined : this.#local(tenant, quantity, performance.now());
  }

  /** Says in the background how a call went that was decided here: reports then have it. Counts nothing. Never throws, never waits. */
  ended(decision: Decision, { durationMs, status }: Ended): void {
    if (!this.#client.settings.enabled) return;
    if (decision instanceof LocalDecision) {
      const tenant = decision.tell(durationMs, status);
      if (tenant.held === undefined && tenant.next === undefined) this.#late.add(tenant);
    } else if (decision.id != null) {
      const { organization, meter, id } = decision;
      this.#client.complete({ organization, meter, id, ...(durationMs === undefined ? {} : { durationMs }), ...(status === undefined ? {} : { status }) });
    }
  }

  /** Whether nothing is held, and nothing was asked for since `holdMs`. Forgets whom that is true of. */
  isIdle(): boolean {
    this.#sweep(performance.now());
    return this.#tenants.size === 0 && this.#settling.size === 0 && this.#late.isEmpty;
  }

  /** Settles what was used until now, and gives back the rest. */
  async settle(): Promise<void> {
    for (const tenant of this.#tenants.values()) void this.#end(tenant);
    this.#bundle.now();
    await Promise.all([...this.#settling, this.#late.tell()]);
  }

  /** Settles, and holds nothing from now on. */
  async close(): Promise<void> {
    this.#closed = true;
    // What was used does not wait for what was asked for; that is given back when it comes.
    const coming = Promise.allSettled([...this.#tenants.values()].map((tenant) => tenant.next));
    await Promise.all([this.settle(), coming]);
    await this.settle();
    this.#tenants.clear();
    this.#onClosed();
  }

  #first(organization: string, quantity: number, id: string | undefined): Promise<Decision> {
    const since = performance.now();
    if (this.#tenants.size >= this.#sweepAt) this.#sweep(since);
    const calls = new Calls();
    const tenant: Tenant = { organization, held: undefined, next: undefined, unpromised: 0, headers: {}, calls, recent: 0, asked: 0, since, share: 0, refusal: undefined };
    if (this.#tenants.size < MOST_TENANTS) this.#tenants.set(organization, tenant);
    return this.#remote(tenant, quantity, id, since);
  }

  /** Forgets whom nothing was asked of for a while, so that memory follows those who are active. */
  #sweep(now: number): void {
    for (const [organization, { held, next, since }] of this.#tenants) {
      if (held === undefined && next === undefined && now - since > this.#options.holdMs) this.#tenants.delete(organization);
    }
    this.#sweepAt = Math.max(1_024, 2 * this.#tenants.size);
  }

  #local(tenant: Tenant, quantity: number, now: number): LocalDecision | undefined {
    const held = tenant.held;
    if (held === undefined || now >= held.until || held.left < quantity || !isCounted(quantity)) return undefined;
    held.left -= quantity;
    held.used += quantity;
    held.calls += 1;
    tenant.recent += quantity;
    if (held.left < held.low && tenant.next === undefined) this.#ahead(tenant, now);
    return new LocalDecision(tenant, this.#options.meter, quantity, held);
  }

  async #remote(tenant: Tenant, quantity: number, id: string | undefined, now: number): Promise<Decision> {
    const refused = tenant.refusal;
    if (refused !== undefined && now < refused.until && quantity >= refused.quantity) return refused.decision;
    if (now - tenant.since > this.#options.holdMs && tenant.held === undefined) this.#begin(tenant, now);
    tenant.recent += quantity > 0 ? quantity : 0;
    tenant.asked += 1;
    if (tenant.asked >= BUSY && tenant.next === undefined && tenant.held === undefined) this.#ahead(tenant, now);
    const coming = await this.#coming(tenant, quantity);
    if (coming !== undefined) return coming;
    const decided = await this.#ask(tenant, quantity, id);
    // Its answer may be the first that says how much may be held.
    if (decided.allowed && tenant.asked >= BUSY && tenant.next === undefined && tenant.held === undefined) this.#ahead(tenant, performance.now());
    if (decided.allowed || decided.reason !== 'quota-exceeded') return this.#remember(tenant, quantity, decided);
    // What this process itself holds may be what is missing.
    if (tenant.held === undefined && tenant.next === undefined) return this.#remember(tenant, quantity, decided);
    return this.#withOwn(tenant, quantity, id, decided);
  }

  /**
   * From what is on its way, where there is enough that nobody else waits for: many who come at once make one call.
   *
   * @throws {UnreachableError} it did not come: whoever waited has waited as long as for an answer of its own
   */
  async #coming(tenant: Tenant, quantity: number): Promise<LocalDecision | undefined> {
    if (tenant.next === undefined || tenant.unpromised < quantity || !isCounted(quantity)) return undefined;
    tenant.unpromised -= quantity;
    this.#bundle.now();
    const failure = await tenant.next;
    if (failure instanceof UnreachableError) throw failure;
    return this.#local(tenant, quantity, performance.now());
  }

  /** Once what is held here is given back; or the refusal, where that takes too long. */
  async #withOwn(tenant: Tenant, quantity: number, id: string | undefined, refused: Decision): Promise<Decision> {
    this.#bundle.now();
    await tenant.next;
    const local = this.#local(tenant, quantity, performance.now());
    if (local !== undefined) return local;
    const settling = this.#end(tenant);
    this.#bundle.now();
    const isSettled = await inTime(settling, this.#client.settings.timeoutMs);
    if (!isSettled) return refused;
    const again = id === undefined ? undefined : `${id}-again`;
    try {
      return this.#remember(tenant, quantity, await this.#ask(tenant, quantity, again));
    } catch (error) {
      // The first id has its answer: whoever catches up must not do so under that.
      if (error instanceof MetergateError) error.askedAs = again;
      throw error;
    }
  }

  async #ask(tenant: Tenant, quantity: number, id: string | undefined): Promise<Decision> {
    const { meter, properties, repeatForMs } = this.#options;
    const request: DecisionRequest = { organization: tenant.organization, meter, quantity };
    if (id !== undefined) request.id = id;
    if (properties !== undefined) request.properties = properties;
    const decided = await this.#client.consume(request, repeatForMs === undefined ? {} : { repeatForMs });
    tenant.headers = decided.headers;
    if (tenant.held === undefined) tenant.share = Math.floor(remaining(decided.limits, meter) / SHARE);
    return decided;
  }

  #remember(tenant: Tenant, quantity: number, decided: Decision): Decision {
    const wait = Math.min(this.#options.refusalMs, (decided.retryAfterSeconds ?? Infinity) * 1_000);
    tenant.refusal = decided.allowed ? undefined : { decision: decided, quantity, until: performance.now() + wait };
    return decided;
  }

  #begin(tenant: Tenant, now: number): void {
    tenant.recent = 0;
    tenant.asked = 0;
    tenant.since = now;
  }

  /** Asks for the next quantity to decide from, as much as is used in the time that it is held, and half as much again. */
  #ahead(tenant: Tenant, now: number): void {
    if (this.#closed) return;
    const elapsed = Math.max(SHORTEST.ms, SHORTEST.part * this.#options.holdMs, now - tenant.since);
    const wanted = Math.max(1.5 * (tenant.recent / elapsed) * this.#options.holdMs, LEAST);
    // At first its rate is hardly known: where the limits are far away, what is too much does not matter, and is given back.
    const generous = tenant.held === undefined ? Math.min(FIRST * wanted, tenant.share / FIRST) : 0;
    const size = Math.floor(Math.min(Math.max(Math.min(wanted, tenant.share), generous), this.#options.most));
    // Close to the limit every unit is asked for by itself.
    if (size < 2 || !this.#budget.hasRoom(tenant.organization)) return;
    const holdMs = wanted > tenant.share ? Math.min(this.#options.holdMs, NEAR_MS) : this.#options.holdMs;
    tenant.unpromised = size;
    tenant.next = this.#reserve(tenant, size, now, holdMs)
      .catch((error: Error) => {
        this.#client.settings.onError(error);
        // It is tried again when it is busy in the time that comes.
        this.#begin(tenant, performance.now());
        return error;
      })
      .finally(() => (tenant.next = undefined));
  }

  async #reserve(tenant: Tenant, size: number, now: number, holdMs: number): Promise<undefined> {
    const { meter, ttlSeconds, properties, repeatForMs } = this.#options;
    const request = { organization: tenant.organization, meter, quantity: size, ttlSeconds };
    const waitMs = Math.min(WAITS.part * holdMs, WAITS.ms);
    const ended = this.#counted(tenant);
    let reservation;
    try {
      reservation = await this.#bundle.reserve(properties === undefined ? request : { ...request, properties }, { waitMs, repeatForMs });
    } finally {
      if (!reservation?.allowed) ended();
    }
    const headers = new LocalHeaders(tenant.headers, reservation.decision.limits, meter);
    const left = remaining(reservation.decision.limits, meter);
    tenant.share = Math.floor(reservation.allowed ? (left + size) / SHARE : Math.min(size / 2, left / SHARE));
    if (!reservation.allowed) return;
    const before = tenant.held;
    const until = now + (holdMs - waitMs) * (SOONEST + (1 - SOONEST) * Math.random());
    const ahead = Math.max(holdMs / 8, Math.min(holdMs / 4, AHEAD_MS));
    const held: Held = { reservation, headers, left: size, used: 0, calls: 0, low: size / 3, until, timer: undefined, ended };
    held.timer = setTimeout(() => this.#soonOver(tenant, held), Math.max(1, until - ahead - performance.now())).unref();
    tenant.held = held;
    tenant.recent = 0;
    tenant.since = now;
    if (before !== undefined) void this.#settleOne(tenant, before);
    // It was closed while the answer was on its way.
    if (this.#closed) void this.#end(tenant);
  }

  /** It bounds what else is held until the function that is given back is called. */
  #counted(tenant: Tenant): () => void {
    const isIdle = (): boolean => tenant.held?.ended === ended && tenant.held.used === 0;
    const holding = { organization: tenant.organization, isIdle, giveBack: () => void this.#end(tenant) };
    const ended = (): void => this.#budget.remove(holding);
    this.#budget.add(holding);
    return ended;
  }

  /** The time of what is held is nearly over: of whom it is used, the next is asked for, so that it is there then. */
  #soonOver(tenant: Tenant, held: Held): void {
    const now = performance.now();
    if (held.used > 0 && tenant.next === undefined) this.#ahead(tenant, now);
    held.timer = setTimeout(() => this.#over(tenant), Math.max(1, held.until - now)).unref();
  }

  /** It is settled, if nothing has taken its place. */
  #over(tenant: Tenant): void {
    const used = tenant.held?.used ?? 0;
    void this.#end(tenant);
    if (used === 0 && tenant.next === undefined) this.#tenants.delete(tenant.organization);
  }

  #end(tenant: Tenant): Promise<void> {
    const held = tenant.held;
    tenant.held = undefined;
    return held === undefined ? Promise.resolve() : this.#settleOne(tenant, held);
  }

  /** Records what was used, and how the calls went that have ended, and gives back the rest. */
  #settleOne(tenant: Tenant, { timer, reservation, used, calls, ended }: Held): Promise<void> {
    clearTimeout(timer);
    ended();
    const { settlements } = this.#client;
    const settling =
      used > 0 ? settlements.commit(reservation, { quantity: used, calls: tenant.calls.taken(calls) }) : settlements.release(reservation);
    if (!tenant.calls.isEmpty) this.#late.add(tenant);
    this.#settling.add(settling);
    void settling.finally(() => this.#settling.delete(settling));
    return settling;
  }
}

/** Whether a quantity is one that is counted here: parts are not added up, where they would be rounded. */
function isCounted(quantity: number): boolean {
  return quantity > 0 && Number.isSafeInteger(quantity);
}
