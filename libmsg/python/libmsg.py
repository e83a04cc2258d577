# SPDX-License-Identifier: Apache-2.0 OR MIT
"""msgd's messages from Python, for test benches and tools: one file over libmsg.so, with nothing but ctypes.

    import libmsg

    with libmsg.Client(100) as client:
        client.on_failure = lambda failure: print("failed:", failure.reason, failure.user)
        client.send(200, b"hello", user=b"order 17")
        client.flush()

    async with libmsg.Client(200) as client:          # in an asyncio loop
        async for message in client:
            client.send(message.src, message.data)

What the calls do is in libmsg.h. The library is $LIBMSG_SO, else libmsg.so.0 where the loader finds it.

Callbacks run in the thread that calls dispatch or flush. What a callback raises comes out of that call, once
the callbacks of what was already read have run.
"""

import asyncio
import ctypes
import enum
import os
import time
from collections import deque
from dataclasses import dataclass

__all__ = [
    "AT_LEAST_ONCE", "MORE", "UNORDERED", "WAIT", "Client", "Error", "Failure", "Message", "Reason", "version",
]

# Flags of Client.send: MSG_F_* of libmsg.h.
UNORDERED = 1
AT_LEAST_ONCE = 2
MORE = 4
WAIT = 8

MAX_USER_LEN = 64

_O_NO_RETRANSMITS = 1
_O_ACK_ON_HANDLED = 2
_E_AGAIN = -2
_E_TIMEOUT = -3
_E_HANDLE = -7


class Reason(enum.IntEnum):
    """Why a message failed: MSG_R_* of libmsg.h. What is known of it is in Failure.may_have_started."""

    NO_ROUTE = 1
    NO_ANSWER = 2
    REFUSED = 3
    GOING_AWAY = 4
    RECEIVER_GONE = 5
    QUEUE_FULL = 6
    TOO_LARGE = 7
    CANCELLED = 8


class Error(Exception):
    """A call that failed. `code` is its MSG_E_* of libmsg.h."""

    def __init__(self, code, text=None):
        super().__init__(text or _lib().msg_strerror(code).decode())
        self.code = code


@dataclass(frozen=True)
class Failure:
    """A message that failed; it is never handed over from now on."""

    msgid: int
    dst: int
    reason: Reason
    may_have_started: bool
    tries: int
    user: bytes


@dataclass(frozen=True)
class Message:
    """A message that was taken."""

    src: int
    msgid: int
    age_us: int
    data: bytes


class _Options(ctypes.Structure):
    _fields_ = [
        ("socket_path", ctypes.c_char_p),
        ("clientid", ctypes.c_uint32),
        ("interval_ms", ctypes.c_uint32),
        ("times", ctypes.c_uint8),
        ("flags", ctypes.c_uint32),
    ]


class _Failure(ctypes.Structure):
    _fields_ = [
        ("msgid", ctypes.c_uint32),
        ("dst", ctypes.c_uint32),
        ("reason", ctypes.c_int),
        ("may_have_started", ctypes.c_int),
        ("tries", ctypes.c_uint32),
        ("user_len", ctypes.c_size_t),
        ("user_buff", ctypes.c_uint8 * MAX_USER_LEN),
    ]


class _Message(ctypes.Structure):
    _fields_ = [
        ("src", ctypes.c_uint32),
        ("msgid", ctypes.c_uint32),
        ("age_us", ctypes.c_uint64),
        ("data", ctypes.c_void_p),
        ("len", ctypes.c_size_t),
    ]


_OnFailure = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Failure), ctypes.c_void_p)
_OnMessage = ctypes.CFUNCTYPE(None, ctypes.POINTER(_Message), ctypes.c_void_p)

_loaded = None


def _lib():
    global _loaded
    if _loaded is None:
        lib = ctypes.CDLL(os.environ.get("LIBMSG_SO", "libmsg.so.0"), use_errno=True)
        client, size, u32, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_int
        signatures = {
            "msg_open_explained": (
                number, ctypes.POINTER(_Options), ctypes.POINTER(client), ctypes.c_char_p, size),
            "msg_on_failure": (None, client, _OnFailure, ctypes.c_void_p),
            "msg_on_message": (None, client, _OnMessage, ctypes.c_void_p),
            "msg_send": (
                number, client, u32, ctypes.c_char_p, size, ctypes.c_char_p, size, u32, ctypes.POINTER(u32)),
            "msg_flush": (number, client, number),
            "msg_fd": (number, client),
            "msg_dispatch": (number, client, number),
            "msg_wake": (number, client),
            "msg_unresolved": (number, client),
            "msg_close": (number, client),
            "msg_strerror": (ctypes.c_char_p, number),
            "msg_version": (ctypes.c_char_p,),
        }
        for name, (result, *arguments) in signatures.items():
            function = getattr(lib, name)
            function.restype = result
            function.argtypes = arguments
        _loaded = lib
    return _loaded


def version():
    """The library's version."""
    return _lib().msg_version().decode()


