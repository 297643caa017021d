// The flaws of the original server, each by the number it has in the protocol's description: ours has none of them.
// Those that are about amounts and transports are in limits.test.mjs.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { startServer } from '../harness/server.mjs';
import { closeAll, connect, party } from '../harness/wire.mjs';

let server;
before(async () => { server = await startServer(); });
after(() => server?.stop());

/** The codes and names of the errors that a client was told. */
const errors = (wire) => wire.events('error').map(({ code, originalMessage }) => [code, originalMessage]);

/** Nothing has reached anybody but errors of one's own. */
async function nothingReached(...wires) {
  for (const wire of wires) await wire.settle();
  for (const wire of wires) {
    assert.deepEqual(wire.frames.filter((frame) => !/^40|\["error"/.test(frame)), []);
    assert.equal(wire.closed, false);
  }
}

describe('flaw 1: a spoofed sid', () => {
  for (const event of ['offer', 'answer', 'candidate']) {
    it(`in ${event} is replaced by the sender's own`, async () => {
      const [a, b, c] = await party(server.url, 3);
      a.emit(event, { recipient: b.sid, sid: c.sid, id: 'id-2', payload: 1 });
      assert.deepEqual(await b.expect(event), [{ id: 'id-0', sid: a.sid, recipient: b.sid, payload: 1 }]);
      assert.deepEqual(c.frames, []);
      await closeAll(a, b, c);
    });
  }

  it('twice in one object, or escaped, is replaced as well', async () => {
    const [a, b] = await party(server.url, 2);
    a.send(`42/rtc-cafe,["candidate",{"recipient":"${b.sid}","sid":"SPOOF","s\\u0069d":"SPOOF","sid":"SPOOF"}]`);
    await a.settle();
    await b.settle();
    for (const { sid } of b.events('candidate')) assert.equal(sid, a.sid);
    assert.ok(!JSON.stringify(b.frames).includes('SPOOF'), JSON.stringify(b.frames));
    await closeAll(a, b);
  });
});

describe('flaws 2 and 3: a recipient that is no peer', () => {
  const recipients = {
    null: () => null,
    'an empty text': () => '',
    'a room': () => 'party',
    'a list of peers': (b) => [b.sid],
    'a list of rooms': () => ['party'],
    'an object': (b) => ({ sid: b.sid }),
    'a number': () => 5,
    true: () => true,
    nobody: () => 'nobody-has-this-sid-',
    'a transport': (b) => b.handshake.sid,
  };
  for (const [what, recipient] of Object.entries(recipients)) {
    it(`${what}: an error to the sender, nothing to anybody`, async () => {
      const [a, b] = await party(server.url, 2);
      const stranger = await connect(server.url);
      for (const event of ['offer', 'answer', 'candidate']) a.emit(event, { recipient: recipient(b), id: 'id-0' });
      a.emit('acquire-peers-response', { recipient: recipient(b), room: 'party', id: 'id-0' });
      await nothingReached(a, b, stranger);
      assert.deepEqual(errors(a).map(([, name]) => name), ['offer', 'answer', 'candidate', 'acquire-peers-response']);
      for (const [code] of errors(a)) assert.match(code, /^(invalid-recipient|recipient-not-found)$/);
      await closeAll(a, b, stranger);
    });
  }

  it('one in no common room gets nothing, and the sender is told', async () => {
    const [a, b] = await party(server.url, 2);
    const stranger = await (await connect(server.url)).join('elsewhere');
    stranger.emit('offer', { recipient: a.sid, offer: 1 });
    stranger.emit('acquire-peers-response', { recipient: a.sid, room: 'party' });
    stranger.emit('acquire-peers-response', { recipient: a.sid, room: 'elsewhere' });
    await nothingReached(stranger, a, b);
    const told = stranger.events('error');
    assert.deepEqual(told.map(({ originalMessage }) => originalMessage), ['offer', 'acquire-peers-response', 'acquire-peers-response']);
    for (const error of told) assert.match(error.code, /^(recipient-not-found|not-in-room)$/);
    assert.equal(told[0].recipient, a.sid);
    await closeAll(a, b, stranger);
  });
});

describe('flaw 4: a room that is none', () => {
  for (const room of [null, '', false, true, [], ['party'], {}]) {
    it(`${JSON.stringify(room)} is refused`, async () => {
      const [a, b] = await party(server.url, 2);
      const stranger = await connect(server.url);
      stranger.emit('join', { room, id: 'x' });
      await nothingReached(stranger, a, b);
      assert.deepEqual(errors(stranger), [['invalid-room', 'join']]);
      await closeAll(a, b, stranger);
    });
  }

  it('0 is a room like any other', async () => {
    const [a] = await party(server.url, 1);
    const [b, c] = [await connect(server.url), await connect(server.url)];
    await b.join(0);
    await c.join(0);
    assert.deepEqual((await b.expect('acquire-peers')).map(({ sid }) => sid), [c.sid]);
    await nothingReached(a);
    await closeAll(a, b, c);
  });
});

it('flaw 5: joining a room by the name of a victim\'s sid overhears nothing', async () => {
  const [a, b] = await party(server.url, 2);
  const spy = await connect(server.url);
  for (const room of [b.sid, b.handshake.sid, spy.sid]) spy.emit('join', { room, id: 'spy' });
  await spy.settle();
  a.emit('offer', { recipient: b.sid, offer: 'secret' });
  assert.equal((await b.expect('offer'))[0].offer, 'secret');
  spy.emit('offer', { recipient: b.sid, offer: 1 });
  await nothingReached(spy, a);
  await b.settle();
  assert.equal(b.frames.length, 1, 'the victim hears nothing of the spy');
  await closeAll(a, b, spy);
});

describe('flaw 6: what is missing or of another kind', () => {
  const payloads = ['', ',null', ',5', ',"text"', ',[]', ',{}', ',{},{}', ',true'];
  for (const event of ['join', 'acquire-peers-response', 'offer', 'answer', 'candidate']) {
    it(`${event} gets an error with a code each time, and its acknowledgement`, async () => {
      const [a, b] = await party(server.url, 2);
      payloads.forEach((payload, index) => a.send(`42/rtc-cafe,${index}["${event}"${payload}]`));
      await nothingReachedBut(a, /^43/);
      await nothingReached(b);
      assert.equal(errors(a).length, payloads.length, JSON.stringify(a.frames));
      for (const error of a.events('error')) {
        assert.equal(error.originalMessage, event);
        assert.match(error.code, /^invalid-(payload|room|recipient|json)$/);
        assert.ok(typeof error.error === 'string' && error.error.length > 10, 'a sentence says what is wrong');
      }
      const acknowledged = a.frames.filter((frame) => frame.startsWith('43')).map((frame) => frame.slice('43/rtc-cafe,'.length));
      assert.deepEqual(acknowledged, payloads.map((_, index) => `${index}[]`));
      await closeAll(a, b);
    });
  }

  it('unknown events, events of the server, and broken JSON get an error', async () => {
    const [a, b] = await party(server.url, 2);
    for (const event of ['acquire-peers', 'peer-disconnection', 'sid', 'error']) a.emit(event, { sid: b.sid });
    a.emit('sing', {});
    a.send('42/rtc-cafe,["join",{"room":');
    a.send('42/rtc-cafe,{}');
    await nothingReached(a, b);
    assert.deepEqual(errors(a).map(([code]) => code), [
      ...Array(4).fill('server-only-event'), 'unknown-event', 'invalid-json', 'invalid-payload',
    ]);
    await closeAll(a, b);
  });

  async function nothingReachedBut(wire, pattern) {
    await wire.settle();
    assert.deepEqual(wire.frames.filter((frame) => !/\["error"/.test(frame) && !pattern.test(frame)), []);
    assert.equal(wire.closed, false);
  }
});

describe('flaw 11: 451- followed by text', () => {
  it('does not swallow the event', async () => {
    const [a, b] = await party(server.url, 2);
    a.send(`451-/rtc-cafe,["candidate",{"recipient":"${b.sid}","bin":{"_placeholder":true,"num":0}}]`);
    a.send('42/rtc-cafe,["request-sid",{}]');
    await a.expect('sid');
    await a.expect('error');
    assert.deepEqual(errors(a).map(([code]) => code), ['incomplete-binary']);
    a.frames.length = 0;
    await nothingReached(b, a);
    await closeAll(a, b);
  });
});

describe('flaw 12: an unverified prevSid', () => {
  const announced = async (wire, count = 1) => (await wire.expect('acquire-peers', count)).map(({ prevSid }) => prevSid);

  it('of somebody who is there is not passed on', async () => {
    const [a, victim] = await party(server.url, 2);
    const thief = await connect(server.url);
    await thief.join('party', { id: 'id-1', prevSid: victim.sid });
    assert.deepEqual(await announced(a), [null]);
    thief.emit('acquire-peers-response', { recipient: a.sid, room: 'party', id: 'id-1', prevSid: victim.sid });
    assert.deepEqual((await a.expect('acquire-peers-response')).map(({ prevSid }) => prevSid), [null]);
    await closeAll(a, victim, thief);
  });

  it('of somebody who has left is not passed on to another', async () => {
    const [a, victim] = await party(server.url, 2);
    await victim.close();
    await a.expect('peer-disconnection');
    const thief = await connect(server.url);
    await thief.join('party', { id: 'another', prevSid: victim.sid });
    assert.deepEqual(await announced(a), [null]);
    await closeAll(a, thief);
  });

  it('of a session of 1.0 needs its secret, and then ends the session if it is still there', async () => {
    const [a] = await party(server.url, 1);
    const old = await connect(server.url);
    old.emit('request-sid', { apiVersion: '1.0' });
    const [{ session, sid, apiVersion }] = await old.expect('sid');
    assert.deepEqual([sid, apiVersion], [old.sid, '1.0']);
    await old.join('party', { id: 'me' });
    const thief = await (await connect(server.url)).join('party', { id: 'me', prevSid: old.sid, prevSession: `${session}x` });
    const heir = await (await connect(server.url)).join('party', { id: 'me', prevSid: old.sid, prevSession: session });
    assert.deepEqual(await announced(a, 3), [null, null, old.sid]);
    await old.ended;
    await a.expect('peer-disconnection');
    await closeAll(a, thief, heir);
  });
});

describe('older clients', () => {
  it('of 0.0 live in the root namespace, are pushed their sid before the CONNECT reply, and hear all of their room', async () => {
    const wires = [];
    for (let index = 0; index < 3; index += 1) {
      const wire = await connect(server.url, { namespace: '/' });
      assert.deepEqual(wire.frames, [`42["sid",{"sid":"${wire.sid}"}]`, `40{"sid":"${wire.sid}"}`]);
      wires.push(wire);
    }
    const [one, two, three] = wires;
    one.emit('join', { room: 'old' });
    await one.settle();
    two.emit('join', { room: 'old' });
    assert.equal((await one.expect('acquire-peers'))[0].sid, two.sid);
    one.emit('acquire-peers-response', { recipient: two.sid });
    assert.equal((await two.expect('acquire-peers-response'))[0].sid, one.sid);
    two.emit('offer', { offer: 'x', anything: 1 });
    const [offer] = await one.expect('offer');
    assert.deepEqual([offer.offer, offer.anything], ['x', 1]);
    await three.settle();
    assert.deepEqual(three.events('offer'), [], 'who is in another room hears nothing');
    await closeAll(wires);
  });
});
