// The client's API as its README has it: construction, properties, events, options.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';

import { Browser } from '../../harness/browser.mjs';
import { Peer, assertClean, delivers, everybodySees, table } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';
import { connect } from '../../harness/wire.mjs';

const ICE = ['stun:127.0.0.1:3478', 'stun:127.0.0.1:3479'];

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([startServer(...ICE.flatMap((url) => ['--ice-server', url])), Browser.launch()]);
});
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

const urls = (page, at) => page.evaluate((at) => kit.connections[at].getConfiguration().iceServers.flatMap((each) => each.urls), at);
const sentSignals = (page) => page.evaluate(() => kit.sent
  .filter((frame) => /^4[02]\/rtc-cafe,/.test(frame))
  .flatMap((frame) => {
    const content = JSON.parse(frame.slice('42/rtc-cafe,'.length));
    // The first ones go with CONNECT.
    return frame.startsWith('40') ? content.signals : [content];
  }));

it('after the import everything is there at once', async () => {
  const page = await browser.open(`${server.url}/healthz`);
  const seen = await page.evaluate(async () => {
    const { RTCCafeClient, RTCCafeSignallingClient, LATEST_API_VERSION } = await import('/client/rtc-cafe-client.js');
    const rtcConfig = { iceTransportPolicy: 'all', iceServers: [] };
    const client = new RTCCafeClient(rtcConfig);
    const signaller = new RTCCafeSignallingClient();
    const { apiVersion, sid, permanentId, connectedPeers, discoveredPeers, state } = client;
    return {
      LATEST_API_VERSION, apiVersion, sid, connectedPeers, discoveredPeers, state,
      permanentId: typeof permanentId === 'string' && permanentId.length >= 16 && permanentId === client.permanentId,
      rtcConfig: client.rtcConfig === rtcConfig,
      handshake: [client.enableWebRTCHandshake, new RTCCafeClient(null, { signaller, enableWebRTCHandshake: false }).enableWebRTCHandshake],
      signaller: { apiVersion: signaller.apiVersion, sid: signaller.sid, state: signaller.state, signalModifier: signaller.signalModifier },
      returns: [client.joinRoom('x'), client.on('message', () => {}), client.off('message', null), client.sendMessage(1)],
    };
  });
  assert.deepEqual(seen, {
    LATEST_API_VERSION: '1.0', apiVersion: '1.0', sid: 'unassigned', connectedPeers: [], discoveredPeers: [], state: 'setup',
    permanentId: true, rtcConfig: true, handshake: [true, false],
    signaller: { apiVersion: '1.0', sid: 'unassigned', state: 'setup', signalModifier: null },
    returns: [null, null, null, null],
  });
  assertClean(page);
});

it('what names no room is refused', async () => {
  const [a] = await table(browser, server.url, 1);
  for (const room of ["''", 'null', 'undefined', 'true', '[]', '{}', 'NaN', 'Infinity', "'x'.repeat(300)"]) {
    const result = await a.attempt((client, room) => client.joinRoom((0, eval)(`(${room})`)), room);
    assert.deepEqual([result.isError, result.name, result.code], [true, 'RTCCafeError', 'INVALID_ROOM'], room);
  }
  assertClean(a);
});

describe('event handlers', () => {
  it('off detaches one, all of an event, or all', async () => {
    const [a] = await table(browser, server.url, 1);
    const calls = await a.run(async (client) => {
      const calls = [];
      const log = (name) => (...args) => { calls.push([name, ...args]); };
      const [one, two, three] = [log('one'), log('two'), log('three')];
      const on = () => {
        client.on('message', one);
        client.on('message', two);
        client.on('connectToPeer', three);
      };
      const fire = async (label) => {
        calls.push(label);
        await client.triggerHandler('message', 'sid', { x: 1 });
        await client.triggerHandler('connectToPeer', 'sid');
      };
      client.off(null);
      on();
      await fire('all');
      client.off('message', one);
      await fire('without one');
      client.off('message', null);
      await fire('without messages');
      on();
      client.off('message');
      await fire('without messages, again');
      client.off(null, null);
      await fire('none');
      client.off('message', one);
      client.off('never registered');
      return calls;
    });
    const message = ['sid', { x: 1 }];
    assert.deepEqual(calls, [
      'all', ['one', ...message], ['two', ...message], ['three', 'sid'],
      'without one', ['two', ...message], ['three', 'sid'],
      'without messages', ['three', 'sid'],
      'without messages, again', ['three', 'sid'],
      'none',
    ]);
  });

  it('triggerHandler waits for async handlers, and tells their failure', async () => {
    const [a] = await table(browser, server.url, 1);
    const seen = await a.run(async (client) => {
      const seen = [];
      client.off(null);
      client.on('message', async (sender, message) => {
        await new Promise((resolve) => { setTimeout(resolve, 50); });
        seen.push(['slow', sender, message]);
      });
      client.on('message', () => { seen.push('quick'); });
      const promise = client.triggerHandler('message', 'me', 5);
      seen.push(promise instanceof Promise);
      seen.push(await promise);
      seen.push(await client.triggerHandler('nobody-listens'));
      client.on('message', async () => { throw new Error('of a handler'); });
      seen.push(await client.triggerHandler('message', 'me', 6).catch((error) => error.message));
      return seen;
    });
    assert.deepEqual(seen, ['quick', true, ['slow', 'me', 5], null, null, 'quick', ['slow', 'me', 6], 'of a handler']);
    assertClean(a);
  });

  it('a handler that throws hinders nobody', async () => {
    const [a, b] = await table(browser, server.url, 2);
    await b.run((client) => {
      client.off(null);
      client.on('message', () => { throw new Error('clumsy'); });
      client.on('message', (...args) => kit.events.client.push(['message', ...args]));
    });
    await delivers(a, 'first', b);
    await delivers(a, 'second', b);
    await eventually(() => assert.deepEqual(b.page.problems.map((problem) => /clumsy/.test(problem)), [true, true]));
  });
});

