// A client in a page, as a test sees it.

import assert from 'node:assert/strict';

import { eventually } from './process.mjs';

/** What browsers say while their server is away. */
export const OUTAGE = /ERR_CONNECTION|NS_ERROR_|(WebSocket|establish a|interrupted while) connection to|was interrupted|RTCCafeError|cannot connect to the signaller/;

const MODULE = '/client/rtc-cafe-client.js';

export class Peer {
  constructor(page, name) {
    this.page = page;
    this.name = name;
  }

  /** Opens a page of the server and starts a client in it. */
  static async open(browser, base, settings = {}) {
    const page = await browser.open(`${base}/healthz`);
    return Peer.start(page, settings);
  }

  /** Starts a client in a page, which may have several. */
  static async start(page, { name = 'client', from = MODULE, ...settings } = {}) {
    const peer = new Peer(page, name);
    peer.first = await page.evaluate((name, settings) => kit.start(name, settings), name, { from, ...settings });
    return peer;
  }

  /** Runs a function in the page with the client as its first argument. What it gives comes back as JSON. */
  async run(call, ...args) {
    const json = await this.page.evaluate(
      async (name, call, args) => JSON.stringify(await (0, eval)(`(${call})`)(kit.clients[name], ...args) ?? null),
      this.name, call.toString(), args,
    );
    return JSON.parse(json);
  }

  /** What a call in the page gives or throws. */
  attempt(call, ...args) {
    return this.run((client, call, args) => kit.attempt(() => (0, eval)(`(${call})`)(client, ...args)), call.toString(), args);
  }

  look() {
    return this.run((_client, name) => kit.look(name), this.name);
  }

  /** The arguments of every event of a name so far. */
  told(event) {
    return this.run((_client, name, event) => kit.told(name, event), this.name, event);
  }

  /** The events of these names so far, in order: name and arguments. */
  events(...names) {
    return this.page.evaluate((name, names) => kit.events[name].filter(([event]) => names.includes(event)), this.name, names);
  }

  /** Every sid that it had, the present one last. */
  async sids() {
    return (await this.told('acquireSid')).map(([sid]) => sid);
  }

  /** The messages of a sender so far, each as JSON: on the way out of a page, lone surrogates would be lost. */
  messages(sender) {
    return this.page.evaluate((name, sender) => kit.events[name]
      .filter(([event, sid]) => event === 'message' && sid === sender)
      .map(([, , message]) => JSON.stringify(message)), this.name, sender);
  }

  /** The names of all events so far, in order. */
  history() {
    return this.page.evaluate((name) => kit.events[name].map((event) => JSON.stringify(event).slice(0, 200)), this.name);
  }

  /** Forgets the events so far. */
  forget() {
    return this.page.evaluate((name) => { kit.events[name].length = 0; }, this.name);
  }

  join(...rooms) {
    return this.run((client, rooms) => rooms.forEach((room) => client.joinRoom(room)), rooms);
  }

  leaveRoom(room) {
    return this.run((client, room) => client.leaveRoom(room), room);
  }

  send(message, to) {
    return this.run((client, message, to) => { client.sendMessage(message, to ?? undefined); }, message, to ?? null);
  }

  /** Sends every message of a JSON array. */
  sendJson(messages) {
    return this.run((client, messages) => JSON.parse(messages).forEach((message) => client.sendMessage(message)), messages);
  }

  /** Goes away in good order. */
  leave() {
    return this.page.close();
  }

  async sid() {
    const { sid } = await eventually(async () => {
      const look = await this.look();
      assert.notEqual(look.sid, 'unassigned');
      return look;
    });
    return sid;
  }

  /** Waits until the events of a name are exactly these. */
  async expect(event, expected, options) {
    try {
      await eventually(async () => assert.deepEqual(await this.told(event), expected), options);
    } catch (error) {
      error.message += `\nall events of ${this.name}:\n${(await this.history().catch(() => ['gone'])).join('\n')}`;
      throw error;
    }
  }

