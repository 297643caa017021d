// Raw frames: an Engine.IO 4 and Socket.IO 5 client that does nothing by itself but answer pings.

import assert from 'node:assert/strict';

import WebSocket from 'ws';

import { eventually, within } from './process.mjs';

export const NAMESPACE = '/rtc-cafe';
const SEPARATOR = '\x1e';

const endpoint = (base, query) => `${base}/socket.io/?EIO=4&${new URLSearchParams(query)}`;

/** What both transports share: frames in, frames out, and the events in them. */
class Wire {
  frames = [];
  closed = false;
  namespace = NAMESPACE;
  #acks = 0;

  /** The text before the content of every packet of the namespace. */
  get prefix() {
    return this.namespace === '/' ? '' : `${this.namespace},`;
  }

  receive(frame) {
    if (frame === '2') this.send('3');
    else this.frames.push(frame);
  }

  /** Sends a Socket.IO event. */
  emit(event, ...args) {
    this.send(`42${this.prefix}${JSON.stringify([event, ...args])}`);
  }

  /** Enters the namespace, and takes the sid. */
  async enter(namespace = NAMESPACE) {
    this.namespace = namespace;
    this.send(namespace === '/' ? '40' : `40${namespace},`);
    const reply = await this.next(new RegExp(`^4[04]${this.prefix}`), 'CONNECT reply');
    if (reply.startsWith('40')) this.sid = JSON.parse(reply.slice(2 + this.prefix.length)).sid;
    return reply;
  }

  /** The first frame that matches, arrived already or yet to come. */
  next(pattern, what = `${pattern}`, milliseconds = 5000) {
    return eventually(() => {
      const found = this.frames.find((frame) => typeof frame === 'string' && pattern.test(frame));
      if (found === undefined) this.#missing(`${what} did not come`);
      return found;
    }, { within: milliseconds, every: 5 });
  }

  get #summary() {
    return `${JSON.stringify(this.frames).slice(0, 2000)}${this.closed ? ', and the connection is closed' : ''}`;
  }

  #missing(what) {
    throw Object.assign(new Error(`${what}; there are ${this.#summary}`), { fatal: this.closed });
  }

  /** The payloads of the events of a name that have arrived. */
  events(name) {
    const start = `42${this.prefix}`;
    return this.frames
      .filter((frame) => typeof frame === 'string' && frame.startsWith(start))
      .map((frame) => JSON.parse(frame.slice(start.length)))
      .filter(([event]) => event === name)
      .map(([, payload]) => payload);
  }

  /** Waits until events of a name have come in this number, and gives their payloads. */
  async expect(name, count = 1, milliseconds = 5000) {
    await eventually(() => {
      const found = this.events(name).length;
      if (found < count) this.#missing(`${found} of ${count} "${name}" came`);
    }, { within: milliseconds, every: 5 });
    const found = this.events(name);
    assert.equal(found.length, count, `the number of "${name}" in ${this.#summary}`);
    return found;
  }

  /**
   * Comes back when the server has done all that this client sent, and all that the server had sent it before is here.
   */
  async settle(milliseconds = 5000) {
    const id = 900_000 + this.#acks++;
    this.send(`42${this.prefix}${id}["request-sid",{}]`);
    const ack = await this.next(new RegExp(`^43${this.prefix}${id}\\[`), 'the acknowledgement', milliseconds);
    // What the question itself brought does not count.
    const at = this.frames.findLastIndex((frame) => typeof frame === 'string' && frame.startsWith(`42${this.prefix}["sid",`));
    if (at >= 0) this.frames.splice(at, 1);
    this.frames.splice(this.frames.indexOf(ack), 1);
  }

  async join(room, fields = {}) {
    this.emit('join', { room, ...fields });
    await this.settle();
    return this;
  }
}

/** A client over a websocket. */
export class WebSocketWire extends Wire {
  static async open(base, { headers } = {}) {
    const wire = new WebSocketWire();
    wire.socket = new WebSocket(endpoint(base, { transport: 'websocket' }).replace('http', 'ws'), { headers, perMessageDeflate: false });
    wire.socket.on('message', (data, binary) => wire.receive(binary ? data : data.toString()));
    wire.ended = new Promise((resolve) => {
      wire.socket.on('close', (code) => {
        wire.closed = true;
        resolve(code);
      });
    });
    wire.socket.on('error', (error) => { wire.error = error; });
    const opened = new Promise((resolve) => wire.socket.on('open', resolve));
    await within(5000, Promise.race([opened, wire.ended]), 'opening a websocket');
    if (wire.closed) throw wire.error ?? new Error('closed');
    wire.handshake = JSON.parse((await wire.next(/^0\{/, 'the handshake')).slice(1));
    wire.frames.length = 0;
    return wire;
  }

  send(frame) {
    this.socket.send(frame);
  }

  /** Closes in an orderly way. */
  async close() {
    this.socket.close();
    await within(5000, this.ended, 'closing');
  }

  /** Drops the TCP connection. */
  cut() {
    this.socket.terminate();
  }
}

/** A client over HTTP long polling. */
export class PollingWire extends Wire {
  #queue = Promise.resolve();

  static async open(base, { headers } = {}) {
    const wire = new PollingWire();
    wire.base = base;
    wire.headers = headers;
    const reply = await fetch(endpoint(base, { transport: 'polling' }), { headers });
    const text = await reply.text();
    if (!reply.ok) throw new Error(`${reply.status} ${text}`);
    const [first, ...rest] = text.split(SEPARATOR);
    wire.handshake = JSON.parse(first.slice(1));
    wire.url = endpoint(base, { transport: 'polling', sid: wire.handshake.sid });
    rest.forEach((frame) => wire.receive(frame));
    wire.ended = wire.#poll();
    return wire;
  }

  async #poll() {
    while (!this.closed) {
      const reply = await fetch(this.url, { headers: this.headers }).catch(() => undefined);
      if (!reply?.ok) break;
      for (const frame of (await reply.text()).split(SEPARATOR)) {
        if (frame === '1') this.closed = true;
        else if (frame !== '' && frame !== '6') this.receive(frame);
      }
    }
    this.closed = true;
  }

  /** One POST after the other, as clients do; several frames go in one. */
  send(...frames) {
    const body = frames.join(SEPARATOR);
    this.#queue = this.#queue.then(() => fetch(this.url, { method: 'POST', body, headers: this.headers })).then(async (reply) => {
      this.posted = { status: reply.status, text: await reply.text() };
    }, () => { this.closed = true; });
    return this.#queue;
  }

  async close() {
    await this.send('1');
    await within(5000, this.ended, 'closing');
  }
}

export const TRANSPORTS = { websocket: WebSocketWire, polling: PollingWire };

/** Opens a connection and enters the namespace. */
export async function connect(base, { transport = 'websocket', namespace = NAMESPACE, ...options } = {}) {
  const wire = await TRANSPORTS[transport].open(base, options);
  await wire.enter(namespace);
  return wire;
}

/** Several clients, all in one room, that have seen each other come. */
export async function party(base, count, { room = 'party', ...options } = {}) {
  const wires = [];
  for (let index = 0; index < count; index += 1) wires.push(await (await connect(base, options)).join(room, { id: `id-${index}` }));
  for (const wire of wires) {
    await wire.settle();
    wire.frames.length = 0;
  }
  return wires;
}

export async function closeAll(...wires) {
  for (const wire of wires.flat()) {
    if (wire && !wire.closed) await wire.close().catch(() => {});
  }
}
