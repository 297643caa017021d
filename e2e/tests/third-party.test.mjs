// A peer of others, written from docs/protocol.md alone with aiortc and python-socketio, and peers of ours.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';

import { Browser } from '../harness/browser.mjs';
import { LinePeer } from '../harness/line-peer.mjs';
import { Peer, assertClean, delivers, everybodySees, everything, exchange, metOnce } from '../harness/peer.mjs';
import { eventually } from '../harness/process.mjs';
import { startServer } from '../harness/server.mjs';

// The lowest and the highest permanent id: a peer that is always polite, and one that never is.
const IDS = { polite: '!', impolite: '~' };

let server;
let browser;
let folder;
const processes = [];
before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'rtc-cafe-e2e-'));
  browser = await Browser.launch();
});
beforeEach(async () => { server = await startServer(); });
afterEach(async () => {
  await Promise.all([browser?.clear(), ...processes.splice(0).map((process) => process.kill())]);
  await server?.kill();
});
after(() => {
  rmSync(folder, { recursive: true, force: true });
  return browser?.close();
});

function kept(process) {
  processes.push(process);
  return process;
}

const aiortc = (options) => kept(LinePeer.aiortc(server.url, 'table', options));

/** What is different between the peers of ours. */
const OURS = {
  'a page': {
    open: () => Peer.open(browser, server.url, { rooms: ['table'] }),
    offerTrack: (peer) => peer.run(async (client) => client.addTrack(await kit.track(160), 'a track')),
    dropTrack: (peer, id) => peer.run((client, id) => client.removeTrack(id), id),
  },
  'a native peer': {
    open: async () => kept(LinePeer.native(server.url, 'table')),
    offerTrack: async (peer) => {
      const file = join(folder, 'track.ivf');
      const source = ['-f', 'lavfi', '-i', 'testsrc=size=160x160:rate=20:duration=60'];
      const made = spawnSync('ffmpeg', ['-v', 'error', '-y', ...source, '-c:v', 'libvpx', '-deadline', 'realtime', '-g', '20', file]);
      assert.equal(made.status, 0, `${made.stderr ?? made.error}`);
      return peer.call('addTrack', { file, description: 'a track' });
    },
    dropTrack: (peer, id) => peer.call('removeTrack', { id }),
  },
};

