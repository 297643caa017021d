// Tracks: announced to everybody, flowing to those who ask, and to nobody else.

import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';

import { BROWSER, Browser } from '../../harness/browser.mjs';
import { Peer, assertClean, everybodySees, table } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';
import { cancel, comesBack, defined, flows, got, offer, replaces, request, sends, shows, weathers } from '../../harness/tracks.mjs';

let server;
let browser;
before(async () => { [server, browser] = await Promise.all([startServer(), Browser.launch()]); });
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

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
  await flows(b, a, camera);
  const took = Date.now() - asked;
  assert.ok(took < 2000, `frames were decoded after ${took} ms`);
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
  /** Lets B pass on a track of A to A, so that it ends by itself when A removes the one that it comes from. */
  const passOn = async (id) => {
    const passed = await b.run((client, sid, id) => client.addTrack(client.getPeerTracks()[sid][id], 'passed on'), await a.sid(), id);
    await eventually(async () => assert.deepEqual(await defined(a, b), [passed]));
    await request(a, b, passed);
    await flows(a, b, passed);
    return passed;
  };
  for (const round of [0, 1]) {
    const camera = await shows(a, b, 'camera');
    const passed = await passOn(camera);
    await a.run((client, id) => client.removeTrack(id), camera);
    await eventually(async () => assert.deepEqual((await a.told('peerTrackDefinitionRemoved'))[round], [await b.sid(), passed, 'video', 'passed on']));
    await eventually(async () => assert.deepEqual((await a.told('peerTrackRemoved'))[round], [await b.sid(), passed]));
    assert.deepEqual(await b.run((client) => client.getTracks()), []);
  }
  assertClean(a, b);
});

it('replaceTrack changes the picture and nothing else', async () => {
  await replaces(...await table(browser, server.url, 2));
});

it('of replacements that cross, the last one counts, and one that fails changes nothing', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const id = await shows(a, b, 320);
  const crossed = await a.run(async (client, id) => {
    const [{ track: first }] = client.getTracks([id]);
    const second = await kit.track(160);
    await Promise.all([client.replaceTrack(id, second), client.replaceTrack(id, first)]);
    const sent = kit.connections[0].getSenders().map(({ track }) => track);
    return [sent.includes(first), sent.includes(second), client.getTracks([id])[0].track === first];
  }, id);
  assert.deepEqual(crossed, [true, false, true]);

  const failed = await a.run(async (client, id) => {
    const [{ track: first }] = client.getTracks([id]);
    const native = RTCRtpSender.prototype.replaceTrack;
    const refused = [await kit.track(160), await kit.track(240)];
    RTCRtpSender.prototype.replaceTrack = function replaceTrack(track) {
      return refused.includes(track) ? Promise.reject(new DOMException('no', 'InvalidModificationError')) : native.call(this, track);
    };
    const codes = await Promise.all(refused.map((track) => client.replaceTrack(id, track).catch((error) => [error.name, error.code, error.cause?.name])));
    client.addTrack(first, 'described anew');
    RTCRtpSender.prototype.replaceTrack = native;
    const { track, description } = client.getTracks([id])[0];
    return [codes, track === first, description, kit.connections[0].getSenders().some((sender) => sender.track === first)];
  }, id);
  const code = ['RTCCafeError', 'INVALID_TRACK', 'InvalidModificationError'];
  assert.deepEqual(failed, [[code, code], true, 'described anew', true]);
  await flows(b, a, id);
  assertClean(a, b);
});

it('a track whose place another one took is offered beside it', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const { ids, offered } = await a.run(async (client) => {
    const [first, second] = [await kit.track(320), await kit.track(160)];
    const id = client.addTrack(first, 'one');
    await client.replaceTrack(id, second);
    const ids = [id, client.addTrack(first, 'two'), client.addTrack(first, 'three')];
    return { ids, offered: client.getTracks().map(({ id, description, track }) => [id, description, track === first]) };
  });
  assert.notEqual(ids[1], ids[0]);
  assert.equal(ids[2], ids[1]);
  assert.deepEqual(offered, [[ids[0], 'one', false], [ids[1], 'three', true]]);
  await eventually(async () => assert.deepEqual(await defined(b, a), [ids[0], ids[1]].sort()));
  for (const id of [ids[0], ids[1]]) {
    await request(b, a, id);
    await flows(b, a, id);
  }
  assertClean(a, b);
});

it('storms of operations from both sides at once end in the right state', async () => {
  await weathers(...await table(browser, server.url, 2));
});

