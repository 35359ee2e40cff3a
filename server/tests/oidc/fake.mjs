// A provider that says what it is told to, true or not, for the tests of the sign-in.
//
//   node fake.mjs [PORT]
//
// The first line printed is the issuer. `POST /say {code, challenge, claims, signed, status}` prepares the answer to a code:
// the token has `claims` beside and over what is right, and is signed by the key `signed` (`known`, `stranger`, `secret`,
// `nobody`). `POST /rotate` takes another key for the known one.

import { createHash, createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:http';

const ID = 'metergate';
const SECRET = 'a-secret-of-these-tests';
const said = new Map();
let rotations = 0;

function newKey() {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const kid = `key-${rotations}`;
  return { kid, privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'ES256' } };
}
let known = newKey();
const stranger = newKey();

const base64url = (bytes) => Buffer.from(bytes).toString('base64url');

function token(claims, signed) {
  const alg = { secret: 'HS256', nobody: 'none' }[signed] ?? 'ES256';
  const header = { alg, typ: 'JWT', ...(alg === 'ES256' ? { kid: known.kid } : {}) };
  const text = [header, claims].map((part) => base64url(JSON.stringify(part))).join('.');
  const { privateKey } = signed === 'stranger' ? stranger : known;
  const signature = {
    HS256: () => createHmac('sha256', SECRET).update(text).digest(),
    none: () => '',
    ES256: () => sign('sha256', Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' }),
  }[alg]();
  return `${text}.${base64url(signature)}`;
}

function exchanged(form, authorization) {
  const prepared = said.get(form.get('code'));
  const credentials = `Basic ${Buffer.from(`${ID}:${SECRET}`).toString('base64')}`;
  const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
  if (authorization !== credentials || !prepared || challenge !== prepared.challenge) {
    return [400, { error: 'invalid_grant' }];
  } else if (prepared.status) {
    return [prepared.status, { padding: 'x'.repeat(prepared.padding ?? 0) }];
  }
  said.delete(form.get('code'));
  const now = Math.floor(Date.now() / 1000);
  const { iat = 0, exp = 300, ...others } = prepared.claims;
  const claims = { iss: issuer, aud: ID, ...others, iat: now + iat, exp: now + exp };
  const given = Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== null));
  return [200, { access_token: 'an-access-token', token_type: 'Bearer', id_token: token(given, prepared.signed) }];
}

async function answer(request) {
  let body = '';
  for await (const part of request) body += part;
  switch (`${request.method} ${new URL(request.url, issuer).pathname}`) {
    case 'GET /.well-known/openid-configuration':
      return [200, {
        issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/keys`,
        response_types_supported: ['code'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['ES256', 'HS256', 'none'],
      }];
    case 'GET /keys':
      return [200, { keys: [known.jwk] }];
    case 'POST /token':
      return exchanged(new URLSearchParams(body), request.headers.authorization);
    case 'POST /say': {
      const prepared = JSON.parse(body);
      said.set(prepared.code, prepared);
      return [200, {}];
    }
    case 'POST /rotate':
      rotations += 1;
      known = newKey();
      return [200, {}];
    default:
      return [404, {}];
  }
}

const server = createServer(async (request, response) => {
  const [status, body] = await answer(request);
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
});
await new Promise((ready) => server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', ready));
const issuer = `http://127.0.0.1:${server.address().port}`;
console.log(issuer);
