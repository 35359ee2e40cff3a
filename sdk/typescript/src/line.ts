/** Something that waits to be sent. */
export interface Item {
  /** JSON. */
  text: string;
}

/** Items, and bytes of JSON, that go together at most. */
const MOST = 1_000;
const MOST_BYTES = 256 * 1024;

/** Where items wait for a moment, so that they go together. */
export class Line<T extends Item> {
  readonly #send: (items: readonly T[]) => void;
  #waiting: T[] = [];
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;
  /** By `performance.now()`: when the timer goes off. */
  #due = Infinity;
  #isNow = false;
  #isAtOnce = false;

  constructor(send: (items: readonly T[]) => void) {
    this.#send = send;
  }

  /** It is sent within so many milliseconds. */
  add(item: T, waitMs: number): void {
    const bytes = Buffer.byteLength(item.text);
    if (this.#waiting.length >= MOST || this.#bytes + bytes > MOST_BYTES) this.#flush();
    this.#waiting.push(item);
    this.#bytes += bytes;
    if (waitMs <= 0 || this.#isAtOnce) this.now();
    else this.#within(waitMs);
  }

  /** What waits is sent, together with all that comes in this turn of the event loop. */
  now(): void {
    if (this.#waiting.length === 0 || this.#isNow) return;
    this.#isNow = true;
    setImmediate(() => this.#flush());
  }

  /** Nothing waits from now on. */
  atOnce(): void {
    this.#isAtOnce = true;
    this.now();
  }

  #within(waitMs: number): void {
    const due = performance.now() + waitMs;
    if (due >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => this.#flush(), waitMs).unref();
  }

  #flush(): void {
    const items = this.#waiting;
    clearTimeout(this.#timer);
    [this.#waiting, this.#bytes, this.#due, this.#isNow] = [[], 0, Infinity, false];
    if (items.length > 0) this.#send(items);
  }
}
