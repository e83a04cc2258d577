/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Calls between two clients of one process: one is dispatched by a thread of its own. */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

enum { ECHO = 1, LATER = 2, NONE = 3, WAITS = 4 };

static msg_client *server;
/* Of two threads. */
static int over;
static uint64_t later;
static int runs;

#define GET(variable) __atomic_load_n(&(variable), __ATOMIC_SEQ_CST)
#define SET(variable, value) __atomic_store_n(&(variable), (value), __ATOMIC_SEQ_CST)

static void *serve(void *ctx)
{
    (void)ctx;
    while (!GET(over)) {
        int rc = msg_dispatch(server, -1);
        CHECK(rc >= 0);
    }
    return NULL;
}

static void handle(const msg_request *request, void *ctx)
{
    CHECK(ctx == &runs && request->src == 100 && request->uid == getuid());
    CHECK(strlen(request->node) > 0 && request->time_left_ms > 0 && request->data != NULL);
    SET(runs, GET(runs) + 1);
    switch (request->procedure) {
    case ECHO:
        EXPECT(msg_reply(server, request->call, request->data, request->len), 0);
        EXPECT(msg_reply(server, request->call, "x", 1), MSG_E_NO_CALL);
        break;
    case LATER:
        SET(later, request->call);
        break;
    case NONE:
        CHECK(msg_caller_waits(server, request->call) > 0);
        EXPECT(msg_reply_none(server, request->call), 0);
        break;
    default:
        while (msg_caller_waits(server, request->call) > 0) {
            poll(NULL, 0, 1);
        }
        EXPECT(msg_caller_waits(server, request->call), 0);
        EXPECT(msg_reply_none(server, request->call), 0);
    }
}

struct outcome {
    int count, error, reason;
    char text[64];
};

static void on_result(const msg_result *result, void *ctx)
{
    struct outcome *outcome = ctx;
    outcome->count++;
    outcome->error = result->error;
    outcome->reason = result->reason;
    CHECK(result->data != NULL && result->len < sizeof outcome->text);
    memcpy(outcome->text, result->data, result->len);
    outcome->text[result->len] = 0;
}

static void wait_for(msg_client *client, const struct outcome *outcome)
{
    while (!outcome->count) {
        CHECK(msg_dispatch(client, -1) >= 0);
    }
    CHECK(outcome->count == 1);
}

