import type { components } from './generated/api.js';
import { secondsTo } from './rate-headers.js';

type Limit = components['schemas']['LimitBody'];
type Headers = Readonly<Record<string, string>>;

const REMAINING = /^x-ratelimit-remaining-(.*)$/;
/** `"api_calls-minute";r=295;t=37` in `RateLimit`. */
const MEMBER = /"(?<name>[^"]*)";r=\d+(?:;t=\d+)?/g;

/** What takes headers, such as a response. */
export interface HeaderTarget {
  setHeader(name: string, value: string): unknown;
}

/** What is left of a meter under its tightest hard limit. */
export function remaining(limits: readonly Limit[], meter: string): number {
  const hard = limits.filter((limit) => limit.enforcement === 'hard' && (limit.meter ?? meter) === meter);
  return Math.min(...hard.map((limit) => Number(limit.remaining)), Number.MAX_SAFE_INTEGER);
}

/** The rate headers of decisions that are made from what is held. */
export class LocalHeaders {
  readonly #constant: (readonly [name: string, value: string])[] = [];
  /** The same as lines of a head: each number of what is left with all the text before it, and the text after the last. */
  readonly #texts: string[] = [];
  readonly #numbers: number[] = [];
  #end = '';
  readonly #counting: (readonly [name: string, remaining: number])[] = [];
  /** `RateLimit`: each number of what is left with the text before it, and the text after the last. */
  readonly #state: (readonly [before: string, remaining: number])[] = [];
  #after = '';

  /** In the form of `asked`, an answer's to the same question; with `limits` as they are once the quantity is held. */
  constructor(asked: Headers, limits: readonly Limit[], meter: string) {
    const own = limits.filter((limit) => (limit.meter ?? meter) === meter);
    const states = new Map(own.map((limit) => [limit.window.toLowerCase(), limit]));
    for (const [name, value] of Object.entries(asked)) {
      const window = REMAINING.exec(name)?.[1];
      if (window !== undefined) this.#counting.push([name, Number(states.get(window)?.remaining ?? value)]);
      else if (name === 'ratelimit') this.#parts(value, meter, states);
      else if (name !== 'retry-after') this.#constant.push([name, value]);
    }
    this.#write();
  }

  /** Puts together what stays the same, so that a decision adds its numbers to few pieces. */
  #write(): void {
    for (const [name, value] of this.#constant) this.#end += `${name}: ${value}\r\n`;
    const number = (before: string, remaining: number, after: string): void => {
      this.#texts.push(this.#end + before);
      this.#numbers.push(remaining);
      this.#end = after;
    };
    for (const [name, remaining] of this.#counting) number(`${name}: `, remaining, '\r\n');
    for (const [at, [before, remaining]] of this.#state.entries()) number(at === 0 ? `ratelimit: ${before}` : before, remaining, '');
    if (this.#state.length > 0) this.#end = `${this.#after}\r\n`;
  }

  /** With `left` of what is held. */
  with(left: number): Record<string, string> {
    const headers: Record<string, string> = {};
    this.set({ setHeader: (name, value) => (headers[name] = value) }, left);
    return headers;
  }

  /** The same on a response. */
  set(response: HeaderTarget, left: number): void {
    for (const [name, value] of this.#constant) response.setHeader(name, value);
    for (const [name, remaining] of this.#counting) response.setHeader(name, `${remaining + left}`);
    if (this.#state.length > 0) response.setHeader('ratelimit', this.#states(left));
  }

  /** The same as lines of a head, each with its end. */
  lines(left: number): string {
    const [texts, numbers] = [this.#texts, this.#numbers];
    let text = '';
    for (let at = 0; at < texts.length; at++) text += (texts[at] as string) + ((numbers[at] as number) + left);
    return text + this.#end;
  }

  #states(left: number): string {
    let text = '';
    for (const [before, remaining] of this.#state) text += before + (remaining + left);
    return text + this.#after;
  }

  #parts(value: string, meter: string, states: ReadonlyMap<string, Limit>): void {
    for (const member of value.matchAll(MEMBER)) {
      const name = member.groups?.['name'] ?? '';
      const limit = states.get(name.slice(meter.length + 1).toLowerCase());
      if (limit === undefined) continue;
      this.#state.push([`${this.#after}${this.#after === '' && this.#state.length === 0 ? '' : ', '}"${name}";r=`, Number(limit.remaining)]);
      this.#after = limit.resetsAt ? `;t=${secondsTo(limit.resetsAt)}` : '';
    }
  }
}
