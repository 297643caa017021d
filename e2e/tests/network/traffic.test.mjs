// The bookkeeping of messages finds what is wrong.

import assert from 'node:assert/strict';
import { it } from 'node:test';

import { audit } from '../../harness/traffic.mjs';

/** What `a` and `b` report, where `a` sends messages 1 and 2 to `b`. */
function findings({ to = ['B'], received = [1, 2], undelivered = [], before }) {
  const sent = [1, 2].map((n) => ({ n, to, ...(before && { before }) }));
  return audit({
    a: { sids: ['A'], sent, refused: [], received: [], undelivered },
    b: { sids: ['b', 'B'], sent: [], refused: [], received: received.map((n) => ['a', n]), undelivered: [] },
  }).findings;
}

it('finds what is lost, doubled or disordered', () => {
  assert.deepEqual(findings({}), []);
  assert.deepEqual(findings({ received: [1] }), ['a to b: 2 has neither come nor is told to be undelivered']);
  assert.deepEqual(findings({ received: [] }), ['a to b: 1-2 has neither come nor is told to be undelivered']);
  assert.deepEqual(findings({ received: [1, 1, 2] }), ['a to b: 1 comes after 1']);
  assert.deepEqual(findings({ received: [2, 1] }), ['a to b: 1 comes after 2']);
});

it('takes one notice for a message, and where it has come only a doubtful one', () => {
  assert.deepEqual(findings({ received: [1], undelivered: [['b', 2, false]] }), []);
  assert.deepEqual(findings({ received: [1], undelivered: [['b', 2, true]] }), []);
  assert.deepEqual(findings({ undelivered: [['B', 2, true]] }), []);
  assert.deepEqual(findings({ undelivered: [['B', 2, false]] }), ['a to b: 2 has come, and is told not to have arrived']);
  const twice = [['b', 1, true], ['B', 1, true]];
  assert.deepEqual(findings({ received: [2], undelivered: twice }), ['a to b: 1 is told to be undelivered more than once']);
});

it('expects nothing at those who were not connected, or perhaps not', () => {
  assert.deepEqual(findings({ to: [], received: [] }), []);
  assert.deepEqual(findings({ to: ['B'], before: [], received: [] }), []);
  assert.deepEqual(findings({ to: ['B'], before: ['b'], received: [1] }), ['a to b: 2 has neither come nor is told to be undelivered']);
});