it('what flowed comes back after an outage and after the connection was replaced', async () => {
  await comesBack(...await table(browser, server.url, 2));
});

it('a codec and a highest bitrate are kept to, and getStats tells how it flows', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const id = await a.run(async (client) => client.addTrack(await kit.track('camera'), null, { codec: 'VP9', maxBitrate: 200_000 }));
  await eventually(async () => assert.deepEqual(await defined(b, a), [id]));
  await request(b, a, id);
  await flows(b, a, id);
  const sent = await a.run(async () => {
    const [connection] = kit.connections;
    const sender = connection.getSenders().find(({ track }) => track);
    const reports = [...(await sender.getStats()).values()];
    const { codecId } = reports.find(({ type }) => type === 'outbound-rtp');
    return [reports.find((report) => report.id === codecId).mimeType, sender.getParameters().encodings[0].maxBitrate];
  });
  assert.deepEqual(sent, ['video/VP9', 200_000]);
  const [owner, viewer] = [await a.sid(), await b.sid()];
  const stats = (peer, sid) => peer.run((client, sid) => client.getStats(sid), sid);
  await eventually(async () => {
    const [ofSender, ofViewer] = [await stats(a, viewer), await stats(b, owner)];
    const bitrates = JSON.stringify([ofSender, ofViewer]);
    // Over a second it is what was asked for; over a moment it may be a key frame.
    for (const bitrate of [ofSender.outgoingBitrate, ofViewer.incomingBitrate]) assert.ok(bitrate > 10_000 && bitrate < 300_000, bitrates);
    for (const { roundTripTime, packetLoss, path } of [ofSender, ofViewer]) {
      assert.ok(roundTripTime >= 0 && roundTripTime < 1, bitrates);
      assert.deepEqual([packetLoss.incoming ?? 0, path], [0, 'direct']);
    }
  }, { every: 1000, within: 15_000 });
  // Added again, it is sent by the new limit, without being negotiated anew.
  const again = (options) => a.run(async (client, options) => {
    const { currentLocalDescription } = kit.connections[0];
    client.addTrack(client.getTracks()[0].track, null, options);
    const { sdp } = currentLocalDescription;
    await new Promise((resolve) => { setTimeout(resolve, 300); });
    const sender = kit.connections[0].getSenders().find(({ track }) => track);
    return [sender.getParameters().encodings[0].maxBitrate ?? null, kit.connections[0].currentLocalDescription.sdp === sdp];
  }, options);
  assert.deepEqual(await again({ maxBitrate: 90_000 }), [90_000, true]);
  assert.deepEqual(await again({}), [null, true]);
  assertClean(a, b);
});

it('options are left out by null, and refused when they are nonsense', async () => {
  const [a] = await table(browser, server.url, 1);
  const attempt = (options) => a.run(async (client, options) => {
    const track = await kit.track(160);
    return kit.attempt(() => client.addTrack(track, null, options)).code ?? null;
  }, options);
  for (const options of [null, {}, { codec: null }, { maxBitrate: null }, { codec: 'vp8', maxBitrate: 1 }]) {
    assert.equal(await attempt(options), null, JSON.stringify(options));
  }
  for (const options of [{ codec: 5 }, { codec: {} }, { maxBitrate: 0 }, { maxBitrate: '1' }, { maxBitrate: 2 ** 32 }]) {
    assert.equal(await attempt(options), 'INVALID_ARGUMENT', JSON.stringify(options));
  }
  assert.equal(await attempt({ codec: 'telegraph' }), 'UNSUPPORTED_CODEC');
});

it('a track that was made in a frame is one', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const id = await a.run(async (client) => {
    const frame = document.body.appendChild(document.createElement('iframe'));
    const canvas = Object.assign(frame.contentDocument.createElement('canvas'), { width: 160, height: 160 });
    const context = canvas.getContext('2d');
    let at = 0;
    setInterval(() => {
      context.fillStyle = `hsl(${at += 7} 80% 50%)`;
      context.fillRect(0, 0, 160, 160);
    }, 50);
    return client.addTrack(canvas.captureStream(20).getVideoTracks()[0]);
  });
  await eventually(async () => assert.deepEqual(await defined(b, a), [id]));
  await request(b, a, id);
  await flows(b, a, id);
});

it('how a connection does is null until it is known', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const stats = await a.run(async (client, sid) => {
    const native = RTCPeerConnection.prototype.getStats;
    RTCPeerConnection.prototype.getStats = async () => new Map();
    const stats = await client.getStats(sid).catch((error) => error.code);
    RTCPeerConnection.prototype.getStats = native;
    return stats;
  }, await b.sid());
  assert.equal(stats, null);
});

