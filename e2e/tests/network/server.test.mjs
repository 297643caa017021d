// The server goes away, for a minute or again and again: conversations go on, and newcomers are introduced by a friend.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import { scenario } from '../../harness/cafe.mjs';
import { eventually } from '../../harness/process.mjs';

/** Milliseconds without a server. */
const OUTAGE = 60_000;
const RESTARTS = 20;
/** Within so many milliseconds of a start everybody is known to the server again. */
const RECONNECTED = 15_000;
/** Within so many milliseconds everybody hears something new from everybody, be there a server or not. */
const FLOWING = 5000;

scenario('the server is killed for 60 s, and meanwhile a newcomer is introduced to all by the one peer it knows', {}, async (cafe) => {
  const friend = cafe.peer('native 1');
  const others = cafe.peers.filter((peer) => peer !== friend);
  const newcomer = await meets(cafe, friend, others);
  const strangers = await Promise.all(others.map((peer) => peer.sid()));
  await cafe.traffic.add(newcomer);

  const killed = performance.now();
  await cafe.server.kill();
  const left = () => OUTAGE - (performance.now() - killed);
  await eventually(async () => {
    const { connectedPeers } = await newcomer.look();
    assert.deepEqual(connectedPeers.sort(), [await friend.sid(), ...strangers].sort(), 'whom the newcomer is connected to');
  }, { within: left() });
  for (const sid of strangers) {
    assert.equal((await newcomer.call('getConnectionReport', { sid })).route, 'peer', 'how the newcomer came to know the others');
  }
  await cafe.traffic.flows(await cafe.traffic.mark(), Math.max(left(), FLOWING));
  await sleep(Math.max(left(), 0));

  await cafe.network.heal();
  await cafe.recovers('the server was away for 60 s', FLOWING, () => cafe.server.restart());
  await cafe.signallerBecomes('connected', { within: RECONNECTED });
  await cafe.ends();
});

/** Somebody joins at a server that has just begun, and that nobody has reached since but a friend. */
async function meets(cafe, friend, others) {
  await cafe.host('newcomer');
  await cafe.server.kill();
  await cafe.signallerBecomes('reconnecting');
  await cafe.network.cut(cafe.hostsOf(others), cafe.serverHost);
  await cafe.server.restart();
  await cafe.signallerBecomes('connected', { peers: [friend], within: RECONNECTED });
  const newcomer = await cafe.native('newcomer');
  await eventually(async () => {
    const { connectedPeers } = await newcomer.look();
    assert.ok(connectedPeers.includes(await friend.sid()), 'the newcomer has not met its friend');
  }, { within: 20_000 });
  assert.equal(await connectionsOf(cafe), 2, 'clients that the server has ever heard of');
  return newcomer;
}

/** How many connections the server has had since it began. */
async function connectionsOf({ server, serverHost }) {
  // It ends with its input, so that everything is read before.
  const ask = `process.stdin.resume(); fetch('${server.url}/metrics').then((answer) => answer.text()).then(console.log)`;
  const asker = serverHost.spawn(process.execPath, ['-e', ask]);
  const [, count] = await asker.line(/^rtc_cafe_connections_opened_total (\d+)/);
  asker.closeInput();
  return Number(count);
}

scenario(`the server is restarted ${RESTARTS} times`, {}, async (cafe, t) => {
  const [first] = cafe.peers;
  let longest = 0;
  const flows = async (act) => { longest = Math.max(longest, await cafe.flowsWhile(FLOWING, act)); };
  for (let restart = 1; restart <= RESTARTS; restart += 1) {
    await flows(async () => {
      await cafe.server.kill();
      await cafe.signallerBecomes('reconnecting');
    });
    await flows(async () => {
      await cafe.server.restart();
      // Every other time it goes away again when the first is back, and others perhaps are not.
      await cafe.signallerBecomes('connected', { peers: restart % 2 ? [first] : cafe.peers, within: RECONNECTED });
    });
  }
  t.diagnostic(`something new came from everybody after ${Math.round(longest)} ms at the latest, of ${FLOWING} ms at the most`);
  await cafe.signallerBecomes('connected', { within: RECONNECTED });
  await cafe.ends();
});
