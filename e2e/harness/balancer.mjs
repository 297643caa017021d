// A balancer in front of several servers: hands connections to the first that is there, and says that it is ready.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

import { eventually } from './process.mjs';

export class Balancer {
  #connections = new Set();
  #unready = new Set();

  /** Balances over servers, which may come and go; the ones in front are preferred. */
  static async start(servers) {
    const balancer = new Balancer();
    balancer.servers = servers;
    balancer.server = createServer((client) => balancer.#accept(client)).listen(0, '127.0.0.1');
    await once(balancer.server, 'listening');
    balancer.watch = setInterval(() => balancer.#look(), 200);
    balancer.url = `http://127.0.0.1:${balancer.server.address().port}`;
    return balancer;
  }

  /** Asks the servers whether they want clients. */
  #look() {
    for (const server of this.servers) {
      fetch(`${server.url}/readyz`).then(({ ok }) => this.#unready[ok ? 'delete' : 'add'](server), () => {});
    }
  }

  /** Waits until it takes a server for one that wants clients. */
  takes(server) {
    return eventually(() => assert.ok(!this.#unready.has(server), `${server.url} is not taken for ready`));
  }

  #accept(client) {
    this.#connections.add(client);
    client.on('close', () => this.#connections.delete(client)).on('error', () => {}).pause();
    const servers = [...this.servers].sort((one, other) => this.#unready.has(one) - this.#unready.has(other));
    const attempt = (tried) => {
      if (tried === servers.length) return client.destroy();
      const { port } = servers[tried];
      const server = connect({ host: '127.0.0.1', port, noDelay: true });
      server.once('error', () => attempt(tried + 1));
      server.once('connect', () => {
        server.removeAllListeners('error').on('error', () => client.destroy()).on('close', () => client.destroy());
        client.setNoDelay().on('close', () => server.destroy());
        client.pipe(server).pipe(client);
      });
      return undefined;
    };
    attempt(0);
  }

  stop() {
    clearInterval(this.watch);
    this.server.close();
    for (const connection of this.#connections) connection.destroy();
  }
}
