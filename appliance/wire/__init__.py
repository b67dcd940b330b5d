"""The ground: THE protocol between master and workers, without any I/O (reliability.md section 5).

``messages`` and ``frames`` say what may be said, ``master_end`` and ``worker_end`` when. Bytes go in, events and bytes
come out; socket, clock, disk and randomness belong to the caller, so a simulator can drive both ends from a seed.
"""

SUBPROTOCOL = "orchestra.v1"
WORKER_NAME_HEADER = "Orchestra-Worker"  # in the answer to a handshake: what the master calls this worker
WORKER_STATE_HEADER = "Orchestra-Worker-State"  # "disabled": it gets no new runs; of a 403 "disconnected": not for ever
PROTOCOLS = (1, 1)  # lowest and highest version spoken here

MESSAGE_LIMIT = 262_144  # bytes of one control message
CHUNK = 65_536  # bytes of payload in one data frame
RUN_WINDOW = 1 << 20  # bytes of one run under way
WORKER_WINDOW = 4 << 20  # bytes of one worker under way
INVENTORY_PAGE = 500  # runs in one frame of an inventory or a welcome
INVENTORY_LIMIT = 100_000  # runs in a whole inventory
RESULTS_INLINE = 65_536  # bytes of results carried inside a message; larger ones are stream 1
RESULTS_LIMIT = 8 << 20  # bytes of results at all
REQUEST_LIMIT = 192 * 1024  # bytes of a request, so that an assignment fits a message

OUTPUT, RESULTS, NOTES = 0, 1, 2  # streams

PING_EVERY, PONG_WITHIN, BEAT_EVERY = 10.0, 15.0, 20.0  # seconds
CLOSE_WITHIN = 2.0  # seconds that a connection may take to end; a silent one must have ended PONG_WITHIN its ping (F11)
SEND_WITHIN = 20.0  # seconds
RECONNECT_FIRST, RECONNECT_MOST = 0.5, 30.0  # seconds, full jitter


class Close:
    """Close codes of the WebSocket."""

    TOO_BIG = 1009
    RESTART = 1012
    SUPERSEDED = 4001
    REVOKED = 4002
    DUPLICATE = 4003
    DISCONNECTED = 4004  # by an operator, who wants the worker away for a while
    OTHER_CLUSTER = 4005
    VERSION = 4006
    PROTOCOL = 4400
    RATE = 4429


class ProtocolError(Exception):
    """The other side broke the protocol. ``close`` is set when the connection cannot go on."""

    def __init__(self, text: str, code: str = "malformed", *, close: int | None = None, re: int | None = None) -> None:
        super().__init__(text)
        self.code, self.close, self.re = code, close, re
