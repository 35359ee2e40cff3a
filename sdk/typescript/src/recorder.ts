import { randomUUID } from 'node:crypto';

import type { components } from './generated/api.js';
import { finite } from './decision.js';
import type { DecisionRequest, Quantity } from './decision.js';
import { ProblemError } from './errors.js';
import type { Ended } from './hold.js';
import type { Problem } from './errors.js';
import type { Settings } from './options.js';
import { Queue } from './queue.js';
import type { RecorderStats, Rejected } from './queue.js';
import { parsed } from './transport.js';
import type { Transport } from './transport.js';

/** The source of events without one. */
const SOURCE = '@metergate/client';
/** The source of what was used although the server, when it answered at last, refused it; with the meter, on which alone its id is one. */
const UNANSWERED = '@metergate/client#unanswered';
/** The type of an event that counts as a decision on this meter would, whatever the meter's own type is. */
const OF_DECISION = 'metergate:consume/';

/** Usage that has happened. */
export interface UsageEvent {
  /** Whose: id or key. */
  organization: string;
  /** The meter's event type: its key, unless it was given another. */
  meter: string;
  /** How much; 1 without one. */
  quantity?: Quantity;
  /** Its name among those of its source: known once, it counts once. Made up without one. */
  id?: string;
  /** Where it comes from, a URI reference; `@metergate/client` without one. */
  source?: string;
  /** When it happened; now without one. */
  time?: Date | string;
  /** Dimensions, and what else is to be remembered. */
  properties?: Readonly<Record<string, unknown>>;
  /** How long the work took, in milliseconds. */
  durationMs?: number;
  /** How it ended, such as an HTTP status. */
  status?: number;
}

/** What is known of a decision only after the work: counts nothing. */
export interface Completion {
  organization: string;
  meter: string;
  /** The decision's id, as its answer has it; or an event's. */
  id: string;
  /** An event's source; without one it is a decision. */
  source?: string;
  durationMs?: number;
  status?: number;
}

/** A CloudEvent as it is sent. */
export interface CloudEvent {
  specversion: '1.0';
  id: string;
  source: string;
  type: string;
  subject: string;
  time: string;
  data: Record<string, unknown>;
}

/** A decision to catch up on, and when it was acted upon. */
interface Unanswered {
  request: DecisionRequest & { id: string };
  time: string;
  ended: Ended | undefined;
}

/** Records events in the background. */
export class Recorder {
  readonly #events: Queue;
  readonly #decisions: Queue;
  readonly #settings: Settings;
  readonly #transport: Transport;

  constructor(settings: Settings, transport: Transport) {
    this.#settings = settings;
    this.#transport = transport;
    this.#events = new Queue(settings, (batch) => this.#send(batch));
    this.#decisions = new Queue(settings, (batch) => this.#catchUp(batch));
  }

  stats(): RecorderStats {
    const [events, decisions] = [this.#events.stats(), this.#decisions.stats()];
    return {
      queued: events.queued + decisions.queued,
      // A decision that was caught up is recorded as one event at most, which is counted there.
      sent: events.sent + decisions.sent,
      dropped: events.dropped + decisions.dropped,
      rejected: events.rejected + decisions.rejected,
    };
  }

  /** Takes usage in. Never throws: what is no JSON is told as dropped. */
  add(event: UsageEvent): void {
    this.#text(this.#events, event, () => usage(finite(event)));
  }

  /** Takes in how something ended. */
  addCompletion(said: Completion): void {
    this.#text(this.#events, said, () => completion(said));
  }

  /** A decision that was acted upon without an answer; the server may have recorded it. */
  addUnanswered(request: DecisionRequest & { id: string }, ended: Ended | undefined): void {
    this.#text(this.#decisions, request, () => ({ request: finite(request), time: new Date().toISOString(), ended }) satisfies Unanswered);
  }

  #text(queue: Queue, given: object, made: () => object): void {
    try {
      queue.add(JSON.stringify(made()));
    } catch (error) {
      queue.countDropped();
      this.#settings.onDropped([given], `it cannot be sent: ${(error as Error).message}`);
    }
  }

