// One of a crowd: joins its rooms, signals whom it meets there, and comes back with its proof when its server is gone.

import { io } from 'socket.io-client';

/** What is sent in turn, and how long it is: descriptions are longer than candidates. */
const SIGNALS = [['offer', 1200], ['candidate', 150], ['candidate', 150], ['answer', 900]];
/** Milliseconds until the server has to have done what it is asked. */
const PATIENCE = 20_000;

export class CrowdMember {
  /** Those whom it meets, by sid: the rooms that both are in, and the stream of signals to them. */
  peers = new Map();
  /** Where it may be told of others. */
  rooms = new Set();
  /** It is in all its rooms. */
  here = false;
  errors = [];
  /** How often it was without a session, and how often it has come back. */
  lost = 0;
  returned = 0;

  /** `wanders`: it is in one of its rooms at a time, and goes from one to the other. */
  constructor(ledger, name, url, rooms, wanders = false) {
    Object.assign(this, { ledger, name, places: rooms, wanders });
    this.wanted = wanders ? rooms.slice(0, 1) : rooms;
    const options = { transports: ['websocket'], forceNew: true, reconnectionDelay: 200, reconnectionDelayMax: 1000 };
    this.socket = io(`${url}/rtc-cafe`, options);
    this.socket.on('connect', () => this.#enter());
    this.socket.on('disconnect', () => this.#lose());
    this.socket.on('sid', ({ session }) => { this.session = session; });
    this.socket.on('error', (error) => this.errors.push(error));
    this.socket.on('acquire-peers', (told) => this.#announced(told));
    this.socket.on('acquire-peers-response', ({ sid, room }) => this.#meet(sid, room, 'response', 1));
    this.socket.on('peer-disconnection', ({ sid }) => this.#miss(sid));
    for (const event of new Set(SIGNALS.map(([event]) => event))) {
      this.socket.on(event, (signal) => this.ledger.arrive(this, signal));
    }
  }

  finds(what) {
    this.ledger.findings.push(`${this.name} ${what}`);
  }

  #ask(event, payload) {
    return this.socket.timeout(PATIENCE).emitWithAck(event, payload);
  }

  /** Joins the rooms in a new session, as the successor of the last one that was in them. */
  async #enter() {
    const { id: sid } = this.socket;
    const claim = this.last && { prevSid: this.last.sid, prevSession: this.last.session };
    this.ledger.session(sid, this, claim?.prevSid ?? null);
    Object.assign(this, { sid, told: new Map(), gone: new Map(), renamed: new Set() });
    this.rooms.clear();
    try {
      await this.#ask('request-sid', { apiVersion: '1.0' });
      await Promise.all(this.wanted.map((room) => this.#join(room, claim)));
    } catch {
      // The connection has ended; there will be another one.
      return;
    }
    if (this.sid !== sid) return;
    if (claim) this.returned += 1;
    this.last = { sid, session: this.session };
    this.here = true;
  }

  #join(room, claim) {
    this.rooms.add(room);
    this.ledger.joins(this.sid, room);
    return this.#ask('join', { room, id: this.name, ...claim });
  }

  #lose() {
    if (this.here) this.lost += 1;
    this.here = false;
    this.sid = undefined;
    this.#forget();
  }

  #forget() {
    for (const { stream } of this.peers.values()) stream.open = false;
    this.peers.clear();
  }

  #announced({ sid, room, prevSid }) {
    const [owner, claim] = [this.ledger.owner(sid), this.ledger.claimOf(sid)];
    // Who goes on to another room says nothing of another session.
    if (prevSid !== claim && !(prevSid === null && owner.wanders)) {
      this.finds(`is told that ${sid} of ${owner?.name} was ${prevSid}, not ${claim}`);
    }
    if (prevSid !== null) {
      if (this.peers.has(prevSid)) this.renamed.add(prevSid);
      this.#close(prevSid);
    }
    this.#meet(sid, room, 'announcement', this.ledger.joined(sid, room));
    this.socket.emit('acquire-peers-response', { recipient: sid, room, id: this.name });
  }

  /** It hears of somebody in a room, which may happen so many times. */
  #meet(sid, room, how, most) {
    if (!this.rooms.has(room)) this.finds(`hears of ${sid} in ${room}, in which it is not`);
    const key = `${how} of ${sid} in ${room}`;
    const times = (this.told.get(key) ?? 0) + 1;
    this.told.set(key, times);
    if (times > most) this.finds(`gets the ${how} of ${sid} in ${room} ${times} times for ${most}`);
    this.gone.delete(sid);
    const peer = this.peers.get(sid) ?? { rooms: new Set() };
    // Who has left and come back meanwhile may have missed something.
    if (peer.rooms.has(room)) peer.stream.open = false;
    peer.rooms.add(room);
    if (!peer.stream?.open) peer.stream = this.ledger.open(this, sid);
    this.peers.set(sid, peer);
  }

  #miss(sid) {
    const owner = this.ledger.owner(sid);
    const times = (this.gone.get(sid) ?? 0) + 1;
    this.gone.set(sid, times);
    // It is told in every room.
    const most = [...this.rooms].filter((room) => this.ledger.joined(sid, room) > 0).length;
    if (times > most) this.finds(`is told ${times} times for ${most} that ${sid} of ${owner?.name} has gone`);
    if (this.renamed.has(sid) && !owner?.wanders) this.finds(`is told that ${sid} of ${owner?.name} has gone, which has come back`);
    this.#close(sid);
  }

  #close(sid) {
    const peer = this.peers.get(sid);
    if (peer) peer.stream.open = false;
    this.peers.delete(sid);
  }

  /** Sends a signal to the next one. */
  signal() {
    const [next] = this.peers;
    if (!this.here || !next) return;
    const [sid, { stream }] = next;
    // It is the last from now on.
    this.peers.delete(sid);
    this.peers.set(...next);
    const [event, length] = SIGNALS[stream.sent % SIGNALS.length];
    const n = this.ledger.send(stream);
    this.socket.emit(event, { recipient: stream.to, id: this.name, rooms: [...this.rooms], stream: stream.id, n, sdp: 'x'.repeat(length) });
  }

  /** Leaves its room for the other one. */
  async hop() {
    const { sid, wanted: [old] } = this;
    if (!this.here) return;
    this.here = false;
    this.wanted = this.places.filter((room) => room !== old);
    try {
      await this.#ask('leave', { room: old });
      if (this.sid !== sid) return;
      this.rooms.delete(old);
      this.told.clear();
      this.gone.clear();
      this.#forget();
      await this.#join(this.wanted[0]);
      this.here = this.sid === sid;
    } catch {
      // It comes back into the other room.
    }
  }

  /** Goes for good, and somebody new comes in its place. */
  restart() {
    if (!this.here) return;
    this.here = false;
    this.last = undefined;
    this.socket.disconnect();
    this.socket.connect();
  }

  leave() {
    this.here = false;
    this.socket.disconnect();
  }
}
