import { ProblemError } from './errors.js';
import { inTime } from './in-time.js';
import type { Settings } from './options.js';
import { backoff } from './transport.js';

/** An item that waits, as the JSON text that is sent: what is no JSON never gets here. */
export type Text = string;

/** An item that the server did not take for what it says. */
export interface Rejected {
  /** Its place in the batch. */
  index: number;
  why: string;
}

/** What became of what was queued. */
export interface RecorderStats {
  /** Waiting to be sent, or to be sent again. */
  queued: number;
  /** Taken by the server, what it knew already included. */
  sent: number;
  /** Not taken in since too many waited, or left when the client was closed. */
  dropped: number;
  /** Refused by the server for what they say. */
  rejected: number;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;
/** How often a flush looks whether it is done. */
const LOOK_MS = 200;
/** Answers that the same batch would always get: what it says is wrong. */
const NEVER_TAKEN = new Set([400, 413, 415, 422]);

/** Sends items in the background, in their order, each until the server has taken or refused it. */
export class Queue {
  readonly #settings: Settings;
  readonly #send: (batch: readonly Text[]) => Promise<readonly Rejected[]>;
  #waiting: Text[] = [];
  /** Characters of all that waits. */
  #size = 0;
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  #wake: (() => void) | undefined;
  #failures = 0;
  #closed = false;
  #most: number;
  #sent = 0;
  #dropped = 0;
  #rejected = 0;

  /** `send` resolves once the server has the batch for good, with what it did not take of it. */
  constructor(settings: Settings, send: (batch: readonly Text[]) => Promise<readonly Rejected[]>) {
    this.#settings = settings;
    this.#send = send;
    this.#most = settings.batchSize;
  }

  stats(): RecorderStats {
    return { queued: this.#waiting.length, sent: this.#sent, dropped: this.#dropped, rejected: this.#rejected };
  }

  /** What never gets in is counted as dropped, too. */
  countDropped(): void {
    this.#dropped += 1;
  }

  /** Takes an item in. Never throws and never waits: the newest are dropped and counted where too many wait. */
  add(item: Text): void {
    if (this.#closed) return this.#drop([item], 'the client is closed');
    if (this.#waiting.length >= this.#settings.maxQueued) return this.#drop([item], `${this.#settings.maxQueued} events wait already`);
    if (this.#size + item.length > this.#settings.maxQueuedSize) return this.#drop([item], `${this.#size} characters wait already`);
    this.#waiting.push(item);
    this.#size += item.length;
    if (this.#waiting.length >= this.#settings.batchSize) this.#start();
    else this.#later();
  }

  /** Sends all that waits now. False where some of it still waits after `timeoutMs`. */
  async flush(timeoutMs: number): Promise<boolean> {
    const until = performance.now() + timeoutMs;
    const target = this.#sent + this.#rejected + this.#waiting.length;
    while (this.#waiting.length > 0 && this.#sent + this.#rejected < target) {
      const left = until - performance.now();
      if (left <= 0) return false;
      this.#start();
      // What pauses after a failure tries now.
      this.#wake?.();
      await inTime(this.#sending ?? new Promise(() => {}), Math.min(left, LOOK_MS));
    }
    return true;
  }

  /** Takes nothing more in, sends what waits, and drops what cannot be sent in time. */
  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    await this.flush(timeoutMs);
    clearTimeout(this.#timer);
    this.#size = 0;
    this.#drop(this.#waiting.splice(0), `not taken within ${timeoutMs} ms of closing`);
    this.#wake?.();
  }

  #later(): void {
    this.#timer ??= setTimeout(() => this.#start(), this.#settings.flushIntervalMs).unref();
  }

  #start(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sending ??= this.#run().finally(() => {
      this.#sending = undefined;
      // Something may have come in after the last look.
      if (this.#waiting.length > 0) this.#later();
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.slice(0, this.#most);
      try {
        this.#taken(batch, await this.#send(batch));
      } catch (error) {
        this.#settings.onError(error as Error);
        await this.#after(error as Error, batch);
      }
    }
  }

  /** Only now do they leave the queue: until the server has said so, they are not recorded. */
  #taken(batch: Text[], rejected: readonly Rejected[]): void {
    // Closing may have dropped them meanwhile, and told so.
    const left = Math.min(batch.length, this.#waiting.length);
    if (left === 0) return;
    for (const { length } of this.#waiting.splice(0, left)) this.#size -= length;
    this.#rejected += rejected.length;
    this.#sent += left - Math.min(left, rejected.length);
    this.#failures = 0;
    this.#most = this.#settings.batchSize;
    for (const { index, why } of rejected) {
      const item = batch[index];
      if (item !== undefined) this.#tell([item], why);
    }
  }

  /** After a batch was not taken: smaller ones where what it says is wrong, else the same again after a pause. */
  async #after(error: Error, batch: Text[]): Promise<void> {
    if (error instanceof ProblemError && NEVER_TAKEN.has(error.status)) {
      if (batch.length === 1) this.#taken(batch, [{ index: 0, why: error.message }]);
      else this.#most = Math.ceil(batch.length / 2);
      return;
    }
    const asked = error instanceof ProblemError ? (error.retryAfterSeconds ?? 0) * 1_000 : 0;
    const pause = Math.max(asked, backoff(this.#failures++, FIRST_PAUSE_MS, LONGEST_PAUSE_MS));
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.min(pause, 10 * LONGEST_PAUSE_MS)).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #drop(items: Text[], why: string): void {
    this.#dropped += items.length;
    if (items.length > 0) this.#tell(items, why);
  }

  #tell(items: Text[], why: string): void {
    this.#settings.onDropped(items.map((text) => JSON.parse(text) as object), why);
  }
}
