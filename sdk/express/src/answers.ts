import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';

import type { Decision, Problem } from '@metergate/client';

import { setRate } from './head.js';

const QUOTA_EXCEEDED = 'https://iana.org/assignments/http-problem-types#quota-exceeded';
const REDUCED_CAPACITY = 'https://iana.org/assignments/http-problem-types#temporary-reduced-capacity';
/** When to ask again of a server that cannot be asked now, in seconds. */
const RETRY_AFTER = 5;

/** What a problem document says. */
type Said = Partial<Problem> & { 'violated-policies'?: readonly string[] };

/** Answers with a problem document. */
export function problem(response: ServerResponse, status: number, document: Said): void {
  response.statusCode = status;
  // Without parameters: clients compare the whole of it.
  response.setHeader('Content-Type', 'application/problem+json');
  response.setHeader('Cache-Control', 'no-store');
  response.end(JSON.stringify({ type: 'about:blank', status, ...document }));
}

/** The rate headers of a decision on a response. */
export function rate(response: ServerResponse, headers: Readonly<Record<string, string>>): void {
  setRate(response);
  for (const name in headers) response.setHeader(name, headers[name] as string);
}

/** A refusal as a gateway answers it. */
export function refused(response: ServerResponse, decision: Pick<Decision, 'status' | 'headers' | 'reason' | 'problem'>): void {
  rate(response, decision.headers);
  const said = decision.problem ?? {
    type: decision.reason === 'quota-exceeded' ? QUOTA_EXCEEDED : 'about:blank',
    title: 'Refused',
    detail: 'The organization may not use this now.',
    code: decision.reason ?? 'refused',
  };
  problem(response, decision.status, said);
}

/** Metergate cannot be asked, and the policy is to deny: by `policies`, the names of the meter's limits as far as they are known. */
export function unavailable(response: ServerResponse, policies: readonly string[]): void {
  response.setHeader('Retry-After', String(RETRY_AFTER));
  response.setHeader('X-Quota-Degraded', 'true');
  const detail = 'Whether the quota allows this cannot be decided now. Ask again later.';
  const said = { type: REDUCED_CAPACITY, title: 'Service Unavailable', detail, code: 'unavailable' };
  problem(response, 503, { ...said, instance: `urn:request:${randomUUID()}`, 'violated-policies': [...policies] });
}

/** The names in a `RateLimit-Policy` header, such as `"api_calls-minute";q=300;w=60`. */
export function policyNames(header: string): string[] {
  return [...header.matchAll(/"([^"]*)"/g)].map(([, name]) => name ?? '');
}

/** Nobody to count for. */
export function nobody(response: ServerResponse, code: string, detail: string): void {
  problem(response, 403, { title: 'Forbidden', detail, code });
}