def _milliseconds(seconds):
    """A timeout as libmsg takes it: None is no limit, and what is not nothing does not become nothing."""
    if seconds is None:
        return -1
    if seconds < 0:
        raise ValueError("timeout: None, or 0 seconds or more")
    return min(-int(-seconds * 1000 // 1), 2**31 - 1)


class Client:
    """A process's connection to its node's daemon.

    interval is in seconds; what is None is as the daemon's config says. Messages go to on_message, if it is set;
    else they wait for recv, or for `async for`.
    """

    def __init__(self, clientid, socket_path=None, interval=None, times=None, ack_on_handled=False):
        self._client = None
        options = _Options(clientid=clientid)
        if socket_path is not None:
            options.socket_path = os.fsencode(socket_path)
        if interval is not None:
            options.interval_ms = _milliseconds(interval)
        if times == 0:
            options.flags |= _O_NO_RETRANSMITS
        elif times is not None:
            if not 0 < times < 256:
                raise ValueError("times: 0 to 255")
            options.times = times
        if ack_on_handled:
            options.flags |= _O_ACK_ON_HANDLED
        client, why = ctypes.c_void_p(), ctypes.create_string_buffer(512)
        code = _lib().msg_open_explained(ctypes.byref(options), ctypes.byref(client), why, len(why))
        if code < 0:
            raise Error(code, why.value.decode(errors="replace"))
        self._client = client
        self.on_failure = None
        self.on_message = None
        self._waiting = deque()
        self._raised = None
        # ctypes frees what C calls as soon as nobody here has it.
        self._failed = _OnFailure(self._on_failure)
        self._came = _OnMessage(self._on_message)
        _lib().msg_on_failure(client, self._failed, None)
        _lib().msg_on_message(client, self._came, None)

    def send(self, dst, data, user=b"", flags=0):
        """Sends, and returns the message's number. BlockingIOError where there is no room."""
        data, user, msgid = bytes(data), bytes(user), ctypes.c_uint32()
        code = _lib().msg_send(
            self._client, dst, data, len(data), user, len(user), flags, ctypes.byref(msgid))
        if code == _E_AGAIN:
            raise BlockingIOError(_lib().msg_strerror(code).decode())
        self._check(code)
        return msgid.value

    def dispatch(self, timeout=None):
        """Waits until something comes or falls due, at most so many seconds, and runs callbacks. Returns how many."""
        return self._run(_lib().msg_dispatch(self._client, _milliseconds(timeout)))

    def flush(self, timeout=None):
        """Waits until every message has its outcome, and runs callbacks. TimeoutError when the time is over."""
        code = _lib().msg_flush(self._client, _milliseconds(timeout))
        if code == _E_TIMEOUT and self._raised is None:
            raise TimeoutError(f"{self.unresolved} messages have no outcome yet")
        self._run(code)

    def recv(self, timeout=None):
        """The next message, or None when the time is over. Failure callbacks run meanwhile."""
        loop_until = None if timeout is None else _now() + timeout
        while not self._waiting:
            left = None if loop_until is None else max(0, loop_until - _now())
            self.dispatch(left)
            if not self._waiting and left == 0:
                return None
        return self._waiting.popleft()

    def fileno(self):
        """For select, selectors and asyncio: readable while there is something to dispatch."""
        return self._check(_lib().msg_fd(self._client))

    def wake(self):
        """Has a dispatch that waits in another thread return, or else the next one."""
        self._check(_lib().msg_wake(self._client))

    @property
    def unresolved(self):
        """How many messages have no outcome yet."""
        return self._check(_lib().msg_unresolved(self._client))

    def close(self):
        """Says goodbye. What has no outcome yet goes its way, and nobody is told. Harmless when it is closed."""
        if self._client is not None:
            self._check(_lib().msg_close(self._client))
            self._client = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.close()

    def __aiter__(self):
        return self

    async def __anext__(self):
        while not self._waiting:
            await self.ready()
            self.dispatch(0)
        return self._waiting.popleft()

    async def ready(self):
        """Waits until there is something to dispatch, while the loop does other things."""
        loop, fd = asyncio.get_running_loop(), self.fileno()
        readable = loop.create_future()
        loop.add_reader(fd, lambda: readable.done() or readable.set_result(None))
        try:
            await readable
        finally:
            loop.remove_reader(fd)

    async def drain(self):
        """Waits until every message has its outcome, while the loop does other things."""
        # What was sent with MORE is written first.
        self.dispatch(0)
        while self.unresolved:
            await self.ready()
            self.dispatch(0)

    def _on_failure(self, failure, _):
        f = failure.contents
        if self.on_failure is not None:
            user = bytes(f.user_buff[: f.user_len])
            try:
                reason = Reason(f.reason)
            except ValueError:
                reason = f.reason
            self._call(
                self.on_failure, Failure(f.msgid, f.dst, reason, bool(f.may_have_started), f.tries, user))

    def _on_message(self, message, _):
        m = message.contents
        came = Message(m.src, m.msgid, m.age_us, ctypes.string_at(m.data, m.len))
        if self.on_message is not None:
            self._call(self.on_message, came)
        else:
            self._waiting.append(came)

    def _call(self, callback, argument):
        try:
            callback(argument)
        except BaseException as raised:  # ctypes would print it and go on
            if self._raised is None:
                self._raised = raised

    def _run(self, code):
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
        return self._check(code)

    def _check(self, code):
        if self._client is None:
            raise Error(_E_HANDLE)
        if code < 0:
            raise Error(code)
        return code


def _now():
    return time.monotonic()
