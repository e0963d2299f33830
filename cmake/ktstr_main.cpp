// SPDX-License-Identifier: MIT
#include <ktstr/main.hpp>
