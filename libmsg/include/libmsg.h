/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * libmsg: messages between processes, through the node's daemon msgd.
 *
 *     msg_options options;
 *     msg_client *client;
 *     msg_options_init(&options);
 *     options.clientid = 100;
 *     if (msg_open(&options, &client) < 0) ...
 *     msg_on_failure(client, on_failure, NULL);
 *     msg_on_message(client, on_message, NULL);
 *     msg_send(client, 200, "hello", 5, "order 17", 8, 0, NULL);
 *     while (msg_dispatch(client, -1) >= 0) { }
 *
 * THE PROMISE. Every message that msg_send accepts ends in exactly one outcome. Either the destination's library has
 * taken it, exactly once; nobody is told of that, it only makes room. Or it has failed: then the failure callback is
 * called, with the user data that were given, why, and whether the destination may have begun to process it; and from
 * then on it is never handed over. The outcome is known within interval * (times + 1) + interval / 2 + 10 ms, whatever
 * happens to processes, daemons and nodes meanwhile; half an interval and 500 ms later where the own daemon lives and
 * does not run (a signal stopped it). A client's messages to one destination are handed over in the order in which they
 * were sent, failed ones skipped.
 *
 * CALLS return 0 (or a count) or a negative MSG_E_*; msg_strerror explains it. None exits, prints or raises a signal
 * (SIGPIPE neither). errno means something after MSG_E_SYSTEM only: it is what the system said.
 *
 * MEMORY. What is passed to a call is copied before it returns; what a callback is given is the library's, and valid
 * until the callback returns. A client is freed by msg_close.
 *
 * THREADS. The library has none. Callbacks run in the thread that calls msg_dispatch or msg_flush (failure callbacks
 * also in msg_send with MSG_F_WAIT), and never two of one client at once. Every call may be made from any thread, and
 * from several at once, but msg_close: see there; none in a signal handler. What is sent from several threads is numbered
 * in the order in which the calls came. In callbacks all calls are allowed but msg_dispatch, msg_flush and msg_close of
 * the same client, which return MSG_E_IN_CALLBACK. Callbacks return normally: no longjmp and no C++ exception may leave them
 * (libmsg.hpp takes care of exceptions). Setting one (msg_on_*; NULL removes it) does nothing if the client is not open;
 * while callbacks run, in this thread or in another, the one before may go on being called until they are done.
 *
 * PROCESSES. After a fork the client is the parent's: in the child every call returns MSG_E_FORKED, but msg_close, which
 * gives back the child's copy and says nothing to the daemon. File descriptors are close-on-exec. A process that forbids
 * itself system calls (seccomp) with anything but an error as their result has to allow membarrier(2), too.
 *
 * DAEMON. One that goes away and comes back is no error: the client reconnects by itself, in the calls that wait
 * and in those that msg_fd asks for, and sends again what has no outcome yet.
 *
 * TIMEOUTS are in milliseconds: -1 for no limit, 0 for not at all; other negative ones are MSG_E_INVAL.
 */
#ifndef LIBMSG_H
#define LIBMSG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version that this header belongs to; msg_version() is that of the library. */
#define MSG_VERSION "0.1.0"
#define MSG_VERSION_MAJOR 0
#define MSG_VERSION_MINOR 1
#define MSG_VERSION_PATCH 0

/* Bytes of user data that go with a send. */
#define MSG_MAX_USER_LEN 64

/*
 * Errors. The values never change; later versions may add some.
 */
