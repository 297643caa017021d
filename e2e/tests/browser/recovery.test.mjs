// What connections survive: lost paths, peers that are killed, pages that sleep, servers that are away.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { BROWSER, Browser } from '../../harness/browser.mjs';
import { OUTAGE, Peer, assertClean, delivers, everybodySees, table } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';

let server;
let browser;
before(async () => { [server, browser] = await Promise.all([startServer(), Browser.launch()]); });
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

/** Sends numbers, one after the other, until told to stop; gives what was sent. */
async function talk(peer) {
  await peer.run((client) => {
    const talk = { sent: 0 };
    talk.timer = setInterval(() => client.sendMessage(talk.sent++), 20);
    kit.talk = talk;
  });
  return () => peer.run(() => {
    clearInterval(kit.talk.timer);
    return kit.talk.sent;
  });
}

/** Every number has come from a peer, once, and in order. */
async function heard(peer, count, sid) {
  const numbers = async () => (await peer.told('message')).filter(([sender, message]) => sender === sid && typeof message === 'number').map(([, number]) => number);
  await eventually(async () => assert.ok((await numbers()).length >= count), { within: 30_000 });
  assert.deepEqual(await numbers(), [...Array(count).keys()]);
}

describe('a room', () => {
  const disconnected = (peer) => peer.told('disconnectFromPeer');

  it('that is left is left for those who share no other one', async () => {
    const a = await Peer.open(browser, server.url, { rooms: ['kitchen', 'garden'] });
    const b = await Peer.open(browser, server.url, { rooms: ['kitchen', 'garden'] });
    const cook = await Peer.open(browser, server.url, { rooms: ['kitchen'] });
    for (const [peer, ...others] of [[a, b, cook], [b, a, cook], [cook, a, b]]) await peer.sees(...others);
    const [sid, cookSid] = [await a.sid(), await cook.sid()];
    const before = await a.connections();

    await a.run((client) => { client.leaveRoom('kitchen'); });
    await cook.expect('disconnectFromPeer', [[sid]], { within: 15_000 });
    await a.expect('disconnectFromPeer', [[cookSid]], { within: 15_000 });
    await cook.sees(b);
    await a.sees(b);
    await b.sees(a, cook);
    await delivers(a, 'still in the garden', b);
    assert.deepEqual([await disconnected(b), await a.connections()], [[], before - 1]);

    await a.run((client) => { client.leaveRoom('garden'); });
    await b.expect('disconnectFromPeer', [[sid]], { within: 15_000 });
    await a.sees();
    assert.equal((await a.look()).state, 'connected');

    await a.join('kitchen');
    for (const [peer, ...others] of [[a, b, cook], [b, a, cook], [cook, a, b]]) await peer.sees(...others);
    await delivers(a, 'back', b, cook);
    assertClean(a, b, cook);
  });

  it('that is left during an outage is left, and not joined after it', async () => {
    const [a, b] = await table(browser, server.url, 2);
    const sid = await a.sid();
    await server.kill();
    for (const peer of [a, b]) await eventually(async () => assert.equal((await peer.look()).state, 'reconnecting'));
    await a.run((client) => { client.leaveRoom('table'); });
    await b.expect('disconnectFromPeer', [[sid]], { within: 15_000 });
    await server.restart();
    for (const peer of [a, b]) await eventually(async () => assert.equal((await peer.look()).state, 'connected'));
    await a.sees();
    await b.sees();
  });

  it('is not left by a client alone whose signaller others use', async () => {
    const [other] = await table(browser, server.url, 1);
    const one = await Peer.open(browser, server.url, { rooms: ['table'], signaller: {} });
    await everybodySees([one, other]);
    await one.run((client) => { client.close(); });
    await other.sees();
    assert.equal(await one.run((client) => client.signaller.state), 'connected');
  });
});

