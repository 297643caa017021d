// The web client and the original server: PyPI rtc-cafe-signaller-python under Flask-SocketIO with gevent.

import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';

import { Browser } from '../../harness/browser.mjs';
import { Peer, assertClean, delivers, everybodySees, table } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startOriginal } from '../../harness/server.mjs';

let server;
let browser;
before(async () => { [server, browser] = await Promise.all([startOriginal(), Browser.launch()]); });
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

it('three pages meet, talk, and hear one leave', async () => {
  const [a, b, c] = await table(browser, server.url, 3);
  assert.equal((await a.look()).apiVersion, '0.2');
  await delivers(a, { hello: '☕' }, b, c);
  await delivers(b, [1, null, 'two'], a, c);
  const [sid, gone] = [await b.sid(), await c.sid()];
  await a.send('only you', sid);
  await b.expect('message', [[await a.sid(), { hello: '☕' }], [await a.sid(), 'only you']]);
  assert.equal((await c.told('message')).length, 2);
  await c.page.close();
  for (const peer of [a, b]) await peer.expect('disconnectFromPeer', [[gone]], { within: 15_000 });
  assertClean(a, b, c);
});

it('a client of 0.2 meets one of 1.0 there', async () => {
  const a = await Peer.open(browser, server.url, { rooms: ['mixed'], options: { apiVersion: '0.2' } });
  const b = await Peer.open(browser, server.url, { rooms: ['mixed'] });
  await everybodySees([a, b]);
  await delivers(a, 1, b);
  await delivers(b, 2, a);
});

it('pages keep talking while it is away, and know each other under their new sids when it is back', async () => {
  const peers = await table(browser, server.url, 3);
  const before = await Promise.all(peers.map((peer) => peer.sid()));
  for (const peer of peers) await peer.forget();
  await server.kill();
  for (const peer of peers) await eventually(async () => assert.equal((await peer.look()).state, 'reconnecting'));
  await delivers(peers[0], 'still here', ...peers.slice(1));
  await server.restart();
  for (const peer of peers) await eventually(async () => assert.equal((await peer.look()).state, 'connected'), { within: 20_000 });
  await eventually(async () => {
    for (const [at, peer] of peers.entries()) assert.notEqual((await peer.look()).sid, before[at]);
  });
  const now = await Promise.all(peers.map((peer) => peer.sid()));
  for (const [at, peer] of peers.entries()) {
    const others = [0, 1, 2].filter((other) => other !== at);
    await eventually(async () => {
      const reassigned = (await peer.told('reassignPeerSid')).toSorted();
      assert.deepEqual(reassigned, others.map((other) => [before[other], now[other]]).toSorted());
    });
  }
  await everybodySees(peers);
  await delivers(peers[1], 'welcome back', peers[0], peers[2]);
  for (const peer of peers) {
    assert.deepEqual(await peer.told('disconnectFromPeer'), []);
    assert.deepEqual(await peer.told('connectToPeer'), []);
  }
});

it('an error of its validation arrives', async () => {
  const [a] = await table(browser, server.url, 1);
  await a.join('circus');
  await a.expect('error', [['SIGNAL_REFUSED']]);
});
