// SPDX-License-Identifier: MIT
// The machine's own package tool with a configuration of ours: its mirror, keys and proxies, but
// other suites, and lists and downloads in our cache. Edits nothing of the system's, runs none of
// its hooks, needs no privileges. Debian only. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/packages/apt_sources.hpp>
#include <ktstr/host/packages/version.hpp>
#include <ktstr/host/process/run_tool.hpp>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ktstr::host {

/// A version of a package that a suite offers.
struct apt_package {
    std::string name, version, depends, suite;
    std::uint64_t download_size = 0;
};

namespace detail {

/// Runs apt or dpkg; a failure carries the first thing it complained of, and a full disk is told
/// as one.
inline result<tool_output> run_package_tool(tool_command command, std::string what,
                                            const std::string& object,
                                            const std::filesystem::path& writes_to) {
    const std::string name = command.argv.front();
    command.timeout = std::chrono::minutes(30);
    auto output = run_tool(std::move(command));
    if (!output || output->exit_code == 0)
        return output;
    for (const std::string_view sign : {"No space left on device", "Disk quota exceeded"})
        if (output->err.find(sign) != std::string::npos)
            return cache_error(what + ' ' + object + " in", writes_to, ENOSPC);
    if (const auto space = require_space(writes_to, std::uint64_t{1} << 20, what + ' ' + object);
        !space)
        return space.error();
    std::string said = last_line(output->err);
    for (const std::string_view line : lines_of(output->err))
        if (line.starts_with("E: ")) {
            said = line.substr(3);
            break;
        }
    return plain_error(std::move(what), object, name + ": " + said,
                       "check the network and this machine's package sources");
}

/// The value of "Field: value" in a stanza; fields of several lines give the first.
inline std::string_view stanza_field(std::string_view stanza, std::string_view field) {
    for (std::size_t at = stanza.find(field); at != std::string_view::npos;
         at = stanza.find(field, at + 1))
        if (at == 0 || stanza[at - 1] == '\n') {
            std::string_view value = stanza.substr(at + field.size());
            value = value.substr(0, value.find('\n'));
            return value.substr(std::min(value.find_first_not_of(' '), value.size()));
        }
    return {};
}

}  // namespace detail

/// The packages in a Packages index whose name pleases `wanted`.
[[nodiscard]] inline std::vector<apt_package> parse_packages(
    std::string_view index, const std::string& suite,
    const std::function<bool(std::string_view)>& wanted) {
    std::vector<apt_package> found;
    while (!index.empty()) {
        const std::size_t end = std::min(index.find("\n\n"), index.size());
        const std::string_view stanza = index.substr(0, end);
        index.remove_prefix(std::min(end + 2, index.size()));
        const std::string_view name = detail::stanza_field(stanza.substr(0, 256), "Package:");
        if (name.empty() || !wanted(name))
            continue;
        apt_package package;
        package.name = name;
        package.version = detail::stanza_field(stanza, "Version:");
        package.depends = detail::stanza_field(stanza, "Depends:");
        package.suite = suite;
        const std::string_view size = detail::stanza_field(stanza, "Size:");
        std::from_chars(size.data(), size.data() + size.size(), package.download_size);
        found.push_back(std::move(package));
    }
    return found;
}

class private_apt {
public:
    /// Reads the machine's sources. Fails, naming the alternatives, on other distributions.
    static result<private_apt> open(const cache& in, progress_callback progress) {
        const os_release os = read_os_release();
        const auto refuse = [&](std::string reason) {
            return plain_error("get packages for",
                               os.pretty_name.empty() ? std::string("this system") : os.pretty_name,
                               std::move(reason),
                               "pass a kernel with --kernel PATH (image, build tree or unpacked "
                               "package), or --kernel host");
        };
        if (os.id != "debian")
            return refuse("only Debian's archive is known here so far");
        if (!find_tool("apt-get") || !find_tool("dpkg-deb"))
            return refuse("apt-get or dpkg-deb is missing");
        if (os.codename.empty())
            return refuse("/etc/os-release names no VERSION_CODENAME");
        auto source = main_archive(system_sources(), os);
        if (!source)
            return refuse("/etc/apt has no source with component main for " + os.codename);
        auto architecture = run_tool_ok({{"dpkg", "--print-architecture"}}, "ask dpkg for",
                                        "this machine's architecture");
        if (!architecture)
            return architecture.error();
        auto work = temporary_directory::create(in.temporary_parent());
        if (!work)
            return work.error();
        private_apt apt(in, std::move(progress), *std::move(source), os.codename,
                        detail::last_line(architecture->out), *std::move(work));
        if (auto written = apt.write_configuration(); !written)
            return written.error();
        return apt;
    }

