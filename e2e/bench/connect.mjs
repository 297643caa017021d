// From joining a room until the first messages, in round trips, between hosts that are far from each other; prints JSON.
// node bench/connect.mjs RUNS [relay], with a server that names no ICE servers, or its own

import { setTimeout as sleep } from 'node:timers/promises';

import { Browser } from '../harness/browser.mjs';
import { Network, noNetworks } from '../harness/network.mjs';
import { eventually } from '../harness/process.mjs';
import { binary, startServerOn } from '../harness/server.mjs';

/** Milliseconds from any host to any other. */
const DELAY = 50;
/** Milliseconds in which whoever has nothing to do gets ready for the next newcomer. */
const IDLE = 300;
const ROOMS = [2, 8];
const PATIENCE = { within: 30_000, every: 20 };
/** How often the start of the program is measured, which is no part of a cold start. */
const STARTS = 7;
/** How often a round trip is measured before each way to join: TCP needs one until it is connected. */
const ROUND_TRIPS = 15;

const runs = Number(process.argv[2]);
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)];

/** A client in a page that greets everybody it gets connected to. */
class PageEnd {
  static async prepare({ browser, url }) {
    const end = new PageEnd();
    end.page = await browser.open(`${url}/healthz`, { kit: false });
    await end.page.evaluate(async () => {
      const { RTCCafeClient } = await import('/client/rtc-cafe-client.js');
      globalThis.bench = { heard: {}, lost: [] };
      bench.start = () => {
        bench.client = new RTCCafeClient();
        bench.client.on('connectToPeer', (sid) => bench.client.sendMessage('hello', sid));
        bench.client.on('message', (sid) => { bench.heard[sid] ??= Date.now(); });
        bench.client.on('disconnectFromPeer', (sid) => bench.lost.push(sid));
      };
    });
    return end;
  }

  /** Connects to the server, and to no room yet. */
  start() {
    return this.page.evaluate(() => bench.start());
  }

  /** Joins, with the connection to the server if it is not there yet; gives the time of the beginning. */
  join(room) {
    return this.page.evaluate((room) => {
      const now = Date.now();
      if (!bench.client) bench.start();
      bench.client.joinRoom(room);
      return now;
    }, room);
  }

  look() {
    return this.page.evaluate(() => ({ sid: bench.client.sid, heard: bench.heard, lost: bench.lost }));
  }

  leave() {
    return this.page.browserContext().close();
  }
}

/** The same in a process of its own. */
class NativeEnd {
  #heard = {};
  #lost = [];
  #sid = 'unassigned';

  static async prepare({ host, url, startTime }) {
    return Object.assign(new NativeEnd(), { host, url, startTime });
  }

  async start() {
    this.#run();
  }

  async join(room) {
    const now = Date.now();
    if (this.program) {
      this.program.write(JSON.stringify({ op: 'joinRoom', room }));
      return now;
    }
    this.#run(room);
    return now + this.startTime;
  }

  #run(...room) {
    this.program = this.host.spawn(binary(), ['join', ...room, '--json', '--server', this.url]);
    this.program.onLine((line) => {
      // It may log something as well.
      if (!line.startsWith('{"')) return;
      const { event, sid, sender } = JSON.parse(line);
      if (event === 'acquireSid') this.#sid = sid;
      if (event === 'connectToPeer') this.program.write(JSON.stringify({ op: 'sendMessage', message: 'hello', peerSids: [sid] }));
      if (event === 'message') this.#heard[sender] ??= Date.now();
      if (event === 'disconnectFromPeer') this.#lost.push(sid);
    });
  }

  async look() {
    return { sid: this.#sid, heard: this.#heard, lost: this.#lost };
  }

  leave() {
    this.program.closeInput();
    return this.program.exited;
  }
}

/** Waits until what an end looks like is as it should be. */
const until = (end, what, is) => eventually(async () => {
  const look = await end.look();
  if (!is(look)) throw new Error(`${what}: ${JSON.stringify(look)}`);
  return look;
}, PATIENCE);

const assigned = (end) => until(end, 'there is no sid', ({ sid }) => sid !== 'unassigned');

