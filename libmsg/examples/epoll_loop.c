/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Two clients in one epoll loop: how libmsg lives with whatever else a process waits for.
 *
 *     cc -std=c99 epoll_loop.c $(pkg-config --cflags --libs libmsg) -o epoll_loop
 *     ./epoll_loop 100 200 1000       clients 100 and 200 play ping-pong, a thousand rounds
 *
 * Everything that libmsg asks of a loop: watch msg_fd for reading, and call msg_dispatch(client, 0) when it is readable.
 */
#define _POSIX_C_SOURCE 200809L
#include <libmsg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct player {
    msg_client *client;
    uint32_t other;
    long hits, rounds;
    int failed;
};

static void hit(struct player *player)
{
    static const char ball[] = "ball";
    int rc = msg_send(player->client, player->other, ball, sizeof ball, &player->hits, sizeof player->hits, 0, NULL);
    if (rc < 0) {
        fprintf(stderr, "msg_send: %s\n", msg_strerror(rc));
        player->failed = 1;
        return;
    }
    player->hits++;
}

static void on_message(const msg_message *message, void *ctx)
{
    struct player *player = ctx;
    (void)message;
    if (player->hits < player->rounds)
        hit(player);
}

static void on_failure(const msg_failure *failure, void *ctx)
{
    struct player *player = ctx;
    fprintf(stderr, "the ball to %u is lost: %s\n", (unsigned)failure->dst, msg_reason_name(failure->reason));
    player->failed = 1;
}

static int join(struct player *player, int loop, uint32_t clientid, uint32_t other, long rounds)
{
    struct epoll_event event = {0};
    msg_options options;
    char why[512];

    msg_options_init(&options);
    options.clientid = clientid;
    if (msg_open_explained(&options, &player->client, why, sizeof why) < 0) {
        fprintf(stderr, "%s\n", why);
        return -1;
    }
    player->other = other;
    player->rounds = rounds;
    msg_on_message(player->client, on_message, player);
    msg_on_failure(player->client, on_failure, player);
    event.events = EPOLLIN;
    event.data.ptr = player;
    return epoll_ctl(loop, EPOLL_CTL_ADD, msg_fd(player->client), &event);
}

int main(int argc, char **argv)
{
    struct player players[2] = {{0}, {0}};
    uint32_t first, second;
    long rounds;
    int i, status = 1, loop;

    if (argc != 4) {
        fprintf(stderr, "usage: %s CLIENTID CLIENTID ROUNDS\n", argv[0]);
        return 2;
    }
    first = (uint32_t)strtoul(argv[1], NULL, 10);
    second = (uint32_t)strtoul(argv[2], NULL, 10);
    rounds = strtol(argv[3], NULL, 10);
    loop = epoll_create1(EPOLL_CLOEXEC);
    if (loop < 0 || join(&players[0], loop, first, second, rounds) < 0 ||
        join(&players[1], loop, second, first, rounds) < 0)
        goto out;

    hit(&players[0]);
    /* Until each has hit the ball so often, and nothing that was sent is without an outcome. */
    while (players[0].hits < rounds || players[1].hits < rounds || msg_unresolved(players[0].client) > 0 ||
           msg_unresolved(players[1].client) > 0) {
        struct epoll_event events[2];
        int n = epoll_wait(loop, events, 2, 10000);
        if (n == 0)
            fprintf(stderr, "nothing happened for ten seconds\n");
        if (n <= 0 || players[0].failed || players[1].failed)
            goto out;
        for (i = 0; i < n; i++) {
            struct player *player = events[i].data.ptr;
            int rc = msg_dispatch(player->client, 0);
            if (rc < 0) {
                fprintf(stderr, "msg_dispatch: %s\n", msg_strerror(rc));
                goto out;
            }
        }
    }
    printf("%ld + %ld hits\n", players[0].hits, players[1].hits);
    status = 0;
out:
    for (i = 0; i < 2; i++)
        if (players[i].client)
            msg_close(players[i].client);
    if (loop >= 0)
        close(loop);
    return status;
}
