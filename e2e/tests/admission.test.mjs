// Who is let in: by tokens, by somebody else's server, and how many from one address; with the binary and its options.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, describe, it } from 'node:test';

import { selfSigned } from '../harness/certificate.mjs';
import { LinePeer } from '../harness/line-peer.mjs';
import { delivers, everybodySees } from '../harness/peer.mjs';
import { eventually } from '../harness/process.mjs';
import { binary, startServer } from '../harness/server.mjs';
import { keyPair, signedBy, soon } from '../harness/token.mjs';
import { PollingWire, WebSocketWire, closeAll } from '../harness/wire.mjs';

const SECRET = 'the secret of the application, kept on its server';
const NEXT = 'the secret that comes after it, just as long as it is';

const folder = mkdtempSync(join(tmpdir(), 'rtc-cafe-admission-'));
const closing = [];
afterEach(async () => { for (const close of closing.splice(0).reverse()) await close(); });
after(() => rmSync(folder, { recursive: true, force: true }));

async function serve(...args) {
  const server = await startServer(...args);
  closing.push(() => server.stop());
  return server;
}

/** Enters with this `auth`: what CONNECT is answered with. */
async function enter(base, auth, { open = WebSocketWire.open, headers } = {}) {
  const wire = await open(base, { headers });
  closing.push(() => (wire.closed ? undefined : wire.close()));
  wire.send(`40/rtc-cafe,${JSON.stringify(auth)}`);
  const reply = await wire.next(/^4[04]\/rtc-cafe,/);
  const content = JSON.parse(reply.slice('40/rtc-cafe,'.length));
  if (reply.startsWith('40')) wire.sid = content.sid;
  return { wire, content, refused: reply.startsWith('44') };
}

/** The refusals of events so far. */
const refusals = (wire) => wire.events('error').map(({ code, originalMessage }) => [code, originalMessage]);

async function metric(server, name) {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  return Number(text.split('\n').find((line) => line.startsWith(`${name} `))?.slice(name.length + 1));
}

describe('tokens', () => {
  for (const [transport, { open }] of Object.entries({ websocket: WebSocketWire, polling: PollingWire })) {
    it(`let in by secret and by key pair, over ${transport}`, async () => {
      const pair = keyPair();
      const file = join(folder, 'public.pem');
      writeFileSync(file, pair.pem);
      const server = await serve('--jwt-secret', SECRET, '--jwt-public-key', file);
      const how = { open: open.bind(transport === 'polling' ? PollingWire : WebSocketWire) };
      for (const token of [signedBy(SECRET), pair.sign()]) {
        const { wire, refused } = await enter(server.url, { token }, how);
        assert.equal(refused, false);
        wire.emit('join', { room: 'table', id: 'a' });
        await wire.settle();
        assert.deepEqual(refusals(wire), []);
      }
      for (const [token, code] of [
        [signedBy(NEXT), 'token-invalid'],
        [signedBy(pair.pem), 'token-invalid'],
        [keyPair().sign(), 'token-invalid'],
        [signedBy(SECRET, { exp: soon(-60) }), 'token-expired'],
        [signedBy(SECRET, { exp: undefined }), 'token-invalid'],
      ]) {
        const { content, refused } = await enter(server.url, { token }, how);
        assert.deepEqual([refused, content.data], [true, { code }]);
        assert.match(content.message, /token/);
      }
      assert.equal(await metric(server, 'rtc_cafe_connections_refused_total{code="token-invalid"}'), 4);
      assert.equal(await metric(server, 'rtc_cafe_connections_refused_total{code="token-expired"}'), 1);
    });
  }

  it('are for rooms, and keys can be changed', async () => {
    const server = await serve('--jwt-secret', `old:${SECRET}`, '--jwt-secret', `new:${NEXT}`, '--jwt-audience', 'cafe');
    const claims = { aud: 'cafe', rooms: ['lobby', 'team-*'] };
    for (const [secret, kid] of [[SECRET, 'old'], [NEXT, 'new'], [NEXT, undefined]]) {
      const { wire } = await enter(server.url, { token: signedBy(secret, claims, { kid }) });
      for (const room of ['lobby', 'team-7', 'staff']) wire.emit('join', { room, id: 'a' });
      await wire.settle();
      assert.deepEqual(refusals(wire), [['not-permitted', 'join']]);
    }
    assert.equal((await enter(server.url, { token: signedBy(NEXT, claims, { kid: 'old' }) })).refused, true);
    assert.equal((await enter(server.url, { token: signedBy(NEXT, { rooms: ['lobby'] }) })).refused, true);
  });

  it('are what native peers have, too', async () => {
    const server = await serve('--jwt-secret', SECRET);
    const native = (token, name) => {
      const peer = LinePeer.native(server.url, 'table', { name, options: token ? ['--token', token] : [] });
      closing.push(() => peer.kill());
      return peer;
    };
    const [a, b, stranger] = [native(signedBy(SECRET), 'a'), native(signedBy(SECRET), 'b'), native(undefined, 'stranger')];
    await everybodySees([a, b]);
    await delivers(a, 'hello', b);
    await eventually(async () => assert.deepEqual(await stranger.told('error'), [['SIGNAL_REFUSED'], ['SIGNAL_REFUSED']], 'its session, and its room'));
    assert.match(JSON.stringify(stranger.story), /a token is needed/);
    assert.deepEqual((await stranger.look()).discoveredPeers, []);
  });

  it('are what the doctor needs', async () => {
    const server = await serve('--jwt-secret', SECRET);
    const examine = async (...args) => {
      const child = spawn(binary(), ['doctor', '--json', '--server', server.url, ...args]);
      const chunks = [];
      child.stdout.on('data', (chunk) => chunks.push(chunk));
      await once(child, 'close');
      return JSON.parse(Buffer.concat(chunks));
    };
    const { peers, server: met } = await examine('--token', signedBy(SECRET, { rooms: ['doctor-*'] }));
    assert.deepEqual([met.websocket.ok, peers.check.ok], [true, true], JSON.stringify(peers));
    const forged = await examine('--token', 'forged');
    assert.match(forged.server.websocket.problem, /your token is not accepted/);
  });
});

