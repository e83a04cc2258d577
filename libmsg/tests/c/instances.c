/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Several processes with one clientid: who is told of them, priorities, drains and takeovers. */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

enum { WATCHER = 100, SERVICE = 200, LONG = 30000 };

static msg_client *open_service(uint32_t flags)
{
    msg_options options;
    EXPECT(msg_options_init(&options), 0);
    options.clientid = SERVICE;
    options.flags = flags;
    return open_with(&options);
}

/* What came of all, in the order of the callbacks. */
static struct {
    char letters[64];
    uint64_t active, up;
    uint8_t priority;
    int causes[8], drains;
    char messages[512];
    int failures, reason, may_have_started;
} seen;

static void on_presence(const msg_presence *presence, void *ctx)
{
    const char letters[] = "?uda";
    size_t len = strlen(seen.letters);
    CHECK(ctx == &seen && presence->clientid == SERVICE && len + 1 < sizeof seen.letters);
    CHECK(presence->event >= MSG_P_UP && presence->event <= MSG_P_ACTIVE);
    seen.letters[len] = letters[presence->event];
    if (presence->event == MSG_P_UP) {
        seen.up = presence->incarnation;
        seen.priority = presence->priority;
        CHECK(presence->incarnation != 0);
    } else if (presence->event == MSG_P_ACTIVE) {
        seen.active = presence->incarnation;
    }
}

static void on_drain(int cause, void *ctx)
{
    CHECK(ctx == &seen && seen.drains < 8);
    seen.causes[seen.drains++] = cause;
}

/* Each message with who took it: "A:one ". */
static void on_message(const msg_message *message, void *ctx)
{
    size_t len = strlen(seen.messages);
    CHECK(len + message->len + 4 < sizeof seen.messages);
    snprintf(seen.messages + len, sizeof seen.messages - len, "%s:%.*s ", (const char *)ctx, (int)message->len,
             (const char *)message->data);
}

static void on_failure(const msg_failure *failure, void *ctx)
{
    CHECK(ctx == &seen);
    seen.failures++;
    seen.reason = failure->reason;
    seen.may_have_started = failure->may_have_started;
}

static void say(msg_client *client, uint32_t dst, const char *text)
{
    EXPECT(msg_send(client, dst, text, strlen(text), NULL, 0, 0, NULL), 0);
}

#define UNTIL(condition, client)                        \
    do {                                                \
        while (!(condition)) {                          \
            CHECK(msg_dispatch((client), LONG) > -1);   \
        }                                               \
    } while (0)

static void reset(void)
{
    memset(&seen, 0, sizeof seen);
}

