// A server that fails as told: it answers each request by the next of `answers`, and by the last of them from then on.
import { once } from 'node:events';
import { createServer } from 'node:http';

/**
 * An answer is a function of `(request, response, body)`. Keeps what it was asked in `asked`.
 */
export async function faulty(...answers) {
  const asked = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part) => (body += part));
    request.on('end', () => {
      asked.push({ method: request.method, path: request.url, headers: request.headers, body });
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      answer(request, response, body);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const stop = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  };
  return { url: `http://127.0.0.1:${server.address().port}`, asked, stop };
}

/** Answers with JSON. */
export const json = (status, value, headers = {}) => (_, response) => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
};
/** Cuts the connection without an answer. */
export const cut = (request) => request.socket.destroy();
/** Never answers. */
export const silence = () => {};
/** Takes every event of a batch. */
export const taken = (_, response, body) => json(200, { accepted: JSON.parse(body).length, duplicates: 0, rejected: [] })(_, response);
