// The pages that the server shows, used as people do: by clicks and keys.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';

import { Browser, picture } from '../../harness/browser.mjs';
import { OUTAGE, assertClean } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';

const PHONE = { width: 390, height: 780, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

let server;
let browser;
before(async () => { [server, browser] = await Promise.all([startServer(), Browser.launch()]); });
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

/** What a person sees of the chat. */
const see = (page) => page.evaluate(() => {
  const text = (root, selector) => root.querySelector(selector)?.textContent.trim() ?? null;
  const shown = (element) => element.checkVisibility({ visibilityProperty: true });
  return {
    people: [...document.querySelectorAll('#people > li')].map((li) => `${text(li, '.name')} ${li.dataset.state}`).sort(),
    me: text(document, '#me .name'),
    messages: [...document.querySelectorAll('#log .message')].map((message) => `${text(message, '.who')}: ${text(message, '.text')}`),
    notices: [...document.querySelectorAll('#log .notice')].map((notice) => notice.textContent.trim()),
    status: document.querySelector('#status').dataset.state,
    banner: shown(document.querySelector('#banner')) ? text(document, '#banner') : '',
  };
});

const sees = (page, expected) => eventually(async () => {
  const seen = await see(page);
  for (const [key, value] of Object.entries(expected)) {
    if (typeof value === 'function') assert.ok(value(seen[key]), `${key}: ${JSON.stringify(seen[key])}`);
    else if (value instanceof RegExp) assert.match(seen[key], value);
    else assert.deepEqual(seen[key], value, key);
  }
}, { within: 20_000 });

/** Opens the chat, fills in the form by keys, and joins. */
async function enter(path, { name, room, viewport }) {
  const page = await browser.open(`${server.url}${path}`, { viewport, kit: false });
  await page.waitForSelector('#name', { visible: true });
  await type(page, '#name', name);
  if (room) await type(page, '#room', room);
  await page.click('#join');
  await page.waitForSelector('#text', { visible: true });
  return page;
}

async function type(page, selector, text) {
  await page.click(selector, { count: 3 });
  await page.keyboard.press('Backspace');
  await page.keyboard.type(text);
}

const say = async (page, text) => {
  await page.click('#text');
  await page.keyboard.type(text);
  await page.keyboard.press('Enter');
};

describe('the simple chat', () => {
  it('by clicks and keys: meet, talk, outage, leave', async () => {
    const ana = await enter('/samples/simple-chat.html', { name: 'Ana', room: 'velvet mocha' });
    await sees(ana, { me: 'Ana', people: [], status: 'connected', banner: '' });
    await ana.click('#copy');
    const link = new URL(ana.url());
    assert.equal(link.searchParams.get('room'), 'velvet mocha');

    const bo = await enter(`${link.pathname}${link.search}`, { name: 'Bo' });
    const cy = await enter(`${link.pathname}${link.search}`, { name: 'Cy 🦀', viewport: PHONE });
    await sees(ana, { people: ['Bo connected', 'Cy 🦀 connected'], notices: (all) => ['Bo', 'Cy 🦀'].every((name) => all.some((notice) => notice.startsWith(name))) });
    await sees(bo, { people: ['Ana connected', 'Cy 🦀 connected'] });
    await sees(cy, { people: ['Ana connected', 'Bo connected'] });

    await say(ana, 'Who takes the first cup?');
    await say(bo, 'Me! See https://example.org/menu <b>not bold</b>');
    await sees(ana, { messages: (all) => all.length === 2 });
    await type(cy, '#text', 'Then I take the second ☕');
    await cy.tap('#send');
    const talk = ['Ana: Who takes the first cup?', 'Bo: Me! See https://example.org/menu <b>not bold</b>', 'Cy 🦀: Then I take the second ☕'];
    for (const page of [ana, bo, cy]) await sees(page, { messages: talk });
    const rel = await ana.$eval('#log .message a', (a) => [a.href, a.rel, a.target]);
    assert.equal(rel[0], 'https://example.org/menu');
    assert.match(rel[1], /noopener|noreferrer/);
    await picture(ana, 'simple-chat');
    await picture(cy, 'simple-chat-phone');
    assert.ok(await cy.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing is wider than the phone');

    await server.kill();
    for (const page of [ana, bo, cy]) await sees(page, { status: 'reconnecting', banner: /server is away/ });
    await say(bo, 'Is the waiter gone?');
    for (const page of [ana, cy]) await sees(page, { messages: [...talk, 'Bo: Is the waiter gone?'], people: (all) => all.length === 2 });
    await picture(bo, 'simple-chat-outage');
    await server.restart();
    for (const page of [ana, bo, cy]) await sees(page, { status: 'connected', banner: '', people: (all) => all.length === 2 && all.every((one) => /connected$/.test(one)) });

    await cy.close();
    for (const page of [ana, bo]) await sees(page, { notices: (all) => all.at(-1) === 'Cy 🦀 left', people: (all) => all.length === 1 });
    await bo.click('#leave');
    await bo.waitForSelector('#join', { visible: true });
    await sees(ana, { notices: (all) => all.at(-1) === 'Bo left', people: [] });
    assertClean(ana, bo, OUTAGE);
    for (const page of [ana, bo, cy]) assert.deepEqual(page.requests.filter((url) => !own(url)), []);
  });

  it('tells on demand how somebody is connected, on a phone as well', async () => {
    const path = '/samples/simple-chat.html?room=details';
    const ana = await enter(path, { name: 'Ana' });
    const bo = await enter(path, { name: 'Bo', viewport: PHONE });
    await sees(ana, { people: ['Bo connected'] });
    await sees(bo, { people: ['Ana connected'] });
    const card = (page) => page.$eval('#connection', (box) => ({
      open: box.matches(':popover-open'),
      name: box.querySelector('h2').textContent,
      now: box.querySelector('.steps [data-state="now"]')?.dataset.phase,
      facts: Object.fromEntries([...box.querySelectorAll('dt')].map((dt) => [dt.textContent, dt.nextElementSibling.textContent])),
      fits: box.getBoundingClientRect().right <= innerWidth && box.getBoundingClientRect().bottom <= innerHeight + 1,
    }));
    await ana.click('#people .person');
    await eventually(async () => {
      const { facts, ...shown } = await card(ana);
      assert.deepEqual(shown, { open: true, name: 'Bo', now: 'open', fits: true });
      assert.equal(facts['Introduced by'], 'the server');
      assert.match(facts['Round trip'], /^\d+ ms$/);
    });
    await picture(ana, 'simple-chat-connection');
    await ana.keyboard.press('Escape');
    assert.equal((await card(ana)).open, false);
    await bo.tap('#people .person');
    await eventually(async () => assert.deepEqual([(await card(bo)).name, (await card(bo)).fits], ['Ana', true]));
    await picture(bo, 'simple-chat-connection-phone');
    await ana.close();
    await eventually(async () => assert.equal((await card(bo)).open, false));
    assertClean(bo);
  });

  it('says below a message who did not get it', async () => {
    const path = '/samples/simple-chat.html?room=fates';
    const ana = await enter(path, { name: 'Ana' });
    const cy = await enter(path, { name: 'Cy' });
    const bo = await browser.open(`${server.url}${path}`);
    await type(bo, '#name', 'Bo');
    await bo.click('#join');
    for (const page of [ana, cy]) await sees(page, { people: (all) => all.length === 2 && all.every((one) => /connected$/.test(one)) });
    await sees(ana, { people: ['Bo connected', 'Cy connected'] });
    // It loses its connections and does nothing more.
    await bo.evaluate(() => {
      kit.connections.forEach((connection) => connection.close());
      setTimeout(() => { for (const until = Date.now() + 8000; Date.now() < until;); }, 100);
    });
    await sees(ana, { people: ['Bo recovering', 'Cy connected'] });
    await say(ana, 'Is anybody there?');
    await sees(cy, { messages: ['Ana: Is anybody there?'] });
    await bo.close();
    await eventually(async () => assert.match(await ana.$eval('#log .message.mine .fate', (fate) => fate.textContent), /^(Not|Perhaps not) delivered to Bo\.$/), { within: 20_000 });
    await picture(ana, 'simple-chat-undelivered');
  });

  it('a link with a room needs a name only, and strange names are shown as text', async () => {
    const room = '<i>ñ</i> & "room"';
    const path = `/samples/simple-chat.html?${new URLSearchParams({ room })}`;
    const one = await enter(path, { name: '<img src=x onerror=alert(1)>' });
    const two = await enter(path, { name: 'Ana' });
    assert.equal(await two.$eval('#room-name', (element) => element.textContent), room);
    await sees(two, { people: ['<img src=x onerror=alert(1)> connected'] });
    await say(one, '<script>alert(1)</script>');
    await sees(two, { messages: ['<img src=x onerror=alert(1)>: <script>alert(1)</script>'] });
    assertClean(one, two);
  });

  it('a form that is not filled in goes nowhere', async () => {
    const page = await browser.open(`${server.url}/samples/simple-chat.html`, { kit: false });
    await page.click('#join');
    assert.equal(await page.$eval('#chat-view', (view) => view.hidden), true);
    assert.equal(await page.$eval('#name', (field) => field.matches(':invalid')), true);
    assertClean(page);
  });
});

it('the raw API sample talks', async () => {
  const log = (page) => page.$eval('#log', (element) => element.textContent);
  const one = await browser.open(`${server.url}/samples/raw-api.html?room=raw`, { kit: false });
  const two = await browser.open(`${server.url}/samples/raw-api.html?room=raw`, { kit: false });
  const sid = await eventually(async () => {
    const [, sid] = /acquireSid\("([^"]+)"\)/.exec(await log(one)) ?? [];
    assert.ok(sid, 'a sid');
    return sid;
  });
  await eventually(async () => assert.match(await log(two), /message\("[^"]+", \{"greeting":"hello"\}\)/), { within: 20_000 });
  await type(one, '#json', '{"a": [1, null, "☕"]}');
  await one.click('#send');
  await eventually(async () => assert.ok((await log(two)).includes(`message("${sid}", {"a":[1,null,"☕"]})`), await log(two)));
  await type(one, '#json', 'not JSON');
  await one.keyboard.press('Enter');
  await eventually(async () => assert.match(await log(one), /error\(/));
  await two.close();
  await eventually(async () => assert.match(await log(one), /disconnectFromPeer\(/));
  assertClean(one);
});

describe('the landing page', () => {
  it('leads to pages that are there, and nothing comes from elsewhere', async () => {
    const page = await browser.open(`${server.url}/`, { kit: false });
    await picture(page, 'landing');
    const links = await page.$$eval('a[href], link[href], script[src], img[src]', (all) => all.map((element) => element.href || element.src));
    const ownLinks = [...new Set(links.map((link) => link.split('#')[0]).filter(own))];
    for (const sample of ['simple-chat', 'video-room', 'raw-api']) {
      assert.ok(ownLinks.some((link) => link.endsWith(`/samples/${sample}.html`)), `${links}`);
    }
    for (const link of ownLinks) {
      assert.equal((await fetch(link)).status, 200, link);
      if (!/\.html$|\/$/.test(new URL(link).pathname)) continue;
      const linked = await browser.open(link, { kit: false });
      await linked.waitForNetworkIdle({ idleTime: 200 });
      assert.deepEqual(linked.requests.filter((url) => !own(url)), [], link);
      assertClean(linked);
    }
    assert.deepEqual(page.requests.filter((url) => !own(url)), []);
    assertClean(page);
  });

  it('fits a phone, and opens a room by its name', async () => {
    const page = await browser.open(`${server.url}/`, { viewport: PHONE, kit: false });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing is wider than the phone');
    await picture(page, 'landing-phone');
    await type(page, '#room', 'my room');
    await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
    assert.equal(new URL(page.url()).pathname, '/samples/simple-chat.html');
    assert.equal(await page.$eval('#room', (field) => field.value), 'my room');
    assertClean(page);
  });
});

function own(url) {
  return url.startsWith(`${server.url}/`) || /^(data|blob):/.test(url);
}
