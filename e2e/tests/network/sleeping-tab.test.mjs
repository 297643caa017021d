// A tab is frozen, or gets next to no time, as those that nobody looks at: when it goes on it is a member as before.

import { after, afterEach, before, beforeEach, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import assert from 'node:assert/strict';

import { Browser } from '../../harness/browser.mjs';
import { LinePeer } from '../../harness/line-peer.mjs';
import { Peer, everybodySees } from '../../harness/peer.mjs';
import { startServer } from '../../harness/server.mjs';
import { Traffic } from '../../harness/traffic.mjs';

/** Milliseconds: for so long it sleeps or is slow, and within so many it is back. */
const ASLEEP = 40_000;
const SLOW = 15_000;
const BACK = 10_000;

let server;
let browser;
let peers;
let sleeper;
let traffic;
before(async () => { browser = await Browser.launch('chromium'); });
beforeEach(async () => {
  server = await startServer();
  const page = (name) => Peer.open(browser, server.url, { name, rooms: ['table'] });
  peers = [await page('sleeper'), await page('page'), LinePeer.native(server.url, 'table')];
  [sleeper] = peers;
  await everybodySees(peers);
  traffic = new Traffic();
  await traffic.add(...peers);
});
afterEach(async () => {
  await traffic?.stop();
  await peers?.at(-1).kill();
  await Promise.all([browser?.clear(), server?.kill()]);
});
after(() => browser?.close());

/** Does something to the tab for some time by the browser's debugging protocol; after that all is as it was. */
async function comesBack(t, command, during, milliseconds, afterwards) {
  const devtools = await sleeper.page.createCDPSession();
  // A tab that sleeps cannot be asked.
  const own = await traffic.mark([sleeper]);
  await devtools.send(command, during);
  await sleep(milliseconds);
  const mark = { ...await traffic.mark(peers.filter((peer) => peer !== sleeper)), ...own };
  await devtools.send(command, afterwards);
  const took = await traffic.flows(mark, 3 * BACK);
  t.diagnostic(`messages flow again between all after ${Math.round(took)} ms, of ${BACK} ms at the most`);
  assert.ok(took <= BACK, `messages flow again after ${Math.round(took)} ms`);
  await everybodySees(peers);
  for (const peer of peers) assert.deepEqual(await peer.told('disconnectFromPeer'), [], `${peer.name} has lost somebody`);
  assert.deepEqual((await traffic.account()).findings, []);
}

it('a tab is frozen for 40 s', { timeout: 180_000 }, (t) => (
  comesBack(t, 'Page.setWebLifecycleState', { state: 'frozen' }, ASLEEP, { state: 'active' })
));

it('a tab gets a twentieth of the processor for 15 s', { timeout: 180_000 }, (t) => (
  comesBack(t, 'Emulation.setCPUThrottlingRate', { rate: 20 }, SLOW, { rate: 1 })
));