/* Instances come, take turns by priority, drain, and go: the watcher hears of each, and messages go to the active one. */
static void presence_and_drain(msg_client *watcher)
{
    uint64_t first_one;
    msg_client *first, *second;
    struct pollfd fd;

    reset();
    EXPECT(msg_subscribe(watcher, SERVICE), 0);
    EXPECT(msg_subscribe(watcher, SERVICE), 0);
    first = open_service(MSG_O_PRIORITY(7));
    fd.fd = msg_fd(watcher);
    fd.events = POLLIN;
    CHECK(poll(&fd, 1, LONG) == 1);
    UNTIL(strlen(seen.letters) == 2, watcher);
    CHECK(strcmp(seen.letters, "ua") == 0 && seen.active == seen.up && seen.priority == 7);
    first_one = seen.active;
    second = open_service(MSG_O_BESIDE | MSG_O_PRIORITY(3));
    UNTIL(strlen(seen.letters) == 3, watcher);
    CHECK(seen.letters[2] == 'u' && seen.priority == 3 && seen.up > first_one && seen.active == first_one);

    msg_on_message(first, on_message, (void *)"A");
    msg_on_message(second, on_message, (void *)"B");
    say(watcher, SERVICE, "one");
    UNTIL(strcmp(seen.messages, "A:one ") == 0, first);
    /* These two have come, and are not taken: they go to the other one. What it sent itself still has an outcome. */
    say(watcher, SERVICE, "two");
    say(watcher, SERVICE, "three");
    CHECK(fd.fd >= 0 && (fd.fd = msg_fd(first)) >= 0 && poll(&fd, 1, LONG) == 1);
    say(first, WATCHER, "bye");
    EXPECT(msg_drain(first, 0), MSG_E_TIMEOUT);
    EXPECT(msg_unresolved(first), 1);
    say(watcher, SERVICE, "four");
    UNTIL(strcmp(seen.messages, "A:one B:two B:three B:four ") == 0, second);
    UNTIL(strstr(seen.messages, "W:bye ") != NULL, watcher);
    EXPECT(msg_drain(first, LONG), 0);
    EXPECT(msg_unresolved(first), 0);
    UNTIL(strlen(seen.letters) == 5, watcher);
    CHECK(seen.active > first_one && strchr(seen.letters, 'd') != NULL);
    EXPECT(msg_close(first), 0);
    EXPECT(msg_flush(watcher, LONG), 0);

    /* The last one: what it has not taken was not begun, and fails so in its time. */
    EXPECT(msg_drain(second, LONG), 0);
    EXPECT(msg_drain(second, LONG), 0);
    UNTIL(seen.active == 0, watcher);
    say(watcher, SERVICE, "five");
    EXPECT(msg_flush(watcher, LONG), 0);
    CHECK(seen.failures == 1 && !seen.may_have_started);
    CHECK(seen.reason == MSG_R_GOING_AWAY || seen.reason == MSG_R_NO_ROUTE);
    CHECK(strstr(seen.messages, "five") == NULL);
    EXPECT(msg_close(second), 0);
}

/* A handler that answers later. */
static uint64_t kept;

static void keep(const msg_request *request, void *ctx)
{
    (void)ctx;
    kept = request->call;
}

static char reply[16];

static void on_result(const msg_result *result, void *ctx)
{
    (void)ctx;
    EXPECT(result->error, 0);
    CHECK(result->len < sizeof reply);
    memcpy(reply, result->data, result->len);
}

struct answer {
    msg_client *server, *caller;
};

/* Answers it while its server drains. */
static void *answer_late(void *ctx)
{
    struct answer *answer = ctx;
    EXPECT(msg_reply(answer->server, kept, "late", 4), 0);
    UNTIL(reply[0] != 0, answer->caller);
    return NULL;
}

