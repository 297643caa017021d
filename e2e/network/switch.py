#!/usr/bin/env python3
"""A network of hosts in namespaces of their own, joined by one switch that delays, loses and cuts as it is told.

Each host is a network namespace without a name, with a TAP device `lan` whose other end is read here. Behind a host there
may be another, which reaches the rest only through it; what a host does with what it passes on is its own business, by
`nft`. The namespaces are held open by this process alone and by those who run in them, so nothing is left of them when it ends: at the end of its
input, or by any signal. Needs Linux, `ip`, and the right to make namespaces and TAP devices; only the standard library.

In and out go JSON lines. Every command has an `id` that its answer, {id, ...} or {id, error}, repeats:
  {op: "host", name, address}          makes a host -> {namespace: a path for `nsenter --net=`}
  {op: "inner", name, address, behind}  makes a host with a cable to another one, there `inside`, which is its gateway at the
                                       address of its network that ends in 1 -> {namespace}
  {op: "address", name, address}       gives a host another address instead of its present one
  {op: "link", name, up}               pulls or puts back a host's cable: the host sees it, as a carrier that is gone
  {op: "path", from?, to?, ...}        sets `delay` in seconds, `loss` from 0 to 1, or `cut` of what goes from some hosts to
                                       others; without `from` or `to` of all, hosts that are yet to come included
  {op: "count"}                        -> {passed, lost}: the frames so far

`switch.py --check` makes a host and nothing else, and ends with 0, or with a line that says what is missing.
"""

import contextlib
import ctypes
import fcntl
import heapq
import json
import os
import random
import selectors
import shutil
import struct
import subprocess
import sys
import time

PREFIX = 24
FRAME_BYTES = 2048
# So many frames of one host are read before others get their turn.
BURST = 64

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
TUNSETCARRIER = 0x400454E2
IFF_TAP = 0x0002
IFF_NO_PI = 0x1000
ARP = b"\x08\x06"
LIBC = ctypes.CDLL(None, use_errno=True)


def enter(call, *arguments):
    """Calls the C library, for what Python has only from 3.12 on."""
    if getattr(LIBC, call)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")


def ip(*lines):
    """Runs commands of `ip` in the present namespace."""
    text = "".join(line + "\n" for line in lines)
    done = subprocess.run(["ip", "-batch", "-"], input=text, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"ip: {done.stderr.strip()}")


def write(path, text):
    with open(path, "w", encoding="ascii") as setting:
        setting.write(text)


