// Counters of the browser become rates.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

let StatsMeter;

before(async () => {
  const entry = fileURLToPath(new URL('../src/stats.ts', import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entry], format: 'esm', write: false });
  ({ StatsMeter } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`));
});

/** A report as browsers give it. */
function report(stats, { remote = 'host', transport = true } = {}) {
  const pair = { localCandidateId: 'L', remoteCandidateId: 'R', currentRoundTripTime: 0.02, nominated: true };
  const all = {
    idle: { type: 'candidate-pair', ...pair, state: 'waiting', nominated: false, bytesSent: 9e9 },
    L: { type: 'local-candidate', candidateType: 'srflx' },
    R: { type: 'remote-candidate', candidateType: remote },
    ...(transport && { T: { type: 'transport', selectedCandidatePairId: 'pair' } }),
    ...stats,
  };
  all.pair = { type: 'candidate-pair', ...pair, state: 'succeeded', ...stats.pair };
  return new Map(Object.entries(all).map(([id, stat]) => [id, { id, ...stat }]));
}

test('rates are those since the connection was opened, and then since the last call', () => {
  const meter = new StatsMeter(1000);
  const first = meter.read(report({ pair: { bytesSent: 1000, bytesReceived: 4000 } }), 3000);
  assert.deepEqual(first, {
    roundTripTime: 0.02,
    outgoingBitrate: 4000,
    incomingBitrate: 16000,
    packetLoss: { outgoing: null, incoming: null },
    path: 'direct',
    localCandidateType: 'srflx',
    remoteCandidateType: 'host',
  });
  const second = meter.read(report({ pair: { bytesSent: 2000, bytesReceived: 4000 } }), 4000);
  assert.deepEqual([second.outgoingBitrate, second.incomingBitrate], [8000, 0]);
  const soon = meter.read(report({ pair: { bytesSent: 2500, bytesReceived: 4000 } }), 4100);
  assert.ok(Math.abs(soon.outgoingBitrate - (1500 * 8) / 1.1) < 1, 'a tenth of a second is too short for a rate');
});

test('loss is the part of the packets of the time that is measured', () => {
  const meter = new StatsMeter(0);
  const media = (sent, lostThere, received, lostHere) => ({
    O: { type: 'outbound-rtp', packetsSent: sent },
    F: { type: 'remote-inbound-rtp', packetsLost: lostThere },
    I: { type: 'inbound-rtp', packetsReceived: received, packetsLost: lostHere },
  });
  const loss = (at, ...counters) => meter.read(report(media(...counters)), at).packetLoss;
  assert.deepEqual(loss(1000, 100, 10, 95, 5), { outgoing: 0.1, incoming: 0.05 });
  assert.deepEqual(loss(2000, 200, 10, 145, 55), { outgoing: 0, incoming: 0.5 });
  // Duplicates count as less than none lost.
  assert.deepEqual(loss(3000, 300, 8, 245, 50), { outgoing: 0, incoming: 0 });
});

test('finds the path that is used in every browser', () => {
  const relayed = report({}, { remote: 'relay', transport: false });
  assert.equal(new StatsMeter(0).read(relayed, 1000).path, 'relayed');
  assert.equal(new StatsMeter(0).read(new Map(), 1000), null);
});
