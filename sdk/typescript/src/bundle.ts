import { randomUUID } from 'node:crypto';

import type { Metergate } from './client.js';
import { finite } from './decision.js';
import { isFinal, MetergateError, ProblemError, UnreachableError } from './errors.js';
import type { Problem } from './errors.js';
import { Line } from './line.js';
import type { Item } from './line.js';
import { byCall, Reservation } from './reservation.js';
import type { Body, ReservationRequest } from './reservation.js';
import { parsed } from './transport.js';

/** How one is reserved. */
export interface BundleOptions {
  /** How many milliseconds it may wait for others to go with. */
  waitMs: number;
  /** Within how many milliseconds it may be repeated; else all of the client's time. */
  repeatForMs?: number | undefined;
}

/** What is asked of one reservation. */
interface Element extends Item {
  /** How long it may take in milliseconds, and within how many it may be repeated. */
  timeoutMs: number;
  repeatForMs: number;
  /** After how many seconds what is held by it lapses; 0 where nothing is. */
  ttlSeconds: number;
  /** The same by a call of its own. */
  alone: () => Promise<Body>;
  resolve: (body: Body) => void;
  reject: (error: unknown) => void;
}

/**
 * Holds and settles in the background for many organizations in few calls: a call costs a Node process as much as a request or
 * two. What comes within a moment goes as one array, and each element has its own answer.
 */
export class Bundle {
  readonly #client: Metergate;
  readonly #reserves = new Line<Element>((elements) => void this.#send(elements));
  /** Ends apart: nobody waits for them, so they have more time, and who waits for quantity does not wait for them. */
  readonly #ends = new Line<Element>((elements) => void this.#send(elements));

  constructor(client: Metergate) {
    this.#client = client;
  }

  /** Holds quantity, which is settled in a bundle, too. */
  async reserve(request: ReservationRequest, { waitMs, repeatForMs = Infinity }: BundleOptions): Promise<Reservation> {
    const { timeoutMs } = this.#client.settings;
    const alone = async (): Promise<Body> => (await this.#client.reserve(request, repeatForMs === Infinity ? {} : { repeatForMs })).decision;
    const element = { text: JSON.stringify(finite(request)), timeoutMs, repeatForMs, ttlSeconds: request.ttlSeconds, alone };
    return this.#held(await answerTo(this.#reserves, element, waitMs), waitMs);
  }

  /** What waits is sent without more ado, together with all that comes in this turn of the event loop. */
  now(): void {
    this.#reserves.now();
    this.#ends.now();
  }

  /** Nothing waits any more from now on. */
  atOnce(): void {
    this.#reserves.atOnce();
    this.#ends.atOnce();
  }

  #held(body: Body, waitMs: number): Reservation {
    const act = byCall(this.#client.transport);
    const end = (id: string, action: 'commit' | 'release', said: object, timeoutMs = this.#client.settings.timeoutMs): Promise<Body> => {
      const text = JSON.stringify({ id, [action]: said });
      return answerTo(this.#ends, { text, timeoutMs, repeatForMs: Infinity, ttlSeconds: 0, alone: () => act(id, action, said, timeoutMs) }, waitMs);
    };
    return new Reservation((id, action, said, timeoutMs) => (action === 'extend' ? act(id, action, said, timeoutMs) : end(id, action, said, timeoutMs)), body);
  }

  async #send(elements: readonly Element[]): Promise<void> {
    const [only] = elements;
    if (only !== undefined && elements.length === 1) return void only.alone().then(only.resolve, only.reject);
    const ask = this.#asking(elements);
    try {
      for (const [at, answer] of (await ask()).entries()) settle(elements[at] as Element, answer);
    } catch (error) {
      // What is wrong with all of it may be wrong with one, or with the size.
      if (isFinal(error)) return this.#halves(elements);
      for (const { reject } of elements) reject(error);
      const ttlSeconds = Math.max(...elements.map((element) => element.ttlSeconds));
      if (ttlSeconds > 0 && error instanceof UnreachableError && error.outcomeUnknown) this.#abandon(ask, ttlSeconds);
    }
  }

  #halves(elements: readonly Element[]): void {
    const half = Math.ceil(elements.length / 2);
    for (const part of [elements.slice(0, half), elements.slice(half)]) void this.#send(part);
  }

  /** Asks, under a key, so that the same asked again gets the same answers. */
  #asking(elements: readonly Element[]): (timeoutMs?: number) => Promise<(Body | Problem)[]> {
    const most = Math.max(...elements.map(({ timeoutMs }) => timeoutMs));
    const repeatForMs = Math.min(...elements.map((element) => element.repeatForMs));
    const body = `[${elements.map(({ text }) => text).join()}]`;
    const call = { method: 'POST', path: '/v1/reservations', body, headers: { 'idempotency-key': randomUUID() }, repeatable: true } as const;
    return async (timeoutMs = most) => {
      const { data } = parsed<{ data: (Body | Problem)[] }>(await this.#client.transport.call({ ...call, repeatForMs, timeoutMs }));
      if (data.length !== elements.length) throw new MetergateError(`${data.length} answers came to ${elements.length} questions`);
      return data;
    };
  }

  /** What was held is given back. */
  #abandon(ask: (timeoutMs: number) => Promise<(Body | Problem)[]>, ttlSeconds: number): void {
    const find = async (timeoutMs: number): Promise<Reservation[]> => (await ask(timeoutMs)).filter(isAnswer).map((body) => this.#held(body, 0));
    this.#client.settlements.abandon(find, ttlSeconds);
  }
}

const isAnswer = (answer: Body | Problem): answer is Body => 'allowed' in answer;

function answerTo(line: Line<Element>, asked: Omit<Element, 'resolve' | 'reject'>, waitMs: number): Promise<Body> {
  return new Promise((resolve, reject) => line.add({ ...asked, resolve, reject }, waitMs));
}

/** Tells an element its answer. */
function settle({ resolve, reject }: Element, answer: Body | Problem): void {
  if (isAnswer(answer)) resolve(answer);
  else reject(new ProblemError(answer.status, answer));
}
