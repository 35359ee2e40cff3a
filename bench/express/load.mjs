// Asks an app as fast as it answers, each connection for itself: for a moment, since what it takes at a time can be told.
import { once } from 'node:events';
import net from 'node:net';

const CONNECTIONS = 32;
/** Answers that are good begin so; each comes in one piece. */
const GOOD = 'HTTP/1.1 200';

export class Load {
  #sockets = [];
  #organizations;
  #number = 0;
  #left = 0;
  #open = 0;
  #done = () => {};
  #failed = () => {};

  /** Requests of so many organizations in turn, to the app on the port. */
  static async to(port, organizations) {
    const load = new Load();
    load.#organizations = organizations;
    for (let n = 0; n < CONNECTIONS; n++) {
      const socket = net.connect(port, '127.0.0.1');
      await once(socket, 'connect');
      socket.on('data', (answer) => load.#answered(socket, answer.toString('latin1')));
      load.#sockets.push(socket);
    }
    return load;
  }

  /** So many requests. */
  run(requests) {
    return new Promise((resolve, reject) => {
      [this.#done, this.#failed, this.#left] = [resolve, reject, requests];
      for (const socket of this.#sockets) this.#ask(socket);
    });
  }

  #ask(socket) {
    if (this.#left === 0) return;
    this.#left -= 1;
    this.#open += 1;
    this.#number = (this.#number + 1) % this.#organizations;
    socket.write(`GET /hello HTTP/1.1\r\nHost: app\r\nx-organization: org-${this.#number}\r\n\r\n`);
  }

  #answered(socket, answer) {
    if (!answer.startsWith(GOOD)) this.#failed(new Error(answer));
    this.#open -= 1;
    this.#ask(socket);
    if (this.#open === 0 && this.#left === 0) this.#done();
  }
}