/** Opens so many ends that are in a room and know each other; gives them and their sids. */
async function gather(kind, where, count, room) {
  const ends = await Promise.all(Array.from({ length: count }, () => kind.prepare(where)));
  await Promise.all(ends.map((end) => end.join(room)));
  const sids = (await Promise.all(ends.map(assigned))).map(({ sid }) => sid);
  await Promise.all(ends.map((end) => until(end, 'the room has not met', ({ heard }) => Object.keys(heard).length === count - 1)));
  return { ends, sids, room };
}

/** Milliseconds until a newcomer and everybody in the room have got each other's first message. */
async function run(members, kind, where, start) {
  const newcomer = await kind.prepare(where);
  if (start === 'warm') {
    await newcomer.start();
    await assigned(newcomer);
  }
  await sleep(IDLE);
  const began = await newcomer.join(members.room);
  const { sid, heard } = await until(newcomer, 'not all have greeted', ({ heard }) => members.sids.every((sid) => sid in heard));
  const looks = await Promise.all(members.ends.map((end) => until(end, 'the newcomer has not greeted', ({ heard }) => sid in heard)));
  const last = Math.max(...members.sids.map((member) => heard[member]), ...looks.map((look) => look.heard[sid]));
  await newcomer.leave();
  await Promise.all(members.ends.map((end) => until(end, 'the newcomer has not left', ({ lost }) => lost.includes(sid))));
  return last - began;
}

/** Every way to join a room of these members. */
async function measure(figures, memberKind, size, places) {
  const members = await gather(KINDS[memberKind], places.members, size - 1, `${memberKind} ${size}`);
  for (const kind of Object.keys(KINDS)) {
    for (const start of ['cold', 'warm']) {
      const key = `${memberKind}_${kind}_${start}_${size}`;
      // The first run finds out where hosts are, and is not counted.
      await run(members, KINDS[kind], places.newcomer, start);
      const unit = await roundTrip(places.newcomer);
      figures[key] = [];
      for (let at = 0; at < runs; at += 1) figures[key].push(await run(members, KINDS[kind], places.newcomer, start) / unit);
      console.error(`${key}: ${figures[key].map((value) => value.toFixed(1)).join(' ')} round trips of ${unit.toFixed(1)} ms`);
    }
  }
  await Promise.all(members.ends.map((end) => end.leave()));
}

/** Milliseconds from a host to the server and back: the delay, and what the machine adds to it. */
async function roundTrip({ host, url }) {
  const { hostname, port } = new URL(url);
  const program = host.spawn(process.execPath, ['--eval', `
    const times = [];
    const measure = () => {
      const now = performance.now();
      const socket = require('node:net').connect(${port}, '${hostname}', () => {
        times.push(performance.now() - now);
        socket.destroy();
        if (times.length < ${ROUND_TRIPS}) measure(); else console.log(JSON.stringify(times));
      });
    };
    measure();
  `]);
  const times = new Promise((resolve) => { program.onLine(resolve); });
  await program.exited;
  return median(JSON.parse(await times));
}

/** Milliseconds until the program runs on a host. */
async function startTime(host) {
  const times = [];
  for (let at = 0; at < STARTS; at += 1) {
    const now = performance.now();
    await host.spawn(binary(), ['--version']).exited;
    times.push(performance.now() - now);
  }
  return median(times);
}

const KINDS = { browser: PageEnd, native: NativeEnd };

const missing = noNetworks();
if (missing) {
  console.error(missing);
  process.exit(1);
}
const network = await Network.create();
const serverHost = await network.host('server');
const relay = process.argv[3] === 'relay' ? ['--turn-listen', `${serverHost.address}:3478`, '--turn-allow-peer', '10.77.0.0/16'] : [];
const server = await startServerOn(serverHost, ...relay);
const places = {};
try {
  for (const name of ['members', 'newcomer']) {
    const host = await network.host(name);
    places[name] = { host, url: server.url, startTime: await startTime(host), browser: await Browser.launch('chromium', { on: host }) };
  }
  await network.delay(DELAY);
  const figures = {};
  for (const kind of Object.keys(KINDS)) for (const size of ROOMS) await measure(figures, kind, size, places);
  console.log(JSON.stringify(figures));
} finally {
  await Promise.all(Object.values(places).map(({ browser }) => browser.kill()));
  await server.kill();
  await network.close();
}
