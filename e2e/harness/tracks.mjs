// The tracks of clients in pages, as a test sees them, and what must hold between any two clients.

import assert from 'node:assert/strict';

import { assertClean } from './peer.mjs';
import { eventually } from './process.mjs';

/** Offers a track: of the fake camera or microphone, or of a canvas of a width that tells it from others. */
export const offer = (peer, what, description = what) => peer.run(async (client, what, description) => (
  client.addTrack(await kit.track(what), description)
), what, description);

export const request = async (peer, owner, id) => peer.run((client, sid, id) => client.requestPeerTrack(sid, id), await owner.sid(), id);
export const cancel = async (peer, owner, id) => peer.run((client, sid, id) => client.removePeerTrack(sid, id), await owner.sid(), id);

/** What a peer has got of another: the ids of the tracks that have arrived. */
export const got = async (peer, owner) => peer.run((client, sid) => Object.keys(client.getPeerTracks()[sid] ?? {}).sort(), await owner.sid());
export const defined = async (peer, owner) => (
  peer.run((client, sid) => Object.keys(client.getPeerTrackDefinitions()[sid] ?? {}).sort(), await owner.sid())
);

/** How much of a track was decoded so far: frames of video, samples of audio. */
export const decoded = async (peer, owner, id) => peer.run((client, sid, id) => kit.decoded(client, sid, id), await owner.sid(), id);

/** Waits until more and more of a track is decoded. */
export async function flows(peer, owner, id, options) {
  await eventually(async () => assert.ok((await got(peer, owner)).includes(id), `${id} has not arrived`), options);
  const first = await decoded(peer, owner, id);
  await eventually(async () => assert.ok((await decoded(peer, owner, id)) > first, `${id} does not flow`), options);
}

/** How many tracks a peer sends, each counted once for everybody who gets it. */
export const sends = (peer) => peer.run(() => kit.outbound());

/** Offers a track, and waits until it flows to a peer that asks for it. */
export async function shows(owner, peer, what) {
  const id = await offer(owner, what);
  await eventually(async () => assert.ok((await defined(peer, owner)).includes(id)));
  await request(peer, owner, id);
  await flows(peer, owner, id);
  return id;
}

/** The origins of what is negotiated, which change with every negotiation. */
const origins = (peer) => peer.run(() => kit.connections.filter(({ connectionState }) => connectionState === 'connected')
  .flatMap((connection) => [connection.localDescription, connection.remoteDescription].map(({ sdp }) => /^o=.*/m.exec(sdp)[0])));

/** `replaceTrack` changes the picture that a peer has, and nothing else. */
export async function replaces(a, b) {
  const id = await shows(a, b, 320);
  // Browsers scale a picture as the line allows, but do not change its shape.
  const shape = async () => b.run((client, sid, id) => kit.shape(client, sid, id), await a.sid(), id);
  await eventually(async () => assert.equal(await shape(), 2));
  const before = await origins(a);
  await a.run(async (client, id) => client.replaceTrack(id, await kit.track(160)), id);
  await eventually(async () => assert.equal(await shape(), 1));
  assert.equal(before.length, 2);
  assert.deepEqual(await origins(a), before, 'nothing is negotiated anew');
  assert.equal((await b.told('peerTrackIdentified')).length, 1);
  assert.deepEqual(await b.told('peerTrackRemoved'), []);
}

/** Storms of operations from both sides at once end in the right state. */
export async function weathers(a, b) {
  await Promise.all([a, b].map((peer) => peer.run((client) => kit.storm(client, 50))));
  for (const [peer, owner] of [[a, b], [b, a]]) {
    const available = await owner.run((client) => client.getTracks().map(({ id }) => id).sort());
    await eventually(async () => assert.deepEqual(await defined(peer, owner), available), { within: 20_000 });
    const wanted = await peer.run(() => [...kit.wanted].sort());
    await eventually(async () => assert.deepEqual(await got(peer, owner), wanted), { within: 20_000 });
    await Promise.all(wanted.map((id) => flows(peer, owner, id, { within: 30_000 })));
    await eventually(async () => assert.equal(await sends(owner), wanted.length, 'what nobody wants flows, or too little'));
  }
  for (const [peer, owner] of [[a, b], [b, a]]) {
    const available = await defined(peer, owner);
    await peer.run((client, sid, ids) => ids.forEach((id) => client.requestPeerTrack(sid, id)), await owner.sid(), available);
    await Promise.all(available.map((id) => flows(peer, owner, id, { within: 30_000 })));
    assert.deepEqual(await got(peer, owner), available);
  }
  for (const [peer, owner] of [[a, b], [b, a]]) {
    assert.equal(await sends(peer), (await got(owner, peer)).length, 'nothing else flows');
  }
  assertClean(a, b);
}

/** What was offered and what flowed, either way, comes back after one side lost its websocket, and its connection. */
export async function comesBack(a, b) {
  const ways = [[b, a, await shows(a, b, 'camera')], [a, b, await shows(b, a, 'microphone')]];
  await offer(a, 160, { asked: 'by nobody' });
  const offers = async (peer, owner) => peer.run((client, sid) => client.getPeerTrackDefinitions()[sid] ?? {}, await owner.sid());
  await eventually(async () => assert.equal((await defined(b, a)).length, 2));
  const before = await Promise.all(ways.map(([peer, owner]) => offers(peer, owner)));
  const isBack = () => Promise.all(ways.map(async ([peer, owner, id], way) => {
    await eventually(async () => assert.deepEqual(await offers(peer, owner), before[way]), { within: 20_000 });
    await flows(peer, owner, id, { within: 30_000 });
    assert.deepEqual(await got(peer, owner), [id]);
  }));
  await a.run(() => kit.breakSockets());
  await eventually(async () => assert.equal((await b.told('reassignPeerSid')).length, 1), { within: 20_000 });
  await isBack();
  await a.run(() => kit.connections.forEach((connection) => connection.close()));
  await eventually(async () => assert.equal((await b.told('peerTrackRemoved')).length, 1), { within: 20_000 });
  await isBack();
  for (const peer of [a, b]) assert.deepEqual(await peer.told('disconnectFromPeer'), [], 'nobody was gone');
}
