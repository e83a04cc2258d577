# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Tests of libmsg.py against the daemon at $MSGD_SOCKET, whose interval is short: python3 test_libmsg.py"""

import asyncio
import ctypes
import os
import re
import select
import threading
import unittest

import libmsg
import libmsg_abi


class Messages(unittest.TestCase):
    def setUp(self):
        self.a = libmsg.Client(100)
        self.b = libmsg.Client(200)
        self.addCleanup(self.a.close)
        self.addCleanup(self.b.close)

    def test_a_message_and_its_outcome(self):
        msgid = self.a.send(200, b"hello", user=b"order 17")
        message = self.b.recv(10)
        self.assertEqual((message.src, message.msgid, message.data), (100, msgid, b"hello"))
        self.a.flush(10)
        self.assertEqual(self.a.unresolved, 0)
        self.assertIsNone(self.b.recv(0))

    def test_messages_of_any_bytes(self):
        for data in (b"", b"\0", bytes(range(256)) * 400):
            self.a.send(200, data)
            self.assertEqual(self.b.recv(10).data, data)

    def test_callbacks(self):
        got = []
        self.b.on_message = lambda message: (got.append(message.data), self.b.send(message.src, message.data))
        for n in range(100):
            self.a.send(200, b"%d" % n, flags=libmsg.MORE)
        self.a.dispatch(0)
        while len(got) < 100:
            self.b.dispatch(10)
        self.assertEqual(got, [b"%d" % n for n in range(100)])
        self.assertEqual([self.a.recv(10).data for _ in range(100)], got)

    def test_what_a_callback_raises_comes_out_of_dispatch(self):
        def fail(message):
            raise KeyError(message.data)

        self.b.on_message = fail
        self.a.send(200, b"x")
        with self.assertRaises(KeyError):
            self.b.dispatch(10)

    def test_a_failure_hands_back_the_user_data(self):
        failures = []
        self.a.on_failure = failures.append
        msgid = self.a.send(999, b"to nobody", user=bytes(range(64)))
        self.a.flush(30)
        (failure,) = failures
        self.assertEqual((failure.msgid, failure.dst, failure.user), (msgid, 999, bytes(range(64))))
        self.assertEqual((failure.reason, failure.may_have_started), (libmsg.Reason.NO_ROUTE, False))

    def test_errors(self):
        with self.assertRaisesRegex(libmsg.Error, "no socket at /nowhere") as raised:
            libmsg.Client(1, socket_path="/nowhere/msgd.sock")
        self.assertEqual(raised.exception.code, -11)
        with self.assertRaisesRegex(libmsg.Error, "100 is registered"):
            libmsg.Client(100)
        with self.assertRaises(libmsg.Error):
            self.a.send(200, b"", user=bytes(65))
        with self.assertRaises(TimeoutError):
            self.a.send(999, b"")
            self.a.flush(0)
        with self.assertRaises(ValueError):
            self.a.dispatch(-1)
        self.a.close()
        self.a.close()
        with self.assertRaises(libmsg.Error):
            self.a.send(200, b"")

    def test_the_chain_fills(self):
        with self.assertRaises(BlockingIOError):
            for _ in range(100_000):
                self.a.send(999, b"")

    def test_times_0_sends_once(self):
        with libmsg.Client(300, interval=0.02, times=0) as client:
            failures = []
            client.on_failure = failures.append
            client.send(999, b"")
            client.flush(10)
            self.assertEqual(len(failures), 1)

    def test_a_wake(self):
        thread = threading.Thread(target=self.a.dispatch)
        thread.start()
        self.a.wake()
        thread.join(10)
        self.assertFalse(thread.is_alive())

    def test_the_fd(self):
        self.assertEqual(select.select([self.b], [], [], 0)[0], [])
        self.a.send(200, b"")
        self.assertEqual(select.select([self.b], [], [], 10)[0], [self.b])


