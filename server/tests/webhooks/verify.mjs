// Verifies a webhook as a receiver does, by npm's standardwebhooks.
//
//   METERGATE_WEBHOOKS_NODE=FOLDER node verify.mjs
//
// FOLDER has the packages of package.json. Takes {"secret", "headers", "body"} as JSON on its standard input, and prints
// {"verified": <the body, parsed>} or {"refused": <why>}.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const folder = process.env.METERGATE_WEBHOOKS_NODE;
const { Webhook } = createRequire(join(folder, 'package.json'))('standardwebhooks');

let input = '';
for await (const part of process.stdin) input += part;
const { secret, headers, body } = JSON.parse(input);
let said;
try {
  said = { verified: new Webhook(secret).verify(body, headers) };
} catch (error) {
  said = { refused: error.message };
}
console.log(JSON.stringify(said));
