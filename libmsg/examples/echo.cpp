/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * Echo in C++, with libmsg.hpp.
 *
 *     c++ -std=c++11 echo.cpp $(pkg-config --cflags --libs libmsg) -o echo_cpp
 *     ./echo_cpp 100 200 hello 1000
 *
 * Client 200, in a thread of its own, sends back what client 100 sends; both end when all has come back.
 */
#include <libmsg.hpp>

#include <iostream>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

/* Serves until somebody sends nothing. */
void serve(msg::client &server)
{
    bool stop = false;
    server.on_message([&](const msg_message &message) {
        if (message.len == 0)
            stop = true;
        else
            server.send(message.src, message.data, message.len);
    });
    while (!stop)
        server.dispatch();
    server.flush();
}

long ask(msg::client &asker, std::uint32_t dst, const std::string &text, long count)
{
    long echoes = 0, failures = 0;
    asker.on_failure([&](const msg_failure &failure) {
        failures++;
        std::cerr << "message " << failure.msgid << " failed: " << msg_reason_name(failure.reason) << '\n';
    });
    asker.on_message([&](const msg_message &message) {
        if (text != std::string(static_cast<const char *>(message.data), message.len))
            throw std::runtime_error("the echo is another one");
        echoes++;
    });
    /* As many on their way as the server has room to answer. */
    long sent = 0;
    while (echoes + failures < count) {
        for (; sent < count && sent - echoes - failures < 256; sent++)
            asker.send(dst, text, "echo " + std::to_string(sent + 1), MSG_F_MORE);
        asker.dispatch();
    }
    asker.send(dst, "");
    asker.flush();
    std::cout << echoes << " echoes, " << failures << " failures\n";
    return failures;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 5) {
        std::cerr << "usage: " << argv[0] << " CLIENTID DST TEXT COUNT\n";
        return 2;
    }
    try {
        const std::uint32_t dst = static_cast<std::uint32_t>(std::stoul(argv[2]));
        msg::client server(dst);
        msg::client asker(static_cast<std::uint32_t>(std::stoul(argv[1])));
        std::thread thread([&] {
            try {
                serve(server);
            } catch (const std::exception &e) {
                std::cerr << "serving: " << e.what() << '\n';
            }
        });
        long failures = 0;
        try {
            failures = ask(asker, dst, argv[3], std::stol(argv[4]));
        } catch (...) {
            asker.send(dst, "");
            thread.join();
            throw;
        }
        thread.join();
        return failures > 0;
    } catch (const std::exception &e) {
        std::cerr << e.what() << '\n';
        return 1;
    }
}
