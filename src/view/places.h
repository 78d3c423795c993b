/* SPDX-License-Identifier: Apache-2.0
 *
 * The places of a profile: mappings, locations, lines and functions for the return addresses of a
 * snapshot, added to a profile as samples ask for them.
 */
#ifndef MAL_VIEW_PLACES_H
#define MAL_VIEW_PLACES_H

#include "view/profile.h"
#include "view/symbols.h"

#include <stdbool.h>
#include <stdint.h>

/* What holds for all locations of one mapping so far. */
struct view_place_facts {
    uint32_t mapping;                   /* id; 0 not added yet */
    bool asked;                         /* there is a location */
    bool no_file, no_line, no_inlining; /* at least one location lacks it */
};

/* The last place that was asked for among those of one hash: stacks that follow each other share
 * most of their frames, and this is small enough to stay in the CPU's nearest cache. */
#define VIEW_PLACES_RECENT_BITS 9
struct view_place_recent {
    uint64_t pc;
    uint32_t id; /* 0: none */
};

struct view_places {
    struct view_profile *profile;
    const struct mal_snapshot *snapshot;
    struct view_session session;
    struct view_table table; /* location ids by return address */
    uint64_t *pcs;           /* by location id - 1 */
    size_t pc_capacity;
    struct view_place_facts *facts;                                 /* by module */
    struct view_place_recent recent[1u << VIEW_PLACES_RECENT_BITS]; /* by hash */
};

enum view_mappings {
    VIEW_MAPPINGS_ALL,  /* everything loaded, as Go's own profiles have it */
    VIEW_MAPPINGS_USED, /* the program and what samples need */
};

/* Starts a session of `symbols`; view_places_end must follow. */
int view_places_begin(struct view_places *places, struct view_profile *profile,
                      const struct mal_snapshot *snapshot, struct view_symbols *symbols,
                      enum view_mappings which);
/* The id of the location of a return address. Failures are noted in the profile. */
uint32_t view_places_location(struct view_places *places, uint64_t pc);
/* Writes the facts into the mappings, ends the session and frees everything but the profile. */
void view_places_end(struct view_places *places);

/* Mappings alone, for profiles without locations. */
void view_places_map_all(struct view_profile *profile, const struct mal_snapshot *snapshot);

/* The address of the call that returns to `pc`. */
static inline uint64_t view_call_address(uint64_t pc) {
    return pc ? pc - 1 : 0;
}

#endif
