// The signalling client against a real Socket.IO server.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import { next, startServer, until } from './server.mjs';
import { LATEST_API_VERSION, RTCCafeSignallingClient } from '../dist/rtc-cafe-client.js';

let server;
let signaller;

beforeEach(async () => {
  server = await startServer();
});

afterEach(() => {
  signaller?.disconnect();
  server.close();
});

function connect(options) {
  signaller = new RTCCafeSignallingClient({ host: server.host, ...options });
  return signaller;
}

test('gets a sid, and falls back to the version of an old server', async () => {
  connect();
  assert.deepEqual([signaller.sid, signaller.state, signaller.apiVersion], ['unassigned', 'setup', LATEST_API_VERSION]);
  const states = [];
  signaller.on('stateChanged', (state) => states.push(state));
  const [event, payload] = await next(signaller, 'message');
  assert.deepEqual([event, payload], ['sid', { sid: signaller.sid }]);
  assert.deepEqual([signaller.state, signaller.apiVersion], ['connected', '0.2']);
  assert.deepEqual(server.signals, [['request-sid', { apiVersion: '1.0' }]]);
  assert.equal(signaller.disconnect(), null);
  assert.deepEqual(states, ['connected', 'closed']);
});

test('agrees on 1.0 with a server that names it', async () => {
  server.close();
  server = await startServer({ reply: { apiVersion: '1.0' } });
  connect();
  await next(signaller, 'message.sid');
  assert.equal(signaller.apiVersion, '1.0');
});

test('tells a signal under each of its names', async () => {
  connect();
  const calls = [];
  for (const name of ['message', 'message.offer', 'message.S', 'message.offer.S', 'message.answer', 'message.T']) {
    signaller.on(name, (...args) => calls.push([name, ...args]));
  }
  await next(signaller, 'message.sid');
  calls.length = 0;
  const payload = { sid: 'S', id: null };
  server.namespace.emit('offer', payload, 2);
  await next(signaller, 'message.offer.S');
  assert.deepEqual(calls, [
    ['message', 'offer', payload, 2],
    ['message.offer', payload, 2],
    ['message.S', 'offer', payload, 2],
    ['message.offer.S', payload, 2],
  ]);
});

test('sends signals through the modifier, those of the library too, and keeps their order', async () => {
  let delay = 60;
  connect({
    signalModifier: async (signalName, payload) => {
      await new Promise((resolve) => setTimeout(resolve, (delay -= 20)));
      return { ...payload, signalName, token: 'secret' };
    },
  });
  await next(signaller, 'message.sid');
  assert.equal(signaller.sendSignal('one', { number: 1 }), null);
  signaller.sendSignal('two', { number: 2 });
  await until(() => server.signals.length === 3);
  signaller.signalModifier = null;
  signaller.sendSignal('three', { number: 3 });
  await until(() => server.signals.length === 4);
  const changed = (signalName, payload) => [signalName, { ...payload, signalName, token: 'secret' }];
  assert.deepEqual(server.signals, [
    changed('request-sid', { apiVersion: '1.0' }),
    changed('one', { number: 1 }),
    changed('two', { number: 2 }),
    ['three', { number: 3 }],
  ]);
});

test('a modifier that throws costs one signal and is reported', async () => {
  connect();
  await next(signaller, 'message.sid');
  signaller.signalModifier = (name, payload) => {
    if (name === 'bad') throw new Error('no token');
    return payload;
  };
  const error = next(signaller, 'error');
  signaller.sendSignal('bad', {});
  signaller.sendSignal('good', {});
  assert.equal((await error)[0].code, 'SIGNAL_MODIFIER');
  await until(() => server.signals.some(([name]) => name === 'good'));
  assert.ok(!server.signals.some(([name]) => name === 'bad'));
});

test('asks whether the server is there through the modifier, and takes its failure for no sign of death', async () => {
  connect({ signalModifier: (name, payload) => ({ ...payload, token: 'secret' }) });
  await next(signaller, 'message.sid');
  signaller.check();
  await next(signaller, 'message.sid');
  assert.deepEqual(server.signals, ['1.0', '0.2'].map((apiVersion) => ['request-sid', { apiVersion, token: 'secret' }]));
  signaller.signalModifier = () => { throw new Error('no token'); };
  const states = [];
  signaller.on('stateChanged', (state) => states.push(state));
  const error = next(signaller, 'error');
  signaller.check();
  assert.equal((await error)[0].code, 'SIGNAL_MODIFIER');
  // Longer than the server may take.
  await new Promise((resolve) => setTimeout(resolve, 3500));
  assert.deepEqual(states, []);
});

