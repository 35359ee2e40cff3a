import type { components } from './generated/api.js';

const KIND = Symbol.for('@metergate/client#kind');

/** Whether it is an error of this kind, also where another copy of this module made it. */
function isOf(error: unknown, kind: string): boolean {
  return typeof error === 'object' && error !== null && (error as { [KIND]?: string[] })[KIND]?.includes(kind) === true;
}

/** Anything that this client throws, but for wrong options. */
export class MetergateError extends Error {
  override name = 'MetergateError';
  readonly [KIND]: readonly string[] = ['MetergateError'];
  /** The id that was asked under last, where the client chose another than it was given. */
  askedAs: string | undefined;

  static override [Symbol.hasInstance](error: unknown): boolean {
    return isOf(error, 'MetergateError');
  }
}

/** The problem document of RFC 9457 that the server answered with. */
export type Problem = components['schemas']['Problem'];

/** The server answered, and not with what was asked for. */
export class ProblemError extends MetergateError {
  override name = 'ProblemError';
  override readonly [KIND] = ['MetergateError', 'ProblemError'];
  /** The HTTP status. */
  readonly status: number;
  /** The kind of error, for programs, such as `unknown-meter`. */
  readonly code: string;
  /** What is wrong, and what to do. */
  readonly detail: string;
  /** What is wrong where, of a request that is not valid. */
  readonly errors: NonNullable<Problem['errors']>;
  /** In how many seconds to ask again, where that helps. */
  readonly retryAfterSeconds: number | undefined;
  /** Whether it says a decision, which is then a refusal. */
  readonly decided: boolean;

  constructor(status: number, problem: Partial<Problem>, retryAfterSeconds?: number) {
    const detail = problem.detail ?? 'The answer says no more.';
    super(`${status} ${problem.code ?? problem.title ?? 'error'}: ${detail}`);
    this.status = status;
    this.code = problem.code ?? 'unknown';
    this.detail = detail;
    this.errors = problem.errors ?? [];
    this.retryAfterSeconds = retryAfterSeconds;
    this.decided = 'decision' in problem;
  }

  static override [Symbol.hasInstance](error: unknown): boolean {
    return isOf(error, 'ProblemError');
  }
}

/** No answer came: the server was not reached, or not in time, or the connection was cut. */
export class UnreachableError extends MetergateError {
  override name = 'UnreachableError';
  override readonly [KIND] = ['MetergateError', 'UnreachableError'];
  /** Whether the server may have done what was asked. Repeat it with the same `id`, and it counts once. */
  readonly outcomeUnknown: boolean;

  constructor(why: string, outcomeUnknown: boolean, cause?: unknown) {
    super(why, { cause });
    this.outcomeUnknown = outcomeUnknown;
  }

  static override [Symbol.hasInstance](error: unknown): boolean {
    return isOf(error, 'UnreachableError');
  }
}

/** Errors that another key, or patience, may cure. */
const CURABLE = new Set([401, 403, 408, 429]);

/** Whether the same would always get this answer, since what it says is wrong. */
export function isFinal(error: unknown): error is ProblemError {
  return error instanceof ProblemError && error.status < 500 && !CURABLE.has(error.status);
}
