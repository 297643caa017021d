// Peers behind NATs and firewalls of every kind find each other: directly where that is possible at all, or else relayed.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Browser } from '../../harness/browser.mjs';
import { LinePeer } from '../../harness/line-peer.mjs';
import { Internet, KINDS, canBeDirect, noNats } from '../../harness/nat.mjs';
import { Peer } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';

const kinds = Object.keys(KINDS);
const skip = noNats();
/** Within so many milliseconds two meet, and within so many more they have found the best path. */
const MEETING = 30_000;
const SETTLING = 15_000;

/** Lets two meet in a room of their own, and talk; says how long it took, and by which path they talk in the end. */
async function meet(one, other, expected) {
  const room = `${one.name} with ${other.name}`;
  const since = performance.now();
  await Promise.all([one.join(room), other.join(room)]);
  const sids = await Promise.all([other.sid(), one.sid()]);
  const peers = [one, other];
  await Promise.all(peers.map((peer, at) => eventually(async () => {
    assert.ok((await peer.look()).connectedPeers.includes(sids[at]), `${peer.name} is not connected`);
  }, { within: MEETING }))).catch((error) => { throw new Error(`${room}: ${error.message}`); });
  const took = performance.now() - since;
  await Promise.all(peers.map(async (peer, at) => {
    const message = `${room}, says ${peer.name}`;
    await peer.send(message, sids[at]);
    await eventually(async () => {
      assert.ok((await peers[1 - at].messages(sids[1 - at])).includes(JSON.stringify(message)), `not heard: ${message}`);
    });
  }));
  const reports = await Promise.all(peers.map((peer, at) => eventually(async () => {
    const report = await peer.report(sids[at]);
    assert.equal(report.path, expected, `${room}: ${JSON.stringify(report)}`);
    return report;
  }, { within: SETTLING })));
  await Promise.all(peers.map((peer) => peer.leaveRoom(room)));
  return { took, path: expected, protocol: by(...reports) };
}

/** How one end speaks to its TURN server, or both if they do so differently. */
function by(...reports) {
  const relays = reports.map(({ selectedPair }) => selectedPair.local).filter(({ type }) => type === 'relay');
  return [...new Set(relays.map(({ protocol }) => protocol))].join('+') || 'udp';
}

/** Rows and columns of texts, of one width each. */
function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) => row.map((text, column) => text.padEnd(widths[column])).join('  ').trimEnd());
}

/** Prints what came of each pair. */
function print(t, title, rows, met) {
  const cell = ({ took, path, protocol }) => `${path === 'direct' ? path : `relayed ${protocol}`} ${(took / 1000).toFixed(1)} s`;
  const lines = rows.map((row) => [row, ...kinds.map((column) => (met[row][column] ? cell(met[row][column]) : '-'))]);
  for (const line of table([[title, ...kinds], ...lines])) t.diagnostic(line);
}

const expectation = (one, other) => (canBeDirect(one, other) ? 'direct' : 'relayed');

describe('peers behind NATs', () => {
  let internet;
  /** A native peer of each kind. */
  const natives = {};
  const running = [];
  before(async () => {
    if (skip) return;
    internet = await Internet.create();
    for (const kind of kinds) natives[kind] = await native(`right, ${kind}`, kind);
  });
  after(async () => {
    await Promise.all(running.map((peer) => peer.kill()));
    await internet?.close();
  });

  async function native(name, kind) {
    const on = await internet.host(name, kind);
    const peer = LinePeer.native(internet.server.url, undefined, { on, name });
    running.push(peer);
    return peer;
  }

  it('natives of every kind meet natives of every kind', { skip, timeout: 240_000 }, async (t) => {
    const others = Object.fromEntries(await Promise.all(kinds.map(async (kind) => [kind, await native(`left, ${kind}`, kind)])));
    const met = Object.fromEntries(kinds.map((kind) => [kind, {}]));
    // Each meets one at a time, and all do so at once.
    for (let round = 0; round < kinds.length; round += 1) {
      await Promise.all(kinds.map(async (kind, at) => {
        const other = kinds[(at + round) % kinds.length];
        met[kind][other] = await meet(others[kind], natives[other], expectation(kind, other));
      }));
    }
    await Promise.all(Object.values(others).map((peer) => peer.kill()));
    print(t, 'native \\ native', kinds, met);
  });

  it('pages in Chromium of every kind meet natives of every kind', { skip, timeout: 240_000 }, async (t) => {
    const met = {};
    const left = [...kinds];
    // More at a time would only wait for each other.
    await Promise.all([1, 2].map(async () => {
      for (let kind = left.shift(); kind; kind = left.shift()) met[kind] = await page(kind);
    }));
    print(t, 'page \\ native', kinds, met);
  });

  /** A page of one kind, in rooms of their own with natives of every kind. */
  async function page(kind) {
    const name = `page, ${kind}`;
    const browser = await Browser.launch('chromium', { on: await internet.host(name, kind), trusted: internet.certificate });
    try {
      const peer = await Peer.open(browser, internet.server.url, { name });
      const meetings = kinds.map(async (other) => [other, await meet(peer, natives[other], expectation(kind, other))]);
      return Object.fromEntries(await Promise.all(meetings));
    } finally {
      await browser.kill();
    }
  }
});
