// The operator's desk, in a real browser: who is let in, what is shown, and what becomes of those who are kicked.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { BROWSER, Browser, picture } from '../../harness/browser.mjs';
import { LinePeer } from '../../harness/line-peer.mjs';
import { Peer, everybodySees } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { Redis, WITHOUT_REDIS } from '../../harness/redis.mjs';
import { startServer } from '../../harness/server.mjs';
import { signedBy } from '../../harness/token.mjs';
import { closeAll, connect } from '../../harness/wire.mjs';

const TOKEN = '0123456789abcdef';

let browser;
let redis;
let servers = [];
let wires = [];
let natives = [];
before(async () => { browser = await Browser.launch(); });
afterEach(async () => {
  await browser.clear();
  await closeAll(wires.splice(0));
  await Promise.all(natives.splice(0).map((peer) => peer.kill()));
  await Promise.all(servers.splice(0).map((server) => server.kill()));
  await redis?.end();
  redis = undefined;
});
after(() => browser?.close());

async function start(...options) {
  const server = await startServer('--admin-token', TOKEN, ...options);
  servers.push(server);
  return server;
}

async function member(server, room, id) {
  const wire = await connect(server.url);
  wires.push(wire);
  return wire.join(room, { id });
}

async function desk(server, { token = TOKEN, dark = false, ...options } = {}) {
  const page = await browser.open(`${server.url}/admin`, { kit: false, viewport: { width: 1280, height: 800 }, ...options });
  assert.equal(new URL(page.url()).pathname, '/admin/');
  // Only Chromium can be told to; for pictures it is enough.
  if (dark && BROWSER === 'chromium') await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
  if (token) await unlock(page, token);
  return page;
}

async function unlock(page, token) {
  await page.type('#token', token);
  await page.click('#unlock button');
}

const text = (page, selector) => page.$eval(selector, (found) => found.innerText.trim());
const texts = (page, selector) => page.$$eval(selector, (found) => found.map((it) => it.textContent.trim()));
const shows = (page, selector, expected) => eventually(async () => {
  const found = await text(page, selector);
  assert.ok(expected instanceof RegExp ? expected.test(found) : found === expected, `"${found}", not ${expected}`);
});
const lists = (page, selector, expected) => eventually(async () => assert.deepEqual(await texts(page, selector), expected));

async function choose(page, name) {
  // The list may be drawn anew meanwhile.
  await eventually(async () => {
    const at = (await texts(page, '#rooms .name')).indexOf(name);
    assert.ok(at >= 0, `there is no ${name}`);
    await (await page.$$('#rooms button'))[at].click();
  });
  await shows(page, '#room-name', name);
}

async function kick(page, sid) {
  await page.click(`button[aria-label="Kick ${sid}"]`);
  await page.waitForSelector('#confirm[open]');
  await page.click('#confirm-yes');
}

/** Nothing went wrong but what was meant to, and nobody else was asked. */
function assertHarmless(page, server, ...expected) {
  const problems = page.problems.filter((problem) => !expected.some((part) => problem.includes(part)));
  assert.deepEqual(problems, []);
  assert.deepEqual(page.requests.filter((url) => !url.startsWith(`${server.url}/`)), []);
}

it('without a token there is no desk', async () => {
  const server = await startServer();
  servers.push(server);
  for (const path of ['/admin', '/admin/', '/admin/api/rooms']) assert.equal((await fetch(server.url + path)).status, 404);
});

it('only the token opens it, and the tab remembers it until it is locked', async () => {
  const server = await start();
  const page = await desk(server, { token: 'not-the-right-one' });
  await shows(page, '#refused', 'This is not the token of this server.');
  await picture(page, 'admin-refused');
  await unlock(page, TOKEN);
  await shows(page, '#rooms-empty', 'Nobody is in a room.');
  await picture(page, 'admin-empty');
  await page.reload();
  await shows(page, '#state', 'Live');
  await page.click('#lock');
  assert.equal(await page.$eval('#desk', ({ hidden }) => hidden), true);
  await page.reload();
  assert.equal(await text(page, '#state'), 'Locked');
  assertHarmless(page, server, '401');
});

