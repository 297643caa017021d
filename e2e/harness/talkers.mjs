// Peers that talk all the time, in pages and in processes: both tell the same of it.

import { LinePeer, follow } from './line-peer.mjs';

/** What a process tells of its connections may come so much later than the result of what it sent, in milliseconds. */
const LAG = 200;

export const talker = (peer) => (peer instanceof LinePeer ? new LineTalker(peer) : new PageTalker(peer));

/** In a page; see the talk kit. */
class PageTalker {
  constructor(peer) {
    this.peer = peer;
  }

  start(every) {
    return this.peer.page.evaluate((name, every) => kit.talk(name, every), this.peer.name, every);
  }

  stop() {
    return this.peer.page.evaluate((name) => kit.hush(name), this.peer.name);
  }

  state() {
    return this.peer.page.evaluate((name) => kit.talkState(name), this.peer.name);
  }

  async report() {
    const report = await this.peer.page.evaluate((name) => kit.talkReport(name), this.peer.name);
    return { ...report, sids: [this.peer.first.sid, ...report.sids] };
  }
}

/** In a process that speaks JSON lines. */
class LineTalker {
  #last = 0;
  #before = new Map();
  #timer;

  constructor(peer) {
    this.peer = peer;
  }

  async start(every) {
    this.#timer = setInterval(() => {
      const connected = this.#connected();
      if (connected.length === 0) return;
      const n = this.#last += 1;
      this.#before.set(n, connected);
      this.peer.op('sendMessage', { message: { from: this.peer.name, n }, call: `talk ${n}` });
    }, every);
  }

  async stop() {
    clearInterval(this.#timer);
  }

  async state() {
    const heard = {};
    for (const { from, n } of this.#messages()) heard[from] = n;
    return { last: this.#last, heard };
  }

  async report() {
    const { story } = this.peer;
    const sent = [];
    const refused = [];
    const connected = new Set();
    for (const [at, [told, time]] of story.entries()) {
      follow(connected, told);
      if (!`${told.call}`.startsWith('talk ')) continue;
      const n = Number(told.call.slice(5));
      if (told.event === 'error') refused.push([n, told.code]);
      else {
        // Seen from outside, it went for sure to those who were connected before and after it.
        const gone = lost(story.slice(at), time);
        sent.push({ n, before: this.#before.get(n), to: [...connected].filter((sid) => !gone.includes(sid)) });
      }
    }
    const told = (event) => story.filter(([told]) => told.event === event).map(([told]) => told);
    return {
      sent,
      refused,
      received: this.#messages().map(({ from, n }) => [from, n]),
      undelivered: told('messageUndelivered').map(({ sid, message, mayHaveArrived }) => [sid, message.n, mayHaveArrived]),
      sids: told('acquireSid').map(({ sid }) => sid),
    };
  }

  #messages() {
    return this.peer.story.filter(([told]) => told.event === 'message' && told.message?.from).map(([{ message }]) => message);
  }

  #connected() {
    const connected = new Set();
    for (const [told] of this.peer.story) follow(connected, told);
    return [...connected];
  }
}

/** Sids that a process tells just afterwards to be there no more. */
function lost(story, time) {
  const soon = story.filter(([, later]) => later - time < LAG).map(([told]) => told);
  return soon.filter(({ event }) => event === 'disconnectFromPeer').map(({ sid }) => sid);
}

