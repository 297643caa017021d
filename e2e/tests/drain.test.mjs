// A server that is asked to end sends its clients away over a while: foreign ones too come back, spread, to another or to it.

import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'node:test';

import { io } from 'socket.io-client';

import { Balancer } from '../harness/balancer.mjs';
import { eventually } from '../harness/process.mjs';
import { Redis, WITHOUT_REDIS } from '../harness/redis.mjs';
import { startServer } from '../harness/server.mjs';
import { closeAll, connect } from '../harness/wire.mjs';

const COUNT = 12;

let redis;
let balancer;
let servers = [];
let sockets = [];
let wires = [];
afterEach(async () => {
  sockets.splice(0).forEach((socket) => socket.disconnect());
  await closeAll(wires.splice(0));
  balancer?.stop();
  balancer = undefined;
  await Promise.all(servers.splice(0).map((server) => server.kill()));
  await redis?.end();
  redis = undefined;
});

/** A client as anybody would write one with Socket.IO, which joins the room whenever it is connected. */
function foreign(url, transport, at) {
  const socket = io(`${url}/rtc-cafe`, { transports: [transport], forceNew: true, upgrade: false });
  sockets.push(socket);
  Object.assign(socket, { left: [], came: [] });
  socket.on('connect', () => {
    socket.came.push(Date.now());
    socket.emit('join', { room: 'R', id: `foreign ${at}` });
  });
  socket.on('disconnect', (reason) => socket.left.push({ reason, at: Date.now() }));
  return socket;
}

async function foreigners(url, ...transports) {
  const all = Array.from({ length: COUNT }, (_, at) => foreign(url, transports[at % transports.length], at));
  await eventually(() => assert.ok(all.every((socket) => socket.connected)));
  return all;
}

/** Between which times they were sent away, and that each was, once, for a reason after which Socket.IO comes back. */
async function spread(all) {
  await eventually(() => assert.ok(all.every((socket) => socket.left.length)));
  for (const socket of all) assert.deepEqual(socket.left.map(({ reason }) => reason), ['transport close']);
  const times = all.map((socket) => socket.left[0].at).sort((one, other) => one - other);
  return times.at(-1) - times[0];
}

const ready = async (server) => (await fetch(`${server.url}/readyz`)).status;

it('one server that is restarted sends its clients away one after the other', async () => {
  const server = await startServer('--drain', '4s');
  servers.push(server);
  const all = await foreigners(server.url, 'websocket', 'polling');
  const stopping = server.stop(15_000);
  await eventually(async () => assert.equal(await ready(server), 503), { within: 2000 });
  assert.equal((await fetch(`${server.url}/healthz`)).status, 200);
  assert.deepEqual(await stopping, { code: 0, signal: null });
  const took = await spread(all);
  assert.ok(took > 2500 && took < 6000, `spread over ${took} ms`);
  await server.restart();
  await eventually(() => assert.ok(all.every((socket) => socket.connected)), { within: 20_000 });
  const watcher = await connect(server.url);
  wires.push(watcher);
  await watcher.join('R');
  assert.match(await (await fetch(`${server.url}/metrics`)).text(), new RegExp(`^rtc_cafe_sockets ${COUNT + 1}$`, 'm'));
});

it('somebody at a terminal need not wait', async () => {
  const server = await startServer('--drain', '60s');
  servers.push(server);
  const all = await foreigners(server.url, 'websocket', 'polling');
  const at = Date.now();
  process.kill(server.pid, 'SIGINT');
  await eventually(() => assert.ok(all.every((socket) => socket.left.length)));
  assert.ok(Date.now() - at < 5000, `it took ${Date.now() - at} ms`);
});

describe('several servers', { skip: WITHOUT_REDIS }, () => {
  it('whoever is sent away is on the other one, and whoever can prove it is never missed', async () => {
    redis = await Redis.start();
    servers = await Promise.all([0, 1].map(() => startServer('--redis', redis.url, '--drain', '3s')));
    balancer = await Balancer.start(servers);
    const observer = await connect(servers[1].url);
    wires.push(observer);
    await observer.join('proven');
    const proven = await modern(servers[0]);
    await eventually(() => assert.equal(observer.events('acquire-peers').length, 1));
    // Polling would need a balancer that keeps to the old server until it is gone.
    const all = await foreigners(balancer.url, 'websocket');

    const stopping = servers[0].stop(20_000);
    await proven.ended;
    const heir = await modern(servers[1], { prevSid: proven.sid, prevSession: proven.session });
    assert.deepEqual(await stopping, { code: 0, signal: null });
    assert.ok(await spread(all) > 1500);
    await eventually(() => assert.ok(all.every((socket) => socket.connected)), { within: 20_000 });
    await observer.settle();
    const announced = observer.events('acquire-peers').map(({ sid, prevSid }) => [sid, prevSid]);
    assert.deepEqual(announced, [[proven.sid, null], [heir.sid, proven.sid]]);
    assert.deepEqual(observer.events('peer-disconnection'), []);
  });

  async function modern(server, fields) {
    const wire = await connect(server.url);
    wires.push(wire);
    wire.emit('request-sid', { apiVersion: '1.0' });
    const [{ session }] = await wire.expect('sid');
    await wire.join('proven', { id: 'proven', ...fields });
    return Object.assign(wire, { session });
  }
});
