// What a crowd has sent and got: every signal numbered, and what is wrong with how they came.

export class CrowdLedger {
  findings = [];
  received = 0;
  sent = 0;
  lost = 0;
  /** What is sent now may be lost. */
  excused = false;
  /** By number: signals from one session to another for as long as its sender knows it to be there. */
  #streams = new Map();
  /** By sid: whose it is, and whom it says to succeed. */
  #sessions = new Map();
  #joins = new Map();

  session(sid, owner, claim) {
    this.#sessions.set(sid, { owner, claim });
  }

  owner(sid) {
    return this.#sessions.get(sid)?.owner;
  }

  claimOf(sid) {
    return this.#sessions.get(sid)?.claim ?? null;
  }

  joins(sid, room) {
    const key = `${sid} ${room}`;
    this.#joins.set(key, this.joined(sid, room) + 1);
  }

  /** How often a session has joined a room. */
  joined(sid, room) {
    return this.#joins.get(`${sid} ${room}`) ?? 0;
  }

  open(from, to) {
    const id = this.#streams.size + 1;
    // Who goes from room to room misses what comes in between.
    const strict = this.owner(to)?.wanders === false;
    const stream = { id, from, sid: from.sid, to, sent: 0, got: 0, excused: 0, until: 0, open: true, strict };
    this.#streams.set(id, stream);
    return stream;
  }

  send(stream) {
    stream.sent += 1;
    this.sent += 1;
    if (this.excused) {
      stream.excused ||= stream.sent;
      stream.until = stream.sent;
    }
    return stream.sent;
  }

  arrive(member, { stream: id, n, sid, id: name, rooms }) {
    const stream = this.#streams.get(id);
    if (!stream) return member.finds(`gets a signal of nobody: ${id}`);
    this.received += 1;
    const who = `${n} of ${stream.from.name} to ${this.owner(stream.to)?.name ?? stream.to}`;
    if (stream.to !== member.sid || stream.sid !== sid || stream.from.name !== name) member.finds(`gets ${who} as from ${name} ${sid}`);
    if (!rooms.some((room) => member.rooms.has(room))) member.finds(`gets ${who}, with whom it shares no room`);
    if (n <= stream.got) return member.finds(`gets ${who} after ${stream.got}`);
    for (let missing = stream.got + 1; missing < n; missing += 1) {
      if (!this.#mayMiss(stream, missing)) member.finds(`gets ${who} after ${stream.got}, and misses ${missing}`);
    }
    this.lost += n - stream.got - 1;
    stream.got = n;
    return undefined;
  }

  #mayMiss({ strict, excused, until }, n) {
    return !strict || (excused !== 0 && n >= excused && n <= until);
  }

  /** The streams whose both ends stay, with the number of the last signal in them. */
  mark() {
    return [...this.#streams.values()].filter(({ open, strict }) => open && strict).map((stream) => [stream, stream.sent]);
  }

  /** The open streams of which something is still to come. */
  due() {
    return [...this.#streams.values()].filter(({ open, sent, got, excused, until }) => {
      const mayEndAt = excused !== 0 && got + 1 >= excused ? Math.max(got, until) : got;
      return open && sent > mayEndAt;
    });
  }
}
