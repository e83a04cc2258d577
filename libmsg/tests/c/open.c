/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* open SOCKET|- [INTERVAL_MS TIMES FLAGS]: opens a client and prints what msg_open said, a number and a sentence. */
#include "check.h"

int main(int argc, char **argv)
{
    msg_options options;
    msg_client *client = (msg_client *)&options;
    char why[512] = "not written";
    int rc;

    CHECK(argc == 2 || argc == 5);
    EXPECT(msg_options_init(&options), 0);
    options.clientid = 100;
    options.socket_path = strcmp(argv[1], "-") == 0 ? NULL : argv[1];
    if (argc == 5) {
        options.interval_ms = (uint32_t)strtoul(argv[2], NULL, 10);
        options.times = (uint8_t)strtoul(argv[3], NULL, 10);
        options.flags = (uint32_t)strtoul(argv[4], NULL, 10);
    }
    rc = msg_open_explained(&options, &client, why, sizeof why);
    printf("%d %s\n", rc, why);
    if (rc == 0)
        EXPECT(msg_close(client), 0);
    else
        CHECK(client == NULL);
    return 0;
}
