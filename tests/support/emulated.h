/* SPDX-License-Identifier: Apache-2.0
 *
 * Under a user-mode emulator of another processor (tests/support/aarch64.sh) the kernel is this
 * machine's, seen through one that translates some calls, leaves out others, and says a line of its
 * own about every program that a signal ends.
 */
#ifndef TESTS_SUPPORT_EMULATED_H
#define TESTS_SUPPORT_EMULATED_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static inline bool is_emulated(void) {
    return getenv("MALLARD_TESTS_EMULATED") != NULL;
}

/* Takes the emulator's own lines out of what a program said. */
static inline void drop_emulators_lines(char *text) {
    char *line = text;
    while (*line) {
        size_t bytes = strcspn(line, "\n");
        bytes += line[bytes] == '\n';
        if (strncmp(line, "qemu: ", 6) == 0)
            memmove(line, line + bytes, strlen(line + bytes) + 1);
        else
            line += bytes;
    }
}

#endif
