/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * libmsg for C++11 and later: msg::client owns a msg_client, callbacks are any callable, errors are exceptions. Header only;
 * what the calls do is in libmsg.h.
 *
 *     msg::client client(100);
 *     client.on_message([&](const msg_message &m) { client.send(m.src, m.data, m.len); });
 *     while (running) client.dispatch(std::chrono::seconds(1));
 *
 *     client.serve(1, [&](const msg_request &r) { client.reply(r.call, answer(r.data, r.len)); });
 *     std::string reply = client.call(200, 1, "request", std::chrono::seconds(5));
 *
 * EXCEPTIONS. What a callback throws does not cross the C library: the first exception is kept, the callbacks of what was
 * already read still run, and the dispatch, flush or drain that ran them throws it when it is done (of those that a call,
 * or a send with MSG_F_WAIT, ran, the next one). A handler that throws before it has answered its call answers that
 * there is no reply.
 *
 * A client that is destroyed is closed. That cannot be done in a callback of its own (it would be freed under its own
 * feet: std::terminate is called), nor while another thread is in a call with it (the same).
 */
#ifndef LIBMSG_HPP
#define LIBMSG_HPP

#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <iterator>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "libmsg.h"

namespace msg {

/* A call that failed: its MSG_E_*, and what that means. */
class error : public std::runtime_error {
public:
    explicit error(int code) : std::runtime_error(msg_strerror(code)), code_(code) {}
    error(int code, const std::string &what) : std::runtime_error(what), code_(code) {}

    int code() const noexcept { return code_; }

private:
    int code_;
};

/* A call without a reply: MSG_E_NOT_STARTED or MSG_E_UNKNOWN, and MSG_R_*. */
class call_error : public error {
public:
    call_error(int code, int reason)
        : error(code, std::string(msg_strerror(code)) + " (" + msg_reason_name(reason) + ")"), reason_(reason)
    {
    }

    int reason() const noexcept { return reason_; }
    bool may_have_run() const noexcept { return code() == MSG_E_UNKNOWN; }

private:
    int reason_;
};

/* No limit to how long a call waits. */
constexpr std::chrono::milliseconds forever(-1);

/* The longest reply that there can be. */
constexpr std::size_t max_reply = 1 << 20;

class client {
public:
    using on_failure_fn = std::function<void(const msg_failure &)>;
    using on_message_fn = std::function<void(const msg_message &)>;
    using on_presence_fn = std::function<void(const msg_presence &)>;
    using on_drain_fn = std::function<void(int cause)>;
    using on_result_fn = std::function<void(const msg_result &)>;
    using on_request_fn = std::function<void(const msg_request &)>;

    /* Connects. Throws error, whose text says where, why, and what to do. */
    explicit client(const msg_options &options) : state_(new state) { open(options); }

    /* With the daemon's defaults, at its default socket. The flags are MSG_O_*: MSG_O_TAKEOVER, MSG_O_PRIORITY(1). */
    explicit client(std::uint32_t clientid, std::uint32_t flags = 0) : state_(new state)
    {
        msg_options options;
        msg_options_init(&options);
        options.clientid = clientid;
        options.flags = flags;
        open(options);
    }

    client(client &&other) noexcept = default;
    client &operator=(client &&other) noexcept = default;
    client(const client &) = delete;
    client &operator=(const client &) = delete;

    /* Not while callbacks run, in another thread or in this one. */
    void on_failure(on_failure_fn callback)
    {
        state_->on_failure = std::move(callback);
        msg_on_failure(get(), state_->on_failure ? &state::failed : nullptr, state_.get());
    }

    /* Not while callbacks run, in another thread or in this one. */
    void on_message(on_message_fn callback)
    {
        state_->on_message = std::move(callback);
        msg_on_message(get(), state_->on_message ? &state::came : nullptr, state_.get());
    }

    /* Not while callbacks run, in another thread or in this one. Before subscribe. */
    void on_presence(on_presence_fn callback)
    {
        state_->on_presence = std::move(callback);
        msg_on_presence(get(), state_->on_presence ? &state::changed : nullptr, state_.get());
    }

    /* Not while callbacks run, in another thread or in this one. */
    void on_drain(on_drain_fn callback)
    {
        state_->on_drain = std::move(callback);
        msg_on_drain(get(), state_->on_drain ? &state::asked : nullptr, state_.get());
    }

    /* Has on_presence told of the instances of a clientid. */
    void subscribe(std::uint32_t clientid) { check(msg_subscribe(get(), clientid)); }

    /* Sends, and returns the message's number. Throws error; with MSG_E_AGAIN where there is no room. */
    std::uint32_t send(std::uint32_t dst, const void *data, std::size_t len, const void *user = nullptr,
                       std::size_t user_len = 0, std::uint32_t flags = 0)
    {
        std::uint32_t msgid = 0;
        check(msg_send(get(), dst, data, len, user, user_len, flags, &msgid));
        return msgid;
    }

    std::uint32_t send(std::uint32_t dst, const std::string &data, const std::string &user = std::string(),
                       std::uint32_t flags = 0)
    {
        return send(dst, data.data(), data.size(), user.data(), user.size(), flags);
    }

