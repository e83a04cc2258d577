# SPDX-License-Identifier: Apache-2.0 OR MIT
"""msgd's messages from Python, for test benches and tools: over libmsg.so, with nothing but ctypes (libmsg_abi.py).

    import libmsg

    with libmsg.Client(100) as client:
        client.on_failure = lambda failure: print("failed:", failure.reason, failure.user)
        client.send(200, b"hello", user=b"order 17")
        client.flush()

    async with libmsg.Client(200) as client:          # in an asyncio loop
        async for message in client:
            client.send(message.src, message.data)

    client.serve(1, lambda request: request.data.upper())
    reply = client.call(200, 1, b"hello", timeout=5)

What the calls do is in libmsg.h. The library is $LIBMSG_SO, else libmsg.so.0 where the loader finds it.

Callbacks run in the thread that calls dispatch, flush or drain. What a callback raises comes out of that call, once
the callbacks of what was already read have run. A handler that raises answers that there is no reply.
"""

import asyncio
import ctypes
import enum
import itertools
import os
import time
from collections import deque
from dataclasses import dataclass

import libmsg_abi as abi

__all__ = [
    "AT_LEAST_ONCE", "IDEMPOTENT", "LATER", "LOST_REFUSE", "LOST_RUN", "MORE", "REPEAT", "UNORDERED", "WAIT",
    "CallError", "Change", "Client", "DrainCause", "Error", "Failure", "Message", "Presence", "Reason", "Request",
    "Result", "version",
]

# Flags of Client.send: MSG_F_* of libmsg.h...
UNORDERED = 1
AT_LEAST_ONCE = 2
MORE = 4
WAIT = 8
REPEAT = 16  # of calls, beside UNORDERED and AT_LEAST_ONCE...
IDEMPOTENT = 32  # ... and of Client.serve.
LOST_REFUSE = 64
LOST_RUN = 128

# What a handler returns that answers later, with Client.reply.
LATER = object()


class Reason(enum.IntEnum):
    """Why a message or a call failed: MSG_R_* of libmsg.h. What is known is in may_have_started, may_have_run."""

    NO_ROUTE = 1
    NO_ANSWER = 2
    REFUSED = 3
    GOING_AWAY = 4
    RECEIVER_GONE = 5
    QUEUE_FULL = 6
    TOO_LARGE = 7
    CANCELLED = 8
    DEADLINE = 101
    NO_PROCEDURE = 103
    BUSY = 104
    XID_REUSED = 105
    REPLY_LOST = 106
    NO_REPLY = 107


class Change(enum.IntEnum):
    """What changed among the instances of a clientid: MSG_P_* of libmsg.h."""

    UP = 1
    DOWN = 2
    ACTIVE = 3


class DrainCause(enum.IntEnum):
    """Why a client is to take no more: MSG_D_* of libmsg.h."""

    SUPERSEDED = 1
    ASKED = 2


class Error(Exception):
    """A call that failed. `code` is its MSG_E_* of libmsg.h."""

    def __init__(self, code, text=None):
        super().__init__(text or abi.lib().msg_strerror(code).decode())
        self.code = code


class CallError(Error):
    """A call without a reply: why, and whether the procedure may have run."""

    def __init__(self, code, reason):
        self.reason, self.may_have_run = _known(Reason, reason), code == abi.E_UNKNOWN
        text, name = abi.lib().msg_strerror(code), abi.lib().msg_reason_name(reason)
        super().__init__(code, f"{text.decode()} ({name.decode()})")


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


@dataclass(frozen=True)
class Presence:
    """A change among the instances of a clientid."""

    clientid: int
    change: Change
    incarnation: int
    priority: int


@dataclass(frozen=True)
class Result:
    """What came of a call: a reply, or an error."""

    xid: int
    data: bytes
    error: CallError | None


@dataclass(frozen=True)
class Request:
    """A call that came; time_left is in seconds."""

    call: int
    xid: int
    src: int
    procedure: int
    uid: int
    node: str
    is_repeat: bool
    time_left: float
    data: bytes


def version():
    """The library's version."""
    return abi.lib().msg_version().decode()


