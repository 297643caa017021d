// Every frame that the original server and ours have in common, on both, over both transports.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { startOriginal, startServer } from '../harness/server.mjs';
import { PollingWire, TRANSPORTS, WebSocketWire, closeAll, connect, party } from '../harness/wire.mjs';

const get = (base, query, init) => fetch(`${base}/socket.io/?${query}`, init);

for (const [name, start] of Object.entries({ 'the original server': startOriginal, 'our server': startServer })) {
  describe(name, () => {
    let server;
    before(async () => { server = await start(); });
    after(() => server?.stop());

    it('shakes hands as Engine.IO 4 does', async () => {
      for (const [transport, upgrades] of [['polling', ['websocket']], ['websocket', []]]) {
        const wire = await TRANSPORTS[transport].open(server.url);
        const { sid, ...rest } = wire.handshake;
        assert.match(sid, /^[\w-]{16,40}$/);
        assert.deepEqual(rest, { upgrades, pingTimeout: 20000, pingInterval: 25000, maxPayload: 1000000 });
        await closeAll(wire);
      }
    });

    it('refuses other versions, other transports and unknown sessions with 400', async () => {
      for (const query of ['EIO=3&transport=polling', 'transport=polling', 'EIO=4&transport=carrier-pigeon', 'EIO=4&transport=polling&sid=nobody']) {
        assert.equal((await get(server.url, query)).status, 400, query);
      }
    });

    it('refuses pages of other origins, on both transports', async () => {
      for (const origin of ['https://evil.example', `http://localhost:${server.port}`, 'http://127.0.0.1:1', 'null']) {
        const reply = await get(server.url, 'EIO=4&transport=polling', { headers: { origin } });
        assert.equal(reply.status, 400, origin);
        assert.equal(reply.headers.get('access-control-allow-origin'), null);
        // gevent-websocket says 101 first, and then drops the socket without a frame.
        await assert.rejects(WebSocketWire.open(server.url, { headers: { origin } }), `websocket from ${origin}`);
      }
      const same = await get(server.url, 'EIO=4&transport=polling', { headers: { origin: server.url } });
      assert.equal(same.status, 200);
      assert.equal(same.headers.get('access-control-allow-origin'), server.url);
      await closeAll(await WebSocketWire.open(server.url, { headers: { origin: server.url } }));
    });

    for (const transport of Object.keys(TRANSPORTS)) {
      describe(`over ${transport}`, () => suite(() => server, transport));
    }
  });
}