    /* Sends, or returns false where there is no room. Throws what send throws otherwise. */
    bool try_send(std::uint32_t dst, const void *data, std::size_t len, const void *user = nullptr,
                  std::size_t user_len = 0, std::uint32_t flags = 0)
    {
        int rc = msg_send(get(), dst, data, len, user, user_len, flags, nullptr);
        return unless(MSG_E_AGAIN, rc);
    }

    /*
     * Calls a procedure, and returns its reply. Throws call_error when it failed; error when it was not made, or the reply
     * is longer than `longest` (MSG_E_TRUNCATED).
     */
    std::string call(std::uint32_t dst, std::uint32_t procedure, const void *request, std::size_t len,
                     const msg_call_options &options, std::size_t longest = max_reply)
    {
        std::unique_ptr<char[]> reply(new char[longest]);
        std::size_t reply_len = 0;
        int reason = 0;
        int rc = msg_call(get(), dst, procedure, request, len, &options, reply.get(), longest, &reply_len, &reason);
        if (rc == MSG_E_NOT_STARTED || rc == MSG_E_UNKNOWN)
            throw call_error(rc, reason);
        check(rc);
        return std::string(reply.get(), reply_len);
    }

    /* At most once. */
    std::string call(std::uint32_t dst, std::uint32_t procedure, const std::string &request,
                     std::chrono::milliseconds timeout)
    {
        return call(dst, procedure, request.data(), request.size(), within(timeout));
    }

    /* Calls without waiting; returns the call's number. `done` is told what comes of it, once, unless the client is closed. */
    std::uint64_t start_call(std::uint32_t dst, std::uint32_t procedure, const void *request, std::size_t len,
                             const msg_call_options &options, on_result_fn done)
    {
        std::uint64_t number = 0;
        pending *waits = state_->add(std::move(done));
        int rc = msg_call_start(get(), dst, procedure, request, len, &options, &state::ended, waits, &number);
        if (rc < 0)
            state_->take(waits);
        check(rc);
        return number;
    }

    std::uint64_t start_call(std::uint32_t dst, std::uint32_t procedure, const std::string &request,
                             std::chrono::milliseconds timeout, on_result_fn done)
    {
        return start_call(dst, procedure, request.data(), request.size(), within(timeout), std::move(done));
    }

    /* Does not wait for a call any more. False if it has ended. */
    bool cancel_call(std::uint64_t call) { return unless(MSG_E_NO_CALL, msg_call_cancel(get(), call)); }

    /*
     * Serves a procedure, before the first dispatch; flags are those of msg_serve. Each call is answered once, with
     * reply or reply_none, in the handler or later, from any thread. Not while callbacks run, in another thread or in this one.
     */
    void serve(std::uint32_t procedure, on_request_fn handler, std::uint32_t flags = 0)
    {
        if (!handler)
            throw error(MSG_E_INVAL);
        served &entry = state_->handlers[procedure];
        check(msg_serve(get(), procedure, flags, &state::called, &entry));
        entry.owner = state_.get();
        entry.handler = std::move(handler);
    }

    /* Answers a call. Throws error: MSG_E_NO_CALL if it has its answer. */
    void reply(std::uint64_t call, const void *data, std::size_t len) { check(msg_reply(get(), call, data, len)); }
    void reply(std::uint64_t call, const std::string &data) { reply(call, data.data(), data.size()); }

    /* Answers that the procedure ran, and that there is no reply. */
    void reply_none(std::uint64_t call) { check(msg_reply_none(get(), call)); }

    /* How long the caller waits yet, as far as is known here; 0: no more. */
    std::chrono::milliseconds caller_waits(std::uint64_t call)
    {
        return std::chrono::milliseconds(check(msg_caller_waits(get(), call)));
    }

    /* Answers repeats from the last so many replies. It cannot be turned off. */
    void enable_reply_cache(std::uint32_t replies) { check(msg_enable_reply_cache(get(), replies)); }

    msg_call_counters call_counters() const
    {
        msg_call_counters counters;
        check(msg_call_stats(get(), &counters, sizeof counters));
        return counters;
    }

    /* Returns how many callbacks ran. Throws error, and what callbacks threw. */
    int dispatch(std::chrono::milliseconds timeout = forever)
    {
        int rc = msg_dispatch(get(), ms(timeout));
        state_->rethrow();
        return check(rc);
    }

    /* Whether every message has its outcome now. Throws error, and what callbacks threw. */
    bool flush(std::chrono::milliseconds timeout = forever)
    {
        int rc = msg_flush(get(), ms(timeout));
        state_->rethrow();
        return unless(MSG_E_TIMEOUT, rc);
    }

    /* Takes no more, and waits for the answers to the calls that were begun, whichever thread gives them, as long as their
     * callers wait; then as flush. A daemon that is away is waited for and told, but no longer than a message lives.
     * This is how a process ends whose work another one goes on with. */
    bool drain(std::chrono::milliseconds timeout = forever)
    {
        int rc = msg_drain(get(), ms(timeout));
        state_->rethrow();
        return unless(MSG_E_TIMEOUT, rc);
    }

