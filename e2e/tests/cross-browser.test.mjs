// Chromium and Firefox in one room: they talk, and see and hear each other, whoever of them came first.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';

import { BROWSERS, Browser } from '../harness/browser.mjs';
import { OUTAGE, Peer, assertClean, delivers, everybodySees } from '../harness/peer.mjs';
import { eventually } from '../harness/process.mjs';
import { startServer } from '../harness/server.mjs';
import { comesBack, defined, flows, got, offer, replaces, request, shows, weathers } from '../harness/tracks.mjs';

let server;
let browsers = {};
before(async () => {
  server = await startServer();
  browsers = Object.fromEntries(await Promise.all(BROWSERS.map(async (kind) => [kind, await Browser.launch(kind)])));
});
const all = (each) => Promise.all(Object.values(browsers).map(each));
afterEach(() => all((browser) => browser.clear()));
after(() => Promise.all([server?.stop(), all((browser) => browser.close())]));

/** A client in a browser, whose sid is there, so that it is clear who came first. */
async function come(kind) {
  const peer = await Peer.open(browsers[kind], server.url, { rooms: ['table'] });
  await peer.sid();
  return peer;
}

const WHAT = ['camera', 'microphone'];

for (const [first, last] of [BROWSERS, BROWSERS.toReversed()]) {
  describe(`${first} is there, and ${last} comes`, () => {
    const meet = async () => {
      const [a, b] = [await come(first), await come(last)];
      await everybodySees([a, b]);
      return [a, b];
    };

    it('they talk, and what either offers flows to the other who asks', async () => {
      const a = await come(first);
      const early = await Promise.all(WHAT.map((what) => offer(a, what)));
      const b = await come(last);
      await everybodySees([a, b]);
      const late = await Promise.all(WHAT.map((what) => offer(b, what)));
      await delivers(a, { from: first, long: 'ß'.repeat(200_000) }, b);
      await delivers(b, { from: last, long: 'ß'.repeat(200_000) }, a);
      for (const [peer, owner, ids] of [[a, b, late], [b, a, early]]) {
        await eventually(async () => assert.deepEqual(await defined(peer, owner), ids.toSorted()));
        assert.deepEqual(await got(peer, owner), []);
      }
      const asked = [...early.map((id) => [b, a, id]), ...late.map((id) => [a, b, id])];
      await Promise.all(asked.map((each) => request(...each)));
      await Promise.all(asked.map((each) => flows(...each)));
      for (const peer of [a, b]) assert.deepEqual([await peer.told('error'), await peer.told('disconnectFromPeer')], [[], []]);
      assertClean(a, b);
    });

    it('storms of operations from both sides end in the right state', async () => weathers(...await meet()));

    it('replaceTrack changes the picture and nothing else', async () => replaces(...await meet()));

    it('while the server is away they talk, and ask, and are known again when it is back', async () => {
      const [a, b] = await meet();
      const camera = await shows(a, b, 'camera');
      await server.kill();
      for (const peer of [a, b]) await eventually(async () => assert.equal((await peer.look()).state, 'reconnecting'));
      await delivers(a, 'can you hear me?', b);
      const microphone = await shows(b, a, 'microphone');
      await server.restart();
      for (const peer of [a, b]) await eventually(async () => assert.equal((await peer.told('reassignPeerSid')).length, 1), { within: 20_000 });
      await everybodySees([a, b]);
      await delivers(b, 'welcome back', a);
      await Promise.all([flows(b, a, camera), flows(a, b, microphone)]);
      for (const peer of [a, b]) assert.deepEqual([await peer.told('disconnectFromPeer'), await peer.told('peerTrackRemoved')], [[], []]);
      assertClean(a, b, OUTAGE);
    });

    it('what flowed comes back after a lost websocket and after the connection was replaced', async () => comesBack(...await meet()));
  });
}