    [[nodiscard]] const std::string& codename() const { return codename_; }
    [[nodiscard]] const std::string& architecture() const { return architecture_; }

    /// The packages a suite offers; its lists are fetched when missing or older than a day. With
    /// the network away, older lists serve.
    result<std::vector<apt_package>> packages(const std::string& suite,
                                              const std::function<bool(std::string_view)>& wanted) {
        const auto lists = lists_of(suite);
        if (!lists)
            return lists.error();
        auto index = index_of(suite, *lists);
        if (!index)
            return index.error();
        return parse_packages(*index, suite, wanted);
    }

    /// Downloads packages, verified against the suite's signed lists, into `directory`.
    result<std::vector<std::filesystem::path>> download(const std::vector<apt_package>& packages,
                                                        const std::filesystem::path& directory) {
        std::error_code failed;
        std::filesystem::create_directories(directory, failed);
        if (failed)
            return cache_error("create", directory, failed.value());
        for (const apt_package& package : packages) {
            const auto lists = lists_of(package.suite);
            if (!lists)
                return lists.error();
            say("downloading " + package.name + ' ' + package.version + " from " + package.suite +
                " (" + std::to_string((package.download_size + 524288) >> 20) + " MiB)");
            tool_command command;
            command.argv = arguments(lists->path / "lists", package.suite);
            command.argv.insert(command.argv.begin(), "apt-get");
            command.argv.insert(command.argv.end(),
                                {"download", package.name + '=' + package.version});
            command.directory = directory;
            command.environment = environment();
            if (auto done = detail::run_package_tool(std::move(command), "download", package.name,
                                                     directory);
                !done)
                return done.error();
        }
        std::vector<std::filesystem::path> files;
        for (std::filesystem::directory_iterator at(directory, failed), end; !failed && at != end;
             at.increment(failed))
            if (at->path().extension() == ".deb")
                files.push_back(at->path());
        std::sort(files.begin(), files.end());
        if (files.size() < packages.size())
            return plain_error("download", packages.front().name,
                               "apt-get ended well but left no package");
        return files;
    }

    /// Unpacks a package's files, without running its scripts, and deletes the package.
    static result<void> unpack(const std::filesystem::path& package,
                               const std::filesystem::path& root) {
        if (auto done =
                detail::run_package_tool({{"dpkg-deb", "-x", package.string(), root.string()}},
                                         "unpack", package.filename().string(), root.parent_path());
            !done)
            return done.error();
        std::error_code ignored;
        std::filesystem::remove(package, ignored);
        return {};
    }

    void say(const std::string& line) const {
        if (progress_)
            progress_(line);
    }

private:
    private_apt(const cache& in, progress_callback progress, apt_source source,
                std::string codename, std::string architecture, temporary_directory work)
        : in_(in),
          progress_(std::move(progress)),
          source_(std::move(source)),
          codename_(std::move(codename)),
          architecture_(std::move(architecture)),
          work_(std::move(work)) {}

    [[nodiscard]] std::vector<std::string> environment() const {
        return {"APT_CONFIG=" + (work_.path() / "apt.conf").string()};
    }

    /// The system's settings for downloads (proxies, certificates) and nothing else of it: hooks
    /// such as APT::Update::Post-Invoke would act on the system's own cache.
    result<void> write_configuration() {
        auto system = run_tool_ok({{"apt-config", "dump", "Acquire"}}, "read", "apt's settings");
        if (!system)
            return system.error();
        std::string text = std::move(system->out);
        text +=
            "Dir::Etc::main \"/dev/null\";\n"
            "Dir::Etc::parts \"/dev/null\";\n"
            "Dir::Etc::sourcelist \"/dev/null\";\n"
            "Dir::Etc::preferences \"/dev/null\";\n"
            "Dir::Etc::preferencesparts \"/dev/null\";\n"
            "Dir::Cache::pkgcache \"\";\n"
            "Dir::Cache::srcpkgcache \"\";\n"
            "Acquire::Languages \"none\";\n"
            "Acquire::GzipIndexes \"true\";\n"
            "APT::Get::List-Cleanup \"false\";\n"
            "APT::Update::Error-Mode \"any\";\n"
            // apt's own user cannot enter a cache below somebody's home directory.
            "APT::Sandbox::User \"root\";\n";
        return detail::write_text(work_.path() / "apt.conf", text);
    }

