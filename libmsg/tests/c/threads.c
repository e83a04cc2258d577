/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * threads SENDERS EACH: one client used by many threads at once. They send to the other client, whose threads
 * dispatch and echo in their callbacks; then everybody is woken, joined, and the clients closed.
 */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <pthread.h>

struct side {
    msg_client *client;
    long came; /* by callbacks only, which never run at once */
    int in_callback;
};

static struct side a, b;
static long each;
static int stop;

static int stopped(void)
{
    return __atomic_load_n(&stop, __ATOMIC_ACQUIRE);
}

static void enter(struct side *side)
{
    CHECK(!side->in_callback);
    side->in_callback = 1;
}

static void count(const msg_message *message, void *ctx)
{
    struct side *side = ctx;
    (void)message;
    enter(side);
    side->came++;
    side->in_callback = 0;
}

static void echo(const msg_message *message, void *ctx)
{
    struct side *side = ctx;
    int rc;
    enter(side);
    side->came++;
    /* The other side has at most as many on their way as fit here. */
    rc = msg_send(side->client, message->src, message->data, message->len, NULL, 0, 0, NULL);
    EXPECT(rc, 0);
    side->in_callback = 0;
}

static void on_failure(const msg_failure *failure, void *ctx)
{
    (void)ctx;
    fprintf(stderr, "message %u failed: %s\n", (unsigned)failure->msgid, msg_reason_name(failure->reason));
    exit(1);
}

static void *dispatch(void *arg)
{
    struct side *side = arg;
    while (!stopped())
        CHECK(msg_dispatch(side->client, -1) >= 0);
    /* One wake ends one dispatch: it is passed on. */
    EXPECT(msg_wake(side->client), 0);
    return NULL;
}

static pthread_barrier_t barrier;

static void hold(const msg_message *message, void *ctx)
{
    (void)message;
    (void)ctx;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
}

static void *dispatch_once(void *arg)
{
    struct side *side = arg;
    EXPECT(msg_dispatch(side->client, -1), 1);
    return NULL;
}

/* As dispatch_once, in the thread that uses the client most: its calls are counted elsewhere. */
static void *dispatch_much(void *arg)
{
    struct side *side = arg;
    int i;
    for (i = 0; i < 3000; i++)
        EXPECT(msg_unresolved(side->client), 0);
    return dispatch_once(arg);
}

/* While a thread is in a callback, another one can neither close the client nor run callbacks, but all else. */
static void use_while_a_callback_runs(void *(*run)(void *))
{
    pthread_t thread;
    msg_on_message(b.client, hold, NULL);
    EXPECT(pthread_barrier_init(&barrier, NULL, 2), 0);
    EXPECT(pthread_create(&thread, NULL, run, &b), 0);
    EXPECT(msg_send(a.client, 200, "x", 1, NULL, 0, 0, NULL), 0);
    pthread_barrier_wait(&barrier);
    EXPECT(msg_close(b.client), MSG_E_BUSY);
    EXPECT(msg_dispatch(b.client, 0), 0);
    EXPECT(msg_dispatch(b.client, 10), 0);
    EXPECT(msg_flush(b.client, 10), MSG_E_TIMEOUT);
    EXPECT(msg_unresolved(b.client), 0);
    pthread_barrier_wait(&barrier);
    EXPECT(pthread_join(thread, NULL), 0);
    pthread_barrier_destroy(&barrier);
    EXPECT(msg_flush(a.client, 10000), 0);
}

static void *send_all(void *arg)
{
    unsigned seed = (unsigned)(size_t)arg;
    long i;
    for (i = 0; i < each; i++) {
        uint32_t flags = MSG_F_WAIT;
        seed = seed * 1103515245 + 12345;
        if (seed & 0x10000)
            flags |= MSG_F_UNORDERED;
        if (seed & 0x20000)
            flags |= MSG_F_MORE;
        /* Few enough that the echoes fit. */
        while (msg_unresolved(a.client) > 200)
            CHECK(msg_dispatch(a.client, 1) >= 0);
        EXPECT(msg_send(a.client, 200, &seed, sizeof seed, &seed, sizeof seed, flags, NULL), 0);
        if (i % 64 == 0) {
            CHECK(msg_fd(a.client) >= 0);
            EXPECT(msg_refusal(a.client, NULL, 0), 0);
        }
    }
    EXPECT(msg_flush(a.client, 60000), 0);
    return NULL;
}

int main(int argc, char **argv)
{
    enum { MOST = 16, DISPATCHERS = 2 };
    pthread_t senders[MOST], dispatchers[2 * DISPATCHERS];
    long i, n;

    CHECK(argc == 3);
    n = strtol(argv[1], NULL, 10);
    each = strtol(argv[2], NULL, 10);
    CHECK(n <= MOST);
    a.client = open_client(100);
    b.client = open_client(200);
    use_while_a_callback_runs(dispatch_once);
    use_while_a_callback_runs(dispatch_much);
    msg_on_message(a.client, count, &a);
    msg_on_failure(a.client, on_failure, NULL);
    msg_on_message(b.client, echo, &b);
    msg_on_failure(b.client, on_failure, NULL);
    for (i = 0; i < DISPATCHERS; i++) {
        EXPECT(pthread_create(&dispatchers[2 * i], NULL, dispatch, &a), 0);
        EXPECT(pthread_create(&dispatchers[2 * i + 1], NULL, dispatch, &b), 0);
    }
    for (i = 0; i < n; i++)
        EXPECT(pthread_create(&senders[i], NULL, send_all, (void *)(size_t)(i + 1)), 0);
    for (i = 0; i < n; i++)
        EXPECT(pthread_join(senders[i], NULL), 0);
    /* Everything sent was taken; a flush ends when no callback runs any more, so it was echoed; and then taken here. */
    EXPECT(msg_flush(a.client, 60000), 0);
    EXPECT(msg_flush(b.client, 60000), 0);
    EXPECT(msg_flush(a.client, 60000), 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    EXPECT(msg_wake(a.client), 0);
    EXPECT(msg_wake(b.client), 0);
    for (i = 0; i < 2 * DISPATCHERS; i++)
        EXPECT(pthread_join(dispatchers[i], NULL), 0);
    printf("%ld sent, %ld echoed, %ld came back\n", n * each, b.came, a.came);
    CHECK(b.came == n * each && a.came == n * each);
    EXPECT(msg_close(a.client), 0);
    EXPECT(msg_close(b.client), 0);
    return 0;
}