enum {
    MSG_E_INVAL = -1,                 /* an argument: NULL with a length, an unknown flag, a number out of range */
    MSG_E_AGAIN = -2,                 /* msg_send: no room; msg_dispatch makes some */
    MSG_E_TIMEOUT = -3,               /* the time is over: msg_flush; or msg_open: msgd does not answer */
    MSG_E_TOO_LARGE = -4,             /* message larger than max_message_bytes of this node's msgd (1 MiB) */
    MSG_E_USER_TOO_LONG = -5,         /* user data longer than MSG_MAX_USER_LEN */
    MSG_E_TOO_MANY_DESTINATIONS = -6, /* more than 4096 in this client's life; MSG_F_UNORDERED counts apart */
    MSG_E_HANDLE = -7,                /* no open client: NULL, closed (best effort), or never opened */
    MSG_E_IN_CALLBACK = -8,           /* called in a callback of the same client, where it would wait for itself */
    MSG_E_BUSY = -9,                  /* msg_close: another thread is in a call with this client */
    MSG_E_FORKED = -10,               /* this process is a fork of the one that opened the client */
    /* msg_open: */
    MSG_E_NO_SOCKET = -11,            /* there is nothing at socket_path */
    MSG_E_NOT_RUNNING = -12,          /* there is a socket, and nobody listens */
    MSG_E_NOT_A_SOCKET = -13,         /* there is something else */
    MSG_E_PERMISSION = -14,           /* this user may not connect: it has to be in the socket's group */
    MSG_E_PATH_TOO_LONG = -15,        /* a Unix socket's path has at most 107 bytes */
    MSG_E_LOST = -16,                 /* msgd closed the connection before it answered: see its log */
    MSG_E_PROTOCOL = -17,             /* what answers there is not msgd (its status.sock, perhaps) */
    /* msg_open, and any other call once msgd has refused the client: */
    MSG_E_VERSION = -18,              /* msgd and this library have no protocol version in common */
    MSG_E_CLIENTID_TAKEN = -19,       /* another process is registered with this clientid */
    MSG_E_NOT_ALLOWED = -20,          /* msgd's config does not let this user be this client */
    MSG_E_TOO_MANY_CLIENTS = -21,     /* msgd has as many as its config allows */
    MSG_E_SUPERSEDED = -22,           /* reserved: see msg_on_drain, MSG_D_SUPERSEDED */
    MSG_E_REFUSED = -23,              /* another rule; msg_refusal has msgd's words */
    /* any: */
    MSG_E_SYSTEM = -24,               /* the system refused something: errno says what */
    MSG_E_INTERNAL = -25,             /* a fault of this library */
    /* msg_call, and msg_result.error: */
    MSG_E_NOT_STARTED = -26,          /* the procedure did not run, and will not: calling again is safe */
    MSG_E_UNKNOWN = -27,              /* the procedure may have run */
    MSG_E_XID_IN_USE = -28,           /* not called: a call with that XID waits already */
    MSG_E_TRUNCATED = -29,            /* msg_call: the reply is longer than the buffer */
    MSG_E_NO_CALL = -30               /* msg_reply, msg_call_cancel: no such call waits: it has ended, or its answer */
};

/*
 * Why a message failed (msg_failure.reason). What is known of it is in may_have_started, never in the reason.
 */
enum {
    MSG_R_NO_ROUTE = 1,      /* no node has that client */
    MSG_R_NO_ANSWER = 2,     /* sent, and not answered in time */
    MSG_R_REFUSED = 3,       /* not allowed: config says who may send to whom; or msgd refused this client */
    MSG_R_GOING_AWAY = 4,    /* the process or its node is draining */
    MSG_R_RECEIVER_GONE = 5, /* the process died, or left, before it took the message; of a call: or after that */
    MSG_R_QUEUE_FULL = 6,    /* the receiver's queue stayed full */
    MSG_R_TOO_LARGE = 7,     /* larger than the receiving node's max_message_bytes */
    MSG_R_CANCELLED = 8,     /* the sender took it back */
    /* Of calls only (msg_result.reason); what is known is in the error, never in the reason: */
    MSG_R_DEADLINE = 101,     /* its time was over */
    MSG_R_NO_PROCEDURE = 103, /* the server does not serve that procedure */
    MSG_R_BUSY = 104,         /* the server has as many calls as it takes */
    MSG_R_XID_REUSED = 105,   /* the server knows that XID for another request */
    MSG_R_REPLY_LOST = 106,   /* it is a repeat, and its reply is not there any more */
    MSG_R_NO_REPLY = 107      /* the server's handler gave none */
};

