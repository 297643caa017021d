"""The original signalling server under Flask-SocketIO with gevent, and the built npm package: PORT DIST."""

import sys

from gevent import monkey

monkey.patch_all()

from flask import Flask, send_from_directory
from flask_socketio import SocketIO
from rtc_cafe_signaller.wrappers import flask_socketio_wrapper

app = Flask(__name__)
socketio = SocketIO(app, async_mode="gevent")


def validate(sid, event, data):
    return "no circus" if isinstance(data, dict) and data.get("room") == "circus" else None


flask_socketio_wrapper.wrap(socketio, validate)


@app.get("/healthz")
def healthz():
    return "ok", 200, {"Content-Type": "text/plain"}


@app.get("/favicon.ico")
def favicon():
    return "", 204


@app.get("/client/<path:name>")
def client(name):
    return send_from_directory(sys.argv[2], name)


socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]))
