// The flaws of the original server that are about amounts and transports, by number, and what keeps ours from them.

import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, it } from 'node:test';

import { eventually, within } from '../harness/process.mjs';
import { startServer } from '../harness/server.mjs';
import { PollingWire, WebSocketWire, closeAll, connect, party } from '../harness/wire.mjs';

let server;
/** Connections that are watched for as long as the other tests take. */
let waiting;
before(async () => {
  server = await startServer();
  const [idle, idlePolling, quiet] = [await WebSocketWire.open(server.url), await PollingWire.open(server.url), await connect(server.url)];
  const [silent, witness] = await party(server.url, 2, { room: 'patience' });
  silent.receive = () => {};
  waiting = { since: Date.now(), idle, idlePolling, quiet, silent, witness };
});
after(() => server?.stop());

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

describe('flaw 7: no bound on what waits for a slow consumer', () => {
  it('who does not read is cut off, the others are told, and the memory stays small', async () => {
    const [sender, deaf, other] = await party(server.url, 3);
    const before = server.memory;
    let most = before;
    deaf.socket.pause();
    const text = 'x'.repeat(500_000);
    for (let n = 0; n < 300 && !other.events('peer-disconnection').length; n += 1) {
      sender.emit('candidate', { recipient: deaf.sid, id: 'id-0', text });
      if (n % 10 === 9) await sender.settle(20_000);
      most = Math.max(most, server.memory);
    }
    for (const wire of [sender, other]) assert.deepEqual(await wire.expect('peer-disconnection'), [{ sid: deaf.sid }]);
    assert.ok(most - before < 50, `the server grew from ${before} to ${most} MB`);
    sender.emit('candidate', { recipient: deaf.sid, id: 'id-0' });
    await sender.settle();
    assert.equal(sender.events('error').at(-1).code, 'recipient-not-found');
    deaf.socket.resume();
    await within(10_000, deaf.ended, 'the slow consumer being closed');
    await closeAll(sender, other);
  });

  it('who reads gets everything, even much at once', async () => {
    const [sender, reader] = await party(server.url, 2);
    const text = 'x'.repeat(500_000);
    for (let n = 0; n < 60; n += 1) {
      sender.emit('candidate', { recipient: reader.sid, id: 'id-0', n, text });
      // As fast as the reader reads: no faster is promised.
      if (n % 3 === 2) await reader.expect('candidate', n + 1, 20_000);
    }
    assert.deepEqual(reader.events('candidate').map(({ n }) => n), [...Array(60).keys()]);
    await closeAll(sender, reader);
  });
});

describe('flaw 8: no limits on rooms and rates', () => {
  it('20,000 joins of one client fill 64 rooms, and the rest are refused', async () => {
    const [a] = await party(server.url, 1);
    const witness = await connect(server.url);
    const before = server.memory;
    const refusals = () => a.events('error').filter(({ originalMessage }) => originalMessage === 'join');
    for (let n = 0; n < 20_000; n += 1) {
      a.emit('join', { room: `room ${n}`, id: 'id-0' });
      // Its own answers are to be read as well.
      if (n % 1000 === 999) await a.settle();
    }
    const told = refusals();
    assert.equal(told.length, 20_000 - 63);
    assert.deepEqual([...new Set(told.map(({ code }) => code))].sort(), ['rate-limited', 'too-many-rooms']);
    assert.ok(server.memory - before < 20, `the server grew by ${server.memory - before} MB`);
    await (await witness.join('room 62')).join('room 63');
    assert.equal(a.closed, false);
    assert.equal(a.events('acquire-peers').length, 1, 'the last room that fitted was the 64th');
    await closeAll(a, witness);
  });
});

describe('flaw 9: too much at once', () => {
  /** Posts as much as asked, and gives the status. */
  function post(url, bytes, { chunked = false } = {}) {
    return within(10_000, new Promise((resolve, reject) => {
      const outgoing = request(url, { method: 'POST', headers: chunked ? {} : { 'content-length': bytes } });
      outgoing.on('response', (reply) => {
        reply.resume();
        resolve(reply.statusCode);
      });
      outgoing.on('error', reject);
      for (let sent = 0; sent < bytes; sent += 100_000) outgoing.write('x'.repeat(Math.min(100_000, bytes - sent)));
      outgoing.end();
    }), `an answer to a POST of ${bytes} bytes`);
  }

  for (const bytes of [1_000_001, 1_500_000, 20_000_000]) {
    for (const chunked of [false, true]) {
      it(`a polling POST of ${bytes} bytes${chunked ? ' of unknown length' : ''} gets an answer`, async () => {
        const wire = await connect(server.url, { transport: 'polling' });
        assert.equal(await post(wire.url, bytes, { chunked }), 413);
        await closeAll(wire);
      });
    }
  }

  it('a websocket frame of 1,200,000 bytes gets an error, and the connection lives', async () => {
    const [a, b] = await party(server.url, 2);
    a.emit('candidate', { recipient: b.sid, text: 'x'.repeat(1_200_000) });
    assert.equal((await a.expect('error'))[0].code, 'too-large');
    a.emit('candidate', { recipient: b.sid, n: 1 });
    assert.deepEqual((await b.expect('candidate')).map(({ n }) => n), [1]);
    await closeAll(a, b);
  });

  it('so does one in fragments, and so does an attachment', async () => {
    const [a, b] = await party(server.url, 2);
    for (let n = 0; n < 12; n += 1) a.socket.send('x'.repeat(100_000), { fin: n === 11, binary: false });
    await a.expect('error');
    a.send(`451-/rtc-cafe,["candidate",{"recipient":"${b.sid}","bin":{"_placeholder":true,"num":0}}]`);
    a.send(Buffer.alloc(1_200_000));
    await a.expect('error', 2);
    for (const { code } of a.events('error')) assert.equal(code, 'too-large');
    await a.settle();
    await b.settle();
    assert.deepEqual(b.frames, []);
    await closeAll(a, b);
  });
});

