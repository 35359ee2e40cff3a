import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';

import type { LocalDecision } from '@metergate/client';
import type { Request, Response } from 'express';

import type { QuotaContext } from './context.js';

/** What Node has, but does not promise: it writes the first line and the headers of a response. */
interface Writing {
  _storeHeader?: (firstLine: string, headers: unknown) => void;
}

const written = (ServerResponse.prototype as unknown as Writing)._storeHeader;

/** The same, with the rate headers of what was decided for the request. */
function storeHeader(this: { req?: { metergate?: QuotaContext } }, firstLine: string, headers: unknown): void {
  const decision = this.req?.metergate?.head;
  written?.call(this as Writing, decision === undefined ? firstLine : firstLine + decision.headerLines(), headers);
}

/** Whether this version of Node writes heads as this file expects it; else headers are set one by one. */
const canAddLines = ((): boolean => {
  try {
    const request = new IncomingMessage(new Socket()) as IncomingMessage & { metergate: { head: Pick<LocalDecision, 'headerLines'> } };
    request.metergate = { head: { headerLines: () => 'x-ratelimit: 1\r\n' } };
    const response = Object.assign(new ServerResponse(request), { _storeHeader: storeHeader }) as unknown as ServerResponse & { _header: unknown };
    response.setHeader('x-other', '2');
    response.writeHead(200);
    return typeof response._header === 'string' && response._header.startsWith('HTTP/1.1 200 OK\r\nx-ratelimit: 1\r\nx-other: 2\r\n');
  } catch {
    return false;
  }
})();

/** An application as Express has it, mounted in another or not; what all of its responses have in common. */
interface Mounted {
  parent?: Mounted;
  response?: object;
}

/** Whether the application's responses write the lines: what all of its responses have in common is told so once. */
function addsLines(request: Request, response: Writing): boolean {
  if (response._storeHeader === storeHeader) return true;
  // What somebody else has put in its place stays.
  if (!canAddLines || response._storeHeader !== written) return false;
  let app = request.app as Mounted | undefined;
  while (app?.parent !== undefined) app = app.parent;
  if (app?.response === undefined) return false;
  Object.defineProperty(app.response, '_storeHeader', { value: storeHeader, configurable: true, writable: true });
  return response._storeHeader === storeHeader;
}

/**
 * Has the rate headers of a decision sent with the response. Six headers that are set one by one are a tenth of the work of a small
 * request: Node checks each name and value, and these come from an answer that it has parsed. They are added as lines instead, so
 * `getHeader` does not see them.
 */
export function sendRate(request: Request, response: Response, context: QuotaContext, decision: LocalDecision): void {
  if (context.before === undefined && addsLines(request, response as Writing)) {
    context.head = decision;
    return;
  }
  setRate(response);
  decision.setHeaders(response);
}

/** Sets the rate headers that were to be added to the head, so that those of a later decision take their place. */
export function setRate(response: ServerResponse): void {
  for (let context = (response.req as { metergate?: QuotaContext } | undefined)?.metergate; context !== undefined; context = context.before) {
    context.head?.setHeaders(response);
    context.head = undefined;
  }
}
