// Who is in the room: one Person for everybody that the client knows of, under the sid of the moment.

import { cleanLine, readMessage } from './text.js';
import { roundTrip } from './connection.js';

const NAMELESS_AFTER = 1500;
const HARD_TO_REACH_AFTER = 15_000;
const HERE_BEFORE = 3000;
const MEASURE_EVERY = 2000;
// How many of those who left are still known by name.
const REMEMBERED = 100;
// Messages that a peer may send at once, and then per second; the rest is not shown.
const BURST = 200;
const RATE = 20;

class Person {
  name = '';
  /** Whether messages flow, or will flow again. */
  connected = false;
  announced = false;
  wasHere = false;
  /** How this person came, in words: 'is here', 'joined' or 'is back'. */
  arrival = '';
  since = performance.now();
  muted = false;
  /** What `getStats` and `getConnectionReport` told last, or null. */
  stats = null;
  report = null;
  measured = 0;
  namesake = 1;
  #allowance = BURST;
  #refilled = performance.now();
  flooding = false;

  constructor(sid) {
    this.sid = sid;
    this.guest = `Guest ${cleanLine(sid, 4) || '?'}`;
  }

  /** What the others call this person: two of the same name are told apart. */
  get label() {
    if (!this.name) return this.announced ? this.guest : 'Someone';
    return this.namesake > 1 ? `${this.name} (${this.namesake})` : this.name;
  }

  /** 'connecting', 'connected', 'silent', or 'recovering': connected, and the path is lost. */
  get state() {
    if (!this.connected) return 'connecting';
    const phase = this.report?.phase ?? 'open';
    if (phase === 'silent') return phase;
    // What is called or tried now is to replace a connection that was lost.
    return phase === 'open' ? 'connected' : 'recovering';
  }

  /** Whether it takes unusually long to connect. */
  get isHard() {
    return !this.connected && performance.now() - this.since > HARD_TO_REACH_AFTER;
  }

  /** How this person is connected, in words. */
  get how() {
    const { state, report } = this;
    if (state === 'recovering') return 'reconnecting…';
    if (state === 'silent') return 'does not answer';
    if (state === 'connected') return [report?.path, roundTrip(report?.roundTripTime)].filter(Boolean).join(' · ') || 'connected';
    return this.isHard ? 'hard to reach, still trying' : 'connecting…';
  }

  maySpeak() {
    const now = performance.now();
    this.#allowance = Math.min(BURST, this.#allowance + ((now - this.#refilled) / 1000) * RATE);
    this.#refilled = now;
    if (this.#allowance < 1) return false;
    this.#allowance -= 1;
    return true;
  }
}

/**
 * Follows a client and tells what a page has to show, by these callbacks: `changed()`, `arrived(person)`,
 * `left(person)`, and, if the page is about them, `renamed(person, before)`, `said(person, text)`, `flooded(person)`.
 */
export class People {
  #client;
  #name;
  #tell;
  #bySid = new Map();
  #entered = performance.now();
  /** What those who left were called, by sid. */
  #gone = new Map();

