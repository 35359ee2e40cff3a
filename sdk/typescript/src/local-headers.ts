import type { components } from './generated/api.js';
import { secondsTo } from './rate-headers.js';

type Limit = components['schemas']['LimitBody'];
type Headers = Readonly<Record<string, string>>;

const REMAINING = /^x-ratelimit-remaining-(.*)$/;
/** `"api_calls-minute";r=295;t=37` in `RateLimit`. */
const MEMBER = /"(?<name>[^"]*)";r=\d+(?:;t=\d+)?/g;

/** What is left of a meter under its tightest hard limit. */
export function remaining(limits: readonly Limit[], meter: string): number {
  const hard = limits.filter((limit) => limit.enforcement === 'hard' && (limit.meter ?? meter) === meter);
  return Math.min(...hard.map((limit) => Number(limit.remaining)), Number.MAX_SAFE_INTEGER);
}

/** The rate headers of decisions that are made from what is held. */
export class LocalHeaders {
  readonly #constant: Record<string, string> = {};
  readonly #counting: (readonly [name: string, remaining: number])[] = [];
  /** `RateLimit` in parts: text, number, text, number, …, text. */
  readonly #parts: (string | number)[] = [];

  /** In the form of `asked`, an answer's to the same question; with `limits` as they are once the quantity is held. */
  constructor(asked: Headers, limits: readonly Limit[], meter: string) {
    const own = limits.filter((limit) => (limit.meter ?? meter) === meter);
    const states = new Map(own.map((limit) => [limit.window.toLowerCase(), limit]));
    for (const [name, value] of Object.entries(asked)) {
      const window = REMAINING.exec(name)?.[1];
      if (window !== undefined) this.#counting.push([name, Number(states.get(window)?.remaining ?? value)]);
      else if (name === 'ratelimit') this.#parts = parts(value, meter, states);
      else if (name !== 'retry-after') this.#constant[name] = value;
    }
  }

  /** With `left` of what is held. */
  with(left: number): Record<string, string> {
    const headers = { ...this.#constant };
    for (const [name, remaining] of this.#counting) headers[name] = String(remaining + left);
    if (this.#parts.length > 0) {
      let text = '';
      for (const part of this.#parts) text += typeof part === 'number' ? part + left : part;
      headers['ratelimit'] = text;
    }
    return headers;
  }
}

function parts(value: string, meter: string, states: ReadonlyMap<string, Limit>): (string | number)[] {
  const found: (string | number)[] = [];
  for (const member of value.matchAll(MEMBER)) {
    const name = member.groups?.['name'] ?? '';
    const limit = states.get(name.slice(meter.length + 1).toLowerCase());
    if (limit === undefined) continue;
    const seconds = limit.resetsAt ? `;t=${secondsTo(limit.resetsAt)}` : '';
    found.push(`${found.length > 0 ? ', ' : ''}"${name}";r=`, Number(limit.remaining), seconds);
  }
  return found;
}