/* Another process takes over: nothing is lost, the old one is told, and finishes what it has. */
static void takeover(msg_client *watcher)
{
    msg_call_options options = {.timeout_ms = LONG};
    msg_client *old, *next, *none = NULL;
    msg_options wrong;
    struct pollfd fd;
    char expected[16];
    struct answer answer;
    pthread_t thread;

    reset();
    old = open_service(0);
    msg_on_drain(old, on_drain, &seen);
    msg_on_message(old, on_message, (void *)"A");
    EXPECT(msg_serve(old, 1, 0, keep, NULL), 0);
    say(watcher, SERVICE, "1");
    EXPECT(msg_call_start(watcher, SERVICE, 1, "x", 1, &options, on_result, NULL, NULL), 0);
    UNTIL(kept != 0, old);
    CHECK(strcmp(seen.messages, "A:1 ") == 0 && seen.drains == 0);

    EXPECT(msg_options_init(&wrong), 0);
    wrong.clientid = SERVICE;
    EXPECT(msg_open(&wrong, &none), MSG_E_CLIENTID_TAKEN);
    wrong.flags = MSG_O_BESIDE | MSG_O_TAKEOVER;
    EXPECT(msg_open(&wrong, &none), MSG_E_INVAL);
    CHECK(none == NULL);

    next = open_service(MSG_O_TAKEOVER);
    msg_on_message(next, on_message, (void *)"B");
    fd.fd = msg_fd(old);
    fd.events = POLLIN;
    CHECK(poll(&fd, 1, LONG) == 1);
    UNTIL(seen.drains == 1, old);
    CHECK(seen.causes[0] == MSG_D_SUPERSEDED);
    EXPECT(msg_refusal(old, NULL, 0), 0);
    for (int n = 2; n < 10; n++) {
        char text[2] = {(char)('0' + n), 0};
        say(watcher, SERVICE, text);
        snprintf(expected, sizeof expected, "B:%d ", n);
        UNTIL(strstr(seen.messages, expected) != NULL, next);
    }
    CHECK(strcmp(seen.messages, "A:1 B:2 B:3 B:4 B:5 B:6 B:7 B:8 B:9 ") == 0);
    EXPECT(msg_dispatch(old, 0), 0);

    /* What it sends has outcomes; and what it has begun it finishes, in another thread, and its reply comes. */
    say(old, WATCHER, "bye");
    UNTIL(strstr(seen.messages, "W:bye ") != NULL, watcher);
    EXPECT(msg_flush(old, LONG), 0);
    EXPECT(msg_drain(old, 0), MSG_E_TIMEOUT);
    EXPECT(msg_unresolved(old), 0);
    answer.server = old;
    answer.caller = watcher;
    CHECK(pthread_create(&thread, NULL, answer_late, &answer) == 0);
    EXPECT(msg_drain(old, LONG), 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(strcmp(reply, "late") == 0);
    EXPECT(msg_close(old), 0);
    EXPECT(msg_flush(watcher, LONG), 0);
    CHECK(seen.drains == 1 && seen.failures == 0);
    EXPECT(msg_close(next), 0);
}

static void drain_in_callback(const msg_message *message, void *ctx)
{
    msg_client *client = ctx;
    (void)message;
    EXPECT(msg_drain(client, LONG), MSG_E_IN_CALLBACK);
    seen.drains++;
}

/* An operator asks: the test runs `msgctl drain` when it reads the line. */
static void asked(msg_client *watcher)
{
    msg_client *client;

    reset();
    client = open_service(0);
    msg_on_drain(client, on_drain, &seen);
    puts("drain me");
    CHECK(fflush(stdout) == 0);
    UNTIL(seen.drains == 1, client);
    CHECK(seen.causes[0] == MSG_D_ASKED);
    EXPECT(msg_drain(client, LONG), 0);
    EXPECT(msg_close(client), 0);

    /* In a callback it does not wait; and nothing is taken from then on in any case. */
    reset();
    client = open_service(0);
    msg_on_message(client, drain_in_callback, client);
    say(watcher, SERVICE, "one");
    UNTIL(seen.drains == 1, client);
    EXPECT(msg_flush(watcher, LONG), 0);
    say(watcher, SERVICE, "two");
    EXPECT(msg_flush(watcher, LONG), 0);
    EXPECT(msg_dispatch(client, 0), 0);
    CHECK(seen.drains == 1 && seen.failures == 1 && !seen.may_have_started);
    EXPECT(msg_close(client), 0);
}

static void errors(msg_client *watcher)
{
    uint32_t clientid = 10000;
    int rc;

    EXPECT(msg_subscribe(NULL, 1), MSG_E_HANDLE);
    EXPECT(msg_drain(NULL, 0), MSG_E_HANDLE);
    EXPECT(msg_drain(watcher, -2), MSG_E_INVAL);
    msg_on_presence(NULL, on_presence, NULL);
    msg_on_drain(NULL, on_drain, NULL);
    msg_on_presence(watcher, NULL, NULL);
    do {
        rc = msg_subscribe(watcher, clientid++);
    } while (rc == 0);
    EXPECT(rc, MSG_E_TOO_MANY_DESTINATIONS);
    CHECK(clientid - 10000 == 1024);
}

int main(void)
{
    msg_client *watcher = open_client(WATCHER);

    /* What does not come is not waited for for ever. */
    alarm(60);
    msg_on_presence(watcher, on_presence, &seen);
    msg_on_message(watcher, on_message, (void *)"W");
    msg_on_failure(watcher, on_failure, &seen);
    presence_and_drain(watcher);
    takeover(watcher);
    asked(watcher);
    errors(watcher);
    EXPECT(msg_close(watcher), 0);
    puts("ok");
    return 0;
}
