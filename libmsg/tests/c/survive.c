/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Sends until its standard input ends, whatever happens to the daemon meanwhile, with SIGPIPE as deadly as it is by
 * default. Prints "going" when the first message was sent, and at the end how many were sent and had which outcome.
 */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <poll.h>
#include <signal.h>

static long failed, came;

static void on_failure(const msg_failure *failure, void *ctx)
{
    (void)failure;
    (void)ctx;
    failed++;
}

static void on_message(const msg_message *message, void *ctx)
{
    (void)message;
    (void)ctx;
    came++;
}

int main(void)
{
    msg_client *client = open_client(100);
    struct pollfd input = {0, POLLIN, 0};
    long sent = 0;

    signal(SIGPIPE, SIG_DFL);
    msg_on_failure(client, on_failure, NULL);
    msg_on_message(client, on_message, NULL);
    while (poll(&input, 1, 0) == 0) {
        int rc = msg_send(client, 100, "to myself", 9, NULL, 0, 0, NULL);
        if (rc == MSG_E_AGAIN)
            CHECK(msg_dispatch(client, 1) >= 0);
        else
            EXPECT(rc, 0);
        CHECK(msg_dispatch(client, 0) >= 0);
        if (rc == 0 && sent++ == 0) {
            puts("going");
            fflush(stdout);
        }
    }
    EXPECT(msg_flush(client, -1), 0);
    /* A message to oneself that failed may have come; every one came or failed. */
    CHECK(came + failed >= sent && came <= sent && failed <= sent);
    printf("ok %ld %ld %ld\n", sent, came, failed);
    EXPECT(msg_close(client), 0);
    return 0;
}
