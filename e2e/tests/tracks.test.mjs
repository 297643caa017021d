// Tracks: announced to everybody, flowing to those who ask, and to nobody else.

import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';

import { Browser, picture } from '../harness/browser.mjs';
import { Peer, assertClean, everybodySees, table } from '../harness/peer.mjs';
import { eventually } from '../harness/process.mjs';
import { startServer } from '../harness/server.mjs';

let server;
let browser;
before(async () => { [server, browser] = await Promise.all([startServer(), Browser.launch()]); });
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

/** Offers a track: of the fake camera or microphone, or of a canvas of a width that tells it from others. */
const offer = (peer, what, description = what) => peer.run(async (client, what, description) => (
  client.addTrack(await kit.track(what), description)
), what, description);

const request = async (peer, owner, id) => peer.run((client, sid, id) => client.requestPeerTrack(sid, id), await owner.sid(), id);
const cancel = async (peer, owner, id) => peer.run((client, sid, id) => client.removePeerTrack(sid, id), await owner.sid(), id);

/** What a peer has got of another: the ids of the tracks that have arrived. */
const got = async (peer, owner) => peer.run((client, sid) => Object.keys(client.getPeerTracks()[sid] ?? {}).sort(), await owner.sid());
const defined = async (peer, owner) => (
  peer.run((client, sid) => Object.keys(client.getPeerTrackDefinitions()[sid] ?? {}).sort(), await owner.sid())
);

/** How much of a track was decoded so far: frames of video, samples of audio. */
const decoded = async (peer, owner, id) => peer.run((client, sid, id) => kit.decoded(client, sid, id), await owner.sid(), id);

/** Waits until more and more of a track is decoded. */
async function flows(peer, owner, id, options) {
  await eventually(async () => assert.ok((await got(peer, owner)).includes(id), `${id} has not arrived`), options);
  const first = await decoded(peer, owner, id);
  await eventually(async () => assert.ok((await decoded(peer, owner, id)) > first, `${id} does not flow`), options);
}

const sends = (peer) => peer.run(() => kit.outbound());

it('what is defined is known at once, and nothing flows until somebody asks', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const camera = await offer(a, 'camera', { what: 'camera', of: ['A'] });
  const microphone = await offer(a, 'microphone');
  const sid = await a.sid();
  await b.expect('peerTrackDefined', [
    [sid, { id: camera, description: { what: 'camera', of: ['A'] }, kind: 'video' }],
    [sid, { id: microphone, description: 'microphone', kind: 'audio' }],
  ]);
  const late = await Peer.open(browser, server.url, { rooms: ['table'] });
  await everybodySees([a, b, late]);
  await eventually(async () => assert.deepEqual(await defined(late, a), [camera, microphone].sort()));
  assert.equal(await sends(a), 0, 'nobody has asked');
  assert.deepEqual(await b.run((client) => client.getPeerTracks()), {});

  const asked = Date.now();
  await request(b, a, camera);
  await flows(b, a, camera, { within: 15_000 });
  console.log(`# frames decoded ${Date.now() - asked} ms after the request`);
  assert.deepEqual(await b.told('peerTrackIdentified').then((told) => told.map(([from, id]) => [from, id])), [[sid, camera]]);
  assert.equal(await sends(a), 1, 'to the one who asked');
  assert.deepEqual(await got(late, a), []);
  const path = await b.run((client, sid) => client.getStats(sid).then((stats) => stats.path), sid);
  assert.equal(path, 'direct');
  assertClean(a, b, late);
});

it('three people with a camera and a microphone each see and hear each other', async () => {
  const peers = await table(browser, server.url, 3);
  const ids = await Promise.all(peers.map((peer) => Promise.all([offer(peer, 'camera'), offer(peer, 'microphone')])));
  const pairs = peers.flatMap((peer) => peers.map((owner, at) => [peer, owner, ids[at]]).filter(([one, other]) => one !== other));
  await Promise.all(pairs.map(async ([peer, owner, [camera, microphone]]) => {
    await eventually(async () => assert.equal((await defined(peer, owner)).length, 2));
    await Promise.all([request(peer, owner, camera), request(peer, owner, microphone), request(peer, owner, camera)]);
  }));
  await Promise.all(pairs.flatMap(([peer, owner, [camera, microphone]]) => [
    flows(peer, owner, camera, { within: 30_000 }), flows(peer, owner, microphone, { within: 30_000 }),
  ]));
  assertClean(...peers);
});

