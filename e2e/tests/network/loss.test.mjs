// Every hop takes 100 ms and loses frames: a room meets and talks all the same.

import { scenario } from '../../harness/cafe.mjs';

/** For so many milliseconds they talk like this. */
const TALK = 20_000;
/**
 * For no longer nothing new comes from somebody. Natively SCTP pauses for 8 seconds, then the connection is replaced, which
 * takes time where much is lost.
 */
const STALLED = 30_000;
/** How much is lost, and within how many milliseconds something new has come from everybody as a rule. */
const LOSSES = [[0.05, 4000], [0.2, 12_000]];

for (const [loss, median] of LOSSES) {
  scenario(`${loss * 100} % of what is sent is lost, and the rest takes 100 ms`, { delay: 100, loss }, async (cafe) => {
    await cafe.keepsFlowing(TALK, { longest: STALLED, median });
    await cafe.recovers(`${loss * 100} % were lost`, 15_000, () => cafe.network.loss(0));
    await cafe.ends();
  });
}
