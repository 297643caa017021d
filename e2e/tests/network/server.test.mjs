// The server goes away, for a minute or again and again: conversations go on, and newcomers are introduced by a friend.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import { scenario } from '../../harness/cafe.mjs';
import { eventually } from '../../harness/process.mjs';

/** Milliseconds without a server. */
const OUTAGE = 60_000;
const RESTARTS = 20;
/** Within so many milliseconds of a start everybody is known to the server again, and messages have never ceased to flow. */
const RECONNECTED = 15_000;

scenario('the server is killed for 60 s, and meanwhile a newcomer is introduced to all by the one peer it knows', {}, async (cafe) => {
  const friend = cafe.peer('native 1');
  const others = cafe.peers.filter((peer) => peer !== friend);
  const members = await Promise.all(cafe.peers.map((peer) => peer.sid()));
  const newcomer = await meets(cafe, friend, others);
  await cafe.traffic.add(newcomer);

  const killed = performance.now();
  await cafe.server.kill();
  const left = () => OUTAGE - (performance.now() - killed);
  await eventually(async () => {
    const { connectedPeers } = await newcomer.look();
    assert.deepEqual(connectedPeers.sort(), members.toSorted(), 'whom the newcomer is connected to');
  }, { within: left() });
  await cafe.traffic.flows(await cafe.traffic.mark(), Math.max(left(), 5000));
  await sleep(Math.max(left(), 0));

  await cafe.network.heal();
  await cafe.recovers('the server was away for 60 s', 5000, () => cafe.server.restart());
  await cafe.signallerBecomes('connected', { within: RECONNECTED });
  await cafe.ends();
});

/** Somebody joins while the server hears of nobody else but a friend. */
async function meets(cafe, friend, others) {
  await cafe.host('newcomer');
  await cafe.network.cut(cafe.hostsOf(others), cafe.serverHost);
  const newcomer = await cafe.native('newcomer');
  await eventually(async () => {
    const { connectedPeers } = await newcomer.look();
    assert.ok(connectedPeers.includes(await friend.sid()), 'the newcomer has not met its friend');
  }, { within: 20_000 });
  return newcomer;
}

scenario(`the server is restarted ${RESTARTS} times`, {}, async (cafe) => {
  const [first] = cafe.peers;
  for (let restart = 1; restart <= RESTARTS; restart += 1) {
    await cafe.server.kill();
    await cafe.signallerBecomes('reconnecting');
    await cafe.server.restart();
    // Every other time it goes away again when the first is back, and others perhaps are not.
    await cafe.signallerBecomes('connected', { peers: restart % 2 ? [first] : cafe.peers, within: RECONNECTED });
  }
  await cafe.recovers(`the server was restarted ${RESTARTS} times`, 5000, () => {});
  await cafe.ends();
});
