// A router restarts: the server and the way to some peers are gone at the same moment, and come back one after the other.

import { setTimeout as sleep } from 'node:timers/promises';

import { scenario } from '../../harness/cafe.mjs';

const AWAY = ['native 1', 'page 1'];

scenario('the server and the links of a native peer and of a page are gone at once for 15 s', {}, async (cafe) => {
  const hosts = AWAY.map((name) => cafe.hosts[name]);
  await Promise.all([cafe.server.kill(), ...hosts.map((host) => host.linkDown())]);
  await sleep(15_000);
  await Promise.all(hosts.map((host) => host.linkUp()));
  await cafe.recovers('everything was gone for 15 s', 20_000, () => cafe.server.restart());
  await cafe.signallerBecomes('connected');
  await cafe.ends();
});