/* Flags of msg_send. */
enum {
    MSG_F_UNORDERED = 1,     /* it waits for no other message, and none waits for it */
    MSG_F_AT_LEAST_ONCE = 2, /* if the process that may have begun it dies, another one with the same clientid may be
                                given it too; without it such a message fails with may_have_started = 1 */
    MSG_F_MORE = 4,          /* another send, dispatch or flush follows at once: this one may be written with it */
    MSG_F_WAIT = 8           /* where there is no room, wait for it, and run failure callbacks meanwhile;
                                in a callback it has no effect */
};

/* Flags of msg_call_options, beside MSG_F_UNORDERED and MSG_F_AT_LEAST_ONCE. */
enum {
    MSG_F_REPEAT = 16 /* an earlier life of this process may have made this call, with this XID: not 0 */
};

/* Flags of msg_serve. */
enum {
    MSG_F_IDEMPOTENT = 32,  /* running it twice is as good as once: replies are not kept, repeats run it */
    MSG_F_LOST_REFUSE = 64, /* a repeat whose reply is gone fails MSG_E_UNKNOWN; without either of these two that is so
                               unless its caller said MSG_F_AT_LEAST_ONCE */
    MSG_F_LOST_RUN = 128    /* a repeat whose reply is gone is handed to the handler, marked */
};

/* Flags of msg_options. */
enum {
    MSG_O_NO_RETRANSMITS = 1, /* each message is sent once: times = 0 retransmissions (times must be 0) */
    MSG_O_ACK_ON_HANDLED = 2, /* senders learn that a message was taken when the message callback has returned, not
                                 before it is called: a process that dies in its callback then makes the message fail
                                 with may_have_started = 1. Messages are handed over one at a time. */
    MSG_O_BESIDE = 4,         /* other processes of this node may have the clientid: of all instances, on whatever node, the
                                 one with the highest priority, then the newest, gets the messages */
    MSG_O_TAKEOVER = 8        /* take the clientid over from the process that has it, with nothing lost: see msg_drain */
};

/* A priority among instances, for the flags of msg_options: 0 (unless given) to 255. */
#define MSG_O_PRIORITY(priority) ((uint32_t)(uint8_t)(priority) << 24)

/* What changed among the instances of a clientid (msg_presence.event). */
enum {
    MSG_P_UP = 1,    /* an instance is there */
    MSG_P_DOWN = 2,  /* an instance is gone, or takes no more */
    MSG_P_ACTIVE = 3 /* another instance is active: what is sent from now on goes to it; incarnation 0: there is none */
};

/* Why a client is to take no more. */
enum {
    MSG_D_SUPERSEDED = 1, /* another process took its clientid over */
    MSG_D_ASKED = 2       /* an operator asked for it: msgctl drain */
};

/* A process's connection to its node's daemon. */
typedef struct msg_client msg_client;

/*
 * What msg_open is asked for. Its layout never changes under this soname: what is added later comes as flags, or as calls.
 */
typedef struct {
    const char *socket_path; /* msgd.sock; NULL: $MSGD_SOCKET, else $XDG_RUNTIME_DIR/msgd/msgd.sock, else
                                /run/msgd/msgd.sock. Not kept after msg_open. */
    uint32_t clientid;       /* which process this is: unique in the network function */
    uint32_t interval_ms;    /* how long an answer may take before the message is sent again: 10 to 600,000;
                                0: as msgd's config says (1000 unless it says otherwise) */
    uint8_t times;           /* how often it is sent again before it fails; 0: as msgd's config says (10 unless it says
                                otherwise). For none at all: 0 with MSG_O_NO_RETRANSMITS. */
    uint32_t flags;          /* MSG_O_* */
} msg_options;

/* A message that failed. The failure is final: the message is never handed over from now on. */
typedef struct {
    uint32_t msgid;         /* as msg_send gave it */
    uint32_t dst;           /* whom it was for */
    int reason;             /* MSG_R_* */
    int may_have_started;   /* 0: no process was or ever will be given it, so repeating it is safe;
                               1: a process may have been given it, at most once */
    uint32_t tries;         /* copies that left this node, as far as msgd said */
    size_t user_len;        /* bytes of user data that were given */
    uint8_t user_buff[64];  /* they, and zeros behind them */
} msg_failure;

