"""A peer of RTCCafe that shares no code with the project: aiortc and python-socketio, written from docs/protocol.md.

It proves that the document is enough, and shows how little it takes: numbers in brackets are its sections. It sends
messages, receives messages and tracks, and has no tracks of its own.

    python aiortc_peer.py ROOM --server http://127.0.0.1:8080

Standard output has the events and standard input takes the operations, one JSON object in a line:

    {"event":"connectToPeer","sid":"..."}    {"op":"sendMessage","message":...,"peerSids":[...]}
    {"event":"message","sender":"...",...}   {"op":"requestPeerTrack","sid":"...","id":"..."}

An operation may have a `call`, which comes back in a `result` or an `error`. The end of the input leaves the room.
"""

import argparse
import asyncio
import json
import random
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import socketio
from aiortc_connection import Connection, Json, log, now, report, to_json

NAMESPACE = "/rtc-cafe"
SILENCE = 3.0  # seconds after which a doubtful peer is given up [2.4]


class Peer:
    """Another client, over however many sessions and connections. What happens to it happens one after the other."""

    def __init__(self, client: "Client", peer_id: str, sid: str) -> None:
        self.client, self.id, self.sid = client, peer_id, sid
        self.polite = client.id.encode() < peer_id.encode()  # [1.4]
        self.connection: Connection | None = None
        self.stream = 0  # of our messages; each connection begins another, for we send nothing again [2.5]
        self.heard_stream = self.count = self.before = 0  # its messages
        self.highest = 0  # number of a connection that it has offered
        self.heard, self.nonce = 0.0, 0
        self.wait: asyncio.TimerHandle | None = None
        self.tasks: asyncio.Queue[tuple[Callable[..., Awaitable[None]], tuple[Any, ...]]] = asyncio.Queue()
        self.worker = asyncio.create_task(self.work())

    def do(self, task: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        self.tasks.put_nowait((task, arguments))

    async def work(self) -> None:
        while True:
            task, arguments = await self.tasks.get()
            try:
                await task(*arguments)
            except Exception as problem:  # of this peer's making, or this stack cannot do what is asked
                log(f"peer {self.id}: {problem!r}")
                await self.lose(self.connection)

    def hello(self) -> Json:
        """Who we are, and how far we are with the other's messages [2.2]."""
        self.stream += 1
        session = {"sid": self.client.sid} if self.client.sid else {}
        return {"id": self.client.id, **session, "stream": self.stream, "heard": self.heard_stream,
                "received": self.count, "before": self.before, "tracks": []}

    def begin_stream(self, header: Json) -> None:
        """A stream goes on over connections; of another, nothing has come yet [2.5]."""
        stream = header.get("stream", 0)
        if stream != self.heard_stream:
            self.before = self.count if stream == self.heard_stream + 1 else 0
            self.heard_stream, self.count = stream, 0

    def received(self) -> int:
        """Counts a message."""
        self.count += 1
        return self.count

    def may_have(self, sid: str | None) -> bool:
        """Whether a sid in a frame is not somebody else's [3]."""
        others = (peer for peer in self.client.peers.values() if peer is not self)
        return sid not in (None, self.client.sid, *(other.sid for other in others))

    @property
    def connected(self) -> Connection | None:
        return self.connection if self.connection and self.connection.hello else None

    async def lose(self, connection: Connection | None) -> None:
        if connection is None or connection is not self.connection:
            return
        self.connection = None
        connection.deadline.cancel()
        for _, counter in connection.receiving.values():
            counter.cancel()
        if connection.hello:
            report("disconnectFromPeer", sid=self.sid)
        await connection.pc.close()

    async def check(self) -> None:
        """Pings a connected peer, and gives it up when it is silent [2.4]."""
        if not (connection := self.connected):
            return
        self.nonce, asked = self.nonce + 1, now()
        connection.send({"type": "ping", "nonce": self.nonce})
        while self.connected is connection and self.heard <= asked:
            if now() > asked + SILENCE:
                return await self.lose(connection)
            await asyncio.sleep(0.02)

    async def discover(self, sid: str, offer_now: bool) -> None:
        if self.connected and sid != self.sid:
            await self.check()
        if self.connected:
            return  # it tells its new sid itself, if it is the one [1.5]
        self.sid = sid
        if self.connection:  # send again what it may have missed [1.4]
            if self.connection.offer:
                await self.client.signal("offer", self, self.connection.offer)
            elif self.connection.answer:
                await self.client.signal("answer", self, self.connection.answer)
        elif offer_now:
            await self.offer()
        elif self.wait is None:
            seconds = 2.5 + (1.0 if self.polite else 0.0) + random.uniform(0.0, 0.5)
            self.wait = asyncio.get_running_loop().call_later(seconds, self.do, self.offer)

    def new_connection(self) -> Connection:
        if self.wait:
            self.wait.cancel()
            self.wait = None
        self.connection = Connection(self, self.client.next_number(), self.client.ice_servers)
        return self.connection

    async def offer(self) -> None:
        """Offers a connection through the server [1.4]."""
        if self.connection:
            return
        connection = self.new_connection()
        await connection.pc.setLocalDescription()  # gathers the candidates, too: they stand in the description
        connection.offered = 1
        connection.offer = {"offer": {"type": "offer", "sdp": connection.pc.localDescription.sdp},
                            "connection": connection.number, "negotiation": connection.offered}
        await self.client.signal("offer", self, connection.offer)

    async def on_offer(self, data: Json) -> None:
        number, negotiation, connection = data["connection"], data["negotiation"], self.connection
        if self.connected and data["sid"] != self.sid:
            await self.check()
            if self.connected:
                return  # of somebody else, who claims the id of a connected peer [1.5]
        if number < self.highest or data.get("peerConnection") not in (None, connection and connection.number):
            return
        self.highest, self.sid = number, data["sid"]
        if connection and connection.remote is not None:
            if number == connection.remote:
                if connection.answer and negotiation == connection.remote_negotiation:
                    await self.client.signal("answer", self, connection.answer)
                return
            await self.lose(connection)
        if self.connection and self.connection.offer:
            if not self.polite:
                return await self.client.signal("offer", self, self.connection.offer)
            log(f"peer {self.id}: both have offered, and ours is rolled back")
            await self.connection.roll_back()
        connection = self.connection or self.new_connection()
        connection.remote, connection.remote_negotiation = number, negotiation
        await connection.accept("offer", data["offer"]["sdp"])
        await connection.pc.setLocalDescription()
        connection.answer = {"answer": {"type": "answer", "sdp": connection.pc.localDescription.sdp},
                             "connection": connection.number, "peerConnection": number, "negotiation": negotiation}
        await self.client.signal("answer", self, connection.answer)

    async def on_answer(self, data: Json) -> None:
        connection = self.connection
        if (connection and connection.offer and data["peerConnection"] == connection.number
                and data["negotiation"] == connection.offered):
            connection.offer, connection.remote = None, data["connection"]
            self.highest = max(self.highest, data["connection"])
            await connection.accept("answer", data["answer"]["sdp"])

    async def on_candidate(self, data: Json) -> None:
        connection = self.connection
        if connection is None or data.get("peerConnection") not in (None, connection.number):
            return
        if connection.remote is None:
            connection.early.append(data)
        elif connection.remote == data["connection"]:
            await connection.add_candidate(data["candidate"])


class Client:
    def __init__(self, server: str, rooms: list[str], client_id: str) -> None:
        self.server, self.rooms, self.id = server, rooms, client_id
        self.sid: str | None = None
        self.session: str | None = None
        self.ice_servers: list[Json] = []
        self.peers: dict[str, Peer] = {}
        self.numbers = 0
        self.socket = socketio.AsyncClient(reconnection_delay=0.25, reconnection_delay_max=2)
        for event, handler in {
            "connect": self.on_connect,
            "disconnect": lambda *_: report("signallerStateChanged", state="reconnecting"),
            "sid": self.on_sid,
            "error": lambda data: report("error", code=data.get("code"), message=data.get("error")),
            "acquire-peers": self.on_acquire_peers,
            "acquire-peers-response": lambda data: self.peer(data, Peer.discover, data["sid"], False),
            "offer": lambda data: self.peer(data, Peer.on_offer, data),
            "answer": lambda data: self.peer(data, Peer.on_answer, data),
            "candidate": lambda data: self.peer(data, Peer.on_candidate, data),
            "peer-disconnection": self.on_peer_disconnection,
        }.items():
            self.socket.on(event, handler, NAMESPACE)

    def peer(self, data: Json, task: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        peer_id = data.get("id") or data["sid"]  # [1.3]
        if peer_id not in self.peers:
            self.peers[peer_id] = Peer(self, peer_id, data["sid"])
        peer = self.peers[peer_id]
        peer.do(task, peer, *arguments)

    def next_number(self) -> int:
        self.numbers += 1
        return self.numbers

    async def emit(self, event: str, data: Json) -> None:
        if NAMESPACE in self.socket.namespaces:  # otherwise it is sent again when the peers find each other again
            await self.socket.emit(event, data, NAMESPACE)

    async def signal(self, event: str, peer: Peer, data: Json) -> None:
        await self.emit(event, {"recipient": peer.sid, "id": self.id, **data})

    async def on_connect(self) -> None:
        report("signallerStateChanged", state="connected")
        await self.emit("request-sid", {"apiVersion": "1.0"})

    async def on_sid(self, data: Json) -> None:
        previous = {"prevSid": self.sid, "prevSession": self.session} if self.sid else {}  # [1.5]
        self.sid, self.session, self.ice_servers = data["sid"], data["session"], data.get("iceServers", [])
        report("acquireSid", sid=self.sid)
        for peer in self.peers.values():
            if peer.connected:
                peer.connected.send({"type": "sid", "sid": self.sid})
        for room in self.rooms:
            await self.emit("join", {"room": room, "id": self.id, **previous})

    async def on_acquire_peers(self, data: Json) -> None:
        response = {"recipient": data["sid"], "room": data.get("room", self.rooms[0]), "id": self.id}
        await self.emit("acquire-peers-response", response)
        self.peer(data, Peer.discover, data["sid"], True)

    def on_peer_disconnection(self, data: Json) -> None:
        for peer in self.peers.values():
            if peer.sid == data["sid"]:
                peer.do(peer.check)

    async def operate(self, operation: Json) -> None:
        connected = {peer.sid: peer.connected for peer in self.peers.values() if peer.connected}
        match operation["op"]:
            case "joinRoom":
                self.rooms.append(operation["room"])
                await self.emit("join", {"room": operation["room"], "id": self.id})
            case "sendMessage":
                body = to_json(operation["message"])
                for sid in operation.get("peerSids", connected):
                    connected[sid].send({"type": "message"}, body)
            case "requestPeerTrack":
                connected[operation["sid"]].requested.add(operation["id"])
                connected[operation["sid"]].send({"type": "track-request", "id": operation["id"]})
            case "removePeerTrack":
                connected[operation["sid"]].requested.discard(operation["id"])
                connected[operation["sid"]].send({"type": "track-cancel", "id": operation["id"]})
            case unknown:
                raise ValueError(f"no operation {unknown}")

    async def run(self) -> None:
        await self.socket.connect(self.server, namespaces=[NAMESPACE], retry=True)
        lines = asyncio.StreamReader(limit=64 * 1024 * 1024)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        while line := await lines.readline():
            call: Json = {}
            try:
                operation = json.loads(line)
                call = {"call": operation["call"]} if "call" in operation else {}
                await self.operate(operation)
                report("result", value=None, **call)
            except (ValueError, KeyError, TypeError) as problem:
                report("error", code="invalid-operation", message=repr(problem), **call)
        for peer in self.peers.values():
            peer.worker.cancel()
        await self.socket.disconnect()
        await asyncio.gather(*(peer.connection.pc.close() for peer in self.peers.values() if peer.connection))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A peer on the command line.")
    parser.add_argument("room", nargs="+")
    parser.add_argument("--server", default="http://127.0.0.1:8080")
    parser.add_argument("--id", default=uuid.uuid4().hex, help="the permanent id")
    arguments = parser.parse_args()
    asyncio.run(Client(arguments.server, arguments.room, arguments.id).run())
