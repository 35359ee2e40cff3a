// Organizations and people in every state that a page can show.

import { createHmac } from 'node:crypto';
import { STRIPE_SECRET } from './server.mjs';

export const PASSWORD = 'correct horse battery';
const MODELS = ['gpt-4o', 'claude-sonnet', 'gpt-4o-mini', 'gemini-flash', 'mistral-large', 'llama-70b', 'haiku', 'embed-3', 'phi-4', 'command-r'];

/** An address of somebody in these tests. */
export const address = (name) => `${name}@example.com`;

/** Makes everything. */
export async function seed(api) {
  await api('PATCH', '/v1/settings', { teamName: 'Northwind', contact: 'help@example.com' });
  await api('POST', '/v1/administrators', { email: address('root'), password: PASSWORD });
  await api('POST', '/v1/administrators', { email: address('pending') });
  await api('POST', '/v1/organizations', { key: 'acme', name: 'Acme', plan: 'starter', timeZone: 'Europe/Berlin' });
  await api('POST', '/v1/organizations', { key: 'globex', name: 'Globex Corporation', plan: 'pro' });
  await api('POST', '/v1/organizations', { key: 'idle', name: 'Idle', plan: 'enterprise' });
  for (let number = 0; number < 55; number += 1) {
    await api('POST', '/v1/organizations', { key: `many-${number}`, name: `Customer ${number}`, plan: number % 3 ? 'free' : 'pro' });
  }
  await aged(api);
  await people(api);
  await use(api);
  await webhooks(api);
  await subscriptions(api);
  await api('PUT', '/v1/organizations/globex/lock', { reason: 'Invoice 2026-10 is open' });
}

/** How long ago the organization that has a past was made, in days; its billing period is as old. */
const AGE = 21;

/**
 * An organization in the middle of its billing period, so that its charts are full and lead on: a test organization, whose own clock
 * is set to when it began, and then to now.
 */
async function aged(api) {
  const now = Date.now();
  const at = (day) => new Date(now - (AGE - day) * 86_400_000);
  const clock = (time) => api('PUT', '/v1/organizations/initech/clock', { now: time.toISOString(), reason: 'A past' });
  await api('POST', '/v1/organizations', { key: 'initech', name: 'Initech', plan: 'starter', timeZone: 'Europe/Berlin', test: true });
  await clock(at(0));
  await clock(new Date(now));
  const events = [];
  const used = (type, id, time, data) => events.push({ specversion: '1.0', source: 'past', id, type, subject: 'initech', time, data });
  for (let day = 1; day <= AGE; day += 1) {
    // A little less at week-ends, and more from week to week.
    const pace = (at(day).getUTCDay() % 6 === 0 ? 0.35 : 1) * (1 + day / AGE);
    const time = new Date(at(day) - 3_600_000).toISOString();
    for (const [order, model] of MODELS.entries()) {
      used('tokens', `${day}-${model}`, time, { quantity: Math.round((1_100 * pace) / (order + 1)), model });
    }
    used('messages', `${day}-messages`, time, { quantity: Math.round(310 * pace) });
    used('conversations', `${day}-conversations`, time, { quantity: Math.round(42 * pace) });
    used('api_calls', `${day}-api-calls`, time, { quantity: Math.round(700 * pace) });
    used('storage_bytes', `${day}-storage`, time, { quantity: 120_000_000 * day });
  }
  await api('POST', '/v1/events', events, { type: 'application/cloudevents-batch+json' });
  const consume = (meter, quantity) => api('POST', '/v1/consume', { organization: 'initech', meter, quantity });
  // What it may still have, and then more: refused, and beyond a soft limit allowed.
  await consume('generations', 500);
  await consume('generations', 1);
  await api('PUT', '/v1/organizations/initech/overrides/conversations/billingPeriod', { max: 900, enforcement: 'soft', reason: 'A quiet month' });
  await consume('conversations', 150);
  await api('POST', '/v1/reservations', { organization: 'initech', meter: 'messages', quantity: 400, ttlSeconds: 3_600 });
  await api('PUT', '/v1/organizations/initech/extra/messages', { quantity: 1_500, reason: 'A campaign' });
  await api('POST', '/v1/organizations/initech/grants', { meter: 'messages', amount: 750, reason: 'A goodwill gesture' });
}

