// Pages and a server that asks for tokens.

import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';

import { Browser } from '../../harness/browser.mjs';
import { Peer, delivers, everybodySees } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';
import { signedBy, soon } from '../../harness/token.mjs';

const SECRET = 'the secret of the application, kept on its server';

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([startServer('--jwt-secret', SECRET), Browser.launch()]);
});
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

const withToken = (token, rooms = ['table']) => ({ rooms, signaller: { ioOptions: { auth: { token } } } });
const ticket = (sub, more = {}) => signedBy(SECRET, { sub, rooms: ['table', 'team-*'], ...more });
const messages = (peer) => peer.run((_client, name) => kit.events[name].filter(([event]) => event === 'error').map(([, error]) => error.message), peer.name);

it('pages with tokens meet, wherever they put them', async () => {
  const a = await Peer.open(browser, server.url, withToken(ticket('ana')));
  const page = await browser.open(`${server.url}/healthz`);
  const b = new Peer(page, 'modified');
  // As the README of the original has it: a field in every signal.
  await page.evaluate((token) => kit.start('modified', {
    from: '/client/rtc-cafe-client.js', rooms: ['table'], signaller: { signalModifier: (_name, payload) => ({ ...payload, token }) },
  }), ticket('ben'));
  await everybodySees([a, b]);
  await delivers(a, 'hello', b);
  await delivers(b, 'hello back', a);
  for (const peer of [a, b]) assert.deepEqual(await peer.told('error'), []);
});

it('a page without a token is told so, and joins nothing', async () => {
  const a = await Peer.open(browser, server.url, withToken(ticket('ana')));
  await a.sid();
  const b = await Peer.open(browser, server.url, { rooms: ['table'] });
  await eventually(async () => assert.match((await messages(b)).join(), /a token is needed/));
  assert.deepEqual((await b.told('error')).flat(), ['SIGNAL_REFUSED', 'SIGNAL_REFUSED'], 'its session, and its room');
  const { sid, discoveredPeers } = await b.look();
  assert.deepEqual([sid, discoveredPeers], ['unassigned', []]);
  assert.deepEqual((await a.look()).discoveredPeers, []);
});

it('a room that the token does not open is refused, and others are not', async () => {
  const a = await Peer.open(browser, server.url, withToken(ticket('ana'), ['staff', 'team-1']));
  await eventually(async () => assert.match((await messages(a)).join(), /you may not join this room/));
  const b = await Peer.open(browser, server.url, withToken(ticket('ben'), ['team-1']));
  await everybodySees([a, b]);
});

it('a page with an expired token is told so, and comes in with a new one', async () => {
  const page = await browser.open(`${server.url}/healthz`);
  const peer = new Peer(page, 'late');
  await page.evaluate((old) => {
    globalThis.token = old;
    // Socket.IO asks for it each time that it connects.
    return kit.start('late', { from: '/client/rtc-cafe-client.js', rooms: ['table'], signaller: { ioOptions: { auth: (give) => give({ token: globalThis.token }) } } });
  }, ticket('ana', { exp: soon(-60) }));
  await eventually(async () => assert.match((await messages(peer)).join(), /your token has expired/));
  assert.equal((await peer.look()).sid, 'unassigned');
  await page.evaluate((fresh) => { globalThis.token = fresh; }, ticket('ana'));
  await peer.sid();
});