class Calls(unittest.TestCase):
    """Server 200 is dispatched by a thread; what its handlers raise is kept."""

    def setUp(self):
        self.a = libmsg.Client(100)
        self.b = libmsg.Client(200)
        self.addCleanup(self.a.close)
        self.addCleanup(self.b.close)
        self.over, self.raised, self.came = False, [], []
        self.thread = threading.Thread(target=self.dispatch)
        self.addCleanup(self.end)

    def dispatch(self):
        while not self.over:
            try:
                self.b.dispatch()
            except ZeroDivisionError as raised:
                self.raised.append(raised)

    def end(self):
        self.over = True
        if self.thread.is_alive():
            self.b.wake()
            self.thread.join(10)

    def serve(self, procedure, handler, flags=0):
        self.b.serve(procedure, lambda request: (self.came.append(request), handler(request))[1], flags)
        if not self.thread.is_alive():
            self.thread.start()

    def test_a_call_and_its_reply(self):
        self.serve(1, lambda request: request.data[::-1])
        for data in (b"", b"\0abc", bytes(range(256)) * 1000):
            self.assertEqual(self.a.call(200, 1, data, 30), data[::-1])
        first = self.came[0]
        self.assertEqual((first.src, first.procedure, first.uid, first.node), (100, 1, os.getuid(), "vm-a"))
        self.assertTrue(0 < first.time_left <= 30 and not first.is_repeat)
        self.assertEqual([self.a.call_counters[name] for name in ("calls", "replies")], [3, 3])

    def test_calls_that_fail_say_what_is_known(self):
        self.serve(1, lambda request: None)
        self.serve(2, lambda request: 1 // 0)
        for procedure, reason, may_have_run in (
            (1, libmsg.Reason.NO_REPLY, True), (2, libmsg.Reason.NO_REPLY, True), (3, libmsg.Reason.NO_PROCEDURE, False),
        ):
            with self.assertRaisesRegex(libmsg.CallError, r"\(No(Reply|Procedure)\)") as raised:
                self.a.call(200, procedure, b"", 30)
            self.assertEqual((raised.exception.reason, raised.exception.may_have_run), (reason, may_have_run))
        self.end()
        self.assertEqual(len(self.raised), 1)
        with self.assertRaises(ValueError):
            self.a.call(200, 1, b"", 0)
        with self.assertRaises(libmsg.Error):
            self.a.call(200, 1, b"", 1, flags=libmsg.WAIT)
        with self.assertRaises(libmsg.Error):
            self.b.serve(1, lambda request: b"", libmsg.LOST_REFUSE | libmsg.LOST_RUN)

    def test_an_xid_of_its_own_runs_once(self):
        self.b.enable_reply_cache(10)
        self.serve(1, lambda request: b"%d" % len(self.came))
        self.assertEqual([self.a.call(200, 1, b"x", 30, xid=7) for _ in range(3)], [b"1"] * 3)
        with self.assertRaises(libmsg.CallError) as raised:
            self.a.call(200, 1, b"y", 30, xid=7)
        self.assertEqual(raised.exception.reason, libmsg.Reason.XID_REUSED)
        counters = self.b.call_counters
        self.assertEqual((counters["hits"], counters["mismatches"], counters["runs"]), (2, 1, 1))

    def test_a_reply_later_from_another_thread_and_a_call_that_does_not_wait(self):
        self.serve(1, lambda request: libmsg.LATER)
        results = []
        numbers = [self.a.start_call(200, 1, b"%d" % n, 30, results.append) for n in range(20)]
        self.assertEqual(len(set(numbers)), 20)
        while len(self.came) < 20:
            self.a.dispatch(0.01)
        for request in reversed(self.came):
            self.assertGreater(self.b.caller_waits(request), 0)
            self.b.reply(request, request.data)
            with self.assertRaises(libmsg.Error):
                self.b.reply(request, b"again")
            self.assertEqual(self.b.caller_waits(request), 0)
        while len(results) < 20:
            self.a.dispatch(10)
        self.assertEqual({r.data for r in results}, {b"%d" % n for n in range(20)})
        self.assertTrue(all(r.error is None and r.xid for r in results))

    def test_a_call_is_cancelled_once(self):
        results = []
        number = self.a.start_call(999, 1, b"", 30, results.append)
        self.assertTrue(self.a.cancel_call(number))
        while not results:
            self.a.dispatch(10)
        self.assertFalse(self.a.cancel_call(number))
        (result,) = results
        self.assertEqual((result.error.reason, result.error.may_have_run), (libmsg.Reason.CANCELLED, False))


class Instances(unittest.TestCase):
    def setUp(self):
        self.watcher = libmsg.Client(100)
        self.addCleanup(self.watcher.close)
        self.seen, self.drained = [], []
        self.watcher.on_presence = self.seen.append
        self.watcher.subscribe(300)

    def client(self, **options):
        client = libmsg.Client(300, **options)
        self.addCleanup(client.close)
        client.on_drain = self.drained.append
        return client

    def changes(self, count):
        while len(self.seen) < count:
            self.watcher.dispatch(10)
        return [(seen.change.name, seen.priority) for seen in self.seen]

    def test_priorities_presence_and_a_drain(self):
        first = self.client(priority=7)
        self.assertEqual(self.changes(2), [("UP", 7), ("ACTIVE", 7)])
        second = self.client(priority=3, beside=True)
        self.assertEqual(self.changes(3)[2:], [("UP", 3)])
        with self.assertRaises(libmsg.Error):
            self.client()
        with self.assertRaises(libmsg.Error):
            self.client(beside=True, takeover=True)
        self.watcher.send(300, b"one")
        first.drain(10)
        self.assertEqual(second.recv(10).data, b"one")
        self.assertEqual(sorted(self.changes(5)[3:]), [("ACTIVE", 3), ("DOWN", 7)])
        self.watcher.flush(10)

    def test_a_takeover(self):
        got = []
        first = self.client()
        self.watcher.send(300, b"one")
        second = self.client(takeover=True)
        # The first may take what it had before it is told.
        first.on_message = second.on_message = lambda message: got.append(message.data)
        while not self.drained:
            first.dispatch(10)
        self.assertEqual(self.drained, [libmsg.DrainCause.SUPERSEDED])
        self.watcher.send(300, b"two")
        while len(got) < 2:
            second.dispatch(10)
        self.assertEqual(got, [b"one", b"two"])
        # Its outcomes still reach it.
        first.send(100, b"last words")
        self.assertEqual(self.watcher.recv(10).data, b"last words")
        first.drain(10)
        self.assertIsNone(second.refusal)


class Asyncio(unittest.IsolatedAsyncioTestCase):
    async def test_an_echo(self):
        async with libmsg.Client(100) as a, libmsg.Client(200) as b:

            async def serve():
                async for message in b:
                    b.send(message.src, message.data.upper())

            server = asyncio.create_task(serve())
            for text in (b"one", b"two", b"three"):
                a.send(200, text)
                message = await asyncio.wait_for(anext_of(a), 10)
                self.assertEqual(message.data, text.upper())
            await asyncio.wait_for(a.aflush(), 10)
            server.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await server

    async def test_calls_while_another_task_reads(self):
        async with libmsg.Client(100) as a, libmsg.Client(200) as b:
            b.serve(1, lambda request: request.data.upper())
            got = []

            async def read(client):
                async for message in client:
                    got.append(message.data)

            tasks = [asyncio.create_task(read(client)) for client in (a, b)]
            for n in range(20):
                b.send(100, b"plain")
                self.assertEqual(await asyncio.wait_for(a.acall(200, 1, b"x%d" % n, 30), 30), b"X%d" % n)
            with self.assertRaises(libmsg.CallError):
                await a.acall(200, 2, b"", 30)
            await asyncio.wait_for(b.adrain(), 30)
            self.assertEqual(got, [b"plain"] * 20)
            for task in tasks:
                task.cancel()


    async def test_a_drain_waits_for_an_answer_that_is_given_later(self):
        async with libmsg.Client(100) as a, libmsg.Client(200) as b:
            kept = []
            b.serve(1, lambda request: kept.append(request) or libmsg.LATER)
            call = asyncio.create_task(a.acall(200, 1, b"x", 30))
            while not kept:
                await b.ready()
                b.dispatch(0)
            with self.assertRaisesRegex(TimeoutError, "^calls have no answer yet, or no daemon was told$"):
                b.drain(0)
            drained = asyncio.create_task(b.adrain())
            await asyncio.sleep(0)
            self.assertFalse(drained.done())
            b.reply(kept[0], b"late")
            self.assertEqual(await asyncio.wait_for(call, 30), b"late")
            await asyncio.wait_for(drained, 30)


async def anext_of(client):
    return await client.__anext__()


class Layout(unittest.TestCase):
    """$LIBMSG_LAYOUT, if set, is what a C program found: name, size and offset of each struct and field."""

    def test_the_structs_are_those_of_the_header(self):
        ours = {}
        for name, struct in (
            ("options", libmsg_abi.Options), ("failure", libmsg_abi.Failure), ("message", libmsg_abi.Message),
            ("presence", libmsg_abi.Presence), ("call_options", libmsg_abi.CallOptions), ("result", libmsg_abi.Result),
            ("request", libmsg_abi.Request), ("call_counters", libmsg_abi.CallCounters),
        ):
            ours[f"msg_{name}"] = ctypes.sizeof(struct)
            for field, *_ in struct._fields_:
                ours[f"msg_{name}.{field}"] = getattr(struct, field).offset
        theirs = dict(line.split() for line in os.environ.get("LIBMSG_LAYOUT", "").splitlines())
        self.assertEqual({name: int(theirs.get(name, n)) for name, n in ours.items()}, ours)

    def test_every_call_of_the_header_is_there(self):
        here = os.path.dirname(os.path.abspath(__file__))
        with open(os.path.join(here, "../include/libmsg.h"), encoding="utf-8") as header:
            declared = set(re.findall(r"^(?:int|void|const char \*)\s*(msg_\w+)\(", header.read(), re.MULTILINE))
        self.assertGreater(len(declared), 25)
        # Zeros are what ctypes begins with, and msg_open_explained says more.
        missing = {name for name in declared if name not in libmsg_abi.lib().__dict__}
        self.assertEqual(missing, {"msg_options_init", "msg_open"})

    def test_the_version(self):
        self.assertRegex(libmsg.version(), r"^\d+\.\d+\.\d+$")


if __name__ == "__main__":
    unittest.main()
