// SPDX-License-Identifier: MIT
// `ktstr package fetch NAME...`: packages newer than this release, unpacked into the cache. Prints
// where, one directory per line. Host side.
#pragma once

#include <ktstr/host/packages/fetch_package.hpp>
#include <ktstr/host/process/stop_signal.hpp>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "subcommand.hpp"

namespace ktstr::tool {

namespace detail {

inline int fetch_packages(const std::vector<std::string>& names) {
    const host::stop_signal stop;  // ends what it waits for, in order
    const auto in = host::cache::open();
    if (!in)
        return cannot(in.error());
    auto apt = host::private_apt::open(*in, say);
    if (!apt)
        return cannot(apt.error());
    std::vector<std::string> roots;
    for (const std::string& name : names) {
        const auto package = host::fetch_package(*in, *apt, name);
        if (!package)
            return cannot(package.error());
        roots.push_back(package->root);
    }
    for (const std::string& root : roots)
        fmt::print("{}\n", root);
    return 0;
}

}  // namespace detail

inline void add_package_command(CLI::App& app, int& status) {
    CLI::App* const package =
        app.add_subcommand("package", "Packages newer than this release; nothing is installed");
    package->require_subcommand(1);
    CLI::App* const fetch =
        package->add_subcommand("fetch", "Unpack packages and print where, one per line");
    const auto names = std::make_shared<std::vector<std::string>>();
    fetch->add_option("NAME", *names, "NAME, or NAME/SUITE")->required();
    fetch->callback([=, &status] { status = detail::fetch_packages(*names); });
}

}  // namespace ktstr::tool