it('rooms and members are shown as they are, found, and dealt out in parts', async () => {
  const server = await start();
  const evil = '<img src=x onerror="document.title=1">';
  for (let at = 0; at < 34; at += 1) await member(server, `room ${at}`, `solo ${at}`);
  for (let at = 0; at < 60; at += 1) await member(server, 'hall', `guest ${at}`);
  await member(server, 5, 7);
  await member(server, evil, evil);
  const page = await desk(server);
  await shows(page, '#rooms-total', '37');
  assert.equal(await page.$$eval('#rooms li', ({ length }) => length), 30);
  await shows(page, '#rooms-pager', /1 to 30 of 37/);
  await page.$$eval('#rooms-pager button', ([, next]) => next.click());
  await shows(page, '#rooms-pager', /31 to 37 of 37/);
  await page.$$eval('#rooms-pager button', ([back]) => back.click());

  await choose(page, 'hall');
  await shows(page, '#members-total', '60');
  assert.equal(await page.$$eval('#members tr', ({ length }) => length), 50);
  assert.match(await text(page, '#members tr'), /guest 0\s+127\.0\.0\.1/);
  await picture(page, 'admin-many');
  await page.type('#members-search', 'guest 59');
  await lists(page, '#members td:nth-child(2)', ['guest 59']);

  await page.type('#rooms-search', 'onerror');
  await lists(page, '#rooms .name', [evil]);
  await choose(page, evil);
  await lists(page, '#members td:nth-child(2)', [evil]);
  assert.equal(await page.title(), 'RTCCafe: rooms and members');
  await page.$eval('#rooms-search', (input) => { input.value = ''; });
  await page.type('#rooms-search', 'solo 33');
  await lists(page, '#rooms .name', ['room 33']);
  await page.$eval('#rooms-search', (input) => { input.value = ''; });
  await page.type('#rooms-search', '5');
  await choose(page, '5 number');
  await lists(page, '#members td:nth-child(2)', ['7 number']);
  assertHarmless(page, server);

  await browser.clear();
  const dark = await desk(server, { dark: true });
  await choose(dark, 'hall');
  await shows(dark, '#members-total', '60');
  await picture(dark, 'admin-dark');
  await browser.clear();
  const narrow = await desk(server, { viewport: { width: 390, height: 844 } });
  await shows(narrow, '#rooms-total', '37');
  await picture(narrow, 'admin-narrow-rooms');
  await choose(narrow, 'hall');
  await shows(narrow, '#members-total', '60');
  await picture(narrow, 'admin-narrow-members');
  assert.ok(await narrow.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing is wider than the screen');
  await narrow.click('#back');
  assert.ok(await narrow.$eval('.rooms', (it) => it.checkVisibility()));
});

it('rooms with large numbers are kept apart', async () => {
  const server = await start();
  const [room, other] = ['9007199254740993', '9007199254740992'];
  const wire = await connect(server.url);
  wires.push(wire);
  for (const name of [room, other]) wire.send(`42/rtc-cafe,["join",{"room":${name},"id":"${name}"}]`);
  await wire.settle();
  const page = await desk(server);
  await choose(page, `${room} number`);
  await shows(page, '#members-total', '1');
  await page.click('#kick-room');
  await page.waitForSelector('#confirm[open]');
  await shows(page, '#confirm-title', `Empty ${room} number?`);
  await page.click('#confirm-yes');
  await shows(page, '#note', 'One session has ended.');
  assertHarmless(page, server, '404');
});

it('members have the identity of their token, and the address that a proxy tells', async () => {
  const secret = 'a secret of the application, 32 bytes';
  const server = await start('--jwt-secret', secret, '--trusted-proxy', '127.0.0.1');
  const authorization = `Bearer ${signedBy(secret, { sub: 'ana@example.org' })}`;
  const wire = await connect(server.url, { headers: { authorization, 'x-forwarded-for': '203.0.113.9' } });
  wires.push(wire);
  await wire.join('hall', { id: 'guest' });
  const page = await desk(server);
  await page.type('#rooms-search', 'ANA@');
  await choose(page, 'hall');
  await lists(page, '#members td:nth-child(3)', ['203.0.113.9']);
  await lists(page, '#members td:nth-child(6)', ['ana@example.org']);
  assert.ok(await page.$eval('#members td:nth-child(6)', (it) => it.checkVisibility()));
  await picture(page, 'admin-identity');
  assertHarmless(page, server);
});

it('whoever is kicked is told, leaves its peers, and does not come back', async () => {
  const server = await start();
  const native = LinePeer.native(server.url, 'table', { name: 'native' });
  const other = LinePeer.native(server.url, 'table', { name: 'other' });
  natives.push(native, other);
  const guest = await Peer.open(browser, server.url, { rooms: ['table'] });
  await everybodySees([native, other, guest]);
  const page = await desk(server);
  await choose(page, 'table');
  await shows(page, '#members-total', '3');

  const [sid, nativeSid] = [await guest.sid(), await native.sid()];
  await kick(page, sid);
  await picture(page, 'admin-kicked');
  await shows(page, '#note', 'One session has ended.');
  await guest.expect('error', [['KICKED']]);
  for (const peer of [native, other]) await peer.expect('disconnectFromPeer', [[sid]]);
  assert.equal(await guest.run((client) => client.signaller.state), 'closed');
  await shows(page, '#members-total', '2');

  await kick(page, nativeSid);
  await native.expect('error', [['KICKED']]);
  await eventually(async () => assert.deepEqual(await other.told('disconnectFromPeer'), [[sid], [nativeSid]]));
  // Longer than any client waits before it tries again.
  await sleep(5000);
  assert.equal(await text(page, '#members-total'), '1');

  await page.click('#kick-room');
  await page.waitForSelector('#confirm[open]');
  await picture(page, 'admin-confirm');
  await page.click('#confirm-yes');
  await shows(page, '#members-empty', 'Nobody is here any more.');
  await other.expect('error', [['KICKED']]);
  assertHarmless(page, server, '404');
});

describe('over several servers', { skip: WITHOUT_REDIS }, () => {
  it('members of other servers are shown and kicked', async () => {
    redis = await Redis.start();
    const [a, b] = [await start('--redis', redis.url), await start('--redis', redis.url)];
    const here = await member(a, 'shared', 'ana');
    const there = await member(b, 'shared', 'bob');
    await here.expect('acquire-peers');
    const page = await desk(a);
    await choose(page, 'shared');
    await lists(page, '#members td:nth-child(1)', [here.sid, there.sid]);
    await lists(page, '#members td:nth-child(3)', ['127.0.0.1', '–']);
    const [own, remote] = await texts(page, '#members td:nth-child(4)');
    assert.equal(own, 'this one');
    const other = await fetch(`${b.url}/admin/api/status`, { headers: { authorization: `Bearer ${TOKEN}` } });
    assert.equal((await other.json()).node, remote);
    await picture(page, 'admin-nodes');
    await kick(page, there.sid);
    await shows(page, '#note', `Node ${remote} was asked to end one session.`);
    assert.equal((await there.expect('error'))[0].code, 'kicked');
    await there.ended;
    await lists(page, '#members td:nth-child(1)', [here.sid]);
    await redis.kill();
    await page.waitForSelector('#broker', { visible: true });
    await shows(page, '#broker', /Redis is away/);
    await picture(page, 'admin-redis-away');
  });
});