/* A message that was taken. */
typedef struct {
    uint32_t src;     /* the clientid of who sent it */
    uint32_t msgid;   /* its number in the sender's process */
    uint64_t age_us;  /* how long ago this copy was sent, in microseconds, by this node's clock: never less than it was */
    const void *data; /* its bytes, aligned for any type; never NULL */
    size_t len;       /* how many; may be 0 */
} msg_message;

/* A change among the instances of a clientid. */
typedef struct {
    uint32_t clientid;    /* whose */
    int event;            /* MSG_P_* */
    uint64_t incarnation; /* which instance; 0: none */
    uint8_t priority;     /* its priority */
} msg_presence;

/* What the callbacks look like. `ctx` is what was given with the callback. */
typedef void (*msg_failure_fn)(const msg_failure *failure, void *ctx);
typedef void (*msg_message_fn)(const msg_message *message, void *ctx);
typedef void (*msg_presence_fn)(const msg_presence *presence, void *ctx);
typedef void (*msg_drain_fn)(int cause, void *ctx);

/*
 * Sets all options to their defaults: zeros. Fill in the clientid then.
 * MSG_E_INVAL if `options` is NULL.
 */
int msg_options_init(msg_options *options);

/*
 * Connects to msgd, and waits until it has registered the client or refused it: at most 5 seconds.
 * On success *client is the new client, which msg_close frees; else it is NULL.
 * A daemon that is not there is an error at once; one that goes away later is none.
 * Errors: MSG_E_INVAL (NULL, an option out of range), MSG_E_TIMEOUT, MSG_E_NO_SOCKET to MSG_E_REFUSED, MSG_E_SYSTEM.
 */
int msg_open(const msg_options *options, msg_client **client);

/*
 * The same, and says in a sentence what was wrong, where, and what to do: for the log. It goes to `why`, at most
 * `size` bytes with the zero at its end; empty on success. `why` may be NULL.
 */
int msg_open_explained(const msg_options *options, msg_client **client, char *why, size_t size);

/*
 * Has `callback` called with each message that fails. NULL removes it: failures are not told then.
 */
void msg_on_failure(msg_client *client, void (*callback)(const msg_failure *failure, void *ctx), void *ctx);

/*
 * Has `callback` called with each message that comes. NULL removes it: messages wait then, as long as their
 * senders' intervals let them, and msg_fd does not show them. Set it before the first msg_dispatch.
 */
void msg_on_message(msg_client *client, void (*callback)(const msg_message *message, void *ctx), void *ctx);

/*
 * Sends `len` bytes at `msg` to the client `dst`, with `user_len` bytes at `user_buff` (at most 64) that come back with
 * its failure. Both may be NULL if their length is 0. `flags` are MSG_F_*. All of it is copied. The message's number, which
 * msg_failure.msgid repeats, goes to *msgid unless that is NULL: 1, 2, 3 and so on, wrapping.
 *
 * 0: accepted, and it will have exactly one outcome. It is written before this returns, unless the socket is full, or
 * with MSG_F_MORE, or in a callback, whose sends are written together. Whoever sends to a clientid that nobody has yet
 * gets no error: the message waits for it as long as it may.
 * A negative value: not accepted, nothing was sent, no callback will come, *msgid is untouched.
 *
 * It never blocks, unless with MSG_F_WAIT. MSG_E_AGAIN when it would: as many messages as msgd granted (max_stored,
 * 1000 unless its config says otherwise) or bytes of them have no outcome yet. Outcomes make room: msg_dispatch
 * takes them in. Once it was full, and until msgd has read all that waits for it, there is room only while less than
 * 512 KiB do: msg_dispatch writes that, and returns when there is.
 * Errors: MSG_E_AGAIN, MSG_E_INVAL, MSG_E_TOO_LARGE, MSG_E_USER_TOO_LONG, MSG_E_TOO_MANY_DESTINATIONS, MSG_E_HANDLE,
 * MSG_E_FORKED, and MSG_E_VERSION to MSG_E_REFUSED once msgd has refused this client.
 */
int msg_send(msg_client *client, uint32_t dst, const void *msg, size_t len, const void *user_buff, size_t user_len,
             uint32_t flags, uint32_t *msgid);