describe('a URL that is asked', () => {
  /** An application that is asked, and answers what the function says: a status, and a body. */
  async function application(answer = () => undefined) {
    const asked = [];
    const connections = new Set();
    const server = createServer(async (request, response) => {
      const chunks = [];
      for await (const chunk of request) chunks.push(chunk);
      const question = JSON.parse(Buffer.concat(chunks));
      asked.push({ ...question, path: request.url, type: request.headers['content-type'] });
      const [status, body] = answer(question) ?? [204];
      if (status) response.writeHead(status).end(body === undefined ? '' : JSON.stringify(body));
    });
    server.on('connection', (socket) => connections.add(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const stop = () => {
      server.close();
      server.closeAllConnections();
    };
    closing.push(stop);
    return { asked, connections, stop, url: `http://127.0.0.1:${server.address().port}/may?key=k` };
  }

  it('decides who comes in, and what they may do', async () => {
    const app = await application(({ event, data, identity }) => {
      if (event === 'connect') return data?.cookie === 'csrf' ? [200, { identity: { user: 7 }, rooms: ['table', 'den'] }] : [403, { error: 'log in first' }];
      if (data?.room === 'den') return [200, { error: { why: 'closed', who: identity } }];
      return undefined;
    });
    const server = await serve('--validate-url', app.url);
    const refused = await enter(server.url, {});
    assert.deepEqual(refused.content, { message: 'log in first', data: { code: 'rejected' } });
    const { wire } = await enter(server.url, { cookie: 'csrf' }, { headers: { origin: server.url } });
    for (const room of ['table', 'den', 'attic']) wire.emit('join', { room, id: 'a' });
    await wire.settle();
    assert.deepEqual(refusals(wire), [['rejected', 'join'], ['not-permitted', 'join']]);
    assert.deepEqual(wire.events('error')[0].error, { why: 'closed', who: { user: 7 } });
    const { asked } = app;
    const about = { address: '127.0.0.1', origin: server.url, path: '/may?key=k', type: 'application/json' };
    assert.deepEqual(asked[1], { sid: null, event: 'connect', data: { cookie: 'csrf' }, identity: null, ...about });
    assert.deepEqual(asked[2], { sid: wire.sid, event: 'join', data: { room: 'table', id: 'a' }, identity: { user: 7 }, ...about });
    assert.ok(app.connections.size < asked.length, 'connections are used again');
  });

  it('lets nobody in while it is silent or away', async () => {
    const app = await application(() => [0]);
    const server = await serve('--validate-url', app.url, '--validate-timeout', '1');
    const since = Date.now();
    assert.deepEqual((await enter(server.url, {})).content.data, { code: 'admission-failed' });
    assert.ok(Date.now() - since >= 900);
    app.stop();
    assert.deepEqual((await enter(server.url, {})).content.data, { code: 'admission-failed' });
    assert.equal(await metric(server, 'rtc_cafe_connections_refused_total{code="admission-failed"}'), 2);
    assert.equal(server.output.match(/the webhook does not decide/g)?.length, 1, server.output);
    assert.equal(server.output.includes('key=k'), false, 'a secret in the log');
  });

  it('may be asked by TLS, if its certificate is trusted', async () => {
    const { key, cert } = selfSigned(folder, '127.0.0.1');
    const app = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) }, (request, response) => {
      request.resume().on('end', () => response.end('{"identity":"ana"}'));
    }).listen(0, '127.0.0.1');
    await once(app, 'listening');
    closing.push(() => app.close());
    const url = `https://127.0.0.1:${app.address().port}/`;
    const stranger = await serve('--validate-url', url);
    assert.deepEqual((await enter(stranger.url, {})).content.data, { code: 'admission-failed' });
    assert.match(stranger.output, /certificate/);
    process.env.SSL_CERT_FILE = cert;
    const server = await serve('--validate-url', url).finally(() => delete process.env.SSL_CERT_FILE);
    assert.equal((await enter(server.url, {})).refused, false);
  });

  it('is asked after the token', async () => {
    const app = await application();
    const server = await serve('--validate-url', app.url, '--jwt-secret', SECRET);
    assert.equal((await enter(server.url, { token: signedBy(NEXT) })).refused, true);
    assert.deepEqual(app.asked, []);
    const { wire } = await enter(server.url, { token: signedBy(SECRET, { sub: 'ana' }) });
    await wire.settle();
    assert.deepEqual(app.asked.map(({ identity }) => identity), Array(app.asked.length).fill('ana'));
    assert.ok(app.asked.length >= 2);
  });

  it('does not change what peers see', async () => {
    const app = await application();
    const server = await serve('--validate-url', app.url);
    const peers = ['a', 'b', 'c'].map((name) => LinePeer.native(server.url, 'table', { name }));
    closing.push(() => Promise.all(peers.map((peer) => peer.kill())));
    await everybodySees(peers);
    const events = (name) => app.asked.filter(({ event }) => event === name);
    assert.ok(events('offer').every(({ data }) => data.recipient));
    assert.equal(new Set(events('offer').map(({ sid, data }) => [sid, data.recipient].sort().join())).size, 3, 'each pair was asked about');
  });
});

