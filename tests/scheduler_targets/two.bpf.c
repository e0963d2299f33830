// SPDX-License-Identifier: MIT
// Nobody compiles it: the stand-in for the ktstr command copies its arguments.
