/* SPDX-License-Identifier: Apache-2.0
 *
 * Processes whose box this command cannot read, because they run on another version of the library.
 */
#ifndef MAL_CLI_FOREIGN_H
#define MAL_CLI_FOREIGN_H

#include "http/source.h"

#include <stdbool.h>
#include <stdint.h>

struct foreign_box {
    struct http_key key; /* by the file's name: nothing else of it can be read */
    uint32_t version;    /* of its layout */
    bool alive;
};

/* Visits each of them; returns what ended the walk, or 0. */
int foreign_each(int (*visit)(const struct foreign_box *box, void *context), void *context);

/* The first of that pid, and of that start time unless it is 0. */
bool foreign_find(const struct http_key *wanted, struct foreign_box *ret_box);

/* Says in one line which process it is, and the two versions. */
void foreign_say(const struct foreign_box *box);

#endif
