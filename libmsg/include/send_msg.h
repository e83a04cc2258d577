/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * send_msg: the smallest form of libmsg, for code written against the original interface. One client for the whole
 * process, with one destination. libmsg.h is the full interface; both are in the same library, and one process may
 * use both, each with a clientid of its own.
 *
 *     static void on_fail(byte *user_buff) { ... its 64 bytes say which data were not delivered ... }
 *
 *     if (!msg_init(100, 200, on_fail, NULL)) perror("msg_init");
 *     if (!send_msg(msg, len, user, user_len)) ... not accepted: nothing was sent, on_fail will not be called ...
 *     msg_exit();
 *
 * The daemon's socket is $MSGD_SOCKET, else $XDG_RUNTIME_DIR/msgd/msgd.sock, else /run/msgd/msgd.sock; interval, times
 * and the number of messages that may be without an outcome are those of the daemon's config.
 *
 * THREADS. msg_init starts a thread. Callbacks run in it, one at a time, and nothing else is needed of the process: no loop,
 * no calls. It takes no signals. send_msg may be called from any thread and in callbacks.
 *
 * ERRORS. What returns FALSE leaves in errno why. No call exits, prints or raises a signal.
 *
 * FORKS. In the child send_msg returns FALSE (ECHILD); it may msg_init anew, with another clientid. Do not fork while
 * another thread is in msg_init or msg_exit.
 */
#ifndef SEND_MSG_H
#define SEND_MSG_H

#include <stdint.h>

/*
 * The original types. Where a program has its own (as typedefs), it defines SEND_MSG_HAVE_TYPES before it includes this.
 * A BOOL of another integer type does no harm; byte must have 8 bits and uint32 32, unsigned.
 */
#ifndef SEND_MSG_HAVE_TYPES
#ifndef BOOL
typedef int BOOL;
#endif
#ifndef byte
typedef unsigned char byte;
#endif
#ifndef uint32
typedef uint32_t uint32;
#endif
#endif
#ifndef TRUE
#define TRUE 1
#endif
#ifndef FALSE
#define FALSE 0
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Messages that may be without an outcome, unless the daemon's config says otherwise. */
#define MAX_STORED_MSG 1000

/* Bytes of user data that go with a message, and come back with its failure. */
#define MAX_BUFF_LEN 64

/* What is known of a message that came. 16 bytes. */
typedef struct {
    uint32 clientid;  /* which process sent it */
    uint32 msgid;     /* its number in that process */
    uint32 send_time; /* when this copy was sent: milliseconds of this node's boot-time clock, wrapping */
    byte times;       /* 0: a receiver is not told how many copies were sent */
    byte pad[3];      /* 0 */
} MSG_T;

/*
 * Called for each message that was not delivered, with its user data: always MAX_BUFF_LEN bytes, those that were given and
 * zeros behind them. They are the library's, and valid until the callback returns.
 */
typedef void (*send_fail_callback)(byte *user_buff);

/*
 * Connects to the daemon as `clientid`; `dst` is whom send_msg sends to. `on_fail` is called for each message that was not
 * delivered, `on_msg` for each that comes, whoever sent it: `msg` has `len` bytes, and both pointers are the library's and
 * valid until the callback returns. Each may be NULL: failures are not told then, or messages that come wait until their
 * senders give up.
 *
 * Waits for the daemon's answer, at most 5 seconds. FALSE: there is no client. errno: EALREADY (there is one: msg_exit
 * first), ENOENT (no socket), ECONNREFUSED (the daemon is not running), EACCES (no permission), ETIMEDOUT, ECONNRESET,
 * EADDRINUSE (the clientid is another process's), EPERM (config does not allow it), EUSERS (too many clients),
 * EPROTONOSUPPORT (no version in common), EPROTO, ENOTSOCK, ENAMETOOLONG, or what else the system says.
 */
BOOL msg_init(uint32 clientid, uint32 dst, send_fail_callback on_fail,
              void (*on_msg)(const MSG_T *head, const byte *msg, uint32 len));

/*
 * Sends `msg_len` bytes to the destination, with at most MAX_BUFF_LEN bytes of user data. Both are copied, and may
 * be NULL if their length is 0. Never blocks.
 *
 * TRUE: accepted. It is delivered exactly once, or on_fail is called, exactly once and in bounded time.
 * FALSE: not accepted, nothing was sent and nothing will come. errno: EAGAIN (MAX_STORED_MSG messages have no outcome
 * yet: try again later), EMSGSIZE (longer than the daemon takes, 1 MiB), EINVAL (user data longer than MAX_BUFF_LEN, or
 * NULL with a length), ENOTCONN (no msg_init, or msg_exit has begun), ECHILD (a fork of the process that msg_init was
 * called in), ESTALE (a newer process took the clientid over), ECONNABORTED, EPERM (the daemon has refused this process).
 */
BOOL send_msg(byte *msg, uint32 msg_len, const byte *user_buff, uint32 user_buff_len);

/*
 * Ends it: send_msg is refused from now on; every message that was accepted gets its outcome, callbacks running meanwhile;
 * then the thread ends, and no callback is called any more when this returns. That takes as long as outcomes take: nothing
 * when all is delivered, and at most interval * (times + 1.5), 11.5 seconds with the defaults, when nobody answers.
 * msg_init is possible again then. Does nothing without a msg_init, and in a callback, where it would wait for itself
 * (errno: EDEADLK). A process may also just end: what was accepted still goes its way, and nobody is told.
 * Call it before a dlclose of the library.
 */
void msg_exit(void);

#ifdef __cplusplus
}
#endif

#endif /* SEND_MSG_H */
