// Hosts are without a network for a minute: when it is back, so are they.

import { setTimeout as sleep } from 'node:timers/promises';

import { scenario } from '../../harness/cafe.mjs';

const AWAY = ['native 1', 'page 1'];

scenario('the links of a native peer and of a page are down for 60 s', {}, async (cafe) => {
  const hosts = AWAY.map((name) => cafe.hosts[name]);
  await Promise.all(hosts.map((host) => host.linkDown()));
  await sleep(60_000);
  await cafe.recovers('the links were down for 60 s', 15_000, () => Promise.all(hosts.map((host) => host.linkUp())));
  await cafe.ends({ mayLose: AWAY });
});
