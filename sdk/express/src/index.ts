import type { QuotaContext } from './context.js';

export { QuotaContext } from './context.js';
export type { How } from './context.js';
export { usageMeter } from './meter.js';
export type { MeterOptions } from './meter.js';
export type { Policy } from './policy.js';
export { sharedClient, tenantQuota } from './quota.js';
export type { Middleware, QuotaOptions, QuotaRequest } from './quota.js';

declare global {
  namespace Express {
    interface Request {
      /** What this request consumes, once `tenantQuota` has decided. */
      metergate?: QuotaContext;
    }
  }
}
