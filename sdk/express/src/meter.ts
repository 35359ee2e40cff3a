import type { Response } from 'express';

import type { Middleware, QuotaRequest } from './quota.js';
import { contextOf } from './responses.js';

/** What is recorded after a response. */
export interface MeterOptions {
  /** The meter that counts responses with a status of 500 and above; `errors`. With false none does. */
  errors?: string | false;
}

/**
 * Records after each response how long it took and how it ended, on the record of each decision that `tenantQuota` made of it:
 * one request is one call in all figures. A request never fails, and never waits, because of it.
 */
export function usageMeter<R extends QuotaRequest = QuotaRequest>(options: MeterOptions = {}): Middleware<R> {
  const errors = options.errors ?? 'errors';
  // One for all responses: none has to be made for each.
  function closed(this: Response): void {
    contextOf(this)?.first.record(this, this.writableFinished, errors);
  }
  return (_, response, next) => {
    const first = contextOf(response)?.first;
    if (first?.isTold && !first.isClosed) first.errors ??= errors;
    else if (response.closed) closed.call(response);
    else response.on('close', closed);
    next();
  };
}
