# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Tests of libmsg.py against the daemon at $MSGD_SOCKET, whose interval is short: python3 test_libmsg.py"""

import asyncio
import ctypes
import os
import select
import threading
import unittest

import libmsg


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
            await asyncio.wait_for(a.drain(), 10)
            server.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await server


async def anext_of(client):
    return await client.__anext__()


class Layout(unittest.TestCase):
    """$LIBMSG_LAYOUT, if set, is what a C program found: name, size and offset of each struct and field."""

    def test_the_structs_are_those_of_the_header(self):
        ours = {}
        for name, struct in (("options", libmsg._Options), ("failure", libmsg._Failure), ("message", libmsg._Message)):
            ours[f"msg_{name}"] = ctypes.sizeof(struct)
            for field, *_ in struct._fields_:
                ours[f"msg_{name}.{field}"] = getattr(struct, field).offset
        theirs = dict(line.split() for line in os.environ.get("LIBMSG_LAYOUT", "").splitlines())
        self.assertEqual({name: int(theirs.get(name, n)) for name, n in ours.items()}, ours)

    def test_the_version(self):
        self.assertRegex(libmsg.version(), r"^\d+\.\d+\.\d+$")


if __name__ == "__main__":
    unittest.main()
