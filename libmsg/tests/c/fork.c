/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* After a fork the client is the parent's: the child's calls are refused, and the parent's go on as if nothing was. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <send_msg.h>
#include <errno.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static int came;

static void on_message(const msg_message *message, void *ctx)
{
    (void)message;
    (void)ctx;
    came++;
}

static void *dispatch(void *arg)
{
    CHECK(msg_dispatch(arg, -1) >= 0);
    return NULL;
}

static void in_child(msg_client *client)
{
    msg_client *mine;
    char why[8];
    int i;
    for (i = 0; i < 3000; i++)
        EXPECT(msg_send(client, 100, "x", 1, NULL, 0, MSG_F_MORE, NULL), MSG_E_FORKED);
    EXPECT(msg_send(client, 100, "x", 1, NULL, 0, MSG_F_WAIT, NULL), MSG_E_FORKED);
    EXPECT(msg_dispatch(client, 0), MSG_E_FORKED);
    EXPECT(msg_dispatch(client, -1), MSG_E_FORKED);
    EXPECT(msg_flush(client, -1), MSG_E_FORKED);
    EXPECT(msg_fd(client), MSG_E_FORKED);
    EXPECT(msg_wake(client), MSG_E_FORKED);
    EXPECT(msg_unresolved(client), MSG_E_FORKED);
    EXPECT(msg_refusal(client, why, sizeof why), MSG_E_FORKED);
    EXPECT(msg_close(client), 0);
    /* One of its own is another thing. */
    mine = open_client(101);
    EXPECT(msg_send(mine, 100, "from the child", 14, NULL, 0, 0, NULL), 0);
    EXPECT(msg_flush(mine, 10000), 0);
    EXPECT(msg_close(mine), 0);
    /* So it is with the smallest form. */
    CHECK(!send_msg((byte *)"x", 1, NULL, 0));
    EXPECT(errno, ECHILD);
    CHECK(msg_init(301, 100, NULL, NULL));
    CHECK(send_msg((byte *)"x", 1, NULL, 0));
    msg_exit();
}

static void wait_for(pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    msg_client *client = open_client(100);
    pthread_t thread;
    pid_t child;

    msg_on_message(client, on_message, NULL);
    CHECK(msg_init(300, 100, NULL, NULL));
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        in_child(client);
        /* The parent's memory, as it was: valgrind and sanitizers look at the parent. */
        _exit(0);
    }
    /* What the child sent, from each of its own clients. */
    while (came < 2)
        CHECK(msg_dispatch(client, 10000) >= 0);
    wait_for(child);
    EXPECT(msg_send(client, 100, "to myself", 9, NULL, 0, 0, NULL), 0);
    CHECK(send_msg((byte *)"x", 1, NULL, 0));
    while (came < 4)
        CHECK(msg_dispatch(client, 10000) >= 0);
    EXPECT(msg_flush(client, 10000), 0);

    /* A child of a process whose other thread is in a call: it may be in the middle of anything. */
    EXPECT(pthread_create(&thread, NULL, dispatch, client), 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        EXPECT(msg_send(client, 100, "x", 1, NULL, 0, 0, NULL), MSG_E_FORKED);
        EXPECT(msg_close(client), 0);
        msg_exit();
        _exit(0);
    }
    wait_for(child);
    EXPECT(msg_wake(client), 0);
    EXPECT(pthread_join(thread, NULL), 0);
    msg_exit();
    EXPECT(msg_close(client), 0);
    puts("ok");
    return 0;
}
