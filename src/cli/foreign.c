/* SPDX-License-Identifier: Apache-2.0
 *
 * Boxes of other versions. A machine is upgraded while programs go on with the library that they
 * were started with: their boxes lie where all do, but only how such a file begins and what it is
 * called means the same in all versions. That is enough to tell a user which process is missing
 * from a list, and why.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/foreign.h"

#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>

struct walk {
    int (*visit)(const struct foreign_box *box, void *context);
    void *context;
};

static int visit_file(const char *path, uint32_t version, void *context) {
    const struct walk *walk = context;
    const char *slash = strrchr(path, '/');
    struct foreign_box box = {.version = version};
    if (!mal_box_name_parse(slash != NULL ? slash + 1 : path, &box.key.pid, &box.key.start_ticks))
        return 0;
    box.alive = mal_reader_process_is_alive(box.key.pid, box.key.start_ticks);
    return walk->visit(&box, walk->context);
}

int foreign_each(int (*visit)(const struct foreign_box *box, void *context), void *context) {
    struct cli_boxes boxes;
    struct walk walk = {visit, context};
    if (cli_boxes_find(&boxes) < 0)
        return 0;
    return http_folder_foreign(&boxes.source, visit_file, &walk);
}

struct search {
    const struct http_key *wanted;
    struct foreign_box found;
};

static bool fits(uint64_t wanted, uint64_t number) {
    return wanted == 0 || number == 0 || wanted == number;
}

static int is_wanted(const struct foreign_box *box, void *context) {
    struct search *search = context;
    if (box->key.pid != search->wanted->pid ||
        !fits(search->wanted->start_ticks, box->key.start_ticks))
        return 0;
    search->found = *box;
    return 1;
}

bool foreign_find(const struct http_key *wanted, struct foreign_box *ret_box) {
    struct search search = {.wanted = wanted};
    if (foreign_each(is_wanted, &search) <= 0)
        return false;
    *ret_box = search.found;
    return true;
}

void foreign_say(const struct foreign_box *box) {
    cli_say("the box of process %" PRIu32 " was written by another version of Mallard: its layout "
            "is %" PRIu32 ", and this one reads %u",
            box->key.pid, box->version, MAL_BOX_VERSION);
}