int main(void)
{
    msg_client *client = open_client(100);
    msg_call_options options = {.timeout_ms = 30000};
    msg_call_options own = {.timeout_ms = 30000, .xid = 7};
    msg_call_options wrong = {.timeout_ms = 30000, .flags = MSG_F_WAIT};
    msg_call_counters counters;
    struct outcome outcome = {0};
    pthread_t thread;
    uint64_t call = 0;
    char reply[64];
    size_t len = 0;
    int reason = 0;

    server = open_client(200);
    EXPECT(msg_enable_reply_cache(server, 0), MSG_E_INVAL);
    EXPECT(msg_enable_reply_cache(server, 100), 0);
    EXPECT(msg_serve(server, ECHO, MSG_F_LOST_REFUSE | MSG_F_LOST_RUN, handle, &runs), MSG_E_INVAL);
    EXPECT(msg_serve(server, ECHO, 0, NULL, NULL), MSG_E_INVAL);
    for (uint32_t procedure = ECHO; procedure <= WAITS; procedure++) {
        EXPECT(msg_serve(server, procedure, 0, handle, &runs), 0);
    }
    CHECK(pthread_create(&thread, NULL, serve, NULL) == 0);

    EXPECT(msg_call(client, 200, ECHO, "hello", 5, &options, reply, sizeof reply, &len, &reason), 0);
    CHECK(len == 5 && memcmp(reply, "hello", 5) == 0 && reason == 0);
    EXPECT(msg_call(client, 200, ECHO, "hello", 5, &options, reply, 2, &len, NULL), MSG_E_TRUNCATED);
    CHECK(len == 5);
    EXPECT(msg_call(client, 200, ECHO, NULL, 0, &options, NULL, 0, NULL, NULL), 0);
    EXPECT(msg_call(client, 200, ECHO, NULL, 1, &options, NULL, 0, NULL, NULL), MSG_E_INVAL);
    EXPECT(msg_call(client, 200, ECHO, "x", 1, &wrong, NULL, 0, NULL, NULL), MSG_E_INVAL);
    EXPECT(msg_call(client, 200, ECHO, "x", 1, NULL, NULL, 0, NULL, NULL), MSG_E_INVAL);

    /* The same XID again is answered and not run; with another request it is an error. */
    SET(runs, 0);
    for (int n = 0; n < 2; n++) {
        EXPECT(msg_call(client, 200, ECHO, "once", 4, &own, reply, sizeof reply, &len, NULL), 0);
        CHECK(len == 4 && GET(runs) == 1);
    }
    EXPECT(msg_call(client, 200, ECHO, "else", 4, &own, reply, sizeof reply, &len, &reason), MSG_E_NOT_STARTED);
    CHECK(reason == MSG_R_XID_REUSED && strcmp(msg_reason_name(reason), "XidReused") == 0);

    EXPECT(msg_call(client, 200, NONE, "x", 1, &options, NULL, 0, NULL, &reason), MSG_E_UNKNOWN);
    CHECK(reason == MSG_R_NO_REPLY);
    EXPECT(msg_call(client, 200, 9, "x", 1, &options, NULL, 0, NULL, &reason), MSG_E_NOT_STARTED);
    CHECK(reason == MSG_R_NO_PROCEDURE);
    options.timeout_ms = 50;
    EXPECT(msg_call(client, 999, ECHO, "x", 1, &options, NULL, 0, NULL, &reason), MSG_E_NOT_STARTED);
    CHECK(reason == MSG_R_NO_ROUTE);
    options.flags = MSG_F_REPEAT;
    EXPECT(msg_call(client, 200, ECHO, "x", 1, &options, NULL, 0, NULL, NULL), MSG_E_INVAL);
    options.flags = 0;
    options.timeout_ms = 0;
    EXPECT(msg_call(client, 200, ECHO, "x", 1, &options, NULL, 0, NULL, NULL), MSG_E_INVAL);
    options.timeout_ms = 30000;

    /* Without waiting, answered by another thread than the handler's. */
    EXPECT(msg_call_start(client, 200, LATER, "x", 1, &options, on_result, &outcome, &call), 0);
    while (!GET(later)) {
        CHECK(msg_dispatch(client, 10) >= 0);
    }
    CHECK(call != 0 && outcome.count == 0);
    EXPECT(msg_reply(server, GET(later), "later", 5), 0);
    wait_for(client, &outcome);
    CHECK(outcome.error == 0 && strcmp(outcome.text, "later") == 0);

    memset(&outcome, 0, sizeof outcome);
    EXPECT(msg_call_start(client, 200, WAITS, "x", 1, &options, on_result, &outcome, &call), 0);
    EXPECT(msg_call_cancel(client, call), 0);
    wait_for(client, &outcome);
    CHECK((outcome.error == MSG_E_UNKNOWN || outcome.error == MSG_E_NOT_STARTED) && outcome.reason == MSG_R_CANCELLED);
    EXPECT(msg_call_cancel(client, call), MSG_E_NO_CALL);

    EXPECT(msg_call_stats(client, &counters, sizeof counters), 0);
    CHECK(counters.calls == 11 && counters.replies == 6 && counters.failed_not_started >= 3);
    EXPECT(msg_call_stats(client, &counters, 8), 0);
    EXPECT(msg_call_stats(client, NULL, 8), MSG_E_INVAL);
    EXPECT(msg_call_stats(server, &counters, sizeof counters), 0);
    CHECK(counters.hits == 1 && counters.mismatches == 1);

    SET(over, 1);
    EXPECT(msg_wake(server), 0);
    CHECK(pthread_join(thread, NULL) == 0);
    EXPECT(msg_close(server), 0);
    EXPECT(msg_close(client), 0);
    puts("ok");
    return 0;
}