describe('addresses', () => {
  const from = (address) => ({ headers: { 'x-forwarded-for': address } });

  it('are those that a trusted proxy tells, and have so many connections', async () => {
    const server = await serve('--trusted-proxy', '127.0.0.1', '--max-connections-per-address', '2');
    const first = await WebSocketWire.open(server.url, from('203.0.113.9'));
    const second = await PollingWire.open(server.url, from('6.6.6.6, 203.0.113.9'));
    const reply = await fetch(`${server.url}/socket.io/?EIO=4&transport=polling`, from('203.0.113.9'));
    assert.equal(reply.status, 429);
    assert.equal((await reply.json()).code, 'too-many-connections');
    await assert.rejects(WebSocketWire.open(server.url, from('203.0.113.9')), /429/);
    const other = await WebSocketWire.open(server.url, from('203.0.113.10'));
    assert.equal(await metric(server, 'rtc_cafe_connections_refused_total{code="too-many-connections"}'), 2);
    await first.close();
    const next = await eventually(() => WebSocketWire.open(server.url, from('203.0.113.9')));
    await closeAll(second, other, next);
  });

  it('of strangers are their own', async () => {
    const server = await serve('--max-connections-per-address', '1');
    const wires = [await WebSocketWire.open(server.url, from('203.0.113.9')), await WebSocketWire.open(server.url, from('203.0.113.9'))];
    await closeAll(...wires);
  });

  it('are gone when nothing is said in time', async () => {
    const server = await serve('--connect-timeout', '1');
    const wire = await WebSocketWire.open(server.url);
    assert.equal(await wire.ended, 1008);
    assert.equal(await metric(server, 'rtc_cafe_connections_cut_total{code="connect-timeout"}'), 1);
  });
});
