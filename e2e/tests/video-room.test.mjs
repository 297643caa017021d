// The video room, used as people do: by clicks.

import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';

import { Browser, picture } from '../harness/browser.mjs';
import { assertClean } from '../harness/peer.mjs';
import { eventually } from '../harness/process.mjs';
import { startServer } from '../harness/server.mjs';

const PHONE = { width: 390, height: 780, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

let server;
let browser;
before(async () => { [server, browser] = await Promise.all([startServer(), Browser.launch()]); });
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

async function enter(name, { viewport, before: prepare } = {}) {
  const page = await browser.open(`${server.url}/samples/video-room.html?room=terrace`, { viewport, kit: false });
  if (prepare) await page.evaluate(prepare);
  await page.type('#name', name);
  await page.click('#join');
  await page.waitForSelector('#camera', { visible: true });
  return page;
}

/** The people whose picture moves, oneself not counted. */
const moving = (page) => page.evaluate(async () => {
  const times = () => new Map([...document.querySelectorAll('#tiles .tile:not(.mine)[data-media=live]')]
    .map((tile) => [tile.dataset.sid + tile.dataset.id, tile.querySelector('video')?.getVideoPlaybackQuality().totalVideoFrames ?? 0]));
  const first = times();
  await new Promise((resolve) => { setTimeout(resolve, 500); });
  return [...times()].filter(([tile, frames]) => frames > (first.get(tile) ?? 0)).length;
});

const shows = (page, count) => eventually(async () => assert.equal(await moving(page), count), { within: 20_000 });

it('by clicks: cameras on, one stopped and watched again, one off, everybody leaves', async () => {
  const [ana, ben] = [await enter('Ana'), await enter('Ben')];
  const cy = await enter('Cy', { viewport: PHONE });
  for (const page of [ana, ben, cy]) await page.click('#camera');
  for (const page of [ana, ben, cy]) await shows(page, 2);
  await ana.click('#microphone');
  await eventually(async () => assert.equal(await ben.evaluate(() => document.querySelectorAll('#tiles .tile:not(.mine) audio[data-id]').length), 1));
  await picture(ana, 'video-room');
  await picture(cy, 'video-room-phone');

  const stop = await ana.$('#tiles .tile:not(.mine)[data-media=live] button.stop');
  await stop.evaluate((button) => button.click());
  await shows(ana, 1);
  await shows(ben, 2);
  await ana.waitForSelector('#offers button', { visible: true });
  await ana.click('#offers button');
  await shows(ana, 2);

  await cy.click('#camera');
  await shows(ana, 1);
  await shows(ben, 1);
  await cy.click('#leave');
  await eventually(async () => assert.equal(await ana.evaluate(() => new Set([...document.querySelectorAll('#tiles .tile:not(.mine)')].map((tile) => tile.dataset.sid)).size), 1));
  assertClean(ana, ben, cy);
});

it('who has no camera, or refuses it, is told so in words and sees the others', async () => {
  const deny = () => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('Permission denied', 'NotAllowedError'));
  };
  const [ana, ben] = [await enter('Ana'), await enter('Ben', { before: deny })];
  await ana.click('#camera');
  await ben.click('#camera');
  const problem = await ben.waitForSelector('#notice .problem', { visible: true });
  assert.match(await problem.evaluate((element) => element.textContent), /camera/i);
  assert.equal(await ben.evaluate(() => document.querySelector('#camera').getAttribute('aria-pressed')), 'false');
  await shows(ben, 1);
  await picture(ben, 'video-room-denied');
});