describe('flaw 13: Nagle\'s algorithm', () => {
  it('is off: a join of a room of 8 is answered by all at once', async () => {
    const members = await party(server.url, 7, { room: 'quick' });
    for (const member of members) {
      member.receive = function receive(frame) {
        const sid = /^42\/rtc-cafe,\["acquire-peers".*"sid":"([^"]+)"/.exec(frame)?.[1];
        if (sid) this.emit('acquire-peers-response', { recipient: sid, room: 'quick', id: 'x' });
        else if (frame === '2') this.send('3');
      };
    }
    const times = [];
    for (let n = 0; n < 50; n += 1) {
      const wire = await connect(server.url);
      let answers = 0;
      const answered = new Promise((resolve) => {
        wire.receive = (frame) => frame.includes('acquire-peers-response') && (answers += 1) === 7 && resolve();
      });
      const at = performance.now();
      wire.emit('join', { room: 'quick', id: `n${n}` });
      await within(5000, answered, 'seven answers');
      times.push(performance.now() - at);
      wire.cut();
    }
    assert.ok(median(times) < 20, `the median is ${median(times)} ms`);
    await closeAll(members);
  });
});

describe('the order of one sender', () => {
  for (const transport of ['websocket', 'polling']) {
    it(`is kept over ${transport}: 3000 messages`, async () => {
      const [a, b] = await party(server.url, 2, { transport });
      const frames = [...Array(3000).keys()].map((n) => `42/rtc-cafe,["candidate",{"recipient":"${b.sid}","n":${n}}]`);
      if (transport === 'polling') await a.send(...frames);
      else frames.forEach((frame) => a.send(frame));
      const received = await b.expect('candidate', 3000, 30_000);
      assert.deepEqual(received.map(({ n }) => n), [...Array(3000).keys()]);
      await closeAll(a, b);
    });
  }

  it('is kept in 300 bursts of an offer and eleven candidates, to two peers at once', async () => {
    const [a, b, c] = await party(server.url, 3);
    for (let burst = 0; burst < 150; burst += 1) {
      for (const to of [b, c]) {
        a.emit('offer', { recipient: to.sid, n: burst * 12 });
        for (let n = 1; n < 12; n += 1) a.emit('candidate', { recipient: to.sid, n: burst * 12 + n });
      }
    }
    for (const wire of [b, c]) {
      await eventually(() => assert.equal(wire.frames.length, 1800), { within: 20_000 });
      const numbers = wire.frames.map((frame) => JSON.parse(frame.slice('42/rtc-cafe,'.length))[1].n);
      assert.deepEqual(numbers, [...Array(1800).keys()]);
    }
    await closeAll(a, b, c);
  });
});

describe('the session of the transport', () => {
  it('cannot be taken over by who knows a peer\'s public sid', async () => {
    const [a, b] = await party(server.url, 2, { transport: 'polling' });
    const url = `${server.url}/socket.io/?EIO=4&transport=polling&sid=${a.sid}`;
    assert.notEqual(a.sid, a.handshake.sid);
    assert.equal((await fetch(url)).status, 400);
    for (const body of ['1', '42/rtc-cafe,["join",{"room":"stolen"}]']) {
      assert.equal((await fetch(url, { method: 'POST', body })).status, 400);
    }
    await a.settle();
    await b.settle();
    assert.deepEqual([a.closed, a.frames, b.frames], [false, [], []]);
    await closeAll(a, b);
  });
});

describe('patience with connections', () => {
  const closes = (wire, what) => within(60_000 - (Date.now() - waiting.since), wire.ended, what);

  it('flaw 10: one that never sends CONNECT is closed, over both transports', async () => {
    await closes(waiting.idle, 'closing who never enters over a websocket');
    await closes(waiting.idlePolling, 'closing who never enters over polling');
  });

  it('one that does not answer pings is closed, and the others are told', async () => {
    await closes(waiting.silent, 'closing who never answers');
    assert.deepEqual(await waiting.witness.expect('peer-disconnection'), [{ sid: waiting.silent.sid }]);
  });

  it('one that says nothing but pongs lives on', async () => {
    await waiting.quiet.settle();
    await closeAll(waiting.quiet, waiting.witness);
  });
});
