/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Echo, the plain way: no event loop, one thread.
 *
 *     cc -std=c99 echo.c $(pkg-config --cflags --libs libmsg) -o echo
 *     ./echo 200 &                    serves as client 200: sends every message back to where it came from
 *     ./echo 100 200 hello 1000       as client 100, sends "hello" to client 200 a thousand times, and waits for the echoes
 *
 * The server ends with SIGTERM or SIGINT, the other one with status 0 when everything came back.
 */
#define _POSIX_C_SOURCE 200809L
#include <libmsg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct echo {
    msg_client *client;
    long echoes, failures;
};

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

static void on_failure(const msg_failure *failure, void *ctx)
{
    struct echo *echo = ctx;
    echo->failures++;
    fprintf(stderr, "message %u to %u failed: %s%s, \"%.*s\"\n", (unsigned)failure->msgid, (unsigned)failure->dst,
            msg_reason_name(failure->reason), failure->may_have_started ? ", and may have been begun" : "",
            (int)failure->user_len, (const char *)failure->user_buff);
}

/* The server: back to where it came from. Callbacks may send; without MSG_F_WAIT that never blocks. */
static void on_request(const msg_message *message, void *ctx)
{
    struct echo *echo = ctx;
    int rc = msg_send(echo->client, message->src, message->data, message->len, NULL, 0, 0, NULL);
    if (rc < 0)
        fprintf(stderr, "no echo for message %u of %u: %s\n", (unsigned)message->msgid, (unsigned)message->src,
                msg_strerror(rc));
    else
        echo->echoes++;
}

static void on_echo(const msg_message *message, void *ctx)
{
    struct echo *echo = ctx;
    (void)message;
    echo->echoes++;
}

static int serve(struct echo *echo)
{
    int rc = 0;
    msg_on_message(echo->client, on_request, echo);
    puts("ready");
    fflush(stdout);
    /* A signal does not end a wait, so none is longer than it may take to stop. */
    while (!stop && rc >= 0)
        rc = msg_dispatch(echo->client, 100);
    /* Every echo has its outcome before this process goes. */
    return rc < 0 ? rc : msg_flush(echo->client, -1);
}

/*
 * As many on their way as the server has room to answer: whoever sends and does not take what comes back stops
 * both sides in the end.
 */
static int ask(struct echo *echo, uint32_t dst, const char *text, long count)
{
    const long window = 256;
    long sent = 0, done = 0;
    time_t heard = time(NULL);
    msg_on_message(echo->client, on_echo, echo);
    while (done < count && !stop) {
        int rc;
        while (sent < count && sent - done < window) {
            char user[MSG_MAX_USER_LEN];
            int len = snprintf(user, sizeof user, "echo %ld of %ld", sent + 1, count);
            /* MORE: msg_dispatch follows, and writes them together. */
            rc = msg_send(echo->client, dst, text, strlen(text), user, (size_t)len, MSG_F_MORE, NULL);
            if (rc < 0)
                return rc;
            sent++;
        }
        rc = msg_dispatch(echo->client, 100);
        if (rc < 0)
            return rc;
        done = echo->echoes + echo->failures;
        if (rc > 0)
            heard = time(NULL);
        else if (time(NULL) - heard > 20)
            return MSG_E_TIMEOUT;
    }
    printf("%ld echoes, %ld failures\n", echo->echoes, echo->failures);
    return 0;
}

int main(int argc, char **argv)
{
    struct echo echo = {NULL, 0, 0};
    struct sigaction action;
    msg_options options;
    char why[512];
    int rc;

    if (argc != 2 && argc != 4 && argc != 5) {
        fprintf(stderr, "usage: %s CLIENTID [DST TEXT [COUNT]]\n", argv[0]);
        return 2;
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    msg_options_init(&options);
    options.clientid = (uint32_t)strtoul(argv[1], NULL, 10);
    if (msg_open_explained(&options, &echo.client, why, sizeof why) < 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    msg_on_failure(echo.client, on_failure, &echo);
    if (argc == 2)
        rc = serve(&echo);
    else
        rc = ask(&echo, (uint32_t)strtoul(argv[2], NULL, 10), argv[3], argc == 5 ? strtol(argv[4], NULL, 10) : 1);
    if (rc < 0)
        fprintf(stderr, "%s\n", msg_strerror(rc));
    msg_close(echo.client);
    return rc < 0 || echo.failures > 0;
}
