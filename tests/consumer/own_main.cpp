// SPDX-License-Identifier: MIT
// A user's main() that has ktstr's command line as one of its commands.
#include <ktstr/embed.hpp>

#include <cstdio>
#include <string_view>

int main(int argc, char** argv) {
    if (const auto status = ktstr::take_role(argc, argv))
        return *status;
    if (argc > 1 && std::string_view(argv[1]) == "greet") {
        std::puts("my own main");
        return 0;
    }
    return ktstr::run(argc, argv);
}
