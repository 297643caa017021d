// The forms in which the package comes, and pages of other origins.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';

import { Browser } from '../../harness/browser.mjs';
import { Peer, assertClean, delivers, everybodySees } from '../../harness/peer.mjs';
import { startFiles, startServer } from '../../harness/server.mjs';

let files;
let server;
let stranger;
let browser;
before(async () => {
  files = await startFiles({ '/global.html': '<!doctype html><script src="/client/rtc-cafe-client.global.js"></script>' });
  [server, stranger, browser] = await Promise.all([startServer('--allow-origin', files.url), startServer(), Browser.launch()]);
});
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), stranger?.stop(), files?.stop(), browser?.close()]));

describe('each build works, from another origin that the server allows', () => {
  const settings = () => ({ signaller: { host: server.url }, rooms: ['table'] });

  for (const [what, from] of Object.entries({ 'WebAssembly inlined': '/client/rtc-cafe-client.js', 'WebAssembly beside': '/client/rtc-cafe-client.external.js' })) {
    it(what, async () => {
      const a = await Peer.open(browser, files.url, { from, ...settings() });
      const b = await Peer.open(browser, server.url, { rooms: ['table'] });
      await everybodySees([a, b]);
      await delivers(a, 'from afar', b);
      await delivers(b, 'from home', a);
      const wasm = a.page.requests.filter((url) => url.endsWith('.wasm')).length;
      assert.equal(wasm, from.includes('external') ? 1 : 0);
      assertClean(a, b);
    });
  }

  it('the script tag, with its global', async () => {
    const page = await browser.open(`${files.url}/global.html`);
    await page.evaluate(() => globalThis.RTCCafe.ready);
    assert.deepEqual(await page.evaluate(() => [typeof RTCCafe.RTCCafeClient, typeof RTCCafe.RTCCafeSignallingClient, RTCCafe.LATEST_API_VERSION]), ['function', 'function', '1.0']);
    const a = await Peer.start(page, { from: 'global', ...settings() });
    const b = await Peer.open(browser, server.url, { rooms: ['table'] });
    await everybodySees([a, b]);
    await delivers(a, 'from a script tag', b);
    assertClean(a, b);
  });

  it('served by the server to pages of other origins', async () => {
    const a = await Peer.open(browser, files.url, { from: `${server.url}/client/rtc-cafe-client.js`, ...settings() });
    const b = await Peer.open(browser, server.url, { rooms: ['table'] });
    await everybodySees([a, b]);
    assertClean(a, b);
  });
});

it('a server that does not allow the origin is not reached, over either transport', async () => {
  const a = await Peer.open(browser, files.url, { signaller: { host: stranger.url }, rooms: ['table'] });
  await a.expect('error', [['SIGNALLER_UNREACHABLE']]);
  assert.deepEqual([(await a.look()).state, (await a.look()).sid], ['setup', 'unassigned']);
});

it('a server answers about its health, and serves the client and its types', async () => {
  const text = async (path, type) => {
    const reply = await fetch(`${server.url}${path}`);
    assert.equal(reply.status, 200, path);
    if (type) assert.match(reply.headers.get('content-type'), type);
    return reply.text();
  };
  await text('/healthz');
  await text('/readyz');
  assert.match(await text('/metrics', /^text\/plain/), /^# TYPE \w+ (counter|gauge)$/m);
  assert.match(await text('/client/rtc-cafe-client.js', /^text\/javascript/), /export\s*\{/);
  assert.match(await text('/client/rtc-cafe-client.d.ts'), /declare class RTCCafeClient/);
  assert.equal((await fetch(`${server.url}/nowhere`)).status, 404);
});
