// `rtc-cafe join` and real browsers in one room: messages, tracks both ways, glare, restarts of ICE.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';

import { BROWSERS, Browser } from '../harness/browser.mjs';
import { LinePeer } from '../harness/line-peer.mjs';
import { Peer, assertClean, delivers, everybodySees, everything, exchange, metOnce } from '../harness/peer.mjs';
import { eventually } from '../harness/process.mjs';
import { startServer } from '../harness/server.mjs';

/** What each codec is made by, in files of two seconds that begin anew with a keyframe each second. */
const FILES = {
  'opus.ogg': ['-f', 'lavfi', '-i', 'sine=frequency=440', '-c:a', 'libopus'],
  'vp8.ivf': ['-f', 'lavfi', '-i', 'testsrc=size=320x240:rate=25', '-c:v', 'libvpx', '-deadline', 'realtime', '-g', '25'],
  'vp9.ivf': ['-f', 'lavfi', '-i', 'testsrc=size=320x240:rate=25', '-c:v', 'libvpx-vp9', '-deadline', 'realtime', '-g', '25'],
  'h264.h264': ['-f', 'lavfi', '-i', 'testsrc=size=320x240:rate=25', '-c:v', 'libx264', '-profile:v', 'baseline', '-g', '25', '-pix_fmt', 'yuv420p'],
};

let server;
let folder;
const processes = [];
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'rtc-cafe-e2e-'));
  for (const [file, options] of Object.entries(FILES)) run('ffmpeg', '-v', 'error', ...options, '-t', '20', join(folder, file));
});
beforeEach(async () => { server = await startServer(); });
afterEach(async () => {
  await Promise.all(processes.splice(0).map((process) => process.kill()));
  await server?.kill();
});
after(() => rmSync(folder, { recursive: true, force: true }));

function run(program, ...options) {
  const { error, status, stdout, stderr } = spawnSync(program, options, { encoding: 'utf8' });
  if (error || status) throw new Error(`${program} ${options.join(' ')}: ${error?.message ?? stderr}`);
  return stdout;
}

function native(room = 'table') {
  const peer = LinePeer.native(server.url, room);
  processes.push(peer);
  return peer;
}

/** Waits until a page decodes more and more of a track. */
async function plays(page, sid, id) {
  const decoded = () => page.run((client, sid, id) => kit.decoded(client, sid, id), sid, id);
  let first;
  await eventually(async () => assert.ok((first = await decoded()) > 0, `${id} has not come`), { within: 20_000 });
  await eventually(async () => assert.ok(await decoded() > first, `${id} does not flow`), { within: 20_000 });
}

const request = (page, sid, id) => page.run((client, sid, id) => client.requestPeerTrack(sid, id), sid, id);
const offer = (page, what) => page.run(async (client, what) => client.addTrack(await kit.track(what), what), what);

/** Waits for the definition of a track that a page has heard of. */
const defined = (peer, sid, id) => eventually(async () => {
  assert.ok((await peer.told('peerTrackDefined')).some(([from, definition]) => from === sid && definition.id === id));
});

/** The user name fragments of the page's present candidates: another one after a restart of ICE. */
const fragment = (page) => page.run(() => (
  kit.connections.map((connection) => /a=ice-ufrag:(\S+)/.exec(connection.currentLocalDescription?.sdp)?.[1]).at(-1)
));

