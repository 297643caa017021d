// Hosts that have only IPv6 meet hosts that have only IPv4: the relay speaks to each in its own way.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';

import { Browser } from '../../harness/browser.mjs';
import { selfSigned } from '../../harness/certificate.mjs';
import { LinePeer } from '../../harness/line-peer.mjs';
import { Network, noNetworks } from '../../harness/network.mjs';
import { Peer, delivers, everybodySees } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { binary, startServerOn } from '../../harness/server.mjs';

const skip = noNetworks('openssl');
/** Like that of IPv4, it is one of the internet to whoever looks it up. */
const PREFIX = '2a05:77::';
const FAMILIES = ['IPv4', 'IPv6'];

describe('hosts of one family each', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rtc-cafe-families-'));
  /** By family: a host that has no other, and where the server is for it. */
  const hosts = {};
  const urls = {};
  let network;
  let server;
  let trusted;

  before(async () => {
    if (skip) return;
    network = await Network.create({ subnet: '5.77.0' });
    const host = await network.host('server');
    await host.useIpv6(`${PREFIX}1`);
    const { cert, key } = selfSigned(folder, host.address, `${PREFIX}1`);
    trusted = cert;
    const addresses = [host.address, `[${PREFIX}1]`];
    const turn = addresses.flatMap((address) => ['--turn-listen', `${address}:3478`, '--turn-tls-listen', `${address}:5349`]);
    server = await startServerOn(host, '--listen', '[::]:443', '--tls-cert', cert, '--tls-key', key, ...turn);
    for (const [at, family] of FAMILIES.entries()) {
      urls[family] = `https://${addresses[at]}:443`;
      hosts[family] = await network.host(family);
      hosts[family].environment({ SSL_CERT_FILE: cert });
    }
    await hosts.IPv6.useIpv6(`${PREFIX}2`, { only: true });
  });
  after(async () => {
    await server?.kill();
    await network?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const native = (family, room) => LinePeer.native(urls[family], room, { on: hosts[family], name: `native, ${family}` });

  async function meet(...peers) {
    await everybodySees(peers, 30_000);
    for (const [at, peer] of peers.entries()) {
      const other = peers[1 - at];
      await delivers(peer, `from ${peer.name}`, other);
      const sid = await other.sid();
      await eventually(async () => assert.equal((await peer.report(sid)).path, 'relayed'));
    }
  }

  it('doctor has each transport pass on what goes to either family', { skip }, async () => {
    const program = hosts.IPv6.spawn(binary(), ['doctor', '--server', urls.IPv6, '--json']);
    await program.exited;
    const { reach, stun, turn } = JSON.parse(program.output.split('\n').find((line) => line.startsWith('{')));
    const at = `[${PREFIX}1]`;
    assert.deepEqual(turn.map(({ url }) => url), [`turn:${at}:3478`, `turn:${at}:3478?transport=tcp`, `turns:${at}:5349`]);
    for (const { url, check, relayed } of turn) {
      assert.equal(check.ok, true, `${url}: ${check.problem}`);
      assert.equal(new Set(relayed.map((address) => address.startsWith('['))).size, 2, `${url}: ${relayed}`);
    }
    assert.deepEqual([reach, stun.map(({ url, check }) => [url, check.ok])], ['everywhere', [[`stun:${at}:3478`, true]]]);
  });

  it('natives meet', { skip }, async () => {
    const peers = FAMILIES.map((family) => native(family, 'natives'));
    try {
      await meet(...peers);
    } finally {
      await Promise.all(peers.map((peer) => peer.kill()));
    }
  });

  for (const family of FAMILIES) {
    it(`a page in Chromium that has ${family} meets a native that has not`, { skip }, async () => {
      const room = `page, ${family}`;
      const other = native(FAMILIES.find((other) => other !== family), room);
      const browser = await Browser.launch('chromium', { on: hosts[family], trusted });
      try {
        await meet(await Peer.open(browser, urls[family], { name: room, rooms: [room] }), other);
      } finally {
        await Promise.all([browser.kill(), other.kill()]);
      }
    });
  }
});
