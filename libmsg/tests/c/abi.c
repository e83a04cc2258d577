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
    SIZE(msg_call_options);
    AT(msg_call_options, timeout_ms);
    AT(msg_call_options, retries);
    AT(msg_call_options, xid);
    AT(msg_call_options, flags);
    AT(msg_call_options, reserved);

    SIZE(msg_result);
    AT(msg_result, xid);
    AT(msg_result, error);
    AT(msg_result, reason);
    AT(msg_result, data);
    AT(msg_result, len);

    SIZE(msg_request);
    AT(msg_request, call);
    AT(msg_request, xid);
    AT(msg_request, src);
    AT(msg_request, procedure);
    AT(msg_request, uid);
    AT(msg_request, is_repeat);
    AT(msg_request, time_left_ms);
    AT(msg_request, node);
    AT(msg_request, data);
    AT(msg_request, len);

    SIZE(msg_call_counters);
    AT(msg_call_counters, calls);
    AT(msg_call_counters, replies);
    AT(msg_call_counters, failed_not_started);
    AT(msg_call_counters, failed_unknown);
    AT(msg_call_counters, repeats);
    AT(msg_call_counters, unknown_replies);
    AT(msg_call_counters, malformed);
    AT(msg_call_counters, requests);
    AT(msg_call_counters, runs);
    AT(msg_call_counters, hits);
    AT(msg_call_counters, misses);
    AT(msg_call_counters, in_progress_hits);
    AT(msg_call_counters, lost);
    AT(msg_call_counters, mismatches);
    AT(msg_call_counters, evictions);
    AT(msg_call_counters, late);
    AT(msg_call_counters, busy);
    AT(msg_call_counters, cancelled);
    AT(msg_call_counters, abandoned);
    AT(msg_call_counters, lost_replies);

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
