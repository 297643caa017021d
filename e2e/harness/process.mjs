// Child processes that end with the test run, and waiting without fixed sleeps.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Tries again until `check` returns without throwing; its last error is the failure, or the first that is `fatal`. */
export async function eventually(check, { within = 20_000, every = 40 } = {}) {
  const deadline = Date.now() + within;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (error.fatal) throw error;
      if (Date.now() > deadline) {
        error.message = `not within ${within} ms: ${error.message}`;
        throw error;
      }
    }
    await sleep(every);
  }
}

/** The promise's value, or an error that names what did not come in time. */
export async function within(milliseconds, promise, what) {
  const timer = new AbortController();
  const late = sleep(milliseconds, undefined, timer).then(() => {
    throw new Error(`${what}: not within ${milliseconds} ms`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
    late.catch(() => {});
  }
}

/** A running program. What it prints is kept for the message of a failure. */
export class Program {
  #child;
  #lines = [];
  #listeners = new Set();

  constructor(command, args, options = {}) {
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
    running.add(this.#child);
    this.exited = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('exit', (code, signal) => {
        running.delete(this.#child);
        resolve({ code, signal });
      });
    });
    this.exited.catch(() => {});
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        this.#lines.push(line);
        for (const listener of this.#listeners) listener(line);
      });
    }
    this.name = [command, ...args].join(' ');
  }

  get pid() {
    return this.#child.pid;
  }

  get output() {
    return this.#lines.join('\n');
  }

  /** Calls a function with every line, printed already or yet to come. */
  onLine(listener) {
    this.#lines.forEach(listener);
    this.#listeners.add(listener);
  }

  write(line) {
    this.#child.stdin.write(`${line}\n`);
  }

  closeInput() {
    this.#child.stdin.end();
  }

  /** The first line that matches, printed already or yet to come. */
  async line(pattern, milliseconds = 20_000) {
    let listener;
    const found = new Promise((resolve) => {
      listener = (line) => pattern.test(line) && resolve(pattern.exec(line));
      this.#listeners.add(listener);
      this.#lines.forEach(listener);
    });
    const ended = this.exited.then(({ code, signal }) => {
      throw new Error(`${this.name} ended (${code ?? signal}):\n${this.output}`);
    });
    try {
      return await within(milliseconds, Promise.race([found, ended]), `${this.name} printing ${pattern}`);
    } catch (error) {
      await this.kill();
      throw error;
    } finally {
      this.#listeners.delete(listener);
    }
  }

  /** Pulls the plug. */
  async kill() {
    if (running.has(this.#child)) this.#child.kill('SIGKILL');
    return this.exited.catch(() => {});
  }

  /** Asks it to end; after some milliseconds without effect it is killed. */
  async stop(patience = 5000) {
    if (running.has(this.#child)) this.#child.kill('SIGTERM');
    try {
      return await within(patience, this.exited, `${this.name} ending`);
    } catch {
      return this.kill();
    }
  }
}

/** This machine, as a host that programs run on; others are those of a network. */
export const HERE = {
  address: '127.0.0.1',
  /** Starts a program. */
  spawn: (program, args, options) => new Program(program, args, options),
  /** What puppeteer needs to start a browser. */
  launch: (program) => ({ executablePath: program }),
};

/** A free port on loopback. */
export async function freePort() {
  const { createServer } = await import('node:net');
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