describe('RTCCafeSignallingClient', () => {
  it('tells every signal by its event, its sid, and both', async () => {
    const [a] = await table(browser, server.url, 1);
    await a.run((client) => {
      kit.signals = [];
      for (const name of ['message', 'message.acquire-peers', 'message.offer', 'message.peer-disconnection']) {
        client.signaller.on(name, (...args) => kit.signals.push([name, ...args]));
      }
      client.signaller.on('message.acquire-peers', ({ sid }) => {
        for (const name of [`message.${sid}`, `message.candidate.${sid}`]) client.signaller.on(name, (...args) => kit.signals.push([name, ...args]));
      });
    });
    const other = await connect(server.url);
    other.emit('join', { room: 'table', id: 'raw' });
    const sid = await a.sid();
    await other.expect('acquire-peers-response');
    other.emit('candidate', { recipient: sid, candidate: null, connection: 1, negotiation: 1 });
    await other.close();
    const seen = await eventually(async () => {
      // What the client itself sends to who has just gone may be refused.
      const signals = (await a.run(() => kit.signals)).filter(([, event]) => event !== 'error');
      assert.ok(signals.some(([name]) => name === 'message.peer-disconnection'));
      return signals;
    });
    const announcement = { id: 'raw', sid: other.sid, prevSid: null, room: 'table' };
    const candidate = { id: 'raw', sid: other.sid, recipient: sid, candidate: null, connection: 1, negotiation: 1 };
    const gone = { sid: other.sid };
    const of = (wanted) => seen.filter(([name]) => name === wanted).map(([, ...args]) => args);
    assert.deepEqual(of('message'), [['acquire-peers', announcement], ['candidate', candidate], ['peer-disconnection', gone]]);
    assert.deepEqual(of('message.acquire-peers'), [[announcement]]);
    assert.deepEqual(of('message.offer'), []);
    assert.deepEqual(of(`message.candidate.${other.sid}`), [[candidate]]);
    assert.deepEqual(of('message.peer-disconnection'), [[gone]]);
    const bySid = of(`message.${other.sid}`);
    assert.deepEqual(bySid.slice(-2), [['candidate', candidate], ['peer-disconnection', gone]]);
  });

  it('signalModifier adds a field that reaches the wire, and may be async', async () => {
    const page = await browser.open(`${server.url}/healthz`);
    await page.evaluate(async () => {
      const { RTCCafeClient, RTCCafeSignallingClient } = await import('/client/rtc-cafe-client.js');
      const signaller = new RTCCafeSignallingClient({
        signalModifier: async (name, payload) => {
          await null;
          return { ...payload, csrf: `token for ${name}` };
        },
      });
      kit.clients.client = new RTCCafeClient(null, { signaller });
      kit.events.client = [];
      kit.clients.client.joinRoom('table');
    });
    const a = new Peer(page, 'client');
    const b = await Peer.open(browser, server.url, { rooms: ['table'] });
    await everybodySees([a, b]);
    const signals = await sentSignals(page);
    for (const [name, payload] of signals) assert.equal(payload.csrf, `token for ${name}`);
    const names = new Set(signals.map(([name]) => name));
    for (const name of ['request-sid', 'join']) assert.ok(names.has(name), name);
    assert.ok(['hold', 'offer', 'answer', 'candidate'].some((name) => names.has(name)), [...names].join());
  });

  it('sendSignal sends what it is given; states and disconnect', async () => {
    const [a] = await table(browser, server.url, 1);
    const b = await (await connect(server.url)).join('table', { id: 'raw' });
    await eventually(async () => assert.ok((await a.look()).discoveredPeers.includes(b.sid)));
    assert.equal(await a.run((client, sid) => client.signaller.sendSignal('offer', { recipient: sid, hello: '☕' }), b.sid), null);
    await eventually(() => assert.ok(b.events('offer').some(({ hello, sid }) => hello === '☕' && sid)));
    await a.run((client) => {
      kit.states = [];
      client.signaller.on('stateChanged', (state) => kit.states.push(state));
      client.signaller.disconnect();
    });
    assert.deepEqual(await a.page.evaluate(() => kit.states), ['closed']);
    assert.equal((await a.look()).state, 'closed');
    assert.deepEqual((await a.told('signallerStateChanged')).at(-1), ['closed']);
    assert.equal((await a.attempt((client) => client.signaller.sendSignal('join', {}))).code, 'CLOSED');
    await b.expect('peer-disconnection');
    await b.close();
    assertClean(a);
  });

  it('disconnect leaves conversations alone', async () => {
    const [a, b] = await table(browser, server.url, 2);
    await a.run((client) => { client.signaller.disconnect(); });
    await delivers(a, 'I am still here', b);
    await delivers(b, 'so you are', a);
    assert.equal((await a.look()).state, 'closed');
  });

  it('ioOptions reach Socket.IO: polling only, another path', async () => {
    // A room of its own: the server may take a page that polled for present until its time-out.
    const a = await Peer.open(browser, server.url, { signaller: { ioOptions: { transports: ['polling'] } }, rooms: ['polled'] });
    const b = await Peer.open(browser, server.url, { rooms: ['polled'] });
    await everybodySees([a, b]);
    await delivers(a, 'over polling', b);
    assert.equal(await a.page.evaluate(() => kit.sockets.length), 0);
    const c = await Peer.open(browser, server.url, { signaller: { ioOptions: { path: '/elsewhere/', reconnection: false } } });
    await c.expect('error', [['SIGNALLER_UNREACHABLE']]);
    assert.ok(await c.page.evaluate(() => kit.sockets[0].url.includes('/elsewhere/')));
  });
});

