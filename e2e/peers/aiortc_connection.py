"""What two peers say to each other: section 2 of docs/protocol.md, with aiortc. See aiortc_peer.py."""

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Protocol

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import candidate_from_sdp

VERSION = 1
MAX_BODY = 49_152  # of a frame, in bytes [2.1]
MAX_MESSAGE = 16 * 1024 * 1024  # [2.5]
MAX_TRACKS = 64  # [2.6]
HANDSHAKE = 15.0  # seconds after which a handshake is given up
ENDED = ("failed", "closed")

Json = dict[str, Any]


def report(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def log(problem: str) -> None:
    print(problem, file=sys.stderr, flush=True)


def now() -> float:
    return asyncio.get_running_loop().time()


def to_json(value: Any) -> str:
    """JSON in UTF-8; half a surrogate pair, which UTF-8 cannot carry, stays the escape that it was."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)


def frames(header: Json, body: str | None = None) -> Iterator[str]:
    """The frames of a header and a body, which is cut between characters when it is long [2.1]."""
    if body is None:
        yield to_json(header)
        return
    rest = body.encode()
    while len(rest) > MAX_BODY:
        cut = MAX_BODY
        while rest[cut] & 0xC0 == 0x80:  # inside a character
            cut -= 1
        yield to_json({"type": header["type"], "more": True}) + "\n" + rest[:cut].decode()
        rest = rest[cut:]
    yield to_json(header) + "\n" + rest.decode()


def ufrag(sdp: str) -> str:
    found = re.search(r"(?m)^a=ice-ufrag:(\S+)", sdp)
    return found[1] if found else ""


class Owner(Protocol):
    """The other client, as a connection to it sees it."""

    id: str
    sid: str
    polite: bool
    heard: float
    connection: "Connection | None"

    def do(self, task: Callable[..., Awaitable[None]], *arguments: Any) -> None: ...
    def hello(self) -> Json: ...
    def begin_stream(self, header: Json) -> None: ...
    def received(self) -> int: ...
    def may_have(self, sid: str | None) -> bool: ...
    async def lose(self, connection: "Connection | None") -> None: ...
    async def offer(self) -> None: ...


class Sections:
    """The m-lines of a connection. aiortc knows neither rejected nor recycled ones (RFC 8829, 5.2.2 and 5.3.1): it is
    told that they are inactive and have the mid that they had at first."""

    def __init__(self) -> None:
        self.lines: list[str] = []  # as aiortc knows them
        self.mids: list[str] = []  # of the last offer
        self.rejected: list[bool] = []

    def offer(self, sdp: str) -> str:
        head, *lines = re.split("(?m)^(?=m=)", sdp)
        self.mids = [mid(line) for line in lines]
        self.rejected = [re.match(r"m=\S+ 0 ", line) is not None for line in lines]
        for at, line in enumerate(lines):
            if at == len(self.lines):
                self.lines.append(line)
            elif self.rejected[at]:
                self.lines[at] = re.sub("(?m)^a=(sendrecv|sendonly|recvonly)", "a=inactive", self.lines[at])
            else:
                self.lines[at] = with_mid(line, mid(self.lines[at]))
        return bundle(head, map(mid, self.lines)) + "".join(self.lines)

    def answer(self, sdp: str) -> str:
        head, *lines = re.split("(?m)^(?=m=)", sdp)
        for at, line in enumerate(lines):
            lines[at] = with_mid(line, self.mids[at])
            if self.rejected[at]:
                lines[at] = re.sub(r"^(m=\S+) \d+", r"\1 0", lines[at])
        return bundle(head, (name for name, no in zip(self.mids, self.rejected) if not no)) + "".join(lines)

    def known(self, name: str) -> str:
        """The mid by which aiortc knows the m-line."""
        return mid(self.lines[self.mids.index(name)])


def mid(line: str) -> str:
    found = re.search(r"(?m)^a=mid:(\S+)", line)
    return found[1] if found else ""


def with_mid(line: str, name: str) -> str:
    return re.sub(r"(?m)^a=mid:\S+", f"a=mid:{name}", line)


def bundle(head: str, names: Iterable[str]) -> str:
    return re.sub("(?m)^a=group:BUNDLE[^\r\n]*", " ".join(["a=group:BUNDLE", *names]), head)


class Connection:
    """One number of ours [1.4], and the RTCPeerConnection that goes by it at present."""

    def __init__(self, peer: Owner, number: int, ice_servers: list[Json]) -> None:
        self.peer, self.number, self.ice_servers = peer, number, ice_servers
        self.offered = 0  # the negotiation of our last offer
        self.offer: Json | None = None  # ours, as long as it has no answer
        self.answer: Json | None = None  # our last one through the server
        self.remote: int | None = None  # the number of the other side's connection
        self.remote_negotiation = 0
        self.remote_ufrag = ""
        self.early: list[Json] = []  # candidates that came before the description
        self.hello = False  # the other side's is here
        self.turn = not peer.polite
        self.parts: list[str] = []  # of the body that is coming in
        self.size = 0  # of all of them, in bytes
        self.requested: set[str] = set()
        self.defined: dict[str, Json] = {}
        self.receiving: dict[str, tuple[str, asyncio.Task[None]]] = {}  # mid: track id, frame counter
        self.sections = Sections()
        self.open()
        self.deadline = asyncio.get_running_loop().call_later(HANDSHAKE, lambda: self.hello or self.end())

    def open(self) -> None:
        servers = [RTCIceServer(**server) for server in self.ice_servers]
        self.pc = pc = RTCPeerConnection(RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        self.channel = pc.createDataChannel("rtc-cafe", negotiated=True, id=0)  # [2.1]
        self.channel.on("open", self.on_open)
        self.channel.on("message", self.on_frame)
        # What the connection of an offer that was rolled back has to say is of no interest.
        self.channel.on("close", lambda: pc is self.pc and self.end())
        pc.on("connectionstatechange", lambda: pc is self.pc and pc.connectionState in ENDED and self.end())

    async def roll_back(self) -> None:
        """aiortc cannot, so another RTCPeerConnection takes the number: nobody has answered what the first one said."""
        first, self.offer = self.pc, None
        self.open()
        await first.close()

    def end(self) -> None:
        self.peer.do(self.peer.lose, self)

    async def accept(self, kind: str, sdp: str) -> None:
        self.remote_ufrag = ufrag(sdp)
        await self.pc.setRemoteDescription(RTCSessionDescription(self.sections.offer(sdp), kind))
        early, self.early = self.early, []
        for data in early:
            if data["connection"] == self.remote:
                await self.add_candidate(data["candidate"])

    async def add_candidate(self, candidate: Json | None) -> None:
        """The end of the candidates is not passed on: aiortc would refuse those that are found later [2.7]."""
        if not candidate or not candidate.get("candidate"):
            return
        try:
            ice = candidate_from_sdp(candidate["candidate"].removeprefix("candidate:"))
            ice.sdpMid, ice.sdpMLineIndex = candidate.get("sdpMid"), candidate.get("sdpMLineIndex")
            await self.pc.addIceCandidate(ice)
        except Exception as problem:  # one that this stack cannot use; there are others
            log(f"candidate {candidate}: {problem!r}")

    def send(self, header: Json, body: str | None = None) -> None:
        if self.channel.readyState == "open":
            for frame in frames(header, body):
                self.channel.send(frame)

    def on_open(self) -> None:
        self.send({"type": "hello", "version": VERSION, **self.peer.hello()})

    def on_frame(self, frame: str | bytes) -> None:
        if self.peer.connection is not self:
            return
        self.peer.heard = now()
        try:
            head, _, part = str(frame).partition("\n")
            header = json.loads(head)
            body: str | None = None
            if header["type"] in ("message", "track", "offer", "answer"):
                self.size += len(part.encode())
                if self.size <= MAX_MESSAGE:
                    self.parts.append(part)
                if header.get("more"):
                    return
                body = "".join(self.parts) if self.size <= MAX_MESSAGE else None
                self.parts, self.size = [], 0
            self.on_header(header, body)
        except (ValueError, KeyError, TypeError, AttributeError) as problem:  # not as the document says
            log(f"peer {self.peer.id}: {problem!r} in {frame[:200]!r}")
            self.end()

    def on_header(self, header: Json, body: str | None) -> None:
        peer, kind = self.peer, header["type"]
        if self.hello == (kind == "hello"):
            raise ValueError("no hello, or another one")
        match kind:
            case "hello":  # [2.2]
                if header["id"] != peer.id:
                    raise ValueError("the handshake was with somebody else")
                self.hello = True
                peer.begin_stream(header)
                if peer.may_have(header.get("sid")):
                    peer.sid = header["sid"]
                report("connectToPeer", sid=peer.sid)
            case "sid":  # [2.3]
                old, new = peer.sid, header["sid"]
                if new != old and peer.may_have(new):
                    peer.sid = new
                    report("reassignPeerSid", oldSid=old, sid=new)
            case "ping":  # [2.4]
                self.send({"type": "pong", "nonce": header["nonce"]})
            case "message":  # [2.5]; one that is too long counts as well
                self.send({"type": "ack", "received": peer.received()})
                if body is not None:
                    report("message", sender=peer.sid, message=json.loads(body))
            case "bye":  # [2.9]
                self.end()
            case "track":  # [2.6]
                track = {"id": header["id"], "kind": header["kind"], "description": json.loads(body)}
                self.defined[track["id"]] = track
                if track["kind"] not in ("audio", "video") or len(self.defined) > MAX_TRACKS:
                    raise ValueError("no such kind, or too many tracks")
                report("peerTrackDefined", sid=peer.sid, definition=track)
            case "track-removed":
                self.requested.discard(header["id"])
                if gone := self.defined.pop(header["id"], None):
                    report("peerTrackDefinitionRemoved", sid=peer.sid, **gone)
            case "track-request":  # we have none
                self.send({"type": "track-removed", "id": header["id"]})
            case "turn-request" if self.turn:  # [2.7]; no offer of ours is ever without an answer here
                self.turn = False
                self.send({"type": "turn"})
            case "turn":
                self.turn = True
            case "offer":
                if self.turn or header["negotiation"] <= self.remote_negotiation:
                    raise ValueError("an offer out of turn")
                self.remote_negotiation = header["negotiation"]
                peer.do(self.renegotiate, header, body)
            case "answer":
                raise ValueError("an answer that nobody waits for")
            case "candidate":
                peer.do(self.add_candidate, header["candidate"])

    async def renegotiate(self, header: Json, sdp: str) -> None:
        if ufrag(sdp) != self.remote_ufrag:  # aiortc cannot restart ICE: the peers start again from a handshake
            await self.peer.lose(self)
            return await self.peer.offer()
        await self.accept("offer", sdp)
        await self.pc.setLocalDescription()
        answer = self.sections.answer(self.pc.localDescription.sdp)
        self.send({"type": "answer", "negotiation": header["negotiation"]}, answer)
        self.receive(header["tracks"])

    def receive(self, tracks: dict[str, str]) -> None:
        """What flows is exactly what the offer says [2.7]."""
        for name, (track_id, counter) in list(self.receiving.items()):
            if tracks.get(name) != track_id:
                del self.receiving[name]
                counter.cancel()
                report("peerTrackRemoved", sid=self.peer.sid, id=track_id)
        received = {transceiver.mid: transceiver.receiver.track for transceiver in self.pc.getTransceivers()}
        for name, track_id in tracks.items():
            track = received[self.sections.known(name)]
            if track_id not in self.requested:
                self.send({"type": "track-cancel", "id": track_id})
            elif name not in self.receiving:
                report("peerTrackIdentified", sid=self.peer.sid, id=track_id, kind=track.kind)
                self.receiving[name] = track_id, asyncio.create_task(self.count_frames(track_id, track))

    async def count_frames(self, track_id: str, track: MediaStreamTrack) -> None:
        count = 0
        try:
            while frame := await track.recv():
                count += 1
                if count in (1, 5) or count % 25 == 0:
                    size = {"width": frame.width, "height": frame.height} if track.kind == "video" else {}
                    report("peerTrackFrames", sid=self.peer.sid, id=track_id, count=count, **size)
        except MediaStreamError:
            pass  # its end