/*
 * Writes out what waits, then waits until every message sent has its outcome, and runs callbacks meanwhile, in this
 * thread: for messages, too. Each outcome comes in bounded time, so this ends without a limit, too.
 * Errors: MSG_E_TIMEOUT (msg_unresolved says how many are left; 0 ms only writes and looks), MSG_E_INVAL,
 * MSG_E_HANDLE, MSG_E_IN_CALLBACK, MSG_E_FORKED; MSG_E_VERSION to MSG_E_REFUSED once msgd has refused this client
 * and every callback has run.
 */
int msg_flush(msg_client *client, int timeout_ms);

/*
 * A file descriptor for an event loop (poll, epoll, libuv, libevent, sd-event): readable, level-triggered, while there
 * is something for msg_dispatch(client, 0) to do: a message, an outcome, something due, a connection to be made again,
 * a msg_wake; and once for nothing, when the time of a wait before is over. Always the same one: only to be polled, for
 * reading. It is the library's own until msg_close. Errors: MSG_E_HANDLE, MSG_E_FORKED.
 */
int msg_fd(const msg_client *client);

/*
 * Waits until something comes or falls due, does what is to be done, runs the callbacks that it calls for in this thread, and
 * returns how many ran. That can be 0: when the time is over, after msg_wake, when there is room to send again, and once in
 * each thread when the client is to take no more (msg_on_drain). With timeout_ms = 0 it never blocks. Several threads may
 * wait in it; callbacks still run one at a time.
 * Errors: MSG_E_INVAL, MSG_E_HANDLE, MSG_E_IN_CALLBACK, MSG_E_FORKED; once msgd has refused this client MSG_E_VERSION to _REFUSED.
 */
int msg_dispatch(msg_client *client, int timeout_ms);

/*
 * Has one msg_dispatch return: one that waits in another thread, or else the next one. Several of them before that count
 * as one. This is how a thread that waits without a limit is told to end; of several, each that ends calls it for the
 * next one. Not for signal handlers.
 * Errors: MSG_E_HANDLE, MSG_E_FORKED.
 */
int msg_wake(msg_client *client);

/*
 * Has the presence callback told of the instances of `clientid`: of those that are there, and of each change. At most
 * 1,024 clientids.
 * Errors: MSG_E_TOO_MANY_DESTINATIONS, MSG_E_HANDLE, MSG_E_FORKED, MSG_E_VERSION to MSG_E_REFUSED.
 */
int msg_subscribe(msg_client *client, uint32_t clientid);

/*
 * Has `callback` called with each change among the instances of the clientids that were subscribed to, in its place among
 * the messages: an instance is up before its first message. Set it before msg_subscribe.
 */
void msg_on_presence(msg_client *client, void (*callback)(const msg_presence *presence, void *ctx), void *ctx);

/*
 * Has `callback` called when this client is to take no more (MSG_D_*). No message comes from then on; what was sent goes
 * on, and failures are told. Then msg_drain, which finishes what was begun, and end.
 */
void msg_on_drain(msg_client *client, void (*callback)(int cause, void *ctx), void *ctx);

/*
 * Takes no more messages, finishes what was begun, and waits until every message sent has its outcome, as msg_flush does;
 * then msg_close. What was delivered and not taken goes to another instance, or fails with may_have_started = 0: so a daemon
 * that is away is waited for and told, but no longer than a message lives (interval * (times + 1) and a little). Calls begun here
 * and answered later, in whatever thread, are waited for as long as their callers wait, calls made here until they end. Errors:
 * those of msg_flush, MSG_E_TIMEOUT also when calls are open or the daemon does not know yet; nothing is taken from now on.
 */
int msg_drain(msg_client *client, int timeout_ms);

/*
 * How many messages have no outcome yet.
 * Errors: MSG_E_HANDLE, MSG_E_FORKED.
 */
int msg_unresolved(const msg_client *client);

/*
 * 0 while msgd has not refused this client; else why, MSG_E_VERSION to MSG_E_REFUSED, and its words in `why`, at most
 * `size` bytes with the zero at their end. `why` may be NULL.
 * Other errors: MSG_E_HANDLE, MSG_E_FORKED.
 */
