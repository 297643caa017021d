// Several servers over a real Redis, frame by frame: as one, when a server dies, and when Redis goes away.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, afterEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { eventually } from '../harness/process.mjs';
import { Redis, WITHOUT_REDIS } from '../harness/redis.mjs';
import { startServer } from '../harness/server.mjs';
import { closeAll, connect } from '../harness/wire.mjs';

/** A server that is killed is gone within so many milliseconds for everybody else. */
const LEASE = 30_000;
/** A server that did not run for some seconds, because the machine is busy, gives the others ten more. */
const LONG = 90_000;

let servers = [];
let wires = [];
afterEach(async () => {
  await closeAll(wires.splice(0));
  await Promise.all(servers.splice(0).map((server) => server.kill()));
});

async function start(count, redis, ...options) {
  servers = await Promise.all(Array.from({ length: count }, () => startServer('--redis', redis, ...options)));
  return servers;
}

/** A client of version 1.0 with its secret. */
async function modern(server, options) {
  const wire = await connect(server.url, options);
  wires.push(wire);
  wire.emit('request-sid', { apiVersion: '1.0' });
  const [{ session }] = await wire.expect('sid');
  wire.frames.length = 0;
  return Object.assign(wire, { session });
}

/** A client of version 0.2 in a room. */
async function old(server, room, fields) {
  const wire = await connect(server.url);
  wires.push(wire);
  return wire.join(room, fields);
}

const metric = async (server, name) => {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(new RegExp(`^rtc_cafe_${name} (\\d+)$`, 'm').exec(text)?.[1]);
};

const brokerIs = (up, ...servers) => Promise.all(servers.map((server) => eventually(
  async () => assert.equal(await metric(server, 'broker_up'), up), { within: 20_000 },
)));

/** Waits for a line of a server's log, which comes by another way than what the server answers. */
const logged = (server, pattern) => eventually(() => assert.match(server.output, pattern));

const forget = (...wires) => wires.forEach((wire) => { wire.frames.length = 0; });

/** What has come about sessions, by the name of the event and the sid. */
const told = (wire) => ['acquire-peers', 'acquire-peers-response', 'peer-disconnection']
  .flatMap((name) => wire.events(name).map(({ sid }) => `${name} ${sid}`));

/** Two clients of different servers find each other, and so many signals come in order. */
async function meet(one, other, count = 200) {
  await one.join('R', { id: 'one' });
  await other.join('R', { id: 'other' });
  assert.deepEqual(await one.expect('acquire-peers'), [{ id: 'other', sid: other.sid, prevSid: null, room: 'R' }]);
  one.emit('acquire-peers-response', { recipient: other.sid, room: 'R', id: 'one' });
  assert.deepEqual(await other.expect('acquire-peers-response'), [{ id: 'one', sid: one.sid, prevSid: null, room: 'R' }]);
  for (let n = 0; n < count; n += 1) other.emit('candidate', { recipient: one.sid, sid: 'forged', n });
  const candidates = await one.expect('candidate', count);
  assert.deepEqual(candidates.map(({ n }) => n), Array.from({ length: count }, (_, n) => n));
  assert.ok(candidates.every(({ id, sid }) => id === 'other' && sid === other.sid));
}

