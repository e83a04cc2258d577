/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Calls as they must not be made, each with its error. "misuse close" adds reads of freed memory. */
#include "check.h"

#include <errno.h>
#include <limits.h>

static void null_handles(void)
{
    char why[8];
    EXPECT(msg_send(NULL, 200, "x", 1, NULL, 0, 0, NULL), MSG_E_HANDLE);
    EXPECT(msg_flush(NULL, 0), MSG_E_HANDLE);
    EXPECT(msg_fd(NULL), MSG_E_HANDLE);
    EXPECT(msg_dispatch(NULL, 0), MSG_E_HANDLE);
    EXPECT(msg_wake(NULL), MSG_E_HANDLE);
    EXPECT(msg_unresolved(NULL), MSG_E_HANDLE);
    EXPECT(msg_refusal(NULL, why, sizeof why), MSG_E_HANDLE);
    EXPECT(msg_close(NULL), MSG_E_HANDLE);
    msg_on_failure(NULL, NULL, NULL);
    msg_on_message(NULL, NULL, NULL);
}

static void what_is_no_client(void)
{
    uint64_t memory[8] = {0};
    msg_client *client = (msg_client *)memory;
    EXPECT(msg_send(client, 200, "x", 1, NULL, 0, 0, NULL), MSG_E_HANDLE);
    EXPECT(msg_dispatch((msg_client *)((char *)memory + 1), 0), MSG_E_HANDLE);
    EXPECT(msg_close(client), MSG_E_HANDLE);
}

static void bad_options(void)
{
    msg_options options;
    msg_client *client;
    char why[512], little[5] = "####";

    EXPECT(msg_options_init(NULL), MSG_E_INVAL);
    EXPECT(msg_open(NULL, &client), MSG_E_INVAL);
    CHECK(client == NULL);
    memset(&options, 0xff, sizeof options);
    EXPECT(msg_options_init(&options), 0);
    CHECK(options.socket_path == NULL && options.clientid == 0 && options.interval_ms == 0 && options.times == 0 &&
          options.flags == 0);
    EXPECT(msg_open(&options, NULL), MSG_E_INVAL);

    options.interval_ms = 9;
    EXPECT(msg_open_explained(&options, &client, why, sizeof why), MSG_E_INVAL);
    CHECK(strcmp(why, "interval: 10 ms to 10 minutes") == 0);
    EXPECT(msg_open_explained(&options, &client, little, sizeof little), MSG_E_INVAL);
    CHECK(strcmp(little, "inte") == 0);
    EXPECT(msg_open_explained(&options, &client, little, 0), MSG_E_INVAL);
    EXPECT(msg_open_explained(&options, &client, NULL, 100), MSG_E_INVAL);
    options.interval_ms = 600001;
    EXPECT(msg_open(&options, &client), MSG_E_INVAL);
    options.interval_ms = 0;
    options.flags = 0x80;
    EXPECT(msg_open(&options, &client), MSG_E_INVAL);
    options.flags = MSG_O_NO_RETRANSMITS;
    options.times = 1;
    EXPECT(msg_open(&options, &client), MSG_E_INVAL);
    options.flags = 0;
    options.socket_path = "";
    EXPECT(msg_open(&options, &client), MSG_E_INVAL);
}

