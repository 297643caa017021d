// coturn on a host of a network: STUN and TURN on 3478, TURN over TLS on 443, and if wanted a second address for RFC 5780.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const CREDENTIALS = 'ana:secret';

/** Starts it with a certificate. `options` are those with which `rtc-cafe serve` tells its clients of it, and others know it. */
export async function startTurn(host, { key, cert }, second) {
  const addresses = second ? [host.address, second] : [host.address];
  if (second) await host.run('ip', 'addr', 'add', `${second}/24`, 'dev', 'lan');
  const folder = mkdtempSync(join(tmpdir(), 'rtc-cafe-turn-'));
  const program = host.spawn('turnserver', [
    '-n', '--log-file', 'stdout', '--simple-log', '--no-cli', '--userdb', join(folder, 'users'), '--pidfile', join(folder, 'pid'),
    '--lt-cred-mech', '--user', CREDENTIALS, '--realm', 'cafe', '--fingerprint', '--relay-ip', host.address,
    ...addresses.flatMap((address) => ['--listening-ip', address]),
    '--tls-listening-port', '443', '--cert', cert, '--pkey', key,
  ]);
  // The last thing that it says before somebody comes.
  await program.line(/DB connection success/);
  const urls = [
    `stun:${host.address}`,
    `turn:${CREDENTIALS}@${host.address}`,
    `turn:${CREDENTIALS}@${host.address}?transport=tcp`,
    `turns:${CREDENTIALS}@${host.address}:443?transport=tcp`,
  ];
  return {
    address: host.address,
    options: urls.flatMap((url) => ['--ice-server', url]),
    async kill() {
      await program.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
