/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles added to and taken from each other, whatever processes they are of.
 */
#ifndef MAL_CLI_PROFILE_MERGE_H
#define MAL_CLI_PROFILE_MERGE_H

#include "view/profile.h"

struct profile_merge;

/* `result` has been initialized and stays the caller's. NULL when out of memory. */
struct profile_merge *profile_merge_begin(struct view_profile *result);

/* Adds `sign` (1 or -1) times every sample. The first profile gives the types and the period; one
 * with other types is -EINVAL. 0 or -errno. */
int profile_merge_add(struct profile_merge *merge, const struct view_profile *from, int sign);

/* Drops the samples that came to nothing, and frees everything but the result. Accepts NULL. */
void profile_merge_end(struct profile_merge *merge);

#endif
