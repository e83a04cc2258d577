/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Callbacks and msg_fd: what may be called where, which thread runs what, and when the loop is told. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <poll.h>
#include <stdint.h>
#include <time.h>

struct seen {
    msg_client *client;
    int messages, failures, second;
    char data[64];
    msg_failure failure;
};

static int readable(msg_client *client, int timeout_ms)
{
    struct pollfd fd;
    fd.fd = msg_fd(client);
    fd.events = POLLIN;
    CHECK(fd.fd >= 0);
    return poll(&fd, 1, timeout_ms);
}

static long ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_message(const msg_message *message, void *ctx)
{
    struct seen *seen = ctx;
    CHECK(message->data != NULL && (uintptr_t)message->data % 16 == 0);
    CHECK(message->src == 100 && message->msgid > 0 && message->age_us < 10000000);
    CHECK(message->len < sizeof seen->data);
    memcpy(seen->data, message->data, message->len);
    seen->data[message->len] = 0;
    seen->messages++;
}

static void misbehave(const msg_message *message, void *ctx)
{
    struct seen *seen = ctx;
    char why[8];
    on_message(message, ctx);
    EXPECT(msg_close(seen->client), MSG_E_IN_CALLBACK);
    EXPECT(msg_dispatch(seen->client, 0), MSG_E_IN_CALLBACK);
    EXPECT(msg_dispatch(seen->client, -1), MSG_E_IN_CALLBACK);
    EXPECT(msg_flush(seen->client, -1), MSG_E_IN_CALLBACK);
    /* These are allowed. */
    CHECK(msg_fd(seen->client) >= 0);
    EXPECT(msg_unresolved(seen->client), 0);
    EXPECT(msg_refusal(seen->client, why, sizeof why), 0);
    EXPECT(msg_send(seen->client, 999, "to nobody", 9, "user", 4, MSG_F_WAIT, NULL), 0);
}

static void on_failure(const msg_failure *failure, void *ctx)
{
    struct seen *seen = ctx;
    seen->failure = *failure;
    seen->failures++;
}

static void second(const msg_message *message, void *ctx)
{
    (void)message;
    ((struct seen *)ctx)->second++;
}

static void replace(const msg_message *message, void *ctx)
{
    struct seen *seen = ctx;
    on_message(message, ctx);
    msg_on_message(seen->client, second, seen);
}

static void remove_it(const msg_message *message, void *ctx)
{
    struct seen *seen = ctx;
    on_message(message, ctx);
    msg_on_message(seen->client, NULL, NULL);
}

static void send_to_200(msg_client *a, const char *text)
{
    EXPECT(msg_send(a, 200, text, strlen(text), NULL, 0, 0, NULL), 0);
}

int main(void)
{
    msg_client *a = open_client(100), *b = open_client(200);
    struct seen seen = {0};
    char zeros[64] = {0};
    long begin;
    int i;

    seen.client = b;
    msg_on_message(b, on_message, &seen);
    msg_on_failure(b, on_failure, &seen);

    /* Nothing to do: the fd says so, and nothing blocks. */
    EXPECT(readable(a, 0), 0);
    begin = ms();
    for (i = 0; i < 100; i++)
        EXPECT(msg_dispatch(a, 0), 0);
    EXPECT(msg_dispatch(a, 50), 0);
    CHECK(ms() - begin >= 50 && ms() - begin < 5000);

    /* Level-triggered, until dispatched; and the outcome, on the other side. */
    send_to_200(a, "hello");
    EXPECT(readable(b, 10000), 1);
    EXPECT(readable(b, 0), 1);
    EXPECT(msg_dispatch(b, 0), 1);
    CHECK(strcmp(seen.data, "hello") == 0);
    EXPECT(readable(b, 0), 0);
    EXPECT(readable(a, 10000), 1);
    while (msg_unresolved(a) > 0)
        EXPECT(msg_dispatch(a, 10000), 0);
    EXPECT(readable(a, 0), 0);

    /* Calls in a callback. */
    msg_on_message(b, misbehave, &seen);
    send_to_200(a, "misbehave");
    EXPECT(msg_dispatch(b, 10000), 1);
    EXPECT(msg_flush(b, 10000), 0);
    EXPECT(seen.failures, 1);
    EXPECT(seen.failure.reason, MSG_R_NO_ROUTE);
    EXPECT(seen.failure.may_have_started, 0);
    CHECK(seen.failure.dst == 999 && seen.failure.user_len == 4);
    CHECK(memcmp(seen.failure.user_buff, "user", 4) == 0 && memcmp(seen.failure.user_buff + 4, zeros, 60) == 0);

    /* A callback that replaces itself. */
    msg_on_message(b, replace, &seen);
    send_to_200(a, "replace");
    EXPECT(msg_dispatch(b, 10000), 1);
    send_to_200(a, "second");
    EXPECT(msg_dispatch(b, 10000), 1);
    EXPECT(seen.second, 1);
    EXPECT(seen.messages, 3);

    /* A callback that removes itself: messages wait, and the loop is left in peace. */
    msg_on_message(b, remove_it, &seen);
    send_to_200(a, "remove");
    EXPECT(msg_dispatch(b, 10000), 1);
    EXPECT(msg_flush(a, 10000), 0);
    send_to_200(a, "wait");
    EXPECT(readable(b, 10000), 1);
    EXPECT(msg_dispatch(b, 0), 0);
    EXPECT(readable(b, 0), 0);
    EXPECT(seen.messages, 4);
    msg_on_message(b, on_message, &seen);
    EXPECT(readable(b, 0), 1);
    EXPECT(msg_dispatch(b, 0), 1);
    CHECK(strcmp(seen.data, "wait") == 0);

    /* A wake. */
    EXPECT(msg_wake(b), 0);
    EXPECT(readable(b, 0), 1);
    EXPECT(msg_dispatch(b, -1), 0);
    EXPECT(readable(b, 0), 0);

    /* An empty message has data, and no length. */
    EXPECT(msg_send(a, 200, NULL, 0, NULL, 0, 0, NULL), 0);
    EXPECT(msg_dispatch(b, 10000), 1);
    CHECK(seen.data[0] == 0);
    EXPECT(msg_flush(a, 10000), 0);

    EXPECT(msg_close(a), 0);
    EXPECT(msg_close(b), 0);
    puts("ok");
    return 0;
}
