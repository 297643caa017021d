// Pages in rooms: who sees whom, and who hears of whom leaving.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';

import { BROWSER, Browser } from '../../harness/browser.mjs';
import { Peer, assertClean, delivers, everybodySees, table } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';

let server;
let browser;
// Pages that one comes back to are kept by the whole browser alone.
before(async () => { [server, browser] = await Promise.all([startServer(), Browser.launch(BROWSER, { whole: true })]); });
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

it('three pages join a room and see each other', async () => {
  const peers = await table(browser, server.url, 3);
  const sids = await Promise.all(peers.map((peer) => peer.sid()));
  assert.equal(new Set(sids).size, 3);
  for (const [at, peer] of peers.entries()) {
    const others = sids.filter((sid) => sid !== sids[at]);
    assert.deepEqual((await peer.told('connectToPeer')).flat().sort(), others.sort());
    assert.deepEqual(await peer.told('acquireSid'), [[sids[at]]]);
    assert.deepEqual(await peer.told('signallerStateChanged'), [['connected']]);
    assert.equal(await peer.connections(), 2);
    assert.equal((await peer.look()).apiVersion, '1.0');
  }
  const ids = await Promise.all(peers.map(async (peer) => (await peer.look()).permanentId));
  assert.equal(new Set(ids).size, 3);
  await delivers(peers[0], 'hello', peers[1], peers[2]);
  assertClean(...peers);
});

it('eight pages that join at once all find each other', async () => {
  const page = await browser.open(`${server.url}/healthz`);
  const other = await browser.open(`${server.url}/healthz`);
  const peers = await Promise.all(Array.from({ length: 8 }, (_, n) => Peer.start(n % 2 ? page : other, { name: `n${n}`, rooms: ['crowd'] })));
  await everybodySees(peers);
  assert.equal(await peers[0].connections(), 28);
  for (const peer of peers) {
    assert.equal((await peer.told('connectToPeer')).length, 7, 'everybody is connected once');
    assert.deepEqual(await peer.told('disconnectFromPeer'), []);
    assert.deepEqual(await peer.told('error'), []);
  }
  assertClean(page, other);
});

it('a room is joined also when the connection to the server comes later', async () => {
  const [a] = await table(browser, server.url, 1);
  const b = await Peer.open(browser, server.url, { rooms: ['table'] });
  assert.deepEqual(b.first, { sid: 'unassigned', state: 'setup' });
  await everybodySees([a, b]);
});

