/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * pingpong LIBRARY SOCKET CLIENTID DST ROUNDS: a program that knows nothing but the library's path. It loads it at
 * run time, and declares for itself what it uses of it. With ROUNDS it serves the ball; with 0 it hits back what comes until
 * the other side sends nothing.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *socket_path;
    uint32_t clientid, interval_ms;
    uint8_t times;
    uint32_t flags;
};

struct message {
    uint32_t src, msgid;
    uint64_t age_us;
    const void *data;
    size_t len;
};

typedef int (*open_fn)(const struct options *, void **);
typedef void (*on_message_fn)(void *, void (*)(const struct message *, void *), void *);
typedef int (*send_fn)(void *, uint32_t, const void *, size_t, const void *, size_t, uint32_t, uint32_t *);
typedef int (*dispatch_fn)(void *, int);
typedef int (*close_fn)(void *);

static int over;
static uint32_t last, hits;

static void on_message(const struct message *message, void *ctx)
{
    (void)ctx;
    if (message->len == 0) {
        over = 1;
    } else if (message->len == sizeof last) {
        memcpy(&last, message->data, sizeof last);
        hits++;
    }
}

/* ISO C does not let a function pointer come from an object pointer by a cast. */
static void symbol(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);
    if (!found) {
        fprintf(stderr, "no %s\n", name);
        exit(1);
    }
    memcpy(function, &found, sizeof found);
}

int main(int argc, char **argv)
{
    struct options options;
    open_fn msg_open;
    on_message_fn msg_on_message;
    send_fn msg_send;
    dispatch_fn msg_dispatch, msg_flush;
    close_fn msg_close;
    void *library, *client = NULL;
    uint32_t dst, rounds, id;
    int rc;

    if (argc != 6)
        return 2;
    library = dlopen(argv[1], RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    symbol(library, "msg_open", &msg_open);
    symbol(library, "msg_on_message", &msg_on_message);
    symbol(library, "msg_send", &msg_send);
    symbol(library, "msg_dispatch", &msg_dispatch);
    symbol(library, "msg_flush", &msg_flush);
    symbol(library, "msg_close", &msg_close);

    memset(&options, 0, sizeof options);
    options.socket_path = argv[2];
    options.clientid = (uint32_t)strtoul(argv[3], NULL, 10);
    dst = (uint32_t)strtoul(argv[4], NULL, 10);
    rounds = (uint32_t)strtoul(argv[5], NULL, 10);
    if (msg_open(&options, &client) < 0)
        return 1;
    msg_on_message(client, on_message, NULL);

    if (rounds == 0) {
        uint32_t answered = 0;
        while (!over) {
            if (msg_dispatch(client, 30000) < 0)
                return 1;
            if (hits > answered) {
                answered = hits;
                if (msg_send(client, dst, &last, sizeof last, NULL, 0, 0, &id) < 0)
                    return 1;
            }
        }
    } else {
        uint32_t round;
        for (round = 1; round <= rounds; round++) {
            if (msg_send(client, dst, &round, sizeof round, NULL, 0, 0, &id) < 0)
                return 1;
            while (last != round)
                if ((rc = msg_dispatch(client, 30000)) < 0)
                    return 1;
        }
        if (msg_send(client, dst, NULL, 0, NULL, 0, 0, &id) < 0)
            return 1;
    }
    if (msg_flush(client, -1) < 0 || msg_close(client) < 0)
        return 1;
    printf("%u hits\n", (unsigned)hits);
    dlclose(library);
    return 0;
}
