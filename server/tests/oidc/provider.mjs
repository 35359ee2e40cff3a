// A real OpenID Connect provider on a free port of this machine, for the tests of the sign-in.
//
//   METERGATE_OIDC_NODE=FOLDER node provider.mjs REDIRECT_ADDRESS
//
// FOLDER has the packages of package.json. The first line printed is the issuer. Whoever signs in as NAME or NAME:WORDS is
// NAME@example.com; with `unverified` among the words, the address is not said to be theirs.

import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

// What it says of itself is not to be taken for the issuer.
console.info = console.warn = console.error;

const folder = process.env.METERGATE_OIDC_NODE;
const { default: Provider } = await import(pathToFileURL(`${folder}/node_modules/oidc-provider/lib/index.js`));
const [redirect] = process.argv.slice(2);

const server = createServer();
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const issuer = `http://127.0.0.1:${server.address().port}`;

function account(id) {
  const [name, ...words] = id.split(':');
  const claims = { sub: id, name, email: `${name}@example.com`, email_verified: !words.includes('unverified') };
  return { accountId: id, claims: async () => claims };
}

const provider = new Provider(issuer, {
  clients: [{ client_id: 'metergate', client_secret: 'a-secret-of-these-tests', redirect_uris: [redirect] }],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  cookies: { keys: ['a key of these tests'] },
  findAccount: async (context, id) => account(id),
  pkce: { required: () => true },
});
server.on('request', provider.callback());
console.log(issuer);
