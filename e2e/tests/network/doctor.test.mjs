// `rtc-cafe doctor` names the kind of NAT, and what a firewall blocks, in networks of which that is known.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';

import { Internet, KINDS, noNats } from '../../harness/nat.mjs';
import { binary } from '../../harness/server.mjs';

const skip = noNats();

// What is silent is waited for, and that takes no computing.
describe('rtc-cafe doctor', { concurrency: 8 }, () => {
  let internet;
  before(async () => {
    if (skip) return;
    internet = await Internet.create({ coturn: true });
    for (const kind of Object.keys(KINDS)) await internet.host(kind, kind);
  });
  after(() => internet?.close());

  /** What it prints on a host. */
  async function doctor(kind, ...options) {
    const program = internet.hosts[kind].spawn(binary(), ['doctor', '--server', internet.server.url, ...options]);
    await program.exited;
    return program.output;
  }

  /** What it finds out; beside that it may have logged something. */
  async function diagnosis(kind, ...options) {
    const lines = (await doctor(kind, '--json', ...options)).split('\n');
    return JSON.parse(lines.find((line) => line.startsWith('{')));
  }

  it('says it in plain words', { skip }, async () => {
    const [said, blocked] = await Promise.all([doctor('port-restricted'), doctor('TCP 443 only')]);
    assert.match(said, /NAT +ok +kind +port-restricted cone: .*symmetric/, said);
    assert.match(said, /ok +mapping +endpoint-independent$/m, said);
    assert.match(said, /ok +turns:\S+ +over tls, passes on what is sent to /, said);
    assert.match(blocked, /firewall +NO +all but TCP 443 +is blocked/, blocked);
    assert.match(blocked, /- A firewall lets nothing out but TCP to port 443/, blocked);
  });

  // Where most is silent it takes longest, so that begins first.
  for (const [kind, { nat = 'unknown', mapping = 'unknown', filtering = 'unknown', blocked = 'nothing' }] of Object.entries(KINDS).reverse()) {
    const transports = { nothing: ['udp', 'tcp', 'tls'], udp: ['tcp', 'tls'], 'all-but-tcp-443': ['tls'] }[blocked];

    it(`names the network of ${kind}`, { skip }, async () => {
      const found = await diagnosis(kind);
      assert.deepEqual([found.blocked, found.nat, found.mapping.kind, found.filtering.kind], [blocked, nat, mapping, filtering]);
      assert.deepEqual([found.ok, found.reach], [true, 'everywhere']);
      if (nat !== 'unknown') assert.deepEqual([found.mapping.exact, found.filtering.exact], [true, true]);
      const working = found.turn.filter(({ check }) => check.ok).map(({ transport }) => transport);
      assert.deepEqual(working, transports, JSON.stringify(found.turn));
      assert.equal(found.advice.length, blocked === 'nothing' ? 0 : 1, found.advice.join('\n'));
    });

    if (blocked !== 'nothing') continue;

    it(`names the network of ${kind} by the server's own STUN`, { skip }, async () => {
      const found = await diagnosis(kind, ...internet.stun.options);
      assert.deepEqual([found.nat, found.mapping.kind, found.filtering.kind], [nat, mapping, filtering]);
      assert.deepEqual([found.mapping.exact, found.filtering.exact], [true, true]);
    });

    it(`names what can be known of ${kind} where the server has one address`, { skip }, async () => {
      const found = await diagnosis(kind, ...internet.otherTurn.options);
      const strict = 'address-and-port-dependent';
      const known = { none: 'none-or-firewall', 'full-cone': 'cone', 'restricted-cone': 'cone', 'port-restricted-cone': 'cone' };
      assert.equal(found.nat, known[nat] ?? nat);
      assert.deepEqual([found.blocked, found.mapping.kind], ['nothing', mapping]);
      assert.equal(found.mapping.exact, mapping !== 'endpoint-independent');
      assert.deepEqual([found.filtering.kind, found.filtering.exact], filtering === strict ? [strict, true] : ['address-dependent', false]);
    });
  }
});
