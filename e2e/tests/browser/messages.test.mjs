// Messages: what is sent arrives, once, in order, as it was.

import assert from 'node:assert/strict';
import { after, afterEach, before, it } from 'node:test';

import { Browser } from '../../harness/browser.mjs';
import { assertClean, table } from '../../harness/peer.mjs';
import { eventually } from '../../harness/process.mjs';
import { startServer } from '../../harness/server.mjs';

let server;
let browser;
before(async () => { [server, browser] = await Promise.all([startServer(), Browser.launch()]); });
afterEach(() => browser?.clear());
after(() => Promise.all([server?.stop(), browser?.close()]));

/**
 * What is wrong with what a page got from a sender, compared with `kit.everything()`, in the page: on their way to
 * here lone surrogates would be lost.
 */
const verdict = (peer, sender) => peer.page.evaluate((name, sender) => {
  const got = kit.events[name].filter(([event, sid]) => event === 'message' && sid === sender).map(([, , message]) => message);
  const wanted = kit.everything();
  const wrong = wanted.findIndex((message, at) => JSON.stringify(message) !== JSON.stringify(got[at]));
  const own = Object.hasOwn(got[wanted.findIndex((message) => message && Object.hasOwn(message, '__proto__'))] ?? {}, '__proto__');
  return { count: got.length, wrong: wrong < 0 ? null : `${wrong}: ${JSON.stringify(got[wrong])?.slice(0, 100)}`, own };
}, peer.name, sender);

const count = (peer) => peer.run(() => kit.everything().length);

it('JSON of every kind goes to all, in order, exactly as it was', async () => {
  const [a, b, c] = await table(browser, server.url, 3);
  await a.run((client) => kit.everything().forEach((message) => client.sendMessage(message)));
  const sid = await a.sid();
  const expected = { count: await count(a), wrong: null, own: true };
  for (const peer of [b, c]) await eventually(async () => assert.deepEqual(await verdict(peer, sid), expected), { within: 20_000 });
  assert.deepEqual(await a.told('message'), [], 'the sender does not hear itself');
  assertClean(a, b, c);
});

it('JSON of every kind goes to one, and to nobody else', async () => {
  const [a, b, c] = await table(browser, server.url, 3);
  await a.run((client, to) => kit.everything().forEach((message) => client.sendMessage(message, to)), await b.sid());
  await a.send('to all');
  const sid = await a.sid();
  const length = await count(a);
  await eventually(async () => assert.deepEqual(await verdict(b, sid), { count: length + 1, wrong: null, own: true }), { within: 20_000 });
  await c.expect('message', [[sid, 'to all']]);
});

it('a list of recipients gets it, once each', async () => {
  const [a, b, c, d] = await table(browser, server.url, 4);
  const [sid, one, two] = [await a.sid(), await b.sid(), await c.sid()];
  await a.send('some', [one, two, one]);
  await a.send('all');
  await b.expect('message', [[sid, 'some'], [sid, 'all']]);
  await c.expect('message', [[sid, 'some'], [sid, 'all']]);
  await d.expect('message', [[sid, 'all']]);
});

it('thousands of messages from both sides at once arrive in order', async () => {
  const peers = await table(browser, server.url, 2);
  await Promise.all(peers.map((peer) => peer.run((client) => {
    for (let n = 0; n < 3000; n += 1) client.sendMessage(n);
  })));
  for (const peer of peers) {
    await eventually(async () => assert.equal((await peer.told('message')).length, 3000), { within: 20_000, every: 200 });
    assert.deepEqual((await peer.told('message')).map(([, n]) => n), [...Array(3000).keys()]);
  }
});

it('many megabytes at once arrive, and small messages keep their place between large ones', async () => {
  const [a, b] = await table(browser, server.url, 2);
  await a.run((client) => {
    for (let n = 0; n < 10; n += 1) {
      client.sendMessage({ n, text: 'ß'.repeat(500_000) });
      client.sendMessage(n);
    }
  });
  const lengths = () => b.page.evaluate(() => kit.told('client', 'message').map(([, message]) => message.text?.length ?? message));
  const expected = [...Array(10).keys()].flatMap((n) => [500_000, n]);
  await eventually(async () => assert.deepEqual(await lengths(), expected), { within: 30_000, every: 200 });
});

it('what cannot be sent is an error with a code, and nothing is sent', async () => {
  const [a, b, c] = await table(browser, server.url, 3);
  const one = await b.sid();
  const refused = async (code, call, ...args) => {
    const result = await a.attempt(call, ...args);
    assert.deepEqual([result.isError, result.name, result.code], [true, 'RTCCafeError', code], JSON.stringify(result));
    assert.ok(result.message.length > 10);
  };
  await refused('NOT_CONNECTED', (client) => client.sendMessage('x', 'nobody'));
  await refused('NOT_CONNECTED', (client, sid) => client.sendMessage('x', [sid, 'nobody']), one);
  await refused('NOT_CONNECTED', (client) => client.sendMessage('x', client.sid));
  await refused('NOT_CONNECTED', (client) => client.sendMessage('x', ''));
  await refused('INVALID_ARGUMENT', (client) => client.sendMessage('x', [5]));
  await refused('NOT_SERIALIZABLE', (client) => client.sendMessage(undefined));
  await refused('NOT_SERIALIZABLE', (client) => client.sendMessage(() => {}));
  await refused('NOT_SERIALIZABLE', (client) => client.sendMessage(5n));
  await refused('NOT_SERIALIZABLE', (client) => {
    const circle = {};
    circle.self = circle;
    client.sendMessage(circle);
  });
  await refused('MESSAGE_TOO_LONG', (client) => client.sendMessage('x'.repeat(16 * 1024 * 1024)));
  assert.deepEqual(await a.attempt((client) => client.sendMessage('fine', [])), { value: null });
  await a.send('the end');
  for (const peer of [b, c]) await peer.expect('message', [[await a.sid(), 'the end']]);
});

it('peers who take too little are left out and named, and the others get the message', async () => {
  const [a, b, c] = await table(browser, server.url, 3);
  const slow = await b.sid();
  const left = await a.run((client, slow) => {
    const long = 'x'.repeat(15 * 1024 * 1024);
    client.sendMessage(long, slow);
    client.sendMessage(long, slow);
    try {
      client.sendMessage('x'.repeat(5 * 1024 * 1024));
    } catch ({ code, sids }) {
      return { code, sids };
    }
    return {};
  }, slow);
  assert.deepEqual(left, { code: 'QUEUE_FULL', sids: [slow] });
  const lengths = (peer) => a.sid().then((sid) => peer.run((_client, name, sid) => kit.events[name]
    .filter(([event, sender]) => event === 'message' && sender === sid).map(([, , message]) => message.length), peer.name, sid));
  await eventually(async () => assert.deepEqual(await lengths(c), [5 << 20]), { within: 60_000, every: 200 });
  await eventually(async () => assert.deepEqual(await lengths(b), [15 << 20, 15 << 20]), { within: 60_000, every: 200 });
});

it('a message to nobody is no error', async () => {
  const [a] = await table(browser, server.url, 1);
  assert.deepEqual(await a.attempt((client) => client.sendMessage('anybody?')), { value: null });
});