test('what cannot be sent is refused at once, and costs nothing else', async () => {
  connect();
  assert.throws(() => signaller.sendSignal('offer', { x: 1n }), { code: 'NOT_SERIALIZABLE' });
  for (const name of ['', 'connect', 'disconnect', 5]) {
    assert.throws(() => signaller.sendSignal(name, {}), { code: 'INVALID_ARGUMENT' });
  }
  signaller.sendSignal('good', {});
  await until(() => server.signals.some(([name]) => name === 'good'));
  assert.equal(signaller.state, 'connected');
});

test('does not come back when the operator does not want it', async () => {
  connect();
  await next(signaller, 'message.sid');
  const error = next(signaller, 'error');
  server.namespace.emit('error', { error: 'the operator has had enough', originalMessage: '', code: 'kicked' });
  server.namespace.disconnectSockets();
  const [{ code, message }] = await error;
  assert.deepEqual([code, message, signaller.state], ['KICKED', 'the operator has had enough', 'closed']);
  const { length } = server.signals;
  // Longer than it waits before it comes back otherwise.
  await new Promise((resolve) => setTimeout(resolve, 3500));
  assert.deepEqual([server.signals.length, signaller.state], [length, 'closed']);
});

test('connects again when the server comes back, and when the server throws it out', async () => {
  connect();
  await next(signaller, 'message.sid');
  const old = signaller.sid;
  const { port } = server;
  server.close();
  assert.deepEqual(await next(signaller, 'stateChanged'), ['reconnecting']);
  const [error] = await next(signaller, 'error');
  assert.equal(error.code, 'SIGNALLER_UNREACHABLE');
  server = await startServer({ port });
  await next(signaller, 'message.sid');
  assert.equal(signaller.state, 'connected');
  assert.notEqual(signaller.sid, old);
  server.namespace.disconnectSockets();
  assert.deepEqual(await next(signaller, 'stateChanged'), ['reconnecting']);
  await next(signaller, 'message.sid');
});

test('a check during an outage connects at once, and again where an attempt hangs', async (t) => {
  connect({ ioOptions: { transports: ['websocket'], reconnectionDelay: 60_000, reconnectionDelayMax: 60_000 } });
  await next(signaller, 'message.sid');
  const { port } = server;
  server.close();
  await next(signaller, 'stateChanged');
  // It takes connections, and says nothing.
  const dialled = [];
  const silent = createServer((socket) => dialled.push(socket.on('error', () => {}).resume())).listen(port, '127.0.0.1');
  t.after(() => silent.close());
  await once(silent, 'listening');
  signaller.check();
  await until(() => dialled.length === 1);
  // It may be on its way.
  signaller.check();
  await new Promise((resolve) => setTimeout(resolve, 1100));
  assert.equal(dialled.length, 1);
  signaller.check();
  await until(() => dialled.length === 2 && dialled[0].destroyed);
  silent.close();
  dialled[1].destroy();
  await next(signaller, 'error');
  server = await startServer({ port });
  signaller.check();
  await next(signaller, 'message.sid');
  signaller.disconnect();
  signaller.check();
  assert.equal(signaller.state, 'closed');
});

test('takes options of Socket.IO and a host without scheme', async () => {
  const { port } = server;
  connect({ host: `http://127.0.0.1:${port}/`, ioOptions: { transports: ['websocket'], query: { a: 'b' } } });
  await next(signaller, 'message.sid');
  const [socket] = await server.namespace.fetchSockets();
  assert.equal(socket.handshake.query.a, 'b');
});

test('says that WebTransport is not included, and takes what comes behind it', async () => {
  connect({ ioOptions: { transports: ['webtransport', 'websocket'] } });
  await next(signaller, 'message.sid');
  signaller.disconnect();
  connect({ ioOptions: { transports: ['webtransport'] } });
  const [error] = await next(signaller, 'error');
  assert.equal(error.code, 'SIGNALLER_UNREACHABLE');
  assert.match(error.message, /WebTransport is not included/);
});

test('refuses what it cannot work with', async () => {
  const refused = (options, code) => {
    assert.throws(() => new RTCCafeSignallingClient(options), { name: 'RTCCafeError', code });
  };
  refused({}, 'NO_HOST');
  refused(null, 'NO_HOST');
  refused({ host: 'http://' }, 'INVALID_ARGUMENT');
  refused({ host: server.host, apiVersion: '7.0' }, 'UNKNOWN_API_VERSION');
  connect().disconnect();
  assert.equal(signaller.state, 'closed');
  assert.throws(() => signaller.sendSignal('offer', {}), { code: 'CLOSED' });
  assert.equal(signaller.disconnect(), null);
});