  async flush(timeoutMs: number): Promise<boolean> {
    const until = performance.now() + timeoutMs;
    const [decided] = await Promise.all([this.#decisions.flush(timeoutMs), this.#events.flush(timeoutMs)]);
    // Of decisions some have become events.
    return (await this.#events.flush(until - performance.now())) && decided;
  }

  async close(timeoutMs: number): Promise<void> {
    const until = performance.now() + timeoutMs;
    await Promise.all([this.#decisions.close(timeoutMs), this.#events.flush(timeoutMs)]);
    await this.#events.close(Math.max(1, Math.round(until - performance.now())));
  }

  /** Nobody waits for what is sent in the background: it has more time than a decision. */
  get #patience(): number {
    return Math.max(10_000, this.#settings.timeoutMs);
  }

  async #send(batch: readonly string[]): Promise<Rejected[]> {
    const answer = await this.#transport.call({
      method: 'POST',
      path: '/v1/events',
      body: `[${batch.join()}]`,
      contentType: 'application/cloudevents-batch+json',
      timeoutMs: this.#patience,
    });
    const { rejected } = parsed<components['schemas']['IngestBody']>(answer);
    return rejected.map(({ index, reason, detail }) => ({ index, why: `${reason}: ${detail}` }));
  }

  /**
   * Asks again under the same ids: what was recorded is not recorded twice. What is refused now was used all the same, so it
   * is recorded as what it is, an event.
   */
  async #catchUp(batch: readonly string[]): Promise<Rejected[]> {
    const asked = batch.map((text) => JSON.parse(text) as Unanswered);
    const call = { method: 'POST', path: '/v1/consume', body: JSON.stringify(asked.map(({ request }) => request)) } as const;
    const { data } = await this.#transport.json<{ data: (components['schemas']['DecisionBody'] | Problem)[] }>({ ...call, timeoutMs: this.#patience });
    // Nothing is lost by repeating all of it.
    const undecided = data.find((answer) => 'code' in answer && answer.status >= 500);
    if (undecided !== undefined) throw new ProblemError(503, undecided as Problem);
    const rejected: Rejected[] = [];
    for (const [index, answer] of data.entries()) {
      const one = asked[index];
      if (one === undefined) continue;
      if ('code' in answer) rejected.push({ index, why: `${answer.code}: ${answer.detail}` });
      else if (!answer.allowed) this.add({ ...one.request, ...one.ended, meter: OF_DECISION + one.request.meter, time: one.time, source: `${UNANSWERED}/${one.request.meter}` });
      // Not with the question: it must be the same as before, under its id.
      else if (one.ended?.durationMs !== undefined || one.ended?.status !== undefined) this.addCompletion({ ...completed(one.request), ...one.ended });
    }
    return rejected;
  }
}

/** Usage as a CloudEvent. */
export function usage(event: UsageEvent): CloudEvent {
  const { organization, meter, quantity, id, source, time, properties, durationMs, status } = event;
  const data: Record<string, unknown> = { ...properties };
  if (quantity !== undefined) data['quantity'] = quantity;
  if (durationMs !== undefined) data['durationMs'] = Math.round(durationMs);
  if (status !== undefined) data['status'] = status;
  const at = typeof time === 'string' ? time : (time ?? new Date()).toISOString();
  return { specversion: '1.0', id: id ?? randomUUID(), source: source ?? SOURCE, type: meter, subject: organization, time: at, data };
}

function completed({ organization, meter, id }: DecisionRequest & { id: string }): Completion {
  return { organization, meter, id };
}

/** A completion as the event that says it. */
export function completion(said: Completion): CloudEvent {
  return usage({ ...said, source: said.source ?? `metergate:consume/${said.meter}` });
}