describe('leaving', () => {
  const left = async (peers, sid, within = 5000) => {
    for (const peer of peers) {
      await peer.expect('disconnectFromPeer', [[sid]], { within });
      assert.equal((await peer.look()).connectedPeers.includes(sid), false);
      await eventually(async () => assert.equal((await peer.look()).discoveredPeers.includes(sid), false), { within: 15_000 });
    }
  };

  it('by closing the page is heard by the others', async () => {
    const [a, b, c] = await table(browser, server.url, 3);
    const sid = await c.sid();
    await c.page.close();
    await left([a, b], sid);
    await delivers(a, 'without them', b);
  });

  it('by going to another page is heard by the others', async () => {
    const [a, b] = await table(browser, server.url, 2);
    const sid = await b.sid();
    await b.page.goto('about:blank');
    await left([a], sid);
  });

  it('by close() is heard by the others, and by oneself', async () => {
    const [a, b, c] = await table(browser, server.url, 3);
    const [one, two, sid] = [await a.sid(), await b.sid(), await c.sid()];
    await c.run((client) => { client.close(); });
    await left([a, b], sid);
    assert.deepEqual((await c.told('disconnectFromPeer')).flat().sort(), [one, two].sort());
    const look = await c.look();
    assert.deepEqual([look.state, look.connectedPeers, look.discoveredPeers], ['closed', [], []]);
    assert.equal((await c.attempt((client) => client.joinRoom('x'))).code, 'CLOSED');
  });

  it('by the death of the whole browser is heard by the others', async () => {
    const doomed = await Browser.launch();
    try {
      const [a, b] = await table(browser, server.url, 2);
      const c = await Peer.open(doomed, server.url, { rooms: ['table'] });
      await everybodySees([a, b, c]);
      const sid = await c.sid();
      await doomed.kill();
      // ICE alone tells: a page that is silent may sleep.
      await left([a, b], sid, 30_000);
      await delivers(b, 'without them', a);
    } finally {
      await doomed.close();
    }
  });

  it('before one was connected is heard by the others', async () => {
    const [a] = await table(browser, server.url, 1);
    // Without relay servers this policy lets no connection come about.
    const b = await Peer.open(browser, server.url, { rooms: ['table'], rtcConfig: { iceTransportPolicy: 'relay' } });
    await eventually(async () => assert.ok(await a.run(() => kit.made.length)));
    await b.page.close();
    await eventually(async () => assert.deepEqual((await a.look()).discoveredPeers, []), { within: 15_000 });
    assert.deepEqual(await a.told('error'), []);
  });

  it('by close(), with a signaller of one\'s own too, is heard by the others', async () => {
    const [a] = await table(browser, server.url, 1);
    const b = await Peer.open(browser, server.url, { rooms: ['table'], signaller: {} });
    await everybodySees([a, b]);
    await b.run((client) => { client.close(); });
    await eventually(async () => assert.deepEqual((await a.look()).discoveredPeers, []), { within: 15_000 });
    assert.deepEqual(await a.told('error'), []);
  });

  it('and coming back by reloading, many times and at bad moments, ends in one connection', async () => {
    const [a] = await table(browser, server.url, 1);
    const page = await browser.open(`${server.url}/healthz`);
    for (const patience of [0, 40, 80, 120, 160, 300]) {
      await Peer.start(page, { rooms: ['table'] });
      await new Promise((resolve) => { setTimeout(resolve, patience); });
      await page.reload();
    }
    const b = await Peer.start(page, { rooms: ['table'] });
    const sid = await b.sid();
    await b.sees(a);
    await eventually(async () => assert.deepEqual((await a.look()).connectedPeers, [sid]));
    await delivers(b, 'here at last', a);
    await delivers(a, 'welcome', b);
  });

  it('and coming back by the back button finds the others again', async () => {
    const [a, b] = await table(browser, server.url, 2);
    const sid = await b.sid();
    await b.page.goto(`${server.url}/readyz`);
    await left([a], sid);
    await b.page.goBack();
    // Chromium keeps the page, and the client wakes up; Firefox loads it anew.
    const isKept = await b.run((client) => Boolean(client));
    assert.equal(isKept, BROWSER === 'chromium');
    const back = isKept ? b : await Peer.start(b.page, { rooms: ['table'] });
    await eventually(async () => assert.notEqual((await back.look()).sid, sid));
    await everybodySees([a, back]);
    await delivers(back, 'back', a);
  });

  it('and coming back makes a new peer', async () => {
    const [a, b] = await table(browser, server.url, 2);
    await b.page.close();
    const again = await Peer.open(browser, server.url, { rooms: ['table'] });
    await everybodySees([a, again]);
    await delivers(again, 'back', a);
    await delivers(a, 'welcome', again);
  });
});

describe('two rooms at once', () => {
  it('make one connection, over which a message comes once; strangers stay strangers', async () => {
    const a = await Peer.open(browser, server.url, { rooms: ['kitchen', 'garden'] });
    const b = await Peer.open(browser, server.url, { rooms: ['garden', 'kitchen'] });
    const cook = await Peer.open(browser, server.url, { rooms: ['kitchen'] });
    const gardener = await Peer.open(browser, server.url, { rooms: ['garden'] });
    for (const peer of [a, b]) await peer.sees(...[a, b, cook, gardener].filter((other) => other !== peer));
    for (const peer of [cook, gardener]) await peer.sees(a, b);
    for (const [peer, count] of [[a, 3], [b, 3], [cook, 2], [gardener, 2]]) assert.equal(await peer.connections(), count);
    await delivers(a, 'to both rooms', b, cook, gardener);
    await delivers(a, 'the end', b, cook, gardener);
    const sid = await a.sid();
    for (const peer of [b, cook, gardener]) assert.deepEqual(await peer.told('message'), [[sid, 'to both rooms'], [sid, 'the end']]);
    assert.equal((await b.told('connectToPeer')).length, 3);
    await b.page.close();
    for (const peer of [a, cook, gardener]) await eventually(async () => assert.equal((await peer.told('disconnectFromPeer')).length, 1));
  });

  it('one after the other adds to those who are there', async () => {
    const a = await Peer.open(browser, server.url, { rooms: ['kitchen'] });
    const b = await Peer.open(browser, server.url, { rooms: ['garden'] });
    await Promise.all([a.sid(), b.sid()]);
    await a.sees();
    await a.join('garden');
    await everybodySees([a, b]);
    await b.join('kitchen');
    await delivers(b, 'still one', a);
    assert.deepEqual([await a.connections(), await b.connections()], [1, 1]);
  });

  it('the room 5 and the room "5" are two', async () => {
    const number = await Peer.open(browser, server.url, { rooms: [5] });
    const text = await Peer.open(browser, server.url, { rooms: ['5'] });
    const both = await Peer.open(browser, server.url, { rooms: [5, '5'] });
    await both.sees(number, text);
    await number.sees(both);
    await text.sees(both);
  });
});
