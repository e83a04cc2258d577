// SPDX-License-Identifier: Apache-2.0 OR MIT
// libmsg.hpp: moves, exceptions out of callbacks, errors.
#include "check.h"

#include <libmsg.hpp>

#include <cstdio>
#include <stdexcept>
#include <string>
#include <type_traits>

static_assert(!std::is_copy_constructible<msg::client>::value, "there is one");
static_assert(std::is_nothrow_move_constructible<msg::client>::value, "it can be moved");

int main()
{
    const std::chrono::seconds long_enough(10);
    msg::client first(100), b(200);
    int came = 0;
    first.on_message([&](const msg_message &) { came++; });

    // It can be moved, callbacks and all.
    msg::client a(std::move(first));
    CHECK(a.send(100, "to myself") == 1);
    while (came == 0)
        a.dispatch(long_enough);
    CHECK(a.flush(long_enough));

    // What a callback throws comes out of the dispatch that ran it, once, and the others have run.
    b.on_message([&](const msg_message &message) {
        came++;
        throw std::runtime_error(std::string(static_cast<const char *>(message.data), message.len));
    });
    came = 0;
    a.send(200, "one", "", MSG_F_MORE);
    a.send(200, "two");
    std::string thrown;
    while (came < 2) {
        try {
            b.dispatch(long_enough);
        } catch (const std::runtime_error &e) {
            thrown += e.what();
        }
    }
    CHECK(thrown == "one" || thrown == "onetwo");
    CHECK(b.dispatch(std::chrono::milliseconds(0)) == 0);

    // Failures, and sends without room. What was sent above is taken, but its outcomes may still be on their way.
    CHECK(a.flush(long_enough));
    std::string user;
    std::uint32_t reason = 0;
    a.on_failure([&](const msg_failure &failure) {
        user.assign(reinterpret_cast<const char *>(failure.user_buff), failure.user_len);
        reason = static_cast<std::uint32_t>(failure.reason);
    });
    a.send(999, "to nobody", "order 17");
    CHECK(!a.flush(std::chrono::milliseconds(0)));
    CHECK(a.unresolved() == 1);
    CHECK(a.flush());
    CHECK(user == "order 17" && reason == MSG_R_NO_ROUTE);
    while (a.try_send(999, "x", 1, nullptr, 0, MSG_F_MORE)) {
    }
    CHECK(a.unresolved() == 1000);

    // Errors.
    try {
        a.send(999, "x");
        CHECK(false);
    } catch (const msg::error &e) {
        CHECK(e.code() == MSG_E_AGAIN && std::string(e.what()).find("no room") == 0);
    }
    try {
        msg::client taken(200);
        CHECK(false);
    } catch (const msg::error &e) {
        CHECK(e.code() == MSG_E_CLIENTID_TAKEN && std::string(e.what()).find("200") != std::string::npos);
    }
    a.wake();
    CHECK(a.dispatch() >= 0 && a.fd() >= 0);
    // Assigned: the old one is closed, so its number is free.
    b = msg::client(300);
    msg::client again(200);
    std::puts("ok");
    return 0;
}
