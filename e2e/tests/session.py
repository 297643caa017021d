"""Two python-socketio clients that go through a session on the server URL, over TRANSPORTS; prints `done`."""

import sys
import threading
import time

import socketio

NAMESPACE = "/rtc-cafe"
NAMES = ["sid", "acquire-peers", "acquire-peers-response", "offer", "answer", "candidate", "peer-disconnection", "error"]


class Client:
    def __init__(self, url, transports):
        self.events = []
        self.arrived = threading.Condition()
        self.io = socketio.Client(reconnection=False)
        for name in NAMES:
            self.io.on(name, lambda *payload, name=name: self.keep(name, payload), namespace=NAMESPACE)
        self.io.connect(url, transports=transports, namespaces=[NAMESPACE], wait_timeout=5)
        self.sid = self.io.get_sid(NAMESPACE)

    def keep(self, name, payload):
        with self.arrived:
            self.events.append((name, *payload))
            self.arrived.notify_all()

    def emit(self, event, payload):
        self.io.emit(event, payload, namespace=NAMESPACE)

    def call(self, event, payload):
        return self.io.call(event, payload, namespace=NAMESPACE, timeout=5)

    def expect(self, *event):
        with self.arrived:
            found = self.arrived.wait_for(lambda: event in self.events, timeout=5)
        assert found, f"{event} did not come; there are {self.events}"
        self.events.remove(event)


def main(url, transports):
    a, b = Client(url, transports), Client(url, transports)
    assert a.sid != b.sid and len(a.sid) == 20, (a.sid, b.sid)
    room = f"python {transports}"

    a.call("request-sid", {})
    a.expect("sid", {"sid": a.sid})
    a.call("join", {"room": room, "id": "a"})
    b.call("join", {"room": room, "id": "b"})
    a.expect("acquire-peers", {"id": "b", "sid": b.sid, "prevSid": None})
    a.emit("acquire-peers-response", {"recipient": b.sid, "room": room, "id": "a"})
    b.expect("acquire-peers-response", {"id": "a", "sid": a.sid, "prevSid": None})

    for event, (one, its_id), other in [("offer", (b, "b"), a), ("answer", (a, "a"), b), ("candidate", (a, "a"), b)]:
        content = {event: {"sdp": "v=0", "☕": [None, 1.5, "\x00"]}, "recipient": other.sid}
        one.emit(event, content)
        other.expect(event, {"id": its_id, "sid": one.sid, **content})

    if "websocket" in transports:
        deadline = time.monotonic() + 5
        while a.io.transport() != "websocket" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert a.io.transport() == "websocket"
        a.emit("candidate", {"recipient": b.sid, "bytes": b"\x00\xff"})
        b.expect("candidate", {"id": "a", "sid": a.sid, "recipient": b.sid, "bytes": b"\x00\xff"})

    a.call("offer", {"recipient": None})
    error = next(payload for name, payload in a.events if name == "error")
    assert error["code"] == "invalid-recipient" and error["originalMessage"] == "offer", error

    b.io.disconnect()
    a.expect("peer-disconnection", {"sid": b.sid})
    a.io.disconnect()
    print("done", flush=True)


main(sys.argv[1], sys.argv[2].split(","))
