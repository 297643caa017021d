// The server goes away and comes back: conversations go on, and everybody is known again.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, it } from 'node:test';

import { Browser } from '../../harness/browser.mjs';
import { OUTAGE, Peer, assertClean, delivers, everybodySees, table } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';

let server;
let browser;
before(async () => { browser = await Browser.launch(); });
beforeEach(async () => { server = await startServer(); });
afterEach(() => Promise.all([browser?.clear(), server?.kill()]));
after(() => browser?.close());

const becomes = (state, ...peers) => Promise.all(peers.map((peer) => eventually(
  async () => assert.equal((await peer.look()).state, state), { within: 20_000 },
)));

/** Waits until these peers have other sids than before, and gives those. */
const renamed = (peers, before) => Promise.all(peers.map((peer, at) => eventually(async () => {
  const { sid } = await peer.look();
  assert.notEqual(sid, before[at]);
  return sid;
}, { within: 20_000 })));

/** Every peer was told exactly once of each other one's new sid, and of nothing else. */
async function reassigned(peers, before, now) {
  for (const [at, peer] of peers.entries()) {
    const expected = before.flatMap((old, other) => (other === at ? [] : [[old, now[other]]])).toSorted();
    await eventually(async () => assert.deepEqual((await peer.told('reassignPeerSid')).toSorted(), expected), { within: 20_000 });
  }
  await everybodySees(peers);
  for (const [at, peer] of peers.entries()) {
    assert.equal((await peer.told('reassignPeerSid')).length, peers.length - 1, 'once for each');
    assert.deepEqual(await peer.told('acquireSid'), [[now[at]]]);
    assert.deepEqual([await peer.told('connectToPeer'), await peer.told('disconnectFromPeer')], [[], []]);
  }
}

it('pages keep talking during an outage, and are told of the new sids after it', async () => {
  const peers = await table(browser, server.url, 3);
  const ids = await Promise.all(peers.map(async (peer) => (await peer.look()).permanentId));
  const before = await Promise.all(peers.map((peer) => peer.sid()));
  for (const peer of peers) await peer.forget();

  await server.kill();
  await becomes('reconnecting', ...peers);
  await delivers(peers[0], 'can you hear me?', peers[1], peers[2]);
  await delivers(peers[1], 'yes', peers[0], peers[2]);
  for (const [at, peer] of peers.entries()) {
    const look = await peer.look();
    assert.equal(look.sid, before[at], 'the last sid stays during the outage');
    assert.deepEqual(look.connectedPeers.sort(), before.filter((sid) => sid !== before[at]).sort());
  }

  await server.restart();
  await becomes('connected', ...peers);
  const now = await renamed(peers, before);
  await reassigned(peers, before, now);
  await delivers(peers[2], 'welcome back', peers[0], peers[1]);
  assert.deepEqual((await peers[0].told('message')).at(-1), [now[2], 'welcome back'], 'messages come under the new sid');
  for (const [at, peer] of peers.entries()) {
    assert.deepEqual(await peer.told('signallerStateChanged'), [['reconnecting'], ['connected']]);
    assert.equal((await peer.look()).permanentId, ids[at], 'the permanent id stays');
  }
  assertClean(...peers, OUTAGE);
});

it('a second outage is like the first', async () => {
  const peers = await table(browser, server.url, 2);
  for (let round = 0; round < 2; round += 1) {
    const before = await Promise.all(peers.map((peer) => peer.sid()));
    for (const peer of peers) await peer.forget();
    await server.kill();
    await becomes('reconnecting', ...peers);
    await server.restart();
    await reassigned(peers, before, await renamed(peers, before));
    await delivers(peers[0], round, peers[1]);
  }
});

it('the loss of one client only is noticed by the others as a change of its sid', async () => {
  const peers = await table(browser, server.url, 3);
  const before = await Promise.all(peers.map((peer) => peer.sid()));
  for (const peer of peers) await peer.forget();
  await peers[0].run(() => kit.breakSockets());
  const [now] = await renamed(peers.slice(0, 1), before);
  for (const peer of peers.slice(1)) await peer.expect('reassignPeerSid', [[before[0], now]]);
  await everybodySees(peers);
  for (const peer of peers) assert.deepEqual([await peer.told('connectToPeer'), await peer.told('disconnectFromPeer')], [[], []]);
  await delivers(peers[0], 'here I am', ...peers.slice(1));
});

