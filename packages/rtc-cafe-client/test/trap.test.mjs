// A client whose WebAssembly fails: it says so, and ends.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { next, startServer, until } from './server.mjs';

/** A module whose one function, `t`, does nothing but trap. */
const TRAP = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 116, 0, 0, 10, 5, 1, 3, 0, 0, 11,
);
const { Instance } = WebAssembly;
const { t: trap } = new Instance(new WebAssembly.Module(TRAP)).exports;
/** The machine that was made last, the one that traps, and in which function. */
let last;
let broken;
let where;
WebAssembly.Instance = function (...args) {
  const { exports } = new Instance(...args);
  const trapping = (name) => (machine, ...args) => (machine === broken && name === where ? trap() : exports[name](machine, ...args));
  return {
    exports: {
      ...exports,
      machine_new: (...args) => (last = exports.machine_new(...args)),
      machine_call: trapping('machine_call'),
      machine_poll: trapping('machine_poll'),
    },
  };
};
const { RTCCafeClient, RTCCafeSignallingClient } = await import('../dist/rtc-cafe-client.js');
WebAssembly.Instance = Instance;

const server = await startServer();
const signaller = new RTCCafeSignallingClient({ host: server.host });
after(() => {
  signaller.disconnect();
  server.close();
});

const signal = () => server.namespace.emit('acquire-peers', { id: 'other', sid: 'S', prevSid: null });

for (const [what, trapped, trips] of [
  ['a call', 'machine_call', (client) => assert.throws(() => client.joinRoom('room'), { name: 'RTCCafeError', code: 'INTERNAL' })],
  ['a signal', 'machine_call', signal],
  ['what it wants done', 'machine_poll', signal],
]) {
  test(`tells once that its core has failed in ${what}, and refuses what comes later`, async () => {
    const client = new RTCCafeClient(undefined, { signaller });
    await next(client, 'acquireSid');
    const errors = [];
    client.on('error', (error) => errors.push([error.code, error.cause?.name]));
    [broken, where] = [last, trapped];
    trips(client);
    await until(() => errors.length);
    for (const call of [() => client.joinRoom('room'), () => client.sendMessage('hello'), () => client.sid]) {
      assert.throws(call, { name: 'RTCCafeError', code: 'INTERNAL' });
    }
    assert.equal(client.close(), null);
    signal();
    await next(signaller, 'message.acquire-peers');
    assert.deepEqual(errors, [['INTERNAL', 'RuntimeError']]);
  });
}
