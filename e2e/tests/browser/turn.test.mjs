// Pages that reach each other through the server's own TURN, by every transport.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { BROWSER, Browser } from '../../harness/browser.mjs';
import { selfSigned } from '../../harness/certificate.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';

/** The URL by which the server names itself for each transport, as far as it matters. */
const URLS = { udp: /^turn:.*transport=udp$/, tcp: /^turn:.*transport=tcp$/, tls: /^turns:.*transport=tcp$/ };

describe('the server\'s own TURN', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rtc-cafe-turn-'));
  let server;
  let onePort;
  let browser;

  before(async () => {
    const { cert, key } = selfSigned(folder, '127.0.0.1', 'localhost');
    const tls = ['--tls-cert', cert, '--tls-key', key, '--turn-tls-listen', '127.0.0.1:0'];
    // Firefox uses TURN over TLS by a name alone.
    server = await startServer('--turn-listen', '127.0.0.1:0', '--turn-host', 'localhost', ...tls);
    onePort = await startServer('--turn-listen', '127.0.0.1:0', '--tls-cert', cert, '--tls-key', key);
    browser = await Browser.launch(BROWSER, { trusted: cert });
  });
  after(async () => {
    await Promise.all([browser?.kill(), server?.kill(), onePort?.kill()]);
    rmSync(folder, { recursive: true, force: true });
  });

  /** A page that uses the relay alone, by one transport, and greets whom it meets. */
  async function relayed(transport, room, url = server.url) {
    const page = await browser.open(`${url}/healthz`);
    await page.evaluate(async (url, room) => {
      const { RTCCafeClient } = await import('/client/rtc-cafe-client.js');
      const scout = new RTCCafeClient();
      const servers = await new Promise((resolve) => scout.on('acquireSid', () => resolve(scout.rtcConfig.iceServers)));
      scout.close();
      const iceServers = servers.filter(({ urls }) => new RegExp(url).test(urls));
      const client = new RTCCafeClient({ iceServers, iceTransportPolicy: 'relay' });
      globalThis.seen = { heard: [], client, servers };
      client.on('connectToPeer', (sid) => client.sendMessage(`hello from ${client.sid}`, sid));
      client.on('message', (sid, message) => seen.heard.push([sid, message]));
      client.joinRoom(room);
    }, URLS[transport].source, room);
    return page;
  }

  /** The candidates of its own by which a page talks, in the words of the browser. */
  const selected = (page) => page.evaluate(async () => {
    const stats = [...(await kit.connections.at(-1).getStats()).values()];
    const pairs = stats.filter(({ type, state, nominated }) => type === 'candidate-pair' && state === 'succeeded' && nominated);
    const candidates = pairs.map((pair) => stats.find(({ id }) => id === pair.localCandidateId));
    return candidates.map(({ candidateType, relayProtocol }) => `${candidateType} by ${relayProtocol}`);
  });

  /** Two pages meet through the relay, by this transport. */
  async function meet(pages, transport) {
    for (const [at, page] of pages.entries()) {
      const other = await eventually(async () => {
        const sid = await pages[1 - at].evaluate(() => seen.client.sid);
        assert.deepEqual(await page.evaluate(() => seen.heard), [[sid, `hello from ${sid}`]]);
        return sid;
      });
      await eventually(async () => {
        assert.deepEqual([...new Set(await selected(page))], [`relay by ${transport}`]);
        const { path, protocol } = await page.evaluate((sid) => seen.client.getConnectionReport(sid), other);
        assert.deepEqual({ path, protocol }, { path: 'relayed', protocol: transport });
      });
    }
  }

  for (const transport of Object.keys(URLS)) {
    it(`relays over ${transport}`, async () => {
      await meet([await relayed(transport, transport), await relayed(transport, transport)], transport);
    });
  }

  it('relays over tls at the port of the pages and the signalling', async () => {
    // By a name, as in Firefox it has to be.
    const url = `https://localhost:${onePort.port}`;
    const pages = [await relayed('tls', 'one port', url), await relayed('tls', 'one port', url)];
    const told = await pages[0].evaluate(() => seen.servers.map(({ urls }) => urls));
    assert.ok(told.includes(`turns:localhost:${onePort.port}?transport=tcp`), told.join(' '));
    await meet(pages, 'tls');
  });

  it('tells each client credentials of its own, and says what it relays', async () => {
    const pages = [await relayed('udp', 'credentials'), await relayed('udp', 'credentials')];
    const names = await Promise.all(pages.map((page) => page.evaluate(() => {
      const turn = seen.servers.filter(({ urls }) => /^turns?:/.test(urls));
      return [...new Set(turn.map(({ username }) => username))];
    })));
    assert.equal(new Set(names.flat()).size, 2, JSON.stringify(names));
    const metrics = await pages[0].evaluate(async () => (await fetch('/metrics')).text());
    const [, bytes] = /rtc_cafe_turn_relayed_bytes_total\{direction="to_peer"\} (\d+)/.exec(metrics);
    assert.ok(Number(bytes) > 0);
    assert.match(metrics, /rtc_cafe_turn_allocations\{transport="\w+"\} [1-9]/);
  });
});