it('a track is removed for one by whom it was requested, and for all by its owner', async () => {
  const [a, b, c] = await table(browser, server.url, 3);
  const camera = await offer(a, 'camera');
  const sid = await a.sid();
  for (const peer of [b, c]) {
    await eventually(async () => assert.deepEqual(await defined(peer, a), [camera]));
    await request(peer, a, camera);
    await flows(peer, a, camera);
  }
  assert.equal(await cancel(b, a, camera), camera);
  assert.equal(await cancel(b, a, camera), null);
  await b.expect('peerTrackRemoved', [[sid, camera]]);
  await eventually(async () => assert.equal(await sends(a), 1));
  await flows(c, a, camera);

  await request(b, a, camera);
  await flows(b, a, camera);
  assert.equal(await a.run((client, id) => client.removeTrack(id), camera), camera);
  assert.equal(await a.run((client, id) => client.removeTrack(id), camera), null);
  await c.expect('peerTrackRemoved', [[sid, camera]]);
  for (const peer of [b, c]) await peer.expect('peerTrackDefinitionRemoved', [[sid, camera, 'video', 'camera']]);
  await eventually(async () => assert.equal(await sends(a), 0));
  assert.deepEqual([await got(b, a), await defined(b, a), await got(c, a)], [[], [], []]);
  assertClean(a, b, c);
});

it('a track that ends by itself is removed everywhere, and may be added again', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const screen = await offer(a, 320);
  await eventually(async () => assert.deepEqual(await defined(b, a), [screen]));
  await request(b, a, screen);
  await flows(b, a, screen);
  await a.run((client, id) => {
    const [{ track }] = client.getTracks([id]);
    track.stop();
    track.dispatchEvent(new Event('ended'));
  }, screen);
  await b.expect('peerTrackDefinitionRemoved', [[await a.sid(), screen, 'video', 320]]);
  assert.deepEqual(await a.run((client) => client.getTracks()), []);
  const again = await offer(a, 320);
  await eventually(async () => assert.deepEqual(await defined(b, a), [again]));
  await request(b, a, again);
  await flows(b, a, again);
});

it('replaceTrack changes the picture and nothing else', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const id = await offer(a, 320);
  await eventually(async () => assert.deepEqual(await defined(b, a), [id]));
  await request(b, a, id);
  await flows(b, a, id);
  const width = async () => b.run((client, sid, id) => kit.width(client, sid, id), await a.sid(), id);
  await eventually(async () => assert.equal(await width(), 320));
  await a.run(async (client, id) => client.replaceTrack(id, await kit.track(200)), id);
  await eventually(async () => assert.equal(await width(), 200));
  assert.deepEqual((await b.told('peerTrackIdentified')).length, 1);
  assert.deepEqual(await b.told('peerTrackRemoved'), []);
});

it('storms of operations from both sides at once end in the right state', async () => {
  const peers = await table(browser, server.url, 2);
  await Promise.all(peers.map((peer) => peer.run((client) => kit.storm(client, 50), undefined)));
  const [a, b] = peers;
  for (const [peer, owner] of [[a, b], [b, a]]) {
    const available = await owner.run((client) => client.getTracks().map(({ id }) => id).sort());
    await eventually(async () => assert.deepEqual(await defined(peer, owner), available), { within: 20_000 });
    await peer.run((client, sid, ids) => ids.forEach((id) => client.requestPeerTrack(sid, id)), await owner.sid(), available);
    await Promise.all(available.map((id) => flows(peer, owner, id, { within: 30_000 })));
    assert.deepEqual(await got(peer, owner), available);
  }
  for (const [peer, owner] of [[a, b], [b, a]]) {
    assert.equal(await sends(peer), (await got(owner, peer)).length, 'nothing else flows');
  }
  assertClean(a, b);
});

it('what flowed comes back after an outage and after the connection was replaced', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const camera = await offer(a, 'camera');
  await eventually(async () => assert.deepEqual(await defined(b, a), [camera]));
  await request(b, a, camera);
  await flows(b, a, camera);
  await a.run(() => kit.breakSockets());
  await eventually(async () => assert.equal((await b.told('reassignPeerSid')).length, 1), { within: 20_000 });
  await flows(b, a, camera);
  await a.run(() => kit.connections.forEach((connection) => connection.close()));
  await eventually(async () => assert.equal((await b.told('disconnectFromPeer')).length, 1), { within: 20_000 });
  await flows(b, a, camera, { within: 30_000 });
});

it('what cannot be is an error with a code', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const code = async (peer, call, ...args) => (await peer.attempt(call, ...args)).code;
  assert.equal(await code(a, (client) => client.addTrack({})), 'INVALID_TRACK');
  assert.equal(await code(a, (client, sid) => client.requestPeerTrack(sid, 'nothing'), await b.sid()), 'UNKNOWN_TRACK');
  assert.equal(await code(a, (client) => client.requestPeerTrack('nobody', 'nothing')), 'NOT_CONNECTED');
  assert.equal(await a.run((client) => client.removeTrack('nothing')), null);
  assert.equal(await a.run((client) => client.removePeerTrack('nobody', 'nothing')), null);
  const denied = await a.run(() => navigator.mediaDevices.getUserMedia({ video: { deviceId: { exact: 'no such' } } }).catch((error) => error.name));
  assert.equal(denied, 'OverconstrainedError');
});
