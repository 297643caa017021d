// One half of a room is cut off from the other, for a short time or a long one, and comes together again.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import { scenario } from '../../harness/cafe.mjs';
import { eventually } from '../../harness/process.mjs';

/** Milliseconds for which they are apart so that nobody is told, and so that everybody is: who is away for 30 s is gone. */
const SHORT = 15_000;
const LONG = 40_000;
/** Within so many milliseconds messages flow again between all. */
const BACK = 15_000;

/** The halves of the room. */
const HALVES = [['native 1', 'native 2', 'page 1'], ['native 3', 'native 4', 'page 2']];
const halvesOf = (cafe) => HALVES.map((names) => names.map((name) => cafe.peer(name)));

scenario('half of the room is cut off from the other half for 15 s, and the server is with both: nobody is told', {}, async (cafe) => {
  const halves = halvesOf(cafe).map((half) => cafe.hostsOf(half));
  await cafe.network.cut(...halves);
  await sleep(SHORT);
  await cafe.recovers('the halves were apart, with the server in both halves', BACK, () => cafe.network.heal(...halves));
  await cafe.ends();
});

scenario('half of the room is cut off from the other half and the server for 40 s: all are told, and meet again', {}, async (cafe) => {
  const [one, other] = halvesOf(cafe);
  const sides = [[cafe.serverHost, ...cafe.hostsOf(one)], cafe.hostsOf(other)];
  const sidsOf = (peers) => Promise.all(peers.map((peer) => peer.sid()));
  const before = { one: await sidsOf(one), other: await sidsOf(other) };
  const told = async (event, peer) => (await peer.told(event)).map(([sid]) => sid);
  const met = new Map();
  for (const peer of cafe.peers) met.set(peer, (await told('connectToPeer', peer)).length);
  /** Everybody is told of everybody in the other half, once, and of nobody else. */
  const eachIsTold = async (event, sids, skip = () => 0) => {
    for (const [half, expected] of [[one, sids.other], [other, sids.one]]) {
      for (const peer of half) {
        assert.deepEqual((await told(event, peer)).slice(skip(peer)).sort(), expected.toSorted(), `${event} in ${peer.name}`);
      }
    }
  };

  await cafe.network.cut(...sides);
  const apart = performance.now();
  await eventually(() => eachIsTold('disconnectFromPeer', before), { within: LONG });
  await sleep(Math.max(0, LONG - (performance.now() - apart)));
  await eachIsTold('connectToPeer', { one: [], other: [] }, (peer) => met.get(peer));
  await cafe.recovers('the halves were apart, with the server in one half', BACK, () => cafe.network.heal(...sides));
  await cafe.ends({ mayLose: one.map((peer) => peer.name) });
  await eachIsTold('disconnectFromPeer', before);
  for (const peer of cafe.peers) {
    assert.equal((await told('connectToPeer', peer)).length - met.get(peer), 3, `whom ${peer.name} has met again`);
  }
});
