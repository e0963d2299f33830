// SPDX-License-Identifier: MIT
// Templates with a scheduler attached: a clone of the plain template, in which the scheduler was started
// and which came to rest, saved again. Whatever decides what is attached there is in its key. And what is
// remembered of schedulers that have none. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/cache.hpp>
#include <ktstr/host/clone/machine_template.hpp>
#include <ktstr/wire/message.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/stat.h>

namespace ktstr::host {

inline constexpr std::string_view attached_kind = "attached";
/// Bytes of them that the cache keeps. Each build of a scheduler has its own.
inline constexpr std::uint64_t attached_cache_limit = std::uint64_t{4} << 30;

/// Of schedulers that were attached once, which is when a template begins to pay.
inline constexpr std::string_view attached_before_kind = "attaches";
inline constexpr std::uint64_t attached_before_limit = std::uint64_t{4} << 20;

/// Names what is attached, and to which kind of machine. `plain`: the key of the template without it;
/// `files`: the content of the disk with the scheduler, its libraries and its files; `loader`: see payload.
[[nodiscard]] inline std::string attached_key(std::string_view plain, std::string_view files,
                                              std::string_view loader,
                                              const wire::run_test& order) {
    content_hash hash;
    hash.add(std::string_view("ktstr attached template 2")).add(plain).add(files).add(loader);
    hash.add(std::string_view(order.scheduler));
    for (const auto* list : {&order.scheduler_args, &order.sysctls}) {
        hash.add(static_cast<std::uint64_t>(list->size()));
        for (const auto& word : *list)
            hash.add(std::string_view(word));
    }
    return hash.hex();
}

/// For `ktstr cache`.
[[nodiscard]] inline std::string about_attached(const template_request& request) {
    std::string text = request.attach.scheduler_name;
    for (const auto& word : request.attach.scheduler_args)
        text += ' ' + word;
    return text + " attached, " + about_template(request);
}

/// The template with a scheduler attached, from the cache or made now. `base` gives the plain one and is
/// asked only when it is made.
[[nodiscard]] inline result<machine_template> obtain_attached(
    const cache& in, const std::string& key, template_request request,
    const progress_callback& progress, const std::function<result<machine_template>()>& base,
    std::uint64_t cache_limit) {
    cache::make_options options;
    options.what = "the template with " + request.attach.scheduler_name + " attached";
    options.progress = progress;
    options.durable = false;
    options.check_every_time = [](std::string_view file) { return file == "state"; };
    bool made = false;
    const auto entry = in.obtain(
        attached_kind, key, options, [&](const std::filesystem::path& directory) -> result<void> {
            made = true;
            auto from = base();
            if (!from)
                return std::move(from).error();
            request.base = std::move(*from);
            auto m = request.machine;
            m.boot = machine::boot_kind::clone;
            m.keeps_memory = true;
            m.ram.clear();
            for (const auto& ram : request.base->ram) {
                m.ram.push_back(directory / ram.filename());
                if (auto copied = detail::copy_sparse(ram, m.ram.back()); !copied)
                    return copied;
                ::chmod(m.ram.back().c_str(), 0644);  // for whoever may read the cache
            }
            detail::template_boot boot(request, m);
            if (auto saved = boot.run(directory / "state"); !saved)
                return saved;
            if (auto written = detail::write_text(directory / "program", request.base->program_id);
                !written)
                return written;
            return detail::write_text(directory / "about", about_attached(request));
        });
    if (!entry)
        return entry.error();
    if (made)
        in.evict(attached_kind, cache_limit);
    return detail::template_in(*entry, key, attached_kind, request.machine.topology.numa_nodes);
}

/// What earlier runs know of a scheduler and a kind of machine: nothing; an empty text, that it was
/// attached there; or why it can't be in a template.
[[nodiscard]] inline std::optional<std::string> attached_before(const cache& in,
                                                                const std::string& key) {
    const auto known = in.find(attached_before_kind, key);
    const auto text =
        known ? detail::read_text(known->path / "why-not") : result<std::string>(std::string());
    return known && text ? std::optional(*text) : std::nullopt;
}

/// Leaves that word for later runs. That it can't be left costs time, and nothing else.
inline void remember_attached(const cache& in, const std::string& key, std::string_view why_not,
                              std::string_view about) {
    cache::make_options options;
    options.what = "what is known of a scheduler";
    options.durable = false;
    const auto left = in.obtain_if(
        attached_before_kind, key, options,
        [&](const std::filesystem::path& directory) -> result<void> {
            if (auto written = detail::write_text(directory / "why-not", why_not); !written)
                return written;
            return detail::write_text(directory / "about", about);
        },
        [&](const cache_entry& there) {
            const auto text = detail::read_text(there.path / "why-not");
            return text && *text == why_not;
        });
    if (left)
        in.evict(attached_before_kind, attached_before_limit);
}

}  // namespace ktstr::host
