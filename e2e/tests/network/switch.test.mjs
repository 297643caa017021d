// The network that the tests of this folder run in does what it is told, and leaves nothing behind.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, it } from 'node:test';

import { Network, noNetworks } from '../../harness/network.mjs';
import { Program, eventually } from '../../harness/process.mjs';

/** Sends back every datagram. */
const ECHO = `
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (data, { address, port }) => { console.log('from ' + address); socket.send(data, port, address); });
socket.bind(7, () => console.log('ready'));`;

/** Sends every 10 ms, and prints for each datagram how many milliseconds it took to come back. */
const ASK = `
const [address, count] = process.argv.slice(1);
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (data) => console.log('took ' + (performance.now() - Number(data))));
socket.on('error', () => {});
for (let n = 0; n < count; n += 1) setTimeout(() => socket.send(String(performance.now()), 7, address, () => {}), 10 * n);
setTimeout(() => { console.log('done'); process.exit(); }, 10 * count + 600);`;

// Of each test, so that each is counted.
const skip = noNetworks();

describe('the network', () => {
  let network;
  let hosts;
  let echo;
  beforeEach(async () => {
    if (skip) return;
    network = await Network.create();
    hosts = [await network.host('a'), await network.host('b')];
    echo = hosts[1].spawn(process.execPath, ['-e', ECHO]);
    await echo.line(/ready/);
  });
  afterEach(async () => {
    await echo?.kill();
    await network?.close();
  });

  /** How long each of so many datagrams took there and back. */
  async function took(count) {
    const asking = hosts[0].spawn(process.execPath, ['-e', ASK, '--', hosts[1].address, `${count}`]);
    await asking.line(/done/);
    return [...asking.output.matchAll(/took ([\d.]+)/g)].map(([, time]) => Number(time));
  }

  it('delays', { skip }, async () => {
    await network.delay(50);
    const times = await took(20);
    assert.equal(times.length, 20);
    const median = times.sort((a, b) => a - b)[10];
    assert.ok(median >= 100 && median < 150, `${median} ms and not 100`);
  });

  it('loses', { skip }, async () => {
    await network.loss(0.5);
    const came = (await took(200)).length;
    assert.ok(came > 20 && came < 80, `${came} came back and not a quarter`);
    const { lost } = await network.count();
    assert.ok(lost > 100 && lost < 200, `${lost} were lost`);
  });

  it('cuts, in one direction or both, and heals', { skip }, async () => {
    const heard = () => echo.output.split('\n').length - 1;
    // So that they know each other's hardware.
    assert.equal((await took(1)).length, 1);
    await network.oneWay(hosts[1], hosts[0], { cut: true });
    assert.equal((await took(5)).length, 0);
    assert.equal(heard(), 6, 'what goes the other way has come');
    await network.cut(...hosts);
    assert.equal((await took(5)).length, 0);
    assert.equal(heard(), 6, 'now nothing comes');
    await network.heal(...hosts);
    assert.equal((await took(5)).length, 5);
  });

  it('pulls cables, which the host sees', { skip }, async () => {
    const state = async () => {
      const ip = hosts[0].spawn('ip', ['-brief', 'link', 'show', 'lan']);
      await ip.exited;
      return ip.output;
    };
    await hosts[0].linkDown();
    await eventually(async () => assert.match(await state(), /NO-CARRIER/));
    assert.equal((await took(5)).length, 0);
    await hosts[0].linkUp();
    await eventually(async () => assert.doesNotMatch(await state(), /NO-CARRIER/));
    await eventually(async () => assert.equal((await took(5)).length, 5));
  });

  it('changes addresses', { skip }, async () => {
    const before = hosts[0].address;
    await hosts[0].changeAddress();
    assert.notEqual(hosts[0].address, before);
    assert.equal((await took(5)).length, 5);
    assert.match(echo.output, new RegExp(`from ${hosts[0].address}$`, 'm'));
  });

  it('ends with whoever made it, even if that was killed, and so does what ran in it', { skip }, async () => {
    const script = `
      import { Network } from './harness/network.mjs';
      const network = await Network.create();
      const host = await network.host('a');
      const program = host.spawn('sleep', ['1000']);
      console.log('pids ' + [network.pid, program.pid].join(' '));
      setInterval(() => {}, 1000);`;
    const cwd = new URL('../..', import.meta.url).pathname;
    const maker = new Program(process.execPath, ['--input-type=module', '-e', script], { cwd });
    const [, ...pids] = await maker.line(/pids (\d+) (\d+)/);
    // When it was started, for another process may be given the same id; nothing if it has ended.
    const started = (pid) => {
      const [state, ...more] = existsSync(`/proc/${pid}`) ? readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ') : [];
      return state === 'Z' ? undefined : more[18];
    };
    const before = pids.map(started);
    assert.ok(before.every(Boolean));
    await maker.kill();
    for (const [at, pid] of pids.entries()) await eventually(() => assert.notEqual(started(pid), before[at], `${pid} runs on`));
  });
});
