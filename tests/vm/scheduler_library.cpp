// SPDX-License-Identifier: MIT
// Libraries that a scheduler needs and no test program does: one, and one below it.
int scheduler_library();
int scheduler_deeper();

#ifdef KTSTR_SCHEDULER_DEEPER
int scheduler_deeper() {
    return 42;
}
#else
int scheduler_library() {
    return scheduler_deeper();
}
#endif
