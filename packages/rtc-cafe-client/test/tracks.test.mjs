// One's own tracks, and what becomes of replacements that cross, fail, or end.

import assert from 'node:assert/strict';
import { before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

let LocalTracks;
let tracks;
let sender;
let ended;

before(async () => {
  const entry = fileURLToPath(new URL('../src/tracks.ts', import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: 'esm', write: false });
  ({ LocalTracks } = await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString('base64')}`));
});

beforeEach(() => {
  ended = [];
  sender = {
    /** What it was told to send, and how that ends. */
    asked: [],
    limits: [],
    replaceTrack: (id, track) => new Promise((resolve, reject) => { sender.asked.push({ id, track, resolve, reject }); }),
    limitTrack: (id, encodings) => sender.limits.push([id, encodings]),
  };
  tracks = new LocalTracks(new Map([[1, sender]]), (id) => ended.push(id));
});

const track = (id) => Object.assign(new EventTarget(), { id, kind: 'video', readyState: 'live' });
const source = (track, encodings = []) => ({ track, encodings, codecs: [] });
const current = () => tracks.select(null)[0]?.track.id;

test('of replacements that cross, the last one counts', async () => {
  const [a, b] = [track('a'), track('b')];
  tracks.add('a', source(a), '1');
  const [first, second] = [tracks.replace('a', b), tracks.replace('a', a)];
  assert.deepEqual(sender.asked.map(({ track }) => track.id), ['b', 'a']);
  for (const { resolve } of sender.asked) resolve();
  await Promise.all([first, second]);
  assert.equal(current(), 'a');
});

test('after a replacement that fails, the last good track is there, whatever failed before', async () => {
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(track);
  tracks.add('a', source(a), '1');
  const refused = { name: 'RTCCafeError', code: 'INVALID_TRACK' };
  const good = tracks.replace('a', b);
  sender.asked[0].resolve();
  await good;
  const [bad, worse] = [tracks.replace('a', c), tracks.replace('a', d)];
  sender.asked[1].reject(new Error('no'));
  await assert.rejects(bad, refused);
  assert.equal(current(), 'd', 'the one after it is not known to fail');
  sender.asked[2].reject(new Error('no'));
  await assert.rejects(worse, refused);
  assert.equal(current(), 'b');
  assert.equal(sender.asked[3].track, b);
  // That is nobody's business any more.
  sender.asked[3].reject(new Error('no'));
  await assert.rejects(tracks.replace('nothing', b), { code: 'UNKNOWN_TRACK' });
});

test('it is the track of the moment whose end counts', async () => {
  const [a, b] = [track('a'), track('b')];
  tracks.add('a', source(a), '1');
  const replaced = tracks.replace('a', b);
  sender.asked[0].resolve();
  await replaced;
  a.dispatchEvent(new Event('ended'));
  assert.deepEqual(ended, []);
  b.dispatchEvent(new Event('ended'));
  assert.deepEqual(ended, ['a']);
  assert.deepEqual([tracks.remove('a'), tracks.remove('a')], [true, false]);
  b.dispatchEvent(new Event('ended'));
  assert.deepEqual(ended, ['a']);
});

test('a track that another one took the place of gets an id of its own', async () => {
  const [a, b] = [track('a'), track('b')];
  assert.equal(tracks.idOf(a), 'a');
  tracks.add('a', source(a), '1');
  assert.equal(tracks.idOf(a), 'a');
  const replaced = tracks.replace('a', b);
  sender.asked[0].resolve();
  await replaced;
  const id = tracks.idOf(a);
  assert.notEqual(id, 'a');
  assert.equal(tracks.idOf(b), 'b', 'the place of another track is not its own');
  tracks.add(id, source(a), '2');
  assert.equal(tracks.idOf(a), id);
  assert.deepEqual(tracks.select(null).map(({ id, track, description }) => [id, track.id, description]), [['a', 'b', 1], [id, 'a', 2]]);
});

test('a track that is added again is described and limited anew', () => {
  const a = track('a');
  tracks.add('a', source(a), '1');
  assert.deepEqual(sender.limits, []);
  tracks.add('a', source(a, [{ maxBitrate: 5 }]), '2');
  assert.deepEqual(sender.limits, [['a', [{ maxBitrate: 5 }]]]);
  assert.deepEqual(tracks.select(['a']), [{ id: 'a', description: 2, kind: 'video', track: a }]);
  assert.deepEqual(tracks.get('a').encodings, [{ maxBitrate: 5 }]);
});
