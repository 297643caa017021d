// The client as far as it goes without WebRTC: the core in WebAssembly, joining and discovery.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { next, startServer, until } from './server.mjs';
import { RTCCafeClient, RTCCafeSignallingClient } from '../dist/rtc-cafe-client.js';

let server;
let client;

beforeEach(async () => {
  server = await startServer();
  client = new RTCCafeClient(undefined, { signaller: new RTCCafeSignallingClient({ host: server.host }) });
});

afterEach(() => {
  client.close();
  client.signaller.disconnect();
  server.close();
});

test('asks whether the server is there when the machine has slept', async (t) => {
  client.joinRoom('room');
  await next(client, 'acquireSid');
  let checks = 0;
  client.signaller.check = () => { checks += 1; };
  // The clock on the wall has gone on, that of the page has not.
  const { now } = Date;
  t.after(() => { Date.now = now; });
  server.namespace.emit('acquire-peers', { id: 'other', sid: 'S', prevSid: null });
  await until(() => client.discoveredPeers.length);
  assert.equal(checks, 0);
  Date.now = () => now() + 60_000;
  await until(() => checks > 0);
});

test('has every property from the start', () => {
  assert.equal(client.apiVersion, '1.0');
  assert.equal(client.sid, 'unassigned');
  assert.match(client.permanentId, /^[0-9a-f]{32}$/);
  assert.equal(client.state, 'setup');
  assert.equal(client.enableWebRTCHandshake, true);
  assert.deepEqual([client.connectedPeers, client.discoveredPeers, client.rtcConfig], [[], [], {}]);
  assert.notEqual(client.connectedPeers, client.connectedPeers);
});

test('joins what was asked for before there was a connection', async () => {
  for (const room of ['room', 5, 'ö "quoted"']) assert.equal(client.joinRoom(room), null);
  const events = [];
  client.on('acquireSid', (sid) => events.push(['acquireSid', sid]));
  client.on('signallerStateChanged', (state) => events.push(['signallerStateChanged', state]));
  await until(() => server.signals.length === 4 && client.sid !== 'unassigned');
  assert.equal(client.state, 'connected');
  assert.deepEqual(events, [['signallerStateChanged', 'connected'], ['acquireSid', client.sid]]);
  const rooms = server.signals.flatMap(([name, payload]) => (name === 'join' ? [payload.room] : []));
  assert.deepEqual(new Set(rooms), new Set(['room', 5, 'ö "quoted"']));
});

test('uses the ICE servers of the server where it has none', async () => {
  server.close();
  const iceServers = [{ urls: ['stun:127.0.0.1:3478'] }];
  server = await startServer({ reply: { apiVersion: '1.0', iceServers } });
  const signaller = new RTCCafeSignallingClient({ host: server.host });
  const own = { iceServers: [] };
  const configs = [undefined, null, { iceTransportPolicy: 'relay' }, own];
  const clients = configs.map((config) => new RTCCafeClient(config, { signaller }));
  await next(clients[3], 'acquireSid');
  assert.deepEqual(
    clients.map(({ rtcConfig }) => rtcConfig),
    [{ iceServers }, { iceServers }, { iceServers, iceTransportPolicy: 'relay' }, own],
  );
  for (const each of clients) each.close();
  signaller.disconnect();
});

test('a client on a signaller that is connected already hears of it', async () => {
  await next(client, 'acquireSid');
  const second = new RTCCafeClient(undefined, { signaller: client.signaller });
  assert.deepEqual([second.sid, second.state], [client.sid, 'connected']);
  assert.notEqual(second.permanentId, client.permanentId);
  second.joinRoom('room');
  assert.deepEqual(await next(second, 'acquireSid'), [client.sid]);
  second.close();
  assert.equal(client.state, 'connected', 'the signaller goes on, for it was not made by the client');
  assert.throws(() => second.joinRoom('room'), { code: 'CLOSED' });
});

test('leaves a room that was joined, once, and does not join it again', async () => {
  const sent = (wanted) => server.signals.flatMap(([name, payload]) => (name === wanted ? [payload.room] : []));
  client.joinRoom('room');
  client.joinRoom(5);
  client.joinRoom('never');
  assert.equal(client.leaveRoom('never'), null, 'before there is a connection');
  await until(() => sent('join').length === 2);
  assert.equal(client.leaveRoom('5'), null, 'not the room 5');
  assert.equal(client.leaveRoom('room'), null);
  assert.equal(client.leaveRoom('room'), null);
  await until(() => sent('leave').length);
  client.joinRoom('last');
  await until(() => sent('join').length === 3);
  assert.deepEqual([sent('leave'), sent('join').sort()], [['room'], [5, 'last', 'room']]);
  for (const room of ['', null, undefined, {}, NaN]) {
    assert.throws(() => client.leaveRoom(room), { name: 'RTCCafeError', code: 'INVALID_ROOM' });
  }
  client.close();
  assert.equal(client.leaveRoom(5), null);
});

test('closing leaves all rooms', async () => {
  client.joinRoom('one');
  client.joinRoom('two');
  await until(() => server.signals.filter(([name]) => name === 'join').length === 2);
  const { signaller } = client;
  client.close();
  await until(() => server.signals.filter(([name]) => name === 'leave').length === 2);
  signaller.disconnect();
});

