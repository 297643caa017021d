// The server whose relay is the only way between two groups is killed, and comes back as another one: with other credentials,
// and without sessions or allocations.

import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { scenario } from '../../harness/cafe.mjs';
import { eventually } from '../../harness/process.mjs';

/** Milliseconds without a server so that nobody is told, and so that all are who have no other way: who is away for 30 s is gone. */
const SHORT = 4000;
const LONG = 40_000;
/** Within so many milliseconds of its return messages flow again between all. */
const BACK = 15_000;

/** Each peer of each group, with the sids of the other group. */
async function strangers(cafe, groups) {
  const peers = groups.map((group) => group.map((name) => cafe.peer(name)));
  const sids = await Promise.all(peers.map((group) => Promise.all(group.map((peer) => peer.sid()))));
  return peers.flatMap((group, at) => group.map((peer) => ({ peer, others: sids[1 - at] })));
}

/** Waits until the path between the groups is that of the relay; within them it leads past it. */
async function isBetween(cafe, groups) {
  const sids = await Promise.all(cafe.peers.map((peer) => peer.sid()));
  for (const { peer, others } of await strangers(cafe, groups)) {
    for (const sid of sids.filter((_, at) => cafe.peers[at] !== peer)) {
      const expected = others.includes(sid) ? 'relayed' : 'direct';
      await eventually(async () => assert.equal((await peer.report(sid)).path, expected, `from ${peer.name} to ${sid}`));
    }
  }
}

/** Has the server away while something is done, and then all of them talk again, under other sids, through it. */
async function survives(cafe, groups, what, meanwhile) {
  await isBetween(cafe, groups);
  const before = await Promise.all(cafe.peers.map((peer) => peer.sid()));
  await cafe.server.kill();
  await meanwhile();
  await cafe.recovers(`the server was away for ${what}`, BACK, () => cafe.server.restart());
  const after = await Promise.all(cafe.peers.map((peer) => peer.sid()));
  assert.deepEqual(after.filter((sid) => before.includes(sid)), [], 'sessions of a server that is no more');
  await isBetween(cafe, groups);
}

describe('a server whose relay is the only way between two groups', { concurrency: true }, () => {
  const short = [['native 1', 'page 1'], ['native 2', 'native 3']];
  scenario('is killed for 4 s: nobody is told', { natives: 3, pages: 1, apart: short }, async (cafe) => {
    await survives(cafe, short, '4 s', () => sleep(SHORT));
    await cafe.ends();
  });

  const long = [['native 1'], ['native 2', 'page 1']];
  scenario('is killed for 40 s: each group is told that the other is gone, and they meet again', { natives: 2, pages: 1, apart: long }, async (cafe) => {
    const members = await strangers(cafe, long);
    await survives(cafe, long, '40 s', async () => {
      const killed = performance.now();
      const left = () => LONG - (performance.now() - killed);
      for (const { peer, others } of members) {
        await eventually(async () => {
          assert.deepEqual((await peer.told('disconnectFromPeer')).flat().sort(), others.toSorted(), `whom ${peer.name} has lost`);
        }, { within: left() });
      }
      await sleep(left());
    });
    await cafe.ends({ mayLose: long[0] });
    for (const { peer, others } of members) {
      assert.equal((await peer.told('disconnectFromPeer')).length, others.length, `whom ${peer.name} has lost`);
    }
  });
});
