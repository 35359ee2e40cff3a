import type { ServerResponse } from 'node:http';

import type { Middleware, QuotaRequest } from './quota.js';

/** What is recorded after a response. */
export interface MeterOptions {
  /** The meter that counts responses with a status of 500 and above; `errors`. With false none does. */
  errors?: string | false;
}

/** The status of a response that its caller did not wait for. */
const CLOSED_BY_CALLER = 499;

/**
 * Records after each response how long it took and how it ended, on the record of the decision that `tenantQuota` made: one
 * request is one call in all figures. A request never fails, and never waits, because of it.
 */
export function usageMeter<R extends QuotaRequest = QuotaRequest>(options: MeterOptions = {}): Middleware<R> {
  const errors = options.errors ?? 'errors';
  return (request, response, next) => {
    const context = request.metergate;
    if (context !== undefined) {
      response.once('close', () => {
        const status = ended(response);
        const durationMs = Math.round(performance.now() - context.started);
        context.finish({ durationMs, status });
        if (errors !== false && status >= 500) {
          context.client.record({ organization: context.organization, meter: errors, source: '@metergate/express', status, durationMs });
        }
      });
    }
    next();
  };
}

function ended(response: ServerResponse): number {
  return response.writableFinished ? response.statusCode : CLOSED_BY_CALLER;
}