def _milliseconds(seconds):
    """A timeout as libmsg takes it: None is no limit, and what is not nothing does not become nothing."""
    if seconds is None:
        return -1
    if seconds < 0:
        raise ValueError("timeout: None, or 0 seconds or more")
    return min(-int(-seconds * 1000 // 1), 2**31 - 1)


def _call_options(timeout, flags, retries, xid):
    if timeout is None or timeout <= 0:
        raise ValueError("timeout of a call: more than 0 seconds")
    return abi.CallOptions(timeout_ms=_milliseconds(timeout), flags=flags, retries=retries, xid=xid)


def _known(kind, value):
    """A value of an enum, or the number of one that is not known here."""
    try:
        return kind(value)
    except ValueError:
        return value


class Client:
    """A process's connection to its node's daemon.

    interval is in seconds; what is None is as the daemon's config says. Messages go to on_message, if it is set;
    else they wait for recv, or for `async for`. Of the instances of a clientid the one with the highest priority, then
    the newest, gets the messages; beside: there may be others on this node; takeover: this one replaces the one that is
    there. on_presence(Presence) tells of those that were subscribed to, on_drain(DrainCause) that this one is to take no
    more.
    """

    def __init__(self, clientid, socket_path=None, interval=None, times=None, ack_on_handled=False, priority=0,
                 beside=False, takeover=False):
        self._client = None
        if not 0 <= priority < 256:
            raise ValueError("priority: 0 to 255")
        options = abi.Options(clientid=clientid, flags=priority << abi.O_PRIORITY_SHIFT)
        options.flags |= (abi.O_BESIDE if beside else 0) | (abi.O_TAKEOVER if takeover else 0)
        if socket_path is not None:
            options.socket_path = os.fsencode(socket_path)
        if interval is not None:
            options.interval_ms = _milliseconds(interval)
        if times == 0:
            options.flags |= abi.O_NO_RETRANSMITS
        elif times is not None:
            if not 0 < times < 256:
                raise ValueError("times: 0 to 255")
            options.times = times
        if ack_on_handled:
            options.flags |= abi.O_ACK_ON_HANDLED
        client, why = ctypes.c_void_p(), ctypes.create_string_buffer(512)
        code = abi.lib().msg_open_explained(ctypes.byref(options), ctypes.byref(client), why, len(why))
        if code < 0:
            raise Error(code, why.value.decode(errors="replace"))
        self._client = client
        self.on_failure = self.on_message = self.on_presence = self.on_drain = None
        self._waiting = deque()
        self._raised = None
        self._sleepers = []
        # Who is told of each call that waits, by the number that C gives back; who serves each procedure.
        self._done = {}
        self._keys = itertools.count(1)
        self._handlers = {}
        # ctypes frees what C calls as soon as nobody here has it.
        self._failed = abi.OnFailure(self._on_failure)
        self._came = abi.OnMessage(self._on_message)
        self._changed = abi.OnPresence(self._on_presence)
        self._asked = abi.OnDrain(self._on_drain)
        self._ended = abi.OnResult(self._on_result)
        self._called = abi.OnRequest(self._on_request)
        abi.lib().msg_on_failure(client, self._failed, None)
        abi.lib().msg_on_message(client, self._came, None)
        abi.lib().msg_on_presence(client, self._changed, None)
        abi.lib().msg_on_drain(client, self._asked, None)

    def send(self, dst, data, user=b"", flags=0):
        """Sends, and returns the message's number. BlockingIOError where there is no room."""
        data, user, msgid = bytes(data), bytes(user), ctypes.c_uint32()
        code = abi.lib().msg_send(self._client, dst, data, len(data), user, len(user), flags, ctypes.byref(msgid))
        self._check_room(code)
        return msgid.value

    def dispatch(self, timeout=None):
        """Waits until something comes or falls due, at most so many seconds, and runs callbacks. Returns how many."""
        return self._run(abi.lib().msg_dispatch(self._client, _milliseconds(timeout)))

    def flush(self, timeout=None):
        """Waits until every message has its outcome, and runs callbacks. TimeoutError when the time is over."""
        self._flushed(abi.lib().msg_flush(self._client, _milliseconds(timeout)))

    def drain(self, timeout=None):
        """Takes no more, and waits for the answers to the calls that were begun, whichever thread gives them, as long as
        their callers wait; then as flush. A daemon that is away is waited for and told, but no longer than a message lives.
        This is how a process ends whose work another one goes on with."""
        self._flushed(abi.lib().msg_drain(self._client, _milliseconds(timeout)), "calls have no answer yet, or no daemon was told")

    def subscribe(self, clientid):
        """Has on_presence told of the instances of a clientid."""
        self._check(abi.lib().msg_subscribe(self._client, clientid))

    def call(self, dst, procedure, data, timeout, flags=0, retries=0, xid=0):
        """Calls a procedure, and returns its reply. CallError when it fails. timeout is in seconds; flags are
        UNORDERED, AT_LEAST_ONCE, REPEAT (with its xid). Failure callbacks run meanwhile."""
        data, options = bytes(data), _call_options(timeout, flags, retries, xid)
        reply, size, reason = ctypes.create_string_buffer(abi.MAX_REPLY_LEN), ctypes.c_size_t(), ctypes.c_int()
        code = abi.lib().msg_call(self._client, dst, procedure, data, len(data), ctypes.byref(options), reply,
                                  len(reply), ctypes.byref(size), ctypes.byref(reason))
        if code in (abi.E_NOT_STARTED, abi.E_UNKNOWN):
            raise CallError(code, reason.value)
        self._check_room(code)
        return ctypes.string_at(reply, size.value)

    def start_call(self, dst, procedure, data, timeout, done, flags=0, retries=0, xid=0):
        """Calls without waiting, and returns the call's number; done(Result) is told what comes of it, once."""
        data, options, number = bytes(data), _call_options(timeout, flags, retries, xid), ctypes.c_uint64()
        key = next(self._keys)
        self._done[key] = done
        code = abi.lib().msg_call_start(self._client, dst, procedure, data, len(data), ctypes.byref(options),
                                        self._ended, key, ctypes.byref(number))
        if code < 0:
            del self._done[key]
        self._check_room(code)
        return number.value

    def cancel_call(self, number):
        """Does not wait for a call any more. False if it has ended."""
        code = abi.lib().msg_call_cancel(self._client, number)
        return code != abi.E_NO_CALL and self._check(code) == 0

    def serve(self, procedure, handler, flags=0):
        """Serves a procedure: handler(Request) returns the reply; None: there is none; LATER: reply is called later, from
        any thread. Serve before the first dispatch: calls that come earlier wait for it. flags are IDEMPOTENT and one of LOST_*."""
        before, self._handlers[procedure] = self._handlers.get(procedure), handler
        code = abi.lib().msg_serve(self._client, procedure, flags, self._called, None)
        if code < 0:
            self._handlers[procedure] = before
        self._check(code)

    def reply(self, request, data):
        """Answers a call. BlockingIOError where there is no room."""
        data = bytes(data)
        self._check_room(abi.lib().msg_reply(self._client, request.call, data, len(data)))

    def caller_waits(self, request):
        """How many seconds the caller waits yet, as far as is known here; 0: no more."""
        return self._check(abi.lib().msg_caller_waits(self._client, request.call)) / 1000

    def enable_reply_cache(self, replies):
        """Answers repeats from the last so many replies. It cannot be turned off."""
        self._check(abi.lib().msg_enable_reply_cache(self._client, replies))

    @property
    def call_counters(self):
        """What happened to calls: numbers by name, which only grow."""
        counters = abi.CallCounters()
        self._check(abi.lib().msg_call_stats(self._client, ctypes.byref(counters), ctypes.sizeof(counters)))
        return {name: getattr(counters, name) for name, _ in counters._fields_}

    @property
    def refusal(self):
        """None while msgd has not refused this client; else an Error with its words."""
        why = ctypes.create_string_buffer(512)
        code = abi.lib().msg_refusal(self._client, why, len(why))
        return Error(code, why.value.decode(errors="replace")) if code < 0 else None

    def recv(self, timeout=None):
        """The next message, or None when the time is over. Failure callbacks run meanwhile."""
        loop_until = None if timeout is None else time.monotonic() + timeout
        while not self._waiting:
            left = None if loop_until is None else max(0, loop_until - time.monotonic())
            self.dispatch(left)
            if not self._waiting and left == 0:
                return None
        return self._waiting.popleft()

    def fileno(self):
        """For select, selectors and asyncio: readable while there is something to dispatch."""
        return self._check(abi.lib().msg_fd(self._client))

    def wake(self):
        """Has a dispatch that waits in another thread return, or else the next one."""
        self._check(abi.lib().msg_wake(self._client))

    @property
    def unresolved(self):
        """How many messages have no outcome yet."""
        return self._check(abi.lib().msg_unresolved(self._client))

    def close(self):
        """Says goodbye. What has no outcome yet goes its way, and nobody is told. Harmless when it is closed."""
        if self._client is not None:
            self._check(abi.lib().msg_close(self._client))
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
        """Waits until there is something to dispatch, or another task has, while the loop does other things."""
        loop, fd = asyncio.get_running_loop(), self.fileno()
        readable = loop.create_future()
        if not self._sleepers:
            loop.add_reader(fd, self._wake_sleepers)
        self._sleepers.append(readable)
        try:
            await readable
        finally:
            self._sleepers.remove(readable)
            if not self._sleepers:
                loop.remove_reader(fd)

    async def aflush(self):
        """Waits until every message has its outcome, while the loop does other things."""
        # What was sent with MORE is written first.
        self.dispatch(0)
        while self.unresolved:
            await self.ready()
            self.dispatch(0)

    async def adrain(self):
        """As drain, while the loop does other things."""
        while True:
            try:
                return self.drain(0)
            except TimeoutError:
                await self.ready()

    async def acall(self, dst, procedure, data, timeout, **options):
        """As call, while the loop does other things."""
        results = []
        self.start_call(dst, procedure, data, timeout, results.append, **options)
        while not results:
            await self.ready()
            self.dispatch(0)
        if results[0].error is not None:
            raise results[0].error
        return results[0].data

    def _wake_sleepers(self):
        for readable in self._sleepers:
            readable.done() or readable.set_result(None)

    def _on_failure(self, failure, _):
        f = failure.contents
        if self.on_failure is not None:
            user, reason = bytes(f.user_buff[: f.user_len]), _known(Reason, f.reason)
            self._call(self.on_failure, Failure(f.msgid, f.dst, reason, bool(f.may_have_started), f.tries, user))

    def _on_message(self, message, _):
        m = message.contents
        came = Message(m.src, m.msgid, m.age_us, ctypes.string_at(m.data, m.len))
        if self.on_message is not None:
            self._call(self.on_message, came)
        else:
            self._waiting.append(came)

    def _on_presence(self, presence, _):
        p = presence.contents
        if self.on_presence is not None:
            self._call(self.on_presence, Presence(p.clientid, _known(Change, p.event), p.incarnation, p.priority))

    def _on_drain(self, cause, _):
        if self.on_drain is not None:
            self._call(self.on_drain, _known(DrainCause, cause))

    def _on_result(self, result, key):
        r, done = result.contents, self._done.pop(key)
        error = CallError(r.error, r.reason) if r.error else None
        self._call(done, Result(r.xid, ctypes.string_at(r.data, r.len), error))

    def _on_request(self, request, _):
        r, reply = request.contents, None
        came = Request(r.call, r.xid, r.src, r.procedure, r.uid, r.node.decode(), bool(r.is_repeat),
                       r.time_left_ms / 1000, ctypes.string_at(r.data, r.len))
        try:
            reply = self._handlers[r.procedure](came)
            if reply is not LATER and reply is not None:
                self.reply(came, reply)
        except BaseException as raised:  # ctypes would print it and go on
            self._raised, reply = self._raised or raised, None
        if reply is None:
            abi.lib().msg_reply_none(self._client, r.call)

    def _call(self, callback, argument):
        try:
            callback(argument)
        except BaseException as raised:  # ctypes would print it and go on
            if self._raised is None:
                self._raised = raised

    def _flushed(self, code, otherwise="callbacks are running"):
        if code == abi.E_TIMEOUT and self._raised is None:
            left = self.unresolved
            raise TimeoutError(f"{left} messages have no outcome yet" if left else otherwise)
        self._run(code)

    def _run(self, code):
        self._wake_sleepers()
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
        return self._check(code)

    def _check_room(self, code):
        if code == abi.E_AGAIN:
            raise BlockingIOError(abi.lib().msg_strerror(code).decode())
        return self._check(code)

    def _check(self, code):
        if self._client is None:
            raise Error(abi.E_HANDLE)
        if code < 0:
            raise Error(code)
        return code
