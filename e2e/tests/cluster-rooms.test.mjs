// Peers that talk all the time, in pages and in processes, while servers and Redis die and come back: nobody notices.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Balancer } from '../harness/balancer.mjs';
import { Browser } from '../harness/browser.mjs';
import { LinePeer } from '../harness/line-peer.mjs';
import { Peer, everybodySees } from '../harness/peer.mjs';
import { eventually } from '../harness/process.mjs';
import { Redis, WITHOUT_REDIS } from '../harness/redis.mjs';
import { startServer } from '../harness/server.mjs';
import { Traffic } from '../harness/traffic.mjs';

/** How long after the end of a server somebody may be taken for present who is not. */
const LEASE = 30_000;

describe('rooms over several servers', { skip: WITHOUT_REDIS }, () => {
  let browser;
  let redis;
  let servers = [];
  let balancers = [];
  let natives = [];
  before(async () => { browser = await Browser.launch(); });
  afterEach(async () => {
    await browser.clear();
    await Promise.all(natives.splice(0).map((peer) => peer.kill()));
    balancers.splice(0).forEach((balancer) => balancer.stop());
    await Promise.all(servers.splice(0).map((server) => server.kill()));
    await redis?.end();
  });
  after(() => browser?.close());

  async function start(count, options) {
    redis = await Redis.start();
    servers = await Promise.all(Array.from({ length: count }, () => startServer('--redis', redis.url, ...options)));
    // Each client prefers another server.
    balancers = await Promise.all(servers.map((_, at) => Balancer.start([...servers.slice(at), ...servers.slice(0, at)])));
  }

  async function page(at, name) {
    const peer = await Peer.open(browser, balancers[at].url, { name });
    await peer.join('table');
    return peer;
  }

  function native(at, name) {
    const peer = LinePeer.native(balancers[at].url, 'table', { name });
    natives.push(peer);
    return peer;
  }

  /** Two peers on each server, all connected and talking. */
  async function table(count, ...options) {
    await start(count, options);
    const peers = [];
    for (let at = 0; at < count; at += 1) peers.push(await page(at, `page ${at}`), native(at, `native ${at}`));
    await everybodySees(peers);
    const traffic = new Traffic();
    await traffic.add(...peers);
    await traffic.flows(await traffic.mark(), 10_000);
    for (const peer of peers) await peer.forget();
    return { peers, traffic };
  }

  /** Everybody knows everybody under the present sids, was never taken for gone, and every message came once and in order. */
  async function unnoticed({ peers, traffic }) {
    await traffic.flows(await traffic.mark(), 10_000);
    await everybodySees(peers);
    const tally = await traffic.account();
    assert.deepEqual(tally.findings, []);
    assert.equal(tally.undelivered, 0);
    for (const peer of peers) {
      assert.deepEqual(await peer.told('connectToPeer'), [], `${peer.name} is told of nobody new`);
      assert.deepEqual(await peer.told('disconnectFromPeer'), [], `${peer.name} is told of nobody gone`);
      const reassigned = (await peer.told('reassignPeerSid')).map((pair) => pair.join(' to '));
      assert.equal(new Set(reassigned).size, reassigned.length, `${peer.name} is told twice: ${reassigned}`);
    }
    console.log(`${tally.received} messages, ${tally.owed} of them owed, none lost`);
  }

  const sids = (peers) => Promise.all(peers.map((peer) => peer.sid()));

  /** Waits until these peers have other sids than before. */
  async function renamed(peers, old) {
    await eventually(async () => {
      const now = await sids(peers);
      assert.deepEqual(now.filter((sid) => old.includes(sid)), []);
    }, { within: 20_000 });
  }

  it('three servers are restarted one after the other', async () => {
    const room = await table(3);
    for (const [at, server] of servers.entries()) {
      const here = room.peers.slice(2 * at, 2 * at + 2);
      const old = await sids(here);
      await server.stop();
      await renamed(here, old);
      await server.restart();
      await sleep(1000);
    }
    await unnoticed(room);
  });

  it('three servers send their clients to the others, one server after the other', async () => {
    const room = await table(3, '--drain', '3s');
    for (const [at, server] of servers.entries()) {
      const here = room.peers.slice(2 * at, 2 * at + 2);
      const old = await sids(here);
      const stopping = server.stop(20_000);
      await renamed(here, old);
      assert.deepEqual(await stopping, { code: 0, signal: null });
      await server.restart();
      // Its balancer is to notice.
      await sleep(1000);
    }
    await unnoticed(room);
  });

  it('a server is killed', async () => {
    const room = await table(2);
    const here = room.peers.slice(2);
    const old = await sids(here);
    await servers[1].kill();
    await renamed(here, old);
    // Nobody is taken for gone when the lease ends either.
    await sleep(LEASE);
    await unnoticed(room);
  });

  it('Redis is killed and restarted, shortly and for longer than a lease', async () => {
    const room = await table(2);
    for (const away of [1000, LEASE]) {
      await redis.kill();
      await sleep(away);
      await redis.restart();
      await sleep(4000);
    }
    await unnoticed(room);
    // And newcomers meet all.
    const newcomer = native(0, 'newcomer');
    await everybodySees([...room.peers, newcomer]);
  });
});
