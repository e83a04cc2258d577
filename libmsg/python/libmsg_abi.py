# SPDX-License-Identifier: Apache-2.0 OR MIT
"""libmsg.so as ctypes sees it, for libmsg.py: structs, callbacks, calls and numbers of libmsg.h."""

import ctypes
import os

MAX_USER_LEN = 64
MAX_REPLY_LEN = 1 << 20

O_NO_RETRANSMITS = 1
O_ACK_ON_HANDLED = 2
O_BESIDE = 4
O_TAKEOVER = 8
O_PRIORITY_SHIFT = 24
E_AGAIN = -2
E_TIMEOUT = -3
E_HANDLE = -7
E_NOT_STARTED = -26
E_UNKNOWN = -27
E_NO_CALL = -30


class Options(ctypes.Structure):
    _fields_ = [
        ("socket_path", ctypes.c_char_p),
        ("clientid", ctypes.c_uint32),
        ("interval_ms", ctypes.c_uint32),
        ("times", ctypes.c_uint8),
        ("flags", ctypes.c_uint32),
    ]


class Failure(ctypes.Structure):
    _fields_ = [
        ("msgid", ctypes.c_uint32),
        ("dst", ctypes.c_uint32),
        ("reason", ctypes.c_int),
        ("may_have_started", ctypes.c_int),
        ("tries", ctypes.c_uint32),
        ("user_len", ctypes.c_size_t),
        ("user_buff", ctypes.c_uint8 * MAX_USER_LEN),
    ]


class Message(ctypes.Structure):
    _fields_ = [
        ("src", ctypes.c_uint32),
        ("msgid", ctypes.c_uint32),
        ("age_us", ctypes.c_uint64),
        ("data", ctypes.c_void_p),
        ("len", ctypes.c_size_t),
    ]


class Presence(ctypes.Structure):
    _fields_ = [
        ("clientid", ctypes.c_uint32),
        ("event", ctypes.c_int),
        ("incarnation", ctypes.c_uint64),
        ("priority", ctypes.c_uint8),
    ]


class CallOptions(ctypes.Structure):
    _fields_ = [
        ("timeout_ms", ctypes.c_uint32),
        ("retries", ctypes.c_uint32),
        ("xid", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    ]


class Result(ctypes.Structure):
    _fields_ = [
        ("xid", ctypes.c_uint64),
        ("error", ctypes.c_int),
        ("reason", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("len", ctypes.c_size_t),
    ]


class Request(ctypes.Structure):
    _fields_ = [
        ("call", ctypes.c_uint64),
        ("xid", ctypes.c_uint64),
        ("src", ctypes.c_uint32),
        ("procedure", ctypes.c_uint32),
        ("uid", ctypes.c_uint32),
        ("is_repeat", ctypes.c_int),
        ("time_left_ms", ctypes.c_uint32),
        ("node", ctypes.c_char_p),
        ("data", ctypes.c_void_p),
        ("len", ctypes.c_size_t),
    ]


class CallCounters(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in (
        "calls replies failed_not_started failed_unknown repeats unknown_replies malformed requests runs hits misses"
        " in_progress_hits lost mismatches evictions late busy cancelled abandoned lost_replies").split()]


def _callback(struct):
    return ctypes.CFUNCTYPE(None, ctypes.POINTER(struct), ctypes.c_void_p)


OnFailure, OnMessage, OnPresence = _callback(Failure), _callback(Message), _callback(Presence)
OnResult, OnRequest = _callback(Result), _callback(Request)
OnDrain = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p)

_loaded = None


def lib():
    """The library, loaded once."""
    global _loaded
    if _loaded is None:
        library = ctypes.CDLL(os.environ.get("LIBMSG_SO", "libmsg.so.0"), use_errno=True)
        client, size, u32, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_int
        ctx, text, call, to = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.POINTER
        request = (client, u32, u32, text, size, to(CallOptions))
        signatures = {
            "msg_open_explained": (
                number, ctypes.POINTER(Options), ctypes.POINTER(client), ctypes.c_char_p, size),
            "msg_on_failure": (None, client, OnFailure, ctypes.c_void_p),
            "msg_on_message": (None, client, OnMessage, ctypes.c_void_p),
            "msg_send": (
                number, client, u32, ctypes.c_char_p, size, ctypes.c_char_p, size, u32, ctypes.POINTER(u32)),
            "msg_flush": (number, client, number),
            "msg_fd": (number, client),
            "msg_dispatch": (number, client, number),
            "msg_wake": (number, client),
            "msg_unresolved": (number, client),
            "msg_subscribe": (number, client, u32),
            "msg_on_presence": (None, client, OnPresence, ctx),
            "msg_on_drain": (None, client, OnDrain, ctx),
            "msg_drain": (number, client, number),
            "msg_refusal": (number, client, text, size),
            "msg_call": (number, *request, text, size, to(size), to(number)),
            "msg_call_start": (number, *request, OnResult, ctx, to(call)),
            "msg_call_cancel": (number, client, call),
            "msg_serve": (number, client, u32, u32, OnRequest, ctx),
            "msg_reply": (number, client, call, text, size),
            "msg_reply_none": (number, client, call),
            "msg_caller_waits": (number, client, call),
            "msg_enable_reply_cache": (number, client, u32),
            "msg_call_stats": (number, client, to(CallCounters), size),
            "msg_close": (number, client),
            "msg_reason_name": (ctypes.c_char_p, number),
            "msg_strerror": (ctypes.c_char_p, number),
            "msg_version": (ctypes.c_char_p,),
        }
        for name, (result, *arguments) in signatures.items():
            function = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
        _loaded = library
    return _loaded
