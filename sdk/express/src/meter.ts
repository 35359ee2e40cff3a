import type { ServerResponse } from 'node:http';

import type { QuotaContext } from './context.js';
import type { Middleware, QuotaRequest } from './quota.js';

/** What is recorded after a response. */
export interface MeterOptions {
  /** The meter that counts responses with a status of 500 and above; `errors`. With false none does. */
  errors?: string | false;
}

/** The status of a response that its caller did not wait for. */
const CLOSED_BY_CALLER = 499;

/** Requests that are metered already: once each, however often the middleware stands in their way. */
const metered = new WeakSet<QuotaRequest>();

/**
 * Records after each response how long it took and how it ended, on the record of each decision that `tenantQuota` made of it:
 * one request is one call in all figures. A request never fails, and never waits, because of it.
 */
export function usageMeter<R extends QuotaRequest = QuotaRequest>(options: MeterOptions = {}): Middleware<R> {
  const errors = options.errors ?? 'errors';
  return (request, response, next) => {
    if (!metered.has(request)) {
      metered.add(request);
      if (response.closed) record(request, response, errors);
      else response.once('close', () => record(request, response, errors));
    }
    next();
  };
}

function record(request: QuotaRequest, response: ServerResponse, errors: string | false): void {
  const isWhole = response.writableFinished;
  const status = isWhole ? response.statusCode : CLOSED_BY_CALLER;
  const now = performance.now();
  let first: QuotaContext | undefined;
  for (let context = request.metergate; context !== undefined; context = context.before) {
    context.finish({ durationMs: Math.round(now - context.started), status }, isWhole);
    first = context;
  }
  if (first === undefined || errors === false || status < 500) return;
  const { client, organization } = first;
  client.record({ organization, meter: errors, source: '@metergate/express', status, durationMs: Math.round(now - first.started) });
}