for (const kind of BROWSERS) {
  describe(`a native peer and ${kind}`, () => {
    let browser;
    before(async () => { browser = await Browser.launch(kind); });
    afterEach(() => browser?.clear());
    after(() => browser?.close());

    const page = () => Peer.open(browser, server.url, { rooms: ['table'] });

    it('talk, whoever comes first', async () => {
      const messages = await everything(browser, server);
      const first = native();
      await first.sid();
      const between = await page();
      await everybodySees([first, between]);
      const last = native();
      const peers = [first, between, last];
      await everybodySees(peers);
      await exchange(messages, ...peers);
      await metOnce(peers);
      assertClean(between);
      const { connectedPeers, state, apiVersion } = await first.call('properties');
      assert.deepEqual([connectedPeers.length, state, apiVersion], [2, 'connected', '1.0']);
    });

    it('leave, and are missed', async () => {
      const peers = [native(), await page(), native()];
      await everybodySees(peers);
      const [sid, , other] = await Promise.all(peers.map((peer) => peer.sid()));
      assert.deepEqual(await peers[0].leave(), { code: 0, signal: null });
      for (const peer of peers.slice(1)) await peer.expect('disconnectFromPeer', [[sid]], { within: 15_000 });
      await peers[2].kill();
      await peers[1].expect('disconnectFromPeer', [[sid], [other]], { within: 30_000 });
      const late = native();
      await everybodySees([peers[1], late]);
      const gone = await peers[1].sid();
      const last = 'x'.repeat(240_000);
      await peers[1].run((client, last) => { client.sendMessage(last); client.leaveRoom('table'); }, last);
      await late.expect('message', [[gone, last]]);
      await late.expect('disconnectFromPeer', [[gone]], { within: 2500 });
      await peers[1].join('table');
      await everybodySees([peers[1], late]);
      await peers[1].leave();
      await late.expect('disconnectFromPeer', [[gone], [gone]], { within: 10_000 });
    });

    it('agree when both offer at once', async () => {
      const one = await page();
      const other = native('theirs');
      await Promise.all([one.sid(), other.sid()]);
      other.freeze();
      other.op('joinRoom', { room: 'table' });
      await one.join('theirs');
      other.thaw();
      await everybodySees([one, other]);
      await delivers(one, 'me first', other);
      await delivers(other, 'no, me', one);
      await metOnce([one, other]);
    });

    it('outlive the server', async () => {
      const peers = [native(), await page()];
      await everybodySees(peers);
      await server.kill();
      for (const peer of peers) await eventually(async () => assert.deepEqual((await peer.told('signallerStateChanged')).at(-1), ['reconnecting']));
      await delivers(peers[0], 'still here', peers[1]);
      await server.restart();
      for (const peer of peers) await eventually(async () => assert.equal((await peer.told('reassignPeerSid')).length, 1), { within: 20_000 });
      await everybodySees(peers);
      // Of an outage one is told if an attempt falls into it.
      await metOnce(peers, ['SIGNALLER_UNREACHABLE']);
      await delivers(peers[1], 'all the same', peers[0]);
    });

    it('restart ICE from either side, with a track that goes on', async () => {
      const [one, other] = [native(), await page()];
      await everybodySees([one, other]);
      const sid = await one.sid();
      const id = await one.call('addTrack', { file: join(folder, 'vp8.ivf') });
      await defined(other, sid, id);
      await request(other, sid, id);
      await plays(other, sid, id);
      for (const restart of [() => one.call('networkChanged'), () => other.run(() => { dispatchEvent(new Event('online')); })]) {
        const before = await fragment(other);
        await restart();
        await eventually(async () => assert.notEqual(await fragment(other), before));
        await delivers(one, 'this way', other);
        await delivers(other, 'that way', one);
        await plays(other, sid, id);
      }
      await metOnce([one, other]);
    });

    it('a page plays the files of a native peer', async () => {
      const [one, other] = [native(), await page()];
      await everybodySees([one, other]);
      const sid = await one.sid();
      const decodes = await other.run(() => RTCRtpReceiver.getCapabilities('video').codecs.map(({ mimeType }) => mimeType.toLowerCase()));
      const files = Object.keys(FILES).filter((file) => !file.endsWith('.h264') || decodes.includes('video/h264'));
      for (const file of files) {
        const id = await one.call('addTrack', { file: join(folder, file), description: { file } });
        await defined(other, sid, id);
        await request(other, sid, id);
        await plays(other, sid, id);
        assert.equal(await other.run((client, sid, id) => client.removePeerTrack(sid, id), sid, id), id);
        await request(other, sid, id);
        await plays(other, sid, id);
        assert.equal(await one.call('removeTrack', { id }), id);
        await other.expect('peerTrackDefinitionRemoved', [[sid, id, file.startsWith('opus') ? 'audio' : 'video', { file }]]);
        await other.forget();
        assert.deepEqual(await other.run((client) => client.getPeerTracks()), {});
      }
      assertClean(other);
    });

    it('a native peer records the camera and the microphone of a page', async () => {
      const [one, other] = [native(), await page()];
      await everybodySees([one, other]);
      const sid = await other.sid();
      const recordings = [];
      for (const [what, extension] of [['camera', 'mkv'], ['microphone', 'ogg']]) {
        const id = await offer(other, what);
        await defined(one, sid, id);
        const record = join(folder, `${kind}-${what}.${extension}`);
        const before = Date.now();
        await one.call('requestPeerTrack', { sid, id, record });
        await eventually(async () => assert.ok((await one.told('peerTrackIdentified')).some(([, identified]) => identified === id)));
        recordings.push({ id, record, before });
      }
      await new Promise((resolve) => { setTimeout(resolve, 3000); });
      assert.deepEqual(await one.leave(), { code: 0, signal: null });
      for (const { record, before } of recordings) {
        const probed = run('ffprobe', '-v', 'error', '-count_frames', '-show_entries', 'stream=codec_name,nb_read_frames:format=duration', '-of', 'json', record);
        const { streams: [stream], format } = JSON.parse(probed);
        assert.ok(['vp8', 'vp9', 'h264', 'opus'].includes(stream.codec_name), stream.codec_name);
        const most = (Date.now() - before) / 1000;
        assert.ok(format.duration > 2 && format.duration < most, `${record}: ${format.duration} s, and at most ${most}`);
        assert.ok(stream.nb_read_frames > 10);
      }
    });

    it('a native peer passes the camera of one page on to another', async () => {
      const camera = await Peer.open(browser, server.url, { rooms: ['upstairs'] });
      const viewer = await Peer.open(browser, server.url, { rooms: ['downstairs'] });
      const between = native('upstairs');
      await between.join('downstairs');
      await between.sees(camera, viewer);
      const [sid, middle] = [await camera.sid(), await between.sid()];
      const id = await offer(camera, 'camera');
      await defined(between, sid, id);
      await between.call('requestPeerTrack', { sid, id });
      await eventually(async () => assert.equal((await between.told('peerTrackIdentified')).length, 1));
      const passed = await between.call('forwardPeerTrack', { sid, id, description: 'from upstairs' });
      await defined(viewer, middle, passed);
      await request(viewer, middle, passed);
      await plays(viewer, middle, passed);
      await camera.run((client, id) => client.removeTrack(id), id);
      await viewer.expect('peerTrackDefinitionRemoved', [[middle, passed, 'video', 'from upstairs']]);
    });
  });
}

it('a program without a room joins when it is told to', async () => {
  const early = native('lounge');
  const late = LinePeer.native(server.url, undefined, { name: 'late' });
  processes.push(late);
  await late.sid();
  await late.join('lounge');
  await everybodySees([early, late]);
  await exchange(['hello', { x: 1 }], early, late);
});

it('native peers and the original server', async () => {
  const { startOriginal } = await import('../harness/server.mjs');
  const original = await startOriginal();
  try {
    const peers = [0, 1, 2].map(() => {
      const peer = LinePeer.native(original.url, 'table');
      processes.push(peer);
      return peer;
    });
    await everybodySees(peers);
    await delivers(peers[0], { old: 'friend' }, peers[1], peers[2]);
    assert.equal((await peers[0].call('properties')).apiVersion, '0.2');
    await original.kill();
    await delivers(peers[1], 'who needs it', peers[0], peers[2]);
    await original.restart();
    for (const peer of peers) await eventually(async () => assert.equal((await peer.told('reassignPeerSid')).length, 2), { within: 30_000 });
    await everybodySees(peers);
  } finally {
    await original.kill();
  }
});