  /** Waits until these peers are connected, and no others. */
  sees(...others) {
    return this.seesWithin(20_000, others);
  }

  /** The same within so many milliseconds. */
  async seesWithin(within, others) {
    const sids = (await Promise.all(others.map((other) => other.sid()))).sort();
    try {
      await eventually(async () => {
        const { connectedPeers, discoveredPeers } = await this.look();
        assert.deepEqual({ connected: connectedPeers.sort(), discovered: discoveredPeers.sort() }, { connected: sids, discovered: sids });
      }, { within });
    } catch (error) {
      error.message += `\nall events of ${this.name}:\n${(await this.history().catch(() => ['gone'])).join('\n')}`;
      throw error;
    }
  }

  /** How the connection to a peer came about. */
  report(sid) {
    return this.run((client, sid) => client.getConnectionReport(sid), sid);
  }

  /** How many peer connections are open. */
  connections() {
    return this.page.evaluate(() => kit.connections.filter((connection) => connection.connectionState !== 'closed').length);
  }
}

/** Opens so many clients in pages of their own, in one room where nobody is yet, and waits until all see each other. */
export async function table(browser, base, count, settings = {}) {
  const peers = await Promise.all(Array.from({ length: count }, () => Peer.open(browser, base, { rooms: ['table'], ...settings })));
  await Promise.all(peers.map((peer) => peer.sid()));
  await everybodySees(peers);
  return peers;
}

export async function everybodySees(peers, within = 20_000) {
  await Promise.all(peers.map((peer) => peer.seesWithin(within, peers.filter((other) => other !== peer))));
}

/** Sends a message from one to others, and waits until it has come there, as the last of its sender. */
export async function delivers(from, message, ...to) {
  const sender = await from.sid();
  await from.send(message);
  for (const peer of to) {
    await eventually(async () => {
      const messages = (await peer.told('message')).filter(([sid]) => sid === sender);
      assert.deepEqual(messages.at(-1), [sender, message]);
    });
  }
}

/** Nothing was wrong in these pages, except what the test expects. */
export function assertClean(...pages) {
  const options = pages.at(-1) instanceof RegExp ? pages.pop() : /(?!)/;
  for (const { problems } of pages.map((page) => page.page ?? page)) {
    assert.deepEqual(problems.filter((problem) => !options.test(problem)), []);
  }
}

/** JSON of every kind, and a text of 256 KB. */
export async function everything(browser, server) {
  const page = await browser.open(`${server.url}/healthz`);
  const messages = JSON.parse(await page.evaluate(() => JSON.stringify(kit.everything())));
  return [...messages, '\u{1F980}'.repeat(64 * 1024)];
}

/** Sends messages at once from all peers to all others, and waits until they have come everywhere, in order. */
export async function exchange(messages, ...peers) {
  const wanted = messages.map((message) => JSON.stringify(message));
  await Promise.all(peers.map((peer) => peer.sendJson(JSON.stringify(messages))));
  for (const peer of peers) {
    for (const sender of peers.filter((other) => other !== peer)) {
      const sid = await sender.sid();
      const got = await eventually(async () => {
        const got = await peer.messages(sid);
        assert.ok(got.length >= wanted.length, `${got.length} of ${wanted.length} have come from ${sender.name} to ${peer.name}`);
        return got;
      }, { within: 30_000 });
      for (const [at, message] of wanted.entries()) {
        assert.ok(got[at] === message, `${sender.name} to ${peer.name}, ${at}: ${got[at].slice(0, 100)} and not ${message.slice(0, 100)}`);
      }
      assert.equal(got.length, wanted.length);
    }
  }
}

/** Nobody was connected more than once, nobody lost anybody, and no error was told but those that may be. */
export async function metOnce(peers, mayBeTold = []) {
  for (const peer of peers) {
    assert.equal((await peer.told('connectToPeer')).length, peers.length - 1);
    assert.deepEqual(await peer.told('disconnectFromPeer'), []);
    assert.deepEqual((await peer.told('error')).flat().filter((code) => !mayBeTold.includes(code)), []);
  }
}
