// SPDX-License-Identifier: MIT
/* What the kernel tells a scheduler about its end; both sides of zoo need the type whole. */
#ifndef ZOO_RECORD_H
#define ZOO_RECORD_H

struct zoo_record {
    int kind;
    int seen;
    long long code;
    char reason[128];
    char message[1024];
    char dump[32768];
};

#endif