it('messages to a peer that is killed are told to be undelivered, each with its peer', async () => {
  const doomed = await Browser.launch();
  try {
    const [a, b] = await table(browser, server.url, 2);
    const c = await Peer.open(doomed, server.url, { rooms: ['table'] });
    await everybodySees([a, b, c]);
    const [sid, other] = [await c.sid(), await b.sid()];
    await delivers(a, 'before', b, c);
    await sleep(500);
    // Nobody is there to confirm what comes now.
    await c.page.evaluate(() => kit.connections.forEach((connection) => { connection.close = () => {}; }));
    await doomed.kill();
    await a.send({ to: 'all' });
    await a.send(['to it'], sid);
    await a.expect('disconnectFromPeer', [[sid]], { within: 45_000 });
    await eventually(async () => {
      const told = await a.told('messageUndelivered');
      assert.deepEqual(told.map(([sid, message]) => [sid, message]), [[sid, { to: 'all' }], [sid, ['to it']]]);
      assert.ok(told.every(([, , mayHaveArrived]) => typeof mayHaveArrived === 'boolean'));
    }, { within: 70_000 });
    assert.deepEqual((await b.told('message')).filter(([sender]) => sender !== other).map(([, message]) => message), ['before', { to: 'all' }]);
    assert.deepEqual(await a.told('error'), []);
  } finally {
    await doomed.close();
  }
});

