// SPDX-License-Identifier: MIT
// What went wrong, told once: what was tried, on which object, with which errno, and what the
// reader can do about it. Not an exception type: see result.hpp for how errors travel.
// Runs on both sides.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace ktstr {

/// One failure. `message()` renders "cannot WHAT OBJECT: REASON; HINT" on one line.
struct error {
    std::string what;    ///< what was tried, in the infinitive: "open", "start the guest kernel"
    std::string object;  ///< the path, address, test or command it was tried on; may be empty
    std::string reason;  ///< why it failed: errno text or a value; may be empty
    std::string hint;    ///< what the user can do; may be empty
    int code = 0;        ///< errno where there is one, else 0

    [[nodiscard]] std::string message() const {
        std::string text = "cannot " + what;
        if (!object.empty())
            text += ' ' + object;
        if (!reason.empty())
            text += ": " + reason;
        if (!hint.empty())
            text += "; " + hint;
        return text;
    }
};

/// An error from the calling thread's errno (or `code`), with its text as the reason.
[[nodiscard]] inline error system_error(std::string what, std::string object, std::string hint = {},
                                        int code = errno) {
    return {std::move(what), std::move(object), std::strerror(code), std::move(hint), code};
}

/// An error whose reason is a sentence instead of an errno.
[[nodiscard]] inline error plain_error(std::string what, std::string object, std::string reason,
                                       std::string hint = {}) {
    return {std::move(what), std::move(object), std::move(reason), std::move(hint), 0};
}

}  // namespace ktstr
