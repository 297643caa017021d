// The machine with the server gets other addresses while it runs, and its relay is found at them.

import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';

import { LinePeer } from '../../harness/line-peer.mjs';
import { Network, noNetworks } from '../../harness/network.mjs';
import { delivers, everybodySees } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServerOn } from '../../harness/server.mjs';

const skip = noNetworks();
const PREFIX = '2a05:78::';

let network;
let server;
const peers = [];
before(async () => { network = skip || await Network.create({ subnet: '5.78.0' }); });
after(async () => {
  await Promise.all([...peers, server].map((one) => one?.kill()));
  await network?.close?.();
});

/** A native on a host of its own that is reached over the relay alone. */
function start(name, host) {
  const peer = LinePeer.native(host.url, 'moving house', { on: host, name, options: ['--relay-only'] });
  peers.push(peer);
  return peer;
}

async function meet(one, other) {
  await everybodySees([one, other], 30_000);
  await delivers(one, `from ${one.name}`, other);
  await delivers(other, `from ${other.name}`, one);
  const sid = await other.sid();
  await eventually(async () => assert.equal((await one.report(sid)).path, 'relayed'));
}

it('IPv6 that comes later is served, and another address of IPv4', { skip }, async () => {
  const hosts = [];
  for (const name of ['server', 'four', 'six', 'late']) hosts.push(await network.host(name));
  const [at, four, six, late] = hosts;
  await at.run('sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/lan/disable_ipv6');
  server = await startServerOn(at, '--listen', '[::]:80', '--turn-listen', '[::]:3478');
  await at.useIpv6(`${PREFIX}1`);
  await six.useIpv6(`${PREFIX}2`, { only: true });
  four.url = `http://${at.address}`;
  six.url = `http://[${PREFIX}1]`;
  const [old, other] = [start('four', four), start('six', six)];
  await meet(old, other);
  await old.leave();

  const before = at.address;
  await at.changeAddress();
  assert.notEqual(at.address, before);
  late.url = `http://${at.address}`;
  await meet(start('late', late), other);
});