test('reports how far a connection got', async () => {
  await next(client, 'acquireSid');
  client.joinRoom('room');
  await assert.rejects(client.getConnectionReport('S'), { name: 'RTCCafeError', code: 'UNKNOWN_PEER', sid: 'S' });
  await assert.rejects(client.getConnectionReport(5), { code: 'INVALID_ARGUMENT' });
  const error = next(client, 'error');
  server.namespace.emit('acquire-peers', { id: 'other', sid: 'S', prevSid: null });
  await error;
  // There is no WebRTC here.
  const { phases, failure, ...report } = await client.getConnectionReport('S');
  assert.deepEqual(report, {
    phase: 'discovered', route: null, attempts: 1, restarts: 0, path: null, protocol: null, roundTripTime: null,
    selectedPair: null, candidatePairs: [], iceServerFailures: [],
  });
  assert.match(failure, /RTCPeerConnection/);
  assert.deepEqual(phases.map(({ phase }) => phase), ['discovered', 'signalling', 'discovered']);
  assert.ok(phases.every(({ milliseconds }) => milliseconds >= 0 && milliseconds < 10_000));
});

test('discovers peers, and reports what cannot become a connection', async () => {
  await next(client, 'acquireSid');
  client.joinRoom('room');
  const error = next(client, 'error');
  server.namespace.emit('acquire-peers', { id: 'other', sid: 'S', prevSid: null });
  await until(() => client.discoveredPeers.length === 1);
  assert.deepEqual([client.discoveredPeers, client.connectedPeers], [['S'], []]);
  const answered = ([name, payload]) => name === 'acquire-peers-response' && payload.recipient === 'S';
  await until(() => server.signals.some(answered));
  // There is no WebRTC here.
  const [{ code, sid, message }] = await error;
  assert.deepEqual([code, sid], ['CONNECT_FAILED', 'S']);
  assert.match(message, /RTCPeerConnection/);
});

test('reports signals that are not what they should be', async () => {
  await next(client, 'acquireSid');
  for (const payload of [null, 'text', {}, { sid: 5 }]) {
    const error = next(client, 'error');
    server.namespace.emit('acquire-peers', payload);
    assert.equal((await error)[0].code, 'PROTOCOL');
  }
  server.namespace.emit('something-else', { sid: 'S' });
  server.namespace.emit('error', { error: 'no token', originalMessage: 'join' });
  const [refused] = await next(client, 'error');
  assert.equal(refused.code, 'SIGNAL_REFUSED');
  assert.match(refused.message, /no token/);
});

test('refuses bad arguments with a code, and changes nothing', () => {
  const refused = (call, code) => assert.throws(call, { name: 'RTCCafeError', code });
  for (const room of ['', null, undefined, {}, NaN, true, 'x'.repeat(1000)]) {
    refused(() => client.joinRoom(room), 'INVALID_ROOM');
  }
  const circular = {};
  circular.self = circular;
  for (const message of [undefined, () => {}, 1n, circular]) {
    refused(() => client.sendMessage(message), 'NOT_SERIALIZABLE');
  }
  for (const sid of ['nobody', ['nobody'], '']) refused(() => client.sendMessage('hello', sid), 'NOT_CONNECTED');
  refused(() => client.sendMessage('hello', [5]), 'INVALID_ARGUMENT');
  refused(() => client.sendMessage('x'.repeat(17 << 20)), 'MESSAGE_TOO_LONG');
  assert.equal(client.sendMessage('to nobody'), null);
  assert.equal(client.sendMessage('to nobody', []), null);
  refused(() => new RTCCafeClient(null, { signaller: {} }), 'INVALID_ARGUMENT');
  refused(() => new RTCCafeClient(), 'NO_HOST');
});

test('has tables of tracks from the start, and filters them', () => {
  assert.deepEqual([client.getTracks(), client.getPeerTracks(), client.getPeerTrackDefinitions()], [[], {}, {}]);
  assert.deepEqual([client.getTracks(['x']), client.getPeerTracks(['x'], ['y'])], [[], {}]);
  assert.deepEqual([client.removeTrack('x'), client.removePeerTrack('x', 'y')], [null, null]);
});

test('refuses what cannot be done with tracks', async () => {
  const refused = (call, code) => assert.throws(call, { name: 'RTCCafeError', code });
  // There are no tracks here.
  for (const track of [undefined, null, {}, { id: 'x', kind: 'video' }]) {
    refused(() => client.addTrack(track), 'INVALID_TRACK');
  }
  refused(() => client.requestPeerTrack('nobody', 'x'), 'NOT_CONNECTED');
  refused(() => client.requestPeerTrack('', 'x'), 'NOT_CONNECTED');
  refused(() => client.requestPeerTrack(5, 'x'), 'INVALID_ARGUMENT');
  refused(() => client.removePeerTrack('x'), 'INVALID_ARGUMENT');
  await assert.rejects(client.replaceTrack('x', {}), { code: 'UNKNOWN_TRACK' });
  await assert.rejects(client.getStats('nobody'), { code: 'NOT_CONNECTED' });
  client.close();
  refused(() => client.addTrack({}), 'CLOSED');
});

test('close is for good', async () => {
  await next(client, 'acquireSid');
  assert.equal(client.close(), null);
  assert.equal(client.close(), null);
  assert.throws(() => client.joinRoom('room'), { code: 'CLOSED' });
});
