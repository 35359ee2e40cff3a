import type { Response } from 'express';

import type { QuotaContext } from './context.js';
import type { Middleware, QuotaRequest } from './quota.js';

/** What is recorded after a response. */
export interface MeterOptions {
  /** The meter that counts responses with a status of 500 and above; `errors`. With false none does. */
  errors?: string | false;
}

/** The status of a response that its caller did not wait for. */
const CLOSED_BY_CALLER = 499;

/**
 * Records after each response how long it took and how it ended, on the record of each decision that `tenantQuota` made of it:
 * one request is one call in all figures. A request never fails, and never waits, because of it.
 */
export function usageMeter<R extends QuotaRequest = QuotaRequest>(options: MeterOptions = {}): Middleware<R> {
  const errors = options.errors ?? 'errors';
  // One for all responses: none has to be made for each.
  function closed(this: Response): void {
    record(this, errors);
  }
  return (_, response, next) => {
    if (response.closed) record(response, errors);
    else response.on('close', closed);
    next();
  };
}

/** Once for each decision, however often the middleware stands in the way of a request. */
function record(response: Response, errors: string | false): void {
  let context: QuotaContext | undefined = response.req.metergate;
  if (context === undefined) return;
  const isWhole = response.writableFinished;
  const status = isWhole ? response.statusCode : CLOSED_BY_CALLER;
  const now = performance.now();
  let first = context;
  for (; context !== undefined; context = context.before) {
    context.finish({ durationMs: Math.round(now - context.started), status }, isWhole);
    first = context;
  }
  if (first.isMetered) return;
  first.isMetered = true;
  if (errors === false || status < 500) return;
  const { client, organization } = first;
  client.record({ organization, meter: errors, source: '@metergate/express', status, durationMs: Math.round(now - first.started) });
}
