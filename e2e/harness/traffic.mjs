// Everybody talks to everybody all the time, and every message is accounted for.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import { eventually } from './process.mjs';
import { talker } from './talkers.mjs';

/** Milliseconds between two messages of a peer. */
const EVERY = 250;

export class Traffic {
  #talkers = new Map();

  /** Lets peers talk from now on. */
  async add(...peers) {
    await Promise.all(peers.map((peer) => {
      assert.ok(!this.#talkers.has(peer.name), `there are two peers ${peer.name}`);
      this.#talkers.set(peer.name, talker(peer));
      return this.#talkers.get(peer.name).start(EVERY);
    }));
  }

  /** The number of the last message of each of these peers, or of all. */
  async mark(peers = [...this.#talkers.values()].map(({ peer }) => peer)) {
    const states = await this.#states(peers.map(({ name }) => name));
    return Object.fromEntries(Object.entries(states).map(([name, { last }]) => [name, last]));
  }

  /** Waits until everybody has got something of everybody else that was sent after a mark; how long that took. */
  async flows(mark, within) {
    const start = performance.now();
    await eventually(async () => {
      const states = await this.#states(Object.keys(mark));
      const silent = pairs(Object.keys(mark)).filter(([from, to]) => !((states[to].heard[from] ?? 0) > mark[from]));
      assert.deepEqual(silent.map((pair) => pair.join(' to ')), [], 'nothing new comes');
    }, { within, every: 100 });
    return performance.now() - start;
  }

  /** Lets nobody talk any more, those included who can no longer be asked. */
  stop() {
    return Promise.allSettled([...this.#talkers.values()].map((talker) => talker.stop()));
  }

  /**
   * Ends the talk, and waits until every message has come once and in order to each recipient that was connected when it
   * was sent, or is told its sender to be undelivered; both only if it may have arrived. Gives what there was, and as
   * `findings` what is still wrong after some time.
   */
  async account(within = 20_000) {
    await this.stop();
    const deadline = Date.now() + within;
    for (;;) {
      const found = audit(await this.#each([...this.#talkers.keys()], (talker) => talker.report()));
      if (found.findings.length === 0 || Date.now() > deadline) return found;
      await sleep(500);
    }
  }

  #states(names) {
    return this.#each(names, (talker) => talker.state());
  }

  async #each(names, ask) {
    return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await ask(this.#talkers.get(name))])));
  }
}

const pairs = (names) => names.flatMap((from) => names.filter((to) => to !== from).map((to) => [from, to]));

/** What is wrong with these reports, by the names of the peers, and how many messages there were. */
export function audit(reports) {
  const owner = new Map(Object.entries(reports).flatMap(([name, { sids }]) => sids.map((sid) => [sid, name])));
  const tally = { owed: 0, received: 0, undelivered: 0, refused: 0, findings: [] };
  for (const { refused } of Object.values(reports)) tally.refused += refused.length;
  for (const [from, to] of pairs(Object.keys(reports))) {
    const { sent, undelivered } = reports[from];
    const received = reports[to].received.filter(([sender]) => sender === from).map(([, n]) => n);
    const told = undelivered.filter(([sid]) => owner.get(sid) === to);
    const isHim = (sids) => sids.some((sid) => owner.get(sid) === to);
    tally.received += received.length;
    tally.undelivered += told.length;
    received.forEach((n, at) => {
      if (at > 0 && n <= received[at - 1]) tally.findings.push(`${from} to ${to}: ${n} comes after ${received[at - 1]}`);
    });
    const came = new Set(received);
    const findings = new Map();
    for (const { n, to: sids, before = sids } of sent) {
      const owed = isHim(sids) && isHim(before);
      if (owed) tally.owed += 1;
      const finding = fate(came.has(n), told.filter(([, number]) => number === n), owed);
      if (finding) findings.set(finding, [...findings.get(finding) ?? [], n]);
    }
    for (const [finding, numbers] of findings) tally.findings.push(`${from} to ${to}: ${spans(numbers)} ${finding}`);
  }
  return tally;
}

/** Ascending numbers for people: 1-3, 5. */
function spans(numbers) {
  const spans = [];
  for (const n of numbers) {
    if (spans.at(-1)?.[1] === n - 1) spans.at(-1)[1] = n;
    else spans.push([n, n]);
  }
  return spans.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(', ');
}

/** What is wrong with one message to one recipient. */
function fate(came, told, owed) {
  if (told.length > 1) return 'is told to be undelivered more than once';
  const [[, , mayHaveArrived] = []] = told;
  if (came && told.length === 1 && !mayHaveArrived) return 'has come, and is told not to have arrived';
  if (!came && told.length === 0 && owed) return 'has neither come nor is told to be undelivered';
  return undefined;
}
