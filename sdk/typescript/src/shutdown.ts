/** What is to be done before the process ends. */
interface Closing {
  close(timeoutMs?: number): Promise<void>;
  flush(timeoutMs?: number): Promise<boolean>;
}

/** The clients of this process that are open: one list, also where this module is loaded more than once. */
interface Watch {
  open: Set<Closing>;
  /** Those that are sent at `SIGTERM`. */
  terminated: Set<Closing>;
  /** The listener, which is the first copy's. */
  sigterm: () => void;
}

const NAME = Symbol.for('@metergate/client');

function watched(): Watch {
  const global = globalThis as { [NAME]?: Watch };
  if (global[NAME] === undefined) {
    global[NAME] = { open: new Set(), terminated: new Set(), sigterm: () => void sigterm() };
    process.on('beforeExit', () => void idle());
  }
  return global[NAME];
}

/** Sees to it that what `client` has taken in is sent when the process has nothing more to do, and at `SIGTERM`. */
export function watch(client: Closing, handleSigterm: boolean): void {
  const { open, terminated, sigterm: listener } = watched();
  open.add(client);
  if (!handleSigterm) return;
  if (terminated.size === 0) process.on('SIGTERM', listener);
  terminated.add(client);
}

/** A client that is closed is watched no more. */
export function unwatch(client: Closing): void {
  const { open, terminated, sigterm: listener } = watched();
  open.delete(client);
  if (terminated.delete(client) && terminated.size === 0) process.off('SIGTERM', listener);
}

/** Sends, and then lets the signal have its effect, unless the application itself listens to it: it ends the process then. */
async function sigterm(): Promise<void> {
  const { terminated, sigterm: listener } = watched();
  const isOurs = process.listenerCount('SIGTERM') === 1;
  await Promise.all([...terminated].map((client) => (isOurs ? client.close() : client.flush())));
  if (isOurs) {
    process.off('SIGTERM', listener);
    process.kill(process.pid, 'SIGTERM');
  }
}

/** What cannot be sent is dropped and told: it does not keep the process. */
async function idle(): Promise<void> {
  await Promise.all([...watched().open].map(async (client) => (await client.flush()) || client.close(1)));
}
