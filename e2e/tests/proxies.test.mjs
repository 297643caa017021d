// The files for proxies in deploy/, as they stand but for ports and certificates, in front of two servers.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

import { io } from 'socket.io-client';

import { Program, eventually, freePort } from '../harness/process.mjs';
import { startServer } from '../harness/server.mjs';

const TOKEN = '0123456789abcdef';
/** Where clients come from; proxies and servers are at 127.0.0.1. */
const CLIENT = '127.0.0.5';

const without = (program) => (spawnSync(program, ['-h']).error ? `${program} is not installed` : false);

/** A file of deploy/ with some parts replaced, each of which has to be there. */
function deployed(name, parts) {
  let text = readFileSync(fileURLToPath(new URL(`../../deploy/${name}`, import.meta.url)), 'utf8');
  for (const [part, other] of Object.entries(parts)) {
    assert.ok(text.includes(part), `${name} has ${part}`);
    text = text.replaceAll(part, other);
  }
  return text;
}

let folder;
let proxy;
let servers = [];
let sockets = [];
afterEach(async () => {
  sockets.splice(0).forEach((socket) => socket.disconnect());
  await proxy?.stop();
  await Promise.all(servers.splice(0).map((server) => server.kill()));
  rmSync(folder, { recursive: true, force: true });
});

async function nginx(port) {
  const file = (name) => join(folder, name);
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-subj', '/CN=cafe.example.org', '-keyout', file('key.pem'), '-out', file('cert.pem')]);
  assert.equal(made.status, 0, `${made.stderr}`);
  writeFileSync(file('site.conf'), deployed('nginx.conf', {
    'listen 443 ssl': `listen 127.0.0.1:${port} ssl`,
    '/etc/letsencrypt/live/cafe.example.org/fullchain.pem': file('cert.pem'),
    '/etc/letsencrypt/live/cafe.example.org/privkey.pem': file('key.pem'),
    'server 127.0.0.1:8080 ': `server 127.0.0.1:${servers[0].port} `,
    '# server 10.0.0.2:8080 ': `server 127.0.0.1:${servers[1].port} `,
  }));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${file(kind)};`).join(' ');
  const user = process.getuid() === 0 ? 'user root;' : '';
  writeFileSync(file('nginx.conf'), `${user} daemon off; pid ${file('pid')}; error_log stderr; events {}
    http { access_log off; ${temporary} include ${file('site.conf')}; }`);
  return new Program('nginx', ['-e', 'stderr', '-c', file('nginx.conf')]);
}

async function caddy(port) {
  const site = deployed('Caddyfile', { 'one:8080 other:8080': servers.map((server) => `127.0.0.1:${server.port}`).join(' ') });
  writeFileSync(join(folder, 'Caddyfile'), `{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n${site}`);
  const env = { ...process.env, HOST: `localhost:${port}`, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
  return new Program('caddy', ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')], { env });
}

/** Starts two servers and the proxy in front of them; how clients reach it. */
async function start(kind) {
  folder = mkdtempSync(join(tmpdir(), 'rtc-cafe-proxy-'));
  servers = await Promise.all([0, 1].map(() => startServer('--trusted-proxy', '127.0.0.1', '--admin-token', TOKEN, '--drain', '1s')));
  const port = await freePort();
  proxy = await kind(port);
  const way = { base: `https://localhost:${port}`, agent: new Agent({ localAddress: CLIENT, rejectUnauthorized: false, family: 4 }) };
  try {
    await eventually(async () => assert.equal((await ask(way, '/healthz')).status, 200));
  } catch (error) {
    throw new Error(`${error.message}\n${proxy.output}`, { cause: error });
  }
  return way;
}

function ask({ base, agent }, path) {
  return new Promise((resolve, reject) => {
    get(base + path, { agent }, (reply) => {
      let text = '';
      reply.on('data', (data) => { text += data; }).on('end', () => resolve({ status: reply.statusCode, text }));
    }).on('error', reject);
  });
}

/** A client of Socket.IO in a room. */
async function client({ base, agent }, id, options) {
  const socket = io(`${base}/rtc-cafe`, { agent, rejectUnauthorized: false, forceNew: true, ...options });
  sockets.push(socket);
  socket.heard = [];
  socket.onAny((name, payload) => socket.heard.push([name, payload]));
  socket.on('connect', () => socket.emit('join', { room: 'R', id }));
  await eventually(() => assert.ok(socket.connected, `${id} is not connected: ${proxy.output.slice(-2000)}`));
  return socket;
}

/** Members of the room, by their ids, with their addresses. */
async function members() {
  const all = await Promise.all(servers.map(async ({ url }) => {
    const reply = await fetch(`${url}/admin/api/rooms/R`, { headers: { authorization: `Bearer ${TOKEN}` } });
    return reply.ok ? (await reply.json()).members : [];
  }));
  return Object.fromEntries(all.flat().map(({ id, address }) => [id, address]));
}

for (const [name, kind] of Object.entries({ nginx, caddy })) {
  describe(name, { skip: without(name) }, () => {
    it('lets clients through by both transports, tells who they are, and keeps operators\' paths to itself', async () => {
      const way = await start(kind);
      const ways = { websocket: { transports: ['websocket'] }, polling: { transports: ['polling'] }, upgrade: {} };
      const all = {};
      for (const [id, options] of Object.entries(ways)) all[id] = await client(way, id, options);
      await eventually(() => assert.equal(all.upgrade.io.engine.transport.name, 'websocket'));
      await eventually(async () => assert.deepEqual(await members(), { websocket: CLIENT, polling: CLIENT, upgrade: CLIENT }));

      // Clients of one address are on one server; so they meet, and signals of any size come through.
      await eventually(() => assert.equal(all.websocket.heard.filter(([event]) => event === 'acquire-peers').length, 2));
      const [, { sid }] = all.websocket.heard.find(([event, { id }]) => event === 'acquire-peers' && id === 'polling');
      const sdp = 'x'.repeat(500_000);
      all.websocket.emit('offer', { recipient: sid, offer: { sdp } });
      await eventually(() => assert.equal(all.polling.heard.find(([event]) => event === 'offer')?.[1].offer.sdp.length, sdp.length));

      for (const path of ['/metrics', '/admin', '/admin/', '/admin/api/rooms']) assert.equal((await ask(way, path)).status, 404, path);
      assert.equal((await ask(way, '/')).status, 200);
    });

    it('sends newcomers past a server that is about to stop, and everybody to the other one', async () => {
      const way = await start(kind);
      const one = await client(way, 'one', { transports: ['websocket'] });
      const counts = async () => Promise.all(servers.map(async ({ url }) => Number(/^rtc_cafe_sockets (\d+)$/m.exec(await (await fetch(`${url}/metrics`)).text())[1])));
      const at = (await counts()).indexOf(1);
      const stopping = servers[at].stop(20_000);
      await eventually(async () => assert.equal((await fetch(`${servers[at].url}/readyz`).catch(() => ({ status: 503 }))).status, 503));
      const late = await client(way, 'late', { transports: ['websocket'] });
      assert.deepEqual(await stopping, { code: 0, signal: null });
      const [other] = servers.toSpliced(at, 1);
      await eventually(async () => assert.match(await (await fetch(`${other.url}/metrics`)).text(), /^rtc_cafe_sockets 2$/m));
      assert.ok(late.connected && one.connected);
    });
  });
}
