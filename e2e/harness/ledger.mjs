// Who was told what of whom: everybody is to come once, to change sids in order, and to go once.

/** What is told of others. */
const TOLD = ['connectToPeer', 'reassignPeerSid', 'disconnectFromPeer'];

/**
 * What is wrong with that which some peers were told since they are there. Of those who `stay` with them, as a function of
 * the peer, they know each under its present sid; those who have `gone` were there, and are not any more; of `others`
 * anything may be true at the moment, but nothing twice.
 */
export async function mistold(peers, { stay = () => [], gone = () => [], others = () => [] }) {
  const findings = [];
  for (const peer of peers) {
    const here = await Promise.all(stay(peer).map(async (other) => ({ other, sids: await other.sids(), here: true })));
    const away = await Promise.all(gone(peer).map(async (other) => ({ other, sids: await other.sids(), here: false })));
    const some = await Promise.all(others(peer).map(async (other) => ({ other, sids: await other.sids() })));
    findings.push(...audit(await peer.events(...TOLD), [...here, ...away, ...some]).map((finding) => `${peer.name}: ${finding}`));
  }
  return findings;
}

/** What is wrong with the events of one peer about others, whose sids are known. */
export function audit(events, others) {
  const findings = [];
  const owner = new Map(others.flatMap((it) => it.sids.map((sid) => [sid, it])));
  const known = new Map();
  for (const [event, ...args] of events) {
    const it = owner.get(args[0]);
    const said = `${event} ${args.join(' to ')}`;
    if (!it) {
      findings.push(`${said} is about nobody`);
      continue;
    }
    const now = known.get(it);
    if (event === 'connectToPeer' && now !== undefined) findings.push(`${said}: ${it.other.name} was there before`);
    if (event !== 'connectToPeer' && now !== args[0]) findings.push(`${said}: ${it.other.name} was ${now ?? 'not there'}`);
    known.set(it, event === 'disconnectFromPeer' ? null : args.at(-1));
  }
  for (const it of others.filter(({ here }) => here !== undefined)) {
    const expected = it.here ? it.sids.at(-1) : null;
    if (known.get(it) !== expected) findings.push(`${it.other.name} is ${known.get(it)}, not ${expected}`);
  }
  return findings;
}
