// SPDX-License-Identifier: MIT
// Reads, and only reads, where this machine gets its packages from: both formats of
// sources.list(5), and os-release. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/manifest.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ktstr::host {

/// One source of binary packages.
struct apt_source {
    std::vector<std::string> uris, suites, components;
    std::string signed_by;  ///< as written: paths, a fingerprint, or a key of several lines
    bool trusted = false;
};

struct os_release {
    std::string id, codename, pretty_name;
};

namespace detail {

inline std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : text) {
        if (c != ' ' && c != '\t' && c != '\n') {
            word += c;
        } else if (!word.empty()) {
            words.push_back(std::move(word));
            word.clear();
        }
    }
    if (!word.empty())
        words.push_back(std::move(word));
    return words;
}

inline std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const std::size_t newline = text.find('\n');
        std::string_view line = text.substr(0, newline);
        if (!line.empty() && line.back() == '\r')
            line.remove_suffix(1);
        lines.push_back(line);
        text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    }
    return lines;
}

inline std::string lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return out;
}

}  // namespace detail

/// The lines "deb [option=value] URI SUITE COMPONENT..." of a .list file.
[[nodiscard]] inline std::vector<apt_source> parse_sources_list(std::string_view text) {
    std::vector<apt_source> found;
    for (std::string_view line : detail::lines_of(text)) {
        line = line.substr(0, line.find('#'));
        apt_source source;
        std::string_view options;
        std::string rest(line);
        if (const std::size_t open = line.find('['); open != std::string_view::npos) {
            const std::size_t close = line.find(']', open);
            if (close == std::string_view::npos)
                continue;
            options = line.substr(open + 1, close - open - 1);
            rest = std::string(line.substr(0, open)) + ' ' + std::string(line.substr(close + 1));
        }
        const std::vector<std::string> words = detail::words_of(rest);
        if (words.size() < 4 || words[0] != "deb")
            continue;
        source.uris = {words[1]};
        source.suites = {words[2]};
        source.components.assign(words.begin() + 3, words.end());
        for (const std::string& option : detail::words_of(options)) {
            const std::size_t equals = option.find('=');
            const std::string name = detail::lower(option.substr(0, equals));
            if (equals == std::string::npos)
                continue;
            if (name == "signed-by")
                source.signed_by = option.substr(equals + 1);
            if (name == "trusted")
                source.trusted = option.substr(equals + 1) == "yes";
        }
        std::replace(source.signed_by.begin(), source.signed_by.end(), ',', ' ');
        found.push_back(std::move(source));
    }
    return found;
}

/// The stanzas of a .sources file.
[[nodiscard]] inline std::vector<apt_source> parse_deb822_sources(std::string_view text) {
    std::vector<apt_source> found;
    std::map<std::string, std::string> fields;
    std::string current;
    const auto finish = [&] {
        const std::vector<std::string> types = detail::words_of(fields["types"]);
        const bool enabled = detail::lower(fields["enabled"]).find("no") == std::string::npos;
        if (enabled && std::find(types.begin(), types.end(), "deb") != types.end()) {
            apt_source source;
            source.uris = detail::words_of(fields["uris"]);
            source.suites = detail::words_of(fields["suites"]);
            source.components = detail::words_of(fields["components"]);
            source.signed_by = fields["signed-by"];
            source.trusted = fields["trusted"] == "yes";
            if (!source.uris.empty())
                found.push_back(std::move(source));
        }
        fields.clear();
        current.clear();
    };
    for (const std::string_view line : detail::lines_of(text)) {
        if (line.starts_with('#'))
            continue;
        if (line.find_first_not_of(" \t") == std::string_view::npos) {
            finish();
        } else if (line.front() == ' ' || line.front() == '\t') {
            if (!current.empty())
                fields[current] += '\n' + std::string(line);
        } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
            current = detail::lower(line.substr(0, colon));
            const std::size_t start = line.find_first_not_of(" \t", colon + 1);
            fields[current] = start == std::string_view::npos ? "" : line.substr(start);
        }
    }
    finish();
    return found;
}

