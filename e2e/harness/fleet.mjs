// Several servers over one Redis, a balancer for each that prefers it, and peers that come in by the balancers.

import assert from 'node:assert/strict';

import { Balancer } from './balancer.mjs';
import { LinePeer } from './line-peer.mjs';
import { Peer } from './peer.mjs';
import { eventually } from './process.mjs';
import { Redis } from './redis.mjs';
import { startServer } from './server.mjs';

/** By this operators are known to the servers of a fleet. */
const TOKEN = '0123456789abcdef';

export class Fleet {
  servers = [];
  balancers = [];
  redis;
  #natives = [];

  /** Starts so many servers, with further arguments. */
  static async start(count, ...options) {
    const fleet = new Fleet();
    fleet.redis = await Redis.start();
    const args = ['--redis', fleet.redis.url, '--admin-token', TOKEN, ...options];
    fleet.servers = await Promise.all(Array.from({ length: count }, () => startServer(...args)));
    const preferring = (at) => [...fleet.servers.slice(at), ...fleet.servers.slice(0, at)];
    fleet.balancers = await Promise.all(fleet.servers.map((_, at) => Balancer.start(preferring(at))));
    return fleet;
  }

  /** Opens a client in a page that prefers a server. */
  page(browser, at, name, ...rooms) {
    return Peer.open(browser, this.balancers[at].url, { name, rooms });
  }

  /** Starts a native client that prefers a server, in a room, or in none yet. */
  native(at, name, room) {
    const peer = LinePeer.native(this.balancers[at].url, room, { name });
    this.#natives.push(peer);
    return peer;
  }

  /** What operators are told by a server. */
  async admin(at, path) {
    const reply = await fetch(`${this.servers[at].url}/admin/api/${path}`, { headers: { authorization: `Bearer ${TOKEN}` } });
    const answer = await reply.json();
    assert.ok(reply.ok, `${path}: ${reply.status} ${answer.error}`);
    return answer;
  }

  /** A metric without labels of a server. */
  async metric(at, name) {
    const text = await (await fetch(`${this.servers[at].url}/metrics`)).text();
    return Number(new RegExp(`^rtc_cafe_${name} (\\d+)$`, 'm').exec(text)?.[1]);
  }

  /** Waits until all servers see Redis, or do not see it any more. */
  async redisIs(up) {
    await Promise.all(this.servers.map((_, at) => eventually(
      async () => assert.equal(await this.metric(at, 'broker_up'), Number(up), `server ${at}`),
    )));
  }

  async close() {
    await Promise.all(this.#natives.map((peer) => peer.kill()));
    this.balancers.forEach((balancer) => balancer.stop());
    await Promise.all(this.servers.map((server) => server.kill()));
    await this.redis?.end();
  }
}

const sids = (peers) => Promise.all(peers.map((peer) => peer.sid()));

/** Does something, and waits until these peers have other sids than before. */
export async function renames(peers, act) {
  const old = await sids(peers);
  const done = await act();
  await eventually(async () => {
    const now = await sids(peers);
    assert.deepEqual(now.filter((sid) => old.includes(sid)), []);
  });
  return done;
}
