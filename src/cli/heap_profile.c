/* SPDX-License-Identifier: Apache-2.0
 *
 * A heap profile that stays in memory.
 *
 * SYNCHRONIZATION  One thread.
 */
#include "cli/heap_profile.h"

#include "view/heap.h"

#include <errno.h>

static int add_samples(struct view_profile *profile, const struct mal_snapshot *snapshot,
                       struct view_symbols *symbols) {
    struct heap_rows rows = {0};
    struct view_places places;
    int error = heap_rows_add(&rows, snapshot, 1);
    if (error == 0)
        error = view_places_begin(&places, profile, snapshot, symbols, VIEW_MAPPINGS_ALL);
    if (error == 0) {
        for (size_t i = 0; i < rows.count; i++)
            heap_profile_sample(profile, &places, &rows.items[i]);
        view_places_end(&places);
    }
    heap_rows_free(&rows);
    return error == 0 && profile->failed ? -ENOMEM : error;
}

int heap_profile_make(struct mal_box_reader *reader, struct view_symbols *symbols,
                      struct view_profile *ret_profile) {
    struct mal_snapshot *snapshot;
    int error = mal_reader_snapshot(reader, &snapshot);
    if (error < 0)
        return error;
    view_profile_init(ret_profile);
    heap_profile_head(ret_profile, snapshot);
    error = add_samples(ret_profile, snapshot, symbols);
    mal_snapshot_free(snapshot);
    if (error < 0)
        view_profile_free(ret_profile);
    return error;
}