static void bad_sends(msg_client *client)
{
    static char large[(1 << 20) + 1];
    char user[65] = {0};
    uint32_t msgid = 77;

    EXPECT(msg_send(client, 200, NULL, 1, NULL, 0, 0, &msgid), MSG_E_INVAL);
    EXPECT(msg_send(client, 200, "x", 1, NULL, 1, 0, &msgid), MSG_E_INVAL);
    EXPECT(msg_send(client, 200, "x", 1, user, 65, 0, &msgid), MSG_E_USER_TOO_LONG);
    EXPECT(msg_send(client, 200, "x", 1, NULL, SIZE_MAX, 0, &msgid), MSG_E_USER_TOO_LONG);
    EXPECT(msg_send(client, 200, large, sizeof large, NULL, 0, 0, &msgid), MSG_E_TOO_LARGE);
    EXPECT(msg_send(client, 200, large, SIZE_MAX, NULL, 0, 0, &msgid), MSG_E_TOO_LARGE);
    EXPECT(msg_send(client, 200, "x", 1, NULL, 0, 16, &msgid), MSG_E_INVAL);
    EXPECT(msg_send(client, 200, "x", 1, NULL, 0, 0x80000000u, &msgid), MSG_E_INVAL);
    CHECK(msgid == 77);
    EXPECT(msg_unresolved(client), 0);
    /* These are good, and get the first numbers. */
    EXPECT(msg_send(client, 100, NULL, 0, NULL, 0, 0, &msgid), 0);
    CHECK(msgid == 1);
    EXPECT(msg_send(client, 100, "x", 1, user, 64, MSG_F_UNORDERED | MSG_F_AT_LEAST_ONCE, NULL), 0);
    EXPECT(msg_send(client, 100, large, 1 << 20, NULL, 0, 0, &msgid), 0);
    CHECK(msgid == 3);
}

static void bad_timeouts(msg_client *client)
{
    EXPECT(msg_dispatch(client, -2), MSG_E_INVAL);
    EXPECT(msg_dispatch(client, INT_MIN), MSG_E_INVAL);
    EXPECT(msg_flush(client, -2), MSG_E_INVAL);
}

static void a_full_chain(msg_client *client)
{
    int rc, sent = 0;
    uint32_t msgid = 0;
    while ((rc = msg_send(client, 999, "x", 1, NULL, 0, MSG_F_MORE, NULL)) == 0)
        sent++;
    EXPECT(rc, MSG_E_AGAIN);
    EXPECT(sent, 1000);
    EXPECT(msg_unresolved(client), 1000);
    EXPECT(msg_flush(client, 0), MSG_E_TIMEOUT);
    /* Somebody waits, until failures make room. */
    EXPECT(msg_send(client, 999, "x", 1, NULL, 0, MSG_F_WAIT, &msgid), 0);
    CHECK(msgid != 0);
    EXPECT(msg_flush(client, -1), 0);
    EXPECT(msg_unresolved(client), 0);
}

static void texts(void)
{
    int error;
    for (error = MSG_E_INVAL; error >= MSG_E_NO_CALL; error--)
        CHECK(strlen(msg_strerror(error)) > 10 && strncmp(msg_strerror(error), "unknown", 7) != 0);
    CHECK(strncmp(msg_strerror(MSG_E_NO_CALL - 1), "unknown", 7) == 0);
    CHECK(strncmp(msg_strerror(INT_MIN), "unknown", 7) == 0);
    CHECK(strcmp(msg_strerror(0), "no error") == 0 && strcmp(msg_strerror(7), "no error") == 0);
    CHECK(strcmp(msg_reason_name(MSG_R_NO_ANSWER), "NoAnswer") == 0);
    CHECK(strcmp(msg_reason_name(MSG_R_CANCELLED), "Cancelled") == 0);
    CHECK(strcmp(msg_reason_name(0), "unknown") == 0 && strcmp(msg_reason_name(-1), "unknown") == 0);
    CHECK(strcmp(msg_version(), MSG_VERSION) == 0);
}

static void ignore(const msg_message *message, void *ctx)
{
    (void)message;
    (void)ctx;
}

int main(int argc, char **argv)
{
    msg_client *client;
    char why[64] = "#";

    null_handles();
    what_is_no_client();
    bad_options();
    texts();
    client = open_client(100);
    msg_on_message(client, ignore, NULL);
    bad_sends(client);
    bad_timeouts(client);
    EXPECT(msg_flush(client, -1), 0);
    a_full_chain(client);
    EXPECT(msg_refusal(client, why, sizeof why), 0);
    CHECK(why[0] == 0);
    EXPECT(msg_close(client), 0);
    if (argc > 1 && strcmp(argv[1], "close") == 0) {
        EXPECT(msg_close(client), MSG_E_HANDLE);
        EXPECT(msg_send(client, 200, "x", 1, NULL, 0, 0, NULL), MSG_E_HANDLE);
        EXPECT(msg_dispatch(client, 0), MSG_E_HANDLE);
    }
    puts("ok");
    return 0;
}
