// Connection reports: how a peer was connected to, or why it was not.

import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { after, afterEach, before, it } from 'node:test';

import { Browser } from '../../harness/browser.mjs';
import { Peer, assertClean, table } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';

let server;
let browser;
before(async () => { [server, browser] = await Promise.all([startServer(), Browser.launch()]); });
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

it('a report of a connected peer tells its path', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const sid = await b.sid();
  const told = await eventually(async () => {
    const told = await a.report(sid);
    assert.ok(told.selectedPair);
    return told;
  });
  const { phase, phases, route, attempts, restarts, failure, path, protocol, selectedPair, candidatePairs, iceServerFailures } = told;
  assert.deepEqual({ phase, route, attempts, restarts, failure, path, protocol, iceServerFailures }, {
    phase: 'open', route: 'server', attempts: 1, restarts: 0, failure: null, path: 'direct', protocol: 'udp', iceServerFailures: [],
  });
  assert.deepEqual(phases.map(({ phase }) => phase), ['discovered', 'signalling', 'connecting', 'open']);
  assert.ok(phases.every(({ milliseconds }) => Number.isFinite(milliseconds)));
  assert.equal(selectedPair.state, 'succeeded');
  for (const end of ['local', 'remote']) assert.match(selectedPair[end].type, /^(host|prflx)$/);
  assert.ok(candidatePairs.some((pair) => JSON.stringify(pair) === JSON.stringify(selectedPair)));
  await eventually(async () => {
    const { roundTripTime } = await a.report(sid);
    assert.ok(roundTripTime >= 0 && roundTripTime < 1, `${roundTripTime}`);
  });
  assertClean(a, b);
});

it('a report of a peer that cannot be connected to tells why, and which ICE servers do not answer', async () => {
  const [a] = await table(browser, server.url, 1);
  // It takes everything and says nothing. A name that nobody knows may stop all of Firefox while it is looked for.
  const silent = createSocket('udp4').unref();
  await new Promise((resolve) => { silent.bind(0, '127.0.0.1', resolve); });
  const url = `turn:127.0.0.1:${silent.address().port}?transport=udp`;
  const rtcConfig = { iceTransportPolicy: 'relay', iceServers: [{ urls: url, username: 'x', credential: 'y' }] };
  const b = await Peer.open(browser, server.url, { rooms: ['table'], rtcConfig });
  const sid = await a.sid();
  await eventually(async () => assert.deepEqual((await b.look()).discoveredPeers, [sid]));
  await eventually(async () => {
    const { phase, path, selectedPair, roundTripTime, attempts } = await b.report(sid);
    assert.deepEqual({ phase, path, selectedPair, roundTripTime, attempts }, { phase: 'connecting', path: null, selectedPair: null, roundTripTime: null, attempts: 1 });
  });
  await eventually(async () => {
    const { iceServerFailures } = await b.report(sid);
    assert.ok(iceServerFailures.some(({ url, errorCode }) => url.includes(`:${silent.address().port}`) && errorCode > 0), JSON.stringify(iceServerFailures));
  }, { within: 60_000 });
  await eventually(async () => assert.match((await b.report(sid)).failure, /\w/), { within: 120_000 });
});

it('a report of a peer to which no path leads has those that were tried, when the error is told and after it', async () => {
  const lost = async () => {
    const page = await browser.open(`${server.url}/healthz`);
    await page.evaluate(() => {
      // Nobody listens there.
      const astray = (candidate) => candidate.replace(/ \d+ typ/, ' 65009 typ');
      const { setRemoteDescription, addIceCandidate } = RTCPeerConnection.prototype;
      RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
        return setRemoteDescription.call(this, { type, sdp: sdp.replace(/^a=candidate:.*$/gm, astray) });
      };
      RTCPeerConnection.prototype.addIceCandidate = function (init) {
        return addIceCandidate.call(this, init && { ...init, candidate: astray(init.candidate) });
      };
    });
    return Peer.start(page, { rooms: ['table'] });
  };
  const [a, b] = [await lost(), await lost()];
  const sid = await b.sid();
  await a.run((client) => {
    globalThis.told = [];
    client.on('error', ({ code, sid }) => sid && client.getConnectionReport(sid).then((report) => told.push([code, report])));
  });
  const [code, { failure, selectedPair, candidatePairs }] = await eventually(async () => {
    const told = await a.run(() => told);
    assert.ok(told.length > 0, JSON.stringify(await a.report(sid)));
    return told[0];
  }, { within: 40_000 });
  assert.equal(code, 'CONNECT_FAILED');
  assert.match(failure, /path|in time/);
  assert.equal(selectedPair, null);
  assert.ok(candidatePairs.some(({ remote }) => remote.port === 65009), JSON.stringify(candidatePairs));
});

it('a report does not wait for a browser that never tells what it knows', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const sid = await b.sid();
  await a.run(() => { RTCPeerConnection.prototype.getStats = () => new Promise(() => {}); });
  const { phase, path, candidatePairs } = await a.report(sid);
  assert.deepEqual({ phase, path, candidatePairs }, { phase: 'open', path: null, candidatePairs: [] });
  assert.equal(await a.run((client, sid) => client.getStats(sid), sid), null);
  assertClean(a, b);
});

it('a report of a peer that is gone, or never was there, is refused', async () => {
  const [a, b] = await table(browser, server.url, 2);
  const sid = await b.sid();
  await b.page.close();
  await a.expect('disconnectFromPeer', [[sid]], { within: 15_000 });
  const refusal = (sid) => a.run((client, sid) => client.getConnectionReport(sid).then(() => null, ({ name, code, sid }) => ({ name, code, sid })), sid);
  await eventually(async () => assert.deepEqual(await refusal(sid), { name: 'RTCCafeError', code: 'UNKNOWN_PEER', sid }));
  assert.equal((await refusal('nobody')).code, 'UNKNOWN_PEER');
  assert.equal((await refusal(5)).code, 'INVALID_ARGUMENT');
});
