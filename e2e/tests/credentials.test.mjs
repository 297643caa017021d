// Credentials of the server's relay end; what goes through it does not, and nobody has to do anything about it.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Browser } from '../harness/browser.mjs';
import { LinePeer } from '../harness/line-peer.mjs';
import { Peer } from '../harness/peer.mjs';
import { eventually } from '../harness/process.mjs';
import { startServer } from '../harness/server.mjs';

/** As short as the server allows. */
const LIFETIME = 60_000;

let server;
let browser;
before(async () => {
  const options = ['--turn-listen', '127.0.0.1:0', '--turn-allow-peer', '127.0.0.0/8', '--turn-credentials', '60s'];
  [server, browser] = await Promise.all([startServer(...options), Browser.launch()]);
});
after(() => Promise.all([server?.kill(), browser?.kill()]));

it('a page and a native go on through the relay, and others come, when their first credentials have ended', async () => {
  const room = 'long talk';
  const begun = Date.now();
  const page = await Peer.open(browser, server.url, { iceTransportPolicy: 'relay' });
  const native = LinePeer.native(server.url, room, { options: ['--relay-only'] });
  await page.run((client, room) => client.joinRoom(room), room);
  const names = () => page.run((client) => client.rtcConfig.iceServers.flatMap(({ username }) => username ?? [])[0]);
  const both = [page, native];
  const sids = await eventually(async () => {
    const looks = await Promise.all(both.map((peer) => peer.look()));
    looks.forEach(({ sid, connectedPeers }, at) => assert.deepEqual([connectedPeers, sid.length], [[looks[1 - at].sid], 20]));
    return looks.map(({ sid }) => sid);
  });
  const first = await eventually(async () => {
    const name = await names();
    assert.ok(name, 'no credentials');
    return name;
  });

  const talk = async (text) => {
    await Promise.all(both.map((peer, at) => peer.send(`${text} ${at}`)));
    await eventually(async () => {
      for (const [at, peer] of both.entries()) assert.ok((await peer.messages(sids[1 - at])).includes(`"${text} ${1 - at}"`));
    });
  };
  await talk('before');
  while (Date.now() < begun + LIFETIME + 5000) {
    await sleep(2500);
    await talk(`after ${Date.now() - begun} ms`);
  }
  assert.notEqual(await names(), first);
  for (const [at, peer] of both.entries()) {
    assert.deepEqual((await peer.events('connectToPeer', 'disconnectFromPeer')), [['connectToPeer', sids[1 - at]]]);
  }

  const late = LinePeer.native(server.url, room, { name: 'late', options: ['--relay-only'] });
  await eventually(async () => {
    const { sid, connectedPeers } = await late.look();
    assert.deepEqual(connectedPeers.toSorted(), sids.toSorted());
    for (const peer of both) assert.ok((await peer.look()).connectedPeers.includes(sid));
  });
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  assert.doesNotMatch(metrics, /rtc_cafe_turn_requests_refused_total\{code="401"\} [1-9]/);
  await Promise.all([native.leave(), late.leave()]);
});
