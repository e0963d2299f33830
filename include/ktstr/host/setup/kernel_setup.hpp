// SPDX-License-Identifier: MIT
// What belongs to one kernel of a run: itself, the link that its guests have on this host, and the
// modules for it. Made once for each kernel that a cell needs. Host side.
#pragma once

#include <ktstr/base/result.hpp>
#include <ktstr/host/cache/content_hash.hpp>
#include <ktstr/host/cli/options.hpp>
#include <ktstr/host/initramfs/opened_file.hpp>
#include <ktstr/host/kernel/modules.hpp>
#include <ktstr/host/kernel/needs.hpp>
#include <ktstr/host/kernel/resolve_kernel.hpp>
#include <ktstr/host/link/host_link.hpp>
#include <ktstr/host/setup/host_facts.hpp>
#include <ktstr/host/vm/machine.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

namespace ktstr::host {

struct kernel_setup {
    host::kernel kernel;
    std::optional<kernel_config> config;
    std::optional<file_identity> image;  ///< as the run found it
    link_kind link = link_kind::virtio_serial;
    std::vector<module_file> link_modules;  ///< what the guest loads to have the link
    std::string why_cold;  ///< why no machine with this kernel can be a clone; empty: they can
    link_kind clone_link = link_kind::virtio_serial;
    std::vector<module_file> template_modules;  ///< what a template loads
};

/// Whether another file, or none, lies where the kernel's image was. QEMU opens it anew for every machine.
[[nodiscard]] inline bool kernel_replaced(const kernel_setup& setup) {
    const auto now = identity_of(setup.kernel.image);
    return setup.image && (!now || !same_bytes(*now, *setup.image));
}

/// The modules by which a guest of this kernel reaches its link.
[[nodiscard]] inline std::vector<std::string_view> modules_of_link(
    const std::optional<kernel_config>& config, link_kind link) {
    auto names = first_modules(config);
    if (link == link_kind::virtio_serial)
        names.insert(names.end(), virtio_serial_modules.begin(), virtio_serial_modules.end());
    else
        names.insert(names.end(), vsock_modules.begin(), vsock_modules.end());
    return names;
}

namespace detail {

/// Whether machines with this kernel can be clones, and over which link. The user-space vsock device is
/// not one for them: it needs memory that both processes write.
inline void prepare_clones(kernel_setup& setup, const host_facts& host, const options& wanted,
                           const module_index* index) {
    if (wanted.no_clone)
        setup.why_cold = "--no-clone";
    else if (wanted.verbose)
        setup.why_cold = "--verbose shows the kernel's boot";
    else if (wanted.internal.link == link_kind::vhost_device_vsock)
        setup.why_cold = "the vhost-device-vsock link can't be cloned";
    if (!setup.why_cold.empty())
        return;
    setup.clone_link = wanted.internal.link.value_or(
        host.links.vhost_vsock ? link_kind::vhost_vsock : link_kind::virtio_serial);
    const bool vsock = setup.clone_link == link_kind::vhost_vsock;
    if (setup.config)
        if (const auto missing = check_config(
                *setup.config,
                kernel_need::clone | (vsock ? kernel_need::vsock : kernel_need::virtio_serial));
            !missing.empty()) {
            setup.why_cold = "kernel " + setup.kernel.release + " has " + missing.front().option +
                             '=' + missing.front().found + ": " + missing.front().why;
            return;
        }
    auto names = modules_of_link(setup.config, setup.clone_link);
    names.insert(names.end(), clone_modules.begin(), clone_modules.end());
    if (index == nullptr)
        return;
    auto modules = modules_for(setup.kernel, *index, names);
    if (modules)
        setup.template_modules = std::move(*modules);
    else
        setup.why_cold = modules.error().message();
}

}  // namespace detail

/// Gets the kernel that was asked for, and sees what its guests can do on this host.
[[nodiscard]] inline result<kernel_setup> prepare_kernel(const host_facts& host,
                                                         const options& wanted,
                                                         const std::string& spec,
                                                         const progress_callback& progress) {
    kernel_setup setup;
    auto kernel = resolve_kernel({.spec = spec, .progress = progress});
    if (!kernel)
        return std::move(kernel).error();
    setup.kernel = std::move(*kernel);
    if (const auto image = identity_of(setup.kernel.image))
        setup.image = *image;
    setup.link = wanted.internal.link.value_or(choose_link(host.links));
    if (setup.link == link_kind::vhost_vsock && !host.links.vhost_vsock)
        return plain_error("use", "the vhost-vsock link", host.links.vhost_vsock_why_not);
    if (setup.link == link_kind::vhost_device_vsock && host.links.vhost_device_vsock.empty())
        return plain_error("find", "vhost-device-vsock", "it is neither in PATH nor in the cache",
                           "ktstr package fetch vhost-device-vsock");
    if (!setup.kernel.config.empty()) {
        auto config = kernel_config::read(setup.kernel.config);
        if (!config)
            return std::move(config).error();
        setup.config = std::move(*config);
    }
    if (setup.config) {
        // A kernel without vsock still has virtio-serial; only without either is it unusable.
        const bool vsock = check_config(*setup.config, kernel_need::vsock).empty();
        if (!vsock && !wanted.internal.link)
            setup.link = link_kind::virtio_serial;
        const auto need =
            native_needs | (setup.link == link_kind::virtio_serial ? kernel_need::virtio_serial
                                                                   : kernel_need::vsock);
        if (const auto missing = check_config(*setup.config, need); !missing.empty())
            return plain_error("use kernel", setup.kernel.release,
                               "it has " + missing.front().option + '=' + missing.front().found +
                                   ", and " + missing.front().wanted +
                                   " is needed: " + missing.front().why,
                               missing.size() > 1 ? std::to_string(missing.size() - 1) +
                                                        " more are missing, see `ktstr kernel show`"
                                                  : "use --kernel distro");
    }
    const auto names = modules_of_link(setup.config, setup.link);
    std::optional<detail::module_index> index;
    if (!setup.kernel.modules.empty()) {
        index.emplace(setup.kernel.modules);
        auto modules = modules_for(setup.kernel, *index, names);
        if (!modules)
            return std::move(modules).error();
        for (const auto& module : *modules)
            if (::access(module.path.c_str(), R_OK) != 0)
                return system_error("use kernel " + setup.kernel.release + " without its module",
                                    module.path.string(),
                                    "put the kernel's modules back, or use --kernel distro");
        setup.link_modules = std::move(*modules);
    }
    detail::prepare_clones(setup, host, wanted, index ? &*index : nullptr);
    return setup;
}

}  // namespace ktstr::host
