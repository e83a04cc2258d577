/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* What the test programs share: a check that ends the program, and a client of the daemon at $MSGD_SOCKET. */
#ifndef CHECK_H
#define CHECK_H

#include <libmsg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                     \
    do {                                                                                     \
        if (!(condition)) {                                                                  \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);   \
            exit(1);                                                                         \
        }                                                                                    \
    } while (0)

/* A call returned that, and not something else. */
#define EXPECT(call, value)                                                                                  \
    do {                                                                                                     \
        int got_ = (call), want_ = (value);                                                                  \
        if (got_ != want_) {                                                                                 \
            fprintf(stderr, "%s:%d: %s is %d (%s), not %d\n", __FILE__, __LINE__, #call, got_,               \
                    msg_strerror(got_), want_);                                                              \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static inline msg_client *open_with(const msg_options *options)
{
    msg_client *client = NULL;
    char why[512];
    int rc = msg_open_explained(options, &client, why, sizeof why);
    if (rc < 0) {
        fprintf(stderr, "msg_open: %d: %s\n", rc, why);
        exit(1);
    }
    CHECK(client != NULL && why[0] == 0);
    return client;
}

static inline msg_client *open_client(uint32_t clientid)
{
    msg_options options;
    EXPECT(msg_options_init(&options), 0);
    options.clientid = clientid;
    return open_with(&options);
}

#endif