function suite(server, transport) {
  const open = (namespace) => connect(server().url, { transport, ...(namespace && { namespace }) });
  const meet = (count) => party(server().url, count, { transport, room: `${transport} ${Math.random()}` });

  it('gives a sid that is not that of the transport', async () => {
    const a = await open();
    assert.match(a.sid, /^[\w-]{20}$/);
    assert.notEqual(a.sid, a.handshake.sid);
    a.send('42/rtc-cafe,7["request-sid",{}]');
    await a.next(/^43/);
    assert.deepEqual(a.frames.slice(-2), [`42/rtc-cafe,["sid",{"sid":"${a.sid}"}]`, '43/rtc-cafe,7[]']);
    a.send('42/rtc-cafe,8["request-sid",null]');
    await a.next(/^43\/rtc-cafe,8\[\]/);
    await closeAll(a);
  });

  it('goes through a whole session, frame by frame', async () => {
    const [a, b] = [await open(), await open()];
    a.send('42/rtc-cafe,["join",{"room":"R","id":"a"}]');
    await a.settle();
    b.send('42/rtc-cafe,["join",{"room":"R","id":"b","prevSid":"oldB"}]');
    await b.settle();
    await a.next(/acquire-peers/);
    a.send(`42/rtc-cafe,["acquire-peers-response",{"recipient":"${b.sid}","id":"a","room":"R","extra":1,"sid":"spoof"}]`);
    await b.next(/acquire-peers-response/);
    b.send(`42/rtc-cafe,["offer",{"recipient":"${a.sid}","offer":{"type":"offer","sdp":"v=0"},"id":"b","room":"R"}]`);
    await a.next(/"offer"/);
    a.send(`42/rtc-cafe,["answer",{"recipient":"${b.sid}","answer":{"type":"answer","sdp":"v=0"},"id":"a"}]`);
    await b.next(/"answer"/);
    b.send(`42/rtc-cafe,["candidate",{"recipient":"${a.sid}","candidate":null,"id":"b","more":[1,{"x":"cup"}]}]`);
    await a.next(/"candidate"/);
    await b.close();
    await a.next(/peer-disconnection/);
    assert.deepEqual(a.frames.slice(1), [
      `42/rtc-cafe,["acquire-peers",{"id":"b","sid":"${b.sid}","prevSid":"oldB"}]`,
      `42/rtc-cafe,["offer",{"id":"b","sid":"${b.sid}","recipient":"${a.sid}","offer":{"type":"offer","sdp":"v=0"},"room":"R"}]`,
      `42/rtc-cafe,["candidate",{"id":"b","sid":"${b.sid}","recipient":"${a.sid}","candidate":null,"more":[1,{"x":"cup"}]}]`,
      `42/rtc-cafe,["peer-disconnection",{"sid":"${b.sid}"}]`,
    ]);
    assert.deepEqual(b.frames.slice(1), [
      `42/rtc-cafe,["acquire-peers-response",{"id":"a","sid":"${a.sid}","prevSid":null}]`,
      `42/rtc-cafe,["answer",{"id":"a","sid":"${a.sid}","recipient":"${b.sid}","answer":{"type":"answer","sdp":"v=0"}}]`,
    ]);
    await closeAll(a);
  });

  it('takes any JSON as id, and null for none', async () => {
    const [a, b, c] = [await open(), await open(), await open()];
    await a.join('ids');
    await b.join('ids', { id: { nested: [1] } });
    await c.join('ids');
    assert.deepEqual(await a.expect('acquire-peers', 2), [
      { id: { nested: [1] }, sid: b.sid, prevSid: null },
      { id: null, sid: c.sid, prevSid: null },
    ]);
    await closeAll(a, b, c);
  });

  it('refuses other namespaces and a second CONNECT', async () => {
    const a = await open();
    a.send('40/rtc-cafe,');
    await a.next(/^44\/rtc-cafe,/);
    a.send('40/elsewhere,');
    await a.next(/^44\/elsewhere,/);
    await a.settle();
    await closeAll(a);
  });

  it('ignores what comes before CONNECT, and lives on', async () => {
    const a = await TRANSPORTS[transport].open(server().url);
    a.emit('join', { room: 'early' });
    await a.enter();
    await a.settle();
    assert.equal(a.closed, false);
    await closeAll(a);
  });

  it('survives malformed JSON', async () => {
    const a = await open();
    a.send('42/rtc-cafe,["join",{"room":');
    await a.settle();
    assert.equal(a.closed, false);
    await closeAll(a);
  });

  it('tells the members of every shared room that a peer is gone, however it goes', async () => {
    const ways = {
      'closing the connection': (wire) => wire.close(),
      'leaving the namespace': (wire) => wire.send('41/rtc-cafe,'),
      'closing Engine.IO': (wire) => wire.send('1'),
      ...(transport === 'websocket' && { 'losing TCP': (wire) => wire.cut() }),
    };
    for (const [way, go] of Object.entries(ways)) {
      const [a, b] = await meet(2);
      await a.join(`second ${way}`);
      await b.join(`second ${way}`);
      await b.join(`second ${way}`);
      const at = Date.now();
      await go(b);
      assert.deepEqual(await a.expect('peer-disconnection', 2), [{ sid: b.sid }, { sid: b.sid }], way);
      assert.ok(Date.now() - at < 1000, `${way}: told after ${Date.now() - at} ms`);
      await closeAll(a, b);
    }
  });

  it('keeps the connection of who leaves the namespace, and gives a new sid', async () => {
    const [a] = await meet(1);
    a.send('41/rtc-cafe,');
    const before = a.sid;
    await a.enter();
    assert.notEqual(a.sid, before);
    await a.settle();
    await closeAll(a);
  });

  it('tells the room 5 and the room "5" apart, but not 5 and 5.0', async () => {
    const [a, b, c, d] = [await open(), await open(), await open(), await open()];
    await a.join(5);
    await b.join('5');
    c.send('42/rtc-cafe,["join",{"room":5.0}]');
    await c.settle();
    await d.join('5');
    assert.deepEqual((await a.expect('acquire-peers')).map(({ sid }) => sid), [c.sid]);
    assert.deepEqual((await b.expect('acquire-peers')).map(({ sid }) => sid), [d.sid]);
    await closeAll(a, b, c, d);
  });

  it('announces a second join again', async () => {
    const [a, b] = await meet(2);
    await a.join('again');
    await b.join('again');
    await b.join('again');
    await a.expect('acquire-peers', 2);
    await closeAll(a, b);
  });

  it('delivers to oneself', async () => {
    const [a] = await meet(1);
    a.emit('candidate', { recipient: a.sid, id: 'id-0', n: 1 });
    assert.deepEqual(await a.expect('candidate'), [{ id: 'id-0', sid: a.sid, recipient: a.sid, n: 1 }]);
    await closeAll(a);
  });

  it('relays what is just below the limit', async () => {
    const [a, b] = await meet(2);
    const text = `ß☕🦀\u0000${'x'.repeat(900_000)}`;
    a.emit('candidate', { recipient: b.sid, text });
    const [received] = await b.expect('candidate');
    assert.ok(received.text === text, 'the text is another');
    await closeAll(a, b);
  });

  it('gives who comes back a new sid, and passes on which one it replaces', async () => {
    const [a, b] = await meet(2);
    await b.close();
    await a.expect('peer-disconnection');
    const again = await open();
    assert.notEqual(again.sid, b.sid);
    await a.join('back');
    await again.join('back', { id: 'id-1', prevSid: b.sid });
    assert.deepEqual(await a.expect('acquire-peers'), [{ id: 'id-1', sid: again.sid, prevSid: b.sid }]);
    again.emit('acquire-peers-response', { recipient: a.sid, room: 'back', id: 'id-1', prevSid: b.sid });
    assert.deepEqual(await a.expect('acquire-peers-response'), [{ id: 'id-1', sid: again.sid, prevSid: b.sid }]);
    await closeAll(a, again);
  });

  if (transport === 'websocket') {
    it('relays binary attachments', async () => {
      const [a, b] = await meet(2);
      const bytes = Buffer.from([0, 1, 2, 255]);
      a.send(`451-/rtc-cafe,["candidate",{"recipient":"${b.sid}","id":"id-0","bin":{"_placeholder":true,"num":0}}]`);
      a.send(bytes);
      await b.next(/^451-/);
      await b.settle();
      const at = b.frames.findIndex((frame) => typeof frame === 'string' && frame.startsWith('451-'));
      const header = JSON.parse(b.frames[at].replace('451-/rtc-cafe,', ''));
      assert.deepEqual(header, ['candidate', { id: 'id-0', sid: a.sid, recipient: b.sid, bin: { _placeholder: true, num: 0 } }]);
      assert.deepEqual(b.frames[at + 1], bytes);
      await closeAll(a, b);
    });
  }

  if (transport === 'polling') {
    it('takes several packets in one request, in order', async () => {
      const [a, b] = await meet(2);
      await a.send(...[0, 1, 2, 3].map((n) => `42/rtc-cafe,["candidate",{"recipient":"${b.sid}","n":${n}}]`));
      assert.deepEqual((await b.expect('candidate', 4)).map(({ n }) => n), [0, 1, 2, 3]);
      assert.ok(a instanceof PollingWire && a.posted.status === 200);
      await closeAll(a, b);
    });
  }
}
