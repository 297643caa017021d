// What the core and the browser know of a connection becomes one report.

import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

let connectionReport;
let IceServers;

before(async () => {
  const entry = fileURLToPath(new URL('../src/report.ts', import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: 'esm', write: false });
  ({ connectionReport, IceServers } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`));
});

const map = (stats) => new Map(Object.entries(stats).map(([id, stat]) => [id, { id, ...stat }]));

test('a relayed path is told with all others that were tried', () => {
  const stats = map({
    T: { type: 'transport', selectedCandidatePairId: 'good' },
    L: { type: 'local-candidate', candidateType: 'relay', protocol: 'udp', relayProtocol: 'tls', address: '192.0.2.1', port: 9, url: 'turns:x' },
    H: { type: 'local-candidate', candidateType: 'host', protocol: 'udp', address: '', port: 5 },
    R: { type: 'remote-candidate', candidateType: 'srflx', protocol: 'udp', address: '192.0.2.2', port: 7 },
    bad: { type: 'candidate-pair', state: 'failed', localCandidateId: 'H', remoteCandidateId: 'R' },
    good: { type: 'candidate-pair', state: 'succeeded', localCandidateId: 'L', remoteCandidateId: 'R', currentRoundTripTime: 0.05 },
    lone: { type: 'candidate-pair', state: 'waiting', localCandidateId: 'gone', remoteCandidateId: 'R' },
  });
  const report = connectionReport(['peer', 2, 1, 'too late', 'discovered', 3, 'open', 500], stats, []);
  const remote = { type: 'srflx', protocol: 'udp', address: '192.0.2.2', port: 7, url: null };
  const good = {
    state: 'succeeded',
    local: { type: 'relay', protocol: 'tls', address: '192.0.2.1', port: 9, url: 'turns:x' },
    remote,
    roundTripTime: 0.05,
  };
  const bad = {
    state: 'failed', local: { type: 'host', protocol: 'udp', address: null, port: 5, url: null }, remote, roundTripTime: null,
  };
  assert.deepEqual(report, {
    phase: 'open', phases: [{ phase: 'discovered', milliseconds: 3 }, { phase: 'open', milliseconds: 500 }],
    route: 'peer', attempts: 2, restarts: 1, failure: 'too late',
    path: 'relayed', protocol: 'tls', roundTripTime: 0.05,
    selectedPair: good, candidatePairs: [bad, good], iceServerFailures: [],
  });
});

test('without a path there is none', () => {
  const { phase, path, protocol, roundTripTime, selectedPair, candidatePairs } = connectionReport([undefined, 0, 0, undefined], undefined, []);
  assert.deepEqual([phase, path, protocol, roundTripTime, selectedPair, candidatePairs], ['discovered', null, null, null, null, []]);
});

test('ICE servers that do not answer are kept, the latest last, and not too many', () => {
  const servers = new IceServers();
  const failure = (url) => ({ url, errorCode: 701, errorText: 'no answer' });
  for (let n = 0; n < 20; n += 1) servers.failed(failure(`stun:${n}`));
  servers.failed(failure('stun:7'));
  servers.failed(failure(''));
  assert.equal(servers.failures.length, 16);
  assert.equal(servers.failures.at(-1).url, 'stun:7');
  servers.answered('stun:7');
  servers.failed(failure('stun:7'));
  assert.equal(servers.failures.some(({ url }) => url === 'stun:7'), false, 'it answers on another address');
  servers.forget();
  assert.deepEqual(servers.failures, []);
});

test('a server is not called silent that has answered by its whole URL', () => {
  const servers = new IceServers();
  servers.answered('turn:cafe.example:3478?transport=udp');
  for (const url of ['turn:cafe.example', 'turn:cafe.example:3478?transport=udp', 'turns:cafe.example']) {
    servers.failed({ url, errorCode: 701, errorText: 'no answer' });
  }
  assert.deepEqual(servers.failures.map(({ url }) => url), ['turns:cafe.example']);
});
