// Hosts in network namespaces of their own, joined by a switch that delays, loses and cuts: ../network/switch.py.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { Program, within } from './process.mjs';

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const SWITCH = path('../network/switch.py');
const INSIDE = path('../network/inside.sh');

/** Why there can be no networks on this machine, which may take further programs, or false: for the option `skip` of a test. */
export function noNetworks(...programs) {
  if (process.platform !== 'linux') return 'network namespaces are of Linux alone';
  const { status, error, stderr } = spawnSync('python3', [SWITCH, '--check'], { encoding: 'utf8' });
  if (error) return `python3: ${error.message}`;
  if (status !== 0) return stderr.trim().split('\n').at(-1);
  const missing = programs.find((program) => spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0);
  return missing ? `${missing} is not installed` : false;
}

/** A machine with an address of its own, on which programs run. */
class Host {
  #network;
  #environment;

  constructor(network, name, address, namespace) {
    this.#network = network;
    this.name = name;
    this.address = address;
    this.#environment = { ...process.env, RTC_CAFE_NAMESPACE: namespace };
  }

  /** Programs that are started here from now on have these variables as well. */
  environment(variables) {
    Object.assign(this.#environment, variables);
  }

  /** Starts a program here. */
  spawn(program, args, options = {}) {
    return new Program(INSIDE, args, { env: this.#inside(program), ...options });
  }

  /** What puppeteer needs to start a browser here. */
  launch(program) {
    return { executablePath: INSIDE, env: this.#inside(program), pipe: true };
  }

  #inside(program) {
    return { ...this.#environment, RTC_CAFE_INSIDE: program };
  }

  /** Runs a program here to its end; an error if it fails. */
  async run(program, ...args) {
    const running = this.spawn(program, args);
    const { code } = await running.exited;
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} on ${this.name}:\n${running.output}`);
  }

  /** Replaces the rules by which what comes by is filtered and translated, as `nft` reads them. */
  async filter(rules) {
    const nft = this.spawn('nft', ['-f', '-']);
    nft.write(`flush ruleset\n${rules}`);
    nft.closeInput();
    const { code } = await nft.exited;
    if (code !== 0) throw new Error(`nft on ${this.name}:\n${nft.output}`);
  }

  /** Takes an address of IPv6, beside that of IPv4 or in place of it. */
  async useIpv6(address, { only = false } = {}) {
    await this.run('sh', '-c', 'echo 0 > /proc/sys/net/ipv6/conf/lan/disable_ipv6');
    // Nobody else has it, and to find that out takes a second.
    await this.run('ip', 'addr', 'add', `${address}/64`, 'dev', 'lan', 'nodad');
    await this.run('ip', '-6', 'route', 'add', 'default', 'dev', 'lan');
    if (only) await this.run('ip', '-4', 'addr', 'flush', 'dev', 'lan');
  }

  /** Pulls the cable out. */
  linkDown() {
    return this.#network.tell('link', { name: this.name, up: false });
  }

  /** Puts it back. */
  linkUp() {
    return this.#network.tell('link', { name: this.name, up: true });
  }

  /** Takes another address in place of the present one, as in another network. */
  async changeAddress() {
    const address = this.#network.freeAddress();
    await this.#network.tell('address', { name: this.name, address });
    this.address = address;
  }
}

/** Addresses that no list of special ones has: to a TURN server they are those of the internet. */
export const PUBLIC = '5.77.0';

const names = (hosts) => [hosts].flat().map((host) => host.name);

export class Network {
  #program;
  #answers = new Map();
  #calls = 0;
  #addresses = 0;
  #inner = 0;
  #subnet;

  /** A network without hosts, delay or loss. Its hosts have addresses that begin with `subnet`. */
  static async create({ subnet = '10.77.0' } = {}) {
    const network = new Network();
    network.#subnet = subnet;
    network.#program = new Program('python3', [SWITCH]);
    network.#program.onLine((line) => {
      if (!line.startsWith('{')) return;
      const { id, ...answer } = JSON.parse(line);
      network.#answers.get(id)?.(answer);
      network.#answers.delete(id);
    });
    return network;
  }

  get pid() {
    return this.#program.pid;
  }

  /** Tells the switch something, and waits until it is done. */
  async tell(op, fields = {}) {
    const id = this.#calls += 1;
    const answered = new Promise((resolve) => { this.#answers.set(id, resolve); });
    this.#program.write(JSON.stringify({ id, op, ...fields }));
    const ended = this.#program.exited.then(() => ({ error: `the switch has ended:\n${this.#program.output}` }));
    const { error, ...answer } = await within(10_000, Promise.race([answered, ended]), `${op} of the switch`);
    if (error) throw new Error(`${op}: ${error}`);
    return answer;
  }

  /** One that no host has had yet. */
  freeAddress() {
    return `${this.#subnet}.${this.#addresses += 1}`;
  }

  /** Adds a host. */
  async host(name) {
    const address = this.freeAddress();
    const { namespace } = await this.tell('host', { name, address });
    return new Host(this, name, address, namespace);
  }

  /** Adds a host in a private network behind another one, which passes on what comes from there. */
  async hostBehind(router, name) {
    const address = `192.168.${this.#inner += 1}.2`;
    const { namespace } = await this.tell('inner', { name, address, behind: router.name });
    return new Host(this, name, address, namespace);
  }

  /** How long every frame is on its way, each way, in milliseconds. */
  delay(milliseconds) {
    return this.tell('path', { delay: milliseconds / 1000 });
  }

  /** The share of frames that get lost. */
  loss(fraction) {
    return this.tell('path', { loss: fraction });
  }

  /** Lets nothing more through between these and those hosts, without anybody noticing it but by the silence. */
  cut(some, others) {
    return this.#both(some, others, { cut: true });
  }

  /** Ends a cut between these and those hosts, or all cuts. */
  heal(some, others) {
    return some ? this.#both(some, others, { cut: false }) : this.tell('path', { cut: false });
  }

  /** Sets delay, loss or cut of one direction. */
  oneWay(from, to, settings) {
    return this.tell('path', { from: names(from), to: names(to), ...settings });
  }

  async #both(some, others, settings) {
    await Promise.all([this.oneWay(some, others, settings), this.oneWay(others, some, settings)]);
  }

  /** Frames that have passed and that were lost. */
  count() {
    return this.tell('count');
  }

  /** Ends the switch; the namespaces go with it and with what runs in them. */
  close() {
    this.#program.closeInput();
    return this.#program.stop();
  }
}
