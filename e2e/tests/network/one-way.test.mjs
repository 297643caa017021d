// What some send to others does not arrive, while what those send does: both sides notice, and nothing is lost by it.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';

import { scenario } from '../../harness/cafe.mjs';
import { eventually } from '../../harness/process.mjs';

/** Who does not reach whom: natives and pages, polite or not. */
const CUT = [['native 1', 'native 2'], ['native 2', 'page 1'], ['page 2', 'native 1'], ['page 1', 'page 2']];
/** For so many milliseconds; within so many more messages flow again between all. */
const APART = 15_000;
const BACK = 15_000;

scenario('one direction between hosts is lost for 15 s', { natives: 2, pages: 2 }, async (cafe) => {
  const oneWay = (cut) => Promise.all(CUT.map(([from, to]) => cafe.network.oneWay(cafe.hosts[from], cafe.hosts[to], { cut })));
  await oneWay(true);
  const over = sleep(APART);
  await Promise.all(CUT.flatMap((pair) => [pair, pair.toReversed()]).map(async ([name, other]) => {
    const sid = await cafe.peer(other).sid();
    await eventually(async () => {
      // It may be at the next connection already.
      const { phase } = await cafe.peer(name).report(sid);
      assert.ok(['recovering', 'signalling', 'connecting'].includes(phase), `${other} is ${phase} for ${name}`);
    }, { within: APART });
  }));
  await over;
  await cafe.recovers('one direction was lost', BACK, () => oneWay(false));
  await cafe.ends();
});
