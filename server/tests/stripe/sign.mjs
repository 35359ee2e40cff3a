// Signs webhooks as Stripe does, by its own package.
//
//   METERGATE_STRIPE_NODE=FOLDER node sign.mjs
//
// FOLDER has the packages of package.json. Each line that comes is JSON, {payload, secret, timestamp}, and is answered by a
// line: the value of Stripe-Signature.

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const load = createRequire(`${process.env.METERGATE_STRIPE_NODE}/package.json`);
const loaded = load('stripe');
const Stripe = loaded.default ?? loaded;
const stripe = new Stripe('sk_test_of_these_tests');

for await (const line of createInterface({ input: process.stdin })) {
  console.log(stripe.webhooks.generateTestHeaderString(JSON.parse(line)));
}
