// Organizations and people in every state that a page can show.

export const PASSWORD = 'correct horse battery';
const MODELS = ['gpt-4o', 'claude-sonnet', 'gpt-4o-mini', 'gemini-flash', 'mistral-large', 'llama-70b', 'haiku', 'embed-3', 'phi-4', 'command-r'];

/** An address of somebody in these tests. */
export const address = (name) => `${name}@example.com`;

/** Makes everything. */
export async function seed(api) {
  await api('PATCH', '/v1/settings', { teamName: 'Northwind', contact: 'help@example.com' });
  await api('POST', '/v1/administrators', { email: address('root'), password: PASSWORD });
  await api('POST', '/v1/organizations', { key: 'acme', name: 'Acme', plan: 'starter', timeZone: 'Europe/Berlin' });
  await api('POST', '/v1/organizations', { key: 'globex', name: 'Globex Corporation', plan: 'pro' });
  await api('POST', '/v1/organizations', { key: 'idle', name: 'Idle', plan: 'enterprise' });
  for (let number = 0; number < 55; number += 1) {
    await api('POST', '/v1/organizations', { key: `many-${number}`, name: `Customer ${number}`, plan: number % 3 ? 'free' : 'pro' });
  }
  await people(api);
  await use(api);
  await webhooks(api);
  await api('PUT', '/v1/organizations/globex/lock', { reason: 'Invoice 2026-10 is open' });
}

async function people(api) {
  for (const [name, role, organization] of [
    ['owner', 'owner', 'acme'],
    ['viewer', 'viewer', 'acme'],
    ['editor', 'editor', 'acme'],
    ['locked', 'owner', 'globex'],
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
  await api('POST', '/v1/events', events, { type: 'application/cloudevents-batch+json' });
  const consume = (organization, meter, quantity) => api('POST', '/v1/consume', { organization, meter, quantity });
  await consume('acme', 'messages', 8_400);
  await consume('acme', 'generations', 500);
  await consume('acme', 'conversations', 120);
  await consume('acme', 'api_calls', 37);
  await consume('globex', 'messages', 4_000);
  await api('POST', '/v1/reservations', { organization: 'acme', meter: 'messages', quantity: 300, ttlSeconds: 3_600 });
  await api('PUT', '/v1/organizations/acme/extra/messages', { quantity: 2_000 });
  await api('POST', '/v1/organizations/acme/grants', { meter: 'messages', amount: 500, reason: 'A goodwill gesture' });
}
