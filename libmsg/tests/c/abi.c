/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/* Prints what the headers say, a name and a number a line: sizes, offsets, constants. */
#include <libmsg.h>
#include <send_msg.h>
#include <stdio.h>

#define NUMBER(name) printf("%s %ld\n", #name, (long)(name))
#define SIZE(type) printf("%s %ld\n", #type, (long)sizeof(type))
#define AT(type, field) printf("%s.%s %ld\n", #type, #field, (long)offsetof(type, field))

int main(void)
{
    SIZE(msg_options);
    AT(msg_options, socket_path);
    AT(msg_options, clientid);
    AT(msg_options, interval_ms);
    AT(msg_options, times);
    AT(msg_options, flags);

    SIZE(msg_failure);
    AT(msg_failure, msgid);
    AT(msg_failure, dst);
    AT(msg_failure, reason);
    AT(msg_failure, may_have_started);
    AT(msg_failure, tries);
    AT(msg_failure, user_len);
    AT(msg_failure, user_buff);

    SIZE(msg_message);
    AT(msg_message, src);
    AT(msg_message, msgid);
    AT(msg_message, age_us);
    AT(msg_message, data);
    AT(msg_message, len);

    SIZE(msg_presence);
    AT(msg_presence, clientid);
    AT(msg_presence, event);
    AT(msg_presence, incarnation);
    AT(msg_presence, priority);

    SIZE(MSG_T);
    AT(MSG_T, clientid);
    AT(MSG_T, msgid);
    AT(MSG_T, send_time);
    AT(MSG_T, times);
    AT(MSG_T, pad);

    NUMBER(MAX_STORED_MSG);
    NUMBER(MAX_BUFF_LEN);
    NUMBER(TRUE);
    NUMBER(FALSE);
    NUMBER(MSG_MAX_USER_LEN);
    NUMBER(MSG_VERSION_MAJOR);
    NUMBER(MSG_VERSION_MINOR);
    NUMBER(MSG_VERSION_PATCH);
    return 0;
}
