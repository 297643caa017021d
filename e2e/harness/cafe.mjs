// A room of native peers and pages, each on a host of its own, that talk while a scenario does things to the network.

import assert from 'node:assert/strict';
import { it } from 'node:test';

import { Browser } from './browser.mjs';
import { LinePeer } from './line-peer.mjs';
import { Network, PUBLIC, noNetworks } from './network.mjs';
import { Peer, everybodySees } from './peer.mjs';
import { eventually } from './process.mjs';
import { startServerOn } from './server.mjs';
import { Traffic } from './traffic.mjs';

const ROOM = 'table';
/** Within so many milliseconds a room has met, be the network as bad as it may. */
const MEETING = 60_000;
/** A recovery that takes longer than it may is waited for, to tell how long it takes. */
const PATIENCE = 60_000;

export class Cafe {
  network;
  server;
  /** The hosts of peers by their names, and that of the server. */
  hosts = {};
  serverHost;
  peers = [];
  traffic = new Traffic();
  #browsers = [];
  /** Recoveries that took too long. */
  #late = [];
  #note;

  constructor(note) {
    this.#note = note;
  }

  /**
   * Opens a room with a server, and so many native peers and pages in it, who talk. Two groups, by their names, may be
   * `apart`: from one to the other there is no way but the server's own relay.
   */
  async open({ natives = 4, pages = 2, delay = 0, loss = 0, apart } = {}) {
    this.network = await Network.create(apart && { subnet: PUBLIC });
    this.serverHost = await this.network.host('server');
    this.server = await startServerOn(this.serverHost, ...(apart ? ['--turn-listen', `${this.serverHost.address}:3478`] : []));
    const names = (kind, count) => Array.from({ length: count }, (_, at) => `${kind} ${at + 1}`);
    for (const name of [...names('native', natives), ...names('page', pages)]) await this.host(name);
    if (apart) await this.network.cut(...apart.map((group) => group.map((name) => this.hosts[name])));
    const browsers = await Promise.all(names('page', pages).map((name) => this.#browser(name)));
    await this.network.delay(delay);
    await this.network.loss(loss);
    await Promise.all([
      ...names('native', natives).map((name) => this.native(name)),
      ...browsers.map(({ browser, name }) => this.#page(browser, name)),
    ]);
    this.peers.sort((one, other) => one.name.localeCompare(other.name));
    await Promise.all(this.peers.map((peer) => peer.sid()));
    await this.everybodySees();
    await this.traffic.add(...this.peers);
    await this.traffic.flows(await this.traffic.mark(), MEETING);
  }

  async host(name) {
    this.hosts[name] ??= await this.network.host(name);
    return this.hosts[name];
  }

  /** Lets a native peer join, on a host of its own. */
  async native(name) {
    const peer = LinePeer.native(this.server.url, ROOM, { on: await this.host(name), name });
    this.peers.push(peer);
    return peer;
  }

  async #browser(name) {
    const browser = await Browser.launch('chromium', { on: await this.host(name) });
    this.#browsers.push(browser);
    return { browser, name };
  }

  async #page(browser, name) {
    this.peers.push(await Peer.open(browser, this.server.url, { name, rooms: [ROOM] }));
  }

  peer(name) {
    return this.peers.find((peer) => peer.name === name);
  }

  /** The hosts of these peers. */
  hostsOf(peers) {
    return peers.map(({ name }) => this.hosts[name]);
  }

  /** Waits until all see each other. */
  everybodySees() {
    return everybodySees(this.peers, MEETING);
  }

  /** Waits until all peers tell that their connection to the server is in a state. */
  async signallerBecomes(state, { peers = this.peers, within = 20_000 } = {}) {
    await Promise.all(peers.map((peer) => eventually(async () => {
      assert.deepEqual((await peer.told('signallerStateChanged')).at(-1), [state], peer.name);
    }, { within })));
  }

  /**
   * Heals something, and sees to it that messages flow again between all within so many milliseconds. If it takes
   * longer the scenario goes on, and fails in the end.
   */
  async recovers(what, bound, heal) {
    const mark = await this.traffic.mark();
    await heal();
    const took = await this.traffic.flows(mark, PATIENCE);
    const said = `${what}: messages flow again between all after ${seconds(took)}, of ${seconds(bound)} at the most`;
    this.#note(said);
    if (took > bound) this.#late.push(said);
  }

  /** Messages flow between all while something is done: everybody hears something new from everybody within so many milliseconds. */
  async flowsWhile(bound, act) {
    const mark = await this.traffic.mark();
    const [took] = await Promise.all([this.traffic.flows(mark, bound), act()]);
    return took;
  }

  /**
   * For so many milliseconds everybody hears something new from everybody again and again, as soon as it has to be, and
   * half of the times sooner.
   */
  async keepsFlowing(duration, { longest, median }) {
    const end = performance.now() + duration;
    const took = [];
    while (performance.now() < end) took.push(await this.traffic.flows(await this.traffic.mark(), PATIENCE));
    took.sort((one, other) => one - other);
    for (const [what, time, bound] of [['at the latest', took.at(-1), longest], ['as a rule', took[took.length >> 1], median]]) {
      const said = `something new came from everybody after ${seconds(time)} ${what}, of ${seconds(bound)} at the most`;
      this.#note(said);
      if (time > bound) this.#late.push(said);
    }
  }

  /**
   * Ends the talk: all see each other, nobody was told to have lost anybody but, at most once, between those who may and the
   * others, everything took no longer than it may, and every message is accounted for.
   */
  async ends({ mayLose = [] } = {}) {
    await this.everybodySees();
    const problems = [...this.#late];
    for (const peer of this.peers) {
      const { length } = await peer.told('disconnectFromPeer');
      const most = mayLose.includes(peer.name) ? this.peers.length - 1 : mayLose.length;
      if (length > most) problems.push(`${peer.name} was told ${length} times to have lost somebody, of ${most} at the most`);
    }
    const { findings, owed, received, undelivered, refused } = await this.traffic.account();
    this.#note(`${owed} messages: ${received} have come, ${undelivered} were told to be undelivered, ${refused} were refused`);
    assert.deepEqual([...problems, ...findings], []);
  }

  /** What each peer was told, for the message of a failure. */
  async story() {
    const lines = await Promise.all(this.peers.map(async (peer) => {
      const history = await peer.history().catch((error) => [error.message]);
      const events = history.filter((line) => !/"talk \d|"message"|"messageUndelivered"/.test(line));
      return `${peer.name}:\n  ${events.join('\n  ')}`;
    }));
    return lines.join('\n');
  }

  async close() {
    await this.traffic.stop();
    await Promise.all(this.#browsers.map((browser) => browser.kill()));
    await Promise.all(this.peers.filter((peer) => peer instanceof LinePeer).map((peer) => peer.kill()));
    await this.server?.kill();
    await this.network?.close();
  }
}

const seconds = (milliseconds) => `${(milliseconds / 1000).toFixed(1)} s`;

/** A test in a room of its own; skipped where there can be no networks. */
export function scenario(title, settings, act) {
  it(title, { skip: noNetworks(), timeout: 300_000 }, async (t) => {
    const cafe = new Cafe((note) => t.diagnostic(note));
    try {
      await cafe.open(settings);
      await act(cafe, t);
    } catch (error) {
      throw new Error(`${error.message}\n${await cafe.story()}`, { cause: error });
    } finally {
      await cafe.close();
    }
  });
}