describe('versions', () => {
  for (const version of ['0.1', '0.2']) {
    it(`${version} speaks ${version}, and meets 1.0`, async () => {
      const a = await Peer.open(browser, server.url, { options: { apiVersion: version }, rooms: ['table'] });
      const b = await Peer.open(browser, server.url, { rooms: ['table'] });
      await everybodySees([a, b]);
      await delivers(a, version, b);
      assert.equal((await a.look()).apiVersion, version);
      assert.deepEqual((await sentSignals(a.page))[0], ['request-sid', { apiVersion: version }]);
    });
  }

  it('0.0 lives in the root namespace', async () => {
    const one = await Peer.open(browser, server.url, { options: { apiVersion: '0.0' }, rooms: ['old'] });
    const two = await Peer.open(browser, server.url, { options: { apiVersion: '0.0' }, rooms: ['old'] });
    await everybodySees([one, two]);
    await delivers(one, 'as in the old days', two);
    assert.equal((await one.look()).apiVersion, '0.0');
  });

  it('there are no others', async () => {
    const [a] = await table(browser, server.url, 1);
    const result = await a.attempt(() => new kit.api.RTCCafeClient(null, { apiVersion: '9.9' }));
    assert.deepEqual([result.isError, result.code], [true, 'UNKNOWN_API_VERSION']);
  });
});

describe('ICE servers', () => {
  it('are those of the server without an rtcConfig', async () => {
    const [a, b] = await table(browser, server.url, 2);
    for (const { page } of [a, b]) assert.deepEqual(await urls(page, 0), ICE);
    assert.deepEqual((await a.run((client) => client.rtcConfig.iceServers)).map((each) => each.urls).flat(), ICE);
  });

  it('are those of the rtcConfig if it has some, or says that there are none', async () => {
    const own = { rtcConfig: { iceServers: [{ urls: ['stun:127.0.0.1:3480'] }], bundlePolicy: 'max-bundle' }, rooms: ['table'] };
    const a = await Peer.open(browser, server.url, own);
    const b = await Peer.open(browser, server.url, { rtcConfig: { iceServers: [] }, rooms: ['table'] });
    await everybodySees([a, b]);
    assert.deepEqual(await urls(a.page, 0), ['stun:127.0.0.1:3480']);
    assert.deepEqual(await urls(b.page, 0), []);
    assert.equal(await a.page.evaluate(() => kit.connections[0].getConfiguration().bundlePolicy), 'max-bundle');
    assert.deepEqual(await a.run((client) => client.rtcConfig), own.rtcConfig);
  });
});