it('who comes during an outage is found after it, and who leaves during it is missed', async () => {
  const [a, b, c] = await table(browser, server.url, 3);
  await server.kill();
  await becomes('reconnecting', a, b, c);
  const gone = await c.sid();
  await c.page.close();
  for (const peer of [a, b]) await peer.expect('disconnectFromPeer', [[gone]], { within: 70_000 });
  await b.join('second room');
  await server.restart();
  await becomes('connected', a, b);
  const d = await Peer.open(browser, server.url, { rooms: ['table', 'second room'] });
  await everybodySees([a, b, d]);
  await delivers(d, 'hello', a, b);
});

it('who leaves during it says so behind all that was said before', async () => {
  const peers = await table(browser, server.url, 3);
  const [a, b, c] = peers;
  const sids = await Promise.all(peers.map((peer) => peer.sid()));
  await server.kill();
  await becomes('reconnecting', ...peers);
  const leaves = [[b, "leaveRoom('table')", a, c], [c, 'close()', a]];
  for (const [peer, leave, ...others] of leaves) {
    await peer.page.evaluate(`{ const { client } = kit.clients; client.sendMessage('x'.repeat(240_000)); client.${leave}; }`);
    const sid = sids[peers.indexOf(peer)];
    for (const other of others) {
      // Who is only lost is waited for.
      await eventually(async () => assert.ok((await other.told('disconnectFromPeer')).flat().includes(sid)), { within: 2500 });
      assert.deepEqual((await other.told('message')).filter(([sender]) => sender === sid).map(([, { length }]) => length), [240_000]);
    }
  }
  for (const peer of peers) await eventually(async () => assert.equal(await peer.connections(), 0));
});

it('a whole browser that dies during an outage is missed, though nobody can say so', async () => {
  const doomed = await Browser.launch();
  try {
    const [a, b] = await table(browser, server.url, 2);
    const c = await Peer.open(doomed, server.url, { rooms: ['table'] });
    await everybodySees([a, b, c]);
    const gone = await c.sid();
    await server.kill();
    await doomed.kill();
    // Only the silence tells, and then there is time to come back.
    for (const peer of [a, b]) await peer.expect('disconnectFromPeer', [[gone]], { within: 70_000 });
    await delivers(a, 'we two', b);
  } finally {
    await doomed.close();
  }
});

it('a page opened while there is no server finds it later', async () => {
  const page = await browser.open(`${server.url}/healthz`);
  const other = await browser.open(`${server.url}/healthz`);
  await page.evaluate(() => import('/client/rtc-cafe-client.js').then(() => {}));
  await server.kill();
  const a = await Peer.start(page, { rooms: ['late'] });
  await a.expect('error', [['SIGNALLER_UNREACHABLE']]);
  assert.equal((await a.look()).state, 'setup');
  await server.restart();
  await becomes('connected', a);
  const b = await Peer.start(other, { rooms: ['late'] });
  await everybodySees([a, b]);
});

it('a page that is online again comes back at once, however long it would have waited', async () => {
  const ioOptions = { reconnectionDelay: 120_000, reconnectionDelayMax: 120_000 };
  const peer = await Peer.open(browser, server.url, { signaller: { ioOptions } });
  await peer.sid();
  await server.kill();
  await becomes('reconnecting', peer);
  await server.restart();
  await peer.run(() => { dispatchEvent(new Event('online')); });
  await becomes('connected', peer);
});

it('a server that is asked to end ends at once, and clients come back to the next one', async () => {
  const peers = await table(browser, server.url, 2);
  const before = await Promise.all(peers.map((peer) => peer.sid()));
  for (const peer of peers) await peer.forget();
  const at = Date.now();
  assert.deepEqual(await server.stop(), { code: 0, signal: null });
  assert.ok(Date.now() - at < 3000, `it took ${Date.now() - at} ms`);
  await becomes('reconnecting', ...peers);
  await server.restart();
  await reassigned(peers, before, await renamed(peers, before));
});
