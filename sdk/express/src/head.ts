import type { ServerResponse } from 'node:http';

import type { LocalDecision } from '@metergate/client';
import type { Response } from 'express';

import type { QuotaContext } from './context.js';
import { contextOf } from './responses.js';

/**
 * Has the rate headers of a decision sent with the response. Six headers that are set one by one are a tenth of the work of a small
 * request: Node checks each name and value, and these come from an answer that it has parsed. They are added as lines instead, so
 * `getHeader` does not see them.
 */
export function sendRate(response: Response, context: QuotaContext, decision: LocalDecision): void {
  if (context.isTold) {
    context.head = decision;
  } else if (!response.headersSent) {
    setRate(response);
    decision.setHeaders(response);
  }
}

/** Sets the rate headers that were to be added to the head, so that those of a later decision take their place. */
export function setRate(response: ServerResponse): void {
  for (let context = contextOf(response); context !== undefined; context = context.before) {
    context.head?.setHeaders(response);
    context.head = undefined;
  }
}