int msg_refusal(const msg_client *client, char *why, size_t size);

/* How a call is made. Zeros but for the timeout are the usual. */
typedef struct {
    uint32_t timeout_ms; /* its outcome comes by then, give or take 100 ms; 1 to 86,400,000 */
    uint32_t retries;    /* how often it is made again when it is known not to have started */
    uint64_t xid;        /* an XID of the caller's own, so that a call can be repeated after the caller was restarted;
                            0: the library draws one */
    uint32_t flags;      /* MSG_F_UNORDERED, MSG_F_AT_LEAST_ONCE, MSG_F_REPEAT */
    uint32_t reserved;   /* 0 */
} msg_call_options;

/* What came of a call. */
typedef struct {
    uint64_t xid;     /* the call's, if there is a reply */
    int error;        /* 0: there is a reply; else MSG_E_NOT_STARTED or MSG_E_UNKNOWN */
    int reason;       /* MSG_R_*: why there is none */
    const void *data; /* the reply; never NULL */
    size_t len;
} msg_result;

/* A call that came. */
typedef struct {
    uint64_t call;         /* answer it with this */
    uint64_t xid;          /* the same in each repeat */
    uint32_t src;          /* who calls, */
    uint32_t procedure;
    uint32_t uid;          /* as which user, as its node saw it, */
    int is_repeat;         /* 1: it may have run before, and what was answered then is gone */
    uint32_t time_left_ms; /* how long the caller waits yet */
    const char *node;      /* and on which node */
    const void *data;      /* the request; never NULL */
    size_t len;
} msg_request;

/* Counters of calls; they only grow, and later versions add some at the end. */
typedef struct {
    uint64_t calls, replies, failed_not_started, failed_unknown; /* made here, and how they ended */
    uint64_t repeats;          /* requests sent again */
    uint64_t unknown_replies;  /* dropped: no call waits for their XID */
    uint64_t malformed;
    uint64_t requests, runs;   /* that came; handlers begun */
    uint64_t hits, misses;     /* of the reply cache */
    uint64_t in_progress_hits; /* repeats of calls that were running */
    uint64_t lost;             /* repeats whose reply was gone */
    uint64_t mismatches;       /* known XIDs with another request */
    uint64_t evictions;        /* replies given up for the cache's limits */
    uint64_t late, busy, cancelled;
    uint64_t abandoned;        /* calls whose caller's process ended before they were answered */
    uint64_t lost_replies;     /* that the process which called is not known to have taken */
} msg_call_counters;

typedef void (*msg_result_fn)(const msg_result *result, void *ctx);
typedef void (*msg_request_fn)(const msg_request *request, void *ctx);

/*
 * Calls procedure `procedure` of the client `dst` with the `len` bytes at `request`, and waits for the reply, which
 * goes to `reply`, at most `size` bytes; its length goes to *reply_len unless that is NULL. Failure callbacks run
 * meanwhile, in this thread; messages and other calls wait for msg_dispatch.
 *
 * A call is at most once unless it says MSG_F_AT_LEAST_ONCE: after MSG_E_UNKNOWN the procedure ran once or not at all,
 * after MSG_E_NOT_STARTED not at all. With MSG_F_AT_LEAST_ONCE it is repeated until it is answered, or its deadline; also
 * MSG_R_NO_REPLY, MSG_R_NO_PROCEDURE, MSG_R_XID_REUSED and MSG_R_REPLY_LOST are answers. *reason, unless NULL, is MSG_R_*;
 * MSG_R_RECEIVER_GONE comes at once when the process that took the request has ended, and no reply of it is left.
 * Other errors mean that nothing was called: MSG_E_INVAL (MSG_F_REPEAT without an XID, too), MSG_E_IN_CALLBACK,
 * MSG_E_XID_IN_USE, and those of msg_send; but MSG_E_TRUNCATED: there is a reply, and the buffer holds its beginning.
 */
int msg_call(msg_client *client, uint32_t dst, uint32_t procedure, const void *request, size_t len,
             const msg_call_options *options, void *reply, size_t size, size_t *reply_len, int *reason);

