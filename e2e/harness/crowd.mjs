// A crowd of clients over several servers who signal each other all the time: the load beside which others are tested.

import assert from 'node:assert/strict';

import { CrowdLedger } from './crowd-ledger.mjs';
import { CrowdMember } from './crowd-member.mjs';
import { eventually } from './process.mjs';
import { connect } from './wire.mjs';

/** Everybody is in a room with neighbours, and in one with others; both are over all servers. */
const NEIGHBOURS = 6;
const OTHERS = 29;
/** So many rooms one may be in. */
const ROOMS = 64;
/** One in so many wanders. */
const WANDERS = 7;
/** Milliseconds between two signals of a member, and between two moves of a wanderer. */
const EVERY = 200;
const HOP = 700;

export class Crowd {
  members = [];
  events = 0;
  #ledger = new CrowdLedger();
  #timers = [];
  #counted = new Map();
  #turn = 0;
  #moves = 0;

  /** So many members come to the servers of a fleet by its balancers. */
  static async start(fleet, count) {
    const crowd = new Crowd();
    crowd.fleet = fleet;
    for (let at = 0; at < count; at += 1) {
      const rooms = [`neighbours ${Math.floor(at / NEIGHBOURS)}`, `others ${at % OTHERS}`];
      const { url } = fleet.balancers[at % fleet.balancers.length];
      crowd.members.push(new CrowdMember(crowd.#ledger, `member ${at}`, url, rooms, at % WANDERS === 0));
    }
    await crowd.isBack();
    crowd.started = performance.now();
    crowd.#timers.push(
      setInterval(() => crowd.#signal(), EVERY / 10),
      setInterval(() => crowd.#wander(), HOP / 4),
      setInterval(() => crowd.#count(), 500),
    );
    return crowd;
  }

  /** A tenth of all at a time. */
  #signal() {
    this.#turn += 1;
    this.members.forEach((member, at) => { if ((at + this.#turn) % 10 === 0) member.signal(); });
  }

  #wander() {
    this.#moves += 1;
    const wanderers = this.members.filter(({ wanders }) => wanders);
    wanderers.forEach((member, at) => {
      if ((at + this.#moves) % 4 !== 0) return;
      if ((at + this.#moves) % 20 === 0) member.restart();
      else member.hop();
    });
  }

  /** What the servers say to have got; what they got just before they ended is not in it. */
  async #count() {
    await Promise.all(this.fleet.servers.map(async (server, at) => {
      const now = await this.fleet.metric(at, 'events_received_total').catch(() => NaN);
      if (Number.isNaN(now)) return;
      const before = this.#counted.get(at) ?? 0;
      this.#counted.set(at, now);
      this.events += now < before ? now : now - before;
    }));
  }

  /** Waits until everybody is in all rooms of theirs. */
  isBack(within = 30_000) {
    return eventually(() => {
      const away = this.members.filter(({ here, wanders }) => !here && !wanders);
      assert.deepEqual(away.map(({ name }) => name), [], 'they are not in their rooms');
    }, { within });
  }

  /** Waits until something new has come from everybody to everybody who stays. */
  flows(within = 30_000) {
    return this.#passes(this.#ledger.mark().map(([stream, n]) => [stream, n + 1]), within);
  }

  #passes(mark, within) {
    return eventually(() => {
      const silent = mark.filter(([stream, n]) => stream.open && stream.got < n);
      const names = silent.map(([{ from, to }]) => `${from.name} to ${this.#ledger.owner(to)?.name}`);
      assert.deepEqual(names.slice(0, 10), [], `nothing comes in ${silent.length} of ${mark.length} streams`);
    }, { within, every: 100 });
  }

  /** What is sent from now on may be lost; comes back when all before is here. */
  async excuse(within = 20_000) {
    this.#ledger.excused = true;
    await this.#passes(this.#ledger.mark(), within);
  }

  /** What is sent from the time on when something new comes everywhere may not be lost any more. */
  async excuseNoMore() {
    await this.flows();
    this.#ledger.excused = false;
  }

  /** Nobody sends or moves any more. Waits until everything that is due has come. */
  async rest(within = 20_000) {
    this.#timers.splice(0).forEach(clearInterval);
    this.seconds = (performance.now() - this.started) / 1000;
    await this.#count();
    await eventually(() => {
      assert.deepEqual(this.members.filter(({ here }) => !here).map(({ name }) => name), [], 'they are not in their rooms');
    }, { within });
    await eventually(() => {
      const due = this.#ledger.due().map(({ from, to, sent, got }) => `${from.name} to ${this.#ledger.owner(to)?.name}: ${got} of ${sent}`);
      assert.deepEqual(due, [], 'this is lost');
    }, { within });
  }

  /** The rooms, and who is in them. */
  #present() {
    const rooms = new Map();
    for (const { rooms: names, sid } of this.members) {
      for (const room of names) rooms.set(room, [...rooms.get(room) ?? [], sid].sort());
    }
    return rooms;
  }

  /** Waits until everybody knows exactly who is there, and operators and newcomers are told the same by every server. */
  async knowEachOther(within = 30_000) {
    const deadline = Date.now() + within;
    const left = () => Math.max(0, deadline - Date.now());
    await this.#knowMates(left());
    const present = this.#present();
    for (const at of this.fleet.servers.keys()) {
      const rooms = [...present];
      while (rooms.length > 0) await this.#newcomer(at, rooms.splice(0, ROOMS), left());
    }
    await this.#knowMates(left());
  }

  #knowMates(within) {
    const present = this.#present();
    return eventually(() => {
      for (const { name, sid, rooms, peers } of this.members) {
        const mates = new Set([...rooms].flatMap((room) => present.get(room)));
        mates.delete(sid);
        assert.deepEqual([...peers.keys()].sort(), [...mates].sort(), `whom ${name} knows`);
      }
    }, { within, every: 200 });
  }

  /** Comes into rooms by a server, is answered by all who are there and nobody else, as operators are told, and goes. */
  async #newcomer(at, present, within) {
    const wire = await connect(this.fleet.servers[at].url);
    wire.emit('request-sid', { apiVersion: '1.0' });
    for (const [room] of present) {
      this.#ledger.joins(wire.sid, room);
      wire.emit('join', { room, id: `newcomer ${at}` });
    }
    const expected = present.flatMap(([room, sids]) => sids.map((sid) => `${sid} in ${room}`)).sort();
    await eventually(() => {
      const answers = wire.events('acquire-peers-response').map(({ sid, room }) => `${sid} in ${room}`).sort();
      assert.deepEqual(answers, expected, `who answers a newcomer at server ${at}`);
    }, { within, every: 100 });
    await eventually(async () => {
      for (const [room, sids] of present) {
        const { members } = await this.fleet.admin(at, `rooms/${encodeURIComponent(room)}?limit=500`);
        assert.deepEqual(members.map(({ sid }) => sid).sort(), [...sids, wire.sid].sort(), `server ${at}, ${room}`);
      }
    }, { within, every: 500 });
    await wire.close();
  }

  /** What went wrong, with the refusals that nobody had to expect. */
  get findings() {
    const refusals = this.members.flatMap(({ name, wanders, errors }) => errors
      .filter(({ code, recipient }) => {
        const owner = this.#ledger.owner(recipient);
        if (code === 'recipient-not-found') return owner?.sid === recipient && !owner.wanders && !wanders;
        return !(code === 'not-in-room' && wanders);
      })
      .map((error) => `${name} is refused: ${JSON.stringify(error)}`));
    return [...this.#ledger.findings, ...refusals];
  }

  /** How much there was. */
  get tally() {
    // Wanderers may lose a server on their way.
    const residents = this.members.filter(({ wanders }) => !wanders);
    const sum = (what) => residents.reduce((sum, member) => sum + member[what], 0);
    const { sent, received, lost } = this.#ledger;
    const { events } = this;
    return { sent, received, lost, sessionsLost: sum('lost'), returned: sum('returned'), events, rate: Math.round(events / this.seconds) };
  }

  leave() {
    this.#timers.splice(0).forEach(clearInterval);
    this.members.forEach((member) => member.leave());
  }
}
