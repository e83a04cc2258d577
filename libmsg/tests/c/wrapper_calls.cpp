// SPDX-License-Identifier: Apache-2.0 OR MIT
// libmsg.hpp: calls, instances, drains and takeovers.
#include "check.h"

#include <libmsg.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

const std::chrono::seconds long_enough(30);

enum { ECHO = 1, LATER = 2, NONE = 3, THROWS = 4, FIRST = 5, WAITS = 6 };

std::string text(const void *data, std::size_t len)
{
    return std::string(static_cast<const char *>(data), len);
}

template <typename F> int code_of(F call)
{
    try {
        call();
        return 0;
    } catch (const msg::error &e) {
        return e.code();
    }
}

template <typename F> msg::call_error failure_of(F call)
{
    try {
        call();
    } catch (const msg::call_error &e) {
        return e;
    }
    CHECK(!"it fails");
    std::abort();
}

// A server that a thread of its own dispatches; what its handlers throw is counted.
class server {
public:
    server() : client(200), thread([this] { run(); }) {}

    ~server()
    {
        over = true;
        client.wake();
        thread.join();
    }

    msg::client client;
    std::atomic<int> thrown{0}, runs{0};

private:
    void run()
    {
        while (!over) {
            try {
                client.dispatch();
            } catch (const std::runtime_error &) {
                thrown++;
            }
        }
    }

    std::atomic<bool> over{false};
    std::thread thread;
};

void calls()
{
    server served;
    msg::client &to = served.client;
    msg::client from(100);
    std::vector<std::thread> workers;
    to.enable_reply_cache(100);
    to.serve(ECHO, [&](const msg_request &r) {
        served.runs++;
        CHECK(r.src == 100 && r.procedure == ECHO && std::string(r.node) == "vm-a" && r.time_left_ms > 0);
        to.reply(r.call, r.data, r.len);
        CHECK(code_of([&] { to.reply(r.call, "again"); }) == MSG_E_NO_CALL);
    });
    to.serve(LATER, [&](const msg_request &r) {
        std::uint64_t call = r.call;
        workers.emplace_back([&to, call] { to.reply(call, "later"); });
    });
    to.serve(NONE, [&](const msg_request &r) { to.reply_none(r.call); });
    to.serve(THROWS, [&](const msg_request &) { throw std::runtime_error("a handler"); });
    to.serve(WAITS, [&](const msg_request &r) {
        while (to.caller_waits(r.call).count() > 0)
            std::this_thread::yield();
        to.reply_none(r.call);
    });
    CHECK(code_of([&] { to.serve(ECHO, nullptr); }) == MSG_E_INVAL);

    CHECK(from.call(200, ECHO, "hello", long_enough) == "hello");
    const std::string large(300000, 'x');
    CHECK(from.call(200, ECHO, large, long_enough) == large);
    CHECK(from.call(200, LATER, "", long_enough) == "later");
    msg::call_error none = failure_of([&] { from.call(200, NONE, "", long_enough); });
    CHECK(none.may_have_run() && none.reason() == MSG_R_NO_REPLY && none.code() == MSG_E_UNKNOWN);
    CHECK(std::string(none.what()).find("(NoReply)") != std::string::npos);
    msg::call_error thrown = failure_of([&] { from.call(200, THROWS, "", long_enough); });
    CHECK(thrown.may_have_run() && thrown.reason() == MSG_R_NO_REPLY);
    msg::call_error nobody = failure_of([&] { from.call(200, 99, "", long_enough); });
    CHECK(!nobody.may_have_run() && nobody.reason() == MSG_R_NO_PROCEDURE);
    CHECK(code_of([&] { from.call(200, ECHO, "", std::chrono::seconds(0)); }) == MSG_E_INVAL);

    // An XID of the caller's own: the second time it is answered from the cache. A reply that is too long is no reply.
    msg_call_options own = msg_call_options();
    own.timeout_ms = 30000;
    own.xid = 7;
    served.runs = 0;
    CHECK(from.call(200, ECHO, "once", 4, own) == "once" && from.call(200, ECHO, "once", 4, own, 4) == "once");
    CHECK(code_of([&] { from.call(200, ECHO, "once", 4, own, 3); }) == MSG_E_TRUNCATED);
    CHECK(served.runs == 1 && to.call_counters().hits == 2);

    // Without waiting: each is told once, a moved client's callbacks too, and what they throw comes out of the dispatch.
    msg::client moved(std::move(from));
    std::vector<std::string> replies;
    for (int n = 0; n < 100; n++) {
        moved.start_call(200, ECHO, std::to_string(n), long_enough, [&](const msg_result &result) {
            CHECK(result.error == 0 && result.xid != 0);
            replies.push_back(text(result.data, result.len));
        });
    }
    CHECK(moved.start_call(200, ECHO, "x", long_enough, [](const msg_result &) { throw std::logic_error("told"); }) != 0);
    bool told = false;
    while (replies.size() < 100 || !told) {
        try {
            moved.dispatch(long_enough);
        } catch (const std::logic_error &) {
            CHECK(!told);
            told = true;
        }
    }
    for (int n = 0; n < 100; n++)
        CHECK(replies[static_cast<std::size_t>(n)] == std::to_string(n));

    // One that is cancelled.
    int ended = 0;
    std::uint64_t call = moved.start_call(200, WAITS, "", long_enough, [&](const msg_result &result) {
        CHECK(result.error < 0 && result.reason == MSG_R_CANCELLED);
        ended++;
    });
    CHECK(moved.cancel_call(call));
    while (ended == 0)
        moved.dispatch(long_enough);
    CHECK(ended == 1 && !moved.cancel_call(call));
    CHECK(served.thrown == 1);
    for (std::thread &worker : workers)
        worker.join();
    // One whose callback is never called goes with its client.
    moved.start_call(200, 99, "", long_enough, [](const msg_result &) { CHECK(!"it is called"); });
}

