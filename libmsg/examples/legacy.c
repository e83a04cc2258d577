/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The original interface: no loop, no handle; callbacks come on the library's own thread.
 *
 *     cc -std=c99 legacy.c $(pkg-config --cflags --libs libmsg) -o legacy
 *     MSGD_SOCKET=/run/msgd/msgd.sock ./legacy 300 300 100      sends to itself: all arrive
 *     MSGD_SOCKET=/run/msgd/msgd.sock ./legacy 300 999 100      sends to nobody: all fail, and say which they were
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <send_msg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What identifies the source data to the sender: its own number and a time. */
struct source {
    uint32 id;
    uint32 when;
};

/* Both are written by the library's thread only, and read here after msg_exit, when that thread has ended. */
static long arrived, failed;

static void on_fail(byte *user_buff)
{
    struct source source;
    memcpy(&source, user_buff, sizeof source);
    if (failed++ == 0)
        printf("source data %u of %u were not delivered\n", (unsigned)source.id, (unsigned)source.when);
}

static void on_msg(const MSG_T *head, const byte *msg, uint32 len)
{
    (void)msg;
    if (arrived++ == 0)
        printf("message %u of client %u: %u bytes\n", (unsigned)head->msgid, (unsigned)head->clientid, (unsigned)len);
}

int main(int argc, char **argv)
{
    long i, count;

    if (argc != 4) {
        fprintf(stderr, "usage: %s CLIENTID DST COUNT\n", argv[0]);
        return 2;
    }
    count = strtol(argv[3], NULL, 10);
    if (!msg_init((uint32)strtoul(argv[1], NULL, 10), (uint32)strtoul(argv[2], NULL, 10), on_fail, on_msg)) {
        perror("msg_init");
        return 1;
    }
    for (i = 0; i < count; i++) {
        byte route[] = "10.1.0.0/16 via 10.0.0.1";
        struct source source;
        source.id = (uint32)i + 1;
        source.when = (uint32)time(NULL);
        while (!send_msg(route, sizeof route, (const byte *)&source, sizeof source)) {
            struct timespec moment = {0, 1000000};
            if (errno != EAGAIN) {
                perror("send_msg");
                msg_exit();
                return 1;
            }
            /* MAX_STORED_MSG messages have no outcome yet. */
            nanosleep(&moment, NULL);
        }
    }
    /* Every message has its outcome when this returns. */
    msg_exit();
    printf("%ld sent, %ld arrived here, %ld failed\n", count, arrived, failed);
    return 0;
}