for (const [what, ours] of Object.entries(OURS)) {
  describe(`aiortc and ${what}`, () => {
    for (const [manner, id] of Object.entries(IDS)) {
      it(`talk when aiortc, ${manner}, comes first`, async () => {
        const theirs = aiortc({ id });
        await theirs.sid();
        const peer = await ours.open();
        await everybodySees([peer, theirs]);
        await exchange(await everything(browser, server), peer, theirs);
        await metOnce([peer, theirs]);
        assertClean(peer);
      });

      it(`talk when aiortc, ${manner}, comes last`, async () => {
        const peer = await ours.open();
        await peer.sid();
        const theirs = aiortc({ id });
        await everybodySees([peer, theirs]);
        await exchange(await everything(browser, server), peer, theirs);
        await metOnce([peer, theirs]);
        assertClean(peer);
      });

      it(`agree when both offer at once, and aiortc is ${manner}`, async () => {
        // On a busy machine one may be so late that the other's offer is there before.
        for (let attempt = 1; ; attempt += 1) {
          // Each finds the other one coming into a room where it is already, so neither waits for the other's offer.
          const peer = await ours.open();
          await peer.sid();
          const theirs = kept(LinePeer.aiortc(server.url, 'theirs', { id }));
          await theirs.sid();
          theirs.freeze();
          theirs.op('joinRoom', { room: 'table' });
          await peer.join('theirs');
          theirs.thaw();
          await everybodySees([peer, theirs]);
          await delivers(peer, 'me first', theirs);
          await delivers(theirs, 'no, me', peer);
          await metOnce([peer, theirs]);
          if (manner !== 'polite' || (await theirs.history()).some((line) => line.includes('both have offered'))) return;
          assert.ok(attempt < 5, 'they never offer at once');
          await Promise.all([peer.leave(), theirs.leave()]);
        }
      });

      it(`a track of ${what} is seen by aiortc, ${manner}`, async () => {
        const peer = await ours.open();
        const sid = await peer.sid();
        const theirs = aiortc({ id });
        await everybodySees([peer, theirs]);
        const track = await ours.offerTrack(peer);
        await theirs.expect('peerTrackDefined', [[sid, { id: track, kind: 'video', description: 'a track' }]]);
        for (let round = 1; round <= 2; round += 1) {
          theirs.op('requestPeerTrack', { sid, id: track });
          await eventually(async () => assert.equal((await theirs.told('peerTrackIdentified')).length, round), { within: 20_000 });
          // More than what may have been on its way when the track was cancelled.
          await eventually(async () => assert.equal((await theirs.told('peerTrackFrames')).filter(([count]) => count === 50).length, round));
          theirs.op('removePeerTrack', { sid, id: track });
          await theirs.expect('peerTrackRemoved', Array(round).fill([sid, track]));
        }
        await ours.dropTrack(peer, track);
        await theirs.expect('peerTrackDefinitionRemoved', [[sid, track, 'video', 'a track']]);
        await delivers(theirs, 'thank you', peer);
        await metOnce([peer, theirs]);
      });
    }

    it('a request for a track that is not there does no harm', async () => {
      const [peer, theirs] = [await ours.open(), aiortc()];
      await everybodySees([peer, theirs]);
      theirs.op('requestPeerTrack', { sid: await peer.sid(), id: 'none' });
      theirs.op('removePeerTrack', { sid: await peer.sid(), id: 'none' });
      await delivers(theirs, 'and yet', peer);
      await delivers(peer, 'we talk', theirs);
    });

    it('aiortc leaves, and is missed', async () => {
      const [peer, theirs] = [await ours.open(), aiortc()];
      await everybodySees([peer, theirs]);
      assert.deepEqual(await theirs.leave(), { code: 0, signal: null });
      await peer.expect('disconnectFromPeer', [[await theirs.sid()]], { within: 15_000 });
      await everybodySees([peer]);
    });

    it('aiortc dies, and is missed', async () => {
      const [peer, theirs] = [await ours.open(), aiortc()];
      await everybodySees([peer, theirs]);
      await theirs.kill();
      await peer.expect('disconnectFromPeer', [[await theirs.sid()]], { within: 30_000 });
    });

    it(`${what} leaves, and is missed by aiortc`, async () => {
      const [peer, theirs] = [await ours.open(), aiortc()];
      await everybodySees([peer, theirs]);
      const sid = await peer.sid();
      await peer.leave();
      await theirs.expect('disconnectFromPeer', [[sid]]);
    });

    it('the server goes away and comes back, and they know each other still', async () => {
      const peers = [await ours.open(), aiortc()];
      await everybodySees(peers);
      const before = await Promise.all(peers.map((peer) => peer.sid()));
      await server.kill();
      for (const peer of peers) await eventually(async () => assert.deepEqual((await peer.told('signallerStateChanged')).at(-1), ['reconnecting']));
      await delivers(peers[0], 'are you there?', peers[1]);
      await delivers(peers[1], 'yes', peers[0]);
      await server.restart();
      const now = await Promise.all(peers.map((peer, at) => eventually(async () => {
        assert.equal((await peer.told('acquireSid')).length, 2);
        assert.notEqual(await peer.sid(), before[at]);
        return peer.sid();
      }, { within: 20_000 })));
      await peers[0].expect('reassignPeerSid', [[before[1], now[1]]]);
      await peers[1].expect('reassignPeerSid', [[before[0], now[0]]]);
      await everybodySees(peers);
      await delivers(peers[0], 'as before', peers[1]);
      await delivers(peers[1], 'indeed', peers[0]);
      for (const peer of peers) {
        assert.equal((await peer.told('connectToPeer')).length, 1);
        assert.deepEqual(await peer.told('disconnectFromPeer'), []);
      }
    });
  });
}

it('aiortc: three among themselves', async () => {
  const peers = [aiortc(), aiortc(), aiortc()];
  await everybodySees(peers);
  await exchange(await everything(browser, server), ...peers);
  await metOnce(peers);
  const sid = await peers[2].sid();
  assert.deepEqual(await peers[2].leave(), { code: 0, signal: null });
  for (const peer of peers.slice(0, 2)) await peer.expect('disconnectFromPeer', [[sid]]);
  await delivers(peers[0], 'we two', peers[1]);
});
