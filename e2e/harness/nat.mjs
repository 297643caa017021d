// Networks behind NATs of every kind, in which hosts reach the rest through routers that nftables makes of other hosts.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { selfSigned } from './certificate.mjs';
import { Network, PUBLIC, noNetworks } from './network.mjs';
import { serverOn, startServerOn } from './server.mjs';
import { startTurn } from './turn.mjs';

/** What a router does: `lan` leads out of the network, `inside` into it. A connection keeps its port if it can. */
const rules = ({ masquerade = 'masquerade', forward = '', forwardAllows = true, inward = '' }) => `
table ip nat {
  set contacted {
    type ipv4_addr . inet_service
    flags dynamic,timeout
    timeout 2m
  }
  chain prerouting {
    type nat hook prerouting priority dstnat
    ${inward}
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname "lan" ${masquerade}
  }
  chain forward {
    type filter hook forward priority filter; policy ${forwardAllows ? 'accept' : 'drop'}
    oifname "lan" meta l4proto udp update @contacted { ip daddr . udp sport }
    ${forward}
  }
  chain input {
    type filter hook input priority filter
    # Nothing remembers what was not asked for: its port would be taken when it is.
    iifname "lan" meta l4proto udp drop
  }
}`;

/**
 * The kinds of networks. `nat`, `mapping` and `filtering` are in the words of the doctor, as is what a firewall has `blocked`.
 */
export const KINDS = {
  'no NAT': { nat: 'none', mapping: 'no-nat', filtering: 'endpoint-independent', routers: 0 },
  'full cone': {
    nat: 'full-cone',
    mapping: 'endpoint-independent',
    filtering: 'endpoint-independent',
    rules: (inner) => rules({ inward: `iifname "lan" udp dport 1024-65535 dnat to ${inner}` }),
  },
  'restricted cone': {
    nat: 'restricted-cone',
    mapping: 'endpoint-independent',
    filtering: 'address-dependent',
    rules: (inner) => rules({ inward: `iifname "lan" ip saddr . udp dport @contacted dnat to ${inner}` }),
  },
  'port-restricted': {
    nat: 'port-restricted-cone',
    mapping: 'endpoint-independent',
    filtering: 'address-and-port-dependent',
    rules: (_, forward) => rules({ forward }),
  },
  symmetric: {
    nat: 'symmetric',
    mapping: 'address-and-port-dependent',
    filtering: 'address-and-port-dependent',
    rules: () => rules({ masquerade: 'masquerade random,fully-random' }),
  },
  'double NAT': {
    nat: 'port-restricted-cone',
    mapping: 'endpoint-independent',
    filtering: 'address-and-port-dependent',
    routers: 2,
    rules: (_, forward) => rules({ forward }),
  },
  'UDP blocked': {
    blocked: 'udp',
    rules: () => rules({ forward: 'meta l4proto udp drop' }),
  },
  'TCP 443 only': {
    blocked: 'all-but-tcp-443',
    rules: () => rules({ forward: 'tcp dport 443 accept; ct state established accept', forwardAllows: false }),
  },
};

/** Whether peers of these kinds can reach each other without a TURN server. */
export function canBeDirect(one, other) {
  const kinds = [KINDS[one], KINDS[other]];
  if (kinds.some(({ blocked }) => blocked)) return false;
  // Who shows everybody another port is let in only where the port does not matter.
  const changes = ({ mapping }) => mapping === 'address-and-port-dependent';
  const minds = ({ filtering }) => filtering === 'address-and-port-dependent';
  return !kinds.some((kind, at) => changes(kind) && minds(kinds[1 - at]));
}

/** A signalling server by TLS on port 443, TURN servers, and networks of all kinds. */
export class Internet {
  network;
  server;
  /** The one that the signalling server names, and another. */
  turn;
  otherTurn;
  /** Our own STUN at two addresses, of a server that names none of them to anybody. */
  stun;
  /** By their names. */
  hosts = {};
  /** The router of each host's network, the outer one of two. */
  #routers = {};
  #folder = mkdtempSync(join(tmpdir(), 'rtc-cafe-nat-'));

  /** With the server's own TURN, over TLS at the port of its HTTPS, or with two coturns, of which the first has two addresses, and STUN. */
  static async create({ coturn = false } = {}) {
    const internet = new Internet();
    internet.network = await Network.create({ subnet: PUBLIC });
    const host = await internet.network.host('server');
    const relay = coturn ? await internet.network.host('turn') : host;
    const other = coturn ? await internet.network.host('other turn') : relay;
    const certificate = selfSigned(internet.#folder, ...[host, relay, other].map(({ address }) => address));
    // Those who run natively trust it, and browsers that are told of it.
    internet.environment = { SSL_CERT_FILE: certificate.cert };
    internet.certificate = certificate.cert;
    if (coturn) {
      internet.turn = await startTurn(relay, certificate, internet.network.freeAddress());
      internet.otherTurn = await startTurn(other, certificate);
      internet.stun = await stunOf(host, internet.network.freeAddress());
    } else {
      internet.turn = turnOf(host);
    }
    const tls = ['--tls-cert', certificate.cert, '--tls-key', certificate.key];
    internet.server = await serverOn(host, ...tls, ...internet.turn.options).start(443);
    return internet;
  }

  /** Adds a host in a network of this kind. */
  async host(name, kind) {
    const { routers = 1, rules } = KINDS[kind];
    let host = await this.network.host(routers ? `${name}, router 1` : name);
    for (let at = 1; at <= routers; at += 1) {
      const router = host;
      host = await this.network.hostBehind(router, at < routers ? `${name}, router ${at + 1}` : name);
      await router.filter(rules(host.address));
      this.#routers[name] ??= { router, kind, inner: host.address };
    }
    host.environment(this.environment);
    this.hosts[name] = host;
    return host;
  }

  /** Has the router of a host let UDP through only to and from these addresses, or, without any, as its kind does. */
  restrict(name, ...addresses) {
    const { router, kind, inner } = this.#routers[name];
    const only = addresses.length ? `meta l4proto udp ip saddr != { ${addresses} } ip daddr != { ${addresses} } drop` : '';
    return router.filter(KINDS[kind].rules(inner, only));
  }

  async close() {
    await this.server?.kill();
    await Promise.all([this.turn, this.otherTurn, this.stun].map((server) => server?.kill()));
    await this.network?.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

const addAddress = (host, address) => host.run('ip', 'addr', 'add', `${address}/24`, 'dev', 'lan');

/** Another server on a host, with two ports for STUN at its address and at a second one (RFC 5780). */
async function stunOf(host, second) {
  await addAddress(host, second);
  const sockets = [host.address, second].flatMap((address) => [`${address}:3478`, `${address}:3479`]);
  const server = await startServerOn(host, '--turn-listen', sockets.join());
  return { options: ['--ice-server', `stun:${host.address}`], kill: () => server.kill() };
}

/** The TURN server in the signalling server of a host, with which it shares port 443. */
function turnOf({ address }) {
  return { address, options: ['--turn-listen', `${address}:3478`], async kill() {} };
}

/** Why there can be none of this on this machine, or false. */
export function noNats() {
  return noNetworks('nft', 'turnserver', 'openssl');
}
