// A signalling server of version 0.2 on npm's Socket.IO, on a free port, for what needs no more than that.

import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;

/** Starts a server; `signals` are those that clients sent, as `[name, payload]`. */
export async function startServer({ port = 0, reply = {} } = {}) {
  const http = createServer();
  const io = new Server(http);
  const signals = [];
  const namespace = io.of('/rtc-cafe').on('connection', (socket) => {
    socket.onAny((name, payload) => signals.push([name, payload]));
    socket.on('request-sid', () => socket.emit('sid', { sid: socket.id, ...reply }));
  });
  await new Promise((resolve) => http.listen(port, '127.0.0.1', resolve));
  const bound = http.address().port;
  return { host: `http://127.0.0.1:${bound}`, port: bound, namespace, signals, close: () => io.close() };
}

/** The arguments of the next event; fails after five seconds. */
export function next(emitter, name) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no "${name}"`)), 5000);
    const handler = (...args) => {
      clearTimeout(timer);
      emitter.off(name, handler);
      resolve(args);
    };
    emitter.on(name, handler);
  });
}

/** Waits until the condition holds; fails after five seconds. */
export async function until(condition) {
  for (let tries = 0; !(await condition()); tries++) {
    if (tries > 250) throw new Error(`never: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
