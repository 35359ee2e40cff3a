import type { components } from './generated/api.js';
import type { Problem } from './errors.js';
import type { Answer } from './transport.js';
import { parsed } from './transport.js';

type Schemas = components['schemas'];

/** A quantity as it is sent: a number, or an exact decimal as text. */
export type Quantity = number | string;

/**
 * A number that is none would be sent as null, which means 1.
 *
 * @throws {TypeError} it is not finite
 */
export function finite<T extends { quantity?: Quantity }>(asked: T): T {
  if (typeof asked.quantity === 'number' && !Number.isFinite(asked.quantity)) throw new TypeError(`quantity is not a number: ${asked.quantity}`);
  return asked;
}

/** What an organization wants to use. */
export interface DecisionRequest {
  /** Whose: id or key. */
  organization: string;
  /** The meter's key. */
  meter: string;
  /** How much; 1 without one. */
  quantity?: Quantity;
  /** A name for the decision: asked again with it, it gets its first answer and counts once. With one, calls are repeated on failure. */
  id?: string;
  /** Dimensions, and what else is to be remembered. */
  properties?: Readonly<Record<string, unknown>>;
  /** How long the work took, in milliseconds. */
  durationMs?: number;
  /** How it ended, such as an HTTP status. */
  status?: number;
}

/** Why a decision is a refusal, by the order in which they are told. */
export type Reason = 'organization-locked' | 'trial-expired' | 'subscription-inactive' | 'not-entitled' | 'quota-exceeded';

/** May it? A refusal is an answer, not an error. */
export type Decision = Omit<Schemas['DecisionBody'], 'reason'> & {
  reason: Reason | null;
  /** The HTTP status that goes with it: 200, 402, 403 or 429. */
  status: number;
  /** The rate headers of the answer, by lower-case name: pass them on to your own caller. */
  headers: Readonly<Record<string, string>>;
  /** Of a refusal the problem document to answer your own caller with. */
  problem?: Problem;
};

/** Headers that tell a caller where it stands. */
const RATE_HEADERS = [
  'x-ratelimit-limit-minute',
  'x-ratelimit-remaining-minute',
  'x-ratelimit-limit-day',
  'x-ratelimit-remaining-day',
  'ratelimit-policy',
  'ratelimit',
  'retry-after',
];

/** The rate headers among `headers`. */
export function rateHeaders(headers: Answer['headers']): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of RATE_HEADERS) {
    const value = headers[name];
    if (typeof value === 'string') found[name] = value;
  }
  return found;
}

/** The decision in an answer to a call with `?status=native`: itself, or within the problem that a refusal is. */
export function decision(answer: Answer): Decision {
  const said = parsed<Schemas['DecisionBody'] | (Problem & { decision: Schemas['DecisionBody'] })>(answer);
  const { reason, ...rest } = 'decision' in said ? said.decision : said;
  const headers = rateHeaders(answer.headers);
  const decided: Decision = { ...rest, reason: (reason ?? null) as Reason | null, status: answer.status, headers };
  if ('decision' in said) {
    const { decision: _, ...problem } = said;
    decided.problem = problem;
  }
  return decided;
}