  constructor(client, name, tell) {
    this.#client = client;
    this.#name = name;
    this.#tell = tell;
    client.on('connectToPeer', (sid) => this.#connected(sid));
    client.on('disconnectFromPeer', (sid) => this.#disconnected(sid));
    client.on('reassignPeerSid', (oldSid, sid) => this.#reassigned(oldSid, sid));
    client.on('message', (sender, message) => this.#received(sender, message));
    // Discovery has no event of its own, and neither has time.
    setInterval(() => this.#tick(), 1000);
  }

  [Symbol.iterator]() {
    return this.#bySid.values();
  }

  /** The person with this sid, if there is one. */
  get(sid) {
    return this.#bySid.get(sid);
  }

  /** What a sid is called. */
  called(sid) {
    return this.#bySid.get(sid)?.label ?? this.#gone.get(sid) ?? 'somebody';
  }

  /** A connection to this sid could not be made. */
  isHardToReach(sid) {
    const person = this.#bySid.get(sid);
    if (!person) return;
    person.since = -Infinity;
    this.#tell.changed();
  }

  /** How many are connected. */
  get connected() {
    return [...this].filter((person) => person.connected).length;
  }

  /** Whether somebody is still there. */
  has(person) {
    return this.#bySid.get(person.sid) === person;
  }

  #person(sid) {
    let person = this.#bySid.get(sid);
    if (!person) {
      person = new Person(sid);
      this.#bySid.set(sid, person);
    }
    return person;
  }

  #connected(sid) {
    const person = this.#person(sid);
    if (person.connected) return;
    person.connected = true;
    person.report = null;
    this.#send(person, { kind: 'hello', name: this.#name });
    this.#measure(person);
    if (person.name) this.#announce(person);
    else setTimeout(() => person.connected && this.#announce(person), NAMELESS_AFTER);
    this.#tell.changed();
  }

  #disconnected(sid) {
    const person = this.#bySid.get(sid);
    if (!person) return;
    this.#sayLeft(person);
    person.connected = false;
    person.since = performance.now();
    person.stats = null;
    person.report = null;
    person.muted = false;
    if (!this.#client.discoveredPeers.includes(sid)) this.#bySid.delete(sid);
    this.#tell.changed();
  }

  #reassigned(oldSid, sid) {
    const person = this.#bySid.get(oldSid);
    if (!person || oldSid === sid) return;
    person.sid = sid;
    this.#bySid.delete(sid); // discovered under the new sid already
    this.#bySid = new Map([...this].map((each) => [each.sid, each])); // in the same order as before
    this.#tell.changed();
  }

  #received(sender, message) {
    const person = this.#bySid.get(sender);
    if (!person) return;
    if (!person.maySpeak()) {
      if (!person.flooding) this.#tell.flooded?.(person);
      person.flooding = true;
      return;
    }
    const said = readMessage(message);
    switch (said?.kind) {
      case 'hello': return this.#named(person, said.name);
      case 'chat':
        person.flooding = false;
        this.#announce(person);
        return this.#tell.said?.(person, said.text);
      case 'microphone':
        person.muted = said.muted;
        return this.#tell.changed();
    }
  }

  #named(person, name) {
    if (person.name === name) return;
    const before = person.announced ? person.label : '';
    const taken = new Set([...this].filter((other) => other !== person && other.name === name).map((other) => other.namesake));
    person.name = name;
    person.namesake = name === this.#name ? 2 : 1; // the first of one's own name is oneself
    while (taken.has(person.namesake)) person.namesake += 1;
    if (before) this.#tell.renamed?.(person, before);
    this.#announce(person);
    this.#tell.changed();
  }

  #announce(person) {
    if (person.announced) return;
    person.announced = true;
    const early = performance.now() - this.#entered < HERE_BEFORE;
    person.arrival = person.wasHere ? 'is back' : early ? 'is here' : 'joined';
    person.wasHere = true;
    this.#tell.arrived(person);
    this.#tell.changed();
  }

  #sayLeft(person) {
    this.#gone.set(person.sid, person.label);
    if (this.#gone.size > REMEMBERED) this.#gone.delete(this.#gone.keys().next().value);
    if (!person.announced) return;
    this.#tell.left(person);
    person.announced = false;
  }

  #tick() {
    const discovered = new Set(this.#client.discoveredPeers);
    const connected = new Set(this.#client.connectedPeers);
    for (const sid of [...discovered, ...connected]) this.#person(sid);
    for (const person of [...this]) {
      if (discovered.has(person.sid) || connected.has(person.sid)) continue;
      this.#sayLeft(person);
      this.#bySid.delete(person.sid);
    }
    for (const person of this) {
      if (performance.now() - person.measured > MEASURE_EVERY) this.#measure(person);
    }
    this.#tell.changed();
  }

  async #measure(person) {
    if (document.hidden) return;
    person.measured = performance.now();
    try {
      person.report = await this.#client.getConnectionReport(person.sid);
      person.stats = person.connected ? await this.#client.getStats(person.sid) : null;
      this.#tell.changed();
    } catch (error) {
      // The peer went away in this very moment; disconnectFromPeer tells the same.
      console.debug('not measured', error);
    }
  }

  #send(person, message) {
    try {
      this.#client.sendMessage(message, person.sid);
    } catch (error) {
      // The peer went away in this very moment; disconnectFromPeer tells the same.
      console.debug('not sent', message.kind, error);
    }
  }
}
