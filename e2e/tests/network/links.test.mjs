// A host loses its network for a while, or gets another address: whoever was connected stays so.

import { setTimeout as sleep } from 'node:timers/promises';

import { scenario } from '../../harness/cafe.mjs';

/**
 * Seconds without a link, and within how many messages flow again. After a short outage nothing is replaced, and SCTP sends
 * what was lost again after pauses that have become long meanwhile: up to 6 seconds natively.
 */
const OUTAGES = [[3, 15], [15, 15]];

scenario('the links of a native peer and of a page are down for 3 s and for 15 s, and their addresses change', {}, async (cafe) => {
  for (const name of ['native 1', 'page 1']) {
    const host = cafe.hosts[name];
    for (const [outage, bound] of OUTAGES) {
      await host.linkDown();
      await sleep(outage * 1000);
      await cafe.recovers(`the link of ${name} was down for ${outage} s`, bound * 1000, () => host.linkUp());
    }
    await cafe.recovers(`${name} has another address`, 20_000, () => host.changeAddress());
  }
  await cafe.ends();
});
