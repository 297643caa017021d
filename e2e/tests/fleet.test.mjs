// A night in the life of a fleet: newcomers come and go, everybody talks, and servers and Redis are restarted and killed.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Browser } from '../harness/browser.mjs';
import { Crowd } from '../harness/crowd.mjs';
import { Fleet, renames } from '../harness/fleet.mjs';
import { mistold } from '../harness/ledger.mjs';
import { LinePeer } from '../harness/line-peer.mjs';
import { eventually } from '../harness/process.mjs';
import { WITHOUT_REDIS } from '../harness/redis.mjs';
import { Traffic } from '../harness/traffic.mjs';
import { connect } from '../harness/wire.mjs';

const SERVERS = 3;
/** As long a newcomer may take to meet all, be it that Redis is just away. */
const MEETING = 30_000;
/** How long after the end of a server somebody may be taken for present who is not. */
const LEASE = 30_000;
/** Clients who load the servers all the time. */
const CROWD = 180;

describe('a fleet of three servers', { skip: WITHOUT_REDIS }, () => {
  let browser;
  let fleet;
  let crowd;
  /** Those who are there all the time, by room, and those who come and go. */
  const rooms = { table: [], bar: [] };
  const guests = { table: [], bar: [] };
  const traffic = new Traffic();
  before(async () => { browser = await Browser.launch(); });
  after(async () => {
    crowd?.leave();
    await traffic.stop();
    await fleet?.close();
    await browser?.close();
  });

  const all = () => [...new Set(Object.values(rooms).flat())];
  const roomsOf = (peer) => Object.keys(rooms).filter((room) => rooms[room].includes(peer));
  const mates = (peer) => [...new Set(roomsOf(peer).flatMap((room) => rooms[room]))].filter((other) => other !== peer);

  /** Pages and native peers on all servers, some of them in both rooms, who talk. */
  async function open() {
    fleet = await Fleet.start(SERVERS, '--drain', '2s');
    const pages = [];
    for (const [at, names] of [['table'], ['bar'], ['table', 'bar']].entries()) pages.push(await fleet.page(browser, at, `page ${at}`, ...names));
    const natives = ['bar', 'table', 'table'].map((room, at) => fleet.native(at, `native ${at}`, room));
    rooms.table.push(pages[0], pages[2], natives[1], natives[2]);
    rooms.bar.push(pages[1], pages[2], natives[0]);
    await Promise.all(all().map((peer) => peer.seesWithin(MEETING, mates(peer))));
    await traffic.add(...all());
    crowd = await Crowd.start(fleet, CROWD);
    await flows();
  }

  /** Something new has come from everybody to everybody in the same room, and whoever has lost a server is back. */
  async function flows() {
    await crowd.isBack();
    await crowd.flows();
    await peersTalk();
  }

  async function peersTalk() {
    for (const members of Object.values(rooms)) await traffic.flows(await traffic.mark(members), 10_000);
  }

  /** One guest after the other comes into a room by another server, meets all who are there, and goes. */
  function churn(room) {
    let over = false;
    const visits = async () => {
      for (let n = 0; !over; n += 1) {
        const guest = fleet.native(n % SERVERS, `guest ${n} of the ${room}`, room);
        guests[room].push(guest);
        await meets(guest, rooms[room]);
        await guest.leave();
      }
    };
    const done = visits();
    done.catch(() => {});
    return () => {
      over = true;
      return done;
    };
  }

  const meets = (guest, members) => eventually(async () => {
    const sids = await Promise.all(members.map((member) => member.sid()));
    const { connectedPeers } = await guest.look();
    assert.deepEqual(sids.filter((sid) => !connectedPeers.includes(sid)), [], `${guest.name} has not met`);
  }, { within: MEETING, every: 200 });

  /** Those who are connected to a server, as operators see it by its metrics. */
  const sockets = (at) => fleet.metric(at, 'sockets');

  const told = (at, room) => fleet.admin(at, `rooms/${room}?limit=500`);

  /** The server with most clients. */
  async function fullest() {
    const counts = await Promise.all(fleet.servers.map((_, at) => sockets(at)));
    return counts.indexOf(Math.max(...counts));
  }

  /** Nobody is known, to peers or to operators, who is not there. */
  async function nobodyElse() {
    const sids = async (peers) => (await Promise.all(peers.map((peer) => peer.sid()))).sort();
    await Promise.all(all().map((peer) => peer.seesWithin(LEASE, mates(peer))));
    for (const peer of all().filter((peer) => peer instanceof LinePeer)) {
      await eventually(async () => {
        const { discoveredPeers } = await peer.call('properties');
        assert.deepEqual(discoveredPeers.sort(), await sids(mates(peer)), `${peer.name} has discovered`);
      }, { within: LEASE, every: 500 });
    }
    for (const at of fleet.servers.keys()) {
      await eventually(async () => assert.equal((await fleet.admin(at, 'rooms')).total, Object.keys(rooms).length, `rooms of server ${at}`));
      for (const [room, members] of Object.entries(rooms)) {
        await eventually(async () => {
          const { members: found } = await told(at, room);
          assert.deepEqual(found.map(({ sid }) => sid).sort(), await sids(members), `server ${at}, ${room}`);
        }, { within: LEASE });
      }
    }
    const counts = await Promise.all(fleet.servers.map((_, at) => sockets(at)));
    assert.equal(counts.reduce((sum, count) => sum + count), all().length, 'sockets of all servers');
    // Those that were there before are forgotten likewise.
    await eventually(async () => {
      for (const at of fleet.servers.keys()) assert.equal(await fleet.metric(at, 'broker_nodes'), SERVERS - 1, `others that server ${at} knows`);
    }, { within: LEASE });
  }

  /** Of what the crowd sent, nothing was lost, doubled or told to others, and everybody in it knows who is there. */
  async function crowdIsRight(note) {
    await crowd.rest();
    await crowd.knowEachOther(LEASE);
    crowd.leave();
    assert.deepEqual(crowd.findings.slice(0, 20), []);
    const { sent, received, lost, sessionsLost, returned, events, rate } = crowd.tally;
    assert.ok(sessionsLost > 0, 'nobody lost a server');
    assert.equal(returned, sessionsLost, 'who has come back');
    note(`a crowd of ${CROWD}: ${sent} signals sent, ${received} received, ${lost} to those who went or while Redis was away; `
      + `${sessionsLost} lost a server and are back; the servers got ${events} events, ${rate} a second`);
  }

  it('loses no message, tells nothing twice, and keeps nobody who has gone', async (t) => {
    const start = performance.now();
    const note = (text) => t.diagnostic(`${((performance.now() - start) / 1000).toFixed(1)} s: ${text}`);
    await open();
    const ends = Object.keys(rooms).map(churn);
    note('everybody talks');

    for (const [at, server] of fleet.servers.entries()) {
      assert.deepEqual(await server.stop(20_000), { code: 0, signal: null });
      await server.restart();
      await fleet.balancers[at].takes(server);
      await flows();
    }
    note('all servers have been restarted');

    const dies = await fullest();
    // Somebody is there only as far as servers know, and ends with its server.
    const ghost = await (await connect(fleet.servers[dies].url)).join('table', { id: 'ghost' });
    const everywhere = () => Promise.all(fleet.servers.map(async (_, at) => (await told(at, 'table')).members.map(({ sid }) => sid)));
    await eventually(async () => assert.ok((await everywhere()).every((sids) => sids.includes(ghost.sid))));
    const here = (await Promise.all(Object.keys(rooms).map((room) => told(dies, room)))).flatMap(({ members }) => members.filter(({ here }) => here));
    const sids = new Map(await Promise.all(all().map(async (peer) => [await peer.sid(), peer])));
    const moving = [...new Set(here.map(({ sid }) => sids.get(sid)).filter(Boolean))];
    await renames(moving, () => fleet.servers[dies].kill());
    await fleet.servers[dies].restart();
    await flows();
    note(`a server was killed, with ${moving.length} of those who stay on it, and a ghost`);

    await crowd.excuse();
    await fleet.redis.kill();
    await fleet.redisIs(false);
    await peersTalk();
    await fleet.redis.restart();
    await fleet.redisIs(true);
    await crowd.excuseNoMore();
    await peersTalk();
    note('Redis was killed and is back');
    await crowdIsRight(note);

    await Promise.all(ends.map((end) => end()));
    for (const at of fleet.servers.keys()) {
      const newcomer = fleet.native(at, `newcomer ${at}`, 'table');
      await newcomer.join('bar');
      Object.values(rooms).forEach((members) => members.push(newcomer));
    }
    await nobodyElse();
    note('newcomers have met everybody, and nobody else is there');

    const { findings, owed, received, undelivered, refused } = await traffic.account();
    assert.deepEqual({ findings, undelivered, refused }, { findings: [], undelivered: 0, refused: 0 });
    const visited = (peer) => roomsOf(peer).flatMap((room) => guests[room]).filter((other) => other !== peer);
    assert.deepEqual(await mistold(all().filter(({ name }) => !name.startsWith('newcomer')), { stay: mates, gone: visited }), []);
    for (const [room, were] of Object.entries(guests)) {
      assert.ok(were.length >= SERVERS, `${were.length} guests came to the ${room}`);
      assert.deepEqual(await mistold(were, { others: () => [...rooms[room], ...were] }), []);
    }
    note(`${received} messages, ${owed} of them owed, none lost; ${guests.table.length} and ${guests.bar.length} guests`);
  });
});
