// A peer in a process of its own that speaks JSON lines, as a test sees it: like one in a page.

import { fileURLToPath } from 'node:url';

import { Peer } from './peer.mjs';
import { HERE, Program, eventually } from './process.mjs';
import { binary, python } from './server.mjs';

const AIORTC = fileURLToPath(new URL('../peers/aiortc_peer.py', import.meta.url));

/** The fields of the events, in the order of the arguments that handlers in a page get. */
const ARGUMENTS = {
  message: ['sender', 'message'],
  messageUndelivered: ['sid', 'message', 'mayHaveArrived'],
  reassignPeerSid: ['oldSid', 'sid'],
  signallerStateChanged: ['state'],
  error: ['code'],
  peerTrackDefined: ['sid', 'definition'],
  peerTrackIdentified: ['sid', 'id', 'kind'],
  peerTrackFrames: ['count'],
  peerTrackRemoved: ['sid', 'id'],
  peerTrackDefinitionRemoved: ['sid', 'id', 'kind', 'description'],
};

/** Brings a set of connected sids up to date. */
export function follow(connected, told) {
  if (told.event === 'reassignPeerSid') connected.delete(told.oldSid);
  if (['connectToPeer', 'reassignPeerSid'].includes(told.event)) connected.add(told.sid);
  if (told.event === 'disconnectFromPeer') connected.delete(told.sid);
}

export class LinePeer extends Peer {
  #program;
  #events = [];
  #times = [];
  #forgotten = 0;
  #calls = 0;

  constructor(program, name) {
    super({ problems: [] }, name);
    this.#program = program;
    program.onLine((line) => {
      if (!line.startsWith('{"')) return;
      this.#events.push(JSON.parse(line));
      this.#times.push(Date.now());
    });
  }

  /** The peer in Python, which shares no code with ours. */
  static aiortc(base, room, { id } = {}) {
    const program = new Program(python(), [AIORTC, room, '--server', base, ...(id ? ['--id', id] : [])]);
    return new LinePeer(program, 'aiortc');
  }

  /** `rtc-cafe join`, on this machine or on a host of a network. Without a room it waits to be told. */
  static native(base, room, { on = HERE, name = 'native', options = [] } = {}) {
    const args = ['join', ...(room ? [room] : []), '--json', '--server', base, ...options];
    return new LinePeer(on.spawn(binary(), args), name);
  }

  /** Everything it has told, results included, and when, in milliseconds of the system's clock. */
  get story() {
    return this.#events.map((told, at) => [told, this.#times[at]]);
  }

  get #recent() {
    return this.#events.slice(this.#forgotten);
  }

  /** Starts an operation whose effect shows in events. */
  op(op, fields = {}) {
    this.#program.write(JSON.stringify({ op, ...fields }));
  }

  /** The result of an operation. */
  async call(op, fields = {}) {
    const call = `call ${this.#calls += 1}`;
    this.op(op, { ...fields, call });
    const told = await eventually(() => {
      const told = this.#events.find((told) => told.call === call);
      if (!told) throw new Error(`${op} has no result`);
      return told;
    });
    if (told.event === 'error') throw new Error(`${op}: ${told.code} ${told.message}`);
    return told.value;
  }

  async told(event) {
    return (await this.events(event)).map(([, ...args]) => args);
  }

  async events(...names) {
    const recent = this.#recent.filter(({ event }) => names.includes(event));
    return recent.map((told) => [told.event, ...(ARGUMENTS[told.event] ?? ['sid']).map((field) => told[field])]);
  }

  async messages(sender) {
    return this.#recent.filter((told) => told.event === 'message' && told.sender === sender).map(({ message }) => JSON.stringify(message));
  }

  async history() {
    return this.#program.output.split('\n').map((line) => line.slice(0, 200));
  }

  async forget() {
    this.#forgotten = this.#events.length;
  }

  async look() {
    let sid = 'unassigned';
    const connected = new Set();
    for (const told of this.#events) {
      if (told.event === 'acquireSid') sid = told.sid;
      follow(connected, told);
    }
    // Only pages tell whom they have discovered and are not connected to.
    return { sid, connectedPeers: [...connected], discoveredPeers: [...connected] };
  }

  async send(message, to) {
    this.op('sendMessage', { message, ...(to && { peerSids: [to].flat() }) });
  }

  async sendJson(messages) {
    JSON.parse(messages).forEach((message) => this.op('sendMessage', { message }));
  }

  async leave() {
    this.#program.closeInput();
    return this.#program.exited;
  }

  join(...rooms) {
    return Promise.all(rooms.map((room) => this.call('joinRoom', { room })));
  }

  leaveRoom(room) {
    return this.call('leaveRoom', { room });
  }

  report(sid) {
    return this.call('getConnectionReport', { sid });
  }

  /** Stops the process, so that what happens meanwhile comes to it all at once when it goes on. */
  freeze() {
    process.kill(this.#program.pid, 'SIGSTOP');
  }

  thaw() {
    process.kill(this.#program.pid, 'SIGCONT');
  }

  kill() {
    return this.#program.kill();
  }
}