// What a watcher of client 300 was told, in letters, until it is as long as that.
std::string watch(msg::client &watcher, std::string &seen, std::size_t len)
{
    while (seen.size() < len)
        watcher.dispatch(long_enough);
    return seen;
}

void instances()
{
    msg::client watcher(100);
    std::string seen;
    std::uint64_t active = 0;
    watcher.on_presence([&](const msg_presence &presence) {
        CHECK(presence.clientid == 300);
        seen += presence.event == MSG_P_UP ? 'u' : presence.event == MSG_P_DOWN ? 'd' : 'a';
        if (presence.event == MSG_P_ACTIVE)
            active = presence.incarnation;
        if (presence.event == MSG_P_UP)
            CHECK(presence.priority == (seen.size() == 1 ? 7 : 3));
    });
    watcher.subscribe(300);

    msg::client first(300, MSG_O_PRIORITY(7));
    CHECK(watch(watcher, seen, 2) == "ua" && active != 0);
    const std::uint64_t before = active;
    msg::client beside(300, MSG_O_BESIDE | MSG_O_PRIORITY(3));
    CHECK(watch(watcher, seen, 3) == "uau" && active == before);
    CHECK(code_of([] { msg::client third(300); }) == MSG_E_CLIENTID_TAKEN);

    // The active one drains: what it has not taken goes to the other, and it still has its outcomes.
    std::vector<std::string> came;
    first.send(100, "from the first");
    watcher.on_message([&](const msg_message &m) { came.push_back(text(m.data, m.len)); });
    beside.on_message([&](const msg_message &m) { came.push_back(text(m.data, m.len)); });
    watcher.send(300, "one");
    watcher.send(300, "two");
    CHECK(!first.drain(std::chrono::milliseconds(0)) || first.unresolved() == 0);
    while (came.empty())
        watcher.dispatch(long_enough);
    CHECK(first.drain(long_enough));
    while (came.size() < 3)
        beside.dispatch(long_enough);
    CHECK(came[1] == "one" && came[2] == "two");
    CHECK(watcher.flush(long_enough));
    CHECK(watch(watcher, seen, 5).size() == 5 && active != 0 && active != before);
}

void takeover()
{
    msg::client from(100);
    msg::client old(400);
    int cause = 0;
    old.on_drain([&](int why) { cause = why; });
    std::vector<std::string> came;
    // The old one may take what it had before it is told.
    auto take = [&](const msg_message &m) { came.push_back(text(m.data, m.len)); };
    old.on_message(take);
    from.send(400, "one");
    msg::client next(400, MSG_O_TAKEOVER);
    next.on_message(take);
    while (cause == 0)
        old.dispatch(long_enough);
    CHECK(cause == MSG_D_SUPERSEDED);
    from.send(400, "two");
    while (came.size() < 2)
        next.dispatch(long_enough);
    CHECK(came[0] == "one" && came[1] == "two");
    // It has its outcomes, and what throws in its last callbacks is not lost.
    old.send(100, "the last word");
    int last = 0;
    from.on_message([&](const msg_message &m) { last += text(m.data, m.len) == "the last word"; });
    std::thread drains([&] { CHECK(old.drain(long_enough)); });
    while (last == 0)
        from.dispatch(long_enough);
    drains.join();
    std::string why = "?";
    CHECK(next.refusal(&why) == 0 && why.empty());
}

} // namespace

int main()
{
    calls();
    instances();
    takeover();
    std::puts("ok");
    return 0;
}