    /* For an event loop: readable while there is something to dispatch. */
    int fd() const { return check(msg_fd(get())); }

    void wake() { check(msg_wake(get())); }
    int unresolved() const { return check(msg_unresolved(get())); }

    /* Why msgd has refused this client, MSG_E_VERSION to MSG_E_REFUSED, with its words; 0: it has not. */
    int refusal(std::string *why = nullptr) const
    {
        char words[512];
        int rc = msg_refusal(get(), words, sizeof words);
        if (why)
            *why = words;
        return rc;
    }

    msg_client *get() const noexcept { return state_->handle; }

private:
    struct state;

    /* A call that waits. It stays where it is: C knows its address. */
    struct pending {
        state *owner;
        on_result_fn done;
        std::list<pending>::iterator self;
    };

    struct served {
        state *owner = nullptr;
        on_request_fn handler;
    };

    struct state {
        msg_client *handle = nullptr;
        on_failure_fn on_failure;
        on_message_fn on_message;
        on_presence_fn on_presence;
        on_drain_fn on_drain;
        std::map<std::uint32_t, served> handlers;
        /* The lock guards what follows. */
        std::mutex lock;
        std::list<pending> calls;
        std::exception_ptr thrown;

        state() = default;
        state(const state &) = delete;
        state &operator=(const state &) = delete;

        ~state()
        {
            if (handle && msg_close(handle) < 0)
                std::terminate();
        }

        static void failed(const msg_failure *failure, void *ctx) noexcept
        {
            state *self = static_cast<state *>(ctx);
            self->run([self, failure] { self->on_failure(*failure); });
        }

        static void came(const msg_message *message, void *ctx) noexcept
        {
            state *self = static_cast<state *>(ctx);
            self->run([self, message] { self->on_message(*message); });
        }

        static void changed(const msg_presence *presence, void *ctx) noexcept
        {
            state *self = static_cast<state *>(ctx);
            self->run([self, presence] { self->on_presence(*presence); });
        }

        static void asked(int cause, void *ctx) noexcept
        {
            state *self = static_cast<state *>(ctx);
            self->run([self, cause] { self->on_drain(cause); });
        }

        static void ended(const msg_result *result, void *ctx) noexcept
        {
            pending *waits = static_cast<pending *>(ctx);
            std::list<pending> call = waits->owner->take(waits);
            if (waits->done)
                waits->owner->run([waits, result] { waits->done(*result); });
        }

        static void called(const msg_request *request, void *ctx) noexcept
        {
            served *entry = static_cast<served *>(ctx);
            state *self = entry->owner;
            if (!self->run([entry, request] { entry->handler(*request); }))
                msg_reply_none(self->handle, request->call);
        }

        pending *add(on_result_fn done)
        {
            std::lock_guard<std::mutex> guard(lock);
            calls.push_back(pending{this, std::move(done), calls.end()});
            calls.back().self = std::prev(calls.end());
            return &calls.back();
        }

        std::list<pending> take(pending *waits)
        {
            std::list<pending> taken;
            std::lock_guard<std::mutex> guard(lock);
            taken.splice(taken.end(), calls, waits->self);
            return taken;
        }

        template <typename F> bool run(F callback) noexcept
        {
            try {
                callback();
                return true;
            } catch (...) {
                std::lock_guard<std::mutex> guard(lock);
                if (!thrown)
                    thrown = std::current_exception();
                return false;
            }
        }

        void rethrow()
        {
            std::exception_ptr first;
            {
                std::lock_guard<std::mutex> guard(lock);
                std::swap(first, thrown);
            }
            if (first)
                std::rethrow_exception(first);
        }
    };

    void open(const msg_options &options)
    {
        char why[512];
        int rc = msg_open_explained(&options, &state_->handle, why, sizeof why);
        if (rc < 0)
            throw error(rc, why);
    }

    static int check(int rc)
    {
        if (rc < 0)
            throw error(rc);
        return rc;
    }

    /* False for what is no error to the caller. */
    static bool unless(int code, int rc)
    {
        if (rc == code)
            return false;
        check(rc);
        return true;
    }

    static msg_call_options within(std::chrono::milliseconds timeout)
    {
        msg_call_options options = msg_call_options();
        /* None, or one that is too long, is refused by the call. */
        const auto most = std::numeric_limits<std::uint32_t>::max();
        const auto count = timeout.count() < 0 ? 0 : timeout.count();
        options.timeout_ms = count > most ? most : static_cast<std::uint32_t>(count);
        return options;
    }

    static int ms(std::chrono::milliseconds timeout)
    {
        const auto most = std::numeric_limits<int>::max();
        if (timeout.count() < 0)
            return -1;
        return timeout.count() > most ? most : static_cast<int>(timeout.count());
    }

    /* Callbacks know where it is, so it stays there when the client is moved. */
    std::unique_ptr<state> state_;
};

} // namespace msg

#endif /* LIBMSG_HPP */
