// `on`, `off` and `triggerHandler`, as the README has them.

import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { EventEmitter } from '../dist/rtc-cafe-client.js';

let emitter;
let calls;
const first = (...args) => calls.push(['first', ...args]);
const second = (...args) => calls.push(['second', ...args]);

beforeEach(() => {
  emitter = new EventEmitter();
  calls = [];
});

test('calls handlers in order with the arguments', async () => {
  assert.equal(emitter.on('a', first), null);
  emitter.on('a', second);
  emitter.on('a', first);
  emitter.on('b', second);
  await emitter.triggerHandler('a', 1, 2);
  assert.deepEqual(calls, [['first', 1, 2], ['second', 1, 2]]);
});

test('off detaches one handler, all of an event, or all', async () => {
  for (const [off, left] of [
    [['a', first], ['second', 'first']],
    [['a', null], ['first']],
    [['a'], ['first']],
    [[null], []],
    [['c', first], ['first', 'second', 'first']],
  ]) {
    emitter.on('a', first);
    emitter.on('a', second);
    emitter.on('b', first);
    assert.equal(emitter.off(...off), null);
    await emitter.triggerHandler('a');
    await emitter.triggerHandler('b');
    assert.deepEqual(calls.map(([name]) => name), left, JSON.stringify(off));
    emitter.off(null);
    calls = [];
  }
});

test('a handler that detaches another one keeps it from being called', async () => {
  emitter.on('a', () => emitter.off('a', second));
  emitter.on('a', second);
  await emitter.triggerHandler('a');
  assert.deepEqual(calls, []);
});

test('triggerHandler waits for async handlers', async () => {
  let done = false;
  emitter.on('a', () => new Promise((resolve) => setTimeout(resolve, 30)).then(() => (done = true)));
  const promise = emitter.triggerHandler('a');
  assert.equal(done, false);
  assert.equal(await promise, undefined);
  assert.equal(done, true);
});

test('a handler that fails does not keep others from being called, and its error is not lost', async () => {
  const error = new Error('mine');
  emitter.on('a', () => { throw error; });
  emitter.on('a', second);
  await assert.rejects(emitter.triggerHandler('a'), error);
  assert.equal(calls.length, 1);
  emitter.on('a', async () => { throw new Error('another'); });
  const isBoth = (thrown) => thrown instanceof AggregateError && thrown.errors[0] === error;
  await assert.rejects(emitter.triggerHandler('a'), isBoth);
});

test('refuses a handler that is no function', () => {
  assert.throws(() => emitter.on('a', undefined), { name: 'RTCCafeError', code: 'INVALID_ARGUMENT' });
});

afterEach(() => emitter.off(null));
