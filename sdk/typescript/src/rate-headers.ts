import type { components } from './generated/api.js';

type Limit = components['schemas']['LimitBody'];

/** Seconds of the windows of a constant length, and what the older family of headers calls those that it has. */
const WINDOWS: Readonly<Record<string, { seconds: number; name?: string }>> = {
  minute: { seconds: 60, name: 'minute' },
  hour: { seconds: 3_600 },
  day: { seconds: 86_400, name: 'day' },
};

/** The rate headers of limits, for answers of the server that have none of their own. */
export function rateHeadersOf(limits: readonly Limit[], meter: string): Record<string, string> {
  const headers: Record<string, string> = {};
  const [policies, states]: [string[], string[]] = [[], []];
  for (const limit of limits) {
    const policy = `"${limit.meter ?? meter}-${limit.window}"`;
    const known = WINDOWS[limit.window];
    policies.push(`${policy};q=${limit.limit}${known ? `;w=${known.seconds}` : ''}`);
    states.push(`${policy};r=${limit.remaining}${limit.resetsAt ? `;t=${secondsTo(limit.resetsAt)}` : ''}`);
    if (known?.name === undefined || (limit.meter ?? meter) !== meter) continue;
    headers[`x-ratelimit-limit-${known.name}`] = String(limit.limit);
    headers[`x-ratelimit-remaining-${known.name}`] = String(limit.remaining);
  }
  if (policies.length > 0) [headers['ratelimit-policy'], headers['ratelimit']] = [policies.join(', '), states.join(', ')];
  return headers;
}

/** Seconds until a time, rounded up. */
export function secondsTo(time: string): number {
  return Math.max(0, Math.ceil((Date.parse(time) - Date.now()) / 1_000));
}