it('what there is can be asked for by sid and by id', async () => {
  const [a, b, c] = await table(browser, server.url, 3);
  const [one, two] = [await shows(a, b, 320), await shows(c, b, 'microphone')];
  const three = await offer(a, 160, { of: 'A' });
  await eventually(async () => assert.deepEqual(await defined(b, a), [one, three].sort()));
  const [sid, other] = [await a.sid(), await c.sid()];
  const definitions = (...filters) => b.run((client, filters) => client.getPeerTrackDefinitions(...filters), filters);
  const first = { id: one, kind: 'video', description: 320 };
  const second = { id: two, kind: 'audio', description: 'microphone' };
  const third = { id: three, kind: 'video', description: { of: 'A' } };
  const everything = { [sid]: { [one]: first, [three]: third }, [other]: { [two]: second } };
  assert.deepEqual(await definitions(), everything);
  // What is handed out is a copy.
  await b.run((client, sid, id) => {
    const definitions = client.getPeerTrackDefinitions();
    definitions[sid][id].description.of = 'B';
    delete definitions[sid];
  }, sid, three);
  assert.deepEqual(await definitions(), everything);
  assert.deepEqual(await definitions([other]), { [other]: { [two]: second } });
  assert.deepEqual(await definitions(null, [three, two]), { [sid]: { [three]: third }, [other]: { [two]: second } });
  assert.deepEqual(await definitions([sid], [two]), {});
  const kinds = (...filters) => b.run((client, filters) => Object.entries(client.getPeerTracks(...filters))
    .map(([sid, tracks]) => [sid, Object.entries(tracks).map(([id, { kind }]) => [id, kind])]), filters);
  assert.deepEqual(Object.fromEntries(await kinds()), { [sid]: [[one, 'video']], [other]: [[two, 'audio']] });
  assert.deepEqual(await kinds([sid], [one, three]), [[sid, [[one, 'video']]]]);
  assert.deepEqual(await kinds(null, [three]), []);
  const own = (filter) => a.run((client, filter) => client.getTracks(filter).map(({ track, ...definition }) => [definition, track.readyState]), filter);
  assert.deepEqual(await own(null), [[first, 'live'], [third, 'live']]);
  assert.deepEqual(await own([three]), [[third, 'live']]);
});

it('what cannot be is an error with a code', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const code = async (call, ...args) => (await a.attempt(call, ...args)).code;
  for (const nothing of ['undefined', 'null', '5', '{}', 'new MediaStream()', '{ kind: "video", readyState: "live" }']) {
    assert.equal(await code((client, nothing) => client.addTrack((0, eval)(`(${nothing})`)), nothing), 'INVALID_TRACK', nothing);
  }
  assert.deepEqual(await a.run(async (client) => {
    const [ended, camera, microphone] = [await kit.track(160), await kit.track('camera'), await kit.track('microphone')];
    ended.stop();
    const id = client.addTrack(camera);
    const refused = (track) => client.replaceTrack(id, track).catch((error) => error.code);
    return [kit.attempt(() => client.addTrack(ended)).code, await refused(ended), await refused(microphone), await refused(undefined)];
  }), ['INVALID_TRACK', 'INVALID_TRACK', 'INVALID_TRACK', 'INVALID_TRACK']);
  assert.equal(await code((client, sid) => client.requestPeerTrack(sid, 'nothing'), await b.sid()), 'UNKNOWN_TRACK');
  assert.equal(await code((client) => client.requestPeerTrack('nobody', 'nothing')), 'NOT_CONNECTED');
  assert.equal(await a.run((client) => client.removeTrack('nothing')), null);
  assert.equal(await a.run((client) => client.removePeerTrack('nobody', 'nothing')), null);
});

for (const [camera, reason] of [['denied', 'NotAllowedError'], ['missing', 'NotFoundError']]) {
  it(`where the camera is ${camera}, what there is instead of a track is an error with a code`, async () => {
    const theirs = await Browser.launch(BROWSER, { camera });
    try {
      const [a] = await table(theirs, server.url, 1);
      const told = await a.run(async (client) => {
        const stream = await navigator.mediaDevices.getUserMedia({ video: true }).catch((error) => error);
        return [stream.name, kit.attempt(() => client.addTrack(stream.getVideoTracks?.()[0])).code];
      });
      assert.deepEqual(told, [reason, 'INVALID_TRACK']);
    } finally {
      await theirs.close();
    }
  });
}