@contextlib.contextmanager
def staying():
    """Whatever namespace is entered meanwhile is left again."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        yield
    finally:
        enter("setns", home, CLONE_NEWNET)
        os.close(home)


def sibling(address, last):
    """Another address of the same network."""
    return f"{address.rsplit('.', 1)[0]}.{last}"


class Namespace:
    """A network of its own. Whoever makes one is in it, until it leaves."""

    def __init__(self):
        enter("unshare", CLONE_NEWNET)
        self.descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
        # One address for each host is enough to tell what goes where.
        write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1")
        ip("link set lo up")

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def enter(self):
        enter("setns", self.descriptor, CLONE_NEWNET)


class Host:
    """A namespace with one network interface."""

    def __init__(self, name, address):
        self.name, self.address, self.is_up = name, address, True
        with staying():
            self.namespace = Namespace()
            self.tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.tap, TUNSETIFF, struct.pack("16sH", b"lan", IFF_TAP | IFF_NO_PI))
            ip("link set lan up", *self.addressing(address))

    @staticmethod
    def addressing(address):
        # Nobody is there; but browsers ask for the address of the default route.
        return f"addr add {address}/{PREFIX} dev lan", f"route add default via {sibling(address, 254)} dev lan"

    def change_address(self, address):
        with staying():
            self.namespace.enter()
            # The routes go with the old address.
            ip(f"addr del {self.address}/{PREFIX} dev lan", *self.addressing(address))
            self.address = address

    def link(self, is_up):
        self.is_up = is_up
        fcntl.ioctl(self.tap, TUNSETCARRIER, struct.pack("i", is_up))


class Inner:
    """A namespace behind that of another host, which is its only way out."""

    def __init__(self, address, router):
        gateway = sibling(address, 1)
        with staying():
            self.namespace = Namespace()
            router.namespace.enter()
            ip(
                f"link add name inside type veth peer name lan netns {self.namespace.path}",
                f"addr add {gateway}/{PREFIX} dev inside",
                "link set inside up",
            )
            write("/proc/sys/net/ipv4/ip_forward", "1")
            self.namespace.enter()
            ip("link set lan up", f"addr add {address}/{PREFIX} dev lan", f"route add default via {gateway} dev lan")


class Path:
    """What happens to the frames from one host to another."""

    def __init__(self, delay=0.0, loss=0.0, cut=False):
        self.delay, self.loss, self.cut = delay, loss, cut

    def set(self, settings):
        for name in ("delay", "loss", "cut"):
            setattr(self, name, settings.get(name, getattr(self, name)))


class Switch:
    """Knows who is where, and what is on its way."""

    def __init__(self, chance):
        self.chance = chance
        self.hosts, self.stations, self.paths, self.default = {}, {}, {}, Path()
        self.inner = {}
        self.flying, self.passed, self.lost = [], 0, 0

    def add(self, host):
        for other in self.hosts:
            for pair in ((host.name, other), (other, host.name)):
                self.paths[pair] = Path(**vars(self.default))
        self.hosts[host.name] = host

    def set_paths(self, settings):
        sources, targets = settings.get("from"), settings.get("to")
        if sources is None and targets is None:
            self.default.set(settings)
        for (source, target), path in self.paths.items():
            if (sources is None or source in sources) and (targets is None or target in targets):
                path.set(settings)

    def take(self, host, frame):
        """A host has sent a frame."""
        self.stations[frame[6:12]] = host
        target = self.stations.get(frame[:6])
        for receiver in [target] if target else [other for other in self.hosts.values() if other is not host]:
            if receiver is not host:
                self.forward(host, receiver, frame)

    def forward(self, host, receiver, frame):
        path = self.paths[host.name, receiver.name]
        # Finding the neighbour's hardware is the wire's own business: between distant hosts there would be none of it.
        is_arp = frame[12:14] == ARP
        if not self.is_open(host, receiver) or (not is_arp and self.chance.random() < path.loss):
            self.lost += 1
            return
        self.passed += 1
        due = time.monotonic() + (0 if is_arp else path.delay)
        heapq.heappush(self.flying, (due, self.passed, host, receiver, frame))

    def is_open(self, host, receiver):
        return host.is_up and receiver.is_up and not self.paths[host.name, receiver.name].cut

    def deliver(self):
        """Hands over what has been on its way for long enough; returns the seconds until there is more."""
        while self.flying:
            wait = self.flying[0][0] - time.monotonic()
            if wait > 0:
                return wait
            _, _, host, receiver, frame = heapq.heappop(self.flying)
            if not self.is_open(host, receiver):
                continue
            try:
                os.write(receiver.tap, frame)
            except OSError:
                # Its interface is down or its queue is full: as on any wire, the frame is lost.
                self.lost += 1
        return None


class Control:
    """Does what is asked for on the standard input."""

    def __init__(self, switch, selector):
        self.switch, self.selector, self.rest = switch, selector, b""

    def read(self):
        """False at the end of the input."""
        data = os.read(0, 65536)
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.answer(json.loads(line))
        return bool(data)

    def answer(self, command):
        try:
            answer = getattr(self, "op_" + command["op"])(command) or {}
        except (OSError, LookupError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"id": command.get("id"), **answer}), flush=True)

    def op_host(self, command):
        host = Host(command["name"], command["address"])
        self.switch.add(host)
        self.selector.register(host.tap, selectors.EVENT_READ, host)
        return {"namespace": host.namespace.path}

    def op_inner(self, command):
        behind = command["behind"]
        router = self.switch.inner.get(behind) or self.switch.hosts[behind]
        inner = self.switch.inner[command["name"]] = Inner(command["address"], router)
        return {"namespace": inner.namespace.path}

    def op_address(self, command):
        self.switch.hosts[command["name"]].change_address(command["address"])

    def op_link(self, command):
        self.switch.hosts[command["name"]].link(command["up"])

    def op_path(self, command):
        self.switch.set_paths(command)

    def op_count(self, _command):
        return {"passed": self.switch.passed, "lost": self.switch.lost}


def read_frames(switch, host):
    for _ in range(BURST):
        try:
            frame = os.read(host.tap, FRAME_BYTES)
        except BlockingIOError:
            return
        switch.take(host, frame)


def run():
    # A machine that is busy with the hosts is not to delay their frames.
    with contextlib.suppress(OSError):
        os.nice(-10)
    # Of all selectors the one that sleeps for fractions of a millisecond.
    with selectors.SelectSelector() as selector:
        switch = Switch(random.Random(os.environ.get("SEED", "1")))
        control = Control(switch, selector)
        selector.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(switch.deliver()):
                if key.data is not None:
                    read_frames(switch, key.data)
                elif not control.read():
                    return


def check():
    for program, package in (("ip", "iproute2"), ("nsenter", "util-linux"), ("setpriv", "util-linux")):
        if not shutil.which(program):
            sys.exit(f"{program} is missing (Debian: {package})")
    try:
        Host("check", "10.77.0.1")
    except OSError as error:
        sys.exit(f"no right to make network namespaces and TAP devices here ({error})")


if __name__ == "__main__":
    check() if sys.argv[1:] == ["--check"] else run()
