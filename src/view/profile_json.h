/* SPDX-License-Identifier: Apache-2.0
 *
 * A heap profile as compact JSON, for the page: functions, frames and stacks are numbered once and
 * referred to by number; inlined calls are frames like others.
 *
 *   {"time_unix_ns":N,"rate_bytes":N,
 *    "values":["alloc_objects","alloc_space","inuse_objects","inuse_space"],
 *    "functions":[["name","file",start_line],…],
 *    "frames":[[function,line],…],
 *    "stacks":[[frame,…],…],                    leaf first
 *    "samples":[[stack,size_bytes,alloc_objects,alloc_space,inuse_objects,inuse_space],…],
 *    "dropped_samples":N,"other":null}
 *
 * There is one sample per stack and size.
 */
#ifndef MAL_VIEW_PROFILE_JSON_H
#define MAL_VIEW_PROFILE_JSON_H

#include "view/json.h"
#include "view/profile.h"

/* The members above without the braces around them. -EBADMSG for a profile that is none of a
 * heap, -EFBIG where inlining blows it up beyond reason. */
int view_profile_json(const struct view_profile *profile, struct view_json *json);

/* Stacks and their frames, numbered as they are added; any set of stacks can be written. */
struct view_stacks;
int view_stacks_new(const struct view_profile *profile, struct view_stacks **ret_stacks);
void view_stacks_free(struct view_stacks *stacks); /* accepts NULL */
/* The number of the stack that these locations expand to. */
int view_stacks_add(struct view_stacks *stacks, const uint64_t *locations, uint32_t depth,
                    uint32_t *ret_number);
/* The members "functions", "frames" and "stacks". */
void view_stacks_json(const struct view_stacks *stacks, struct view_json *json);

#endif
