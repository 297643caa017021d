// Nobody says anything, and there is no server: a page that sleeps is known to do so all the same, and a process that stands
// still is gone.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';

import { Browser } from '../../harness/browser.mjs';
import { LinePeer } from '../../harness/line-peer.mjs';
import { Peer, delivers, everybodySees } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';

/** Within so many milliseconds the one is known to sleep, the other is gone, and both are back. */
const SILENT = 24_000;
const GONE = 42_000;
const BACK = 20_000;

let server;
let browser;
let natives;
before(async () => { [server, browser] = await Promise.all([startServer(), Browser.launch('chromium')]); });
after(async () => {
  await Promise.all((natives ?? []).map((peer) => peer.kill()));
  await Promise.all([browser?.kill(), server?.kill()]);
});

it('a tab is frozen and a process stopped, and those who wait know it', { timeout: 180_000 }, async (t) => {
  const page = (name) => Peer.open(browser, server.url, { name, rooms: ['table'] });
  const [sleeper, witness] = [await page('sleeper'), await page('page')];
  natives = ['native', 'stopped'].map((name) => LinePeer.native(server.url, 'table', { name }));
  const [native, stopped] = natives;
  const peers = [sleeper, witness, native, stopped];
  await everybodySees(peers, 30_000);
  const sids = await Promise.all(peers.map((peer) => peer.sid()));
  const [asleep, , , gone] = sids;
  await server.kill();

  const since = performance.now();
  const devtools = await sleeper.page.createCDPSession();
  await devtools.send('Page.setWebLifecycleState', { state: 'frozen' });
  stopped.freeze();
  for (const [what, bound, known] of [
    ['is known to sleep', SILENT, async (peer) => assert.equal((await peer.report(asleep)).phase, 'silent', peer.name)],
    ['is gone', GONE, async (peer) => assert.deepEqual(await peer.told('disconnectFromPeer'), [[gone]], peer.name)],
  ]) {
    await Promise.all([witness, native].map(async (peer) => {
      await eventually(() => known(peer), { within: bound - (performance.now() - since), every: 200 });
      t.diagnostic(`${peer.name}: who does not answer ${what} after ${((performance.now() - since) / 1000).toFixed(1)} s`);
    }));
  }

  await devtools.send('Page.setWebLifecycleState', { state: 'active' });
  stopped.thaw();
  await server.restart();
  await Promise.all(peers.map((peer, at) => eventually(async () => assert.notEqual(await peer.sid(), sids[at], `${peer.name} has no new session`))));
  await everybodySees(peers, BACK);
  for (const peer of peers) await delivers(peer, `${peer.name} is here`, ...peers.filter((other) => other !== peer));
});
