// Messages from one page to another by the npm package, as fast as they go; prints the figures as JSON.
// node bench/throughput.mjs SERVER MILLISECONDS BYTES...

import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

import { Browser } from '../harness/browser.mjs';

/** Until buffers and windows are as they stay, in milliseconds. */
const WARM_UP = 500;

const [server, watch, ...sizes] = process.argv.slice(2);

/** Processor time in seconds that all processes below this one have used. */
function cpu() {
  const processes = new Map();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      // State, parent, ...; user and kernel time are the 14th and 15th field of the whole line, in ticks of 10 ms.
      processes.set(Number(name), { parent: Number(fields[1]), time: (Number(fields[11]) + Number(fields[12])) / 100 });
    } catch { /* It has just ended. */ }
  }
  const isOurs = (id) => {
    for (let at = processes.get(id)?.parent; at > 1; at = processes.get(at)?.parent) if (at === process.pid) return true;
    return false;
  };
  return [...processes].filter(([id]) => isOurs(id)).reduce((sum, [, { time }]) => sum + time, 0);
}

/** Joins a room in a page, and counts what comes. */
async function join(page, room) {
  await page.evaluate(async (room) => {
    const { RTCCafeClient } = await import('/client/rtc-cafe-client.js');
    const bench = { messages: 0, connected: false };
    globalThis.bench = bench;
    bench.client = new RTCCafeClient();
    bench.client.on('connectToPeer', () => { bench.connected = true; });
    bench.client.on('message', () => { bench.messages += 1; });
    bench.client.joinRoom(room);
  }, room);
}

/** Sends as much as the client takes, for ever. */
function send(page, bytes) {
  return page.evaluate((bytes) => {
    const text = 'x'.repeat(bytes - 2);
    // A timer would wait for milliseconds; a message port lets others have their turn and no more.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      const end = performance.now() + 2;
      let full = false;
      while (!full && performance.now() < end) {
        try {
          globalThis.bench.client.sendMessage(text);
        } catch {
          full = true;
        }
      }
      if (full) setTimeout(() => port2.postMessage(0), 10);
      else port2.postMessage(0);
    };
    port2.postMessage(0);
  }, bytes);
}

async function measure(browser, bytes) {
  const pages = [await browser.open(`${server}/healthz`, { kit: false }), await browser.open(`${server}/healthz`, { kit: false })];
  const [sender, receiver] = pages;
  for (const page of pages) await join(page, `chromium-${process.pid}-${bytes}`);
  for (const page of pages) await page.waitForFunction('bench.connected', { polling: 20, timeout: 10_000 });
  await send(sender, bytes);
  await sleep(WARM_UP);
  const look = () => receiver.evaluate(() => [performance.now(), globalThis.bench.messages]);
  const cpuBefore = cpu();
  const [since, before] = await look();
  await sleep(Number(watch));
  const [until, after] = await look();
  const used = cpu() - cpuBefore;
  await browser.clear();
  const messages = after - before;
  if (messages === 0) throw new Error(`no message of ${bytes} bytes came`);
  const seconds = (until - since) / 1000;
  return {
    [`throughput_${bytes}_mb_per_second`]: messages * bytes / 1e6 / seconds,
    [`throughput_${bytes}_messages_per_second`]: messages / seconds,
    [`throughput_${bytes}_cpu_s_per_gb`]: used / (messages * bytes / 1e9),
  };
}

const browser = await Browser.launch();
try {
  const figures = {};
  for (const bytes of sizes) Object.assign(figures, await measure(browser, Number(bytes)));
  console.log(JSON.stringify(figures));
} finally {
  await browser.close();
}
