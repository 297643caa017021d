// One half of a room is cut off from the other, with the server on both sides or on one, and comes together again.

import { setTimeout as sleep } from 'node:timers/promises';

import { scenario } from '../../harness/cafe.mjs';

/** Milliseconds for which they are apart. */
const APART = 20_000;

for (const server of ['both halves', 'one half']) {
  scenario(`half of the room is cut off from the other half, and the server is with ${server}`, {}, async (cafe) => {
    const halves = [['native 1', 'native 2', 'page 1'], ['native 3', 'native 4', 'page 2']].map((names) => names.map((name) => cafe.hosts[name]));
    if (server === 'one half') halves[0].push(cafe.serverHost);
    await cafe.network.cut(...halves);
    await sleep(APART);
    await cafe.recovers(`the halves were apart, with the server in ${server}`, 15_000, () => cafe.network.heal(...halves));
    await cafe.ends();
  });
}
