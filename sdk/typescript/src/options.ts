/** How a client is set up. What is not given comes from the environment, then from the default. */
export interface MetergateOptions {
  /** Where the server is; `METERGATE_URL`, else `http://127.0.0.1:8080`. */
  url?: string;
  /** An API key with the scope `consume`; `METERGATE_API_KEY`. */
  apiKey?: string;
  /** Whether usage is recorded in the background; `METERGATE_ENABLED`, else true. Decisions are made all the same. */
  enabled?: boolean;
  /** Events sent at once, 1 to 1,000; `METERGATE_BATCH_SIZE`, else 100. */
  batchSize?: number;
  /** The longest time in milliseconds that an event waits to be sent; `METERGATE_FLUSH_INTERVAL_MS`, else 5,000. */
  flushIntervalMs?: number;
  /** The longest time in milliseconds that a call may take, its repetitions included; 2,000. */
  timeoutMs?: number;
  /** Events that may wait to be sent; further ones are dropped and counted. 10,000. */
  maxQueued?: number;
  /** Characters of JSON that these may have together; further ones are dropped and counted. 33,554,432. */
  maxQueuedSize?: number;
  /** Connections to the server; 64. */
  maxConnections?: number;
  /** Whether what waits is sent at `SIGTERM` before the process ends; true. It is sent at a natural end in any case. */
  handleSigterm?: boolean;
  /** Told of each background failure: why nothing could be sent just now, or why an event was not taken. Never throws into you. */
  onError?: (error: Error) => void;
  /** Told of events that are lost to the record, and why. */
  onDropped?: (events: readonly object[], why: string) => void;
}

/** Options with every default filled in. */
export interface Settings extends Required<Omit<MetergateOptions, 'url' | 'onError' | 'onDropped'>> {
  url: URL;
  onError: (error: Error) => void;
  onDropped: (events: readonly object[], why: string) => void;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Fills in what is not given.
 *
 * @throws {TypeError} a value is not one that it can be; the message names it.
 */
export function settings(options: MetergateOptions = {}, environment: Environment = process.env): Settings {
  const onError = quiet(options.onError ?? (() => {}));
  return {
    url: address(options.url ?? environment['METERGATE_URL'] ?? 'http://127.0.0.1:8080'),
    apiKey: options.apiKey ?? environment['METERGATE_API_KEY'] ?? '',
    enabled: options.enabled ?? flag('ENABLED', environment, true),
    batchSize: whole('batchSize', options.batchSize ?? number('BATCH_SIZE', environment, 100), 1, 1_000),
    flushIntervalMs: whole('flushIntervalMs', options.flushIntervalMs ?? number('FLUSH_INTERVAL_MS', environment, 5_000), 1, 3_600_000),
    timeoutMs: whole('timeoutMs', options.timeoutMs ?? 2_000, 1, 600_000),
    maxQueued: whole('maxQueued', options.maxQueued ?? 10_000, 1, 10_000_000),
    maxQueuedSize: whole('maxQueuedSize', options.maxQueuedSize ?? 32 * 1024 * 1024, 1, 4 * 1024 * 1024 * 1024),
    maxConnections: whole('maxConnections', options.maxConnections ?? 64, 1, 10_000),
    handleSigterm: options.handleSigterm ?? true,
    onError,
    onDropped: quiet(options.onDropped ?? (() => {}), onError),
  };
}

/** A listener whose own errors end nothing; they are told to `otherwise`. */
function quiet<A extends unknown[]>(listener: (...given: A) => void, otherwise?: (error: Error) => void): (...given: A) => void {
  return (...given) => {
    try {
      listener(...given);
    } catch (error) {
      otherwise?.(error as Error);
    }
  };
}

function address(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new TypeError(`url (METERGATE_URL) must be an http or https address, not ${JSON.stringify(text)}`);
  }
  return url;
}

/** A whole number within bounds. */
export function whole(name: string, value: number, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new TypeError(`${name} must be a whole number from ${least} to ${most}, not ${value}`);
  }
  return value;
}

/** A variable by its present name, else by the one that older applications set. */
function variable(name: string, environment: Environment): { name: string; text: string } | undefined {
  for (const prefix of ['METERGATE_', 'USAGE_METER_']) {
    const text = environment[prefix + name]?.trim();
    if (text) return { name: prefix + name, text };
  }
  return undefined;
}

function number(name: string, environment: Environment, otherwise: number): number {
  const found = variable(name, environment);
  if (found === undefined) return otherwise;
  if (!/^\d+$/.test(found.text)) throw new TypeError(`${found.name} must be a whole number, not ${JSON.stringify(found.text)}`);
  return Number(found.text);
}

function flag(name: string, environment: Environment, otherwise: boolean): boolean {
  const found = variable(name, environment);
  if (found === undefined) return otherwise;
  const text = found.text.toLowerCase();
  if (['true', '1', 'yes', 'on'].includes(text)) return true;
  if (['false', '0', 'no', 'off'].includes(text)) return false;
  throw new TypeError(`${found.name} must be true or false, not ${JSON.stringify(found.text)}`);
}