    /// Options that point apt at one suite and at our directories.
    [[nodiscard]] std::vector<std::string> arguments(const std::filesystem::path& lists,
                                                     const std::string& suite) const {
        const std::filesystem::path here = work_.path() / suite;
        std::error_code ignored;
        std::filesystem::create_directories(here / "cache/archives/partial", ignored);
        std::filesystem::create_directories(here / "state", ignored);
        std::filesystem::create_directories(here / "sources", ignored);
        (void)detail::write_text(here / "state/status", "");
        std::string text = "Types: deb\nURIs: " + source_.uris.front() + "\nSuites: " + suite +
                           "\nComponents: main\nArchitectures: " + architecture_ + '\n';
        std::string key = source_.signed_by;
        constexpr const char* keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        if (key.empty() && std::filesystem::exists(keyring, ignored))
            key = keyring;
        if (!key.empty())
            text += "Signed-By: " + key + '\n';
        if (source_.trusted)
            text += "Trusted: yes\n";
        (void)detail::write_text(here / "sources/ktstr.sources", text);
        std::vector<std::string> options;
        const auto set = [&](const std::string& name, const std::filesystem::path& value) {
            options.insert(options.end(), {"-o", name + '=' + value.string()});
        };
        set("Dir::State", here / "state");
        set("Dir::State::status", here / "state/status");
        set("Dir::State::lists", lists);
        set("Dir::Cache", here / "cache");
        set("Dir::Etc::sourceparts", here / "sources");
        return options;
    }

    result<void> update(const std::string& suite, const std::filesystem::path& directory) {
        say("reading the package lists of " + suite);
        const std::filesystem::path lists = directory / "lists";
        std::error_code failed;
        std::filesystem::create_directories(lists / "partial", failed);
        if (failed)
            return cache_error("create", lists, failed.value());
        tool_command command;
        command.argv = arguments(lists, suite);
        command.argv.insert(command.argv.begin(), "apt-get");
        command.argv.emplace_back("update");
        command.environment = environment();
        if (auto done = detail::run_package_tool(std::move(command), "read the package lists of",
                                                 suite, directory);
            !done)
            return done.error();
        for (const char* leftover : {"partial", "auxfiles", "lock"})
            std::filesystem::remove_all(lists / leftover, failed);
        if (index_files(lists).empty())
            return plain_error("read the package lists of", suite, "the mirror has none",
                               "check this machine's package sources");
        return {};
    }

    static std::vector<std::string> index_files(const std::filesystem::path& lists) {
        std::vector<std::string> files;
        std::error_code failed;
        for (std::filesystem::directory_iterator at(lists, failed), end; !failed && at != end;
             at.increment(failed))
            if (at->path().filename().string().find("_Packages") != std::string::npos)
                files.push_back(at->path().string());
        return files;
    }

    result<cache_entry> lists_of(const std::string& suite) {
        if (const auto known = lists_.find(suite); known != lists_.end())
            return known->second;
        content_hash mirror;
        mirror.add(std::string_view{source_.uris.front()}).add(std::string_view{architecture_});
        const std::string key = suite + '-' + mirror.hex().substr(0, 8);
        cache::make_options options;
        options.what = "the package lists of " + suite;
        options.progress = progress_;
        options.durable = false;
        auto entry = in_.obtain_if(
            "apt", key, options,
            [&](const std::filesystem::path& directory) { return update(suite, directory); },
            [](const cache_entry& there) {
                std::error_code failed;
                const auto made =
                    std::filesystem::last_write_time(there.path / manifest_name, failed);
                return !failed && std::filesystem::file_time_type::clock::now() - made <
                                      std::chrono::hours(24);
            });
        if (!entry) {
            auto old = in_.find("apt", key);
            if (!old || entry.error().code == ENOSPC)
                return entry;
            say("using older package lists of " + suite + ": " + entry.error().message());
            entry = *std::move(old);
        }
        lists_.emplace(suite, *entry);
        return entry;
    }

    result<std::string> index_of(const std::string& suite, const cache_entry& lists) {
        tool_command command;
        command.argv = {"/usr/lib/apt/apt-helper", "cat-file"};
        for (std::string& file : index_files(lists.path / "lists"))
            command.argv.push_back(std::move(file));
        command.environment = environment();
        auto output = run_tool_ok(std::move(command), "read the package lists of", suite);
        if (!output)
            return output.error();
        return std::move(output->out);
    }

    cache in_;
    progress_callback progress_;
    apt_source source_;
    std::string codename_, architecture_;
    temporary_directory work_;
    std::map<std::string, cache_entry> lists_;
};

}  // namespace ktstr::host
