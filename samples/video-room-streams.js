// What the others offer, and which of it is watched. No DOM in here.

import { cleanLine } from './text.js';

const MAX_LABEL = 40;
// What the client says for an application that says nothing.
const UNDESCRIBED = 'no description';
// What one peer may have watched without being asked for; the rest is offered.
const AUTOMATIC_AT_MOST = 4;

const VIDEO = new Map([['camera', 'camera'], ['screen', 'screen']]);
const AUDIO = new Map([['microphone', 'microphone'], ['screen', 'sound of the screen']]);

/** A peer's definition of a track as this page understands it: its description may be anything. */
export function readDefinition(definition) {
  const kind = definition.kind === 'audio' ? 'audio' : 'video';
  const { description } = definition;
  const labels = kind === 'audio' ? AUDIO : VIDEO;
  const what = typeof description === 'object' && labels.has(description?.what) ? description.what : '';
  const said = description === UNDESCRIBED ? '' : cleanLine(description, MAX_LABEL);
  const label = labels.get(what) ?? (said || (kind === 'audio' ? 'sound' : 'video'));
  return { kind, what, label };
}

class Stream {
  /** Whether it was asked for. */
  wanted = false;
  /** The track while it flows, otherwise null. */
  track = null;

  constructor(sid, id, order) {
    this.sid = sid;
    this.id = id;
    /** Larger than that of those defined before. */
    this.order = order;
  }

  /** Takes over what its owner says about it; `others` are the same owner's. */
  define(definition, others) {
    const { kind, what, label } = readDefinition(definition);
    // Two cameras of one person are told apart.
    const taken = new Set(others.filter((other) => other !== this && other.kind === kind).map((other) => other.label));
    Object.assign(this, { kind, what, label });
    for (let count = 2; taken.has(this.label); count += 1) this.label = `${label} ${count}`;
  }
}

/** Follows the tracks that peers define; `changed()` is told of everything, `failed(error)` of what a call threw. */
export class Streams {
  #client;
  #tell;
  #bySid = new Map();
  // By their ids: these are unique among everybody, and stay when somebody comes back under another sid.
  #declined = new Set();
  #automatic;
  #defined = 0;

  constructor(client, automatic, tell) {
    this.#client = client;
    this.#automatic = automatic;
    this.#tell = tell;
    client.on('peerTrackDefined', (sid, definition) => this.#define(sid, definition));
    client.on('peerTrackIdentified', (sid, id, track) => this.#flowing(sid, id, track));
    client.on('peerTrackRemoved', (sid, id) => this.#flowing(sid, id, null));
    client.on('peerTrackDefinitionRemoved', (sid, id) => this.#undefine(sid, id));
    client.on('disconnectFromPeer', (sid) => this.#disconnected(sid));
    client.on('reassignPeerSid', (oldSid, sid) => this.#reassigned(oldSid, sid));
  }

  /** The streams of a peer. */
  of(sid) {
    return [...(this.#bySid.get(sid)?.values() ?? [])];
  }

  /** The stream with this sid and id, if there is one. */
  get(sid, id) {
    return this.#bySid.get(sid)?.get(id);
  }

  /** Whether everything is watched without a click. */
  get automatic() {
    return this.#automatic;
  }

  set automatic(automatic) {
    this.#automatic = automatic;
    this.#declined.clear();
    if (automatic) for (const streams of this.#bySid.values()) for (const stream of streams.values()) this.#offer(stream);
    this.#tell.changed();
  }

  watch(stream) {
    this.#declined.delete(stream.id);
    this.#request(stream);
    this.#tell.changed();
  }

  stop(stream) {
    this.#declined.add(stream.id);
    stream.wanted = false;
    stream.track = null;
    this.#try(() => this.#client.removePeerTrack(stream.sid, stream.id));
    this.#tell.changed();
  }

  #request(stream) {
    stream.wanted = this.#try(() => this.#client.requestPeerTrack(stream.sid, stream.id));
  }

  #offer(stream) {
    if (!this.#automatic || stream.wanted || this.#declined.has(stream.id)) return;
    const watched = this.of(stream.sid).filter((other) => other.wanted && other.kind === stream.kind);
    if (watched.length < AUTOMATIC_AT_MOST) this.#request(stream);
  }

  #define(sid, definition) {
    if (!this.#bySid.has(sid)) this.#bySid.set(sid, new Map());
    const streams = this.#bySid.get(sid);
    if (!streams.has(definition.id)) streams.set(definition.id, new Stream(sid, definition.id, this.#defined += 1));
    const stream = streams.get(definition.id);
    stream.define(definition, this.of(sid));
    this.#offer(stream);
    this.#tell.changed();
  }

  #flowing(sid, id, track) {
    const stream = this.get(sid, id);
    // One that was stopped in this very moment may still arrive.
    if (!stream || (track && this.#declined.has(id))) return;
    stream.track = track;
    stream.wanted ||= track !== null;
    this.#tell.changed();
  }

  #undefine(sid, id) {
    this.#bySid.get(sid)?.delete(id);
    this.#tell.changed();
  }

  #disconnected(sid) {
    this.#bySid.delete(sid);
    this.#tell.changed();
  }

  #reassigned(oldSid, sid) {
    const streams = this.#bySid.get(oldSid);
    if (!streams || oldSid === sid) return;
    this.#bySid.delete(oldSid);
    this.#bySid.set(sid, streams);
    for (const stream of streams.values()) stream.sid = sid;
    this.#tell.changed();
  }

  /** Whether the call succeeded. */
  #try(call) {
    try {
      call();
      return true;
    } catch (error) {
      this.#tell.failed(error);
      return false;
    }
  }
}
