/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * libmsg for C++11 and later: msg::client owns a msg_client, callbacks are any callable, errors are exceptions. Header only;
 * what the calls do is in libmsg.h.
 *
 *     msg::client client(100);
 *     client.on_message([&](const msg_message &m) { client.send(m.src, m.data, m.len); });
 *     while (running) client.dispatch(std::chrono::seconds(1));
 *
 * EXCEPTIONS. What a callback throws does not cross the C library: the first exception is kept, the callbacks of what was
 * already read still run, and the dispatch or flush that ran them throws it when it is done (of those that a send
 * with MSG_F_WAIT ran, the next one).
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
#include <limits>
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

/* No limit to how long a call waits. */
constexpr std::chrono::milliseconds forever(-1);

class client {
public:
    using on_failure_fn = std::function<void(const msg_failure &)>;
    using on_message_fn = std::function<void(const msg_message &)>;

    /* Connects. Throws error, whose text says where, why, and what to do. */
    explicit client(const msg_options &options) : state_(new state) { open(options); }

    /* With the daemon's defaults, at its default socket. */
    explicit client(std::uint32_t clientid) : state_(new state)
    {
        msg_options options;
        msg_options_init(&options);
        options.clientid = clientid;
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
        if (rc == MSG_E_AGAIN)
            return false;
        check(rc);
        return true;
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
        if (rc == MSG_E_TIMEOUT)
            return false;
        check(rc);
        return true;
    }

    /* For an event loop: readable while there is something to dispatch. */
    int fd() const { return check(msg_fd(get())); }

    void wake() { check(msg_wake(get())); }
    int unresolved() const { return check(msg_unresolved(get())); }
    msg_client *get() const noexcept { return state_->handle; }

private:
    struct state {
        msg_client *handle = nullptr;
        on_failure_fn on_failure;
        on_message_fn on_message;
        std::mutex lock;
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

        template <typename F> void run(F callback) noexcept
        {
            try {
                callback();
            } catch (...) {
                std::lock_guard<std::mutex> guard(lock);
                if (!thrown)
                    thrown = std::current_exception();
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