async function people(api) {
  for (const [name, role, organization] of [
    ['owner', 'owner', 'acme'],
    ['viewer', 'viewer', 'acme'],
    ['editor', 'editor', 'acme'],
    ['locked', 'owner', 'globex'],
    ['aged', 'viewer', 'initech'],
  ]) {
    const { token } = await api('POST', `/v1/organizations/${organization}/invitations`, { email: address(name), role });
    const who = { email: address(name), password: PASSWORD, name: `${name[0].toUpperCase()}${name.slice(1)} Person`, invitation: token };
    await api('POST', '/api/auth/register', who, { key: null });
  }
  await api('POST', '/v1/organizations/acme/invitations', { email: address('invited'), role: 'editor' });
}

/** An endpoint that hears of everything and where nobody listens, and one that is disabled. */
async function webhooks(api) {
  const url = 'http://127.0.0.1:1025/hooks';
  const billing = await api('POST', '/v1/webhook-endpoints', { url, description: 'Billing' });
  await api('POST', `/v1/webhook-endpoints/${billing.id}/test`);
  const support = await api('POST', '/v1/webhook-endpoints', { url: `${url}/support`, types: ['usage.refused', 'organization.locked'] });
  await api('PATCH', `/v1/webhook-endpoints/${support.id}`, { enabled: false });
}

/** A subscription whose payment is missing, and an event that nobody can use: Stripe tells of them. */
async function subscriptions(api) {
  const now = Math.floor(Date.now() / 1_000);
  for (const organization of ['globex', 'nobody']) {
    const [start, end] = [now - 5 * 86_400, now + 25 * 86_400];
    const item = { price: { id: 'price_pro' }, current_period_start: start, current_period_end: end };
    const object = {
      id: `sub_${organization}`, object: 'subscription', customer: `cus_${organization}`, created: start, status: 'past_due',
      cancel_at: null, cancel_at_period_end: false, trial_end: null, items: { object: 'list', data: [item] }, metadata: { organization },
    };
    const type = 'customer.subscription.updated';
    const event = { id: `evt_${organization}`, object: 'event', type, created: now, livemode: false, data: { object } };
    const signature = createHmac('sha256', STRIPE_SECRET).update(`${now}.${JSON.stringify(event)}`).digest('hex');
    await api('POST', '/webhooks/stripe', event, { key: null, more: { 'Stripe-Signature': `t=${now},v1=${signature}` } });
  }
  for (let tries = 0; tries < 200; tries += 1) {
    const { subscriptionStatus } = await api('GET', '/v1/organizations/globex/subscription');
    if (subscriptionStatus === 'past_due') return;
    await new Promise((later) => setTimeout(later, 50));
  }
  throw new Error('the subscription of globex did not come to be past due within ten seconds');
}

/** Weeks of use by many models, limits near and reached, extra quota, credit and something held. */
async function use(api) {
  const now = Date.now();
  const events = [];
  for (let day = 0; day < 28; day += 1) {
    for (const [at, model] of MODELS.entries()) {
      const tokens = Math.round((900 * (1 + Math.sin(day + at)) + 60) / (at + 1));
      const time = new Date(now - day * 86_400_000 - 60_000).toISOString();
      const event = { specversion: '1.0', source: 'seed', type: 'tokens', subject: 'acme', data: { quantity: tokens, model } };
      events.push({ ...event, id: `${day}-${model}`, time });
    }
  }
  // Priced as it comes, and later the price turns out to have been another.
  const priced = { model: 'gpt-4o-mini', inputTokens: 120_000, outputTokens: 8_000 };
  const time = new Date(now - 3_600_000).toISOString();
  events.push({ specversion: '1.0', id: 'priced', source: 'seed', type: 'tokens', subject: 'acme', time, data: priced });
  await api('POST', '/v1/events', events, { type: 'application/cloudevents-batch+json' });
  const from = new Date(now - 20 * 86_400_000).toISOString().slice(0, 10);
  const price = { model: 'gpt-4o-mini', provider: 'openai', effectiveFrom: from, input: '0.30', output: '1.20' };
  await api('PATCH', '/v1/prices', { set: [price] });
  const consume = (organization, meter, quantity) => api('POST', '/v1/consume', { organization, meter, quantity });
  await consume('acme', 'messages', 8_400);
  await consume('acme', 'generations', 500);
  // Refused.
  await consume('acme', 'generations', 1);
  await consume('acme', 'tokens', 12_500);
  await consume('globex', 'tokens', 41_000);
  await consume('acme', 'conversations', 120);
  await consume('acme', 'api_calls', 37);
  await consume('globex', 'messages', 4_000);
  await api('POST', '/v1/reservations', { organization: 'acme', meter: 'messages', quantity: 300, ttlSeconds: 3_600 });
  await api('PUT', '/v1/organizations/acme/extra/messages', { quantity: 2_000 });
  await api('POST', '/v1/organizations/acme/grants', { meter: 'messages', amount: 500, reason: 'A goodwill gesture' });
}