/// Every source of binary packages that the machine has configured.
[[nodiscard]] inline std::vector<apt_source> system_sources(
    const std::filesystem::path& apt_directory = "/etc/apt") {
    std::vector<apt_source> found;
    const auto add = [&](std::vector<apt_source> more) {
        found.insert(found.end(), more.begin(), more.end());
    };
    if (const auto text = detail::read_text(apt_directory / "sources.list"))
        add(parse_sources_list(*text));
    std::set<std::filesystem::path> parts;  // in the order of their names, as apt reads them
    std::error_code failed;
    for (std::filesystem::directory_iterator at(apt_directory / "sources.list.d", failed), end;
         !failed && at != end; at.increment(failed))
        parts.insert(at->path());
    for (const std::filesystem::path& part : parts) {
        const auto text = detail::read_text(part);
        if (text && part.extension() == ".list")
            add(parse_sources_list(*text));
        if (text && part.extension() == ".sources")
            add(parse_deb822_sources(*text));
    }
    return found;
}

namespace detail {

/// Who makes what lies at a source, by the Release file that apt keeps of it ("Debian"); empty when apt
/// has none yet.
inline std::string origin_of(const apt_source& source, std::string_view suite,
                             const std::filesystem::path& lists) {
    for (const std::string& uri : source.uris) {
        const std::size_t scheme = uri.find("://");
        std::string name = scheme == std::string::npos ? uri : uri.substr(scheme + 3);
        while (!name.empty() && name.back() == '/')
            name.pop_back();
        std::replace(name.begin(), name.end(), '/', '_');
        name += "_dists_" + std::string(suite);
        for (const char* kind : {"_InRelease", "_Release"})
            if (const auto text = read_text(lists / (name + kind)))
                for (const std::string_view line : lines_of(*text))
                    if (constexpr std::string_view key = "Origin: "; line.starts_with(key))
                        return std::string(line.substr(key.size()));
    }
    return {};
}

}  // namespace detail

/// The source of the distribution's main archive for a release, among all sources. Others may serve the
/// same codename and component: of several, the one that says it is the distribution's, else one with
/// the distribution's keyring, else one that also serves the release's updates. One that says it is
/// another's comes last.
[[nodiscard]] inline std::optional<apt_source> main_archive(
    const std::vector<apt_source>& sources, const os_release& os,
    const std::filesystem::path& lists = "/var/lib/apt/lists") {
    const auto has = [](const std::vector<std::string>& list, std::string_view word) {
        return std::find(list.begin(), list.end(), word) != list.end();
    };
    const auto likeness = [&](const apt_source& source, std::string_view suite) {
        if (const std::string origin = detail::origin_of(source, suite, lists); !origin.empty())
            return detail::lower(origin) == os.id ? 4 : 0;  // a mirror may say its owner's name
        if (source.signed_by.find(os.id + "-archive-keyring") != std::string::npos)
            return 3;
        for (const apt_source& other : sources)
            if (other.uris == source.uris && has(other.suites, std::string(suite) + "-updates"))
                return 2;
        return 1;
    };
    for (const std::string_view suite :
         {std::string_view(os.codename), std::string_view("stable"), std::string_view("oldstable"),
          std::string_view("testing"), std::string_view("sid"), std::string_view("unstable")}) {
        const apt_source* best = nullptr;
        int best_likeness = -1;
        for (const apt_source& source : sources)
            if (has(source.suites, suite) && has(source.components, "main"))
                if (const int like = likeness(source, suite); like > best_likeness) {
                    best = &source;
                    best_likeness = like;
                }
        if (best != nullptr)
            return *best;
    }
    return std::nullopt;
}

[[nodiscard]] inline os_release read_os_release(
    const std::filesystem::path& file = "/etc/os-release") {
    os_release found;
    const auto text = detail::read_text(file);
    if (!text)
        return found;
    for (const std::string_view line : detail::lines_of(*text)) {
        const std::size_t equals = line.find('=');
        if (equals == std::string_view::npos)
            continue;
        std::string_view value = line.substr(equals + 1);
        if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') &&
            value.back() == value.front())
            value = value.substr(1, value.size() - 2);
        const std::string_view name = line.substr(0, equals);
        if (name == "ID")
            found.id = value;
        if (name == "VERSION_CODENAME")
            found.codename = value;
        if (name == "PRETTY_NAME")
            found.pretty_name = value;
    }
    return found;
}

/// Suites that may hold newer packages than this release, the nearest to it first.
[[nodiscard]] inline std::vector<std::string> later_suites(std::string_view codename) {
    constexpr std::array<std::string_view, 5> releases{"bullseye", "bookworm", "trixie", "forky",
                                                       "duke"};
    std::vector<std::string> suites;
    bool later = false;
    for (const std::string_view release : releases) {
        if (later)
            suites.emplace_back(release);
        later = later || release == codename;
        if (later)
            suites.push_back(std::string(release) + "-backports");
    }
    suites.emplace_back("sid");
    return suites;
}

}  // namespace ktstr::host
