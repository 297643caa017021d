// The video room, used as people do: by clicks.

import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';

import { BROWSER, Browser, picture } from '../../harness/browser.mjs';
import { Peer, assertClean } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';
import { offer } from '../../harness/tracks.mjs';

const PHONE = { width: 390, height: 780, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
const ON_ITS_SIDE = { ...PHONE, width: 780, height: 390 };
const SMALL = { ...PHONE, width: 320, height: 568 };

let server;
let browser;
before(async () => { [server, browser] = await Promise.all([startServer(), Browser.launch()]); });
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

async function enter(name, { viewport, from = browser } = {}) {
  const page = await from.open(`${server.url}/samples/video-room.html?room=terrace`, { viewport, kit: false });
  await page.type('#name', name);
  await page.click('#join');
  await page.waitForSelector('#camera', { visible: true });
  return page;
}

/** How many pictures of others move. */
const moving = (page) => page.evaluate(async () => {
  const videos = [...document.querySelectorAll('#tiles .tile:not(.mine)[data-media=live] video')];
  const moves = (video) => new Promise((resolve) => {
    video.requestVideoFrameCallback(() => video.requestVideoFrameCallback(() => resolve(true)));
    setTimeout(resolve, 1000, false);
  });
  return (await Promise.all(videos.map(moves))).filter(Boolean).length;
});

const shows = (page, count) => eventually(async () => {
  const now = await moving(page);
  assert.ok(now === count, `${now} of ${count} pictures move: ${JSON.stringify(await tiles(page))}`);
}, { within: 20_000 });

/** What tiles of others show, by the name of the person. */
const tiles = (page) => page.evaluate(() => Object.fromEntries([...document.querySelectorAll('#tiles .tile:not(.mine)')].map((tile) => {
  const shown = (selector) => tile.querySelector(selector).checkVisibility();
  const { state, path, media, id } = tile.dataset;
  return [tile.querySelector('.name').textContent, {
    state, path, media, id, how: tile.querySelector('.how').textContent, what: tile.querySelector('.what').textContent,
    muted: shown('.silent'), speaking: tile.classList.contains('speaking'), saysSo: shown('.speaks'), sounds: tile.querySelectorAll('audio').length,
  }];
})));

/** Waits until the tile of somebody shows these. */
const tileShows = (page, name, expected, options) => eventually(async () => {
  const tile = (await tiles(page))[name];
  assert.ok(tile, `${name} has no tile`);
  assert.deepEqual(Object.fromEntries(Object.keys(expected).map((key) => [key, tile[key]])), expected);
}, { within: 20_000, ...options });

const OTHERS = '#tiles .tile:not(.mine)';

/** Does something by a click or a tap until it is done: what moves meanwhile is missed, by people too. */
const until = (isDone, act) => eventually(async () => {
  if (await isDone()) return;
  await act();
  await eventually(async () => assert.ok(await isDone(), 'nothing came of it'), { within: 2000 });
});

/** Clicks or taps a picture, if its buttons are not shown. */
async function choose(tile, by) {
  if (!await tile.evaluate((tile) => tile.matches('.tapped, :hover, :focus-within'))) await tile[by]();
}

/** Stops what a tile shows by its button, which appears when the picture is chosen; there is no mouse to hover with here. */
async function stop(page, selector, by = 'click') {
  const id = await (await page.waitForSelector(selector)).evaluate((tile) => tile.dataset.id);
  const shown = () => page.$(`.tile[data-id="${id}"][data-media=live]`);
  await until(async () => !await shown(), async () => {
    const tile = await shown();
    await choose(tile, by);
    const button = await tile.$('button.stop');
    assert.equal(await button.evaluate(({ parentElement }) => getComputedStyle(parentElement).opacity), '1');
    await button[by]();
  });
}

/** Watches what is offered. */
async function watch(page, by = 'click') {
  const button = await page.waitForSelector('#offers button', { visible: true });
  await until(() => button.evaluate((button) => !button.checkVisibility()), () => button[by]());
}

const count = (page, selector) => page.evaluate((selector) => document.querySelectorAll(selector).length, selector);
const focused = (page) => page.evaluate(() => document.activeElement.id || document.activeElement.getAttribute('aria-label'));

it('by clicks: cameras on, one stopped and watched again, one off, everybody leaves', async () => {
  const [ana, ben] = [await enter('Ana'), await enter('Ben')];
  const cy = await enter('Cy', { viewport: PHONE });
  for (const page of [ana, ben, cy]) await page.click('#camera');
  for (const page of [ana, ben, cy]) await shows(page, 2);
  await ana.click('#microphone');
  await eventually(async () => assert.equal(await ben.evaluate(() => document.querySelectorAll('#tiles .tile:not(.mine) audio[data-id]').length), 1));
  await picture(ana, 'video-room');
  await picture(cy, 'video-room-phone');

  await stop(ana, `${OTHERS}[data-media=live]`);
  await shows(ana, 1);
  await shows(ben, 2);
  await watch(ana);
  await shows(ana, 2);

  await stop(cy, `${OTHERS}[data-media=live]`, 'tap');
  await shows(cy, 1);
  await watch(cy, 'tap');
  await shows(cy, 2);

  await cy.click('#camera');
  await shows(ana, 1);
  await shows(ben, 1);
  await cy.click('#leave');
  await eventually(async () => assert.equal(await ana.evaluate(() => new Set([...document.querySelectorAll('#tiles .tile:not(.mine)')].map((tile) => tile.dataset.sid)).size), 1));
  assertClean(ana, ben, cy);
});

it('it is shown who is connected and how, who speaks, and who is muted, also to those who come later', async () => {
  const [ana, ben] = [await enter('Ana'), await enter('Ben')];
  await tileShows(ben, 'Ana', { state: 'connected', path: 'direct', muted: true });
  assert.match((await tiles(ben)).Ana.how, /^direct · \d+ ms$/);
  for (const button of ['#camera', '#microphone']) await ana.click(button);
  await shows(ben, 1);
  // The microphone that is made up beeps; without a sound card Firefox lets no page listen to it.
  const speaking = BROWSER === 'chromium';
  await tileShows(ben, 'Ana', { speaking, saysSo: speaking, muted: false, sounds: 1 });
  await eventually(async () => assert.equal(await count(ana, '#tiles .mine.speaking'), Number(speaking)));
  await picture(ben, 'video-room-speaking');
  await ana.click('#microphone');
  await tileShows(ben, 'Ana', { speaking: false, saysSo: false, muted: true, sounds: 1 });
  assert.equal(await ana.$eval('#microphone', (button) => button.getAttribute('aria-pressed')), 'false');
  const cy = await enter('Cy');
  await tileShows(cy, 'Ana', { state: 'connected', muted: true, sounds: 1 });
  await ana.click('#microphone');
  for (const page of [ben, cy]) await tileShows(page, 'Ana', { speaking, muted: false });
  await ana.click('#leave');
  for (const page of [ben, cy]) await eventually(async () => assert.equal((await tiles(page)).Ana, undefined));
  assertClean(ana, ben, cy);
});

it('by keys: nothing comes by itself once that was chosen, and what is watched is stopped', async () => {
  const [ana, ben] = [await enter('Ana'), await enter('Ben')];
  // Not around the end of the page: past the controls of the browser itself, keys press nothing in Firefox.
  const go = async (page, to, { back = false } = {}) => {
    // Keys go to the window in front.
    await page.bringToFront();
    await eventually(async () => assert.ok(await page.evaluate(() => document.hasFocus()), 'the window has not come to the front'));
    for (let steps = 0; (await focused(page)) !== to; steps += 1) {
      assert.ok(steps < 30, `${to} is not reached by the key Tab`);
      if (back) await page.keyboard.down('Shift');
      await page.keyboard.press('Tab');
      if (back) await page.keyboard.up('Shift');
    }
  };
  assert.equal(await focused(ben), 'microphone');
  await go(ben, 'settings-button');
  await ben.keyboard.press('Enter');
  await ben.waitForSelector('#settings[open]');
  await go(ben, 'automatic');
  await ben.keyboard.press(' ');
  await ben.keyboard.press('Escape');
  await eventually(async () => assert.equal(await focused(ben), 'settings-button'));
  await go(ana, 'camera');
  await ana.keyboard.press(' ');
  await ben.waitForSelector('#offers button', { visible: true });
  await tileShows(ben, 'Ana', { state: 'connected', media: 'none' });
  assert.equal(await moving(ben), 0);
  await go(ben, 'Watch Ana’s camera', { back: true });
  await ben.keyboard.press('Enter');
  await tileShows(ben, 'Ana', { media: 'live' });
  await shows(ben, 1);
  assert.equal(await focused(ben), 'Stop watching Ana’s camera');
  await ben.keyboard.press('Tab');
  assert.equal(await focused(ben), 'Enlarge Ana’s camera');
  await ben.keyboard.press(' ');
  assert.equal(await count(ben, `${OTHERS}.stage button.pin[aria-pressed=true]`), 1);
  await go(ben, 'Stop watching Ana’s camera', { back: true });
  await ben.keyboard.press('Enter');
  await shows(ben, 0);
  assert.equal(await focused(ben), 'Watch Ana’s camera');
  await ben.reload();
  await ben.click('#join');
  await ben.waitForSelector('#offers button', { visible: true });
  assertClean(ana, ben);
});

it('what is described anew is called so, every button has a name of its own, and what was stopped stays so', async () => {
  const ben = await enter('Ben');
  const guest = await Peer.open(browser, server.url, { rooms: ['terrace'] });
  const describe = (description) => guest.run(async (client, description) => {
    kit.shown ??= await kit.track(320);
    return client.addTrack(kit.shown, description);
  }, description);
  const id = await describe('slides');
  await shows(ben, 1);
  const name = await eventually(async () => {
    const [name] = Object.keys(await tiles(ben));
    assert.match(name, /^Guest /);
    return name;
  });
  await tileShows(ben, name, { what: 'slides', media: 'live' });
  await describe('more slides');
  await tileShows(ben, name, { what: 'more slides' });
  for (const what of ['slides', 'slides', { what: 'screen' }, { what: 'screen' }]) await offer(guest, 160, what);
  await shows(ben, 4);
  const names = await ben.$$eval('button', (buttons) => buttons.filter((button) => button.checkVisibility())
    .map((button) => button.getAttribute('aria-label') ?? button.textContent.trim()));
  assert.deepEqual(names.filter((each, at) => !each || names.indexOf(each) !== at), []);
  for (const each of ['more slides', 'slides', 'slides 2', 'screen']) assert.ok(names.includes(`Enlarge ${name}’s ${each}`), `${each} of ${names}`);
  assert.ok(names.includes(`Watch ${name}’s screen 2`), `${names}`);

  await stop(ben, `.tile[data-id="${id}"]`);
  await ben.waitForSelector(`#offers [data-id="${id}"]`);
  const before = await guest.sid();
  await guest.run(() => {
    kit.breakSockets();
    kit.connections.forEach((connection) => connection.close());
  });
  await eventually(async () => assert.notEqual(await guest.sid(), before));
  const after = await guest.sid();
  await ben.waitForSelector(`#offers [data-sid="${after}"][data-id="${id}"]`);
  await shows(ben, 4);
  assert.equal(await count(ben, `.tile[data-id="${id}"]`), 0);
  assertClean(ben);
});

it('sound that the browser keeps silent comes by a key, and nothing is said about it any more', async () => {
  const [ana, ben] = [await enter('Ana'), await enter('Ben')];
  await ben.evaluate(() => {
    const { play } = HTMLMediaElement.prototype;
    globalThis.mayPlay = false;
    HTMLMediaElement.prototype.play = function playOrNot() {
      if (globalThis.mayPlay || this.muted) return play.call(this);
      this.pause();
      return Promise.reject(new DOMException('no', 'NotAllowedError'));
    };
  });
  await ana.click('#microphone');
  await ben.waitForSelector('#notice .problem', { visible: true });
  await ben.keyboard.press('Shift');
  assert.equal(await count(ben, '#notice .problem'), 1);
  await ben.evaluate(() => { globalThis.mayPlay = true; });
  await ben.keyboard.press('Shift');
  await eventually(async () => assert.deepEqual(await ben.$$eval('audio', (sounds) => sounds.map(({ paused }) => paused)), [false]));
  await eventually(async () => assert.equal(await count(ben, '#notice .problem'), 0));
  assertClean(ana, ben);
});

it('on a phone, upright or on its side, there is nothing smaller than a finger, and no word that cannot be read', async () => {
  const sizes = (page, selector) => page.$$eval(selector, (elements) => elements.filter((element) => element.checkVisibility()).map((element) => {
    const { width, height, top, left, bottom, right } = element.getBoundingClientRect();
    const isInside = top >= 0 && left >= 0 && bottom <= innerHeight && right <= innerWidth;
    return { width, height, isInside, name: element.id || element.className };
  }));
  const areLarge = (all) => all.forEach(({ width, height, isInside, name }) => {
    assert.ok(width >= 40 && height >= 40 && isInside, `${name}: ${width} x ${height}, ${isInside ? 'inside' : 'outside'}`);
  });
  const ana = await enter('Ana', { viewport: ON_ITS_SIDE });
  const [ben, cy] = [await enter('Ben', { viewport: SMALL }), await enter('Cy')];
  for (const page of [ana, ben, cy]) await page.click('#camera');
  for (const page of [ana, ben]) await shows(page, 2);
  await cy.click('#microphone');
  await tileShows(ben, 'Cy', { sounds: 1 });
  for (const page of [ana, ben]) {
    const controls = await sizes(page, '#room-view > footer > *');
    assert.ok(controls.length >= 5, `${controls.map(({ name }) => name)}`);
    areLarge(controls);
  }
  await picture(ana, 'video-room-on-its-side');

  const tile = await ben.$(`${OTHERS}[data-media=live]:has(audio)`);
  const how = () => tile.$eval('.how', (element) => [element.textContent.startsWith('direct'), parseFloat(getComputedStyle(element).fontSize) >= 11]);
  await eventually(async () => assert.deepEqual(await how(), [true, false]));
  await eventually(async () => {
    await choose(tile, 'tap');
    assert.deepEqual(await how(), [true, true]);
  });
  // Firefox has no finger here.
  if (BROWSER === 'chromium') areLarge(await sizes(ben, `${OTHERS}.tapped .actions button`));
  await picture(ben, 'video-room-small-tapped');
  assertClean(ana, ben, cy);
});

it('a screen is shared by a click, or one is told that there is none', async () => {
  const [ana, ben] = [await enter('Ana'), await enter('Ben', { viewport: PHONE })];
  for (const page of [ana, ben]) await page.click('#camera');
  for (const page of [ana, ben]) await shows(page, 1);
  await ana.click('#screen');
  // Without a display Chromium has a screen that is made up, and Firefox none.
  if (BROWSER === 'chromium') {
    await shows(ben, 2);
    await picture(ana, 'video-room-screen');
    await picture(ben, 'video-room-screen-phone');
    assert.ok(await ben.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing is wider than the phone');
    await ana.click('#screen');
  } else {
    const problem = await ana.waitForSelector('#notice .problem', { visible: true });
    assert.match(await problem.evaluate((element) => element.textContent), /could not share a screen/);
  }
  await shows(ben, 1);
  assert.equal(await ana.$eval('#screen', (button) => button.getAttribute('aria-pressed')), 'false');
  assertClean(ana, ben);
});

for (const [camera, sentence] of [['denied', /may not use your camera/], ['missing', /no camera here/]]) {
  it(`where the camera is ${camera}, one is told so in words, and sees the others`, async () => {
    const theirs = await Browser.launch(BROWSER, { camera });
    try {
      const [ana, ben] = [await enter('Ana'), await enter('Ben', { from: theirs, viewport: camera === 'denied' ? PHONE : undefined })];
      await ana.click('#camera');
      await ben.click('#camera');
      const problem = await ben.waitForSelector('#notice .problem', { visible: true });
      assert.match(await problem.evaluate((element) => element.textContent), sentence);
      assert.equal(await ben.evaluate(() => document.querySelector('#camera').getAttribute('aria-pressed')), 'false');
      await shows(ben, 1);
      await picture(ben, `video-room-${camera}`);
      assertClean(ana, ben);
    } finally {
      await theirs.close();
    }
  });
}
