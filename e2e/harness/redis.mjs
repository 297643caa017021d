// Redis for the tests: each in a folder and on a port of its own.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Program, eventually, freePort } from './process.mjs';

const found = spawnSync('redis-server', ['--version'], { encoding: 'utf8' });

/** For `skip` of tests that need it. */
export const WITHOUT_REDIS = found.error ? 'redis-server is not installed' : false;

function run(program, ...options) {
  const { error, status, stdout, stderr } = spawnSync(program, options, { encoding: 'utf8' });
  if (error || status) throw new Error(`${program} ${options.join(' ')}: ${error?.message ?? stderr + stdout}`);
  return stdout;
}

/** A Redis that can be killed and started again on the same port. */
export class Redis {
  #options;
  #program;

  static async start({ tls = false, password, cluster = false } = {}) {
    const redis = new Redis();
    redis.folder = mkdtempSync(join(tmpdir(), 'rtc-cafe-redis-'));
    redis.port = await freePort();
    const port = tls ? ['--port', '0', '--tls-port', `${redis.port}`, ...redis.#certificates()] : ['--port', `${redis.port}`];
    redis.#options = [
      ...port, '--bind', '127.0.0.1', '--dir', redis.folder, '--save', '', '--appendonly', 'no',
      ...(password ? ['--requirepass', password] : []),
      ...(cluster ? ['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf'] : []),
    ];
    redis.url = `${tls ? 'rediss' : 'redis'}://${password ? `:${password}@` : ''}127.0.0.1:${redis.port}`;
    await redis.restart();
    return redis;
  }

  /** Three masters that are one cluster. */
  static async cluster() {
    const all = await Promise.all([0, 1, 2].map(() => Redis.start({ cluster: true })));
    run('redis-cli', '--cluster', 'create', ...all.map(({ port }) => `127.0.0.1:${port}`), '--cluster-yes');
    for (const { port } of all) {
      await eventually(() => {
        const state = run('redis-cli', '-p', `${port}`, 'cluster', 'info');
        if (!state.includes('cluster_state:ok')) throw new Error(state);
      }, { within: 20_000 });
    }
    return all;
  }

  /** A certificate of an authority that nobody else knows. */
  #certificates() {
    const file = (name) => join(this.folder, name);
    const key = (name) => run('openssl', 'genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', file(name));
    this.authority = file('ca.crt');
    key('ca.key');
    run('openssl', 'req', '-x509', '-key', file('ca.key'), '-subj', '/CN=test authority', '-days', '2', '-out', this.authority);
    key('redis.key');
    run('openssl', 'req', '-new', '-key', file('redis.key'), '-subj', '/CN=127.0.0.1', '-out', file('redis.csr'));
    writeFileSync(file('extensions'), 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n');
    run('openssl', 'x509', '-req', '-in', file('redis.csr'), '-CA', this.authority, '-CAkey', file('ca.key'), '-CAcreateserial',
      '-days', '2', '-extfile', file('extensions'), '-out', file('redis.crt'));
    return ['--tls-cert-file', file('redis.crt'), '--tls-key-file', file('redis.key'), '--tls-ca-cert-file', this.authority,
      '--tls-auth-clients', 'no'];
  }

  async restart() {
    this.#program = new Program('redis-server', this.#options);
    await this.#program.line(/Ready to accept connections/);
  }

  kill() {
    return this.#program.kill();
  }

  /** Ends it, and removes what it left. */
  async end() {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
