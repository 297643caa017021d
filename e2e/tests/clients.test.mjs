// Our server and the Socket.IO clients of others: npm socket.io-client and PyPI python-socketio.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, afterEach, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { io } from 'socket.io-client';

import { Program, eventually, within } from '../harness/process.mjs';
import { python, startServer } from '../harness/server.mjs';

const TRANSPORTS = {
  'websocket only': ['websocket'],
  'polling only': ['polling'],
  'polling, then websocket': ['polling', 'websocket'],
};

let server;
before(async () => { server = await startServer(); });
after(() => server?.stop());

const opened = [];
afterEach(() => opened.splice(0).forEach((socket) => socket.disconnect()));

const candidates = ({ log }) => log.filter(([name]) => name === 'candidate').map(([, { n }]) => n);

describe('socket.io-client', () => {
  for (const [how, transports] of Object.entries(TRANSPORTS)) {
    it(`goes through a session: ${how}`, async () => {
      const [a, b] = [await client(transports), await client(transports)];
      assert.deepEqual(await ask(a, 'request-sid', {}, 'sid'), { sid: a.socket.id });
      assert.deepEqual(await within(5000, a.socket.emitWithAck('join', { room: 'js', id: 'a' }), 'the acknowledgement'), undefined);
      b.socket.emit('join', { room: 'js', id: 'b' });
      assert.deepEqual(await a.next('acquire-peers'), { id: 'b', sid: b.socket.id, prevSid: null });
      a.socket.emit('acquire-peers-response', { recipient: b.socket.id, room: 'js', id: 'a' });
      assert.deepEqual(await b.next('acquire-peers-response'), { id: 'a', sid: a.socket.id, prevSid: null });
      for (const [event, from, to] of [['offer', b, a], ['answer', a, b], ['candidate', a, b], ['candidate', b, a]]) {
        from.socket.emit(event, { recipient: to.socket.id, [event]: { sdp: 'v=0', '☕': [null, 1.5] } });
        assert.deepEqual(await to.next(event), {
          id: from === a ? 'a' : 'b', sid: from.socket.id, recipient: to.socket.id, [event]: { sdp: 'v=0', '☕': [null, 1.5] },
        });
      }
      a.socket.emit('offer', { recipient: null });
      const error = await a.next('error');
      assert.deepEqual([error.code, error.originalMessage], ['invalid-recipient', 'offer']);
      if (transports.includes('websocket')) {
        await eventually(() => assert.equal(b.socket.io.engine.transport.name, 'websocket'));
        b.socket.emit('candidate', { recipient: a.socket.id, bytes: new Uint8Array([0, 255]) });
        assert.deepEqual((await a.next('candidate')).bytes, Buffer.from([0, 255]));
      }
      b.socket.disconnect();
      assert.deepEqual(await a.next('peer-disconnection'), { sid: b.sid });
    });
  }

  it('loses nothing on the way from polling to websocket', async () => {
    const receiver = await client(['websocket']);
    await receiver.socket.emitWithAck('join', { room: 'upgrade' });
    // One answer for each, so that both directions are busy while the transport changes.
    receiver.socket.on('candidate', ({ sid, n }) => receiver.socket.emit('candidate', { recipient: sid, n }));
    const numbers = [...Array(100).keys()];
    for (let round = 0; round < 10; round += 1) {
      const sender = await client(['polling', 'websocket']);
      sender.socket.emit('join', { room: 'upgrade' });
      for (const n of numbers) {
        sender.socket.emit('candidate', { recipient: receiver.socket.id, n });
        if (n % (round + 1) === 0) await new Promise(setImmediate);
      }
      for (const side of [sender, receiver]) {
        await eventually(() => assert.ok(candidates(side).length >= numbers.length, `${candidates(side)}`));
        assert.deepEqual(candidates(side), numbers);
      }
      await eventually(() => assert.equal(sender.socket.io.engine.transport.name, 'websocket'));
      receiver.log.length = 0;
      sender.socket.disconnect();
    }
  });

  it('reconnects to a server that was killed, under a new sid', async () => {
    const own = await startServer();
    const a = await client(['websocket'], own.url);
    const before = a.socket.id;
    const lost = once(a.socket, 'disconnect');
    await own.kill();
    await within(5000, lost, 'the loss');
    const back = once(a.socket, 'connect');
    await own.restart();
    await within(15_000, back, 'the return');
    assert.notEqual(a.socket.id, before);
    await own.stop();
  });

  it('is refused another namespace', async () => {
    const socket = io(`${server.url}/elsewhere`, { forceNew: true, transports: ['websocket'] });
    opened.push(socket);
    const [error] = await within(5000, once(socket, 'connect_error'), 'the refusal');
    assert.ok(error instanceof Error);
  });
});

describe('python-socketio', () => {
  for (const [how, transports] of Object.entries(TRANSPORTS)) {
    it(`goes through a session: ${how}`, async () => {
      const program = new Program(python(), [fileURLToPath(new URL('session.py', import.meta.url)), server.url, transports.join()]);
      const { code } = await within(30_000, program.exited, 'the Python clients');
      assert.equal(code, 0, program.output);
      assert.match(program.output, /^done$/m);
    });
  }
});

/** A connected client that keeps the events it got. */
async function client(transports, url = server.url) {
  const socket = io(`${url}/rtc-cafe`, { transports, forceNew: true, reconnectionDelay: 100 });
  opened.push(socket);
  const log = [];
  socket.onAny((...event) => log.push(event));
  await within(5000, once(socket, 'connect'), 'connecting');
  return {
    socket,
    log,
    sid: socket.id,
    /** Takes the next event of a name. */
    next: (name) => eventually(() => {
      const at = log.findIndex(([event]) => event === name);
      assert.ok(at >= 0, `no ${name} in ${JSON.stringify(log)}`);
      return log.splice(at, 1)[0][1];
    }),
  };
}

async function ask(client, event, payload, answer) {
  client.socket.emit(event, payload);
  return client.next(answer);
}