describe('several servers over Redis', { skip: WITHOUT_REDIS }, () => {
  let redis;
  after(() => redis?.end());
  const shared = async () => (redis ??= await Redis.start());

  it('rooms, signals, attachments and disconnections go across', async () => {
    const [a, b] = await start(2, (await shared()).url);
    const [one, other] = [await modern(a), await modern(b, { transport: 'polling' })];
    // One request for each signal.
    await meet(one, other, 20);

    one.send(`451-/rtc-cafe,["offer",{"recipient":"${other.sid}","bin":{"_placeholder":true,"num":0}}]`);
    one.socket.send(Buffer.from([0, 1, 255]));
    const offer = await other.next(/^451-\/rtc-cafe,\["offer"/, 'the offer with an attachment');
    assert.match(offer, /"bin":\{"_placeholder":true,"num":0\}/);
    assert.equal(await other.next(/^b/, 'the attachment'), 'bAAH/');

    const stranger = await old(b, 5);
    const namesake = await old(a, '5');
    stranger.emit('offer', { recipient: namesake.sid });
    assert.equal((await stranger.expect('error'))[0].code, 'recipient-not-found');
    stranger.emit('offer', { recipient: one.sid });
    assert.equal((await stranger.expect('error', 2))[1].code, 'recipient-not-found');

    other.emit('leave', { room: 'R' });
    await one.expect('peer-disconnection');
    await other.join('R');
    await one.expect('acquire-peers', 2);
    await other.close();
    assert.deepEqual(await one.expect('peer-disconnection', 2), [{ sid: other.sid }, { sid: other.sid }]);
    assert.deepEqual(namesake.events('acquire-peers'), []);
  });

  it('a session comes back on another server with its secret, and nobody without', async () => {
    const [a, b, c] = await start(3, (await shared()).url);
    const members = [await modern(a), await modern(c)];
    for (const [at, member] of members.entries()) await member.join('R', { id: `m${at}` });
    const victim = await modern(b);
    await victim.join('R', { id: 'v' });
    await Promise.all([members[0].expect('acquire-peers', 2), members[1].expect('acquire-peers')]);
    forget(...members, victim);
    const thief = await modern(a);
    await thief.join('R', { id: 'v', prevSid: victim.sid, prevSession: 'guess' });
    for (const wire of [...members, victim]) assert.equal((await wire.expect('acquire-peers'))[0].prevSid, null);
    forget(...members);
    const heir = await modern(c);
    await heir.join('R', { id: 'v', prevSid: victim.sid, prevSession: victim.session });
    for (const member of members) assert.equal((await member.expect('acquire-peers'))[0].prevSid, victim.sid);
    await victim.next(/^41\/rtc-cafe/, 'the end of the half-dead session');
    for (const member of members) assert.deepEqual(member.events('peer-disconnection'), []);
  });

  it('a server that is killed leaves no ghosts, and who came back elsewhere is not reported gone', async () => {
    const [a, b] = await start(2, (await shared()).url);
    const stays = await modern(a);
    await stays.join('R', { id: 'stays' });
    const [moves, dies] = [await modern(b), await modern(b)];
    await moves.join('R', { id: 'moves' });
    await dies.join('R', { id: 'dies' });
    await stays.expect('acquire-peers', 2);
    forget(stays);
    await b.kill();
    const killed = performance.now();
    const moved = await modern(a);
    await moved.join('R', { id: 'moves', prevSid: moves.sid, prevSession: moves.session });
    assert.equal((await stays.expect('acquire-peers'))[0].prevSid, moves.sid);
    assert.deepEqual(await stays.expect('peer-disconnection', 1, LEASE), [{ sid: dies.sid }]);
    const took = performance.now() - killed;
    assert.ok(took > 10_000 && took < LEASE, `${took} ms`);
    console.log(`reported gone after ${(took / 1000).toFixed(1)} s`);
    await sleep(3000);
    await stays.settle();
    assert.deepEqual(told(stays), [`acquire-peers ${moved.sid}`, `peer-disconnection ${dies.sid}`]);
  });

  it('Redis goes away: rooms go on at each server, and everybody meets when it is back', async () => {
    const own = await Redis.start();
    try {
      const [a, b] = await start(2, own.url);
      const [one, other] = [await modern(a), await modern(b)];
      await meet(one, other);
      forget(one, other);

      // A short while: nobody notices but who joins meanwhile.
      await own.kill();
      await brokerIs(0, a, b);
      assert.match(await (await fetch(`${a.url}/readyz`)).text(), /^ready, but the broker is away/);
      await logged(a, /lost the broker/);
      const near = await modern(a);
      await near.join('R', { id: 'near' });
      assert.deepEqual((await one.expect('acquire-peers'))[0].sid, near.sid);
      await own.restart();
      await brokerIs(1, a, b);
      assert.deepEqual((await other.expect('acquire-peers'))[0].sid, near.sid);
      other.emit('offer', { recipient: near.sid });
      await near.expect('offer');
      await Promise.all([one, other].map((wire) => wire.settle()));
      assert.deepEqual([told(one), told(other)], [[`acquire-peers ${near.sid}`], [`acquire-peers ${near.sid}`]]);

      // Longer than a lease: the others are gone, and are introduced once when it is over.
      forget(one, other, near);
      await own.kill();
      await brokerIs(0, a, b);
      for (const wire of [one, near]) assert.deepEqual(await wire.expect('peer-disconnection', 1, LONG), [{ sid: other.sid }]);
      await other.expect('peer-disconnection', 2, LONG);
      forget(one, other, near);
      await own.restart();
      await brokerIs(1, a, b);
      assert.deepEqual((await one.expect('acquire-peers'))[0].sid, other.sid);
      await sleep(2000);
      await Promise.all([one, other, near].map((wire) => wire.settle()));
      assert.deepEqual([one, other, near].map(told), [[`acquire-peers ${other.sid}`], [`acquire-peers ${near.sid}`], []]);
      one.emit('acquire-peers-response', { recipient: other.sid, room: 'R' });
      await other.expect('acquire-peers-response');
    } finally {
      await own.end();
    }
  });

  it('starts without Redis, says so, and finds it later', async () => {
    const own = await Redis.start({ password: 'geheim' });
    try {
      await own.kill();
      const [a, b] = await start(2, own.url);
      await logged(a, /cannot reach the broker/);
      const [one, other] = [await modern(a), await modern(b)];
      await one.join('R');
      await other.join('R');
      await own.restart();
      // Who is the newcomer depends on the clocks of the servers.
      await eventually(() => assert.equal(told(one).length + told(other).length, 1), { within: 20_000 });
      assert.doesNotMatch(a.output + b.output, /geheim/);
    } finally {
      await own.end();
    }
  });

  it('garbage in its channels is counted and harms nobody', async () => {
    const { port, url } = await shared();
    const [a, b] = await start(2, url);
    const [one, other] = [await modern(a), await modern(b)];
    await meet(one, other);
    const cli = (...options) => spawnSync('redis-cli', ['-p', `${port}`, ...options], { encoding: 'utf8' }).stdout;
    const channels = cli('pubsub', 'channels', 'rtc-cafe:*').trim().split('\n');
    assert.equal(channels.length, 3, 'a channel for each server, and one for the room');
    for (const channel of channels) for (const junk of ['', 'x', '{}', '\u0001\u0001\u0001\u0001[]']) cli('publish', channel, junk);
    await eventually(async () => assert.ok(await metric(a, 'broker_frames_strange_total') >= 4));
    forget(one, other);
    other.emit('offer', { recipient: one.sid });
    await one.expect('offer');
  });
});

describe('other kinds of Redis', { skip: WITHOUT_REDIS }, () => {
  it('over TLS, with a certificate of its own authority', async () => {
    const redis = await Redis.start({ tls: true, password: 'geheim' });
    try {
      process.env.SSL_CERT_FILE = redis.authority;
      const [a, b] = await start(2, redis.url);
      await meet(await modern(a), await modern(b));
    } finally {
      delete process.env.SSL_CERT_FILE;
      await redis.end();
    }
  });

  it('a cluster of three masters, of which one dies', async () => {
    const all = await Redis.cluster();
    try {
      const [a, b] = await Promise.all([all, all.toReversed()].map((nodes) => startServer('--redis', nodes.map(({ url }) => url).join(','))));
      servers = [a, b];
      const [one, other] = [await modern(a), await modern(b)];
      await meet(one, other);
      forget(one, other);
      await all[0].kill();
      await eventually(async () => assert.ok(await metric(a, 'broker_connections_lost_total') >= 1), { within: 20_000 });
      await brokerIs(1, a, b);
      await eventually(async () => {
        forget(one);
        other.emit('offer', { recipient: one.sid });
        await one.expect('offer', 1, 1000);
      }, { within: 20_000 });
      assert.deepEqual([told(one), told(other)], [[], []]);
    } finally {
      await Promise.all(all.map((redis) => redis.end()));
    }
  });
});