describe('a handshake over a mutual peer', () => {
  /** A newcomer whose signals to all but one peer get lost, and whose peers' signals to it as well. */
  async function secluded(friend, settings = {}) {
    const page = await browser.open(`${server.url}/healthz`);
    await page.evaluate((friend) => {
      const about = (data) => /^42[^[]*\["(offer|answer|candidate)"/.test(data) && !data.includes(friend);
      const { send } = WebSocket.prototype;
      WebSocket.prototype.send = function (data) { return about(String(data)) ? undefined : send.call(this, data); };
      // The page kit's own class lies between.
      const onmessage = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(WebSocket.prototype), 'onmessage');
      Object.defineProperty(WebSocket.prototype, 'onmessage', {
        ...onmessage,
        set(handler) { onmessage.set.call(this, (event) => (about(String(event.data)) ? undefined : handler.call(this, event))); },
      });
    }, friend);
    return Peer.start(page, { rooms: ['table'], ...settings });
  }

  it('connects who can reach only one of them by the server', async () => {
    const [a, b, c] = await table(browser, server.url, 3);
    const newcomer = await secluded(await a.sid());
    await everybodySees([a, b, c, newcomer]);
    await delivers(newcomer, 'hello', a, b, c);
    const routes = await Promise.all([a, b, c].map(async (peer) => (await newcomer.report(await peer.sid())).route));
    assert.deepEqual(routes, ['server', 'peer', 'peer']);
  });

  it('connects who is connected to one of them while there is no server any more', async () => {
    const [a, b] = await table(browser, server.url, 2);
    const newcomer = await secluded(await a.sid(), { options: { enableWebRTCHandshake: true }, rooms: [] });
    await newcomer.sid();
    await newcomer.join('table');
    await eventually(async () => assert.ok((await newcomer.look()).connectedPeers.includes(await a.sid())));
    await server.kill();
    try {
      await everybodySees([a, b, newcomer]);
      await delivers(newcomer, 'hello', a, b);
    } finally {
      await server.restart();
    }
  });

  it('is not made where enableWebRTCHandshake is false', async () => {
    const [a, b] = await table(browser, server.url, 2);
    const newcomer = await secluded(await a.sid(), { options: { enableWebRTCHandshake: false } });
    assert.equal(await newcomer.run((client) => client.enableWebRTCHandshake), false);
    const sid = await newcomer.sid();
    await eventually(async () => assert.deepEqual((await newcomer.look()).connectedPeers, [await a.sid()]));
    await sleep(6000);
    assert.deepEqual((await newcomer.look()).connectedPeers, [await a.sid()]);
    assert.equal((await b.look()).connectedPeers.includes(sid), false);
  });
});

describe('a connection', () => {
  it('that dies on one side is made anew, and no message is lost', async () => {
    const [a, b] = await table(browser, server.url, 2);
    const sids = [await a.sid(), await b.sid()];
    const stops = [await talk(a), await talk(b)];
    for (const peer of [a, b]) {
      await sleep(700);
      await peer.run(() => { kit.connections.at(-1).close(); });
      await eventually(async () => {
        const { phase, attempts } = await peer.report(sids[peer === a ? 1 : 0]);
        assert.equal(phase, 'open');
        assert.ok(attempts > (peer === a ? 1 : 2), `${attempts}`);
      }, { within: 40_000 });
    }
    await sleep(500);
    const counts = await Promise.all(stops.map((stop) => stop()));
    await heard(b, counts[0], sids[0]);
    await heard(a, counts[1], sids[1]);
    for (const peer of [a, b]) {
      assert.deepEqual([await peer.told('disconnectFromPeer'), await peer.told('messageUndelivered'), await peer.told('error')], [[], [], []]);
      assert.equal((await peer.told('connectToPeer')).length, 1);
    }
    assertClean(a, b);
  });

  it('is looked after when the network changes, and no message is lost', async () => {
    const [a, b] = await table(browser, server.url, 2);
    const sids = [await a.sid(), await b.sid()];
    const stops = [await talk(a), await talk(b)];
    for (const peer of [a, b, a]) {
      await sleep(500);
      await peer.page.evaluate(() => dispatchEvent(new Event('online')));
    }
    for (const page of [a.page, b.page]) await page.evaluate(() => dispatchEvent(new Event('online')));
    await eventually(async () => {
      // On a busy machine a restart may take too long, and the connection is replaced; nothing is lost by that either.
      const { restarts, phase, failure } = await a.report(sids[1]);
      assert.equal(phase, 'open', failure);
      assert.ok(restarts + (await b.report(sids[0])).restarts > 0);
    }, { within: 30_000 });
    await sleep(2000);
    const counts = await Promise.all(stops.map((stop) => stop()));
    await heard(b, counts[0], sids[0]);
    await heard(a, counts[1], sids[1]);
    for (const peer of [a, b]) assert.deepEqual([await peer.told('disconnectFromPeer'), await peer.told('error')], [[], []]);
    const { attempts, failure } = await a.report(sids[1]);
    assert.ok(attempts === 1 || failure, `there were ${attempts} connections, and nothing was wrong with the first`);
  });
});

it('a page that sleeps for a while is not taken for dead, and gets everything when it wakes up', { skip: BROWSER !== 'chromium' && 'only Chromium can be told to' }, async () => {
  const [a, b, c] = await table(browser, server.url, 3);
  const other = await a.sid();
  const stop = await talk(a);
  await sleep(500);
  const session = await b.page.createCDPSession();
  await session.send('Page.setWebLifecycleState', { state: 'frozen' });
  await c.page.evaluate(() => dispatchEvent(new Event('resume')));
  await sleep(20_000);
  await session.send('Page.setWebLifecycleState', { state: 'active' });
  const count = await stop();
  await heard(b, count, other);
  for (const peer of [a, b, c]) {
    assert.deepEqual([await peer.told('disconnectFromPeer'), await peer.told('messageUndelivered'), await peer.told('error')], [[], [], []], peer.name);
  }
  // Chromium takes its websocket from a page that sleeps, so it may have another sid by now.
  await everybodySees([a, b, c]);
  await delivers(b, 'good morning', a, c);
  assertClean(a, b, c, OUTAGE);
});

it('a client that fails by a fault of its own says so, and is missed', async () => {
  const [a] = await table(browser, server.url, 1);
  const page = await browser.open(`${server.url}/healthz`);
  await page.evaluate(() => {
    const { Instance } = WebAssembly;
    WebAssembly.Instance = function (...args) {
      const { exports } = new Instance(...args);
      let client;
      return {
        exports: {
          ...exports,
          machine_new: (...args) => {
            const machine = exports.machine_new(...args);
            client ??= machine;
            return machine;
          },
          machine_poll: (machine) => {
            if (kit.broken && machine === client) throw new WebAssembly.RuntimeError('unreachable');
            return exports.machine_poll(machine);
          },
        },
      };
    };
  });
  const b = await Peer.start(page, { rooms: ['table'] });
  await everybodySees([a, b]);
  const sid = await b.sid();
  await page.evaluate(() => { kit.broken = true; });
  await a.send('hello');
  await b.expect('error', [['INTERNAL']]);
  await a.expect('disconnectFromPeer', [[sid]], { within: 15_000 });
  await eventually(async () => assert.equal(await b.connections(), 0));
  assert.equal((await b.attempt((client) => client.joinRoom('x'))).code, 'INTERNAL');
});
