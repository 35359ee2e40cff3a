import type { Bundle } from './bundle.js';
import type { Metergate } from './client.js';
import { ProblemError } from './errors.js';
import type { Tenant } from './local-decision.js';

interface Options {
  meter: string;
  holdMs: number;
  ttlSeconds: number;
}

/** Tells how calls went that ended when nothing was held any more: with a settlement of nothing, which counts nothing. */
export class LateCalls {
  readonly #client: Metergate;
  readonly #bundle: Bundle;
  readonly #options: Options;
  readonly #tenants = new Set<Tenant>();
  #timer: NodeJS.Timeout | undefined;

  constructor(client: Metergate, bundle: Bundle, options: Options) {
    this.#client = client;
    this.#bundle = bundle;
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#tenants.size === 0;
  }

  /** Something of the organization is to be told, unless something is held before long: then it is told with that. */
  add(tenant: Tenant): void {
    this.#tenants.add(tenant);
    this.#timer ??= setTimeout(() => void this.tell(), this.#options.holdMs).unref();
  }

  /** Tells all of it now. What cannot be told now is told later. */
  async tell(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const tenants = [...this.#tenants];
    this.#tenants.clear();
    await Promise.all(tenants.map((tenant) => this.#tell(tenant)));
  }

  async #tell(tenant: Tenant): Promise<void> {
    const { meter, ttlSeconds } = this.#options;
    const { organization } = tenant;
    if (tenant.calls.isEmpty || tenant.held !== undefined || tenant.next !== undefined) return;
    const calls = tenant.calls.taken(0);
    try {
      const reservation = await this.#bundle.reserve({ organization, meter, quantity: 0, ttlSeconds }, { waitMs: 0 });
      if (reservation.allowed) return await this.#client.settlements.commit(reservation, { quantity: 0, calls });
      this.#client.settings.onDropped([{ organization, meter, calls }], `how calls went cannot be told: ${reservation.reason}`);
    } catch (error) {
      const isFinal = error instanceof ProblemError && error.status < 500 && error.status !== 429;
      if (isFinal) return this.#client.settings.onDropped([{ organization, meter, calls }], `how calls went cannot be told: ${error.message}`);
      this.#client.settings.onError(error as Error);
      tenant.calls.put(calls);
      this.add(tenant);
    }
  }
}
