import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';

import type { Request, Response } from 'express';

import type { QuotaContext } from './context.js';

/*
 * Express gives each request and response its prototype when it comes, and from then on V8 knows it as an object of a kind of its
 * own: each place in a program that reads a property of it, or adds one, looks for it anew and costs about a microsecond. So what
 * is known of a request is kept beside it, and of responses as little is asked as can be.
 */

const SHARED = Symbol.for('@metergate/express');
/** What responses' requests consume: one map, also where this module is loaded more than once. */
const contexts = ((globalThis as { [SHARED]?: WeakMap<object, QuotaContext> })[SHARED] ??= new WeakMap<object, QuotaContext>());

/** What the last `tenantQuota` decided of a response's request. */
export function contextOf(response: object): QuotaContext | undefined {
  return contexts.get(response);
}

/** A property: one place for several names, so that V8 does not try to learn where each kind of object has it. */
export function read<T extends object, K extends keyof T>(object: T, name: K): T[K] {
  return object[name];
}

/** What Node has, but does not promise: it writes the first line and the headers of a response. */
interface Writing {
  _storeHeader?: (firstLine: string, headers: unknown) => void;
}

const written = (ServerResponse.prototype as unknown as Writing)._storeHeader;

/** The same, with the rate headers of what was decided for the request. */
function storeHeader(this: object, firstLine: string, headers: unknown): void {
  const decision = contexts.get(this)?.head;
  written?.call(this as Writing, decision === undefined ? firstLine : firstLine + decision.headerLines(), headers);
}

type Emit = (this: object, ...given: [string, ...unknown[]]) => boolean;

/** An `emit` that tells the context how the response ended, after all listeners: cheaper than a listener of each response's own. */
function telling(emit: Emit): Emit {
  return function (...given) {
    const isHeard = emit.apply(this, given);
    if (given[0] === 'close') contexts.get(this)?.first.closed(this as Response);
    else if (given[0] === 'finish') contexts.get(this)?.first.finished();
    return isHeard;
  };
}

/** Whether this version of Node writes heads as this file expects it; else headers are set one by one. */
const canAddLines = ((): boolean => {
  try {
    const response = Object.assign(new ServerResponse(new IncomingMessage(new Socket())), { _storeHeader: storeHeader }) as unknown as ServerResponse & { _header: unknown };
    contexts.set(response, { head: { headerLines: () => 'x-ratelimit: 1\r\n' } } as QuotaContext);
    response.setHeader('x-other', '2');
    response.writeHead(200);
    return typeof response._header === 'string' && response._header.startsWith('HTTP/1.1 200 OK\r\nx-ratelimit: 1\r\nx-other: 2\r\n');
  } catch {
    return false;
  }
})();

/** An application as Express has it, mounted in another or not; what all of its requests and responses have in common. */
interface Mounted {
  parent?: Mounted;
  request?: object;
  response?: Writing & { emit?: Emit };
}

/** Of what responses have in common: whether they write the lines and tell how they ended. */
const prepared = new WeakMap<object, boolean>();

/** Has all responses of the application do so. What somebody else has put in the place of Node's writing stays. */
function prepare(request: Request, response: Writing): boolean {
  if (response._storeHeader === storeHeader) return true;
  if (!canAddLines || response._storeHeader !== written) return false;
  let app = request.app as Mounted | undefined;
  while (app?.parent !== undefined) app = app.parent;
  if (app?.request === undefined || app.response?.emit === undefined) return false;
  const more = { configurable: true, writable: true };
  Object.defineProperties(app.response, { _storeHeader: { value: storeHeader, ...more }, emit: { value: telling(app.response.emit), ...more } });
  Object.defineProperty(app.request, 'metergate', {
    get(this: Request) {
      return this.res === undefined ? undefined : contexts.get(this.res);
    },
    set(this: Request, context: QuotaContext) {
      if (this.res !== undefined) contexts.set(this.res, context);
    },
    configurable: true,
  });
  return response._storeHeader === storeHeader;
}

/** Makes the context known as that of the request. */
export function keep(request: Request & { metergate?: QuotaContext }, response: Response, context: QuotaContext): void {
  contexts.set(response, context);
  const common = Object.getPrototypeOf(response) as object;
  let isPrepared = prepared.get(common);
  if (isPrepared === undefined) prepared.set(common, (isPrepared = prepare(request, response as Writing)));
  if (!isPrepared) request.metergate = context;
  // Of one that is at its end nothing more is told.
  else if (context.first === context) context.isTold = !read(response, 'finished') && !read(response, 'destroyed');
}
