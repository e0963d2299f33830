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

/// A text to make an error of, in whatever it is: strings would be made, and unmade on every way out, at each of
/// hundreds of places.
class error_words {
public:
    error_words() = default;
    error_words(const char* text) noexcept : text_(text) {}
    error_words(const std::string& text) noexcept : text_(text) {}
    error_words(std::string_view text) noexcept : text_(text) {}
    template <class Path>
    requires requires(const Path& path) { path.native().size(); }
    error_words(const Path& path) noexcept : text_(path.native()) {}

    [[nodiscard]] std::string_view text() const noexcept { return text_; }

private:
    std::string_view text_;
};

/// An error whose reason is a sentence instead of an errno. Never inline: made where all is lost, and hundreds of
/// times.
[[nodiscard, gnu::cold, gnu::noinline]] inline error plain_error(error_words what,
                                                                 error_words object,
                                                                 error_words reason,
                                                                 error_words hint = {}) {
    return {std::string(what.text()), std::string(object.text()), std::string(reason.text()),
            std::string(hint.text()), 0};
}

/// An error from the calling thread's errno (or `code`), with its text as the reason.
[[nodiscard, gnu::cold, gnu::noinline]] inline error system_error(error_words what,
                                                                  error_words object,
                                                                  error_words hint = {},
                                                                  int code = errno) {
    error made = plain_error(what, object, std::strerror(code), hint);
    made.code = code;
    return made;
}

}  // namespace ktstr
