// SPDX-License-Identifier: MIT
// A second scheduler in the machine, which the body itself loads with the libbpf that its program has by ktstr::bpf. A file
// of its own, so that the test file shows that it needs none of libbpf's headers.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cstdint>

namespace {
bpf_object* loaded = nullptr;
bpf_link* attached = nullptr;
}  // namespace

/// Loads it and does not attach it; its count of enqueued tasks is not the one of a scheduler that is.
bool load_second(const char* path, std::uint64_t count) {
    loaded = bpf_object__open_file(path, nullptr);
    if (loaded == nullptr || bpf_object__load(loaded) != 0)
        return false;
    const std::uint32_t first = 0;
    bpf_map* const counts = bpf_object__find_map_by_name(loaded, "counts");
    return counts != nullptr &&
           bpf_map_update_elem(bpf_map__fd(counts), &first, &count, BPF_ANY) == 0;
}

bool attach_second() {
    attached = bpf_map__attach_struct_ops(bpf_object__find_map_by_name(loaded, "keeper"));
    return attached != nullptr;
}

void end_second() {
    bpf_link__destroy(attached);
    bpf_object__close(loaded);
}