/*
 * The same without waiting: `done` is called with what comes of it, once, in msg_dispatch or msg_flush. The call's
 * number goes to *call unless that is NULL.
 * Errors, after which `done` is not called: as for msg_call.
 */
int msg_call_start(msg_client *client, uint32_t dst, uint32_t procedure, const void *request, size_t len,
                   const msg_call_options *options, void (*done)(const msg_result *result, void *ctx), void *ctx,
                   uint64_t *call);

/*
 * Does not wait for a call any more: it ends now, with what is known, and its server is told.
 * Errors: MSG_E_NO_CALL, MSG_E_HANDLE, MSG_E_FORKED.
 */
int msg_call_cancel(msg_client *client, uint64_t call);

/*
 * Has `handler` called with each call of `procedure`, in msg_dispatch and msg_flush. Serve before the first of these:
 * calls that come earlier wait for it, and then those of what is not served fail. `flags` are MSG_F_IDEMPOTENT and
 * one of MSG_F_LOST_*. A call whose time is over by then is not begun. Each call has to be answered once, with
 * msg_reply or msg_reply_none, by its handler or later, from any thread.
 * Errors: MSG_E_INVAL, MSG_E_HANDLE, MSG_E_FORKED.
 */
int msg_serve(msg_client *client, uint32_t procedure, uint32_t flags,
              void (*handler)(const msg_request *request, void *ctx), void *ctx);

/*
 * Answers a call with `len` bytes.
 * Errors, after which the call still waits: MSG_E_TOO_LARGE, MSG_E_AGAIN (dispatch, and try again), MSG_E_INVAL,
 * MSG_E_HANDLE, MSG_E_FORKED. MSG_E_NO_CALL: it has its answer, or was never handed out.
 */
int msg_reply(msg_client *client, uint64_t call, const void *reply, size_t len);

/* Answers that the procedure ran and that there is no reply: the call fails MSG_E_UNKNOWN. Errors: MSG_E_HANDLE. */
int msg_reply_none(msg_client *client, uint64_t call);

/*
 * 0 if the caller of a call that is being served does not wait any more, as far as is known here: it has cancelled, its
 * time is over, or its process has ended. Else how many milliseconds it waits yet, at least 1.
 * Errors: MSG_E_HANDLE, MSG_E_FORKED.
 */
int msg_caller_waits(msg_client *client, uint64_t call);

/*
 * Keeps the last `replies` replies, at most 16 MiB of them, for ten minutes, so that a repeat of a call is answered from
 * them and not run again. It cannot be turned off; called again, only a larger number counts.
 * Errors: MSG_E_INVAL (0), MSG_E_HANDLE, MSG_E_FORKED.
 */
int msg_enable_reply_cache(msg_client *client, uint32_t replies);

/*
 * Fills in the counters, of which `size` is the sizeof that the caller was compiled with.
 * Errors: MSG_E_INVAL, MSG_E_HANDLE, MSG_E_FORKED.
 */
int msg_call_stats(const msg_client *client, msg_call_counters *counters, size_t size);

/*
 * Says goodbye to msgd and frees the client. It waits only where msgd has not read what was written, 1 second at most: else
 * msgd would hold the process for dead, and what it took for unknown. Messages that have no outcome yet still go their way,
 * but nobody is told: msg_flush first where that matters.
 *
 * No other thread may be in a call with this client, or make one later. One that is in a call is found out, and
 * nothing happens (MSG_E_BUSY): have it return with msg_wake, and join it. A second msg_close is found out as well,
 * but only as long as the memory is not in use again: do not rely on it.
 * Errors: MSG_E_HANDLE, MSG_E_IN_CALLBACK, MSG_E_BUSY. In a fork it succeeds: see PROCESSES above.
 */
int msg_close(msg_client *client);

/* What a MSG_E_* means, in English; never NULL, never to be freed. */
const char *msg_strerror(int error);

/* The name of a MSG_R_*, as the daemon's status has it ("NoAnswer"); never NULL, never to be freed. */
const char *msg_reason_name(int reason);

/* The library's version, "0.1.0"; never to be freed. */
const char *msg_version(void);

#ifdef __cplusplus
}
#endif

#endif /* LIBMSG_H */
