// A connection through a TURN server moves to a direct path when a firewall opens, and no message is lost by that.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Browser } from '../../harness/browser.mjs';
import { LinePeer } from '../../harness/line-peer.mjs';
import { Internet, noNats } from '../../harness/nat.mjs';
import { Peer, everybodySees } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';

const skip = noNats();
const KIND = 'port-restricted';
/** After so long ICE has given up what does not work by itself. */
const GIVEN_UP = 22_000;
/** By then a direct path was looked for twice: after 30 s and after 60 s more. */
const FOUND = 120_000;

// They wait more than they compute.
describe('a relayed connection', { concurrency: true }, () => {
  let internet;
  before(async () => {
    if (!skip) internet = await Internet.create();
  });
  after(() => internet?.close());

  async function native(name, room) {
    return LinePeer.native(internet.server.url, room, { on: internet.hosts[name], name });
  }

  /** Sends a number from each to the other now and then, until told to stop; then all have come, in order. */
  function talk(...peers) {
    const sent = peers.map(() => []);
    let stopped = false;
    const talking = peers.map(async (peer, at) => {
      while (!stopped) {
        sent[at].push(sent[at].length);
        await peer.send(sent[at].at(-1));
        await sleep(700);
      }
    });
    return async () => {
      stopped = true;
      await Promise.all(talking);
      for (const [at, peer] of peers.entries()) {
        const sid = await peers[1 - at].sid();
        await eventually(async () => assert.deepEqual((await peer.messages(sid)).map(Number), sent[1 - at]));
      }
      return sent.flat().length;
    };
  }

  async function reports(...peers) {
    const sids = await Promise.all([...peers].reverse().map((peer) => peer.sid()));
    return Promise.all(peers.map((peer, at) => peer.report(sids[at])));
  }

  const paths = async (...peers) => (await reports(...peers)).map(({ path }) => path);
  const restarts = async (...peers) => (await reports(...peers)).reduce((sum, { restarts }) => sum + restarts, 0);

  async function becomesDirect(t, ...peers) {
    await everybodySees(peers, 30_000);
    const accounted = talk(...peers);
    await eventually(async () => assert.deepEqual(await paths(...peers), ['relayed', 'relayed']));
    await sleep(GIVEN_UP);
    assert.equal(await restarts(...peers), 0);
    await internet.restrict(peers[0].name);
    const since = performance.now();
    await eventually(async () => assert.deepEqual(await paths(...peers), ['direct', 'direct']), { within: FOUND, every: 500 });
    const took = (performance.now() - since) / 1000;
    const looked = await restarts(...peers);
    t.diagnostic(`direct ${took.toFixed(0)} s after the firewall has opened, by ${looked} restarts; ${await accounted()} messages, none lost`);
    for (const peer of peers) assert.deepEqual(await peer.told('disconnectFromPeer'), []);
  }

  it('between natives becomes direct', { skip, timeout: 240_000 }, async (t) => {
    for (const name of ['one', 'other']) await internet.host(name, KIND);
    await internet.restrict('one', internet.turn.address);
    const peers = await Promise.all(['one', 'other'].map((name) => native(name, 'natives')));
    try {
      await becomesDirect(t, ...peers);
    } finally {
      await Promise.all(peers.map((peer) => peer.kill()));
    }
  });

  it('between a page in Chromium and a native becomes direct', { skip, timeout: 240_000 }, async (t) => {
    for (const name of ['page', 'native']) await internet.host(name, KIND);
    await internet.restrict('page', internet.turn.address);
    const browser = await Browser.launch('chromium', { on: internet.hosts.page, trusted: internet.certificate });
    const other = await native('native', 'mixed');
    try {
      const page = await Peer.open(browser, internet.server.url, { name: 'page', rooms: ['mixed'] });
      await becomesDirect(t, page, other);
    } finally {
      await other.kill();
      await browser.kill();
    }
  });
});
