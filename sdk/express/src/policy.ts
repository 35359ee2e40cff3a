import { ProblemError, UnreachableError } from '@metergate/client';

/**
 * What is answered when Metergate cannot be asked: `deny` is 503, `allow` lets the request pass, `{ safe: n }` lets n pass per
 * organization, meter and minute, in this process.
 */
export type Policy = 'deny' | 'allow' | { readonly safe: number };

const MINUTE_MS = 60_000;

/** Whether an error means that Metergate could not decide, rather than that it was asked wrongly. */
export function isUndecided(error: unknown): boolean {
  return error instanceof UnreachableError || (error instanceof ProblemError && (error.status >= 500 || error.status === 429));
}

/** Decides in Metergate's place, by policy. */
export class Policies {
  readonly #policy: (meter: string) => Policy;
  #minute = -1;
  #passed = new Map<string, number>();

  /** One policy for all meters, or one for each; without one it is `deny`. */
  constructor(policy: Policy | Readonly<Record<string, Policy>> = 'deny') {
    if (typeof policy === 'string' || typeof policy['safe'] === 'number') {
      const one = checked(policy as Policy);
      this.#policy = () => one;
    } else {
      const each = new Map(Object.entries(policy as Record<string, Policy>).map(([meter, one]) => [meter, checked(one)]));
      this.#policy = (meter) => each.get(meter) ?? 'deny';
    }
  }

  /** Whether so much passes now. */
  allows(organization: string, meter: string, quantity: number): boolean {
    const policy = this.#policy(meter);
    if (typeof policy === 'string') return policy === 'allow';
    const minute = Math.floor(performance.now() / MINUTE_MS);
    if (minute !== this.#minute) [this.#minute, this.#passed] = [minute, new Map()];
    const name = `${meter}\n${organization}`;
    const passed = (this.#passed.get(name) ?? 0) + quantity;
    // What is no number passes no bound.
    if (!(passed <= policy.safe)) return false;
    this.#passed.set(name, passed);
    return true;
  }
}

function checked(policy: Policy): Policy {
  const isKnown = policy === 'deny' || policy === 'allow' || (typeof policy === 'object' && policy.safe >= 0);
  if (!isKnown) throw new TypeError(`policy must be 'deny', 'allow' or { safe: n }, not ${JSON.stringify(policy)}`);
  return policy;
}

/** Failures in a row after which Metergate counts as away. */
const FAILURES = 3;
/** Milliseconds for which it is then not asked, but by one request at a time. */
const PROBE_MS = 1_000;

/** Whether Metergate is away: then requests do not wait for it, each its own time, before their policy decides. */
export class Away {
  #failures = 0;
  #error: unknown;
  #probeAt = 0;

  /** The error that is known without asking; nothing where this request is to ask. */
  since(): unknown {
    if (this.#failures < FAILURES) return undefined;
    const now = performance.now();
    if (now < this.#probeAt) return this.#error;
    this.#probeAt = now + PROBE_MS;
    return undefined;
  }

  /** It has answered. */
  answered(): void {
    this.#failures = 0;
  }

  /** It has failed, with `error`, which is given back. */
  failed(error: unknown): unknown {
    if (!isUndecided(error)) this.#failures = 0;
    else if (++this.#failures >= FAILURES) [this.#error, this.#probeAt] = [error, performance.now() + PROBE_MS];
    return error;
  }
}
