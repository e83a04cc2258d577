/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* send_msg.h, all of it. */
#define _POSIX_C_SOURCE 200809L
#include <send_msg.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(condition)                                                                   \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                       \
        }                                                                                  \
    } while (0)

static pthread_t first_thread;
static long arrived, failed, again;
static byte last_user[MAX_BUFF_LEN];

static void on_fail(byte *user_buff)
{
    sigset_t mask;
    CHECK(!pthread_equal(pthread_self(), first_thread));
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0 && sigismember(&mask, SIGTERM) == 1);
    memcpy(last_user, user_buff, MAX_BUFF_LEN);
    failed++;
}

static void on_msg(const MSG_T *head, const byte *msg, uint32 len)
{
    CHECK(!pthread_equal(pthread_self(), first_thread));
    CHECK(head->clientid == 300 && head->msgid > 0 && head->times == 0);
    CHECK(head->pad[0] == 0 && head->pad[1] == 0 && head->pad[2] == 0);
    arrived++;
    if (len > 0 && msg[0] == 'a') {
        byte answer[] = "b";
        /* In a callback: sends are taken, and the end is not. */
        errno = 0;
        msg_exit();
        CHECK(errno == EDEADLK);
        CHECK(send_msg(answer, sizeof answer, NULL, 0));
        __atomic_fetch_add(&again, 1, __ATOMIC_RELEASE);
    }
}

static void misuse(void)
{
    byte user[MAX_BUFF_LEN + 1] = {0};
    static byte large[(1 << 20) + 1];
    CHECK(!send_msg(NULL, 1, NULL, 0) && errno == EINVAL);
    CHECK(!send_msg(user, 1, NULL, 1) && errno == EINVAL);
    CHECK(!send_msg(user, 1, user, MAX_BUFF_LEN + 1) && errno == EINVAL);
    CHECK(!send_msg(user, 1, user, 0xffffffffu) && errno == EINVAL);
    CHECK(!send_msg(large, sizeof large, NULL, 0) && errno == EMSGSIZE);
    CHECK(!msg_init(301, 300, NULL, NULL) && errno == EALREADY);
    CHECK(send_msg(NULL, 0, NULL, 0));
}

int main(void)
{
    byte text[] = "a", user[MAX_BUFF_LEN];
    sigset_t before, after;
    int i;

    CHECK(sizeof(MSG_T) == 16);
    first_thread = pthread_self();
    for (i = 0; i < MAX_BUFF_LEN; i++)
        user[i] = (byte)(i + 1);

    /* Without a beginning. */
    CHECK(!send_msg(text, 1, NULL, 0) && errno == ENOTCONN);
    msg_exit();

    /* To itself. The thread's signal mask is its own. */
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    CHECK(msg_init(300, 300, on_fail, on_msg));
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &after) == 0);
    CHECK(sigismember(&after, SIGUSR1) == 1 && sigismember(&after, SIGTERM) == 0);
    misuse();
    for (i = 0; i < 100; i++)
        CHECK(send_msg(text, sizeof text, user, MAX_BUFF_LEN));
    while (__atomic_load_n(&again, __ATOMIC_ACQUIRE) < 100) {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    msg_exit();
    /* What was accepted before it has its outcome: the empty one, a hundred and their answers have come. */
    CHECK(failed == 0 && arrived == 201);
    CHECK(!send_msg(text, 1, NULL, 0) && errno == ENOTCONN);
    msg_exit();

    /* To nobody: each fails, with exactly its 64 bytes. */
    CHECK(msg_init(300, 999, on_fail, on_msg));
    CHECK(send_msg(text, sizeof text, user, 10));
    msg_exit();
    CHECK(failed == 1);
    for (i = 0; i < MAX_BUFF_LEN; i++)
        CHECK(last_user[i] == (i < 10 ? i + 1 : 0));
    CHECK(msg_init(300, 999, on_fail, on_msg));
    CHECK(send_msg(text, sizeof text, user, MAX_BUFF_LEN));
    msg_exit();
    CHECK(failed == 2 && memcmp(last_user, user, MAX_BUFF_LEN) == 0);

    /* The 1001st has to wait; nobody needs callbacks. */
    CHECK(msg_init(300, 999, NULL, NULL));
    for (i = 0; i < MAX_STORED_MSG; i++)
        CHECK(send_msg(text, sizeof text, user, MAX_BUFF_LEN));
    CHECK(!send_msg(text, sizeof text, user, MAX_BUFF_LEN) && errno == EAGAIN);
    msg_exit();
    puts("ok");
    return 0;
}
