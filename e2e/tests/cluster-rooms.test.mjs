// Peers that talk all the time, in pages and in processes, while servers and Redis die and come back: nobody notices.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Browser } from '../harness/browser.mjs';
import { Fleet, renames } from '../harness/fleet.mjs';
import { mistold } from '../harness/ledger.mjs';
import { everybodySees } from '../harness/peer.mjs';
import { WITHOUT_REDIS } from '../harness/redis.mjs';
import { Traffic } from '../harness/traffic.mjs';

/** How long after the end of a server somebody may be taken for present who is not. */
const LEASE = 30_000;

describe('rooms over several servers', { skip: WITHOUT_REDIS }, () => {
  let browser;
  let fleet;
  before(async () => { browser = await Browser.launch(); });
  afterEach(async () => {
    await browser.clear();
    await fleet?.close();
    fleet = undefined;
  });
  after(() => browser?.close());

  /** Two peers on each server, all connected and talking. */
  async function table(count, ...options) {
    fleet = await Fleet.start(count, ...options);
    const peers = [];
    for (let at = 0; at < count; at += 1) peers.push(await fleet.page(browser, at, `page ${at}`, 'table'), fleet.native(at, `native ${at}`, 'table'));
    await everybodySees(peers);
    const traffic = new Traffic();
    await traffic.add(...peers);
    await traffic.flows(await traffic.mark(), 10_000);
    return { peers, traffic };
  }

  /** Everybody knows everybody under the present sids, was never taken for gone, and every message came once and in order. */
  async function unnoticed({ peers, traffic }) {
    await traffic.flows(await traffic.mark(), 10_000);
    await everybodySees(peers);
    const tally = await traffic.account();
    assert.deepEqual(tally.findings, []);
    assert.equal(tally.undelivered, 0);
    assert.deepEqual(await mistold(peers, { stay: (peer) => peers.filter((other) => other !== peer) }), []);
    console.log(`${tally.received} messages, ${tally.owed} of them owed, none lost`);
  }

  it('three servers are restarted one after the other', async () => {
    const room = await table(3);
    for (const [at, server] of fleet.servers.entries()) {
      await renames(room.peers.slice(2 * at, 2 * at + 2), () => server.stop());
      await server.restart();
      await sleep(1000);
    }
    await unnoticed(room);
  });

  it('three servers send their clients to the others, one server after the other', async () => {
    const room = await table(3, '--drain', '3s');
    for (const [at, server] of fleet.servers.entries()) {
      const stopped = await renames(room.peers.slice(2 * at, 2 * at + 2), () => server.stop(20_000));
      assert.deepEqual(stopped, { code: 0, signal: null });
      await server.restart();
      await fleet.balancers[at].takes(server);
    }
    await unnoticed(room);
  });

  it('a server is killed', async () => {
    const room = await table(2);
    await renames(room.peers.slice(2), () => fleet.servers[1].kill());
    // Nobody is taken for gone when the lease ends either.
    await sleep(LEASE);
    await unnoticed(room);
  });

  it('Redis is killed and restarted, shortly and for longer than a lease', async () => {
    const room = await table(2);
    for (const away of [1000, LEASE]) {
      await fleet.redis.kill();
      await sleep(away);
      await fleet.redis.restart();
      await sleep(4000);
    }
    await unnoticed(room);
    // And newcomers meet all.
    const newcomer = fleet.native(0, 'newcomer', 'table');
    await everybodySees([...room.peers, newcomer]);
  });
});
