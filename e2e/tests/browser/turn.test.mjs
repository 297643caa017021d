// Pages that reach each other through the server's own TURN, by every transport.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { BROWSER, Browser } from '../../harness/browser.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';

describe('the server\'s own TURN', () => {
  let server;
  let browser;

  before(async () => {
    server = await startServer('--turn-listen', '127.0.0.1:0');
    browser = await Browser.launch(BROWSER);
  });
  after(() => Promise.all([browser?.kill(), server?.kill()]));

  /** A page that uses the relay alone, by one transport, and greets whom it meets. */
  async function relayed(transport, room) {
    const page = await browser.open(`${server.url}/healthz`, { kit: false });
    await page.evaluate(async (transport, room) => {
      const { RTCCafeClient } = await import('/client/rtc-cafe-client.js');
      const scout = new RTCCafeClient();
      const servers = await new Promise((resolve) => scout.on('acquireSid', () => resolve(scout.rtcConfig.iceServers)));
      scout.close();
      const iceServers = servers.filter(({ urls }) => urls.includes(`transport=${transport}`));
      const client = new RTCCafeClient({ iceServers, iceTransportPolicy: 'relay' });
      globalThis.seen = { heard: [], client, servers };
      client.on('connectToPeer', (sid) => client.sendMessage('hello', sid));
      client.on('message', (sid, message) => seen.heard.push(message));
      client.joinRoom(room);
    }, transport, room);
    return page;
  }

  for (const transport of ['udp', 'tcp']) {
    it(`relays over ${transport}`, async () => {
      const pages = [await relayed(transport, transport), await relayed(transport, transport)];
      for (const page of pages) {
        await eventually(async () => {
          assert.deepEqual(await page.evaluate(() => seen.heard), ['hello']);
        });
        const report = await page.evaluate(async () => {
          const [sid] = seen.client.connectedPeers;
          return seen.client.getConnectionReport(sid);
        });
        assert.equal(report.path, 'relayed', JSON.stringify(report));
      }
    });
  }

  it('tells each client credentials of its own, and says what it relays', async () => {
    const pages = [await relayed('udp', 'credentials'), await relayed('udp', 'credentials')];
    const names = await Promise.all(pages.map((page) => page.evaluate(() => {
      const turn = seen.servers.filter(({ urls }) => urls.startsWith('turn:'));
      return [...new Set(turn.map(({ username }) => username))];
    })));
    assert.equal(new Set(names.flat()).size, 2, JSON.stringify(names));
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    const [, bytes] = /rtc_cafe_turn_relayed_bytes_total\{direction="to_peer"\} (\d+)/.exec(metrics);
    assert.ok(Number(bytes) > 0);
    assert.match(metrics, /rtc_cafe_turn_allocations\{transport="\w+"\} [1-9]/);
  });
});
