// The servers that tests talk to: ours, the original one, and one for files.

import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

import { HERE, Program, eventually, freePort } from './process.mjs';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

/** The directory of the built npm package. */
export const DIST = path('../../packages/rtc-cafe-client/dist/');

export function python() {
  return process.env.RTC_CAFE_PYTHON ?? path('../.venv/bin/python');
}

/** The program of the project: a server, and a native peer. */
export function binary() {
  const candidates = process.env.RTC_CAFE_BIN
    ? [process.env.RTC_CAFE_BIN]
    : ['../../target/release/rtc-cafe', '../../target/debug/rtc-cafe'].map(path);
  const found = candidates.find((candidate) => existsSync(candidate));
  if (!found) throw new Error(`no server at ${candidates.join(' or ')}; build it, or set RTC_CAFE_BIN`);
  return found;
}

/** A server process that can be killed and started again on the same port. */
class Server {
  #start;
  #program;

  constructor(start) {
    this.#start = start;
  }

  async start(port = 0) {
    const { program, url } = await this.#start(port);
    this.#program = program;
    this.url = url;
    this.port = Number(/:(\d+)$/.exec(url)[1]);
    return this;
  }

  get pid() {
    return this.#program.pid;
  }

  get output() {
    return this.#program.output;
  }

  /** Resident memory in MB. */
  get memory() {
    return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))[1]) / 1024;
  }

  kill() {
    return this.#program.kill();
  }

  stop(patience) {
    return this.#program.stop(patience);
  }

  async restart() {
    await this.start(this.port);
  }
}

/** Starts `rtc-cafe serve` with further arguments. */
export function startServer(...args) {
  return startServerOn(HERE, ...args);
}

/** The same on a host of a network. It sends its clients away at once, unless a time is given. */
export function startServerOn(host, ...args) {
  return serverOn(host, ...args).start();
}

/** The same, yet to be started, on a port. */
export function serverOn(host, ...args) {
  if (!args.includes('--drain')) args.push('--drain', '0');
  // Many servers run at once, and there is one port for STUN and TURN.
  if (!args.includes('--turn-listen')) args.push('--no-turn');
  return new Server(async (port) => {
    const listen = args.includes('--listen') ? [] : ['--listen', `${host.address}:${port}`];
    const program = host.spawn(binary(), ['serve', ...listen, ...args]);
    const [, url] = await program.line(/(https?:\/\/(?:\d+\.\d+\.\d+\.\d+|\[[\da-f:]+\]):\d+)\/?/);
    return { program, url };
  });
}

/** Starts the original server, which also serves the npm package under /client/ and an empty page at /healthz. */
export async function startOriginal() {
  return new Server(async (port) => {
    const program = new Program(python(), [path('original_server.py'), `${port}`, DIST]);
    const url = `http://127.0.0.1:${port}`;
    try {
      await eventually(async () => {
        const stopped = await Promise.race([program.exited.then(() => true), Promise.resolve(false)]);
        if (stopped) throw Object.assign(new Error(program.output), { fatal: true });
        if (!(await fetch(`${url}/healthz`)).ok) throw new Error('not ready');
      }, { within: 20_000 });
    } catch (error) {
      await program.kill();
      throw new Error(`the original server did not start: ${error.message}\n${program.output}`);
    }
    return { program, url };
  }).start(await freePort());
}

const TYPES = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html', '.css': 'text/css' };

/** Serves the npm package under /client/, and pages given as `{'/path': html}`: an origin of its own. */
export async function startFiles(pages = {}) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://files');
    const page = pages[pathname] ?? (pathname === '/healthz' || pathname === '/favicon.ico' ? '' : undefined);
    if (page !== undefined) return response.writeHead(200, { 'content-type': 'text/html' }).end(page);
    try {
      const file = normalize(join(DIST, pathname.replace(/^\/client\//, '')));
      if (!file.startsWith(DIST)) throw new Error('outside');
      const content = await readFile(file);
      response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async stop() {
      server.close();
      server.closeAllConnections();
    },
  };
}
